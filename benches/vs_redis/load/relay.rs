//! Clients that send messages and clients that get them: PUBLISH to subscribers, RPUSH to those that wait in BLPOP.
//!
//! A message carries the time at which it was sent. So that receivers are waiting and nothing piles up in the server, only
//! so many messages may be under way; one is until all its receivers have it.

use super::connections::Connections;
use super::replies::Replies;
use super::{Outcome, Prepared};
use std::time::Instant;

/// Digits of a message's time.
const TIME_DIGITS: usize = 20;

/// What is relayed, and how.
pub struct Plan {
    /// Clients that send.
    pub senders: usize,
    /// Clients that receive.
    pub receivers: usize,
    /// Messages a sender sends before it waits for its replies.
    pub pipeline: usize,
    /// How many receivers get a message.
    pub deliveries: usize,
    /// Messages that may be under way.
    pub under_way: usize,
    /// Messages.
    pub messages: usize,
    /// What a receiver sends at first.
    pub join: Vec<u8>,
    /// Bytes of the answer to that.
    pub joined_bytes: usize,
    /// What a receiver sends for each message it has got.
    pub again: Vec<u8>,
    /// A request of a sender, before its message and behind it.
    pub request: [Vec<u8>; 2],
    /// What a receiver gets, before the message and behind it.
    pub delivery: [Vec<u8>; 2],
    /// Bytes of a message.
    pub message_bytes: usize,
}

/// Receivers that wait, and senders; on the connections receivers come first.
pub struct Relay {
    plan: Plan,
    connections: Connections,
    /// Bytes of a delivery that has not come whole, of each receiver.
    partial: Vec<Vec<u8>>,
    senders: Vec<Sender>,
    sent: usize,
    delivered: usize,
    latencies_ns: Vec<u64>,
    started: Instant,
}

#[derive(Default)]
struct Sender {
    replies: Replies,
    awaited: usize,
}

impl Relay {
    /// Connects everybody and lets the receivers begin to wait.
    pub fn new(port: u16, mut plan: Plan) -> Self {
        plan.messages = plan.messages.next_multiple_of(plan.pipeline);
        let mut connections = Connections::open(port, plan.receivers + plan.senders);
        for place in 0..plan.receivers {
            connections.send(place, &plan.join);
            let mut missing = plan.joined_bytes;
            while missing > 0 {
                missing -= connections.read(place).len();
            }
        }
        let partial = vec![Vec::new(); plan.receivers];
        let senders = (0..plan.senders).map(|_| Sender::default()).collect();
        let latencies_ns = Vec::with_capacity(plan.messages * plan.deliveries);
        Self { plan, connections, partial, senders, sent: 0, delivered: 0, latencies_ns, started: Instant::now() }
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Sends what may be sent.
    fn send(&mut self) {
        let Plan { pipeline, deliveries, under_way, messages, .. } = self.plan;
        let may = |sent: usize, delivered: usize| (sent + pipeline) * deliveries <= delivered + under_way * deliveries;
        for place in 0..self.senders.len() {
            if self.sent == messages || !may(self.sent, self.delivered) {
                return;
            }
            if self.senders[place].awaited == 0 {
                let batch = self.request().repeat(pipeline);
                self.connections.send(self.plan.receivers + place, &batch);
                self.senders[place].awaited = pipeline;
                self.sent += pipeline;
            }
        }
    }

    fn request(&self) -> Vec<u8> {
        let [before, behind] = &self.plan.request;
        let time = format!("{:0TIME_DIGITS$}", self.now_ns());
        let filler = vec![b'x'; self.plan.message_bytes - TIME_DIGITS];
        [before, time.as_bytes(), &filler, behind].concat()
    }

    /// Takes what has come to a receiver.
    fn receive(&mut self, place: usize) {
        let [before, behind] = &self.plan.delivery;
        let len = before.len() + self.plan.message_bytes + behind.len();
        let partial = &mut self.partial[place];
        partial.extend_from_slice(self.connections.read(place));
        let whole = partial.len() / len;
        let now_ns = self.started.elapsed().as_nanos() as u64;
        for delivery in partial.chunks_exact(len) {
            let message = delivery.strip_prefix(&before[..]).unwrap_or_else(|| {
                panic!("no message: {}", String::from_utf8_lossy(delivery));
            });
            let time = std::str::from_utf8(&message[..TIME_DIGITS]).ok().and_then(|digits| digits.parse::<u64>().ok());
            self.latencies_ns.push(now_ns - time.expect("its sender has written its time"));
        }
        partial.drain(..whole * len);
        self.delivered += whole;
        if !self.plan.again.is_empty() && whole > 0 {
            self.connections.send(place, &self.plan.again.repeat(whole));
        }
    }
}

impl Prepared for Relay {
    fn run(mut self: Box<Self>) -> Outcome {
        let (messages, receivers) = (self.plan.messages, self.plan.receivers);
        let mut ready = Vec::new();
        self.started = Instant::now();
        self.send();
        while self.delivered < messages * self.plan.deliveries || self.senders.iter().any(|sender| sender.awaited > 0) {
            self.connections.wait(&mut ready);
            for &place in &ready {
                if place < receivers {
                    self.receive(place);
                } else {
                    let sender = &mut self.senders[place - receivers];
                    sender.awaited -= sender.replies.count(self.connections.read(place));
                }
            }
            self.send();
        }
        Outcome { requests: messages, elapsed: self.started.elapsed(), latencies_ns: self.latencies_ns }
    }
}
