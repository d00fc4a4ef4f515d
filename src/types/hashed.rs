//! The hash table of large sets and hashes: byte strings to byte strings.

use crate::stdx::random::Random;
use std::collections::HashMap;

/// A table of byte strings with byte strings as values, empty ones for the members of a set.
#[derive(Clone, Debug, Default)]
pub(super) struct ByteTable(HashMap<Box<[u8]>, Box<[u8]>, ahash::RandomState>);

/// A record of a table.
pub(super) struct RecordRef<'a>(&'a [u8], &'a [u8]);

impl<'a> RecordRef<'a> {
    pub fn key(&self) -> &'a [u8] {
        self.0
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.1
    }
}

impl ByteTable {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn memory_bytes(&self) -> usize {
        self.0.capacity() * 33
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.0.contains_key(key)
    }

    pub fn get(&self, key: &[u8]) -> Option<RecordRef<'_>> {
        self.0.get_key_value(key).map(|(key, bytes)| RecordRef(key, bytes))
    }

    pub fn insert(&mut self, key: &[u8], bytes: &[u8]) -> bool {
        self.0.insert(key.into(), bytes.into()).is_none()
    }

    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.0.remove(key).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.0.iter().map(|(key, bytes)| RecordRef(key, bytes))
    }

    pub fn random(&self, random: &mut Random) -> Option<RecordRef<'_>> {
        self.iter().nth(random.below(self.len().max(1)))
    }

    pub fn scan(&self, _cursor: u64, _count: usize, visit: impl FnMut(RecordRef<'_>)) -> u64 {
        self.iter().for_each(visit);
        0
    }
}
