//! Whole databases: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB. Each works on one shard's slice of them.

use crate::commands::ShardContext;
use crate::commands::row::Outcome;
use crate::resp::args::{integer, is_token};
use crate::resp::{Args, CommandError};
use std::ops::RangeInclusive;

/// What Redis takes for a database index before it looks whether there is such a database.
const INDEXES: RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64;

/// The index of an existing database.
pub(super) fn database_index(ctx: &ShardContext<'_>, text: &[u8]) -> Result<usize, CommandError> {
    let index = integer(text)?;
    if !INDEXES.contains(&index) {
        let (low, high) = (INDEXES.start(), INDEXES.end());
        return Err(CommandError::text(format!("ERR value is out of range, value must between {low} and {high}")));
    }
    existing(ctx, index)
}

fn existing(ctx: &ShardContext<'_>, index: i64) -> Result<usize, CommandError> {
    let index = usize::try_from(index).ok().filter(|&index| index < ctx.others.count());
    index.ok_or(CommandError::DbIndexOutOfRange)
}

pub(super) fn dbsize(ctx: &mut ShardContext<'_>, _args: Args<'_>) -> Outcome {
    ctx.reply.count(ctx.db.len());
    Ok(())
}

pub(super) fn flushdb(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let lazily = flushes_lazily(ctx, args)?;
    ctx.dirty += ctx.db.len() as u64;
    ctx.db.clear(lazily);
    ctx.effects.flushed(ctx.database_index);
    ctx.reply.ok();
    Ok(())
}

pub(super) fn flushall(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let lazily = flushes_lazily(ctx, args)?;
    for db in ctx.others.iter_mut().chain([&mut *ctx.db]) {
        ctx.dirty += db.len() as u64;
        db.clear(lazily);
    }
    (0..ctx.others.count() as u16).for_each(|database| ctx.effects.flushed(database));
    ctx.reply.ok();
    Ok(())
}

/// Whether the memory is freed in the background (ASYNC) or before the reply (SYNC); the database is empty either way.
fn flushes_lazily(ctx: &ShardContext<'_>, args: Args<'_>) -> Result<bool, CommandError> {
    match args.len() {
        1 => Ok(ctx.config.lazy_free.user_flush),
        2 if is_token(args.at(1), "async") => Ok(true),
        2 if is_token(args.at(1), "sync") => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

pub(super) fn swapdb(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let index = |at, text| integer(args.at(at)).ok().filter(|index| INDEXES.contains(index)).ok_or(text);
    let first = index(1, CommandError::fixed("ERR invalid first DB index"))?;
    let second = index(2, CommandError::fixed("ERR invalid second DB index"))?;
    let (first, second) = (existing(ctx, first)?, existing(ctx, second)?);
    // What has happened before belongs to the databases by their old numbers.
    ctx.others.iter_mut().for_each(drop);
    ctx.tell_incidents();
    // An index that is not among the others is the selected database's; equal ones leave nothing to exchange.
    if let Some((a, b)) = ctx.others.pair_mut(first, second) {
        std::mem::swap(a, b);
    } else if first != second {
        let other = if first == usize::from(ctx.database_index) { second } else { first };
        std::mem::swap(ctx.db, ctx.others.get_mut(other).expect("the index exists and is not the selected one"));
    }
    ctx.effects.swapped(first as u16, second as u16);
    ctx.dirty += 1;
    ctx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn counts_and_empties() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > DBSIZE
            (integer) 0
            > MSET a 1 b 2
            > DBSIZE
            (integer) 2
            > FLUSHDB NOW
            (error) ERR syntax error
            > FLUSHDB ASYNC SYNC
            (error) ERR syntax error
            > FLUSHALL NOW
            (error) ERR syntax error
            > MOVE a 1
            > FLUSHDB async
            OK
            > FLUSHDB SYNC
            OK
            > DBSIZE
            (integer) 0
            > SET b 1
            "#,
        );
        shell.database_index = 1;
        assert_eq!(shell.run("DBSIZE"), "(integer) 1");
        assert_eq!(shell.run("FLUSHALL"), "OK");
        assert_eq!(shell.dirty, 2);
        assert_eq!(shell.run("DBSIZE"), "(integer) 0");
        shell.database_index = 0;
        assert_eq!(shell.run("DBSIZE"), "(integer) 0");
    }

    #[test]
    fn swaps() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SET a 0
            > SWAPDB 0 1
            OK
            > GET a
            (nil)
            > SWAPDB 1 2
            OK
            > SWAPDB 2 0
            OK
            > GET a
            "0"
            > SWAPDB 0 0
            OK
            > GET a
            "0"
            > SWAPDB x 1
            (error) ERR invalid first DB index
            > SWAPDB 0 2147483648
            (error) ERR invalid second DB index
            > SWAPDB 0 16
            (error) ERR DB index is out of range
            > SWAPDB -1 0
            (error) ERR DB index is out of range
            "#,
        );
    }
}
