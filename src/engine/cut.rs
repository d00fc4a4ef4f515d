//! Cuts: one moment, the same for all shards, at which each of them begins a snapshot and another file of its log. A cut
//! is a transaction that has all shards to itself until each of them has made it; so every other transaction is before it
//! on all of its shards, and on the core that coordinates it, or behind it on all: files of one generation fit together
//! whatever happens to the server.

use super::Engine;
use super::message::{Call, Message, Ticket};
use super::operation::{Operation, Work};
use crate::limits::{AOF_CHUNK_BYTES, SNAPSHOT_STEP_KEYS};
use crate::persistence::aof::rebuild::{piece, rebuild};
use crate::persistence::aof::{Cut, Records};
use crate::session::SessionKey;
use crate::shard::Shard;
use crate::shard::snapshot::Encode;
use std::sync::Arc;

/// What a cut has done on this shard.
pub struct CutHere {
    /// What is new.
    pub cut: Arc<Cut>,
    /// What was logged in this turn before it.
    pub before: Vec<u8>,
}

impl Engine {
    /// Cuts all shards, as soon as no transaction is in the way.
    pub fn start_cut(&mut self, cut: Arc<Cut>) {
        let entry = self.table.find(b"bgrewriteaof").expect("one of the commands");
        let work = Work::Cut(cut, self.router.all().collect());
        let nobody = Operation::new(SessionKey(u32::MAX), 0, entry, Call::of_nobody(entry.id), work);
        let index = self.operations.insert(nobody);
        // Patient from the start: it has every shard locked whole, and would be refused again and again.
        self.operations.get_mut(index).in_order = Some(0);
        self.begin(index);
    }

    /// All shards are locked.
    pub(super) fn cut_all(&mut self, index: u32) {
        let from = self.core;
        let operation = self.operations.get_mut(index);
        let Work::Cut(cut, _) = &operation.work else { unreachable!("the caller has looked") };
        let cut = cut.clone();
        operation.waiting = self.router.shards() - 1;
        for shard in self.others() {
            self.post(shard, Message::Cut { from, ticket: Ticket::of_part(index, shard.index()), cut: cut.clone() });
        }
        self.cut(cut);
        self.end_cut_if_all_have_made_it(index);
    }

    /// Another shard has made a cut.
    pub(super) fn has_cut(&mut self, ticket: Ticket) {
        let index = ticket.operation().expect("only operations cut");
        self.operations.get_mut(index).waiting -= 1;
        self.end_cut_if_all_have_made_it(index);
    }

    /// Gives up the locks. Nobody gets one before, even on a shard that has made the cut: his core may not have made it yet,
    /// and would not know whether he is to be logged.
    fn end_cut_if_all_have_made_it(&mut self, index: u32) {
        if self.operations.get_mut(index).waiting == 0 {
            let id = self.operations.remove(index).id;
            self.others().for_each(|shard| self.post(shard, Message::Unlock { id }));
            self.unlock(id);
        }
    }

    /// Cuts this shard.
    pub(super) fn cut(&mut self, cut: Arc<Cut>) {
        let mut before = Vec::new();
        self.shard.log.drain(&mut before);
        self.set_logging(cut.logs);
        if cut.snapshot {
            self.begin_snapshot();
        }
        self.cuts.push(CutHere { cut, before });
    }

    /// The cuts of this turn, in order. What `take_log` gives belongs behind the last of them.
    pub fn take_cuts(&mut self) -> Vec<CutHere> {
        std::mem::take(&mut self.cuts)
    }

    /// Begins a snapshot of this shard alone, while nobody changes anything. None may be under way, an abandoned one
    /// included: its rest would be taken for the whole.
    pub fn begin_snapshot(&mut self) {
        let begun = self.shard.begin_snapshot(ENCODE);
        assert!(begun, "one snapshot at a time");
    }

    /// Whether a snapshot is under way.
    pub fn has_snapshot(&self) -> bool {
        self.shard.has_snapshot()
    }

    /// Lets the snapshot go on; its records go to `out`, for a reader that begins with database 0. Without `walk` only what
    /// commands have made it hand out is taken. Whether it is over.
    pub fn step_snapshot(&mut self, walk: bool, out: &mut Vec<u8>) -> bool {
        let mut records = Records::new();
        let over = hand_out(&mut self.shard, if walk { SNAPSHOT_STEP_KEYS } else { 0 }, &mut records);
        records.drain(out);
        if over {
            self.touched.extend(0..self.shard.databases.len() as u16);
        }
        over
    }

    /// Nobody wants the snapshot any more.
    pub fn abandon_snapshot(&mut self) {
        self.shard.abandon_snapshot();
    }
}

/// Lets the snapshot of `shard` go on over about `budget` keys, which go to `records`. Whether it is over.
pub(super) fn hand_out(shard: &mut Shard, budget: usize, records: &mut Records) -> bool {
    shard.step_snapshot(budget, |database, bytes| {
        records.select(database);
        records.write(|out| out.extend_from_slice(bytes));
        bytes.clear();
        bytes.shrink_to(AOF_CHUNK_BYTES);
    })
}

/// Keys as a snapshot has them, for a reader that has their database selected.
pub(super) const ENCODE: Encode = Encode {
    whole: |key, value, expires, bytes| {
        onto(bytes, |records| rebuild(records, 0, key, value, expires, false));
    },
    piece: |key, part, bytes| onto(bytes, |records| piece(records, 0, key, part)),
};

/// Writes records behind `bytes`.
fn onto(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Records)) {
    let mut records = Records::onto(std::mem::take(bytes));
    write(&mut records);
    *bytes = records.into_bytes();
}
