//! Transactions and watches while clients of all cores work on the same keys.

use super::{Client, Simulation, answers_after_the_end_of_input, request, seeds};
use crimson::stdx::random::Random;
use std::collections::VecDeque;

fn requests(all: &[&[&str]]) -> VecDeque<u8> {
    all.iter().flat_map(|arguments| request(arguments)).collect()
}

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
    fn proceed(&mut self, received: &mut Vec<u8>) -> VecDeque<u8> {
        let text = String::from_utf8_lossy(received).into_owned();
        if self.in_transaction {
            let Some(result) = text.strip_prefix("+OK\r\n+QUEUED\r\n+QUEUED\r\n") else { return VecDeque::new() };
            match result {
                "*2\r\n+OK\r\n:1\r\n" => self.added += 1,
                "*-1\r\n" => {}
                _ if result.len() < 13 => return VecDeque::new(),
                other => panic!("EXEC answers {other:?}"),
            }
            (self.in_transaction, self.rounds) = (false, self.rounds - 1);
        } else if let Some(value) = text.strip_prefix("+OK\r\n$") {
            let Some(value) = value.strip_suffix("\r\n").and_then(|value| value.split_once("\r\n")) else {
                return VecDeque::new();
            };
            let next = (value.1.parse::<u64>().expect("a number") + 1).to_string();
            self.in_transaction = true;
            received.clear();
            let lock = format!("{}:nx", self.key);
            return requests(&[&["MULTI"], &["SET", &self.key, &next], &["EXISTS", &self.key, &lock], &["EXEC"]]);
        } else if !text.is_empty() {
            return VecDeque::new();
        }
        received.clear();
        if self.rounds == 0 { VecDeque::new() } else { requests(&[&["WATCH", &self.key], &["GET", &self.key]]) }
    }
}

/// Watched reads and the writes that depend on them: no addition is lost, none counts twice.
fn additions_are_not_lost(seed: u64) {
    let mut random = Random::new(seed);
    let mut simulation = Simulation::new(1 + random.below(6), seed);
    answers_after_the_end_of_input(&mut simulation, &[&["MSET", "{a}n", "0", "{b}n", "0"]]);
    let mut clients: Vec<Client> = (0..6).map(|_| simulation.connect()).collect();
    let key = |index: usize| ["{a}n", "{b}n"][index % 2].to_string();
    let mut adders: Vec<Adder> =
        (0..6).map(|index| Adder { key: key(index), rounds: 12, added: 0, in_transaction: false }).collect();
    let mut input: Vec<VecDeque<u8>> = adders.iter_mut().map(|adder| adder.proceed(&mut Vec::new())).collect();
    for turn in 0.. {
        assert!(turn < 200_000, "a client waits for ever, SIMULATION_SEED={seed}");
        let core = random.below(simulation.engines.len());
        simulation.turn(core, &mut clients, &mut input);
        for ((adder, client), input) in adders.iter_mut().zip(&mut clients).zip(&mut input) {
            if input.is_empty() && !client.received.is_empty() {
                *input = adder.proceed(&mut client.received);
            }
        }
        if adders.iter().all(|adder| adder.rounds == 0) {
            break;
        }
    }
    for (key, first) in [("{a}n", 0), ("{b}n", 1)] {
        let added: u64 = adders[first..].iter().step_by(2).map(|adder| adder.added).sum();
        assert!(added > 0);
        let held = answers_after_the_end_of_input(&mut simulation, &[&["GET", key]]);
        assert_eq!(held, super::bulk(&added.to_string()), "SIMULATION_SEED={seed}");
    }
    assert!(simulation.engines.iter().all(|engine| engine.watching_clients() == 0), "SIMULATION_SEED={seed}");
}

/// What one transaction writes, another one sees whole or not at all.
fn transactions_are_seen_whole(seed: u64) {
    let mut simulation = Simulation::new(4, seed);
    let mut clients: Vec<Client> = (0..6).map(|_| simulation.connect()).collect();
    let add: &[&[&str]] = &[&["MULTI"], &["INCR", "{t}a"], &["PING"], &["INCR", "{t}b"], &["EXEC"]];
    let look: &[&[&str]] = &[&["MULTI"], &["GET", "{t}a"], &["GET", "{t}b"], &["EXEC"]];
    let mut input: Vec<VecDeque<u8>> =
        (0..6).map(|index| requests(&(if index % 2 == 0 { add } else { look }).repeat(20))).collect();
    simulation.run(&mut clients, &mut input);
    for (index, client) in clients.iter().enumerate() {
        let text = String::from_utf8_lossy(&client.received);
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
        assert!(whole, "SIMULATION_SEED={seed}, client {index}: {text}");
    }
}

/// A watched key that expires fails the transaction, though nobody has looked at it since.
fn expired_keys_fail_transactions(seed: u64) {
    let mut simulation = Simulation::new(4, seed);
    simulation.engines[0].node().active_expire.store(seed.is_multiple_of(2), std::sync::atomic::Ordering::Relaxed);
    let mut clients = vec![simulation.connect(), simulation.connect()];
    let first = requests(&[&["SET", "k", "1", "PX", "500"], &["WATCH", "other", "k"], &["MULTI"], &["PING"]]);
    let second = requests(&[&["WATCH", "k", "other"], &["MULTI"], &["PING"]]);
    simulation.run(&mut clients[..1], &mut [first]);
    let until = simulation.now + 500;
    while simulation.now < until {
        simulation.run(&mut clients[..1], &mut [VecDeque::new()]);
    }
    simulation.run(&mut clients[1..], &mut [second]);
    simulation.run(&mut clients, &mut [requests(&[&["DISCARD"]]), requests(&[&["DISCARD"]])]);
    let answers: Vec<_> = clients.iter().map(|client| String::from_utf8_lossy(&client.received)).collect();
    let asked = "+OK\r\n+OK\r\n+QUEUED\r\n+OK\r\n";
    assert_eq!(answers, [format!("+OK\r\n{asked}"), asked.into()], "SIMULATION_SEED={seed}");

    let exec = |name: &'static str| -> Vec<u8> { requests(&[&["MULTI"], &["EXISTS", name], &["EXEC"]]).into() };
    let mut clients = vec![simulation.connect(), simulation.connect()];
    let first = requests(&[&["SET", "k", "1", "PX", "500"], &["WATCH", "k"]]);
    simulation.run(&mut clients[..1], &mut [first]);
    let until = simulation.now + 500;
    while simulation.now < until {
        simulation.run(&mut clients[..1], &mut [VecDeque::new()]);
    }
    simulation.run(&mut clients[1..], &mut [requests(&[&["WATCH", "k"]])]);
    simulation.run(&mut clients, &mut [exec("k").into(), exec("k").into()]);
    let answers: Vec<_> = clients.iter().map(|client| String::from_utf8_lossy(&client.received)).collect();
    assert_eq!(answers[0], "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n", "SIMULATION_SEED={seed}");
    assert_eq!(answers[1], "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:0\r\n", "SIMULATION_SEED={seed}");
}

/// A client that leaves in the middle of whatever it does with watches leaves no watch behind.
fn leaving_clients_watch_nothing(seed: u64) {
    let mut random = Random::new(seed);
    let mut simulation = Simulation::new(4, seed);
    let mut clients: Vec<Client> = (0..8).map(|_| simulation.connect()).collect();
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
    let mut input: Vec<VecDeque<u8>> = (0..8).map(|_| requests(script)).collect();
    for _ in 0..random.below(200) {
        let core = random.below(4);
        simulation.turn(core, &mut clients, &mut input);
    }
    for client in clients.drain(..) {
        simulation.engines[client.core].disconnect(client.key);
    }
    simulation.run(&mut clients, &mut []);
    for engine in &mut simulation.engines {
        assert_eq!(engine.watching_clients(), 0, "SIMULATION_SEED={seed}");
        assert!(engine.session_keys().is_empty(), "SIMULATION_SEED={seed}");
    }
}

/// Where the RESP2 reply at `at` ends.
fn end_of_reply(bytes: &[u8], at: usize) -> usize {
    let line = at + bytes[at..].iter().position(|&byte| byte == b'\n').expect("a whole line") + 1;
    let number = || String::from_utf8_lossy(&bytes[at + 1..line - 2]).parse::<i64>().expect("a length");
    match bytes[at] {
        b'$' if number() >= 0 => line + number() as usize + 2,
        b'*' => (0..number()).fold(line, |at, _| end_of_reply(bytes, at)),
        _ => line,
    }
}

/// Whatever clients send in and out of transactions, each request is answered once and nobody waits for ever.
fn every_request_is_answered(seed: u64) {
    let mut random = Random::new(seed);
    let mut simulation = Simulation::new(1 + random.below(4), seed);
    let mut clients: Vec<Client> = (0..5).map(|_| simulation.connect()).collect();
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
    let mut script = || -> VecDeque<u8> { (0..60).flat_map(|_| request(all[random.below(all.len())])).collect() };
    let mut input: Vec<VecDeque<u8>> = (0..5).map(|_| script()).collect();
    simulation.run(&mut clients, &mut input);
    for client in &clients {
        let (mut at, mut replies) = (0, 0);
        while at < client.received.len() {
            at = end_of_reply(&client.received, at);
            replies += 1;
        }
        assert_eq!(replies, 60, "SIMULATION_SEED={seed}");
    }
}

#[test]
fn nobody_waits_for_ever() {
    seeds().into_iter().for_each(every_request_is_answered);
}

#[test]
fn watches_see_every_change() {
    seeds().into_iter().take(100).for_each(additions_are_not_lost);
}

#[test]
fn transactions_are_isolated() {
    seeds().into_iter().for_each(transactions_are_seen_whole);
}

#[test]
fn watches_see_expiry() {
    seeds().into_iter().take(100).for_each(expired_keys_fail_transactions);
}

#[test]
fn watches_end_with_their_clients() {
    seeds().into_iter().for_each(leaving_clients_watch_nothing);
}
