//! One shard's parts of commands on several: what a client has sent in a row goes there in one message and comes back with
//! the replies. It asks for its locks with it, where they are not granted before, and gives them up when it has run.

use super::Engine;
use super::batch::Batch;
use super::coordinator::Waiter;
use super::message::Message;
use crate::persistence::aof::Transaction;
use crate::shard::ShardId;
use crate::shard::locks::{LockSet, TransactionId};

/// The parts of one operation on one shard.
pub struct Parts {
    /// The shard.
    pub shard: ShardId,
    /// The operation, on the core that has sent them.
    pub operation: u32,
    /// Which transaction it is.
    pub id: TransactionId,
    /// The locks, unless they have been granted.
    pub locks: Option<LockSet>,
    /// The parts, each with the number of its command, and then their replies.
    pub batch: Box<Batch>,
    /// The whole as it is logged, if it is.
    pub logged: Option<Transaction>,
    /// Whether the locks were refused.
    pub refused: bool,
}

impl Engine {
    /// Runs parts of another core's operation, as soon as they have their locks.
    pub(super) fn run_parts(&mut self, mut parts: Box<Parts>) {
        match parts.locks.take() {
            // Nobody comes between: what is locked for this moment need not be.
            Some(locks) if !self.locks.is_free(&locks) => self.ask(parts.id, locks, false, Waiter::Parts(parts)),
            _ => self.run_granted_parts(parts),
        }
    }

    /// Runs parts that nobody is in the way of, and gives up their locks.
    pub(super) fn run_granted_parts(&mut self, mut parts: Box<Parts>) {
        let Parts { batch, id, .. } = &mut *parts;
        let (from, id) = (batch.from, *id);
        let mut ahead = std::mem::take(&mut self.batch_ahead);
        let mut failed = true;
        ahead.rewind();
        while batch.read_ahead(&mut ahead) {
            self.prefetch_batch(batch, &ahead);
            batch.run(&ahead, |ticket, call, args, out| {
                let (start, started) = (out.bytes.len(), self.clock.raw());
                self.run_command(self.table.get(call.command), call, args, out);
                failed &= out.bytes.get(start) == Some(&b'-');
                self.note_slow_part(from, ticket, self.nanoseconds_since(started));
                true
            });
        }
        self.batch_ahead = ahead;
        self.end_parts(&mut parts.logged, failed);
        self.post(from, Message::PartsRun(parts));
        self.unlock(id);
    }

    /// Logs the whole, parts of which have just run here, unless they have all `failed`, and tells what they have changed.
    pub(super) fn end_parts(&mut self, logged: &mut Option<Transaction>, failed: bool) {
        if let Some(transaction) = logged.as_mut().filter(|_| !failed) {
            if transaction.stamp == 0 {
                transaction.stamp = self.node.next_stamp();
            }
            self.shard.log.transaction(transaction, self.core);
        }
        self.after_effects();
    }

    /// Sends parts back that somebody is in the way of.
    pub(super) fn refuse_parts(&mut self, mut parts: Box<Parts>) {
        parts.refused = true;
        self.post(parts.batch.from, Message::PartsRun(parts));
    }
}
