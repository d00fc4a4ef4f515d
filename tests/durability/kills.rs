//! Servers are killed while clients write and remember what was acknowledged. What the next server has loaded must hold
//! all of it, whatever the policy, of each transaction all or nothing, and nothing that was never sent. `KILLS` says how
//! often each server is killed; a few times unless told.

use crate::support::{Client, Server};
use crate::{Home, wait_until};
use std::sync::Mutex;
use std::time::Duration;

const CLIENTS: usize = 12;

fn kills() -> usize {
    std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// What one client has done so far.
#[derive(Clone, Default)]
struct Memory {
    /// The last number sent.
    sent: i64,
    /// The last number of which every command was acknowledged.
    acknowledged: i64,
}

/// Writes one number after another until the server is gone: a counter, a list, two keys at once, a transaction.
fn write(client: &mut Client, number: usize, memory: &Mutex<Memory>) {
    loop {
        let next = {
            let mut memory = memory.lock().expect("nobody panics");
            memory.sent += 1;
            memory.sent
        };
        let text = next.to_string();
        let key = |name: &str| format!("{name}:{number}");
        let commands: [Vec<String>; 4] = [
            vec!["INCR".into(), key("counter")],
            vec!["RPUSH".into(), key("list"), text.clone()],
            vec!["MSET".into(), key("left"), text.clone(), key("right"), text.clone()],
            vec!["MULTI".into()],
        ];
        let queued: [Vec<String>; 3] =
            [vec!["INCR".into(), key("one")], vec!["SADD".into(), key("two"), text], vec!["EXEC".into()]];
        for command in commands.iter().chain(&queued) {
            match client.try_call(command) {
                Ok((reply, _)) if !reply.is_error() => {}
                _ => return,
            }
        }
        memory.lock().expect("nobody panics").acknowledged = next;
    }
}

fn number(client: &mut Client, command: &str) -> i64 {
    let shown = client.show(command);
    if shown == "(nil)" {
        return 0;
    }
    shown.trim_start_matches("(integer) ").trim_matches('"').parse().unwrap_or_else(|_| panic!("{command}: {shown}"))
}

/// Compares what is there with what a client remembers; from then on it goes on from there.
fn check(server: &Server, number_of: usize, memory: &mut Memory) {
    let mut client = server.client();
    let mut get = |command: &str| number(&mut client, &format!("{command}:{number_of}"));
    let counter = get("GET counter");
    let length = get("LLEN list");
    let (left, right) = (get("GET left"), get("GET right"));
    let (one, two) = (get("GET one"), get("SCARD two"));
    let least = memory.acknowledged;
    for (what, found) in [("counter", counter), ("list", length), ("left", left), ("one", one)] {
        assert!(found >= least, "{what}:{number_of} is {found}, but {least} was acknowledged");
        assert!(found <= memory.sent, "{what}:{number_of} is {found}, but only {} was sent", memory.sent);
    }
    assert_eq!(left, right, "a MSET over two shards is there by half");
    assert_eq!(one, two, "a transaction is there by half");
    let list = client.run(&format!("LRANGE list:{number_of} 0 -1"));
    let list: Vec<String> = list.elements().iter().map(|element| element.text()).collect();
    let expected: Vec<String> = (1..=length).map(|number| number.to_string()).collect();
    assert!(list.iter().map(|text| text.trim_matches('"')).eq(expected.iter()), "elements are missing or there twice");
    // Everything begins anew, so that all numbers agree again.
    for name in ["counter", "list", "left", "right", "one", "two"] {
        client.run(&format!("DEL {name}:{number_of}"));
    }
    *memory = Memory::default();
}

/// Serves clients that write; `end` ends the server while they do. What each of them remembers.
fn write_until(server: &mut Server, end: impl FnOnce(&mut Server)) -> Vec<Memory> {
    let memories: Vec<Mutex<Memory>> = (0..CLIENTS).map(|_| Mutex::default()).collect();
    std::thread::scope(|scope| {
        for (number, memory) in memories.iter().enumerate() {
            let mut client = server.client();
            scope.spawn(move || write(&mut client, number, memory));
        }
        let written = |memory: &Mutex<Memory>| memory.lock().expect("nobody panics").acknowledged > 0;
        wait_until("something is written", || memories.iter().any(written));
        end(server);
    });
    memories.into_iter().map(|memory| memory.into_inner().expect("nobody panics")).collect()
}

fn kill_again_and_again(threads: usize, policy: &[&str], rewrites: bool) {
    let home = Home::new();
    let arguments = [&["--appendonly", "yes", "--appendfsync"], policy].concat();
    for round in 0..kills() {
        let mut server = home.serve(threads, &arguments);
        let mut memories = write_until(&mut server, |server| {
            std::thread::sleep(Duration::from_millis(150 + 70 * (round as u64 % 5)));
            if rewrites {
                server.client().run("BGREWRITEAOF");
                std::thread::sleep(Duration::from_millis(3 * (round as u64 % 7)));
            }
            server.stop(libc::SIGKILL);
        });
        // Another number of cores now and then.
        let threads = if round % 3 == 2 { threads % 4 + 1 } else { threads };
        let mut server = home.serve(threads, &arguments);
        for (number, memory) in memories.iter_mut().enumerate() {
            check(&server, number, memory);
        }
        // Every second time the next one has to cope with what a killed one has left, too.
        let again = round % 2 == 1;
        server.stop(if again { libc::SIGKILL } else { libc::SIGTERM });
    }
}

#[test]
fn nothing_acknowledged_is_lost_with_always_on_one_shard() {
    kill_again_and_again(1, &["always"], false);
}

#[test]
fn nothing_acknowledged_is_lost_with_always_on_two_shards_during_rewrites() {
    kill_again_and_again(2, &["always"], true);
}

#[test]
fn nothing_acknowledged_is_lost_with_always_on_four_shards() {
    kill_again_and_again(4, &["always"], false);
}

/// While the log is rewritten, `always` is as `no` then.
#[test]
fn nothing_acknowledged_is_lost_with_no_appendfsync_on_rewrite() {
    kill_again_and_again(2, &["always", "--no-appendfsync-on-rewrite", "yes"], true);
}

/// With `everysec` and `no` replies left before the kernel had what they told of: 20 of 32 keys were gone after 8 kills.
#[test]
fn nothing_acknowledged_is_lost_with_everysec_on_one_shard() {
    kill_again_and_again(1, &["everysec"], false);
}

#[test]
fn nothing_acknowledged_is_lost_with_everysec_on_two_shards_during_rewrites() {
    kill_again_and_again(2, &["everysec"], true);
}

#[test]
fn nothing_acknowledged_is_lost_without_syncs_on_four_shards_during_rewrites() {
    kill_again_and_again(4, &["no"], true);
}

/// What was asked in the last moments of an orderly end was answered, and logged when nobody wrote the log any more: up to
/// 150 of the last writes were gone.
#[test]
fn nothing_acknowledged_is_lost_when_a_server_ends_under_load() {
    for (policy, threads) in [("everysec", 2), ("no", 2), ("always", 2), ("everysec", 4)] {
        let home = Home::new();
        let arguments = ["--appendonly", "yes", "--appendfsync", policy];
        for _ in 0..3 {
            let mut server = home.serve(threads, &arguments);
            let mut memories = write_until(&mut server, |server| {
                std::thread::sleep(Duration::from_millis(200));
                assert_eq!(server.stop(libc::SIGTERM), Some(0));
            });
            let server = home.serve(threads, &arguments);
            for (number, memory) in memories.iter_mut().enumerate() {
                check(&server, number, memory);
            }
        }
    }
}

/// Several turns become one batch while a sync is under way, and what was logged in the second of them in database 0 was
/// replayed in the last database of the first.
#[test]
fn what_is_logged_in_one_database_stays_there() {
    const KEYS: usize = 400;
    for (threads, policy) in [(1, "always"), (2, "always"), (1, "everysec")] {
        let home = Home::new();
        let arguments = ["--appendonly", "yes", "--appendfsync", policy];
        let mut server = home.serve(threads, &arguments);
        std::thread::scope(|scope| {
            for number in 0..4 {
                let mut client = server.client();
                scope.spawn(move || {
                    assert_eq!(client.show(&format!("SELECT {}", 5 * (number % 2))), "OK");
                    (0..KEYS).for_each(|key| assert_eq!(client.show(&format!("SET {number}:{key} {number}")), "OK"));
                });
            }
        });
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
        let server = home.serve(threads, &arguments);
        let mut client = server.client();
        let sizes = [0, 5].map(|database| {
            client.run(&format!("SELECT {database}"));
            client.run("DBSIZE").integer()
        });
        assert_eq!(sizes, [2 * KEYS as i64; 2], "{threads} threads, {policy}");
    }
}
