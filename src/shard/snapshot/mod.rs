//! A snapshot of a shard: every key with its value and its expiry exactly as they were at one moment, handed out in
//! small steps while commands go on. Nothing is copied beforehand. A key that a command is about to change or remove is
//! handed out before; so what waits to be taken at the end of a turn is one step and what commands of the turn have
//! changed, whatever the size of the shard. A large value is handed out in pieces, and a command that changes it waits for
//! none of them: of a list the nodes that it changes are copied, of a hash table the fields and of a string the parts that it
//! changes are kept for the snapshot, and a value that it removes stays until the snapshot is through with it.
//!
//! Each database keeps its own part ([`Database`]), and takes it along when SWAPDB gives it another index; the indexes in
//! the snapshot are those of the beginning.

#[cfg(test)]
mod tests;

use super::{Database, Millis, Shard};
use crate::types::{Piece, ValueRef};

/// How keys are written. Pieces of several keys may come in turn, those of a list in order.
#[derive(Clone, Copy)]
pub struct Encode {
    /// Appends a key with its whole value and its expiry to bytes.
    pub whole: fn(key: &[u8], value: ValueRef<'_>, expires: Option<Millis>, bytes: &mut Vec<u8>),
    /// Appends a piece of its value, of which all that there is to say comes like this.
    pub piece: fn(key: &[u8], piece: Piece<'_>, bytes: &mut Vec<u8>),
}

/// A snapshot under way.
pub(super) struct Snapshot {
    /// The database to go on with.
    database: usize,
}

impl Shard {
    /// Begins a snapshot of what is there now, written by `encode`; `false` if one is under way, an abandoned one
    /// included. No value may be lent out: whoever calls this has locked the whole shard.
    pub fn begin_snapshot(&mut self, encode: Encode) -> bool {
        if self.has_snapshot() {
            return false;
        }
        for (index, db) in self.databases.iter_mut().enumerate() {
            db.begin_snapshot(index as u16, encode);
        }
        self.snapshot = Some(Snapshot { database: 0 });
        true
    }

    /// Whether a snapshot is under way: [`Shard::step_snapshot`] must be called until it is over.
    #[inline]
    pub fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Lets the snapshot go on over about `budget` keys, 0 to take only what commands have made it hand out. Whatever
    /// waits is given to `take` with the index of its database, which takes out what it wants and may leave the rest for
    /// the next time; the walk stands still in a database with too much that was left
    /// ([`SNAPSHOT_PENDING_BYTES_MAX`](crate::limits::SNAPSHOT_PENDING_BYTES_MAX)). Whether the snapshot is over: all
    /// keys have been handed out and taken.
    pub fn step_snapshot(&mut self, budget: usize, mut take: impl FnMut(u16, &mut Vec<u8>)) -> bool {
        let Some(snapshot) = &mut self.snapshot else { return true };
        let mut left = budget;
        let count = self.databases.len();
        let from = snapshot.database;
        let mut first_under_way = None;
        for index in (from..count).chain(0..from) {
            let db = &mut self.databases[index];
            if db.has_snapshot() {
                db.step_snapshot(&mut left, &mut take);
                first_under_way = first_under_way.or(db.has_snapshot().then_some(index));
            }
        }
        match first_under_way {
            Some(index) => snapshot.database = index,
            None => self.snapshot = None,
        }
        self.snapshot.is_none()
    }

    /// Nobody wants the snapshot any more. It must be stepped on until it is over all the same, now without handing out
    /// anything, before another one can begin.
    pub fn abandon_snapshot(&mut self) {
        self.databases.iter_mut().for_each(Database::abandon_snapshot);
    }
}
