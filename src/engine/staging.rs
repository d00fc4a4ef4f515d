//! Large values that a transaction over several shards puts on this one. They come before the rest, while the transaction
//! has their keys locked, and are logged in pieces, a bounded one in a turn; when these are on disk the coordinator hears of
//! it, and has the transaction stored and logged as any other. So no turn takes longer than for a piece, nothing is copied
//! but a piece, and no shard's log tells of a transaction whose values could be lost.

use super::Engine;
use super::cut::{ENCODE, hand_out};
use super::gather::{Finished, KeyPlace, Lender};
use super::message::{KeyState, Message, Ticket};
use crate::limits::{AOF_STAGED_BYTES_MIN, AOF_STAGED_ITEMS_MIN, AOF_STAGED_UNWRITTEN_BYTES_MAX, SNAPSHOT_STEP_KEYS};
use crate::persistence::aof::rebuild::rebuild;
use crate::persistence::aof::{Records, StageRecord};
use crate::shard::locks::TransactionId;
use crate::shard::log::Bench;
use crate::shard::{Expiry, Millis, Shard, ShardId};
use crate::types::ValueRef;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

/// The stages of this shard.
pub(super) struct Stages {
    under_way: BTreeMap<TransactionId, Stage>,
    /// Values with more items or bytes are staged.
    items_min: usize,
    bytes_min: usize,
}

impl Default for Stages {
    fn default() -> Self {
        Self { under_way: BTreeMap::new(), items_min: AOF_STAGED_ITEMS_MIN, bytes_min: AOF_STAGED_BYTES_MIN }
    }
}

impl Stages {
    /// Whether such a value is too large for the record of its transaction.
    fn wants(&self, value: ValueRef<'_>) -> bool {
        value.exceeds(self.items_min, self.bytes_min)
    }
}

/// What a transaction will put here.
pub(super) struct Stage {
    from: ShardId,
    ticket: Ticket,
    /// The name of the stage in the log.
    stamp: u64,
    /// The values, under a snapshot that is written to the log.
    shard: Box<Shard>,
    /// Pieces that have been logged.
    pieces: u64,
    progress: Progress,
    /// The values again, when it is over.
    states: Vec<KeyState>,
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// There is more to be logged.
    Writes,
    /// All is logged in this turn.
    Written,
    /// All is on disk when this much of the log is.
    Waits(u64),
    /// The coordinator knows: all is on disk, or goes with the rest.
    Over,
}

impl Engine {
    /// Has the shards of large values log these.
    pub(super) fn stage(&mut self, index: u32, finished: Finished, large: Vec<(usize, KeyPlace)>) {
        let (from, stamp, id) = (self.core, self.node.next_stamp(), self.operations.get_mut(index).id);
        let gather = self.gather_mut(index);
        gather.staged = Some(Box::new(finished));
        let mut stages: BTreeMap<usize, Vec<KeyState>> = BTreeMap::new();
        for (number, (database, key)) in large {
            let states = gather.shards[number].states.get_or_insert_default();
            let place = states.iter().position(|state| state.database == database && state.key == key);
            stages.entry(number).or_default().extend(place.map(|place| states.swap_remove(place)));
        }
        let stages: Vec<_> =
            stages.into_iter().map(|(number, states)| (number, gather.shards[number].shard, states)).collect();
        self.operations.get_mut(index).waiting = stages.len();
        for (number, shard, states) in stages {
            let ticket = Ticket::of_part(index, number);
            if shard == from {
                self.begin_stage(from, ticket, id, stamp, states);
            } else {
                self.post(shard, Message::Stage { from, ticket, id, stamp, states });
            }
        }
    }

    /// A shard has large values on disk, or cannot say when it will, and tells what is to be logged of them with the rest;
    /// when all have, all is stored.
    pub(super) fn staged(&mut self, ticket: Ticket, payload: &[u8]) {
        let index = ticket.operation().expect("only operations stage");
        let operation = self.operations.get_mut(index);
        operation.waiting -= 1;
        let waits = operation.waiting > 0;
        let gather = self.gather_mut(index);
        let shard = gather.shards[ticket.number as usize].shard;
        let finished = gather.staged.as_mut().expect("it waits for them");
        finished.add_payload(shard, payload);
        if !waits {
            let finished = gather.staged.take().expect("just seen");
            self.go_home(index, *finished);
            self.run_own_parts();
        }
    }

    /// Has all values staged that have more items or bytes than these.
    pub fn set_staged_min(&mut self, items: usize, bytes: usize) {
        (self.stages.items_min, self.stages.bytes_min) = (items, bytes);
    }

    /// Begins to log values that the transaction `id` will put here.
    pub(super) fn begin_stage(
        &mut self,
        from: ShardId,
        ticket: Ticket,
        id: TransactionId,
        stamp: u64,
        states: Vec<KeyState>,
    ) {
        let mut shard = Box::new(Shard::new(self.core, self.shard.databases.len()));
        shard.set_timeless(true);
        put_all(&mut shard, states, self.now);
        shard.begin_snapshot(ENCODE);
        let stage = Stage { from, ticket, stamp, shard, pieces: 0, progress: Progress::Writes, states: Vec::new() };
        self.stages.under_way.insert(id, stage);
    }

    /// Whether large values have more to be logged or written, for transactions, than this turn could take.
    pub fn has_more_to_write(&self) -> bool {
        let writes = self.stages.under_way.values().any(|stage| stage.progress == Progress::Writes);
        writes && self.may_stage() || self.goes_on_lending()
    }

    /// Whether a stage waits for its last piece to be on disk: the log is to be synced, whatever the policy.
    pub fn awaits_sync(&self) -> bool {
        let awaits = |stage: &Stage| matches!(stage.progress, Progress::Written | Progress::Waits(_));
        self.stages.under_way.values().any(awaits)
    }

    /// Whether the log takes pieces as fast as they come.
    fn may_stage(&self) -> bool {
        self.shard_log().unwritten_bytes.get() < AOF_STAGED_UNWRITTEN_BYTES_MAX
    }

    /// Logs the next piece, and tells coordinators of what is on disk.
    pub(super) fn step_stages(&mut self) {
        if self.stages.under_way.is_empty() {
            return;
        }
        self.end_stages();
        if !self.may_stage() {
            return;
        }
        let Some(stage) = self.stages.under_way.values_mut().find(|stage| stage.progress == Progress::Writes) else {
            return;
        };
        let mut piece = Records::anywhere();
        if hand_out(&mut stage.shard, SNAPSHOT_STEP_KEYS, &mut piece) {
            stage.progress = Progress::Written;
        }
        if !piece.is_empty() {
            self.shard.log.stage(stage.stamp, stage.pieces, &piece.take_piece());
            stage.pieces += 1;
        }
    }

    /// This core has made known what the turn has logged.
    pub(super) fn set_stage_goals(&mut self) {
        let appended = self.shard_log().appended.get();
        for stage in self.stages.under_way.values_mut().filter(|stage| stage.progress == Progress::Written) {
            stage.progress = Progress::Waits(appended);
        }
    }

    fn end_stages(&mut self) {
        // Nobody knows when a log in trouble will be written, and that of a log which is being switched off or has a gap waits
        // for a cut, which waits for the transaction. Then all goes with the rest, whatever time that takes.
        let log = self.shard_log();
        let gives_up = !self.waits_for_log() || log.errno.load(Relaxed) != 0 || log.gap.load(Relaxed) != 0;
        let durable = log.durable.get();
        let mut told = Vec::new();
        for stage in self.stages.under_way.values_mut() {
            let safe = matches!(stage.progress, Progress::Waits(goal) if durable >= goal);
            if stage.progress == Progress::Over || !safe && !gives_up {
                continue;
            }
            stage.end();
            told.push((stage.from, stage.ticket, stage.payload(safe)));
        }
        for (to, ticket, payload) in told {
            if to == self.core {
                self.staged(ticket, &payload);
            } else {
                self.post(to, Message::Staged { ticket, payload });
            }
        }
    }

    /// What the transaction `id` puts here, if that has come before.
    pub(super) fn take_stage(&mut self, id: TransactionId) -> Vec<KeyState> {
        let Some(stage) = self.stages.under_way.remove(&id) else { return Vec::new() };
        debug_assert_eq!(stage.progress, Progress::Over, "the coordinator has waited for it");
        stage.states
    }
}

impl Stage {
    /// Takes the values out again, logged or not.
    fn end(&mut self) {
        self.progress = Progress::Over;
        self.shard.abandon_snapshot();
        self.states = take_all(&mut self.shard);
    }

    /// What the transaction's record says of the values: that the log has them, or all of them.
    fn payload(&self, is_logged: bool) -> Vec<u8> {
        let mut records = Records::anywhere();
        if is_logged {
            StageRecord::Adopt { stamp: self.stamp, count: self.pieces }.write(&mut records);
            return records.take_piece();
        }
        for KeyState { database, key, state } in &self.states {
            if let Some((value, expires)) = state {
                rebuild(&mut records, *database, key, value.as_ref(), *expires, true);
            }
        }
        records.take_piece()
    }
}

/// Puts keys into a shard.
pub(super) fn put_all(shard: &mut Shard, states: impl IntoIterator<Item = KeyState>, now: Millis) {
    for KeyState { database, key, state } in states {
        let Some((value, expires)) = state else { continue };
        let db = &mut shard.databases[usize::from(database)];
        db.set_now(now);
        db.replace(&key, value, expires.map_or(Expiry::Never, Expiry::At));
    }
}

/// Takes all keys out of a shard whose keys do not expire.
pub(super) fn take_all(shard: &mut Shard) -> Vec<KeyState> {
    let mut states = Vec::new();
    for (index, db) in shard.databases.iter_mut().enumerate() {
        let (mut keys, mut cursor) = (Vec::new(), 0);
        while !db.is_empty() {
            cursor = db.scan(cursor, SNAPSHOT_STEP_KEYS, |key, _| keys.push(key.to_vec()));
            states.extend(keys.drain(..).filter_map(|key| {
                let state = db.take(&key)?;
                Some(KeyState { database: index as u16, key, state: Some(state) })
            }));
        }
    }
    states
}

impl Finished {
    /// Adds to what is to be logged on a shard.
    fn add_payload(&mut self, shard: ShardId, records: &[u8]) {
        match self.payloads.binary_search_by_key(&shard, |(shard, _)| *shard) {
            Ok(at) => self.payloads[at].1.extend_from_slice(records),
            Err(at) => self.payloads.insert(at, (shard, records.to_vec())),
        }
    }
}

/// Logs the keys as they go home of which that is to be said; those that `stages` wants are left to the caller.
pub(super) fn log_whole(log: &mut Bench, lenders: &[Lender], stages: &Stages) -> Vec<(usize, KeyPlace)> {
    let (mut places, mut large) = (log.take_whole(), Vec::new());
    for (number, lender) in lenders.iter().enumerate() {
        for KeyState { database, key, state } in lender.states.iter().flatten() {
            let Some(place) = places.take(&(*database, key.clone())) else { continue };
            let Some((value, expires)) = state else {
                places.insert(place);
                continue;
            };
            let value = value.as_ref();
            if stages.wants(value) {
                large.push((number, place));
            } else {
                rebuild(log.records_for(key), *database, key, value, *expires, true);
            }
        }
    }
    for (database, key) in places {
        log.records_for(&key).append(database, [&b"DEL"[..], &key].into_iter());
    }
    large
}
