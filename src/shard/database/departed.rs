//! What has left a database: keys whose time was over, and garbage.
//!
//! Garbage is what takes long to free: large lists, sets and hashes, and the keys of whole databases. It is kept until
//! someone takes it away to free it elsewhere, so that commands need not wait for it.

use super::incidents::{Incidents, Journal};
use super::snapshot::go_on;
use super::write::TakenKeys;
use crate::config::LazyFree;
use crate::limits::{GARBAGE_MAX, SNAPSHOT_PENDING_BYTES_MAX};
use crate::structures::records::Absent;
use crate::types::{LargeString, Stored};
use std::collections::VecDeque;

/// Values that take no more effort than this are freed at once, as in Redis: to hand them on would cost more.
const EFFORT_MAX: usize = 64;

/// What is to be freed elsewhere.
pub enum Garbage {
    /// A value.
    Value(Stored),
    /// All keys of a database.
    Keys(Box<TakenKeys>),
}

impl Garbage {
    /// How many keys' values it is, as INFO counts them.
    pub fn objects(&self) -> u64 {
        match self {
            Self::Value(_) => 1,
            Self::Keys(keys) => keys.len() as u64,
        }
    }
}

/// What has left a database since somebody asked.
#[derive(Default)]
pub struct Departed {
    /// Keys removed because their time was over.
    pub expired: u64,
    /// What has happened to keys.
    pub(super) journal: Journal,
    /// What becomes garbage.
    pub(super) lazy: LazyFree,
    garbage: Vec<Garbage>,
    /// Whether the last snapshot that began has not been abandoned.
    pub(super) is_snapshot_wanted: bool,
    /// What a snapshot has handed out, in order: of values that are somewhere else now, and before it what the tables had
    /// handed out until then.
    pub(super) handed: Vec<u8>,
    /// Values that have been removed while they were under a snapshot of their own.
    wanted: VecDeque<Stored>,
}

impl Departed {
    /// Notes why `key` is not there.
    #[inline]
    pub(super) fn absent(&mut self, key: &[u8], absent: Absent<Stored>) {
        if let Absent::Expired(value) = absent {
            self.expire(key, value);
        }
    }

    /// Notes a key whose time is over, with its value if that is an object.
    #[cold]
    pub(super) fn expire(&mut self, key: &[u8], value: Option<Stored>) {
        self.expired += 1;
        self.journal.note(Incidents::EXPIRED, key);
        if let Some(value) = value {
            self.free(value, self.lazy.expire);
        }
    }

    /// Frees a value: later and elsewhere if `lazily` and it is large.
    pub(super) fn free(&mut self, value: Stored, lazily: bool) {
        if self.is_snapshot_wanted && value.has_snapshot() {
            self.wanted.push_back(value);
        } else if lazily && value.free_effort() > EFFORT_MAX {
            self.keep(Garbage::Value(value));
        }
    }

    /// Keeps `garbage`, or frees it at once where there is enough of it.
    pub(super) fn keep(&mut self, garbage: Garbage) {
        if self.garbage.len() < GARBAGE_MAX {
            self.garbage.push(garbage);
        }
    }

    /// Whether a snapshot wants something of it.
    #[inline]
    pub(super) fn has_snapshot(&self) -> bool {
        !(self.wanted.is_empty() && self.handed.is_empty())
    }

    /// Lets the snapshots of removed values go on, over about `budget` items.
    pub(super) fn step_snapshot(&mut self, budget: &mut usize) {
        while *budget > 0
            && self.has_room_for_handed()
            && let Some(value) = self.wanted.front_mut()
        {
            if go_on(value, true, budget, &mut self.handed) {
                self.wanted.pop_front().into_iter().for_each(|value| self.keep(Garbage::Value(value)));
            }
        }
    }

    /// Whether more may be handed out before what was is taken.
    pub(super) fn has_room_for_handed(&self) -> bool {
        self.handed.len() < SNAPSHOT_PENDING_BYTES_MAX
    }

    /// Moves what a table has handed out behind the rest.
    pub(super) fn hand_on(&mut self, bytes: &mut Vec<u8>) {
        if self.handed.is_empty() {
            std::mem::swap(&mut self.handed, bytes);
        } else {
            self.handed.append(bytes);
        }
    }

    /// Gives what was handed out to `take`, which may leave some of it for the next time.
    pub(super) fn take_handed(&mut self, take: impl FnOnce(&mut Vec<u8>)) {
        if !self.handed.is_empty() {
            take(&mut self.handed);
        }
    }

    /// Takes the snapshot of a string over that goes elsewhere.
    pub(super) fn part_with(&mut self, string: &mut LargeString) {
        if let Some(copy) = string.part_with_snapshot().filter(|_| self.is_snapshot_wanted) {
            self.wanted.push_back(Stored::String(copy));
        }
    }

    /// Nobody wants the snapshot any more.
    pub(super) fn abandon_snapshot(&mut self) {
        self.is_snapshot_wanted = false;
        self.handed = Vec::new();
        std::mem::take(&mut self.wanted).into_iter().for_each(|value| self.keep(Garbage::Value(value)));
    }

    /// The garbage since the last call.
    pub fn take_garbage(&mut self) -> Vec<Garbage> {
        std::mem::take(&mut self.garbage)
    }
}
