//! A snapshot of a table: every record exactly as it was at one moment, while the table goes on changing.
//!
//! A table has an epoch, one bit, and so has every record. To begin a snapshot flips the table's. From then on a record
//! of the other epoch is one that the snapshot wants and has not: the walk hands it out when it comes by, or whoever is
//! about to change it does so before ([`RecordTable::preserve`]), and it gets the table's epoch. New records have it from
//! the start. When the walk has come to its end all records have the table's epoch again, as without a snapshot.
//!
//! The walk is that of SCAN, which segments may grow, split and merge under. What it meets twice it hands out once.

use super::{Record, RecordRef, RecordTable, record};
use crate::limits::SNAPSHOT_PENDING_BYTES_MAX;
use crate::structures::record::EPOCH;
use crate::structures::slab::Allocator;
use crate::structures::table::prefetch;
use std::marker::PhantomData;

/// Records that are fetched before the first of them is looked at.
const RECORDS_AHEAD: usize = 32;

/// Appends a record to bytes.
pub type Encode<O> = Box<dyn Fn(RecordRef<'_, O>, &mut Vec<u8>) + Send + Sync>;

/// A snapshot under way.
pub(super) struct Walk<O> {
    /// How records are written; `None` when nobody wants them any more.
    encode: Option<Encode<O>>,
    /// What was handed out and nobody has taken yet.
    pending: Vec<u8>,
    /// Where the walk goes on.
    cursor: u64,
    /// Whether it has come to its end.
    is_through: bool,
}

impl<O> Walk<O> {
    fn is_full(&self) -> bool {
        self.pending.len() >= SNAPSHOT_PENDING_BYTES_MAX
    }

    /// Hands records out until there is enough; whether that were all.
    fn hand_out_all(&mut self, wanted: impl Iterator<Item = Record<O>>, epoch: u8) -> bool {
        for record in wanted {
            if self.is_full() {
                return false;
            }
            record.set_epoch(epoch);
            self.hand_out(record);
        }
        true
    }

    fn hand_out(&mut self, record: Record<O>) {
        if let Some(encode) = &self.encode {
            encode(RecordRef(record, PhantomData), &mut self.pending);
        }
    }
}

impl<O, A: Allocator> RecordTable<O, A> {
    /// Begins a snapshot of what is there now. There must be none under way.
    pub fn begin_snapshot(&mut self, encode: Encode<O>) {
        assert!(self.walk.is_none(), "one snapshot at a time");
        if self.is_empty() {
            return;
        }
        self.epoch ^= EPOCH;
        self.walk = Some(Box::new(Walk { encode: Some(encode), pending: Vec::new(), cursor: 0, is_through: false }));
    }

    /// Whether a snapshot is under way, be it that its last bytes have not been taken, or that it was abandoned and has
    /// not come to its end.
    #[inline]
    pub fn has_snapshot(&self) -> bool {
        self.walk.is_some()
    }

    /// Whether a snapshot is under way that somebody wants.
    pub fn has_wanted_snapshot(&self) -> bool {
        self.walk.as_ref().is_some_and(|walk| walk.encode.is_some())
    }

    /// Lets the snapshot have a record before it is changed or removed.
    #[inline]
    pub(super) fn preserve(&mut self, record: Record<O>) {
        if record.epoch() != self.epoch {
            self.hand_out(record);
        }
    }

    #[cold]
    #[inline(never)]
    fn hand_out(&mut self, record: Record<O>) {
        record.set_epoch(self.epoch);
        let walk = self.walk.as_mut().expect("all records have the table's epoch but during a snapshot");
        walk.hand_out(record);
    }

    /// Walks on over about as many records as `budget` says, which goes down by those it met, or until
    /// [`SNAPSHOT_PENDING_BYTES_MAX`] bytes wait to be taken.
    pub fn walk_snapshot(&mut self, budget: &mut usize) {
        let Some(walk) = &mut self.walk else { return };
        let mut ahead: Vec<Record<O>> = Vec::new();
        while *budget > 0 && !walk.is_through && !walk.is_full() {
            let count = RECORDS_AHEAD.min(*budget);
            let next = self.table.scan(walk.cursor, count, |slot| {
                prefetch(slot.entry().as_ptr());
                ahead.push(record(slot.entry()));
            });
            *budget = budget.saturating_sub(ahead.len().max(count));
            let wanted = ahead.drain(..).filter(|record| record.epoch() != self.epoch);
            if walk.hand_out_all(wanted, self.epoch) {
                walk.cursor = next;
                walk.is_through = next == 0;
            }
        }
        self.end_snapshot();
    }

    /// Gives what was handed out and waits to `take`, which may leave some of it for the next time.
    pub fn take_snapshot(&mut self, take: impl FnOnce(&mut Vec<u8>)) {
        if let Some(walk) = &mut self.walk
            && !walk.pending.is_empty()
        {
            take(&mut walk.pending);
            self.end_snapshot();
        }
    }

    /// Nobody wants the snapshot any more. The walk must go on to its end all the same before another one can begin.
    pub fn abandon_snapshot(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.encode = None;
            walk.pending = Vec::new();
            self.end_snapshot();
        }
    }

    /// Forgets a snapshot that is complete and taken.
    fn end_snapshot(&mut self) {
        if self.walk.as_ref().is_some_and(|walk| walk.is_through && walk.pending.is_empty()) {
            self.walk = None;
        }
    }
}
