//! WAITAOF on the real binary.

use crate::support::{Client, Server, encode, words};
use crate::{Home, info, wait_until};
use std::time::{Duration, Instant};

const SYNCED: &str = "1) (integer) 1\n2) (integer) 0";
const NOT_SYNCED: &str = "1) (integer) 0\n2) (integer) 0";
const OFF: &str = "(error) ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

fn served(home: &Home, threads: usize, policy: &str) -> Server {
    home.serve(threads, &["--appendonly", "yes", "--appendfsync", policy])
}

/// A client that waits in `command`, and its id.
fn waiting(server: &Server, command: &str) -> (Client, i64) {
    let mut client = server.client();
    let id = client.run("CLIENT ID").integer();
    client.send(&encode(&words(command)));
    wait_until("it waits", || info(server, "blocked_clients") == "1");
    (client, id)
}

#[test]
fn a_client_waits_until_all_it_has_changed_is_on_disk() {
    for threads in [1, 3] {
        for policy in ["always", "everysec"] {
            let home = Home::new();
            let server = served(&home, threads, policy);
            let mut client = server.client();
            for round in 0..3 {
                // In one go: it waits for the replies that come before, from whatever core.
                let mut requests = Vec::new();
                for number in 0..50 {
                    requests.extend(encode(&words(&format!("SET key:{number} {round}"))));
                }
                requests.extend(encode(&words("MSET a 1 b 2 c 3 d 4")));
                requests.extend(encode(&words("WAITAOF 1 0 0")));
                requests.extend(encode(&words("GET key:49")));
                client.send(&requests);
                (0..51).for_each(|_| assert_eq!(client.read().text(), "OK"));
                let reply = client.read();
                let numbers: Vec<i64> = reply.elements().iter().map(|element| element.integer()).collect();
                assert_eq!(numbers, [1, 0], "{threads} threads, {policy}");
                assert_eq!(client.read().text(), round.to_string());
            }
        }
    }
}

#[test]
fn a_wait_ends_with_its_time_by_another_client_or_with_its_client() {
    let home = Home::new();
    let server = served(&home, 2, "no");
    let mut client = server.client();
    client.run("SET a 1");
    let started = Instant::now();
    assert_eq!(client.show("WAITAOF 1 0 100"), NOT_SYNCED, "nobody forces anything to disk");
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert_eq!(client.show("WAITAOF 0 0 0"), NOT_SYNCED, "there is nothing to wait for");
    client.run("MULTI");
    client.run("WAITAOF 1 1 0");
    assert_eq!(client.show("EXEC"), "1) 1) (integer) 0\n   2) (integer) 0");
    let (mut other, id) = waiting(&server, "WAITAOF 1 0 0");
    assert_eq!(client.show(&format!("CLIENT UNBLOCK {id} ERROR")), "(integer) 1");
    assert!(other.read().is_error());
    let (other, _) = waiting(&server, "WAITAOF 0 1 0");
    drop(other);
    wait_until("nobody waits", || info(&server, "blocked_clients") == "0");
    let (mut other, _) = waiting(&server, "WAITAOF 1 0 0");
    client.run("CONFIG SET appendfsync everysec");
    assert_eq!(other.read().elements()[0].integer(), 1);
}

#[test]
fn a_log_that_is_switched_off_or_on_is_waited_for() {
    let home = Home::new();
    let server = served(&home, 2, "no");
    let mut client = server.client();
    client.run("SET a 1");
    let (mut other, _) = waiting(&server, "WAITAOF 1 0 0");
    client.run("CONFIG SET appendonly no");
    assert!(other.read().is_error());
    assert_eq!(client.show("WAITAOF 1 0 0"), OFF);
    assert_eq!(client.show("WAITAOF 0 0 0"), NOT_SYNCED);
    client.run("SET a 2");
    wait_until("it is off", || info(&server, "aof_enabled") == "0");
    client.run("CONFIG SET appendonly yes appendfsync everysec");
    assert_eq!(client.show("WAITAOF 1 0 0"), SYNCED);
    assert_eq!(info(&server, "aof_rewrites"), "1", "only then it is a log");
    client.run("MSET a 3 b 4 c 5");
    assert_eq!(client.show("WAITAOF 1 0 0"), SYNCED);
}

/// With `no-appendfsync-on-rewrite` nothing is forced to disk while the log is rewritten, whatever `appendfsync` says.
#[test]
fn nothing_is_forced_to_disk_during_a_rewrite_where_that_is_wanted() {
    for wanted in ["no", "yes"] {
        let home = Home::new();
        let server = home.serve(1, &["--appendonly", "yes", "--appendfsync", "always"]);
        let mut client = server.client();
        client.run(&format!("CONFIG SET no-appendfsync-on-rewrite {wanted}"));
        for chunk in 0..300 {
            let set = |number: usize| encode(&["SET", &format!("key:{number}"), "0123456789"]);
            client.send(&(chunk * 1000..(chunk + 1) * 1000).flat_map(set).collect::<Vec<u8>>());
            (0..1000).for_each(|_| assert!(!client.read().is_error()));
        }
        client.run("BGREWRITEAOF");
        let mut unsafe_ones = 0;
        while info(&server, "aof_rewrites") == "0" {
            client.run("SET a 1");
            unsafe_ones += usize::from(client.show("WAITAOF 1 0 1") == NOT_SYNCED);
        }
        assert_eq!(unsafe_ones > 0, wanted == "yes", "{wanted}: {unsafe_ones}");
        client.run("SET a 2");
        assert_eq!(client.show("WAITAOF 1 0 0"), SYNCED, "{wanted}: the rewrite is over");
    }
}
