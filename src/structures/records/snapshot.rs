//! A snapshot of a table: every record exactly as it was at one moment, while the table goes on changing.
//!
//! A table has an epoch, one bit, and so has every record. To begin a snapshot flips the table's. From then on a record
//! of the other epoch is one that the snapshot wants and has not: the walk hands it out when it comes by, or whoever is
//! about to change it does so before ([`RecordTable::preserve`]), and it gets the table's epoch. New records have it from
//! the start. When the walk has come to its end all records have the table's epoch again, as without a snapshot.
//!
//! The walk is that of SCAN, which segments may grow, split and merge under. What it meets twice it hands out once.
//!
//! A record whose object is large is handed out without being written: what the object held then is kept apart, or the
//! object begins a snapshot of its own ([`Later`]). It is written piece by piece before the walk goes on.

use super::{Record, RecordMut, RecordTable, record};
use crate::limits::{SNAPSHOT_PENDING_BYTES_MAX, SNAPSHOT_PIECE_COST};
use crate::structures::record::EPOCH;
use crate::structures::slab::Allocator;
use crate::structures::table::prefetch;
use std::collections::VecDeque;
use std::fmt;

/// Records that are fetched before the first of them is looked at.
const RECORDS_AHEAD: usize = 32;

/// Writes the records that a snapshot hands out.
pub trait Scribe<O>: Send + Sync {
    /// Most records that are written together. Where there are several, each is written whole.
    fn together(&self) -> usize {
        1
    }

    /// Appends records to `handed`.
    fn write(&self, records: &mut [RecordMut<'_, O>], handed: &mut Handed);

    /// Goes on with the snapshot of an object, over about as many items as `budget` says, and moves what that hands out
    /// behind `bytes`; whether it is over. `wanted`: somebody still wants it.
    fn go_on(&self, object: &mut O, wanted: bool, budget: &mut usize, bytes: &mut Vec<u8>) -> bool;

    /// Appends what belongs behind the last record.
    fn end(&self, _bytes: &mut Vec<u8>) {}
}

/// What is kept of an object to be written later.
pub trait Apart: Send + Sync {
    /// Appends the next piece; whether there are more.
    fn next(&mut self, bytes: &mut Vec<u8>) -> bool;
}

/// What is written piece by piece.
pub enum Later {
    /// The object of this key, which is under a snapshot of its own.
    InPlace(Box<[u8]>),
    /// An object as it was.
    Apart(Box<dyn Apart>),
}

/// What a snapshot has handed out.
#[derive(Default)]
pub struct Handed {
    /// What is written, and nobody has taken yet.
    pub bytes: Vec<u8>,
    /// What is to be written.
    pub late: VecDeque<Later>,
}

/// A snapshot under way.
pub(super) struct Walk<O> {
    scribe: Box<dyn Scribe<O>>,
    /// Whether anybody wants it.
    wanted: bool,
    handed: Handed,
    /// Where the walk goes on.
    cursor: u64,
    /// Whether it has come to its end.
    is_through: bool,
    /// Whether all that there was to write is written.
    is_written: bool,
}

impl<O> Walk<O> {
    fn is_full(&self) -> bool {
        self.handed.bytes.len() >= SNAPSHOT_PENDING_BYTES_MAX
    }

    /// Hands records out until there is enough; whether that were all.
    fn hand_out_all(&mut self, wanted: impl Iterator<Item = Record<O>>, epoch: u8) -> bool {
        let together = self.scribe.together();
        let mut run: Vec<RecordMut<'_, O>> = Vec::with_capacity(together);
        let mut bytes = self.handed.bytes.len();
        for record in wanted {
            if bytes >= SNAPSHOT_PENDING_BYTES_MAX {
                self.write(&mut run);
                return false;
            }
            record.set_epoch(epoch);
            bytes += record.shape().bytes::<O>();
            run.push(RecordMut::new(record));
            if run.len() >= together {
                self.write(&mut run);
                run.clear();
                bytes = self.handed.bytes.len();
            }
        }
        self.write(&mut run);
        true
    }

    fn write(&mut self, records: &mut [RecordMut<'_, O>]) {
        if self.wanted && !records.is_empty() {
            self.scribe.write(records, &mut self.handed);
        }
    }
}

impl<O, A: Allocator> RecordTable<O, A> {
    /// Begins a snapshot of what is there now. There must be none under way.
    pub fn begin_snapshot(&mut self, scribe: Box<dyn Scribe<O>>) {
        assert!(self.walk.is_none(), "one snapshot at a time");
        if self.is_empty() {
            return;
        }
        self.epoch ^= EPOCH;
        let handed = Handed::default();
        let walk = Walk { scribe, wanted: true, handed, cursor: 0, is_through: false, is_written: false };
        self.walk = Some(Box::new(walk));
    }

    /// Whether a snapshot is under way, be it that its last bytes have not been taken, or that it was abandoned and has
    /// not come to its end.
    #[inline]
    pub fn has_snapshot(&self) -> bool {
        self.walk.is_some()
    }

    /// Whether a snapshot is under way that somebody wants.
    pub fn has_wanted_snapshot(&self) -> bool {
        self.walk.as_ref().is_some_and(|walk| walk.wanted)
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
        walk.write(&mut [RecordMut::new(record)]);
    }

    /// Walks on over about as many records as `budget` says, which goes down by those it met, or until
    /// [`SNAPSHOT_PENDING_BYTES_MAX`] bytes wait to be taken.
    pub fn walk_snapshot(&mut self, budget: &mut usize) {
        while *budget > 0 && self.walk.as_ref().is_some_and(|walk| !walk.is_full()) {
            if !self.write_late(budget) && !self.walk_records(budget) {
                break;
            }
        }
        self.end_snapshot();
    }

    /// Goes on with the first of what is written piece by piece; whether there is any.
    fn write_late(&mut self, budget: &mut usize) -> bool {
        let Some(walk) = &mut self.walk else { return false };
        let Some(mut later) = walk.handed.late.pop_front() else { return false };
        let over = match &mut later {
            Later::Apart(apart) => {
                *budget = budget.saturating_sub(SNAPSHOT_PIECE_COST);
                !apart.next(&mut walk.handed.bytes)
            }
            Later::InPlace(key) => {
                *budget -= 1;
                self.go_on(key, budget)
            }
        };
        if let Some(walk) = self.walk.as_mut().filter(|_| !over) {
            walk.handed.late.push_front(later);
        }
        true
    }

    /// Goes on with the snapshot of an object; whether it is over, or the object has gone.
    fn go_on(&mut self, key: &[u8], budget: &mut usize) -> bool {
        let Some(place) = self.find(self.hash(key), key) else { return true };
        let (record, Some(walk)) = (record::<O>(place.slot().entry()), &mut self.walk) else { return true };
        !record.is_object() || walk.scribe.go_on(record.object_mut(), walk.wanted, budget, &mut walk.handed.bytes)
    }

    /// Walks over some records; `false`: there are no more.
    fn walk_records(&mut self, budget: &mut usize) -> bool {
        let Some(walk) = self.walk.as_mut().filter(|walk| !walk.is_through) else { return false };
        let mut ahead: Vec<Record<O>> = Vec::new();
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
        true
    }

    /// An object that is under a snapshot of its own, of a record that this snapshot has handed out, is now that of `key`.
    pub fn resume_snapshot(&mut self, key: &[u8]) {
        let walk = self.walk.as_mut().expect("objects have snapshots while their table has one");
        walk.handed.late.push_back(Later::InPlace(key.into()));
    }

    /// Gives what was handed out and waits to `take`, which may leave some of it for the next time.
    pub fn take_snapshot(&mut self, take: impl FnOnce(&mut Vec<u8>)) {
        if let Some(walk) = &mut self.walk
            && !walk.handed.bytes.is_empty()
        {
            take(&mut walk.handed.bytes);
            self.end_snapshot();
        }
    }

    /// Goes on to the end at once, and moves what comes behind `bytes`.
    pub fn finish_snapshot(&mut self, bytes: &mut Vec<u8>) {
        while self.has_snapshot() {
            let mut budget = usize::MAX;
            self.walk_snapshot(&mut budget);
            self.take_snapshot(|more| bytes.append(more));
        }
    }

    /// Nobody wants the snapshot any more. The walk must go on to its end all the same before another one can begin.
    pub fn abandon_snapshot(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.wanted = false;
            walk.handed.bytes = Vec::new();
            walk.handed.late.retain(|later| matches!(later, Later::InPlace(_)));
            self.end_snapshot();
        }
    }

    /// Forgets a snapshot that is complete and taken.
    fn end_snapshot(&mut self) {
        let Some(walk) = self.walk.as_mut().filter(|walk| walk.is_through && walk.handed.late.is_empty()) else {
            return;
        };
        if !std::mem::replace(&mut walk.is_written, true) && walk.wanted {
            walk.scribe.end(&mut walk.handed.bytes);
        }
        if walk.handed.bytes.is_empty() {
            self.walk = None;
        }
    }
}

impl fmt::Debug for Handed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Handed({} bytes, {} later)", self.bytes.len(), self.late.len())
    }
}
