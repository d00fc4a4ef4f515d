//! Clients that send a batch of requests, wait for its replies and send the next, as redis-benchmark's do.

use super::connections::Connections;
use super::replies::Replies;
use super::{Outcome, Prepared};
use std::time::Instant;

/// What one client sends, time after time.
pub struct Batch {
    /// The requests.
    pub bytes: Vec<u8>,
    /// The values that answer it, see [`Replies`].
    pub values: usize,
}

/// Clients that ask and wait.
pub struct Requests {
    connections: Connections,
    /// The batches of each client, which it sends by turns.
    batches: Vec<Vec<Batch>>,
    clients: Vec<Client>,
    /// Batches that nobody has sent yet.
    left: usize,
    /// Requests in a batch.
    pipeline: usize,
}

#[derive(Default)]
struct Client {
    replies: Replies,
    sent: usize,
    awaited: usize,
    since_ns: u64,
}

impl Requests {
    /// A client for each of `batches`; together they send `requests`, `pipeline` to a batch.
    pub fn new(port: u16, batches: Vec<Vec<Batch>>, requests: usize, pipeline: usize) -> Self {
        let clients = batches.iter().map(|_| Client::default()).collect();
        let connections = Connections::open(port, batches.len());
        Self { connections, batches, clients, left: requests.div_ceil(pipeline), pipeline }
    }

    fn send(&mut self, place: usize, now_ns: u64) {
        let (client, batches) = (&mut self.clients[place], &self.batches[place]);
        let batch = &batches[client.sent % batches.len()];
        client.sent += 1;
        (client.awaited, client.since_ns) = (batch.values, now_ns);
        self.connections.send(place, &batch.bytes);
        self.left -= 1;
    }
}

impl Prepared for Requests {
    fn run(mut self: Box<Self>) -> Outcome {
        let batches = self.left;
        let (mut latencies_ns, mut ready) = (Vec::with_capacity(batches), Vec::new());
        let started = Instant::now();
        let now_ns = || started.elapsed().as_nanos() as u64;
        for place in 0..self.clients.len().min(self.left) {
            self.send(place, now_ns());
        }
        while latencies_ns.len() < batches {
            self.connections.wait(&mut ready);
            for &place in &ready {
                let client = &mut self.clients[place];
                client.awaited -= client.replies.count(self.connections.read(place));
                if client.awaited == 0 {
                    let now_ns = now_ns();
                    latencies_ns.push(now_ns - client.since_ns);
                    if self.left > 0 {
                        self.send(place, now_ns);
                    }
                }
            }
        }
        Outcome { requests: batches * self.pipeline, elapsed: started.elapsed(), latencies_ns }
    }
}
