//! Values that change their place: RENAME, RENAMENX, COPY, MOVE.

use super::database::database_index;
use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::resp::{Args, CommandError};
use crate::shard::{Database, Expiry, Millis};

const SAME_OBJECT: CommandError = CommandError::fixed("ERR source and destination objects are the same");

pub(super) fn rename(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    if !ctx.db.contains(args.at(1)) {
        return Err(CommandError::NoSuchKey);
    }
    if args.at(1) != args.at(2) {
        change_name(ctx, args);
    }
    ctx.reply.ok();
    Ok(())
}

pub(super) fn renamenx(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    if !ctx.db.contains(args.at(1)) {
        return Err(CommandError::NoSuchKey);
    }
    let free = !ctx.db.contains(args.at(2));
    if free {
        change_name(ctx, args);
    }
    ctx.reply.integer(i64::from(free));
    Ok(())
}

fn change_name(ctx: &mut ShardContext<'_>, args: Args<'_>) {
    let (from, to) = (args.at(1), args.at(2));
    let renamed = ctx.db.rename(from, to);
    debug_assert!(renamed, "the caller has seen the key");
    ctx.changed(EventClass::Generic, "rename_from", from);
    ctx.changed(EventClass::Generic, "rename_to", to);
}

/// A time to live that a value takes along.
fn expiry(expires: Option<Millis>) -> Expiry {
    expires.map_or(Expiry::Never, Expiry::At)
}

pub(super) fn copy(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (args.at(1), args.at(2));
    let (mut target, mut replace) = (usize::from(ctx.database_index), false);
    let mut cursor = args.cursor(3);
    while cursor.remaining() > 0 {
        if cursor.take_if("replace") {
            replace = true;
        } else if cursor.take_if("db") {
            target = database_index(ctx, cursor.value()?)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if target == usize::from(ctx.database_index) && from == to {
        return Err(SAME_OBJECT);
    }
    let Some(value) = ctx.db.value(from).map(|value| value.to_value()) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let expires = ctx.db.expires_at(from).flatten();
    let db = database(ctx, target);
    let copied = replace || !db.contains(to);
    if copied {
        db.remove(to);
        db.replace(to, value, expiry(expires));
        ctx.changed_in(target as u16, EventClass::Generic, "copy_to", to);
    }
    ctx.reply.integer(i64::from(copied));
    Ok(())
}

/// Database `index`.
fn database<'a>(ctx: &'a mut ShardContext<'_>, index: usize) -> &'a mut Database {
    if index == usize::from(ctx.database_index) {
        return ctx.db;
    }
    ctx.others.get_mut(index).expect("the index exists and is not the selected one")
}

/// MOVE.
pub(super) fn r#move(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let target = database_index(ctx, args.at(2))?;
    if target == usize::from(ctx.database_index) {
        return Err(SAME_OBJECT);
    }
    let moved = ctx.db.contains(key) && !database(ctx, target).contains(key);
    if moved {
        let (value, expires) = ctx.db.take(key).expect("the key has just been seen");
        database(ctx, target).replace(key, value, expiry(expires));
        ctx.changed(EventClass::Generic, "move_from", key);
        ctx.changed_in(target as u16, EventClass::Generic, "move_to", key);
    }
    ctx.reply.integer(i64::from(moved));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn rename_takes_the_time_to_live_along() {
        Shell::new().session(
            r#"
            > RENAME a b
            (error) ERR no such key
            > RENAMENX a a
            (error) ERR no such key
            > MSET a 1 b 2
            > EXPIRE a 10
            > RENAME a b
            OK
            > EXISTS a
            (integer) 0
            > GET b
            "1"
            > TTL b
            (integer) 10
            > RENAME b b
            OK
            > RENAMENX b b
            (integer) 0
            > SET c 3
            > RENAMENX b c
            (integer) 0
            > RENAME c b
            OK
            > TTL b
            (integer) -1
            > RENAMENX b c
            (integer) 1
            > GET c
            "3"
            "#,
        );
    }

    #[test]
    fn copies_between_keys_and_databases() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > COPY a b
            (integer) 0
            > SET a 1 EX 10
            > COPY a b
            (integer) 1
            > TTL b
            (integer) 10
            > SET a 2
            > COPY a b
            (integer) 0
            > COPY a b REPLACE
            (integer) 1
            > GET b
            "2"
            > TTL b
            (integer) -1
            > COPY a a DB 1
            (integer) 1
            > COPY a a db 1
            (integer) 0
            > SET a 3
            > COPY a a DB 1 replace
            (integer) 1
            > COPY a a
            (error) ERR source and destination objects are the same
            > COPY a a DB 1 DB 0
            (error) ERR source and destination objects are the same
            > COPY a b DB 16
            (error) ERR DB index is out of range
            > COPY a b DB -1
            (error) ERR DB index is out of range
            > COPY a b DB x
            (error) ERR value is not an integer or out of range
            > COPY a b DB 2147483648
            (error) ERR value is out of range, value must between -2147483648 and 2147483647
            > COPY a b DB
            (error) ERR syntax error
            > COPY a b NOW
            (error) ERR syntax error
            "#,
        );
        shell.database_index = 1;
        assert_eq!(shell.run("GET a"), "\"3\"");
        assert_eq!(shell.run("COPY a c DB 1"), "(integer) 1");
        assert_eq!(shell.run("GET c"), "\"3\"");
    }

    #[test]
    fn moves_between_databases() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > MOVE a 1
            (integer) 0
            > SET a 1 EX 10
            > MOVE a 0
            (error) ERR source and destination objects are the same
            > MOVE a 16
            (error) ERR DB index is out of range
            > MOVE a x
            (error) ERR value is not an integer or out of range
            > MOVE a 1
            (integer) 1
            > EXISTS a
            (integer) 0
            > SET a 2
            > MOVE a 1
            (integer) 0
            "#,
        );
        shell.database_index = 1;
        assert_eq!(shell.run("GET a"), "\"1\"");
        assert_eq!(shell.run("TTL a"), "(integer) 10");
        shell.now += 10_000;
        shell.database_index = 0;
        assert_eq!(shell.run("MOVE a 1"), "(integer) 1");
    }
}
