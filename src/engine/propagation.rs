//! What is logged of commands and transactions, and how a transaction over several shards gets into the log of each.
//!
//! A command on one shard is logged when it has run ([`Engine::log_command`]), a transaction on one shard with a frame
//! around its commands. One over several shards is one record, the same on each shard that it has changed:
//!
//! - split commands: the parts are known beforehand, and each shard is sent the whole with its parts. The stamp is taken
//!   when all locks are there; where a single other shard locks and runs its parts in one go, by that shard, which sends it
//!   back.
//! - gathered keys: the workbench logs key by key, the record travels with the values on their way home.
//! - command by command: each shard collects what the steps do there and sends it back with the replies. The record goes out
//!   with the word that the locks are given up.
//!
//! A shard appends its record in the turn in which the change is made there, before its locks are gone.

use super::Engine;
use super::coordinator::each_key;
use super::message::{Call, Logged, Ticket};
use crate::commands::Entry;
use crate::persistence::aof::Transaction;
use crate::resp::{Args, CommandError, Output};
use crate::session::Queue;
use crate::shard::locks::TransactionId;
use crate::shard::{Act, Effect, Shard, ShardId};
use crate::spec::Flags;
use crate::stdx::os::error_text;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

const LENGTH_BYTES: usize = size_of::<u64>();

impl Engine {
    /// Begins or ends to log what commands change. Where there are several shards, all begin or end while one transaction
    /// has them all to itself: one that is half logged could not be recovered.
    pub fn set_logging(&mut self, on: bool) {
        self.shard.log.set_wanted(on);
        self.shard_log().logs.store(on, Release);
        self.update_wanted();
        self.look_at_log();
    }

    /// Whether what commands change is logged.
    pub fn is_logging(&self) -> bool {
        self.shard.log.wanted
    }

    /// Whether there is something to log.
    pub fn has_log(&self) -> bool {
        !self.shard.log.is_empty()
    }

    /// Appends to `out` what is to be logged since the last call: whole records, for a reader that begins with database 0.
    pub fn take_log(&mut self, out: &mut Vec<u8>) {
        self.shard.log.drain(out);
    }

    /// Whether the reply to a transaction waits until all its shards have made their records as safe as the policy promises.
    pub(super) fn waits_for_log(&self) -> bool {
        self.shard.log.wanted && self.config.appendonly
    }

    /// Whether what this shard has logged of a transaction may be lost that ends now: it began before the log failed, and
    /// the end of the turn in which it was logged found nobody to be told of that.
    pub(super) fn may_have_lost(&self) -> bool {
        self.waits_for_log() && self.shard_log().errno.load(Relaxed) != 0
    }

    /// Finds out whether the log can be written, on all cores. One that was switched off need not be, from when the client
    /// is answered who has done so: that the shards log until all of them have made the cut is nobody's concern.
    pub fn look_at_log(&mut self) {
        self.log_errno =
            if self.shard.log.wanted && self.config.appendonly { self.node.persistence.errno() } else { 0 };
    }

    /// Why a command is refused that the log would have to take, if it cannot; PING tells too.
    #[cold]
    pub(super) fn refused_by_log(&self, entry: &Entry, queue: Option<&Queue>) -> Option<CommandError> {
        let writes = entry.row.spec.flags.contains(Flags::WRITE) || queue.is_some_and(Queue::writes);
        let refused = writes || entry.row.spec.name == "ping";
        let error = std::io::Error::from_raw_os_error(self.log_errno);
        let text = || format!("MISCONF Errors writing to the AOF file: {}", error_text(&error));
        refused.then(|| CommandError::text(text()))
    }

    /// Logs a command that has run here and changed something.
    #[cold]
    pub(super) fn log_command(&mut self, entry: &Entry, call: Call, args: Args<'_>) {
        let said = self.shard.log.take_said();
        if self.shard.log.is_bench() {
            if !said {
                self.log_on_bench(entry, call.database, args);
            }
            let logged = self.shard.effects.list.len();
            self.shard.log.bench_mut().expect("just seen").effects_logged = logged;
        } else if !said && call.logged != Logged::Part {
            self.shard.log.append_request(call.database, b"", args);
        }
    }

    /// Logs a command that has run on a workbench and has said nothing of itself. One on a single key can be run again on
    /// that key's shard. Of any other the changed keys are logged whole: they may belong to several shards, what it only
    /// reads may expire there meanwhile, and a shard that has lost its last changes must not make something else of it when
    /// it recovers the transaction.
    fn log_on_bench(&mut self, entry: &Entry, database: u16, args: Args<'_>) {
        let Shard { effects, log, .. } = &mut self.shard;
        let bench = log.bench_mut().expect("the caller has looked");
        let (mut only, mut keys) = (None, 0);
        each_key(entry, args, |key, _| {
            only = Some(key);
            keys += 1;
        });
        let by_place = matches!(entry.row.spec.name, "lset" | "ltrim" | "move");
        if let Some(key) = only.filter(|_| keys == 1 && !by_place) {
            return log.append_request(database, key, args);
        }
        let changed = |effect: &Effect| match &effect.act {
            Act::Key { key, changed: true, .. } if !bench.only_reads(key) => Some((effect.database, key.to_vec())),
            _ => None,
        };
        let places: Vec<_> = effects.list[bench.effects_logged..].iter().filter_map(changed).collect();
        places.into_iter().for_each(|(database, key)| bench.log_whole(database, key));
    }

    /// Tells and logs what the databases have noted by themselves.
    pub(super) fn log_incidents(&mut self) {
        let Shard { databases, effects, log, .. } = &mut self.shard;
        databases.iter_mut().enumerate().for_each(|(index, db)| effects.incidents(index as u16, db, log));
    }

    /// The record of a transaction that has changed this on its shards, all of which are still locked, and these shards.
    /// The payloads are in the order of their shards.
    pub(super) fn to_transaction(&self, payloads: Vec<(ShardId, Vec<u8>)>) -> Option<(Arc<Transaction>, Vec<ShardId>)> {
        if payloads.is_empty() {
            return None;
        }
        let parts = payloads.iter().map(|(shard, payload)| (shard.0, payload.as_slice()));
        let transaction = Transaction::new(self.node.next_stamp(), parts);
        Some((Arc::new(transaction), payloads.iter().map(|(shard, _)| *shard).collect()))
    }

    /// Runs a step of a transaction that has its locks. What it has to log stands behind the reply.
    pub(super) fn run_step(&mut self, from: ShardId, ticket: Ticket, call: Call, args: Args<'_>, out: &mut Output) {
        let started = self.clock.raw();
        let entry = self.table.get(call.command);
        if call.logged == Logged::Step {
            self.shard.log.collect(TransactionId(call.transaction));
            self.run_here(entry, call, args, out);
            let payload = self.shard.log.take_collected();
            out.bytes.extend_from_slice(&payload);
            out.bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        } else {
            self.run_here(entry, call, args, out);
        }
        self.note_slow_part(from, ticket, self.nanoseconds_since(started));
    }
}

/// Takes what is to be logged from behind the reply to a step.
pub(super) fn take_payload(reply: &mut Output) -> Vec<u8> {
    let end = reply.bytes.len() - LENGTH_BYTES;
    let length = u64::from_le_bytes(reply.bytes[end..].try_into().expect("eight bytes"));
    reply.bytes.truncate(end);
    reply.bytes.split_off(end - length as usize)
}
