//! The best candidates among the keys that were looked at, over several rounds of samples, as Redis keeps them.

use crate::limits::EVICTION_POOL_CANDIDATES;

/// A key that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<K> {
    /// How much it deserves to go.
    pub rank: u64,
    /// What leads to it.
    pub key: K,
}

/// A few candidates, the one that deserves most to go behind the others.
#[derive(Clone, Debug)]
pub struct Pool<K> {
    candidates: Vec<Candidate<K>>,
}

impl<K> Default for Pool<K> {
    fn default() -> Self {
        Self { candidates: Vec::with_capacity(EVICTION_POOL_CANDIDATES) }
    }
}

impl<K: PartialEq> Pool<K> {
    /// Whether a key with this rank would find a place.
    #[inline]
    pub fn wants(&self, rank: u64) -> bool {
        self.candidates.len() < EVICTION_POOL_CANDIDATES || self.candidates[0].rank < rank
    }

    /// Takes a candidate in, if it is among the best; one that has the same key makes way for it.
    pub fn offer(&mut self, rank: u64, key: K) {
        if let Some(old) = self.candidates.iter().position(|candidate| candidate.key == key) {
            self.candidates.remove(old);
        }
        if !self.wants(rank) {
            return;
        }
        if self.candidates.len() == EVICTION_POOL_CANDIDATES {
            self.candidates.remove(0);
        }
        let place = self.candidates.partition_point(|candidate| candidate.rank < rank);
        self.candidates.insert(place, Candidate { rank, key });
    }

    /// The rank of the one that deserves most to go.
    pub fn best(&self) -> Option<u64> {
        self.candidates.last().map(|candidate| candidate.rank)
    }

    /// Takes the one out that deserves most to go.
    pub fn take(&mut self) -> Option<Candidate<K>> {
        self.candidates.pop()
    }

    /// Forgets all, as when the policy changes.
    pub fn clear(&mut self) {
        self.candidates.clear();
    }
}
