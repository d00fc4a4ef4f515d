//! redis-server under the same load. Its `maxmemory` is steered so that it holds as many keys as the cache's size; requests
//! are pipelined, so that millions of them take seconds. Its own clocks run meanwhile: LRU tells uses apart by the second,
//! LFU's counters lose one a minute.

use crate::support::{Client, Server, encode};

/// Requests that are sent at once; the SETs after their misses follow at once, too.
const BATCH: usize = 16;
/// Batches after which the number of keys is looked at.
const BATCHES_PER_LOOK: usize = 64;
const VALUE_BYTES: usize = 256;

/// What a run showed.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What fraction of the requests found its key.
    pub hit_ratio: f64,
    /// How many keys it held on average when it was full.
    pub keys: f64,
}

/// Keeps the number of keys where it should be.
struct Steering {
    size: f64,
    maxmemory: f64,
    key_bytes: f64,
    looks: usize,
    keys_sum: f64,
}

impl Steering {
    fn new(client: &mut Client, size: usize) -> Self {
        let empty = used_memory(client);
        let value = "x".repeat(VALUE_BYTES);
        for start in (0..size).step_by(1000) {
            let keys = start..size.min(start + 1000);
            let sets: Vec<u8> = keys.clone().flat_map(|key| encode(&["SET", &name(key as u32), &value])).collect();
            client.send(&sets);
            keys.for_each(|_| assert_eq!(client.read().bytes(), b"OK"));
        }
        let full = used_memory(client);
        client.run("FLUSHALL");
        let steering = Self {
            size: size as f64,
            maxmemory: full,
            key_bytes: (full - empty) / size as f64,
            looks: 0,
            keys_sum: 0.0,
        };
        steering.apply(client);
        steering
    }

    fn apply(&self, client: &mut Client) {
        assert_eq!(client.run(&format!("CONFIG SET maxmemory {:.0}", self.maxmemory)).bytes(), b"OK");
    }

    /// Moves the limit by half of what is missing or too much, once the cache has been full.
    fn look(&mut self, client: &mut Client) {
        let evicted = info(client, "stats", "evicted_keys:") > 0.0;
        let keys = client.run("DBSIZE").integer() as f64;
        if !evicted && keys <= self.size {
            return;
        }
        self.looks += 1;
        self.keys_sum += keys;
        self.maxmemory += (self.size - keys) * self.key_bytes / 2.0;
        self.apply(client);
    }
}

fn info(client: &mut Client, section: &str, field: &str) -> f64 {
    let text = client.run(&format!("INFO {section}")).text();
    let value = text.lines().find_map(|line| line.strip_prefix(field)).expect("INFO has the field");
    value.trim().parse().expect("a number")
}

fn used_memory(client: &mut Client) -> f64 {
    info(client, "memory", "used_memory:")
}

fn name(key: u32) -> String {
    format!("key:{key:08}")
}

/// Runs a load on a fresh server under this policy.
pub fn run(policy: &str, size: usize, trace: &[u32]) -> Run {
    let server = Server::redis(&["--maxmemory-policy", policy]);
    let mut client = server.client();
    let mut steering = Steering::new(&mut client, size);
    let value = "x".repeat(VALUE_BYTES);
    let mut hits = 0;
    for (number, batch) in trace.chunks(BATCH).enumerate() {
        let gets: Vec<u8> = batch.iter().flat_map(|&key| encode(&["GET", &name(key)])).collect();
        client.send(&gets);
        let missed: Vec<u32> = batch.iter().copied().filter(|_| client.read().is_null()).collect();
        hits += batch.len() - missed.len();
        let sets: Vec<u8> = missed.iter().flat_map(|&key| encode(&["SET", &name(key), &value])).collect();
        client.send(&sets);
        missed.iter().for_each(|_| assert_eq!(client.read().bytes(), b"OK"));
        if number % BATCHES_PER_LOOK == 0 {
            steering.look(&mut client);
        }
    }
    let keys = if steering.looks == 0 { steering.size } else { steering.keys_sum / steering.looks as f64 };
    Run { hit_ratio: hits as f64 / trace.len() as f64, keys }
}
