//! Values that a transaction wants to borrow while a snapshot is writing them. A hash or set is under a snapshot of its own
//! then, which cannot go along to another core, and to take it over at once would hold up this one. So the transaction has
//! its locks and waits, while the snapshot of what it wants goes on a step in a turn.

use super::Engine;
use super::coordinator::Waiter;
use super::gather::Keys;
use crate::limits::{SNAPSHOT_STEP_KEYS, SNAPSHOT_UNWRITTEN_BYTES_MAX};
use crate::shard::locks::Mode;

impl Engine {
    /// Whether no snapshot is writing the values that would be lent of these keys. Its next step is done, if the disk keeps
    /// up with it.
    pub(super) fn may_lend(&mut self, keys: &Keys) -> bool {
        if !self.shard.has_snapshot() {
            return true;
        }
        let mut budget = if self.base_keeps_up() { SNAPSHOT_STEP_KEYS } else { 0 };
        let now = self.now;
        self.shard.databases.iter_mut().filter(|db| !db.is_empty()).all(|db| {
            db.set_now(now);
            let mut lent = keys.iter().filter(|(_, mode)| **mode == Mode::Exclusive);
            lent.all(|(key, _)| db.step_snapshot_of(key, &mut budget))
        })
    }

    /// Has a transaction that has its locks wait for the snapshot.
    pub(super) fn lend_later(&mut self, waiter: Waiter) {
        self.lending.push_back(waiter);
    }

    /// Whether transactions wait for the snapshot and the disk keeps up with it.
    pub(super) fn goes_on_lending(&self) -> bool {
        !self.lending.is_empty() && self.base_keeps_up()
    }

    /// Whether little of the base waits to be written. As much again as that may wait for its sync.
    fn base_keeps_up(&self) -> bool {
        self.shard_log().base_held_bytes.get() < 2 * SNAPSHOT_UNWRITTEN_BYTES_MAX
    }

    /// Lets the snapshot go on for the first transaction that waits for it, or looks whether it has gone on by itself.
    pub(super) fn step_lending(&mut self) {
        if let Some(waiter) = self.lending.pop_front() {
            // It comes back to the end if there is more to do.
            self.granted(waiter);
        }
    }
}
