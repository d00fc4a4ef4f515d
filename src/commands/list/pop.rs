//! Taking from the ends: LPOP, RPOP, LMPOP.

use super::{limit, removed, side, write_entry};
use crate::commands::ShardContext;
use crate::commands::row::Outcome;
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError, Reply};
use crate::stdx::number;
use crate::types::List;
use crate::types::list::{NodeLimit, Side};

pub(super) fn lpop(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, Side::Left, "lpop")
}

pub(super) fn rpop(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, Side::Right, "rpop")
}

fn pop(ctx: &mut ShardContext<'_>, args: Args<'_>, side: Side, name: &'static str) -> Outcome {
    match args.len() {
        2 => pop_one(ctx, args.at(1), side),
        3 => {
            let count = number::parse_i64(args.at(2)).and_then(|count| usize::try_from(count).ok());
            pop_many(ctx, args.at(1), side, count.ok_or(CommandError::NotPositive)?)
        }
        _ => Err(CommandError::Arity(name.into())),
    }
}

fn pop_one(ctx: &mut ShardContext<'_>, key: &[u8], side: Side) -> Outcome {
    let limit = limit(ctx);
    let Some(list) = ctx.db.get_mut::<List>(key)? else {
        ctx.reply.null();
        return Ok(());
    };
    if let Some(entry) = list.end(side) {
        write_entry(&mut ctx.reply, entry);
    }
    list.remove_end(side, limit);
    let empty = list.is_empty();
    removed(ctx, event(side), key, empty);
    Ok(())
}

fn pop_many(ctx: &mut ShardContext<'_>, key: &[u8], side: Side, count: usize) -> Outcome {
    let limit = limit(ctx);
    let Some(list) = ctx.db.get_mut::<List>(key)? else {
        ctx.reply.null_array();
        return Ok(());
    };
    if count == 0 {
        ctx.reply.array(0);
        return Ok(());
    }
    take(list, side, count, limit, &mut ctx.reply);
    let empty = list.is_empty();
    removed(ctx, event(side), key, empty);
    Ok(())
}

/// Writes up to `count` elements from one end as an array, the outermost first, and removes them.
fn take(list: &mut List, side: Side, count: usize, limit: NodeLimit, reply: &mut Reply<'_>) {
    let count = count.min(list.len());
    reply.array(count);
    list.iter_from_end(side).take(count).for_each(|entry| write_entry(reply, entry));
    list.remove_from_end(side, count, limit);
}

/// The event of taking from one end.
pub(super) fn event(side: Side) -> &'static str {
    match side {
        Side::Left => "lpop",
        Side::Right => "rpop",
    }
}

pub(super) fn lmpop(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    const NUMKEYS: CommandError = CommandError::fixed("ERR numkeys should be greater than 0");
    let numkeys = positive(args.at(1)).ok_or(NUMKEYS)?;
    let mut cursor = args.cursor(numkeys.saturating_add(2));
    let side = side(cursor.value()?)?;
    let mut count = None;
    while let Some(option) = cursor.next() {
        match cursor.next() {
            Some(value) if count.is_none() && is_token(option, "count") => {
                let text = CommandError::fixed("ERR count should be greater than 0");
                count = Some(positive(value).ok_or(text)?);
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    let limit = limit(ctx);
    for key in args.iter_from(2).take(numkeys) {
        let Some(list) = ctx.db.get_mut::<List>(key)? else { continue };
        ctx.reply.array(2);
        ctx.reply.bulk(key);
        take(list, side, count.unwrap_or(1), limit, &mut ctx.reply);
        let empty = list.is_empty();
        removed(ctx, event(side), key, empty);
        return Ok(());
    }
    ctx.reply.null_array();
    Ok(())
}

fn positive(argument: &[u8]) -> Option<usize> {
    number::parse_i64(argument).and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0)
}
