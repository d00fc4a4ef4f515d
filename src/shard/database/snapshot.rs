//! A database's part in the snapshot of its shard. Its table hands out the records; this decides which tables there are:
//! the keys as they are now, and those that were there when the snapshot began, if all have been removed since.
//!
//! Large values come in pieces. Lists are frozen; strings, and sets and hashes that are hash tables, are under a snapshot of
//! their own, which they take along: to another key, or where they have been removed, to those that have departed.

use super::write::TakenKeys;
use super::{Database, Garbage, object_of, view};
use crate::limits::{PIECE_ITEMS_MAX, SNAPSHOT_PIECE_COST};
use crate::shard::Millis;
use crate::shard::snapshot::Encode;
use crate::structures::quicklist::Entry;
use crate::structures::record::{Body, RecordMut};
use crate::structures::records::{Apart, Handed, Later, NoObject, Scribe};
use crate::types::pieces::{Frozen, Piece, StringWalk, runs};
use crate::types::{Kind, Stored, StringValue, Value, ValueRef};

/// Writes the keys of a database.
struct KeyScribe(Encode);

/// Writes what a large set or hash holds.
struct ItemScribe {
    key: Box<[u8]>,
    kind: Kind,
    expires: Option<Millis>,
    encode: Encode,
}

/// A large list as it was.
struct FrozenKey {
    key: Box<[u8]>,
    value: Frozen,
    expires: Option<Millis>,
    encode: Encode,
}

impl Scribe<Stored> for KeyScribe {
    fn write(&self, records: &mut [RecordMut<'_, Stored>], handed: &mut Handed) {
        for record in records {
            let (expires, encode) = (record.as_ref().expires(), self.0);
            if !object_of(record.as_ref()).is_some_and(Stored::is_large) {
                let value = view(record.as_ref());
                debug_assert!(!is_empty(value), "nothing is lent while a snapshot begins");
                (encode.whole)(record.as_ref().key(), value, expires, &mut handed.bytes);
                continue;
            }
            let key: Box<[u8]> = record.as_ref().key().into();
            let Some(large) = record.object_mut() else { unreachable!("just seen") };
            let kind = large.as_ref().kind();
            if let Some(value) = large.freeze() {
                handed.late.push_back(Later::Apart(Box::new(FrozenKey { key, value, expires, encode })));
                continue;
            }
            if let Stored::String(string) = large {
                let (len, name) = (string.as_slice().len(), key.clone());
                let write = Box::new(move |piece: Piece<'_>, bytes: &mut Vec<u8>| (encode.piece)(&name, piece, bytes));
                string.begin_snapshot(StringWalk::new(len, key.len(), expires, write));
            } else if let Some(table) = large.table_mut() {
                table.begin_snapshot(Box::new(ItemScribe { key: key.clone(), kind, expires, encode }));
            }
            handed.late.push_back(Later::InPlace(key));
        }
    }

    fn go_on(&self, object: &mut Stored, wanted: bool, budget: &mut usize, bytes: &mut Vec<u8>) -> bool {
        go_on(object, wanted, budget, bytes)
    }
}

/// Goes on with the snapshot of a value, over about so many items, and moves what that hands out behind `bytes`; whether it
/// is over.
pub(super) fn go_on(value: &mut Stored, wanted: bool, budget: &mut usize, bytes: &mut Vec<u8>) -> bool {
    if let Stored::String(string) = value {
        *budget = budget.saturating_sub(SNAPSHOT_PIECE_COST);
        if !wanted {
            string.abandon_snapshot();
        }
        return !string.step_snapshot(bytes);
    }
    let Some(table) = value.table_mut() else { return true };
    if !wanted {
        table.abandon_snapshot();
    }
    table.walk_snapshot(budget);
    table.take_snapshot(|more| bytes.append(more));
    !table.has_snapshot()
}

impl Scribe<NoObject> for ItemScribe {
    fn together(&self) -> usize {
        PIECE_ITEMS_MAX
    }

    fn write(&self, records: &mut [RecordMut<'_, NoObject>], handed: &mut Handed) {
        let records = records.iter().map(RecordMut::as_ref);
        let write = |piece: Piece<'_>| (self.encode.piece)(&self.key, piece, &mut handed.bytes);
        let key_len = self.key.len();
        if self.kind == Kind::Set {
            runs(self.kind, key_len, records.map(|record| [Entry::Bytes(record.key())]), write);
        } else {
            let pairs = records.map(|record| [record.key(), record.bytes()].map(Entry::Bytes));
            runs(self.kind, key_len, pairs, write);
        }
    }

    fn go_on(&self, object: &mut NoObject, _: bool, _: &mut usize, _: &mut Vec<u8>) -> bool {
        match *object {}
    }

    fn end(&self, bytes: &mut Vec<u8>) {
        if let Some(at) = self.expires {
            (self.encode.piece)(&self.key, Piece::Expiry(at), bytes);
        }
    }
}

impl Apart for FrozenKey {
    fn next(&mut self, bytes: &mut Vec<u8>) -> bool {
        let more = self.value.next(self.key.len(), |piece| (self.encode.piece)(&self.key, piece, bytes));
        if let (false, Some(at)) = (more, self.expires) {
            (self.encode.piece)(&self.key, Piece::Expiry(at), bytes);
        }
        more
    }
}

impl Database {
    /// Begins a snapshot of what is there now, in which this is database `index`. There must be none under way.
    pub(in crate::shard) fn begin_snapshot(&mut self, index: u16, encode: Encode) {
        self.snapshot_index = index;
        self.keys.begin_snapshot(Box::new(KeyScribe(encode)));
        self.departed.is_snapshot_wanted = true;
    }

    /// Whether a snapshot is under way here.
    #[inline]
    pub(in crate::shard) fn has_snapshot(&self) -> bool {
        self.former.is_some() || self.keys.has_snapshot() || self.departed.has_snapshot()
    }

    /// Lets the snapshot go on over about `budget` keys, which goes down by what was done, and gives the bytes that it
    /// has by then to `take`.
    pub(in crate::shard) fn step_snapshot(&mut self, budget: &mut usize, mut take: impl FnMut(u16, &mut Vec<u8>)) {
        self.collect_handed();
        self.departed.step_snapshot(budget);
        for keys in [Some(&mut self.keys), self.former.as_deref_mut()].into_iter().flatten() {
            if self.departed.has_room_for_handed() {
                keys.walk_snapshot(budget);
            }
            keys.take_snapshot(|bytes| self.departed.hand_on(bytes));
        }
        if self.former.as_ref().is_some_and(|keys| !keys.has_snapshot()) {
            self.free_former();
        }
        self.departed.take_handed(|bytes| take(self.snapshot_index, bytes));
    }

    /// Moves what the tables have handed out behind what came before. It must be done before values that have left them
    /// hand out more: the pieces of a key come in order wherever its value is.
    fn collect_handed(&mut self) {
        for keys in [Some(&mut self.keys), self.former.as_deref_mut()].into_iter().flatten() {
            keys.take_snapshot(|bytes| self.departed.hand_on(bytes));
        }
    }

    /// Nobody wants the snapshot any more.
    pub(in crate::shard) fn abandon_snapshot(&mut self) {
        self.keys.abandon_snapshot();
        self.departed.abandon_snapshot();
        self.free_former();
    }

    /// The value at `key` may be one that has come from another key of this database, under a snapshot of its own.
    pub(super) fn resume_snapshot(&mut self, key: &[u8]) {
        let record = self.keys.get(key);
        if record.is_some_and(|record| matches!(record.body(), Body::Object(object) if object.has_snapshot())) {
            self.keys.resume_snapshot(key);
        }
    }

    /// Lets the snapshot of a large set or hash at `key` go on over about `budget` items; whether it is over, or there is
    /// none. Such a value may leave this database at once.
    pub fn step_snapshot_of(&mut self, key: &[u8], budget: &mut usize) -> bool {
        if !self.has_snapshot() {
            return true;
        }
        // What the snapshot has not come to yet is handed out now, and so begun.
        self.collect_handed();
        let record = match self.keys.live_mut(key, self.clock.now) {
            Ok(record) => record,
            Err(absent) => {
                self.departed.absent(key, absent);
                return true;
            }
        };
        match record.into_object() {
            // A string may be shared with the snapshot, and a list is frozen.
            None | Some(Stored::String(_) | Stored::List(_)) => true,
            Some(table) => go_on(table, self.departed.is_snapshot_wanted, budget, &mut self.departed.handed),
        }
    }

    /// Ends the snapshot of a value that leaves this database and is not freed.
    pub(super) fn part_with(&mut self, value: &mut Value) {
        let table = match value {
            Value::String(StringValue::Large(large)) => {
                return self.departed.part_with(large);
            }
            Value::String(_) | Value::List(_) => None,
            Value::Set(set) => set.table_mut(),
            Value::Hash(hash) => hash.table_mut(),
        };
        if let Some(table) = table.filter(|table| table.has_snapshot()) {
            if !self.departed.is_snapshot_wanted {
                table.abandon_snapshot();
            }
            self.collect_handed();
            table.finish_snapshot(&mut self.departed.handed);
        }
    }

    /// All keys, written at once.
    #[cfg(test)]
    pub(in crate::shard) fn encode_all(&self, encode: Encode) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.keys.iter().for_each(|record| (encode.whole)(record.key(), view(record), record.expires(), &mut bytes));
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
