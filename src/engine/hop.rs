//! Commands for other cores and the replies to them.

use super::Engine;
use super::batch::{Ahead, Batch};
use super::message::{Call, Message, Ticket};
use crate::limits::{BATCH_BYTES_MAX, OUTPUT_CHECK_BYTES, REQUESTS_AHEAD_MAX, SPARE_BATCHES_MAX};
use crate::resp::reply::Pin;
use crate::resp::{Args, Output, Reply};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::ShardId;

impl Engine {
    /// Sends a session's command to the shard that owns its keys.
    #[inline]
    pub(super) fn forward(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        call: Call,
        args: Args<'_>,
        shard: ShardId,
    ) {
        // Also where nobody wants the reply: what comes behind it may have to wait until it has run.
        let number = session.pending.expect();
        self.post_command(shard, Ticket { owner: key.0, number }, call, args.iter_from(0));
    }

    /// Adds a command to the batch for `shard`.
    pub(super) fn post_command<'a>(
        &mut self,
        shard: ShardId,
        ticket: Ticket,
        call: Call,
        args: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) {
        let slot = &mut self.filling[shard.index()];
        let batch = slot.get_or_insert_with(|| empty_batch(self.spare_batches.pop(), self.core));
        batch.push(ticket, call, args);
        if batch.len() > BATCH_BYTES_MAX {
            self.post_batch(shard);
        }
    }

    /// Closes the batch for `shard`, if there is one.
    pub(super) fn post_batch(&mut self, shard: ShardId) {
        if let Some(batch) = self.filling[shard.index()].take() {
            self.batches_away += 1;
            self.metrics().batches_sent.add(1);
            self.outgoing.push((shard, Message::Requests(batch)));
        }
    }

    /// Runs another core's commands and sends the replies back.
    pub(super) fn run_batch(&mut self, mut batch: Box<Batch>) {
        self.follow_pause();
        let mut ahead = std::mem::take(&mut self.batch_ahead);
        let mut count = 0;
        let from = batch.from;
        ahead.rewind();
        while batch.read_ahead(&mut ahead) {
            self.prefetch_batch(&batch, &ahead);
            let mut started = self.clock.raw();
            batch.run(&ahead, |ticket, call, args, out| {
                count += 1;
                if call.transaction != 0 {
                    // A step of one that has its locks, and keeps them.
                    self.run_step(from, ticket, call, args, out);
                    return true;
                }
                let entry = self.table.get(call.command);
                if self.is_held_up(from, ticket.owner, entry, args) {
                    self.park(from, ticket, call, args);
                    return false;
                }
                if self.log_errno != 0
                    && let Some(error) = self.refused_by_log(entry, None)
                {
                    Reply::new(out, call.protocol).error(&error);
                    return true;
                }
                if self.is_tight() {
                    self.make_room();
                }
                self.run_here(entry, call, args, out);
                let nanoseconds = self.count_run(entry, &mut started);
                self.note_if_slow(from, ticket, entry, args, nanoseconds);
                true
            });
        }
        self.metrics().commands_remote.add(count);
        self.batch_ahead = ahead;
        self.outgoing.push((batch.from, Message::Replies(batch)));
    }

    /// Has the buckets and then the records fetched that the commands read ahead will need, as for a client's pipeline.
    pub(super) fn prefetch_batch(&self, batch: &Batch, ahead: &Ahead) {
        let commands = batch.commands(ahead);
        if commands.len() == 1 {
            return;
        }
        let mut hashes = [None; REQUESTS_AHEAD_MAX];
        for ((call, args), hash) in commands.zip(&mut hashes) {
            let at = usize::from(self.table.get(call.command).single_key);
            if at > 0 && at < args.len() {
                let db = &self.shard.databases[usize::from(call.database)];
                *hash = Some((db, db.prefetch(args.at(at))));
            }
        }
        hashes.into_iter().flatten().for_each(|(db, hash)| db.prefetch_record(hash));
    }

    /// Hands the replies of a batch that has come back to those who wait for them.
    pub(super) fn take_replies(&mut self, mut batch: Box<Batch>) {
        self.batches_away -= 1;
        self.hand_out_replies(&mut batch);
        self.keep_batch(batch);
    }

    /// The same for replies that come without the commands.
    pub(super) fn take_late_replies(&mut self, mut batch: Box<Batch>) {
        self.hand_out_replies(&mut batch);
        self.keep_batch(batch);
    }

    fn hand_out_replies(&mut self, batch: &mut Batch) {
        let lost = batch.lost;
        batch.replies(|ticket, bytes, pins| match ticket.operation() {
            None => self.deliver(SessionKey(ticket.owner), ticket.number, bytes, pins),
            Some(index) => {
                self.operations.get_mut(index).lost |= lost;
                self.step_answered(index, ticket.number, Output { bytes: bytes.to_vec(), pins });
            }
        });
    }

    pub(super) fn keep_batch(&mut self, mut batch: Box<Batch>) {
        batch.reset();
        if self.spare_batches.len() < SPARE_BATCHES_MAX {
            batch.from = self.core;
            self.spare_batches.push(batch);
        }
    }

    /// Sends the reply to a command that was not answered in its turn.
    pub(super) fn answer(&mut self, from: ShardId, ticket: Ticket, reply: Output) {
        if from != self.core {
            let late = &mut self.late[from.index()];
            let batch = late.get_or_insert_with(|| empty_batch(self.spare_batches.pop(), self.core));
            return batch.push_reply(ticket, reply);
        }
        match ticket.operation() {
            None => self.deliver(SessionKey(ticket.owner), ticket.number, &reply.bytes, reply.pins),
            Some(index) => self.step_answered(index, ticket.number, reply),
        }
    }

    /// Posts a message behind the commands for the same core.
    pub(super) fn post(&mut self, to: ShardId, message: Message) {
        self.post_batch(to);
        self.outgoing.push((to, message));
    }

    /// Gives a session the reply to its request `number`.
    #[inline]
    pub(super) fn deliver(&mut self, key: SessionKey, number: u32, bytes: &[u8], pins: Vec<Pin>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.flags.contains(SessionFlags::ZOMBIE) {
            session.pending.complete(number, &[], Vec::new(), &mut Output::default());
            if session.pending.is_empty() {
                self.sessions.remove(key);
            }
            return;
        }
        if session.output.bytes.capacity() == 0 {
            session.output.bytes = self.spare_buffers.pop().unwrap_or_default();
        }
        session.pending.complete(number, bytes, pins, &mut session.output);
        if session.pending.is_empty() {
            self.resumable.extend(session.flags.contains(SessionFlags::STALLED).then_some(key));
            self.departing.extend(session.flags.contains(SessionFlags::CLOSE_AFTER_REPLY).then_some(key));
        }
        if !session.flags.contains(SessionFlags::DIRTY) {
            session.flags.insert(SessionFlags::DIRTY);
            self.dirty.push(key);
        }
        if session.output.bytes.len() > OUTPUT_CHECK_BYTES {
            self.admit_output(key);
        }
    }
}

/// An empty batch of core `own`: one that has been used before, if there is one to spare.
pub(super) fn empty_batch(spare: Option<Box<Batch>>, own: ShardId) -> Box<Batch> {
    spare.unwrap_or_else(|| Box::new(Batch::new(own)))
}
