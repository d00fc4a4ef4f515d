//! Where every client of the server is, for clients that name others by their ids.

use super::SessionKey;
use crate::shard::ShardId;
use ahash::AHashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts, each with its lock, which is taken when a client comes, goes, or is looked for.
const PARTS: usize = 64;

type Places = AHashMap<u64, (ShardId, SessionKey)>;

/// Where every client is.
pub struct Directory {
    parts: [Mutex<Places>; PARTS],
}

impl Default for Directory {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Directory {
    /// Client `id` has come to a core.
    pub fn insert(&self, id: u64, core: ShardId, key: SessionKey) {
        self.part(id).insert(id, (core, key));
    }

    /// Client `id` has gone.
    pub fn remove(&self, id: u64) {
        self.part(id).remove(&id);
    }

    /// Where client `id` is.
    pub fn find(&self, id: u64) -> Option<(ShardId, SessionKey)> {
        self.part(id).get(&id).copied()
    }

    fn part(&self, id: u64) -> MutexGuard<'_, Places> {
        self.parts[(id % PARTS as u64) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
