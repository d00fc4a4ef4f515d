//! Adding at the ends: LPUSH, RPUSH, LPUSHX, RPUSHX.

use super::limit;
use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::resp::Args;
use crate::types::List;
use crate::types::list::Side;

pub(super) fn lpush(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    push(ctx, args, Side::Left)
}

pub(super) fn rpush(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    push(ctx, args, Side::Right)
}

pub(super) fn lpushx(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    push_existing(ctx, args, Side::Left)
}

pub(super) fn rpushx(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    push_existing(ctx, args, Side::Right)
}

fn push(ctx: &mut ShardContext<'_>, args: Args<'_>, side: Side) -> Outcome {
    let limit = limit(ctx);
    let list = ctx.db.get_or_insert(args.at(1), List::new)?;
    list.push(side, args.iter_from(2), limit);
    let len = list.len();
    finish(ctx, args.at(1), side, len)
}

fn push_existing(ctx: &mut ShardContext<'_>, args: Args<'_>, side: Side) -> Outcome {
    let limit = limit(ctx);
    let Some(list) = ctx.db.get_mut::<List>(args.at(1))? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    list.push(side, args.iter_from(2), limit);
    let len = list.len();
    finish(ctx, args.at(1), side, len)
}

fn finish(ctx: &mut ShardContext<'_>, key: &[u8], side: Side, len: usize) -> Outcome {
    ctx.changed(EventClass::List, event(side), key);
    ctx.reply.count(len);
    Ok(())
}

/// The event of adding at one end.
pub(super) fn event(side: Side) -> &'static str {
    match side {
        Side::Left => "lpush",
        Side::Right => "rpush",
    }
}
