//! Transactions and watches while clients of all cores work on the same keys.

use super::commands::{answers_after_the_end_of_input, bulk};
use super::reply::Reply;
use super::world::{World, each_seed, requests};
use crimson::stdx::random::Random;

/// A client that adds one to a number as long as it has rounds left: it watches, reads, and writes unless another was
/// faster.
struct Adder {
    key: String,
    rounds: usize,
    added: u64,
    /// Whether it has read and awaits its transaction.
    in_transaction: bool,
}

impl Adder {
    /// What the client sends next, once it has got all it waits for.
    fn proceed(&mut self, received: &mut Vec<u8>) -> Vec<u8> {
        let text = String::from_utf8_lossy(received).into_owned();
        if self.in_transaction {
            let Some(result) = text.strip_prefix("+OK\r\n+QUEUED\r\n+QUEUED\r\n") else { return Vec::new() };
            match result {
                "*2\r\n+OK\r\n:1\r\n" => self.added += 1,
                "*-1\r\n" => {}
                _ if result.len() < 13 => return Vec::new(),
                other => panic!("EXEC answers {other:?}"),
            }
            (self.in_transaction, self.rounds) = (false, self.rounds - 1);
        } else if let Some(value) = text.strip_prefix("+OK\r\n$") {
            let Some(value) = value.strip_suffix("\r\n").and_then(|value| value.split_once("\r\n")) else {
                return Vec::new();
            };
            let next = (value.1.parse::<u64>().expect("a number") + 1).to_string();
            self.in_transaction = true;
            received.clear();
            let lock = format!("{}:nx", self.key);
            return requests(&[&["MULTI"], &["SET", &self.key, &next], &["EXISTS", &self.key, &lock], &["EXEC"]]);
        } else if !text.is_empty() {
            return Vec::new();
        }
        received.clear();
        if self.rounds == 0 { Vec::new() } else { requests(&[&["WATCH", &self.key], &["GET", &self.key]]) }
    }
}

/// Watched reads and the writes that depend on them: no addition is lost, none counts twice.
fn additions_are_not_lost(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(1 + random.below(6), seed);
    answers_after_the_end_of_input(&mut world, &[&["MSET", "{a}n", "0", "{b}n", "0"]]);
    let clients: Vec<usize> = (0..6).map(|_| world.connect()).collect();
    let key = |index: usize| ["{a}n", "{b}n"][index % 2].to_string();
    let mut adders: Vec<Adder> =
        (0..6).map(|index| Adder { key: key(index), rounds: 12, added: 0, in_transaction: false }).collect();
    for (adder, &client) in adders.iter_mut().zip(&clients) {
        world.send_bytes(client, adder.proceed(&mut Vec::new()));
    }
    while adders.iter().any(|adder| adder.rounds > 0) {
        assert!(world.turns < 200_000, "a client waits for ever");
        world.step();
        for (adder, &client) in adders.iter_mut().zip(&clients) {
            if world.clients[client].input.is_empty() && !world.clients[client].received.is_empty() {
                let next = adder.proceed(&mut world.clients[client].received);
                world.send_bytes(client, next);
            }
        }
    }
    for (key, first) in [("{a}n", 0), ("{b}n", 1)] {
        let added: u64 = adders[first..].iter().step_by(2).map(|adder| adder.added).sum();
        assert!(added > 0);
        let held = answers_after_the_end_of_input(&mut world, &[&["GET", key]]);
        assert_eq!(held, bulk(&added.to_string()));
    }
    assert!(world.engines().all(|engine| engine.watching_clients() == 0));
}

/// What one transaction writes, another one sees whole or not at all.
fn transactions_are_seen_whole(seed: u64) {
    let mut world = World::new(4, seed);
    let clients: Vec<usize> = (0..6).map(|_| world.connect()).collect();
    let add: &[&[&str]] = &[&["MULTI"], &["INCR", "{t}a"], &["PING"], &["INCR", "{t}b"], &["EXEC"]];
    let look: &[&[&str]] = &[&["MULTI"], &["GET", "{t}a"], &["GET", "{t}b"], &["EXEC"]];
    for (index, &client) in clients.iter().enumerate() {
        world.send_bytes(client, requests(&(if index % 2 == 0 { add } else { look }).repeat(20)));
    }
    world.run();
    for (index, client) in clients.into_iter().enumerate() {
        let text = world.take_received(client);
        let mut results = text.split("+QUEUED\r\n").filter(|part| part.starts_with('*'));
        let equal = |result: &str| {
            let lines: Vec<&str> = result.trim_end_matches("+OK\r\n").lines().collect();
            match lines[..] {
                ["*3", a, "+PONG", b] => a == b && index % 2 == 0,
                ["*2", _, a, _, b] | ["*2", a, b] => a == b && index % 2 == 1,
                _ => false,
            }
        };
        let whole = results.clone().count() == 20 && results.all(equal);
        assert!(whole, "client {index}: {text}");
    }
}

/// Half a second goes by.
fn wait_half_a_second(world: &mut World) {
    let until = world.now + 500;
    while world.now < until {
        world.run();
    }
}

/// A watched key that expires fails the transaction, though nobody has looked at it since.
fn expired_keys_fail_transactions(seed: u64) {
    let mut world = World::new(4, seed);
    let node = world.engine(0).node().clone();
    node.active_expire.store(seed.is_multiple_of(2), std::sync::atomic::Ordering::Relaxed);
    let (first, second) = (world.connect(), world.connect());
    let ahead: &[&[&str]] = &[&["SET", "k", "1", "PX", "500"], &["WATCH", "other", "k"], &["MULTI"], &["PING"]];
    world.send_bytes(first, requests(ahead));
    world.run();
    wait_half_a_second(&mut world);
    world.send_bytes(second, requests(&[&["WATCH", "k", "other"], &["MULTI"], &["PING"]]));
    world.run();
    [first, second].into_iter().for_each(|client| world.send(client, &["DISCARD"]));
    world.run();
    let asked = "+OK\r\n+OK\r\n+QUEUED\r\n+OK\r\n";
    assert_eq!([first, second].map(|client| world.take_received(client)), [format!("+OK\r\n{asked}"), asked.into()]);

    let exec = requests(&[&["MULTI"], &["EXISTS", "k"], &["EXEC"]]);
    let (first, second) = (world.connect(), world.connect());
    world.send_bytes(first, requests(&[&["SET", "k", "1", "PX", "500"], &["WATCH", "k"]]));
    world.run();
    wait_half_a_second(&mut world);
    world.send(second, &["WATCH", "k"]);
    world.run();
    [first, second].into_iter().for_each(|client| world.send_bytes(client, exec.clone()));
    world.run();
    assert_eq!(world.take_received(first), "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n");
    assert_eq!(world.take_received(second), "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:0\r\n");
}

/// A watched key that expires while the values of other shards are on their way fails the transaction too.
fn keys_that_expire_on_the_way_fail_transactions(seed: u64) {
    let mut world = World::new(4, seed);
    let client = world.connect();
    let sent = world.now;
    world.send_bytes(client, requests(&[&["SET", "k", "1", "PX", "400"], &["WATCH", "k"]]));
    while world.clients[client].received.len() < 10 {
        world.step();
    }
    assert!(world.now < sent + 400, "it is watched before it expires");
    assert_eq!(world.take_received(client), "+OK\r\n+OK\r\n");
    let ahead = world.random.below(100) as i64;
    while world.now < sent + 400 - ahead {
        world.step();
    }
    let queue: &[&[&str]] = &[&["MULTI"], &["EXISTS", "k"], &["SET", "a", "1"], &["SET", "b", "1"], &["EXEC"]];
    world.send_bytes(client, requests(queue));
    world.run();
    let received = world.take_received(client);
    let result = received.strip_prefix("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n").expect("all is queued");
    assert!(["*-1\r\n", "*3\r\n:1\r\n+OK\r\n+OK\r\n"].contains(&result), "{result:?}");
}

/// Word that a key has expired on the way to another shard comes late; it is no change to who began to watch after that.
fn keys_that_had_expired_before_are_not_changed(seed: u64) {
    let mut world = World::new(4, seed);
    world.engine(0).node().active_expire.store(false, std::sync::atomic::Ordering::Relaxed);
    let (reader, watcher) = (world.connect(), world.connect());
    let sent = world.now;
    world.send(reader, &["SET", "k", "1", "PX", "400"]);
    let ahead = world.random.below(40) as i64;
    while world.now < sent + 400 - ahead {
        world.step();
    }
    let queue: &[&[&str]] = &[&["MULTI"], &["GET", "k"], &["SET", "a", "1"], &["SET", "b", "1"], &["EXEC"]];
    world.send_bytes(reader, requests(queue));
    // It has surely expired: the clock may have gone on before it was written.
    while world.now < sent + 440 {
        world.step();
    }
    world.send(watcher, &["WATCH", "k"]);
    world.run();
    world.send_bytes(watcher, requests(&[&["MULTI"], &["PING"], &["EXEC"]]));
    world.run();
    assert_eq!(world.take_received(watcher), "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n");
}

/// A client that leaves while its WATCH waits for the locks of others leaves no watch behind.
fn leaving_clients_do_not_come_to_watch(seed: u64) {
    let mut world = World::new(4, seed);
    let script: &[&[&str]] = &[&["RENAME", "a", "b"], &["MSET", "a", "1", "b", "2", "c", "3"]];
    let writers: Vec<usize> = (0..4).map(|_| world.connect()).collect();
    for &writer in &writers {
        world.send_bytes(writer, requests(&script.repeat(8)));
    }
    let watchers: Vec<usize> = (0..12).map(|_| world.connect()).collect();
    for client in watchers {
        world.send(client, &["WATCH", "a", "b", "c"]);
        for _ in 0..world.random.below(30) {
            world.step();
        }
        world.leave(client);
    }
    world.run();
    writers.into_iter().for_each(|client| world.leave(client));
    world.run();
    for core in 0..world.shards() {
        assert_eq!(world.engine(core).watching_clients(), 0);
        assert!(world.engine(core).session_keys().is_empty());
    }
}

/// A client that leaves in the middle of whatever it does with watches leaves no watch behind.
fn leaving_clients_watch_nothing(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(4, seed);
    let script: &[&[&str]] = &[
        &["WATCH", "a", "b", "c", "d", "e"],
        &["SET", "c", "1"],
        &["WATCH", "{x}1"],
        &["UNWATCH"],
        &["WATCH", "{x}1", "{x}2"],
        &["MULTI"],
        &["GET", "{x}1"],
        &["CLIENT", "LIST"],
        &["EXEC"],
        &["WATCH", "f", "g", "h"],
        &["MULTI"],
        &["PING"],
    ];
    let clients: Vec<usize> = (0..8).map(|_| world.connect()).collect();
    for &client in &clients {
        world.send_bytes(client, requests(script));
    }
    for _ in 0..random.below(200) {
        world.step();
    }
    clients.into_iter().for_each(|client| world.leave(client));
    world.run();
    for core in 0..world.shards() {
        assert_eq!(world.engine(core).watching_clients(), 0);
        assert!(world.engine(core).session_keys().is_empty());
    }
}

/// Whatever clients send in and out of transactions, each request is answered once and nobody waits for ever.
fn every_request_is_answered(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(1 + random.below(4), seed);
    let all: [&[&str]; 24] = [
        &["MULTI"],
        &["MULTI"],
        &["EXEC"],
        &["EXEC"],
        &["DISCARD"],
        &["WATCH", "a"],
        &["WATCH", "{t}a", "b", "c", "d"],
        &["UNWATCH"],
        &["RESET"],
        &["SET", "{t}a", "1"],
        &["SET", "a", "1", "PX", "5"],
        &["INCR", "{t}a"],
        &["MGET", "{t}a", "{t}b"],
        &["MSET", "a", "1", "b", "2", "c", "3"],
        &["RENAME", "{t}a", "{t}b"],
        &["RENAME", "b", "c"],
        &["SELECT", "1"],
        &["SELECT", "0"],
        &["FLUSHDB"],
        &["SWAPDB", "0", "1"],
        &["SCAN", "0"],
        &["CLIENT", "LIST"],
        &["PING"],
        &["NOSUCH"],
    ];
    let clients: Vec<usize> = (0..5).map(|_| world.connect()).collect();
    for &client in &clients {
        for _ in 0..60 {
            world.send(client, all[random.below(all.len())]);
        }
    }
    world.run();
    for client in clients {
        let (received, mut at, mut replies) = (&world.clients[client].received, 0, 0);
        while at < received.len() {
            at += Reply::parse(&received[at..]).expect("whole replies").1;
            replies += 1;
        }
        assert_eq!(replies, 60);
    }
}

#[test]
fn nobody_waits_for_ever() {
    each_seed(300, every_request_is_answered);
}

#[test]
fn watches_see_every_change() {
    each_seed(100, additions_are_not_lost);
}

#[test]
fn transactions_are_isolated() {
    each_seed(300, transactions_are_seen_whole);
}

#[test]
fn watches_see_expiry() {
    each_seed(100, expired_keys_fail_transactions);
}

#[test]
fn watches_see_expiry_on_the_way() {
    each_seed(300, keys_that_expire_on_the_way_fail_transactions);
}

#[test]
fn watches_do_not_see_what_had_expired() {
    each_seed(300, keys_that_had_expired_before_are_not_changed);
}

#[test]
fn watches_end_with_their_clients() {
    each_seed(300, leaving_clients_watch_nothing);
}

#[test]
fn watches_held_up_end_with_their_clients() {
    each_seed(100, leaving_clients_do_not_come_to_watch);
}
