//! What is there for those who choose which keys go when memory is used up: how keys are used, samples, and memory that
//! could be given back.

use super::Database;
use crate::config::Eviction;
use crate::shard::eviction::Usage;
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

    /// Looks at about `count` keys that may go and tells their ranks; the greatest deserves most to go. Ranks of all
    /// databases and shards compare.
    pub fn sample_candidates(&self, random: &mut Random, count: usize, mut found: impl FnMut(u64, &[u8])) {
        let (usage, volatile) = (&self.usage, self.usage.policy().is_volatile());
        self.keys.sample(random, count, volatile, |record| {
            found(usage.rank(record.accessed(), record.expires()), record.key());
        });
    }

    /// The rank of `key`; `None` when it may not go.
    pub fn candidate_rank(&self, key: &[u8]) -> Option<u64> {
        let record = self.keys.get(key)?;
        let (expires, volatile) = (record.expires(), self.usage.policy().is_volatile());
        (expires.is_some() || !volatile).then(|| self.usage.rank(record.accessed(), expires))
    }

    /// Removes `key` because memory is used up; whether it was there, and its time not over.
    pub fn evict(&mut self, key: &[u8]) -> bool {
        let Some(bits) = self.access_bits(key) else { return false };
        self.usage.evicted(self.keys.hash(key), bits);
        self.delete(key, self.departed.lazy.eviction)
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
