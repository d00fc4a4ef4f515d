//! Commands on all fields of a hash.

use crate::commands::ShardContext;
use crate::commands::row::Outcome;
use crate::commands::scan_options::{ScanOptions, Scanned, parse_cursor, reply_page};
use crate::resp::{Args, Output, Reply};
use crate::types::Hash;

pub(super) fn hlen(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let count = ctx.db.get::<Hash>(args.at(1))?.map_or(0, Hash::len);
    ctx.reply.count(count);
    Ok(())
}

pub(super) fn hgetall(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let Some(hash) = ctx.db.get::<Hash>(args.at(1))? else {
        ctx.reply.map(0);
        return Ok(());
    };
    ctx.reply.map(hash.len());
    for (field, value) in hash.iter() {
        ctx.reply.bulk(field.bytes(&mut itoa::Buffer::new()));
        ctx.reply.bulk(value.bytes(&mut itoa::Buffer::new()));
    }
    Ok(())
}

pub(super) fn hkeys(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let Some(hash) = ctx.db.get::<Hash>(args.at(1))? else {
        ctx.reply.array(0);
        return Ok(());
    };
    ctx.reply.array(hash.len());
    for (field, _) in hash.iter() {
        ctx.reply.bulk(field.bytes(&mut itoa::Buffer::new()));
    }
    Ok(())
}

pub(super) fn hvals(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let Some(hash) = ctx.db.get::<Hash>(args.at(1))? else {
        ctx.reply.array(0);
        return Ok(());
    };
    ctx.reply.array(hash.len());
    for (_, value) in hash.iter() {
        ctx.reply.bulk(value.bytes(&mut itoa::Buffer::new()));
    }
    Ok(())
}

pub(super) fn hscan(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let cursor = parse_cursor(args.at(2))?;
    // As in Redis, a missing key is answered before the options are read.
    let Some(hash) = ctx.db.get::<Hash>(args.at(1))? else {
        reply_page(&mut ctx.reply, 0, 0, Output::default());
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, Scanned::Fields)?;
    let mut body = Output::default();
    let mut pairs = Reply::new(&mut body, ctx.reply.protocol());
    let mut found = 0;
    let next = hash.scan(cursor, options.count, |field, value| {
        let mut digits = itoa::Buffer::new();
        let field = field.bytes(&mut digits);
        if !options.admits(field) {
            return;
        }
        pairs.bulk(field);
        found += 1;
        if !options.no_values {
            pairs.bulk(value.bytes(&mut itoa::Buffer::new()));
            found += 1;
        }
    });
    reply_page(&mut ctx.reply, next, found, body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;
    use std::collections::HashMap;

    #[test]
    fn a_session() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > HSET h a 1 2 b
            > HLEN h
            (integer) 2
            > HGETALL h
            ["a", "1", "2", "b"]
            > HKEYS h
            ["a", "2"]
            > HVALS h
            ["1", "b"]
            > HLEN none
            (integer) 0
            > HGETALL none
            []
            > HKEYS none
            []
            > HVALS none
            []
            "#,
        );
        let mut shell = Shell::resp3();
        shell.session(
            "> HSET h a 1\n> HGETALL h\n{\"a\": \"1\"}\n> HGETALL none\n{}\n> HKEYS h\n[\"a\"]\n> HVALS h\n[\"1\"]",
        );
    }

    #[test]
    fn hscan_takes_compact_hashes_whole() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > HSET h 1 a 2 b 30 c
            > HSCAN h 0
            ["0", ["1", "a", "2", "b", "30", "c"]]
            > HSCAN h 0 COUNT 1 NOVALUES
            ["0", ["1", "2", "30"]]
            > HSCAN h 0 MATCH 3*
            ["0", ["30", "c"]]
            > HSCAN none 0 BAD
            ["0", []]
            > HSCAN none x
            (error) ERR invalid cursor
            > HSCAN h 0 BAD
            (error) ERR syntax error
            > HSCAN h 0 COUNT 0
            (error) ERR syntax error
            > HSCAN h 0 COUNT x
            (error) ERR value is not an integer or out of range
            "#,
        );
    }

    #[test]
    fn large_hashes_are_whole_and_hscan_finds_every_field_while_they_grow() {
        let mut shell = Shell::new();
        for number in 0..700 {
            shell.run(&format!("HSET h f{number} v{number}"));
        }
        assert_eq!(shell.encoding("h"), "hashtable");
        assert_eq!(shell.run("HGETALL h").matches('"').count(), 4 * 700);
        assert_eq!(shell.run("HKEYS h").matches("\"f").count(), 700);
        assert_eq!(shell.run("HVALS h").matches("\"v").count(), 700);
        let (mut cursor, mut seen, mut calls) = (String::from("0"), HashMap::new(), 0);
        loop {
            let reply = shell.run(&format!("HSCAN h {cursor} COUNT 20"));
            let mut words = reply.split('"').skip(1).step_by(2).map(str::to_string);
            cursor = words.next().unwrap();
            while let (Some(field), Some(value)) = (words.next(), words.next()) {
                seen.insert(field, value);
            }
            calls += 1;
            for number in 0..20 {
                shell.run(&format!("HSET h new{calls}-{number} x"));
            }
            if cursor == "0" {
                break;
            }
            assert!(calls < 1000);
        }
        assert!((0..700).all(|number| seen.get(&format!("f{number}")) == Some(&format!("v{number}"))));
        assert!(calls > 5, "{calls} calls");
    }
}
