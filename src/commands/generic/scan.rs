//! Listing keys: RANDOMKEY, KEYS, SCAN. Each answers for one shard.
//!
//! SCAN goes from shard to shard. Its cursor tells which one is at work, so that a scan needs no state on the server:
//!
//! ```text
//! bit 63        48 47                                  0
//!     | shard     | place in the shard's table, 0: start |
//! ```

use crate::commands::ShardContext;
use crate::commands::row::Outcome;
use crate::commands::scan_options::{ScanOptions, Scanned, parse_cursor};
use crate::limits::SCAN_POSITION_BITS;
use crate::resp::{Args, Output, Reply};
use crate::stdx::glob;

/// About how many keys KEYS visits in one step of its walk.
const KEYS_STEP: usize = 1024;

pub(super) fn randomkey(ctx: &mut ShardContext<'_>, _args: Args<'_>) -> Outcome {
    let key = ctx.db.random_key(ctx.random);
    ctx.reply.bulk_or_null(key);
    Ok(())
}

pub(super) fn keys(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let pattern = args.at(1);
    let all = pattern == b"*";
    let db = &mut *ctx.db;
    ctx.reply.array_of(|reply| {
        let (mut len, mut cursor) = (0, 0);
        loop {
            cursor = db.scan(cursor, KEYS_STEP, |key, _| {
                if all || glob::matches(pattern, key) {
                    reply.bulk(key);
                    len += 1;
                }
            });
            if cursor == 0 {
                return len;
            }
        }
    });
    Ok(())
}

pub(super) fn scan(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let cursor = parse_cursor(args.at(1))?;
    let options = ScanOptions::parse(args, 2, Scanned::Keys)?;
    let mut found = Output::default();
    let mut reply = Reply::new(&mut found, ctx.reply.protocol());
    let (shard, shards) = (u64::from(ctx.shard.0), u64::from(ctx.shards));
    let mut next = 0;
    // A cursor that no SCAN has handed out may name a shard that does not exist: nothing is there, the scan is over.
    let mut len = 0;
    if cursor >> SCAN_POSITION_BITS == shard {
        let place = cursor & ((1 << SCAN_POSITION_BITS) - 1);
        let place = ctx.db.scan(place, options.count, |key, value| {
            let of_type = |name: &[u8]| value.kind().name().as_bytes().eq_ignore_ascii_case(name);
            if options.type_name.is_none_or(of_type) && options.admits(key) {
                reply.bulk(key);
                len += 1;
            }
        });
        next = next_cursor(place, shard, shards);
    }
    ctx.reply.array(2);
    ctx.reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    ctx.reply.array(len);
    ctx.reply.append(found);
    Ok(())
}

/// The cursor that follows `place` on `shard`: the next shard's start when this one is done, 0 when all are.
fn next_cursor(place: u64, shard: u64, shards: u64) -> u64 {
    debug_assert!(place >> SCAN_POSITION_BITS == 0, "the table's cursors leave room for the shard");
    match place {
        0 if shard + 1 < shards => (shard + 1) << SCAN_POSITION_BITS,
        0 => 0,
        place => shard << SCAN_POSITION_BITS | place,
    }
}

#[cfg(test)]
mod tests {
    use super::next_cursor;
    use crate::commands::testing::Shell;
    use std::collections::BTreeSet;

    #[test]
    fn lists_keys_by_pattern() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > KEYS *
            []
            > RANDOMKEY
            (nil)
            > SET hello 1
            > RANDOMKEY
            "hello"
            > SET world 2
            > KEYS h?llo
            ["hello"]
            > KEYS *x*
            []
            "#,
        );
        shell.run("PEXPIRE hello 1");
        shell.now += 1;
        assert_eq!(shell.run("KEYS *"), "[\"world\"]");
    }

    #[test]
    fn keys_finds_each_key_once() {
        let mut shell = Shell::new();
        for number in 0..5000 {
            shell.run(&format!("SET key:{number} {number}"));
        }
        let reply = shell.run("KEYS *");
        let names: Vec<&str> = reply.trim_matches(['[', ']']).split(", ").collect();
        assert_eq!(names.len(), 5000);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 5000);
    }

    #[test]
    fn scan_walks_over_all_keys() {
        let mut shell = Shell::new();
        for number in 0..1000 {
            shell.run(&format!("SET key:{number} {number}"));
        }
        let (mut cursor, mut seen) = (String::from("0"), BTreeSet::new());
        loop {
            let reply = shell.run(&format!("SCAN {cursor} COUNT 7 MATCH key:* TYPE String"));
            let mut words = reply.split('"').skip(1).step_by(2);
            cursor = words.next().expect("a cursor").to_string();
            seen.extend(words.map(str::to_string));
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 1000);
        shell.session(
            r#"
            > SCAN 0 COUNT 100000 MATCH nothing
            ["0", []]
            > SCAN 0 COUNT 100000 TYPE list
            ["0", []]
            > SCAN 0 COUNT 100000 TYPE nonsense
            ["0", []]
            > SCAN 0 COUNT 100000 MATCH key:77
            ["0", ["key:77"]]
            > SCAN 18446744073709551615
            ["0", []]
            > SCAN x
            (error) ERR invalid cursor
            > SCAN 0 COUNT 0
            (error) ERR syntax error
            > SCAN 0 COUNT x
            (error) ERR value is not an integer or out of range
            > SCAN 0 MATCH
            (error) ERR syntax error
            > SCAN 0 LIMIT 1
            (error) ERR syntax error
            "#,
        );
    }

    #[test]
    fn a_cursor_goes_from_shard_to_shard() {
        assert_eq!(next_cursor(5, 0, 3), 5);
        assert_eq!(next_cursor(0, 0, 3), 1 << 48);
        assert_eq!(next_cursor(5, 1, 3), 1 << 48 | 5);
        assert_eq!(next_cursor(0, 1, 3), 2 << 48);
        assert_eq!(next_cursor(0, 2, 3), 0);
        assert_eq!(next_cursor(0, 0, 1), 0);
    }
}
