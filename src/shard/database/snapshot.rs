//! A database's part in the snapshot of its shard. Its table hands out the records; this decides which tables there are:
//! the keys as they are now, and those that were there when the snapshot began, if all have been removed since.

use super::write::TakenKeys;
use super::{Database, Garbage, view};
use crate::shard::snapshot::Encode;
use crate::types::ValueRef;

impl Database {
    /// Begins a snapshot of what is there now, in which this is database `index`. There must be none under way.
    pub(in crate::shard) fn begin_snapshot(&mut self, index: u16, encode: Encode) {
        self.snapshot_index = index;
        self.keys.begin_snapshot(Box::new(move |record, bytes| {
            let value = view(record);
            debug_assert!(!is_empty(value), "nothing is lent while a snapshot begins");
            encode(record.key(), value, record.expires(), bytes);
        }));
    }

    /// Whether a snapshot is under way here.
    #[inline]
    pub(in crate::shard) fn has_snapshot(&self) -> bool {
        self.former.is_some() || self.keys.has_snapshot()
    }

    /// Lets the snapshot go on over about `budget` keys, which goes down by what was done, and gives the bytes that it
    /// has by then to `take`.
    pub(in crate::shard) fn step_snapshot(&mut self, budget: &mut usize, mut take: impl FnMut(u16, &mut Vec<u8>)) {
        let index = self.snapshot_index;
        for keys in [Some(&mut self.keys), self.former.as_deref_mut()].into_iter().flatten() {
            keys.walk_snapshot(budget);
            keys.take_snapshot(|bytes| take(index, bytes));
        }
        if self.former.as_ref().is_some_and(|keys| !keys.has_snapshot()) {
            self.free_former();
        }
    }

    /// Nobody wants the snapshot any more.
    pub(in crate::shard) fn abandon_snapshot(&mut self) {
        self.keys.abandon_snapshot();
        self.free_former();
    }

    /// All keys, written at once.
    #[cfg(test)]
    pub(in crate::shard) fn encode_all(&self, encode: Encode) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.keys.iter().for_each(|record| encode(record.key(), view(record), record.expires(), &mut bytes));
        bytes
    }

    fn free_former(&mut self) {
        if let Some(keys) = self.former.take() {
            self.departed.keep(Garbage::Keys(Box::new(TakenKeys(*keys))));
        }
    }

    /// Keeps the keys that have just been taken out of the database if the snapshot wants some of them; else gives them
    /// back.
    pub(super) fn keep_for_snapshot(&mut self, keys: TakenKeys) -> Option<TakenKeys> {
        if !keys.0.has_wanted_snapshot() {
            return Some(keys);
        }
        debug_assert!(self.former.is_none(), "keys that came after a snapshot began have none");
        self.former = Some(Box::new(keys.0));
        None
    }
}

/// Whether it is what stands in the place of a value that is lent out: no other is empty.
fn is_empty(value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::String(_) => false,
        ValueRef::List(list) => list.is_empty(),
        ValueRef::Set(set) => set.is_empty(),
        ValueRef::Hash(hash) => hash.is_empty(),
    }
}
