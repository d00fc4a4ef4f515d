//! Logs of 1, 2 and 4 shards, loaded by 1, 2 and 4 threads, and transactions over several shards that some have lost.

use crate::logs::{Dir, Written, contents, name, records};
use crate::support::wait_until;
use crimson::persistence::aof::Kind;
use std::time::Duration;

const THREADS: [u16; 3] = [1, 2, 4];

/// The same data, written by so many shards.
fn example(shards: u16) -> Dir {
    let mut log = Written::new(shards);
    // What only one shard forgets must not concern the others.
    for number in 0..100 {
        log.on(&format!("old:{number}"), &[&format!("SET old:{number} x")]);
    }
    (0..shards).for_each(|shard| log.batch(shard, &["FLUSHDB"]));
    for number in 0..200 {
        let key = format!("string:{number}");
        log.on(&key, &[&format!("SET {key} {number}")]);
        if number % 3 == 0 {
            log.on(&key, &[&format!("DEL {key}")]);
        }
    }
    for number in 0..20 {
        let (list, set, hash) = (format!("list:{number}"), format!("set:{number}"), format!("hash:{number}"));
        log.on(
            &list,
            &[&format!("RPUSH {list} a b c"), "MULTI", &format!("LPOP {list}"), &format!("RPUSH {list} d"), "EXEC"],
        );
        log.on(&set, &["SELECT 1", &format!("SADD {set} 1 2 {number}x")]);
        log.on(&hash, &["SELECT 3", &format!("HSET {hash} f 1 g 2"), &format!("PEXPIREAT {hash} 4102444800000")]);
        let large = format!("large:{number}");
        log.on(&large, &[&format!("SET {large} {}", "x".repeat(2000 + number))]);
    }
    log.on("gone", &["SET gone x PXAT 1000"]);
    log.store()
}

#[test]
fn any_number_of_threads_loads_the_log_of_any_number_of_shards() {
    let mut expected = None;
    for shards in THREADS {
        for threads in THREADS {
            let dir = example(shards);
            let mut server = dir.serve(threads.into(), &[]);
            let loaded = contents(&mut server.client());
            assert_eq!(expected.get_or_insert_with(|| loaded.clone()), &loaded, "{shards} shards, {threads} threads");
            assert!(loaded.contains("\n0 string:1 string [\"1\"] -1\n"), "{loaded}");
            assert!(!loaded.contains("old:") && !loaded.contains("gone"), "{loaded}");
            // What is written now is there after the next start, of whatever number of threads.
            server.client().run("SET new 1");
            assert_eq!(server.stop(libc::SIGTERM), Some(0));
            for threads in [threads, 3] {
                let server = dir.serve(threads.into(), &[]);
                let again = contents(&mut server.client());
                assert_eq!(again, with_new(&loaded), "{shards} shards, then {threads} threads");
            }
        }
    }
}

#[test]
fn a_start_that_is_killed_leaves_a_log_that_loads() {
    let dir = example(4);
    let mut expected = None;
    for step in 0..30 {
        // Threads change, so that each start that comes far enough begins a new generation.
        let mut server = dir.begin([2, 3, 1][step % 3], &[]);
        std::thread::sleep(Duration::from_millis(step as u64 * 2));
        assert_eq!(server.stop(libc::SIGKILL), None);
        if step % 6 == 5 {
            let mut server = dir.serve(4, &[]);
            let loaded = contents(&mut server.client());
            assert_eq!(expected.get_or_insert_with(|| loaded.clone()), &loaded, "step {step}");
            assert_eq!(server.stop(libc::SIGKILL), None);
        }
    }
}

/// `loaded` with one more key.
fn with_new(loaded: &str) -> String {
    let mut lines: Vec<&str> = loaded.lines().collect();
    lines.push("0 new string [\"1\"] -1");
    lines.sort();
    lines.join("\n") + "\n"
}

#[test]
fn bases_and_increments_are_loaded_in_order() {
    let mut log = Written::new(2);
    for shard in 0..2 {
        log.bytes(shard, Kind::Base, &records(&["SET base 1", "SET x base", "SELECT 2", "SET two 2"]));
        log.batch(shard, &["SET x first", "APPEND base 2"]);
    }
    log.next_generation();
    (0..2).for_each(|shard| log.batch(shard, &["SET x second", "APPEND base 3"]));
    let dir = log.store();
    for _ in 0..2 {
        let server = dir.serve(2, &[]);
        let mut client = server.client();
        assert_eq!((client.show("GET x"), client.show("GET base")), ("\"second\"".into(), "\"123\"".into()));
        client.run("SELECT 2");
        assert_eq!(client.show("GET two"), "\"2\"");
    }
    assert_eq!(dir.names().len(), 7);
}

/// Commands that write the digit `stamp` behind what a key holds.
fn append(key: &str, stamp: u8) -> Vec<String> {
    vec![format!("APPEND {key} {stamp}")]
}

#[test]
fn transactions_that_some_shards_have_lost_are_completed() {
    let mut log = Written::new(3);
    let keys: Vec<String> = (0..3).map(|shard| log.key(shard)).collect();
    let mut transaction = |stamp: u8, shards: &[u16], to: &[u16]| {
        let parts: Vec<(u16, Vec<String>)> =
            shards.iter().map(|&shard| (shard, append(&keys[usize::from(shard)], stamp))).collect();
        log.transaction(stamp.into(), &parts, to);
    };
    transaction(5, &[0, 1], &[0, 1]);
    transaction(7, &[0, 1, 2], &[1]);
    transaction(6, &[0, 2], &[2]);
    transaction(9, &[1, 2], &[1]);
    let values = ["567", "579", "679"];
    for threads in [1, 2, 3, 4] {
        let dir = log.store();
        for start in 0..3 {
            let server = dir.serve(threads, &[]);
            let mut client = server.client();
            for (key, value) in keys.iter().zip(values) {
                assert_eq!(
                    client.show(&format!("GET {key}")),
                    format!("\"{value}\""),
                    "{threads} threads, start {start}"
                );
            }
            wait_until("it is ready", || server.log().contains("Ready to accept connections"));
            let completed = server.log().contains(": completed 2 transactions");
            assert_eq!(completed, start == 0, "{threads} threads, start {start}: {}", server.log());
            // Stamps go on above all that there were.
            client.run("MSET x 1 y 2 z 3 w 4");
        }
        if threads == 3 {
            let first = String::from_utf8_lossy(&dir.bytes(&name(1, 0, Kind::Increment))).into_owned();
            let places: Vec<_> = ["\r\n6\r\n", "\r\n7\r\n"].iter().map(|stamp| first.find(stamp)).collect();
            assert!(places[0].is_some() && places[0] < places[1], "{first}");
        }
    }
}

#[test]
fn a_large_transaction_that_a_shard_has_lost_is_completed() {
    let mut log = Written::new(2);
    let keys: Vec<String> = (0..2).map(|shard| log.key(shard)).collect();
    let part = |shard: usize| -> Vec<String> {
        let piece = |number: usize| format!("APPEND {} {}", keys[shard], number.to_string().repeat(1 << 20));
        (0..10).map(piece).collect()
    };
    log.transaction(3, &[(0, part(0)), (1, part(1))], &[1]);
    for threads in [1, 2] {
        let dir = log.store();
        let records = dir.bytes(&name(1, 1, Kind::Increment));
        let records = records.windows(19).filter(|bytes| bytes == b"CRIMSON.TRANSACTION").count();
        assert_eq!(records, 4, "7 MiB and 3 of each shard");
        for start in 0..2 {
            let server = dir.serve(threads, &[]);
            let mut client = server.client();
            for key in &keys {
                assert_eq!(client.show(&format!("STRLEN {key}")), format!("(integer) {}", 10 << 20), "start {start}");
                assert_eq!(client.show(&format!("GETRANGE {key} 1048575 1048576")), "\"01\"");
                assert_eq!(client.show(&format!("GETRANGE {key} -1 -1")), "\"9\"");
            }
            assert_eq!(server.log().contains(": completed 1 transactions"), start == 0, "{}", server.log());
        }
    }
}

#[test]
fn what_fails_in_a_completed_transaction_does_not_fail_again() {
    let mut log = Written::new(2);
    let keys: Vec<String> = (0..2).map(|shard| log.key(shard)).collect();
    // The removal of the string has been lost together with the transaction.
    log.batch(0, &[&format!("SET {} text", keys[0])]);
    let part = |shard: usize| vec![format!("RPUSH {} a", keys[shard]), format!("SET {{{}}}other 1", keys[shard])];
    log.transaction(3, &[(0, part(0)), (1, part(1))], &[1]);
    for threads in [1, 2] {
        let dir = log.store();
        for start in 0..2 {
            let server = dir.serve(threads, &[]);
            let mut client = server.client();
            assert_eq!(client.show(&format!("GET {}", keys[0])), "\"text\"", "{threads} threads, start {start}");
            assert_eq!(client.show(&format!("LLEN {}", keys[1])), "(integer) 1");
            for key in &keys {
                assert_eq!(client.show(&format!("GET {{{key}}}other")), "\"1\"");
            }
            wait_until("it is ready", || server.log().contains("Ready to accept connections"));
            assert_eq!(server.log().contains("1 of their commands have failed"), start == 0, "{}", server.log());
        }
        assert!(dir.names().contains(&name(2, 0, Kind::Base)), "{:?}", dir.names());
    }
}
