//! Rewriting the log beside large values: nobody waits for them, and what the log holds is what was there.

use crate::{Home, info, wait_until};
use std::time::{Duration, Instant};

const ELEMENTS: usize = 2_000_000;
const FIELDS: usize = 300_000;

/// Longest wait for a reply while large values are written. To write this list at once takes several times as long; a busy
/// machine may keep a process waiting for some tens of milliseconds.
const PING_MAX: Duration = Duration::from_millis(100);

/// Sends commands with so many items each, and reads all replies.
fn fill(client: &mut crate::support::Client, head: &[&str], items: usize, item: impl Fn(usize) -> Vec<String>) {
    const EACH: usize = 1000;
    for first in (0..items).step_by(EACH) {
        let mut words: Vec<String> = head.iter().map(ToString::to_string).collect();
        (first..items.min(first + EACH)).for_each(|number| words.extend(item(number)));
        client.send(&crate::support::encode(&words));
    }
    (0..items.div_ceil(EACH)).for_each(|_| drop(client.read()));
}

/// A rewrite took all of a list of this size in one turn, and a hash in another.
#[test]
fn a_rewrite_of_large_values_keeps_nobody_waiting() {
    let home = Home::new();
    let mut server = home.serve(1, &["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"]);
    let mut client = server.client();
    fill(&mut client, &["RPUSH", "list"], ELEMENTS, |number| vec![number.to_string()]);
    fill(&mut client, &["HSET", "hash"], FIELDS, |number| vec![format!("f{number}"), number.to_string()]);
    client.call(&["SET", "string", &"x".repeat(20 << 20)]);
    let mut longest = Vec::new();
    for round in 1..=3 {
        let rewrites = round.to_string();
        assert!(client.show("BGREWRITEAOF").contains("started"));
        let mut slowest = Duration::ZERO;
        for number in 0.. {
            // What is still to be written is changed meanwhile, at both ends and inside.
            let begun = Instant::now();
            client.run("PING");
            client.run(&format!("HSET hash f{} changed", number * 7919 % FIELDS));
            client.run("RPOPLPUSH list list");
            slowest = slowest.max(begun.elapsed());
            let done = || info(&server, "aof_rewrite_in_progress") == "0" && info(&server, "aof_rewrites") == rewrites;
            if number % 100 == 99 && done() {
                break;
            }
        }
        longest.push(slowest);
    }
    assert!(longest.iter().any(|slowest| *slowest < PING_MAX), "{longest:?}");
    let text: String = (0..300_000).map(|number| format!("{number:010}")).collect();
    client.call(&["SET", "logged", &text, "EX", "1000"]);
    client.run("WAITAOF 1 0 10000");
    let ends = ["LINDEX list 0", "LINDEX list -1", "LINDEX list 1000000", "HGET hash f7919", "HGET hash f299999"];
    let before: Vec<String> = ends.iter().map(|command| client.show(command)).collect();
    assert_eq!(server.stop(libc::SIGKILL), None);
    for threads in [1, 2] {
        let mut server = home.serve(threads, &["--appendonly", "yes"]);
        wait_until("it is loaded", || !server.client().show("DBSIZE").contains("LOADING"));
        let mut client = server.client();
        assert_eq!(client.show("LLEN list"), format!("(integer) {ELEMENTS}"));
        assert_eq!(client.show("HLEN hash"), format!("(integer) {FIELDS}"));
        assert_eq!(client.show("STRLEN string"), format!("(integer) {}", 20 << 20));
        let after: Vec<String> = ends.iter().map(|command| client.show(command)).collect();
        assert_eq!(before, after, "{threads} threads");
        assert!(client.run("GET logged").text() == text && client.run("TTL logged").integer() > 900);
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
    }
}

/// Two keys on different shards of two.
const KEYS: [&str; 2] = ["a", "c"];

/// The longest wait for a PING on each of two cores, until `done`.
fn longest_pings(server: &crate::support::Server, done: &std::sync::atomic::AtomicBool) -> Duration {
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    let mut slowest = Duration::ZERO;
    while !done.load(std::sync::atomic::Ordering::Relaxed) {
        for client in &mut clients {
            let begun = Instant::now();
            client.run("PING");
            slowest = slowest.max(begun.elapsed());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    slowest
}

/// A rename to another shard logged the value whole, twice, in one turn of each.
#[test]
fn a_large_value_that_goes_to_another_shard_keeps_nobody_waiting() {
    move_large_value(|client, from, to| assert_eq!(client.show(&format!("RENAME {from} {to}")), "OK"));
}

/// So did a transaction that runs command by command.
#[test]
fn a_large_value_that_goes_to_another_shard_between_commands_on_all_shards_keeps_nobody_waiting() {
    move_large_value(|client, from, to| {
        let (rename, len, set) = (format!("RENAME {from} {to}"), format!("LLEN {to}"), format!("LSET {to} 7 seven"));
        for command in ["MULTI", "DBSIZE", &rename, &len, &set] {
            client.run(command);
        }
        let exec = client.show("EXEC");
        assert!(exec.contains("OK") && exec.contains(&format!("(integer) {ELEMENTS}")), "{exec}");
    });
}

/// Has a large list go from one shard to the other and back while others wait for PINGs, ends the server, and looks for the
/// list in the log.
fn move_large_value(rename: impl Fn(&mut crate::support::Client, &str, &str)) {
    let home = Home::new();
    let flags = ["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"];
    let mut server = home.serve(2, &flags);
    let mut client = server.client();
    fill(&mut client, &["RPUSH", KEYS[0]], ELEMENTS, |number| vec![number.to_string()]);
    client.run("PEXPIRE a 100000000");
    let mut longest = Vec::new();
    for round in 0..3 {
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let pings = scope.spawn(|| longest_pings(&server, &done));
            let (from, to) = (KEYS[round % 2], KEYS[(round + 1) % 2]);
            rename(&mut client, from, to);
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            longest.push(pings.join().expect("the server answers"));
        });
    }
    assert!(longest.iter().any(|slowest| *slowest < PING_MAX), "{longest:?}");
    assert_eq!(server.stop(libc::SIGKILL), None);
    for threads in [2, 1] {
        let mut server = home.serve(threads, &flags);
        wait_until("it is loaded", || !server.client().show("DBSIZE").contains("LOADING"));
        let mut client = server.client();
        assert_eq!(client.show("DBSIZE"), "(integer) 1");
        assert_eq!(client.show(&format!("LLEN {}", KEYS[1])), format!("(integer) {ELEMENTS}"));
        assert_eq!(client.show(&format!("LINDEX {} 1234567", KEYS[1])), "\"1234567\"");
        assert!(client.run(&format!("PTTL {}", KEYS[1])).integer() > 90_000_000);
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
    }
}

/// The pieces of a value that has not arrived yet are dropped, and the value is where it was.
#[test]
fn a_large_value_on_its_way_survives_a_kill_in_one_place() {
    let home = Home::new();
    let flags = ["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"];
    let (mut at, mut on_its_way) = (0, 0);
    for round in 0..6u64 {
        let mut server = home.serve(2, &flags);
        wait_until("it is loaded", || !server.client().show("DBSIZE").contains("LOADING"));
        let mut client = server.client();
        if round == 0 {
            fill(&mut client, &["HSET", KEYS[at]], FIELDS, |number| vec![format!("f{number}"), number.to_string()]);
            client.run("WAITAOF 1 0 10000");
        }
        let found = KEYS.map(|key| client.run(&format!("HLEN {key}")).integer());
        assert_eq!(found.iter().sum::<i64>(), FIELDS as i64, "round {round}: {found:?}");
        at = found.iter().position(|len| *len > 0).expect("it is somewhere");
        client.send(&crate::support::encode(&["RENAME", KEYS[at], KEYS[1 - at]]));
        std::thread::sleep(Duration::from_millis(5 + 7 * round));
        client.set_read_timeout(Duration::from_millis(1));
        on_its_way += usize::from(client.try_read().is_err());
        assert_eq!(server.stop(libc::SIGKILL), None);
    }
    assert!(on_its_way > 0, "no kill came while it was on its way");
}

/// What a rewrite had not written yet of a hash that went to another shard was written at once.
#[test]
fn a_large_hash_that_goes_to_another_shard_during_a_rewrite_keeps_nobody_waiting() {
    let home = Home::new();
    let flags = ["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"];
    let mut server = home.serve(2, &flags);
    let mut client = server.client();
    fill(&mut client, &["HSET", KEYS[0]], FIELDS, |number| vec![format!("f{number}"), number.to_string()]);
    let mut longest = Vec::new();
    let mut during = 0;
    for round in 0..6 {
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let pings = scope.spawn(|| longest_pings(&server, &done));
            assert!(client.show("BGREWRITEAOF").contains("started"));
            std::thread::sleep(Duration::from_millis(4 * round));
            let (from, to) = (KEYS[round as usize % 2], KEYS[(round as usize + 1) % 2]);
            assert_eq!(client.show(&format!("RENAME {from} {to}")), "OK");
            during += usize::from(info(&server, "aof_rewrite_in_progress") == "1");
            client.run(&format!("HSET {to} f{round} changed"));
            wait_until("it is rewritten", || info(&server, "aof_rewrite_in_progress") == "0");
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            longest.push(pings.join().expect("the server answers"));
        });
        assert_eq!(info(&server, "aof_last_bgrewrite_status"), "ok");
        if round % 2 == 1 {
            assert_eq!(server.stop(libc::SIGKILL), None);
            server = home.serve(2, &flags);
            client = server.client();
            assert_eq!(client.show("DBSIZE"), "(integer) 1");
            assert_eq!(client.run(&format!("HLEN {}", KEYS[0])).integer(), FIELDS as i64);
            assert_eq!(client.show(&format!("HGET {} f{round}", KEYS[0])), "\"changed\"");
            assert_eq!(client.show(&format!("HGET {} f299999", KEYS[0])), "\"299999\"");
        }
    }
    assert!(during > 0, "no rename came during a rewrite");
    assert!(longest.iter().any(|slowest| *slowest < PING_MAX), "{longest:?}");
}
