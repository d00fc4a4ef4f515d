//! Tables of records: a [segment table](super::table) whose entries are [records](super::record), with the memory they
//! need. The keyspace is one, with objects and times to live; large sets and hashes are [`ByteTable`]s.
//!
//! Every function is safe: handles into the table never leave it but as borrows. Times are plain numbers and given by
//! the caller; a record whose time is at or before `now` is over, and is removed by the first call that meets it, or
//! counts as missing while those are to be kept.
#![allow(unsafe_code)]

mod expiry;
mod snapshot;
#[cfg(test)]
mod tests;

use super::record::{Body, OwnedBody, Record, RecordLive, RecordMut, RecordRef, Shape};
use super::sampled;
use super::slab::{Allocator, Block, Heap};
use super::table::{Place, RawTable, Slot};
use crate::stdx::random::Random;
use ahash::RandomState;
use snapshot::Walk;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::OnceLock;

pub use super::record::NewBody;
pub use snapshot::{Apart, Handed, Later, Scribe};

/// What becomes of a key's time to live when its value is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It stays.
    Keep,
    /// The key does not expire.
    Never,
    /// The key expires at this time, in milliseconds since the Unix epoch.
    At(i64),
}

/// What was there when a record was written. Objects are handed out, because dropping a large one takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written<O> {
    /// Nothing.
    New,
    /// A record with this key, and the object it held.
    Replaced(Option<O>),
    /// A record whose time was over, and the object it held.
    Expired(Option<O>),
}

/// Why there is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent<O> {
    /// There was none.
    Missing,
    /// Its time was over; it has been removed. This is the object it held.
    Expired(Option<O>),
}

/// A sample has at most so many records.
pub const SAMPLED_RECORDS_MAX: usize = 256;

/// So many buckets are looked at for records of a sample.
const SAMPLED_BUCKETS_MAX: usize = 64;

/// The time, for those who write records.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Milliseconds, compared with expiries.
    pub now: i64,
    /// Access time, modulo 2^24.
    pub access: u32,
}

impl Clock {
    /// Before every expiry: for tables whose records have none.
    pub const NONE: Self = Self { now: i64::MIN, access: 0 };
}

/// The object of tables whose records hold only bytes: there is none.
#[derive(Clone, Copy, Debug)]
pub enum NoObject {}

/// A table of byte strings with byte strings as values, empty ones for the members of a set.
pub type ByteTable = RecordTable<NoObject, Heap>;

/// A table of records with objects of type `O` and memory from `A`.
pub struct RecordTable<O, A: Allocator = Heap> {
    table: RawTable,
    allocator: A,
    hasher: &'static RandomState,
    /// Records that must be visited when the table is dropped.
    owners: usize,
    /// Where the search for expired records goes on.
    due_from: u32,
    /// Whether records whose time is over stay where they are.
    keeps_expired: bool,
    /// The epoch flag of records that the snapshot has; of all records where none is under way.
    epoch: u8,
    /// The snapshot that is under way.
    walk: Option<Box<Walk<O>>>,
    objects: PhantomData<O>,
}

/// The hash keys of this process, random.
fn process_hasher() -> &'static RandomState {
    static HASHER: OnceLock<RandomState> = OnceLock::new();
    HASHER.get_or_init(RandomState::new)
}

#[inline]
fn hash_of(hasher: &RandomState, key: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(key);
    state.finish()
}

#[inline]
fn record<O>(entry: NonNull<u8>) -> Record<O> {
    // SAFETY: the entries of a table are live records of its object type.
    unsafe { Record::at(entry) }
}

#[inline]
fn marks<O>(record: Record<O>) -> u64 {
    let owns = record.is_object() || !record.is_paged();
    (if owns { Slot::OWNS } else { 0 }) | if record.is_timed() { Slot::TIMED } else { 0 }
}

impl<O, A: Allocator> Default for RecordTable<O, A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O, A: Allocator> RecordTable<O, A> {
    /// An empty table; it holds no memory.
    pub fn new() -> Self {
        Self::with_hasher(process_hasher())
    }

    /// An empty table that hashes with these keys.
    pub fn with_hasher(hasher: &'static RandomState) -> Self {
        let (table, allocator) = (RawTable::default(), A::default());
        Self {
            table,
            allocator,
            hasher,
            owners: 0,
            due_from: 0,
            keeps_expired: false,
            epoch: 0,
            walk: None,
            objects: PhantomData,
        }
    }

    /// Whether records whose time is over stay from now on until something is stored in their place. They count as missing.
    pub fn keep_expired(&mut self, keep: bool) {
        self.keeps_expired = keep;
    }

    /// Whether they stay.
    pub fn keeps_expired(&self) -> bool {
        self.keeps_expired
    }

    /// Number of records, those whose time is over included.
    #[inline]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of records with a time to live.
    pub fn timed_len(&self) -> usize {
        self.table.timed()
    }

    /// Bytes of records, what their objects own not included.
    pub fn record_bytes(&self) -> usize {
        self.allocator.bytes_in_use()
    }

    /// Bytes of the table that leads to the records.
    pub fn table_bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Bytes taken from the system for table and records, what objects own not included.
    pub fn memory_bytes(&self) -> usize {
        self.table.bytes() + self.allocator.bytes_held()
    }

    /// Bytes of the table that each record has to answer for: an equal share, as an entry belongs to no place for long.
    pub fn table_share(&self) -> usize {
        self.table.bytes().div_ceil(self.len().max(1))
    }

    /// Bytes that table and records take of the allocator, judged by the first `samples` records; what objects own is not
    /// included.
    pub fn allocated_bytes(&self, samples: usize) -> usize {
        let records = sampled(self.len(), samples, self.iter().map(|record| record.allocated_bytes()));
        self.table.bytes() + records
    }

    /// The hash of `key`, for [`RecordTable::prefetch`].
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        hash_of(self.hasher, key)
    }

    /// Asks the processor to fetch the place in the table where a key with this hash is looked for.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.table.prefetch(hash);
    }

    /// Asks the processor to fetch the record of a key with this hash, if there is one.
    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        self.table.find(hash, |slot| {
            super::table::prefetch(slot.entry().as_ptr());
            true
        });
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        self.table.find(hash, |slot| record::<O>(slot.entry()).has_key(key))
    }

    /// The record of `key`, whatever its expiry.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<RecordRef<'_, O>> {
        let place = self.find(self.hash(key), key)?;
        Some(RecordRef(record(place.slot().entry()), PhantomData))
    }

    /// Whether there is a record of `key`, whatever its expiry.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// The place of the record of `key`, unless its time is over.
    #[inline]
    fn live_place(&mut self, hash: u64, key: &[u8], now: i64) -> Result<Place, Absent<O>> {
        let place = self.find(hash, key).ok_or(Absent::Missing)?;
        if place.slot().marks() & Slot::TIMED != 0 && self.is_over(place, now) {
            return Err(if self.keeps_expired { Absent::Missing } else { Absent::Expired(self.remove_at(place)) });
        }
        Ok(place)
    }

    #[inline]
    fn is_over(&self, place: Place, now: i64) -> bool {
        record::<O>(place.slot().entry()).expires().is_some_and(|at| at <= now)
    }

    /// The record of `key`, unless its time is over.
    #[inline]
    pub fn live(&mut self, key: &[u8], now: i64) -> Result<RecordLive<'_, O>, Absent<O>> {
        let place = self.live_place(self.hash(key), key, now)?;
        Ok(RecordLive(record(place.slot().entry()), PhantomData))
    }

    /// The same, for changing what it holds.
    #[inline]
    pub fn live_mut(&mut self, key: &[u8], now: i64) -> Result<RecordMut<'_, O>, Absent<O>> {
        let place = self.live_place(self.hash(key), key, now)?;
        let record = record(place.slot().entry());
        self.preserve(record);
        Ok(RecordMut::new(record))
    }

    /// The object of `key`, for changing; `None` when there is no record or it holds none.
    pub fn object_mut(&mut self, key: &[u8]) -> Option<&mut O> {
        self.live_mut(key, i64::MIN).ok()?.into_object()
    }

    /// Stores bytes at `key`, in place of those that were there; whether the key is new.
    pub fn insert(&mut self, key: &[u8], bytes: &[u8]) -> bool {
        matches!(self.put(key, NewBody::Bytes { bytes, raw: false }, Expiry::Keep, Clock::NONE), Written::New)
    }

    /// Stores `body` at `key`, whatever was there.
    #[inline]
    pub fn put(&mut self, key: &[u8], body: NewBody<'_, O>, expiry: Expiry, clock: Clock) -> Written<O> {
        let hash = self.hash(key);
        let Some(place) = self.find(hash, key) else {
            self.add(hash, key, body, expiry, clock);
            return Written::New;
        };
        let old = record::<O>(place.slot().entry());
        if !matches!(expiry, Expiry::At(_)) && old.overwrite(key.len(), &body, clock.access, self.epoch) {
            return Written::Replaced(None);
        }
        let before = old.expires();
        let over = before.is_some_and(|at| at <= clock.now);
        let expires = match expiry {
            Expiry::Keep if over => None,
            Expiry::Keep => before,
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
        };
        let replaced = self.overwrite(place, key, body, expires, clock);
        if over { Written::Expired(replaced) } else { Written::Replaced(replaced) }
    }

    /// The record of `key`, unless its time is over; `make` gives what a new one holds otherwise. Also why there was
    /// none.
    pub fn live_or_insert<'k>(
        &mut self,
        key: &[u8],
        clock: Clock,
        make: impl FnOnce() -> NewBody<'k, O>,
    ) -> (RecordMut<'_, O>, Option<Absent<O>>) {
        let hash = self.hash(key);
        match self.live_place(hash, key, clock.now) {
            Ok(place) => {
                let record = record(place.slot().entry());
                self.preserve(record);
                (RecordMut::new(record), None)
            }
            Err(mut absent) => {
                if self.keeps_expired
                    && let Some(place) = self.find(hash, key)
                {
                    absent = Absent::Expired(self.remove_at(place));
                }
                let record = self.add(hash, key, make(), Expiry::Never, clock);
                (RecordMut::new(record), Some(absent))
            }
        }
    }

    /// Memory for a record of this shape, and the record's status. It is none that a snapshot wants.
    #[inline]
    fn allocate(&mut self, shape: Shape) -> (Record<O>, u8) {
        let block = self.allocator.allocate(shape.bytes::<O>());
        (record(block.pointer), Record::<O>::status(block.paged, self.epoch))
    }

    /// Adds a record of a key that is not there.
    #[inline(never)]
    fn add(&mut self, hash: u64, key: &[u8], body: NewBody<'_, O>, expiry: Expiry, clock: Clock) -> Record<O> {
        let expires = if let Expiry::At(at) = expiry { Some(at) } else { None };
        let shape = Shape::new(key.len(), &body, expires.is_some());
        let (new, status) = self.allocate(shape);
        new.fill(shape, status, key, body, expires.unwrap_or_default(), clock.access);
        let marks = marks(new);
        self.owners += usize::from(marks & Slot::OWNS != 0);
        let hasher = self.hasher;
        let place = self.table.insert(hash, new.pointer(), marks, |entry| hash_of(hasher, record::<O>(entry).key()));
        if let Some(at) = expires {
            // SAFETY: the place has just been made.
            unsafe { place.expires(at) };
        }
        new
    }

    /// Writes a new body for the key at `place`, in the old record's memory where it fits; the object that was there.
    #[inline(never)]
    fn overwrite(
        &mut self,
        place: Place,
        key: &[u8],
        body: NewBody<'_, O>,
        expires: Option<i64>,
        clock: Clock,
    ) -> Option<O> {
        let old = record::<O>(place.slot().entry());
        self.preserve(old);
        let shape = Shape::new(key.len(), &body, expires.is_some());
        let replaced = match old.refill(shape, body, expires.unwrap_or_default(), clock.access) {
            Ok(replaced) => {
                self.refer(place, old);
                replaced
            }
            Err(body) => {
                let (new, status) = self.allocate(shape);
                new.fill(shape, status, key, body, expires.unwrap_or_default(), clock.access);
                self.refer(place, new);
                let replaced = old.into_object();
                self.release(old);
                replaced
            }
        };
        if let Some(at) = expires {
            // SAFETY: nothing was inserted or removed.
            unsafe { place.expires(at) };
        }
        replaced
    }

    /// Lets the table refer to `new` at `place`.
    #[inline]
    fn refer(&mut self, place: Place, new: Record<O>) {
        let (before, after) = (place.slot(), marks(new));
        if before.marks() == after && before.entry() == new.pointer() {
            return;
        }
        self.owners += usize::from(after & Slot::OWNS != 0);
        self.owners -= usize::from(before.marks() & Slot::OWNS != 0);
        // SAFETY: callers have found the place and changed nothing since.
        unsafe { self.table.set(place, new.pointer(), after) };
    }

    /// Gives a record's memory back; its object has been dropped or moved.
    #[inline]
    fn release(&mut self, record: Record<O>) {
        let block = Block { pointer: record.pointer(), paged: record.is_paged() };
        let bytes = record.shape().bytes::<O>();
        // SAFETY: it came from this allocator with its shape's size, and the table no longer refers to it.
        unsafe { self.allocator.release(block, bytes) };
    }

    /// Takes the record at `place` out of the table.
    fn detach(&mut self, place: Place) -> Record<O> {
        self.preserve(record(place.slot().entry()));
        let hasher = self.hasher;
        let rehash = |entry| hash_of(hasher, record::<O>(entry).key());
        // SAFETY: callers have just found the place.
        let slot = unsafe { self.table.remove(place, rehash) };
        self.owners -= usize::from(slot.marks() & Slot::OWNS != 0);
        record(slot.entry())
    }

    /// Removes the record at `place`; the object it held.
    #[inline(never)]
    fn remove_at(&mut self, place: Place) -> Option<O> {
        let old = self.detach(place);
        let object = old.into_object();
        self.release(old);
        object
    }

    /// Removes the record of `key`, whatever its expiry; whether there was one.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.remove_live(key, i64::MIN).is_ok()
    }

    /// Removes the record of `key` and gives the object it held; an error when there was none or its time was over, in
    /// which case it is gone too.
    pub fn remove_live(&mut self, key: &[u8], now: i64) -> Result<Option<O>, Absent<O>> {
        let place = self.live_place(self.hash(key), key, now)?;
        Ok(self.remove_at(place))
    }

    /// Removes the record of `key` and gives what it held and when it would have expired.
    pub fn take_live(&mut self, key: &[u8], now: i64) -> Result<(OwnedBody<O>, Option<i64>), Absent<O>> {
        let place = self.live_place(self.hash(key), key, now)?;
        let old = self.detach(place);
        let taken = (old.take_body(), old.expires());
        self.release(old);
        Ok(taken)
    }

    /// Visits about `count` records from `cursor` on (0: from the start) and returns the cursor to go on with (0: done),
    /// a number below 2^47. What is there from the first call to the last is visited at least once. Any number is a
    /// valid cursor.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(RecordRef<'_, O>)) -> u64 {
        self.table.scan(cursor, count, |slot| visit(RecordRef(record(slot.entry()), PhantomData)))
    }

    /// A random record; all are about equally likely.
    pub fn random(&self, random: &mut Random) -> Option<RecordRef<'_, O>> {
        self.table.random(random).map(|slot| RecordRef(record(slot.entry()), PhantomData))
    }

    /// Visits up to `count` records from a random place, and no more than [`SAMPLED_RECORDS_MAX`]; with `timed` only ones
    /// with a time to live.
    pub fn sample(&self, random: &mut Random, count: usize, timed: bool, mut visit: impl FnMut(RecordRef<'_, O>)) {
        let count = count.min(SAMPLED_RECORDS_MAX);
        let mut found = Vec::with_capacity(count);
        let mut fetch = |entry: NonNull<u8>| {
            super::table::prefetch(entry.as_ptr());
            found.push(entry);
        };
        let marks = if timed { Slot::TIMED } else { 0 };
        let some = self.table.sample(random, count, SAMPLED_BUCKETS_MAX, marks, &mut fetch);
        if some == 0 && timed {
            self.table.sample_timed(random.next_u64() as u32, usize::MAX, count, fetch);
        }
        found.into_iter().for_each(|entry| visit(RecordRef(record(entry), PhantomData)));
    }

    /// Bytes that are there for records and not in use.
    pub fn hole_bytes(&self) -> usize {
        self.allocator.bytes_free()
    }

    /// Moves records together so that some memory can be given back; how many bytes were.
    pub fn compact(&mut self) -> usize {
        let Self { table, allocator, hasher, .. } = self;
        allocator.compact(|from, to| {
            let moved = record::<O>(to);
            let place = table.find(hash_of(hasher, moved.key()), |slot| slot.entry() == from);
            let place = place.expect("every record in use is in the table");
            // SAFETY: just found.
            unsafe { table.set(place, to, place.slot().marks()) };
        })
    }

    /// All records, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_, O>> {
        self.table.iter().map(|slot| RecordRef(record(slot.entry()), PhantomData))
    }

    /// Removes all records and gives all memory back.
    pub fn clear(&mut self) {
        debug_assert!(self.walk.is_none(), "a snapshot keeps the table that it walks over");
        *self = Self::with_hasher(self.hasher);
    }
}

impl<O, A: Allocator> Drop for RecordTable<O, A> {
    /// Visits only records that own something besides their place in a page.
    fn drop(&mut self) {
        if self.owners == 0 {
            return;
        }
        let table = std::mem::take(&mut self.table);
        for slot in table.iter().filter(|slot| slot.marks() & Slot::OWNS != 0) {
            let old = record::<O>(slot.entry());
            drop(old.into_object());
            self.release(old);
        }
    }
}

impl<O: Clone, A: Allocator> Clone for RecordTable<O, A> {
    fn clone(&self) -> Self {
        let mut copy = Self::with_hasher(self.hasher);
        for old in self.iter() {
            let body = match old.body() {
                Body::Bytes { bytes, raw } => NewBody::Bytes { bytes, raw },
                Body::Integer(integer) => NewBody::Integer(integer),
                Body::Object(object) => NewBody::Object(object.clone()),
            };
            let expiry = old.expires().map_or(Expiry::Never, Expiry::At);
            copy.put(old.key(), body, expiry, Clock { now: i64::MIN, access: old.accessed() });
        }
        copy
    }
}

impl<O, A: Allocator> fmt::Debug for RecordTable<O, A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RecordTable({} records)", self.len())
    }
}
