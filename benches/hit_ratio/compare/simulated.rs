//! A cache of keys without values that evicts by Crimson's policies: the server's functions, with random samples.

use crimson::config::{Eviction, EvictionPolicy};
use crimson::shard::eviction::{Pool, Usage};
use crimson::stdx::random::Random;

const ABSENT: u32 = u32::MAX;

/// How long a run takes by the cache's clock where only minutes count, as with LFU.
const RUN_MS: i64 = 10 * 60_000;

/// The cache. Keys are numbers.
pub struct Simulation {
    usage: Usage,
    pool: Pool<u32>,
    /// The keys that are there.
    present: Vec<u32>,
    /// Where each key is in `present`.
    places: Vec<u32>,
    bits: Vec<u32>,
    size: usize,
    policy: EvictionPolicy,
    random: Random,
}

/// A hash as good as random.
fn hash(key: u32) -> u64 {
    Random::new(u64::from(key)).next_u64()
}

impl Simulation {
    /// An empty cache for `size` of `keys` different keys.
    pub fn new(policy: EvictionPolicy, samples: u32, keys: usize, size: usize) -> Self {
        let mut usage = Usage::new(1);
        usage.set(&Eviction { policy, samples, ..Eviction::default() });
        let (places, bits) = (vec![ABSENT; keys], vec![0; keys]);
        Self { usage, pool: Pool::default(), present: Vec::new(), places, bits, size, policy, random: Random::new(2) }
    }

    /// What fraction of the requests finds its key.
    pub fn run(mut self, trace: &[u32]) -> f64 {
        let mut hits = 0;
        for (request, &key) in trace.iter().enumerate() {
            let now = match self.policy {
                // The clock of LRU is as fine as it can be: a second for each request.
                EvictionPolicy::AllkeysLru => request as i64 * 1000,
                _ => request as i64 * RUN_MS / trace.len() as i64,
            };
            self.usage.set_now(now);
            self.usage.set_keys(self.present.len());
            hits += usize::from(self.get_or_set(key));
        }
        hits as f64 / trace.len() as f64
    }

    fn get_or_set(&mut self, key: u32) -> bool {
        let index = key as usize;
        if self.places[index] != ABSENT {
            self.bits[index] = self.usage.used(self.bits[index]);
            return true;
        }
        while self.present.len() >= self.size {
            self.evict();
        }
        self.bits[index] = self.usage.fresh(hash(key));
        self.places[index] = self.present.len() as u32;
        self.present.push(key);
        false
    }

    fn evict(&mut self) {
        let samples = if self.policy.is_random() { 1 } else { self.usage.samples() };
        for _ in 0..samples {
            let key = self.present[self.random.below(self.present.len())];
            let bits = self.bits[key as usize];
            let rank = self.usage.rank(bits, None);
            if self.policy.is_random() {
                return self.remove(key);
            }
            self.pool.offer(rank, bits, key);
        }
        let chosen = self.usage.choose(&mut self.pool).expect("some have been offered");
        if self.places[chosen.key as usize] != ABSENT {
            self.usage.evicted(hash(chosen.key), self.bits[chosen.key as usize]);
            self.remove(chosen.key);
        }
    }

    fn remove(&mut self, key: u32) {
        let place = std::mem::replace(&mut self.places[key as usize], ABSENT);
        self.present.swap_remove(place as usize);
        if let Some(&moved) = self.present.get(place as usize) {
            self.places[moved as usize] = place;
        }
    }
}
