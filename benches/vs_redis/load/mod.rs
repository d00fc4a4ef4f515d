//! Loads that redis-benchmark cannot make: transactions, consumers of a queue, subscribers, keys of one tag.
//!
//! One thread does all of a load, as redis-benchmark does; it waits with epoll. Connecting is not measured.

mod connections;
mod relay;
pub mod replies;
mod requests;

use crate::plan::{Case, KEYS, Load};
use crate::support::encode;
use relay::{Plan, Relay};
use requests::{Batch, Requests};
use std::time::Duration;

/// Clients that push elements.
const PRODUCERS: usize = 10;

/// Requests that a client has prepared, all with different keys; when it has sent them it begins again.
const PREPARED: usize = 128;

/// A load whose clients are connected.
pub trait Prepared {
    /// Runs it to its end.
    fn run(self: Box<Self>) -> Outcome;
}

/// What a load has shown.
pub struct Outcome {
    /// Requests, transactions or messages.
    pub requests: usize,
    /// From the first request to the last reply.
    pub elapsed: Duration,
    /// How long batches waited for all their replies, or receivers for each message.
    pub latencies_ns: Vec<u64>,
}

/// Connects the clients of a case.
pub fn prepare(port: u16, case: &Case) -> Box<dyn Prepared> {
    let pairs = || (0..10).map(|_| "x".repeat(case.value_bytes));
    match case.load {
        Load::Benchmark(_) => unreachable!("redis-benchmark makes this load"),
        Load::Transactions => requests(port, case, TRANSACTION_VALUES, |dice| {
            let tag = dice.key();
            let increments = (0..5).flat_map(|key| encode(&["INCR".into(), format!("{{{tag}}}:{key}")]));
            [encode(&["MULTI"]), increments.collect(), encode(&["EXEC"])].concat()
        }),
        Load::MsetOfAnyKeys => requests(port, case, 1, |dice| {
            encode(
                &std::iter::once("MSET".into())
                    .chain(pairs().flat_map(|value| [dice.key(), value]))
                    .collect::<Vec<_>>(),
            )
        }),
        Load::MsetOfOneTag => requests(port, case, 1, |dice| {
            let tag = dice.key();
            let pairs = pairs().enumerate().flat_map(|(key, value)| [format!("{{{tag}}}:{key}"), value]);
            encode(&std::iter::once("MSET".into()).chain(pairs).collect::<Vec<_>>())
        }),
        Load::Queue => Box::new(Relay::new(port, queue(case))),
        Load::Publish { subscribers } => Box::new(Relay::new(port, publish(case, subscribers))),
    }
}

/// MULTI, five times QUEUED, the array of EXEC and its five elements.
const TRANSACTION_VALUES: usize = 1 + 5 + 1 + 5;

fn requests(port: u16, case: &Case, values: usize, mut request: impl FnMut(&mut Dice) -> Vec<u8>) -> Box<dyn Prepared> {
    let mut dice = Dice(1);
    let mut batch = || Batch {
        bytes: (0..case.pipeline).flat_map(|_| request(&mut dice)).collect(),
        values: values * case.pipeline,
    };
    let batches = (0..case.connections).map(|_| (0..PREPARED / case.pipeline).map(|_| batch()).collect()).collect();
    Box::new(Requests::new(port, batches, case.requests, case.pipeline))
}

/// Consumers wait in BLPOP and ask again when they have got an element; there are always some that wait.
fn queue(case: &Case) -> Plan {
    let pop = encode(&["BLPOP", "queue", "0"]);
    Plan {
        senders: PRODUCERS,
        receivers: case.connections,
        deliveries: 1,
        under_way: case.connections * 2 / 3,
        join: pop.clone(),
        joined_bytes: 0,
        again: pop,
        request: around_message(&["RPUSH", "queue"], case.value_bytes),
        delivery: around_message(&["queue"], case.value_bytes),
        ..plan(case)
    }
}

fn publish(case: &Case, subscribers: usize) -> Plan {
    Plan {
        senders: case.connections,
        receivers: subscribers,
        deliveries: subscribers,
        under_way: case.connections.max(2 * case.pipeline),
        join: encode(&["SUBSCRIBE", "channel"]),
        joined_bytes: b"*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n".len(),
        again: Vec::new(),
        request: around_message(&["PUBLISH", "channel"], case.value_bytes),
        delivery: around_message(&["message", "channel"], case.value_bytes),
        ..plan(case)
    }
}

fn plan(case: &Case) -> Plan {
    Plan {
        senders: 0,
        receivers: 0,
        pipeline: case.pipeline,
        deliveries: 0,
        under_way: 0,
        messages: case.requests,
        join: Vec::new(),
        joined_bytes: 0,
        again: Vec::new(),
        request: Default::default(),
        delivery: Default::default(),
        message_bytes: case.value_bytes,
    }
}

/// An array of `words` and a message, split where the message stands.
fn around_message(words: &[&str], message_bytes: usize) -> [Vec<u8>; 2] {
    let message = "m".repeat(message_bytes);
    let mut before = encode(&[words, &[&message]].concat());
    let behind = before.split_off(before.len() - b"\r\n".len());
    before.truncate(before.len() - message_bytes);
    [before, behind]
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn key(&mut self) -> String {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("key:{:012}", (self.0 >> 33) as usize % KEYS)
    }
}
