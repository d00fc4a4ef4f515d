//! What is there for those who choose which keys go when memory is used up: how keys are used, samples, and memory that
//! could be given back.

use super::Database;
use crate::config::Eviction;
use crate::shard::eviction::{Candidate, Pool, Usage};
use crate::stdx::random::Random;

impl Database {
    /// Sets by what keys are chosen from now on.
    pub fn set_eviction(&mut self, eviction: &Eviction) {
        self.usage.set(eviction);
    }

    /// How keys are used.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// What the access bits of `key` become by a use, or are when it is new.
    #[inline]
    pub(super) fn access_by_use(&mut self, key: &[u8]) -> u32 {
        if self.usage.counts() { self.count_use(key) } else { self.clock.access }
    }

    /// What they become by a use; whatever they are when it is new, for nobody is told then.
    #[inline]
    pub(super) fn access_if_there(&mut self, key: &[u8]) -> u32 {
        if !self.usage.counts() {
            return self.clock.access;
        }
        let before = self.keys.get(key).map(|record| record.accessed());
        before.map_or(0, |bits| self.usage.used(bits))
    }

    #[inline(never)]
    fn count_use(&mut self, key: &[u8]) -> u32 {
        match self.keys.get(key) {
            Some(record) => self.usage.used(record.accessed()),
            None => self.usage.fresh(self.keys.hash(key)),
        }
    }

    /// The access bits of `key`, as OBJECT looks at it.
    pub fn access_bits(&mut self, key: &[u8]) -> Option<u32> {
        self.live(key).map(|record| record.into_ref().accessed())
    }

    /// Looks at about `count` keys that may go and tells their ranks and access bits; the greatest deserves most to go.
    /// Ranks of all databases and shards compare.
    pub fn sample_candidates(&self, random: &mut Random, count: usize, mut found: impl FnMut(u64, u32, &[u8])) {
        let (usage, volatile) = (&self.usage, self.usage.policy().is_volatile());
        if volatile && self.expires_len() == 0 {
            return;
        }
        self.keys.sample(random, count, volatile, |record| {
            let bits = record.accessed();
            found(usage.rank(bits, record.expires()), bits, record.key());
        });
    }

    /// Whether `key` may go and deserves it no less than when it became this candidate.
    pub fn is_still<K>(&self, key: &[u8], candidate: &Candidate<K>) -> bool {
        let Some(record) = self.keys.get(key) else { return false };
        let (bits, expires) = (record.accessed(), record.expires());
        (expires.is_some() || !self.usage.policy().is_volatile()) && self.usage.is_still(candidate, bits, expires)
    }

    /// Chooses among candidates of all databases, the best of which is in this one.
    pub fn choose<K: PartialEq>(&mut self, pool: &mut Pool<K>) -> Option<Candidate<K>> {
        self.usage.choose(pool)
    }

    /// Removes `key`, whose access bits are `bits`, because memory is used up; whether it was there, and its time not over.
    pub fn evict(&mut self, key: &[u8], bits: u32) -> bool {
        let removed = self.delete(key, self.departed.lazy.eviction);
        if removed {
            self.usage.evicted(self.keys.hash(key), bits);
        }
        removed
    }

    /// Bytes that are there for records and not in use.
    pub fn hole_bytes(&self) -> usize {
        self.keys.hole_bytes()
    }

    /// Moves records together so that some memory can be given back; how many bytes were.
    pub fn compact(&mut self) -> usize {
        self.keys.compact()
    }
}
