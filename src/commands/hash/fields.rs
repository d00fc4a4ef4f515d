//! Commands on single fields of a hash.

use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::resp::{Args, CommandError};
use crate::types::Hash;

/// Sets the fields from argument 2 on; how many are new.
fn set_fields(ctx: &mut ShardContext<'_>, args: Args<'_>, command: &'static str) -> Result<usize, CommandError> {
    if args.len() % 2 == 1 {
        return Err(CommandError::Arity(command.into()));
    }
    let (key, limits) = (args.at(1), ctx.encoding);
    let hash = ctx.db.get_or_insert(key, Hash::new)?;
    hash.expect(args.iter_from(2), limits);
    let pairs = (2..args.len()).step_by(2);
    let created = pairs.filter(|&at| hash.set(args.at(at), args.at(at + 1), limits)).count();
    ctx.changed(EventClass::Hash, "hset", key);
    Ok(created)
}

pub(super) fn hset(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let created = set_fields(ctx, args, "hset")?;
    ctx.reply.count(created);
    Ok(())
}

pub(super) fn hmset(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    set_fields(ctx, args, "hmset")?;
    ctx.reply.ok();
    Ok(())
}

pub(super) fn hsetnx(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (key, field, limits) = (args.at(1), args.at(2), ctx.encoding);
    let hash = ctx.db.get_or_insert(key, Hash::new)?;
    let is_new = !hash.contains(field);
    if is_new {
        hash.expect(args.iter_from(2), limits);
        hash.set(field, args.at(3), limits);
        ctx.changed(EventClass::Hash, "hset", key);
    }
    ctx.reply.integer(i64::from(is_new));
    Ok(())
}

pub(super) fn hget(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    match ctx.db.get::<Hash>(args.at(1))?.and_then(|hash| hash.get(args.at(2))) {
        Some(value) => ctx.reply.bulk(value.bytes(&mut itoa::Buffer::new())),
        None => ctx.reply.null(),
    }
    Ok(())
}

pub(super) fn hmget(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let hash = ctx.db.get::<Hash>(args.at(1))?;
    ctx.reply.array(args.len() - 2);
    for field in args.iter_from(2) {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => ctx.reply.bulk(value.bytes(&mut itoa::Buffer::new())),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn hdel(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let (mut removed, mut is_empty) = (0, false);
    if let Some(hash) = ctx.db.get_mut::<Hash>(key)? {
        removed = args.iter_from(2).filter(|field| hash.remove(field)).count();
        is_empty = hash.is_empty();
    }
    if removed > 0 {
        ctx.changed(EventClass::Hash, "hdel", key);
    }
    if is_empty {
        ctx.db.remove(key);
        ctx.event(EventClass::Generic, "del", key);
    }
    ctx.reply.count(removed);
    Ok(())
}

pub(super) fn hexists(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let exists = ctx.db.get::<Hash>(args.at(1))?.is_some_and(|hash| hash.contains(args.at(2)));
    ctx.reply.integer(i64::from(exists));
    Ok(())
}

pub(super) fn hstrlen(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let value = ctx.db.get::<Hash>(args.at(1))?.and_then(|hash| hash.get(args.at(2)));
    ctx.reply.count(value.map_or(0, |value| value.bytes(&mut itoa::Buffer::new()).len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn a_session() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > HSET h a 1 b two a 3
            (integer) 2
            > HSET h a 4 c ""
            (integer) 1
            > HGET h a
            "4"
            > HGET h c
            ""
            > HGET h none
            (nil)
            > HGET none a
            (nil)
            > HMGET h b none a
            ["two", (nil), "4"]
            > HMGET none a b
            [(nil), (nil)]
            > HMSET h b 2 d 007
            OK
            > HGET h d
            "007"
            > HEXISTS h a
            (integer) 1
            > HEXISTS h x
            (integer) 0
            > HEXISTS none x
            (integer) 0
            > HSTRLEN h d
            (integer) 3
            > HSTRLEN h a
            (integer) 1
            > HSTRLEN h x
            (integer) 0
            > HSTRLEN none x
            (integer) 0
            > HSETNX h a 9
            (integer) 0
            > HSETNX h e 9
            (integer) 1
            > HDEL h a x a
            (integer) 1
            > HDEL none a
            (integer) 0
            > HDEL h b c d e
            (integer) 4
            > HDEL h b
            (integer) 0
            "#,
        );
        assert!(!shell.database().contains(b"h"));
        assert_eq!(Shell::resp3().run("HMGET none a"), "[(null)]");
    }

    #[test]
    fn pairs_must_be_whole() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > HSET h a 1 b
            (error) ERR wrong number of arguments for 'hset' command
            > HMSET h a 1 b
            (error) ERR wrong number of arguments for 'hmset' command
            > SET str x
            > HSET str a 1 b
            (error) ERR wrong number of arguments for 'hset' command
            > HSET str a 1
            (error) WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
        assert!(!shell.database().contains(b"h"));
    }

    #[test]
    fn other_types_are_refused_and_left_alone() {
        let mut shell = Shell::new();
        shell.run("SET str a");
        for command in [
            "HSET str a 1",
            "HMSET str a 1",
            "HSETNX str a 1",
            "HGET str a",
            "HMGET str a",
            "HDEL str a",
            "HEXISTS str a",
            "HSTRLEN str a",
            "HLEN str",
            "HGETALL str",
            "HKEYS str",
            "HVALS str",
            "HSCAN str 0",
            "HINCRBY str a 1",
            "HINCRBYFLOAT str a 1",
            "HRANDFIELD str",
            "HRANDFIELD str 1",
        ] {
            let refused = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
            assert_eq!(shell.run(command), refused, "{command}");
            assert_eq!(shell.dirty, 0);
        }
        assert_eq!(shell.run("GET str"), "\"a\"");
    }

    #[test]
    fn encodings_follow_the_limits() {
        let mut shell = Shell::new();
        shell.config.encoding.hash_max_listpack_entries = 3;
        shell.config.encoding.hash_max_listpack_value = 5;
        for (command, encoding) in [
            ("HSET a f 1 g 2 h 3", "listpack"),
            ("HSET a f 10", "listpack"),
            ("HSET a i 4", "hashtable"),
            ("HSET b f 1 f 2 f 3 f 4", "hashtable"),
            ("HSET c f 12345", "listpack"),
            ("HSET c f 123456", "hashtable"),
            ("HSET d longfield 1", "hashtable"),
            ("HSETNX e f 1", "listpack"),
            ("HSETNX e f 123456", "listpack"),
            ("HSETNX e g 123456", "hashtable"),
            ("HINCRBY i f 99999", "listpack"),
            ("HINCRBY i f 1", "hashtable"),
            ("HINCRBYFLOAT j f 1.25", "listpack"),
            ("HINCRBYFLOAT j f 0.001", "listpack"),
            ("HINCRBYFLOAT j f 0.0001", "hashtable"),
        ] {
            shell.run(command);
            assert_eq!(shell.encoding(command.split(' ').nth(1).unwrap()), encoding, "{command}");
        }
    }
}
