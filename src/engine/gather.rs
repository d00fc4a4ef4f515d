//! Commands whose keys lie on several shards and cannot be split: RENAME, SINTERSTORE, LMOVE, transactions.
//!
//! With the locks, the shards lend the keys' values to the coordinator: what may be changed is moved, what is only read
//! is copied. There the command runs on a workbench, a shard that is empty otherwise, as it would run where all its
//! keys are. Then the values go home, with what was done to them, and the locks are given up.

use super::Engine;
use super::coordinator::mode_of;
use super::message::{KeyState, Message, Ticket};
use super::operation::{Request, Work};
use crate::commands::Entry;
use crate::resp::{Args, Output};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::locks::{LockKey, LockSet, Mode};
use crate::shard::tracking::Tracker;
use crate::shard::{Act, Effect, Expiry, Incidents, Shard, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// Keys and how they are locked.
pub type Keys = BTreeMap<Vec<u8>, Mode>;

/// A command that gathers its keys.
pub(super) struct Gather {
    request: Request,
    shards: Vec<Lender>,
    /// The reply, once the command has run; what is waited for then is that changed keys are stored.
    reply: Option<Output>,
}

/// A shard with some of the keys.
struct Lender {
    shard: ShardId,
    keys: Keys,
    /// What it has lent; `None`: nothing yet, or it has refused.
    states: Option<Vec<KeyState>>,
}

impl Gather {
    /// The locks on `shard`, if it has any of the keys.
    pub fn locks_on(&self, shard: ShardId) -> Option<LockSet> {
        self.shards.iter().find(|lender| lender.shard == shard).map(Lender::locks)
    }
}

impl Lender {
    fn locks(&self) -> LockSet {
        LockSet::of_keys(self.keys.iter().map(|(key, mode)| (LockKey::of(key), *mode)).collect())
    }

    fn may_change(&self, key: &[u8]) -> bool {
        self.keys.get(key) == Some(&Mode::Exclusive)
    }
}

impl Engine {
    /// Asks the owners of a command's keys for them.
    pub(super) fn start_gather(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        args: Args<'_>,
    ) {
        let mut shards: Vec<Lender> = Vec::new();
        for spec in entry.row.spec.keys {
            let mode = mode_of(spec.flags);
            let found = spec.each(args, |index| {
                let shard = self.router.shard_of(args.at(index));
                let known = shards.iter().position(|lender| lender.shard == shard);
                let lender = known.unwrap_or_else(|| {
                    shards.push(Lender { shard, keys: Keys::new(), states: None });
                    shards.len() - 1
                });
                // A key that is named twice is locked in the stricter mode.
                let locked = shards[lender].keys.entry(args.at(index).to_vec()).or_insert(mode);
                *locked = (*locked).max(mode);
            });
            found.expect("routing has found its keys");
        }
        let gather = Gather { request: Request::of(args), shards, reply: None };
        let index = self.register(session, key, entry, 0, Work::Gather(Box::new(gather)));
        session.flags.insert(SessionFlags::STALLED);
        self.begin(index);
    }

    fn gather_mut(&mut self, index: u32) -> &mut Gather {
        let Work::Gather(gather) = &mut self.operations.get_mut(index).work else {
            unreachable!("only what gathers has lenders")
        };
        gather
    }

    /// The own locks are there: the other shards are asked to lend.
    pub(super) fn gather_locked_here(&mut self, index: u32) {
        let own = self.core;
        let lenders: Vec<_> = self
            .gather_mut(index)
            .shards
            .iter()
            .map(|lender| (lender.shard, lender.keys.clone(), lender.locks()))
            .collect();
        let operation = self.operations.get_mut(index);
        let id = operation.id;
        operation.waiting = lenders.iter().filter(|(shard, ..)| *shard != own).count();
        for (number, (shard, keys, locks)) in lenders.into_iter().enumerate() {
            if shard == own {
                let states = self.lend(&keys);
                self.gather_mut(index).shards[number].states = Some(states);
            } else {
                let ticket = Ticket::of_part(index, number);
                self.post(shard, Message::Lend { from: own, ticket, id, locks, keys });
            }
        }
    }

    /// Lends the values of keys of this shard, in every database: a command may name another one than the selected.
    pub(super) fn lend(&mut self, keys: &Keys) -> Vec<KeyState> {
        let mut states = Vec::new();
        for (database, db) in self.shard.databases.iter_mut().enumerate() {
            db.set_now(self.now);
            for (key, mode) in keys {
                let state = match mode {
                    Mode::Exclusive => db.lend(key),
                    Mode::Shared => db.copy(key),
                };
                if state.is_some() {
                    states.push(KeyState { database: database as u16, key: key.clone(), state });
                }
            }
        }
        self.after_incidents();
        states
    }

    /// Takes what one shard lends, or its refusal; with the last answer the command runs.
    pub(super) fn lent(&mut self, ticket: Ticket, states: Option<Vec<KeyState>>) {
        let index = ticket.operation().expect("only operations borrow");
        let operation = self.operations.get_mut(index);
        operation.refused |= states.is_none();
        operation.waiting -= 1;
        let (refused, waiting) = (operation.refused, operation.waiting);
        self.gather_mut(index).shards[ticket.number as usize].states = states;
        match (waiting, refused) {
            (1.., _) => {}
            (0, true) => self.retry(index),
            (0, false) => self.work_and_store(index),
        }
    }

    /// Sends home what has been lent so far, unchanged.
    pub(super) fn give_all_back(&mut self, index: u32) {
        let id = self.operations.get_mut(index).id;
        let lenders = self.gather_mut(index).shards.iter_mut();
        let lent: Vec<_> = lenders
            .filter_map(|lender| {
                let states = lender.states.take()?;
                let moved = states.into_iter().filter(|state| lender.may_change(&state.key));
                Some((lender.shard, moved.collect::<Vec<_>>()))
            })
            .collect();
        for (shard, states) in lent {
            if shard == self.core {
                self.store_keys(states);
            } else {
                let (effects, caller) = (Vec::new(), Tracker::NONE);
                self.post(shard, Message::Store { from: self.core, ticket: None, id, states, effects, caller });
            }
        }
    }

    /// Runs the command on what has been lent, and sends it home.
    fn work_and_store(&mut self, index: u32) {
        let operation = self.operations.get_mut(index);
        let (id, entry, call) = (operation.id, operation.entry, operation.call);
        let Work::Gather(gather) = &mut operation.work else { unreachable!("the caller has looked") };
        let request = std::mem::replace(&mut gather.request, Request { arguments: Vec::new(), spans: Vec::new() });
        let mut lenders = std::mem::take(&mut gather.shards);
        let mut out = Output::default();
        let effects = self.work_on(&mut lenders, |engine| engine.run_here(entry, call, request.args(), &mut out));
        let mut by_shard: Vec<Vec<Effect>> = lenders.iter().map(|_| Vec::new()).collect();
        for effect in effects {
            let key = effect.act.key().expect("only keys are gathered, not databases");
            let shard = self.router.shard_of(key);
            if let Some(number) = lenders.iter().position(|lender| lender.shard == shard) {
                by_shard[number].push(effect);
            }
        }
        let mut waiting = 0;
        for (number, (lender, effects)) in lenders.into_iter().zip(by_shard).enumerate() {
            let states = lender.states.unwrap_or_default();
            if lender.shard == self.core {
                self.store(states, effects, call.tracker);
                continue;
            }
            let wanted = !states.is_empty() || !effects.is_empty();
            waiting += usize::from(wanted);
            let ticket = wanted.then(|| Ticket::of_part(index, number));
            let store = Message::Store { from: self.core, ticket, id, states, effects, caller: call.tracker };
            self.post(lender.shard, store);
        }
        self.gather_mut(index).reply = Some(out);
        // One more than the stores: this step itself ends like a store.
        self.operations.get_mut(index).waiting = waiting + 1;
        self.stored(index);
        self.unlock(id);
    }

    /// Runs `work` with the lenders' values in place of this shard's. What each is to get back is left with it; what was
    /// done to the keys is returned.
    fn work_on(&mut self, lenders: &mut [Lender], work: impl FnOnce(&mut Self)) -> Vec<Effect> {
        let databases = self.shard.databases.len();
        let mut bench = self.operations.workbench.take().unwrap_or_else(|| Box::new(Shard::new(self.core, databases)));
        bench.effects.wanted = true;
        for lender in &mut *lenders {
            for KeyState { database, key, state } in lender.states.iter_mut().flatten() {
                let db = &mut bench.databases[usize::from(*database)];
                db.set_now(self.now);
                if let Some((value, expires)) = state.take() {
                    db.replace(key, value, expires.map_or(Expiry::Never, Expiry::At));
                }
            }
        }
        let incidents = self.incidents_wanted() | Incidents::EXPIRED;
        bench.databases.iter_mut().for_each(|db| db.keep_incidents(incidents));
        std::mem::swap(&mut self.shard, &mut *bench);
        work(self);
        std::mem::swap(&mut self.shard, &mut *bench);
        let effects = std::mem::take(&mut bench.effects.list);
        for db in &mut bench.databases {
            db.keep_incidents(Incidents::empty());
            let metrics = &self.node.metrics[self.core.index()];
            metrics.keyspace_hits.add(std::mem::take(&mut db.hits));
            metrics.keyspace_misses.add(std::mem::take(&mut db.misses));
            metrics.expired_keys.add(std::mem::take(&mut db.expired));
        }
        for lender in lenders {
            lender.take_home(&mut bench, &effects);
        }
        bench.databases.iter_mut().for_each(crate::shard::Database::clear);
        self.operations.workbench = Some(bench);
        effects
    }

    /// Puts keys of this shard into the given states, and tells what was done to them.
    pub(super) fn store(&mut self, states: Vec<KeyState>, effects: Vec<Effect>, caller: Tracker) {
        self.store_keys(states);
        let wanted = self.shard.effects.wanted;
        let told = effects.into_iter().filter(|effect| wanted || matches!(effect.act, Act::Read { .. }));
        self.shard.effects.list.extend(told);
        self.shard.effects.caller = caller;
        self.after_effects();
    }

    /// Puts keys of this shard into the given states.
    fn store_keys(&mut self, states: Vec<KeyState>) {
        let incidents = self.incidents_wanted();
        for KeyState { database, key, state } in states {
            let db = &mut self.shard.databases[usize::from(database)];
            db.set_now(self.now);
            // What is to be told of it has been told where the command ran.
            db.keep_incidents(Incidents::empty());
            match state {
                None => {
                    db.remove(&key);
                }
                Some((value, expires)) => db.replace(&key, value, expires.map_or(Expiry::Never, Expiry::At)),
            }
            db.keep_incidents(incidents);
            if self.touched.last() != Some(&database) {
                self.touched.push(database);
            }
        }
    }

    /// One shard has stored what it was sent; with the last of them the reply leaves.
    pub(super) fn stored(&mut self, index: u32) {
        let operation = self.operations.get_mut(index);
        operation.waiting -= 1;
        if operation.waiting > 0 {
            return;
        }
        let mut operation = self.operations.remove(index);
        let Work::Gather(gather) = &mut operation.work else { unreachable!("only gathering operations store") };
        let out = gather.reply.take().expect("the command ran before its keys were stored");
        self.finish(&operation, out);
    }
}

impl Lender {
    /// Takes from the workbench what is to go back: all that may have been changed, and was there or is there now.
    fn take_home(&mut self, bench: &mut Shard, effects: &[Effect]) {
        let lent = self.states.take().unwrap_or_default().into_iter().map(|state| (state.database, state.key));
        let changed = effects.iter().filter_map(|effect| match &effect.act {
            Act::Key { key, .. } => Some((effect.database, key.to_vec())),
            _ => None,
        });
        let places: BTreeSet<(u16, Vec<u8>)> = lent.chain(changed).filter(|(_, key)| self.may_change(key)).collect();
        let state = |(database, key): (u16, Vec<u8>)| {
            let state = bench.databases[usize::from(database)].take(&key);
            KeyState { database, key, state }
        };
        self.states = Some(places.into_iter().map(state).collect());
    }
}
