//! One database's slice on one core: keys, values, times to live. Lookups apply lazy expiry: an expired key is removed
//! and reported as missing; while clients are paused only the latter. The clock is given by [`Database::set_now`], never read.
//!
//! Short strings and integers lie inside the key's record; everything else is a [`Stored`] object that the record holds.

mod departed;
mod evict;
mod incidents;
mod read;
mod snapshot;
#[cfg(test)]
mod tests;
mod walk;
mod write;

use super::Millis;
use super::eviction::Usage;
use crate::config::LazyFree;
use crate::structures::record::{Body, RecordLive, RecordMut, RecordRef};
use crate::structures::records::{Clock, RecordTable};
use crate::structures::slab::Slab;
use crate::types::{Stored, StringRef, ValueRef};

pub use crate::structures::Expiry;
pub use departed::{Departed, Garbage};
pub use incidents::Incidents;

type Keys = RecordTable<Stored, Slab>;

/// One database's slice on one core.
pub struct Database {
    keys: Keys,
    /// Keys that it had when a snapshot began that is not through with them.
    former: Option<Box<Keys>>,
    /// Its index when the snapshot began.
    snapshot_index: u16,
    clock: Clock,
    /// The time, whatever else the clock of the records says.
    time: Millis,
    /// How keys are used, for those who choose which of them go.
    usage: Usage,
    /// Whether nothing expires, whatever the time.
    timeless: bool,
    /// Whether reads set access times.
    touch: bool,
    /// Room for a string while it is changed.
    scratch: Vec<u8>,
    /// What has left it.
    pub departed: Departed,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

impl Database {
    /// An empty database; it holds no memory.
    pub fn new() -> Self {
        Self {
            keys: Keys::new(),
            former: None,
            snapshot_index: 0,
            clock: Clock { now: 0, access: 0 },
            time: 0,
            usage: Usage::new(0),
            timeless: false,
            touch: true,
            scratch: Vec::new(),
            departed: Departed::default(),
            hits: 0,
            misses: 0,
        }
    }

    /// The clock for the commands to come.
    #[inline]
    pub fn set_now(&mut self, now: Millis) {
        if now == self.time {
            return;
        }
        self.time = now;
        self.usage.set_now(now);
        self.usage.set_keys(self.keys.len());
        self.clock = Clock { now: if self.timeless { 0 } else { now }, access: self.usage.seconds() };
    }

    /// Whether nothing expires from now on, as while a log is replayed: it says itself when a key's time was over.
    pub fn set_timeless(&mut self, timeless: bool) {
        self.timeless = timeless;
        (self.clock.now, self.time) = (0, 0);
    }

    /// Whether keys whose time is over stay from now on, as while clients are paused. They are gone for all who ask.
    pub fn keep_expired(&mut self, keep: bool) {
        self.keys.keep_expired(keep);
    }

    /// Whether commands set access times from now on (CLIENT NO-TOUCH).
    #[inline]
    pub fn set_touch(&mut self, touch: bool) {
        self.touch = touch;
    }

    /// Which incidents are kept for [`Database::take_incidents`].
    pub fn keep_incidents(&mut self, wanted: Incidents) {
        self.departed.journal.keep(wanted);
    }

    /// Which incidents are kept.
    pub fn kept_incidents(&self) -> Incidents {
        self.departed.journal.kept()
    }

    /// Whether there have been incidents that are kept.
    #[inline]
    pub fn has_incidents(&self) -> bool {
        !self.departed.journal.is_empty()
    }

    /// The incidents since the last call and their keys, in order.
    pub fn take_incidents(&mut self) -> Vec<(Incidents, Box<[u8]>)> {
        self.departed.journal.take()
    }

    /// Tells that a reading command did not find `key`, where a lookup has not told it.
    #[inline]
    pub fn tell_miss(&mut self, key: &[u8]) {
        self.departed.journal.note(Incidents::MISSED, key);
    }

    /// What is kept as garbage from now on instead of being freed at once.
    pub fn set_lazy_free(&mut self, lazy: LazyFree) {
        self.departed.lazy = lazy;
    }

    /// The clock reading commands work with.
    pub fn now(&self) -> Millis {
        self.clock.now
    }

    /// Number of keys, expired ones that nobody has looked at included, as DBSIZE counts.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Number of keys with a time to live.
    pub fn expires_len(&self) -> usize {
        self.keys.timed_len()
    }

    /// Bytes of table and records; what lists, sets, hashes and large strings own is not included.
    pub fn memory_bytes(&self) -> usize {
        self.usage.memory_bytes()
            + self.keys.memory_bytes()
            + self.former.as_ref().map_or(0, |keys| keys.memory_bytes())
    }

    /// Bytes of the table that leads to the keys.
    pub fn table_bytes(&self) -> usize {
        self.keys.table_bytes() + self.former.as_ref().map_or(0, |keys| keys.table_bytes())
    }

    /// Asks the processor to fetch the place where `key` is looked for; gives the number that
    /// [`Database::prefetch_record`] wants. Of use when other work lies between this and the lookup.
    #[inline]
    pub fn prefetch(&self, key: &[u8]) -> u64 {
        let hash = self.keys.hash(key);
        self.keys.prefetch(hash);
        hash
    }

    /// Asks the processor to fetch the record of the key for which [`Database::prefetch`] gave `hash`.
    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        self.keys.prefetch_record(hash);
    }

    /// The record of `key`, unless its time is over.
    #[inline]
    fn live(&mut self, key: &[u8]) -> Option<RecordLive<'_, Stored>> {
        match self.keys.live(key, self.clock.now) {
            Ok(record) => Some(record),
            Err(absent) => {
                self.departed.absent(key, absent);
                None
            }
        }
    }

    /// The same, for changing what it holds.
    #[inline]
    fn live_mut(&mut self, key: &[u8]) -> Option<RecordMut<'_, Stored>> {
        match self.keys.live_mut(key, self.clock.now) {
            Ok(record) => Some(record),
            Err(absent) => {
                self.departed.absent(key, absent);
                None
            }
        }
    }

    /// The same, setting the access time.
    #[inline]
    fn touched(&mut self, key: &[u8]) -> Option<RecordMut<'_, Stored>> {
        let (touch, access) = (self.touch, self.access_if_there(key));
        let mut record = self.live_mut(key)?;
        if touch {
            record.set_accessed(access);
        }
        Some(record)
    }

    /// The same, counting a hit or a miss.
    #[inline]
    fn read(&mut self, key: &[u8]) -> Option<RecordRef<'_, Stored>> {
        match self.keys.live(key, self.clock.now) {
            Ok(mut record) => {
                self.hits += 1;
                if self.touch {
                    let before = record.as_ref().accessed();
                    record.set_accessed(self.usage.used(before));
                }
                Some(record.into_ref())
            }
            Err(absent) => {
                self.misses += 1;
                self.departed.absent(key, absent);
                self.departed.journal.note(Incidents::MISSED, key);
                None
            }
        }
    }
}

/// The string in a record; `None` when it holds another type.
#[inline]
fn string_of(record: RecordRef<'_, Stored>) -> Option<StringRef<'_>> {
    match record.body() {
        Body::Bytes { bytes, raw } => Some(StringRef::Bytes { bytes, raw }),
        Body::Integer(integer) => Some(StringRef::Int(integer)),
        Body::Object(Stored::String(large)) => Some(StringRef::Large(large)),
        Body::Object(_) => None,
    }
}

/// The value in a record.
fn view(record: RecordRef<'_, Stored>) -> ValueRef<'_> {
    match record.body() {
        Body::Bytes { bytes, raw } => ValueRef::String(StringRef::Bytes { bytes, raw }),
        Body::Integer(integer) => ValueRef::String(StringRef::Int(integer)),
        Body::Object(stored) => stored.as_ref(),
    }
}

/// The object in a record; `None` when it is no object.
fn object_of(record: RecordRef<'_, Stored>) -> Option<&Stored> {
    if let Body::Object(stored) = record.body() { Some(stored) } else { None }
}
