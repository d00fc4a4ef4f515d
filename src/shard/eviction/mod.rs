//! Which keys go when memory is used up. Each record has 24 bits that say how it was used; what they mean depends on the
//! policy. [`Usage`] says what they are for a new key, what becomes of them at a use, and how much a key deserves to go;
//! [`Pool`] keeps the best candidates among those that were looked at. Nothing here looks at a table or a clock.
//!
//! When the policy is changed at run time, the bits of the keys that are there are read by the new one. They are wrong until
//! the key is used again, as in Redis: evictions are worse for a while, never incorrect.

mod lfu;
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

/// How the keys of a database are used, under the policy in force.
#[derive(Clone, Debug)]
pub struct Usage {
    policy: EvictionPolicy,
    /// The time as [`lru`] counts it.
    seconds: u32,
    lfu: Lfu,
    random: Random,
}

impl Usage {
    /// No policy is in force; dice are thrown from `seed`.
    pub fn new(seed: u64) -> Self {
        let policy = EvictionPolicy::Noeviction;
        Self { policy, seconds: 0, lfu: Lfu::new(&Eviction::default()), random: Random::new(seed) }
    }

    /// Puts a policy in force.
    pub fn set(&mut self, eviction: &Eviction) {
        self.policy = eviction.policy;
        self.lfu.set(eviction);
    }

    /// The time for the uses to come.
    #[inline]
    pub fn set_now(&mut self, now: Millis) {
        self.seconds = lru::seconds(now);
        self.lfu.set_now(now);
    }

    /// The policy in force.
    pub fn policy(&self) -> EvictionPolicy {
        self.policy
    }

    /// Whether the bits of a key depend on those that it had before, and not only on the time of its use.
    #[inline]
    pub fn counts(&self) -> bool {
        self.policy.is_lfu()
    }

    /// The bits of a new key with this hash.
    #[inline]
    pub fn fresh(&mut self, _hash: u64) -> u32 {
        if self.policy.is_lfu() { self.lfu.fresh() } else { self.seconds }
    }

    /// What the bits of a key become when it is used.
    #[inline]
    pub fn used(&mut self, bits: u32) -> u32 {
        if self.policy.is_lfu() { self.lfu.used(bits, &mut self.random) } else { self.seconds }
    }

    /// How much a key with these bits deserves to go; the greatest goes first.
    #[inline]
    pub fn rank(&self, bits: u32, expires: Option<Millis>) -> u64 {
        match self.policy {
            EvictionPolicy::VolatileTtl => u64::MAX - expires.map_or(u64::MAX, |at| at.max(0) as u64),
            EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu => self.lfu.rank(bits),
            _ => u64::from(lru::idle(self.seconds, bits)),
        }
    }

    /// Takes note that the key with this hash and these bits was evicted.
    #[inline]
    pub fn evicted(&mut self, _hash: u64, _bits: u32) {}

    /// Seconds since a key with these bits was used, for OBJECT IDLETIME; `None` when the policy in force does not know.
    pub fn idle_seconds(&self, bits: u32) -> Option<u32> {
        (!self.policy.is_lfu()).then(|| lru::idle(self.seconds, bits))
    }

    /// How often a key with these bits was used of late, for OBJECT FREQ; `None` when the policy in force does not know.
    pub fn frequency(&self, bits: u32) -> Option<u8> {
        self.policy.is_lfu().then(|| self.lfu.frequency(bits))
    }
}
