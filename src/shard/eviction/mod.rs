//! Which keys go when memory is used up. Each record has 24 bits that say how it was used; what they mean depends on the
//! policy. [`Usage`] says what they are for a new key, what becomes of them at a use, and how much a key deserves to go;
//! [`Pool`] keeps the best candidates among those that were looked at. Nothing here looks at a table or a clock. To evict:
//!
//! 1. look at [`Usage::samples`] random keys: [`Pool::offer`] each with its [`Usage::rank`];
//! 2. [`Usage::choose`] among the candidates;
//! 3. remove that key, and tell [`Usage::evicted`].
//!
//! When the policy is changed at run time, the bits of the keys that are there are read by the new one. They are wrong until
//! the key is used again, as in Redis: evictions are worse for a while, never incorrect.

mod ghosts;
mod lfu;
mod lrfu;
mod lru;
mod pool;
#[cfg(test)]
mod tests;

pub use crate::config::EvictionPolicy;
pub use pool::{Candidate, Pool};

use super::Millis;
use crate::config::Eviction;
use crate::stdx::random::Random;
use lfu::Lfu;
use lrfu::Lrfu;

/// How the keys of a database are used, under the policy in force.
#[derive(Clone, Debug)]
pub struct Usage {
    policy: EvictionPolicy,
    /// The time as [`lru`] counts it.
    seconds: u32,
    lfu: Lfu,
    lrfu: Lrfu,
    samples: usize,
    random: Random,
}

impl Usage {
    /// No policy is in force; dice are thrown from `seed`.
    pub fn new(seed: u64) -> Self {
        let off = Eviction::default();
        Self {
            policy: off.policy,
            seconds: 0,
            lfu: Lfu::new(&off),
            lrfu: Lrfu::new(),
            samples: off.samples as usize,
            random: Random::new(seed),
        }
    }

    /// Puts a policy in force.
    pub fn set(&mut self, eviction: &Eviction) {
        if self.policy == EvictionPolicy::AllkeysLrfu && eviction.policy != self.policy {
            // What it has learned is old by the time it comes back, and takes memory.
            self.lrfu = Lrfu::new();
        }
        self.policy = eviction.policy;
        self.samples = eviction.samples as usize;
        self.lfu.set(eviction);
    }

    /// How many keys there are, for the uses to come.
    #[inline]
    pub fn set_keys(&mut self, keys: usize) {
        self.lrfu.set_keys(keys);
    }

    /// How many keys to look at for each that goes: `maxmemory-samples`, and twice as many where the policy gains by it.
    pub fn samples(&self) -> usize {
        if self.policy == EvictionPolicy::AllkeysLrfu { self.samples.saturating_mul(2) } else { self.samples }
    }

    /// Bytes it has allocated.
    pub fn memory_bytes(&self) -> usize {
        self.lrfu.memory_bytes()
    }

    /// The time for the uses to come.
    #[inline]
    pub fn set_now(&mut self, now: Millis) {
        self.seconds = lru::seconds(now);
        self.lfu.set_now(now);
    }

    /// That time: what the bits of a key become when it is used, unless uses are counted.
    #[inline]
    pub fn seconds(&self) -> u32 {
        self.seconds
    }

    /// The policy in force.
    pub fn policy(&self) -> EvictionPolicy {
        self.policy
    }

    /// Whether the bits of a key depend on those that it had before, and not only on the time of its use.
    #[inline]
    pub fn counts(&self) -> bool {
        self.policy.is_lfu() || self.policy == EvictionPolicy::AllkeysLrfu
    }

    /// The bits of a new key with this hash.
    #[inline]
    pub fn fresh(&mut self, hash: u64) -> u32 {
        match self.policy {
            EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu => self.lfu.fresh(),
            EvictionPolicy::AllkeysLrfu => self.lrfu.fresh(hash, &mut self.random),
            _ => self.seconds,
        }
    }

    /// What the bits of a key become when it is used.
    #[inline]
    pub fn used(&mut self, bits: u32) -> u32 {
        if self.counts() { self.count(bits) } else { self.seconds }
    }

    #[inline(never)]
    fn count(&mut self, bits: u32) -> u32 {
        match self.policy {
            EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu => self.lfu.used(bits, &mut self.random),
            EvictionPolicy::AllkeysLrfu => self.lrfu.used(bits, &mut self.random),
            _ => self.seconds,
        }
    }

    /// How much a key with these bits deserves to go; the greatest goes first.
    #[inline]
    pub fn rank(&self, bits: u32, expires: Option<Millis>) -> u64 {
        match self.policy {
            EvictionPolicy::VolatileTtl => u64::MAX - expires.map_or(u64::MAX, |at| at.max(0) as u64),
            EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu => self.lfu.rank(bits),
            EvictionPolicy::AllkeysLrfu => self.lrfu.rank(bits),
            _ => u64::from(lru::idle(self.seconds, bits)),
        }
    }

    /// Whether a key with these bits deserves to go no less than when it became this candidate.
    pub fn is_still<K>(&self, candidate: &Candidate<K>, bits: u32, expires: Option<Millis>) -> bool {
        // The half-life may have moved, and the ranks of all with it.
        if self.policy == EvictionPolicy::AllkeysLrfu {
            return bits == candidate.bits;
        }
        self.rank(bits, expires) >= candidate.rank
    }

    /// Takes the candidate out of `pool` that goes.
    pub fn choose<K: PartialEq>(&mut self, pool: &mut Pool<K>) -> Option<Candidate<K>> {
        if self.policy == EvictionPolicy::AllkeysLrfu { self.lrfu.choose(pool, &mut self.random) } else { pool.take() }
    }

    /// Takes note that the key with this hash and these bits, the one chosen last, was evicted.
    #[inline]
    pub fn evicted(&mut self, hash: u64, bits: u32) {
        if self.policy == EvictionPolicy::AllkeysLrfu {
            self.lrfu.evicted(hash, bits);
        }
    }

    /// Seconds since a key with these bits was used, for OBJECT IDLETIME; `None` when the policy in force does not know.
    pub fn idle_seconds(&self, bits: u32) -> Option<u32> {
        (!self.policy.is_lfu() && self.policy != EvictionPolicy::AllkeysLrfu).then(|| lru::idle(self.seconds, bits))
    }

    /// How often a key with these bits was used of late, for OBJECT FREQ; `None` when the policy in force does not know.
    pub fn frequency(&self, bits: u32) -> Option<u8> {
        self.policy.is_lfu().then(|| self.lfu.frequency(bits))
    }
}
