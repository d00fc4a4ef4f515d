//! From one list to another: LMOVE, RPOPLPUSH.

use super::{limit, pop, push, removed, side, write_entry};
use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::resp::Args;
use crate::types::List;
use crate::types::list::{OwnedEntry, Side};

pub(super) fn lmove(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (side(args.at(3))?, side(args.at(4))?);
    transfer(ctx, args.at(1), args.at(2), from, to)
}

pub(super) fn rpoplpush(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    transfer(ctx, args.at(1), args.at(2), Side::Right, Side::Left)
}

/// Moves an element; a null where there is none.
pub(super) fn transfer(ctx: &mut ShardContext<'_>, source: &[u8], destination: &[u8], from: Side, to: Side) -> Outcome {
    let limit = limit(ctx);
    if ctx.db.get_mut::<List>(source)?.is_none() {
        ctx.reply.null();
        return Ok(());
    }
    // The destination's type first: nothing may have changed when it is wrong.
    ctx.db.get_mut::<List>(destination)?;
    let list = ctx.db.get_mut::<List>(source)?.expect("it has just been there");
    let element = list.pop(from, limit).expect("a list in the keyspace has elements");
    let empty = list.is_empty();
    ctx.db.get_or_insert(destination, List::new)?.push_entry(to, element.as_entry(), limit);
    ctx.changed(EventClass::List, push::event(to), destination);
    if source == destination {
        ctx.event(EventClass::List, pop::event(from), source);
    } else {
        removed(ctx, pop::event(from), source, empty);
    }
    write_entry(&mut ctx.reply, element.as_entry());
    if ctx.log.wanted {
        log(ctx, source, destination, [from, to], &element);
    }
    Ok(())
}

/// Logs a move that has happened, however the client waited for it.
fn log(ctx: &mut ShardContext<'_>, source: &[u8], destination: &[u8], [from, to]: [Side; 2], element: &OwnedEntry) {
    let word = |side: Side| -> &[u8] { if side == Side::Left { b"LEFT" } else { b"RIGHT" } };
    if ctx.logs_apart() {
        pop::log_apart(ctx, source, from, false, std::slice::from_ref(element));
        let push: &[u8] = if to == Side::Left { b"LPUSH" } else { b"RPUSH" };
        ctx.log(&[push, destination, element.as_entry().bytes(&mut itoa::Buffer::new())]);
    } else {
        ctx.log(&[b"LMOVE", source, destination, word(from), word(to)]);
    }
}
