//! Walks over the keys: SCAN, random keys, the removal of expired keys in the background.

use super::{Database, view};
use crate::shard::Millis;
use crate::stdx::random::Random;
use crate::types::ValueRef;

/// So often an expired key may be met in the search for a random one while they stay and every key has a time to live.
const RANDOM_TRIES_MAX: usize = 100;

impl Database {
    /// Visits about `count` keys from `cursor` on (0: from the start) and returns the cursor to go on with (0: done), a
    /// number below 2^47. A key that is there from the first call to the last is visited at least once. Expired keys
    /// are removed instead.
    pub fn scan(&mut self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], ValueRef<'_>)) -> u64 {
        let now = self.clock.now;
        let mut over: Vec<Vec<u8>> = Vec::new();
        let next = self.keys.scan(cursor, count, |record| {
            if record.expires().is_some_and(|at| at <= now) {
                over.push(record.key().to_vec());
            } else {
                visit(record.key(), view(record));
            }
        });
        for key in over {
            self.contains(&key);
        }
        next
    }

    /// A random key that has not expired; `None` if there is none. Expired ones that it meets are removed; while they
    /// stay it may be `None` although a few others are there.
    pub fn random_key(&mut self, random: &mut Random) -> Option<&[u8]> {
        let bounded = self.keys.keeps_expired() && self.expires_len() == self.len();
        let mut tries = if bounded { RANDOM_TRIES_MAX } else { usize::MAX };
        loop {
            let record = self.keys.random(random)?;
            self.scratch.clear();
            self.scratch.extend_from_slice(record.key());
            if record.expires().is_none_or(|at| at > self.clock.now) {
                return Some(&self.scratch);
            }
            tries -= 1;
            if tries == 0 {
                return None;
            }
            let key = std::mem::take(&mut self.scratch);
            self.contains(&key);
            self.scratch = key;
        }
    }

    /// Removes keys whose time is over, looking at about `budget` keys with a time to live; how many it removed. Goes
    /// on where the last call stopped, and skips parts of the table in which nothing can be due.
    pub fn expire_some(&mut self, budget: usize) -> usize {
        self.keys.expire_some(self.clock.now, budget, |key, value| self.departed.expire(key, value))
    }

    /// Looks at about `count` keys with a time to live: at how many, and how many of them are over and still there.
    pub fn sample_expired(&self, random: &mut Random, count: usize) -> (u64, u64) {
        let (mut sampled, mut over) = (0, 0);
        if self.expires_len() > 0 {
            self.keys.sample(random, count, true, |record| {
                sampled += 1;
                over += u64::from(record.expires().is_some_and(|at| at <= self.clock.now));
            });
        }
        (sampled, over)
    }

    /// About how many milliseconds the keys with a time to live still have on average; 0 when there are none.
    pub fn average_ttl(&self) -> Millis {
        self.keys.average_ttl(self.clock.now)
    }
}
