//! What a shard's commands have changed, as records for the append-only log. While nobody wants the log, nothing is
//! kept.
//!
//! A command is logged as its client sent it, unless its handler says something else: what is logged must do the same when
//! it is replayed, at whatever time and however the dice fall. Records of one turn come out together.
//!
//! Three places can take a record:
//!
//! - the shard's own records, as a rule
//! - what is collected of a transaction over several shards that runs command by command: while that has this shard locked,
//!   nothing else changes it but the time, and all goes with the transaction
//! - on a workbench, with keys of several shards: the payload of the shard that owns the key

use super::locks::TransactionId;
use super::{Router, ShardId};
use crate::persistence::aof::records::Mark;
use crate::persistence::aof::{Records, StageRecord, Transaction};
use crate::resp::Args;
use ahash::AHashSet;
use std::collections::BTreeSet;

/// The log of one shard.
#[derive(Debug, Default)]
pub struct Log {
    /// Whether anybody wants it.
    pub wanted: bool,
    /// Whether the command that runs has said what is to be logged of it.
    said: bool,
    records: Records,
    collected: Option<(TransactionId, Records)>,
    bench: Option<Box<Bench>>,
}

/// The log of a workbench: what becomes of each shard's keys.
#[derive(Debug)]
pub struct Bench {
    router: Router,
    by_shard: Vec<Records>,
    /// Keys that are only looked at. Whether their time is over is their own shard's to say.
    read: AHashSet<Vec<u8>>,
    /// Keys by their databases that are logged as they are in the end.
    whole: BTreeSet<(u16, Vec<u8>)>,
    /// How many of the effects on the workbench are in the log.
    pub effects_logged: usize,
}

impl Bench {
    /// A log for keys of the router's shards, of which these are only read.
    pub fn new(router: Router, read: AHashSet<Vec<u8>>) -> Self {
        let by_shard = (0..router.shards()).map(|_| Records::anywhere()).collect();
        Self { router, by_shard, read, whole: BTreeSet::new(), effects_logged: 0 }
    }

    /// The shard that owns `key`.
    pub fn owner(&self, key: &[u8]) -> ShardId {
        self.router.shard_of(key)
    }

    /// Whether `key` is only looked at.
    pub fn only_reads(&self, key: &[u8]) -> bool {
        self.read.contains(key)
    }

    /// Has a key logged as it is in the end, and no more of what is done to it.
    pub fn log_whole(&mut self, database: u16, key: Vec<u8>) {
        self.whole.insert((database, key));
    }

    /// The keys that are logged as they are in the end.
    pub fn take_whole(&mut self) -> BTreeSet<(u16, Vec<u8>)> {
        std::mem::take(&mut self.whole)
    }

    fn is_whole(&self, database: u16, key: &[u8]) -> bool {
        !self.whole.is_empty() && self.whole.contains(&(database, key.to_vec()))
    }

    /// The records for the shard that owns `key`.
    pub fn records_for(&mut self, key: &[u8]) -> &mut Records {
        let owner = self.owner(key);
        &mut self.by_shard[owner.index()]
    }

    /// The payloads of the shards that have changed, by ascending shard; each is for a reader in any database.
    pub fn into_payloads(self) -> Vec<(ShardId, Vec<u8>)> {
        let shards = self.by_shard.into_iter().enumerate().filter(|(_, records)| !records.is_empty());
        shards.map(|(shard, mut records)| (ShardId(shard as u16), records.take_piece())).collect()
    }
}

impl Log {
    /// Begins or ends to keep records. What is pending stays for [`Log::drain`].
    pub fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// Logs this instead of the command that runs. On a workbench the key must be argument 1, and the only one.
    pub fn say(&mut self, database: u16, arguments: &[&[u8]]) {
        self.said = true;
        self.append(database, arguments[1], arguments.iter().copied());
    }

    /// Logs nothing of the command that runs.
    pub fn say_nothing(&mut self) {
        self.said = true;
    }

    /// Whether the last command has said what is to be logged of it; forgets it.
    pub fn take_said(&mut self) -> bool {
        std::mem::take(&mut self.said)
    }

    /// Logs that the time of `key` was over.
    #[cold]
    pub fn expired(&mut self, database: u16, key: &[u8]) {
        if self.wanted && self.bench.as_ref().is_none_or(|bench| !bench.only_reads(key)) {
            self.append(database, key, [&b"DEL"[..], key].into_iter());
        }
    }

    /// Appends a record; `key` is one that it concerns.
    #[inline]
    pub fn append<'a>(&mut self, database: u16, key: &[u8], arguments: impl ExactSizeIterator<Item = &'a [u8]>) {
        if let Some(records) = self.records_for(database, key) {
            records.append(database, arguments);
        }
    }

    /// Appends a request as a record; `key` is one that it concerns. Most are what a record is already, byte for byte.
    #[inline]
    pub fn append_request(&mut self, database: u16, key: &[u8], request: Args<'_>) {
        let Some(records) = self.records_for(database, key) else { return };
        match request.as_array() {
            Some(record) => records.append_array(database, record),
            None => records.append(database, request.iter_from(0)),
        }
    }

    /// Where a record belongs that concerns `key`, if it is wanted.
    #[inline]
    fn records_for(&mut self, database: u16, key: &[u8]) -> Option<&mut Records> {
        match (&mut self.bench, &mut self.collected) {
            (None, None) => Some(&mut self.records),
            (Some(bench), _) => (!bench.is_whole(database, key)).then(|| bench.records_for(key)),
            (None, Some((_, collected))) => Some(collected),
        }
    }

    /// Appends piece `number` of what a transaction over several shards will put here.
    pub fn stage(&mut self, stamp: u64, number: u64, piece: &[u8]) {
        if self.wanted {
            StageRecord::Begin { stamp, number }.write(&mut self.records);
            self.records.join(piece);
            StageRecord::End.write(&mut self.records);
        }
    }

    /// Appends the record of a transaction over several shards.
    pub fn transaction(&mut self, transaction: &Transaction, own: ShardId) {
        if self.wanted {
            self.records.write(|out| transaction.write(own.0, out));
        }
    }

    /// Where a transaction on this shard alone begins.
    pub fn mark(&self) -> Mark {
        self.records.mark()
    }

    /// Ends the transaction on this shard alone that began at `mark`.
    pub fn end_transaction(&mut self, mark: Mark) {
        self.records.frame(mark);
    }

    /// Collects from now on for a transaction that has this shard to itself.
    pub fn collect(&mut self, id: TransactionId) {
        if self.wanted {
            self.collected.get_or_insert_with(|| (id, Records::anywhere()));
        }
    }

    /// Whether a transaction that has this shard to itself has what it changes collected.
    pub fn is_collecting(&self) -> bool {
        self.collected.is_some()
    }

    /// What has been collected since the last call.
    pub fn take_collected(&mut self) -> Vec<u8> {
        self.collected.as_mut().map(|(_, records)| records.take_piece()).unwrap_or_default()
    }

    /// A transaction is over, and logged. What has been collected since somebody looked is not part of it.
    #[inline]
    pub fn end_collecting(&mut self, id: TransactionId) {
        if self.collected.as_ref().is_some_and(|(collecting, _)| *collecting == id)
            && let Some((_, mut collected)) = self.collected.take()
        {
            self.records.join(&collected.take_piece());
        }
    }

    /// Bytes of memory for the shard's own records.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.records.memory_bytes()
    }

    /// Whether this is the log of a workbench.
    #[inline]
    pub fn is_bench(&self) -> bool {
        self.bench.is_some()
    }

    /// Makes it the log of a workbench, or ends that.
    pub fn set_bench(&mut self, bench: Option<Box<Bench>>) -> Option<Box<Bench>> {
        self.wanted = bench.is_some();
        std::mem::replace(&mut self.bench, bench)
    }

    /// The log of the workbench.
    pub fn bench_mut(&mut self) -> Option<&mut Bench> {
        self.bench.as_deref_mut()
    }

    /// Whether there are records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Moves all records behind `out`: a reader of them begins with database 0.
    pub fn drain(&mut self, out: &mut Vec<u8>) {
        self.records.drain(out);
    }
}
