//! Commands on the members of one set, and SMOVE.

use super::lost_members;
use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::commands::scan_options::{ScanOptions, Scanned, parse_cursor, reply_page};
use crate::resp::{Args, Output, Reply};
use crate::types::Set;

pub(super) fn sadd(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (key, limits, count) = (args.at(1), ctx.encoding, args.len() - 2);
    let set = ctx.db.get_or_insert(key, || Set::for_members(args.at(2), count, limits))?;
    set.expect(count, limits);
    let added = args.iter_from(2).filter(|member| set.add(member, limits)).count();
    if added > 0 {
        ctx.changed(EventClass::Set, "sadd", key);
    }
    ctx.reply.count(added);
    Ok(())
}

pub(super) fn srem(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let (mut removed, mut is_empty) = (0, false);
    if let Some(set) = ctx.db.get_mut::<Set>(key)? {
        removed = args.iter_from(2).filter(|member| set.remove(member)).count();
        is_empty = set.is_empty();
    }
    if removed > 0 {
        lost_members(ctx, key, "srem", is_empty);
    }
    ctx.reply.count(removed);
    Ok(())
}

pub(super) fn smove(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (source, destination, member) = (args.at(1), args.at(2), args.at(3));
    let Some(from) = ctx.db.get_mut::<Set>(source)? else {
        ctx.reply.count(0);
        return Ok(());
    };
    let is_member = from.contains(member);
    ctx.db.get_mut::<Set>(destination)?;
    ctx.reply.integer(i64::from(is_member));
    if !is_member || source == destination {
        return Ok(());
    }
    let from = ctx.db.get_mut::<Set>(source)?.expect("it has just been looked at");
    from.remove(member);
    let is_empty = from.is_empty();
    lost_members(ctx, source, "srem", is_empty);
    let limits = ctx.encoding;
    let to = ctx.db.get_or_insert(destination, || Set::for_members(member, 1, limits))?;
    if to.add(member, limits) {
        ctx.changed(EventClass::Set, "sadd", destination);
    }
    if ctx.logs_apart() {
        ctx.log(&[b"SREM", source, member]);
        ctx.log(&[b"SADD", destination, member]);
    }
    Ok(())
}

pub(super) fn sismember(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let is_member = ctx.db.get::<Set>(args.at(1))?.is_some_and(|set| set.contains(args.at(2)));
    ctx.reply.integer(i64::from(is_member));
    Ok(())
}

pub(super) fn smismember(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let set = ctx.db.get::<Set>(args.at(1))?;
    ctx.reply.array(args.len() - 2);
    for member in args.iter_from(2) {
        let is_member = set.is_some_and(|set| set.contains(member));
        ctx.reply.integer(i64::from(is_member));
    }
    Ok(())
}

pub(super) fn scard(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let count = ctx.db.get::<Set>(args.at(1))?.map_or(0, Set::len);
    ctx.reply.count(count);
    Ok(())
}

pub(super) fn smembers(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let Some(set) = ctx.db.get::<Set>(args.at(1))? else {
        ctx.reply.set(0);
        return Ok(());
    };
    ctx.reply.set(set.len());
    for member in set.iter() {
        ctx.reply.bulk(member.bytes(&mut itoa::Buffer::new()));
    }
    Ok(())
}

pub(super) fn sscan(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let cursor = parse_cursor(args.at(2))?;
    // As in Redis, a missing key is answered before the options are read.
    let Some(set) = ctx.db.get::<Set>(args.at(1))? else {
        reply_page(&mut ctx.reply, 0, 0, Output::default());
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, Scanned::Members)?;
    let mut body = Output::default();
    let mut members = Reply::new(&mut body, ctx.reply.protocol());
    let mut found = 0;
    let next = set.scan(cursor, options.count, |member| {
        let mut digits = itoa::Buffer::new();
        let member = member.bytes(&mut digits);
        if options.admits(member) {
            members.bulk(member);
            found += 1;
        }
    });
    reply_page(&mut ctx.reply, next, found, body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;
    use std::collections::HashSet;

    #[test]
    fn members_come_and_go() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SADD s a b a
            (integer) 2
            > SADD s b
            (integer) 0
            > SCARD s
            (integer) 2
            > SMEMBERS s
            ["a", "b"]
            > SISMEMBER s a
            (integer) 1
            > SISMEMBER s x
            (integer) 0
            > SMISMEMBER s a x b
            [(integer) 1, (integer) 0, (integer) 1]
            > SREM s a x a
            (integer) 1
            > SREM s b
            (integer) 1
            > SREM s b
            (integer) 0
            > SCARD s
            (integer) 0
            > SMEMBERS s
            []
            > SISMEMBER s a
            (integer) 0
            > SMISMEMBER s a b
            [(integer) 0, (integer) 0]
            > SADD n 3 -1 2 03
            (integer) 4
            > SMEMBERS n
            ["-1", "2", "3", "03"]
            "#,
        );
        assert!(!shell.database().contains(b"s"));
        let mut shell = Shell::resp3();
        shell.session("> SADD s 2 1\n(integer) 2\n> SMEMBERS s\n~[\"1\", \"2\"]\n> SMEMBERS none\n~[]");
    }

    #[test]
    fn other_types_are_refused_and_left_alone() {
        let mut shell = Shell::new();
        shell.run("SET str a");
        for command in [
            "SADD str a",
            "SREM str a",
            "SCARD str",
            "SMEMBERS str",
            "SISMEMBER str a",
            "SMISMEMBER str a",
            "SSCAN str 0",
        ] {
            let refused = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
            assert_eq!(shell.run(command), refused, "{command}");
            assert_eq!(shell.dirty, 0);
        }
        assert_eq!(shell.run("GET str"), "\"a\"");
    }

    #[test]
    fn smove_moves() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SET str x
            > SADD a 1 x
            > SMOVE none str 1
            (integer) 0
            > SMOVE a str 1
            (error) WRONGTYPE Operation against a key holding the wrong kind of value
            > SMOVE str a 1
            (error) WRONGTYPE Operation against a key holding the wrong kind of value
            > SMOVE a a 1
            (integer) 1
            > SMOVE a a 7
            (integer) 0
            > SMOVE a b 7
            (integer) 0
            > SMOVE a b 1
            (integer) 1
            > SMEMBERS b
            ["1"]
            > SMEMBERS a
            ["x"]
            > SADD b x
            > SMOVE a b x
            (integer) 1
            > SMEMBERS b
            ["1", "x"]
            "#,
        );
        assert!(!shell.database().contains(b"a"));
        assert_eq!(shell.encoding("b"), "listpack");
    }

    #[test]
    fn encodings_follow_the_limits() {
        let mut shell = Shell::new();
        shell.config.encoding.set_max_intset_entries = 4;
        shell.config.encoding.set_max_listpack_entries = 3;
        for (command, encoding) in [
            ("SADD i 1 2 3 4", "intset"),
            ("SADD i 4", "intset"),
            ("SADD i 5", "hashtable"),
            ("SADD l a b 1", "listpack"),
            ("SADD l 2", "hashtable"),
            ("SADD m 1 1 1 1 1", "hashtable"),
            ("SADD x a a a a", "hashtable"),
            ("SADD il 1 2", "intset"),
            ("SADD il a", "listpack"),
            ("SADD ih 1 2 3", "intset"),
            ("SADD ih a", "hashtable"),
        ] {
            shell.run(command);
            assert_eq!(shell.encoding(command.split(' ').nth(1).unwrap()), encoding, "{command}");
        }
    }

    #[test]
    fn sscan_takes_compact_sets_whole() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SADD s 1 2 30
            > SSCAN s 0
            ["0", ["1", "2", "30"]]
            > SSCAN s 0 COUNT 1
            ["0", ["1", "2", "30"]]
            > SSCAN s 0 MATCH 3*
            ["0", ["30"]]
            > SSCAN s 12 MATCH x COUNT 5
            ["0", []]
            > SSCAN none 0
            ["0", []]
            > SSCAN none 0 BAD
            ["0", []]
            > SSCAN none x
            (error) ERR invalid cursor
            > SSCAN s 0 BAD
            (error) ERR syntax error
            > SSCAN s 0 COUNT 0
            (error) ERR syntax error
            > SSCAN s 0 COUNT x
            (error) ERR value is not an integer or out of range
            > SSCAN s 0 TYPE set
            (error) ERR syntax error
            > SSCAN s 0 NOVALUES
            (error) ERR NOVALUES option can only be used in HSCAN
            "#,
        );
    }

    #[test]
    fn sscan_finds_every_member_of_a_large_set_that_grows() {
        let mut shell = Shell::new();
        for number in 0..600 {
            shell.run(&format!("SADD s m{number}"));
        }
        let (mut cursor, mut seen, mut calls) = (String::from("0"), HashSet::new(), 0);
        loop {
            let reply = shell.run(&format!("SSCAN s {cursor} COUNT 20"));
            let mut words = reply.split('"').skip(1).step_by(2);
            cursor = words.next().unwrap().to_string();
            seen.extend(words.map(str::to_string));
            calls += 1;
            for number in 0..20 {
                shell.run(&format!("SADD s new{calls}-{number}"));
            }
            if cursor == "0" {
                break;
            }
            assert!(calls < 1000);
        }
        assert!((0..600).all(|number| seen.contains(&format!("m{number}"))));
        assert!(calls > 5, "{calls} calls");
    }
}
