//! Changing the inside: LSET, LINSERT, LREM, LTRIM.

use super::{limit, range, removed};
use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError};
use crate::types::List;
use crate::types::list::Side;

pub(super) fn lset(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let limit = limit(ctx);
    let list = ctx.db.get_mut::<List>(args.at(1))?.ok_or(CommandError::NoSuchKey)?;
    let index = list.index(args.integer(2)?).ok_or(CommandError::IndexOutOfRange)?;
    list.set(index, args.at(3), limit);
    ctx.changed(EventClass::List, "lset", args.at(1));
    ctx.reply.ok();
    Ok(())
}

pub(super) fn linsert(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let side = match args.at(2) {
        word if is_token(word, "before") => Side::Left,
        word if is_token(word, "after") => Side::Right,
        _ => return Err(CommandError::Syntax),
    };
    let limit = limit(ctx);
    let Some(list) = ctx.db.get_mut::<List>(args.at(1))? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    if !list.insert(args.at(3), side, args.at(4), limit) {
        ctx.reply.integer(-1);
        return Ok(());
    }
    let len = list.len();
    ctx.changed(EventClass::List, "linsert", args.at(1));
    ctx.reply.count(len);
    Ok(())
}

pub(super) fn lrem(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let count = args.integer(2)?;
    let limit = limit(ctx);
    let Some(list) = ctx.db.get_mut::<List>(args.at(1))? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let from = if count < 0 { Side::Right } else { Side::Left };
    let max = if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let gone = list.remove_equal(args.at(3), max, from, limit);
    let empty = list.is_empty();
    if gone > 0 {
        removed(ctx, "lrem", args.at(1), empty);
    }
    ctx.reply.count(gone);
    Ok(())
}

pub(super) fn ltrim(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (args.integer(2)?, args.integer(3)?);
    let limit = limit(ctx);
    if let Some(list) = ctx.db.get_mut::<List>(args.at(1))? {
        let (start, count) = range(list, start, stop);
        list.remove_range(start + count, usize::MAX, limit);
        list.remove_range(0, start, limit);
        let empty = list.is_empty();
        // As in Redis this counts as a change even if every element stays.
        removed(ctx, "ltrim", args.at(1), empty);
    }
    ctx.reply.ok();
    Ok(())
}
