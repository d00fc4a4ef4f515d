//! GET, MGET, STRLEN, and the commands that read a value and change its key: GETSET, GETDEL, GETEX.

use super::lifetime::Lifetime;
use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::resp::{Args, CommandError, Reply};
use crate::shard::Expiry;
use crate::types::{StringRef, ValueRef};

pub(super) fn get(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let value = ctx.db.string(args.at(1))?;
    reply_string(&mut ctx.reply, value);
    Ok(())
}

/// Replies a string value or null; a large one is sent from where it lies.
#[inline]
pub(super) fn reply_string(reply: &mut Reply<'_>, value: Option<StringRef<'_>>) {
    match value {
        None => reply.null(),
        Some(StringRef::Int(integer)) => reply.bulk_integer(integer),
        Some(StringRef::Bytes { bytes, .. }) => reply.bulk(bytes),
        Some(StringRef::Large(large)) => reply.bulk_shared(large.shared()),
    }
}

pub(super) fn mget(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    ctx.reply.array(args.len() - 1);
    for key in args.iter_from(1) {
        match ctx.db.value(key) {
            Some(ValueRef::String(string)) => reply_string(&mut ctx.reply, Some(string)),
            _ => ctx.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn strlen(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let len = ctx.db.string(args.at(1))?.map_or(0, |string| string.len());
    ctx.reply.count(len);
    Ok(())
}

pub(super) fn getset(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    get(ctx, args)?;
    ctx.db.set_string(args.at(1), args.at(2), Expiry::Never);
    ctx.changed(EventClass::String, "set", args.at(1));
    Ok(())
}

pub(super) fn getdel(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    get(ctx, args)?;
    if ctx.db.remove(args.at(1)) {
        ctx.changed(EventClass::Generic, "del", args.at(1));
        ctx.log(&[b"DEL", args.at(1)]);
    }
    Ok(())
}

pub(super) fn getex(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (key, now) = (args.at(1), ctx.now());
    let lifetime = getex_options(args)?;
    let value = ctx.db.string(key)?;
    let found = value.is_some();
    reply_string(&mut ctx.reply, value);
    if !found {
        // Without the key, the time is not even looked at.
        return Ok(());
    }
    match lifetime {
        Lifetime::Until(unit, text) => {
            let at = unit.resolve(text, now, "getex")?;
            if unit.is_absolute() && at <= now {
                ctx.db.remove(key);
                ctx.changed(EventClass::Generic, "del", key);
                ctx.log(&[b"DEL", key]);
            } else {
                ctx.db.set_expires_at(key, Some(at));
                ctx.changed(EventClass::Generic, "expire", key);
                ctx.log_until(&[b"PEXPIREAT", key], at);
            }
        }
        Lifetime::Persist if ctx.db.set_expires_at_if(key, None, |before| before.is_some()) => {
            ctx.changed(EventClass::Generic, "persist", key);
            ctx.log(&[b"PERSIST", key]);
        }
        _ => {}
    }
    Ok(())
}

fn getex_options(args: Args<'_>) -> Result<Lifetime<'_>, CommandError> {
    let mut lifetime = Lifetime::default();
    let mut cursor = args.cursor(2);
    while cursor.remaining() > 0 {
        if cursor.take_if("persist") {
            lifetime.say(Lifetime::Persist)?;
        } else if !lifetime.take_until(&mut cursor)? {
            return Err(CommandError::Syntax);
        }
    }
    Ok(lifetime)
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn reads_whole_values() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > GET k
            (nil)
            > SET k "a b"
            OK
            > GET k
            "a b"
            > SET n -5
            OK
            > MGET k n missing k
            ["a b", "-5", (nil), "a b"]
            > STRLEN k
            (integer) 3
            > STRLEN n
            (integer) 2
            > STRLEN missing
            (integer) 0
            "#,
        );
        let large = "x".repeat(100_000);
        shell.run(&format!("SET large {large}"));
        assert_eq!(shell.run("GET large"), format!("\"{large}\""));
        assert_eq!(shell.run("MGET large k"), format!("[\"{large}\", \"a b\"]"));
        assert_eq!(Shell::resp3().run("GET k"), "(null)");
        assert_eq!(Shell::resp3().run("MGET k"), "[(null)]");
    }

    #[test]
    fn reads_and_changes_the_key() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > GETSET k 1
            (nil)
            > EXPIRE k 10
            (integer) 1
            > GETSET k 2
            "1"
            > TTL k
            (integer) -1
            > GETDEL k
            "2"
            > GETDEL k
            (nil)
            > EXISTS k
            (integer) 0
            "#,
        );
        assert_eq!(shell.dirty, 0);
    }

    #[test]
    fn getex_changes_the_time_to_live() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SET k v
            > GETEX k
            "v"
            > GETEX k EX 10
            "v"
            > PTTL k
            (integer) 10000
            > GETEX k
            "v"
            > PTTL k
            (integer) 10000
            > GETEX k PX 5 PX 7
            "v"
            > PTTL k
            (integer) 7
            > GETEX k persist PERSIST
            "v"
            > TTL k
            (integer) -1
            > GETEX k EXAT 1700000100
            "v"
            > TTL k
            (integer) 100
            > GETEX k PXAT 1700000000000
            "v"
            > EXISTS k
            (integer) 0
            "#,
        );
    }

    #[test]
    fn getex_refuses() {
        Shell::new().session(
            r#"
            > SET k v
            > GETEX k KEEPTTL
            (error) ERR syntax error
            > GETEX k EX
            (error) ERR syntax error
            > GETEX k EX 1 PX 1
            (error) ERR syntax error
            > GETEX k EX 1 PERSIST
            (error) ERR syntax error
            > GETEX k NX
            (error) ERR syntax error
            > GETEX k EX 0
            (error) ERR invalid expire time in 'getex' command
            > GETEX k PX 9223372036854775807
            (error) ERR invalid expire time in 'getex' command
            > GETEX k EX abc
            (error) ERR value is not an integer or out of range
            > GETEX missing EX abc
            (nil)
            "#,
        );
    }
}
