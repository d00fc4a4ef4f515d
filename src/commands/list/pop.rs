//! Taking from the ends: LPOP, RPOP, LMPOP.

use super::{limit, removed, side, write_entry};
use crate::commands::ShardContext;
use crate::commands::row::Outcome;
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError, Reply};
use crate::stdx::number;
use crate::types::List;
use crate::types::list::{NodeLimit, OwnedEntry, Side};
use std::ops::Range;

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

/// Takes one element and answers with it; null where there is none.
pub(super) fn pop_one(ctx: &mut ShardContext<'_>, key: &[u8], side: Side) -> Outcome {
    let limit = limit(ctx);
    let Some(list) = ctx.db.get_mut::<List>(key)? else {
        ctx.reply.null();
        return Ok(());
    };
    let apart = ctx.log.is_bench();
    let mut popped = Vec::new();
    if let Some(entry) = list.end(side) {
        write_entry(&mut ctx.reply, entry);
        if apart {
            popped.push(entry.to_owned());
        }
    }
    list.remove_end(side, limit);
    let empty = list.is_empty();
    removed(ctx, event(side), key, empty);
    log_apart(ctx, key, side, empty, &popped);
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
    let popped = take(list, side, count, limit, &mut ctx.reply, ctx.log.is_bench());
    let empty = list.is_empty();
    removed(ctx, event(side), key, empty);
    log_apart(ctx, key, side, empty, &popped);
    Ok(())
}

/// Writes up to `count` elements from one end as an array, the outermost first, and removes them; they are handed out as
/// well if they are `wanted`.
fn take(
    list: &mut List,
    side: Side,
    count: usize,
    limit: NodeLimit,
    reply: &mut Reply<'_>,
    wanted: bool,
) -> Vec<OwnedEntry> {
    let count = count.min(list.len());
    reply.array(count);
    let mut taken = Vec::new();
    for entry in list.iter_from_end(side).take(count) {
        write_entry(reply, entry);
        if wanted {
            taken.push(entry.to_owned());
        }
    }
    list.remove_from_end(side, count, limit);
    taken
}

/// Logs which elements were taken, where this is part of a transaction over several shards: one that is recovered on a
/// list which has lost its last changes must not take others instead.
pub(super) fn log_apart(ctx: &mut ShardContext<'_>, key: &[u8], side: Side, empty: bool, popped: &[OwnedEntry]) {
    if !ctx.logs_apart() {
        return;
    }
    if empty && popped.len() > 1 {
        return ctx.log(&[b"DEL", key]);
    }
    let count: &[u8] = if side == Side::Left { b"1" } else { b"-1" };
    for element in popped {
        ctx.log(&[b"LREM", key, count, element.as_entry().bytes(&mut itoa::Buffer::new())]);
    }
}

/// The command that takes from one end.
pub(super) fn command(side: Side) -> &'static [u8] {
    match side {
        Side::Left => b"LPOP",
        Side::Right => b"RPOP",
    }
}

/// The event of taking from one end.
pub(super) fn event(side: Side) -> &'static str {
    match side {
        Side::Left => "lpop",
        Side::Right => "rpop",
    }
}

pub(super) fn lmpop(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let request = MultiPop::parse(args, 1)?;
    if !request.run(ctx, args)? {
        ctx.reply.null_array();
    }
    Ok(())
}

/// What LMPOP and BLMPOP ask for.
pub(super) struct MultiPop {
    /// Which arguments are the keys.
    pub keys: Range<usize>,
    side: Side,
    count: usize,
}

impl MultiPop {
    /// Reads the arguments from the number of keys on, which stands at `numkeys`.
    pub fn parse(args: Args<'_>, numkeys: usize) -> Result<Self, CommandError> {
        const NUMKEYS: CommandError = CommandError::fixed("ERR numkeys should be greater than 0");
        let first = numkeys + 1;
        let keys = first..positive(args.at(numkeys)).ok_or(NUMKEYS)?.saturating_add(first);
        let mut cursor = args.cursor(keys.end);
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
        Ok(Self { keys, side, count: count.unwrap_or(1) })
    }

    /// Takes from the first list there is; whether there is one.
    pub fn run(&self, ctx: &mut ShardContext<'_>, args: Args<'_>) -> Result<bool, CommandError> {
        let limit = limit(ctx);
        for key in self.keys.clone().map(|index| args.at(index)) {
            if !ctx.looks_at(key) {
                continue;
            }
            let Some(list) = ctx.db.get_mut::<List>(key)? else { continue };
            ctx.reply.array(2);
            ctx.reply.bulk(key);
            let popped = take(list, self.side, self.count, limit, &mut ctx.reply, ctx.log.is_bench());
            let empty = list.is_empty();
            removed(ctx, event(self.side), key, empty);
            if ctx.logs_apart() {
                log_apart(ctx, key, self.side, empty, &popped);
            } else {
                let mut digits = itoa::Buffer::new();
                ctx.log(&[command(self.side), key, digits.format(self.count).as_bytes()]);
            }
            return Ok(true);
        }
        Ok(false)
    }
}

fn positive(argument: &[u8]) -> Option<usize> {
    number::parse_i64(argument).and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0)
}
