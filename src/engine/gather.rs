//! Commands whose keys lie on several shards and cannot be split: RENAME, SINTERSTORE, LMOVE, transactions.
//!
//! With the locks, the shards lend the keys' values to the coordinator: what may be changed is moved, what is only read
//! is copied. There the command runs on a workbench, a shard that is empty otherwise, as it would run where all its
//! keys are. Then the values go home, with what was done to them, and the locks are given up.

use super::Engine;
use super::blocking::Resume;
use super::coordinator::each_key;
use super::message::{Execution, KeyState, Loan, Message, Ticket};
use super::operation::{Request, Work};
use super::staging::log_whole;
use super::stepwise::Steps;
use crate::commands::Entry;
use crate::persistence::aof::Transaction;
use crate::resp::{Args, Output};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::blocked::Registration;
use crate::shard::locks::{LockSet, Mode};
use crate::shard::log::Bench;
use crate::shard::tracking::Tracker;
use crate::shard::{Act, Effect, Expiry, Incidents, Millis, Router, Shard, ShardId};
use crate::spec::Flags;
use ahash::AHashSet;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How values go home.
pub(super) struct Homeward {
    /// Whether somebody waits until they are there.
    pub answers: bool,
    /// Whether the locks stay.
    pub keep_locks: bool,
    /// What is to be logged where something has changed, and which shards these are.
    pub transaction: Option<(Arc<Transaction>, Vec<ShardId>)>,
}

/// What has come of work on gathered keys.
pub(super) struct Worked {
    /// What was done to them.
    pub effects: Vec<Effect>,
    /// What is to be logged of it on each shard.
    pub payloads: Vec<(ShardId, Vec<u8>)>,
    /// Large values of which that says nothing: their lenders and places.
    pub large: Vec<(usize, KeyPlace)>,
}

/// A database and a key in it.
pub type KeyPlace = (u16, Vec<u8>);

/// A command or transaction that has run, and what is left to be done.
pub(super) struct Finished {
    pub effects: Vec<Effect>,
    pub payloads: Vec<(ShardId, Vec<u8>)>,
    /// Who waits for keys from now on.
    pub waiting: BTreeMap<ShardId, Registration<Resume>>,
    /// Whether its client is answered.
    pub answers: bool,
    /// Whether it was a try of a command that waits.
    pub tries: bool,
}

/// Keys and how they are locked.
pub type Keys = BTreeMap<Vec<u8>, Mode>;

/// A command or transaction that gathers its keys.
pub(super) struct Gather {
    pub job: Job,
    pub shards: Vec<Lender>,
    /// Whether all that the client watches is as it was.
    pub intact: bool,
    /// How far a transaction is that runs command by command.
    pub steps: Option<Steps>,
    /// What has run and waits for its large values.
    pub staged: Option<Box<Finished>>,
}

/// What runs on the gathered keys.
pub(super) enum Job {
    Command(Arc<Request>),
    Transaction(Box<Execution>),
    /// The command has run: its reply, which waits for changed keys to be stored.
    Done(Output),
}

/// A shard with some of the keys.
pub(super) struct Lender {
    pub shard: ShardId,
    pub keys: Keys,
    /// How all its keys are locked, whatever is lent.
    pub whole: Option<Mode>,
    /// What it has lent; `None`: nothing yet, or it has refused.
    pub states: Option<Vec<KeyState>>,
}

impl Gather {
    /// A command with these arguments, and its keys by their owners.
    pub fn of_command(router: Router, entry: &Entry, request: Arc<Request>) -> Self {
        let mut shards = Vec::new();
        each_key(entry, request.args(), |key, mode| add_key(&mut shards, router.shard_of(key), key, mode));
        Self { job: Job::Command(request), shards, intact: true, steps: None, staged: None }
    }

    /// The client whose watched keys the shards have to look at.
    pub fn watcher(&self) -> Option<u64> {
        match &self.job {
            Job::Transaction(execution) if !execution.watched.is_empty() => Some(execution.client),
            _ => None,
        }
    }

    /// Takes what a shard lends; `None`: it has refused.
    fn accept(&mut self, number: usize, loan: Option<Loan>) {
        self.intact &= loan.as_ref().is_none_or(|loan| loan.intact);
        if let (Some(steps), Some(loan)) = (&mut self.steps, &loan) {
            steps.add_payload(self.shards[number].shard, &loan.logged);
        }
        self.shards[number].states = loan.map(|loan| loan.states);
    }

    /// Whether all that the client watches is as it was, also now that all values are here: its keys may have expired on
    /// the way.
    fn is_intact(&self, now: Millis) -> bool {
        let Job::Transaction(execution) = &self.job else { return true };
        let watched = |state: &KeyState| {
            execution.watched.iter().any(|one| one.database == state.database && *one.key == *state.key)
        };
        let expires = |state: &KeyState| state.state.as_ref().and_then(|(_, expires)| *expires);
        let mut states = self.shards.iter().flat_map(|lender| lender.states.iter().flatten());
        self.intact && !states.any(|state| expires(state).is_some_and(|at| at <= now) && watched(state))
    }

    /// Where the keys are.
    pub fn shards(&self) -> Vec<ShardId> {
        self.shards.iter().map(|lender| lender.shard).collect()
    }

    /// The keys on `shard`.
    pub fn keys_on(&self, shard: ShardId) -> Keys {
        let lender = self.shards.iter().find(|lender| lender.shard == shard);
        lender.map(|lender| lender.keys.clone()).unwrap_or_default()
    }

    /// The locks on `shard`, if it has any of the keys.
    pub fn locks_on(&self, shard: ShardId) -> Option<LockSet> {
        self.shards.iter().find(|lender| lender.shard == shard).map(Lender::locks)
    }
}

impl Lender {
    fn locks(&self) -> LockSet {
        if let Some(mode) = self.whole {
            return LockSet::whole(mode);
        }
        LockSet::of_each(|add| self.keys.iter().for_each(|(key, mode)| add(key, *mode)))
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
        let gather = Gather::of_command(self.router, entry, Arc::new(Request::of(args)));
        self.gather(session, key, entry, gather);
    }

    /// The same for the keys of a whole transaction, queued and watched.
    pub(super) fn start_gather_for_transaction(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        execution: Box<Execution>,
    ) {
        if let Some(mode) = self.needs_steps(&execution) {
            return self.start_stepwise(session, key, entry, execution, mode);
        }
        let mut shards = Vec::new();
        execution.each_key(self.table, |key, mode| add_key(&mut shards, self.router.shard_of(key), key, mode));
        let gather = Gather { job: Job::Transaction(execution), shards, intact: true, steps: None, staged: None };
        self.gather(session, key, entry, gather);
    }

    pub(super) fn gather(&mut self, session: &mut Session, key: SessionKey, entry: &'static Entry, gather: Gather) {
        let index = self.register(session, key, entry, Work::Gather(Box::new(gather)));
        self.operations.get_mut(index).call.may_block = entry.row.spec.flags.contains(Flags::BLOCKING);
        session.flags.insert(SessionFlags::STALLED);
        self.begin(index);
    }

    pub(super) fn gather_mut(&mut self, index: u32) -> &mut Gather {
        let Work::Gather(gather) = &mut self.operations.get_mut(index).work else {
            unreachable!("only what gathers has lenders")
        };
        gather
    }

    /// The own locks are there: this shard lends as others do.
    pub(super) fn lend_own(&mut self, index: u32) {
        let own = self.core;
        let Some(number) = self.gather_mut(index).shards.iter().position(|lender| lender.shard == own) else { return };
        let (keys, watcher) = (self.gather_mut(index).keys_on(own), self.gather_mut(index).watcher());
        let loan = self.lend(&keys, watcher);
        self.gather_mut(index).accept(number, Some(loan));
    }

    /// Lends the values of keys of this shard, in every database: a command may name another one than the selected.
    pub(super) fn lend(&mut self, keys: &Keys, watcher: Option<u64>) -> Loan {
        let intact = watcher.is_none_or(|client| self.is_intact(client));
        let mut states = Vec::new();
        let databases = self.shard.databases.iter_mut().enumerate().filter(|(_, db)| !db.is_empty());
        for (database, db) in databases {
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
        Loan { states, intact, logged: self.shard.log.take_collected() }
    }

    /// Takes what one shard lends, or its refusal.
    pub(super) fn lent(&mut self, ticket: Ticket, loan: Option<Loan>) {
        let index = ticket.operation().expect("only operations borrow");
        let granted = loan.is_some();
        self.gather_mut(index).accept(ticket.number as usize, loan);
        self.answered(index, granted);
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
                self.post(
                    shard,
                    Message::Store {
                        from: self.core,
                        ticket: None,
                        id,
                        keep: false,
                        states,
                        effects: Vec::new(),
                        transaction: None,
                        caller: Tracker::NONE,
                        waiting: None,
                    },
                );
            }
        }
    }

    /// Runs the command on what has been lent, and sends it home.
    pub(super) fn work_and_store(&mut self, index: u32) {
        let operation = self.operations.get_mut(index);
        let (entry, call) = (operation.entry, operation.call);
        let (key, number) = (operation.session, operation.number);
        let (now, given_up) = (self.now, call.may_block && self.has_given_up(key, number));
        let gather = self.gather_mut(index);
        let intact = gather.is_intact(now);
        let mut job = std::mem::replace(&mut gather.job, Job::Done(Output::default()));
        let mut lenders = std::mem::take(&mut gather.shards);
        let worked = self.work_on(&mut lenders, |engine| match &mut job {
            Job::Command(_) if given_up => {}
            Job::Command(request) => {
                let mut out = Output::default();
                let started = engine.clock.raw();
                engine.run_command(entry, call, request.args(), &mut out);
                if engine.blocking.wait.is_none() {
                    let nanoseconds = engine.nanoseconds_since(started);
                    engine.log_if_slow_of(key, entry, request.args(), nanoseconds);
                    job = Job::Done(out);
                }
            }
            Job::Transaction(execution) if intact => engine.run_commands(execution),
            Job::Transaction(execution) => execution.intact = false,
            Job::Done(_) => unreachable!("it works once"),
        });
        // A command that has found nothing, and may wait, leaves its job undone: nobody is answered.
        let wait = self.blocking.wait.take();
        let (answers, tries) = (wait.is_none() && !given_up, call.may_block && self.is_trying(key, number));
        let waiting = match (wait, &job) {
            (Some(wait), Job::Command(request)) if !tries => {
                self.wait_gathered(key, number, entry, call, request.clone(), wait)
            }
            _ => BTreeMap::new(),
        };
        let gather = self.gather_mut(index);
        (gather.job, gather.shards) = (job, lenders);
        let Worked { effects, payloads, large } = worked;
        let finished = Finished { effects, payloads, waiting, answers, tries };
        self.go_home_or_stage(index, finished, large);
    }

    /// Sends all home, or has large values logged first.
    pub(super) fn go_home_or_stage(&mut self, index: u32, finished: Finished, large: Vec<(usize, KeyPlace)>) {
        if large.is_empty() {
            self.go_home(index, finished);
        } else {
            self.stage(index, finished, large);
        }
    }

    /// Sends all home and gives up the locks, unless more commands are to run under them.
    pub(super) fn go_home(&mut self, index: u32, finished: Finished) {
        if self.gather_mut(index).steps.is_some() {
            return self.end_borrowed_step(index, finished);
        }
        let Finished { effects, payloads, waiting, answers, tries } = finished;
        let operation = self.operations.get_mut(index);
        let (id, key) = (operation.id, operation.session);
        let transaction = self.to_transaction(payloads);
        let homeward = Homeward { answers, keep_locks: false, transaction };
        let stores = self.send_home(index, effects, waiting, homeward);
        if answers {
            // One more than the stores: this step itself ends like a store.
            self.operations.get_mut(index).waiting = stores + 1;
            self.stored(index);
        } else {
            self.operations.remove(index);
        }
        self.unlock(id);
        if tries {
            self.end_try(key, answers);
        }
    }

    /// Sends all that was lent home, with what was done to it and with those who wait for keys there; from how many
    /// shards an answer will come.
    pub(super) fn send_home(
        &mut self,
        index: u32,
        effects: Vec<Effect>,
        mut waiting: BTreeMap<ShardId, Registration<Resume>>,
        Homeward { answers, keep_locks: keep, transaction }: Homeward,
    ) -> usize {
        let operation = self.operations.get_mut(index);
        let (id, caller) = (operation.id, operation.call.tracker);
        let lenders = self.gather_mut(index).shards.iter_mut();
        let loans: Vec<_> = lenders.map(|lender| (lender.shard, lender.states.take().unwrap_or_default())).collect();
        let mut by_shard = self.effects_by_shard(&loans, effects);
        let mut stores = 0;
        for (number, (shard, mut states)) in loans.into_iter().enumerate() {
            let effects = std::mem::take(&mut by_shard[number]);
            let waiting = waiting.remove(&shard).map(Box::new);
            let transaction = transaction.as_ref().filter(|(_, shards)| shards.contains(&shard));
            let transaction = transaction.map(|(transaction, _)| transaction.clone());
            if shard == self.core {
                states.append(&mut self.take_stage(id));
                self.store(states, effects, transaction.as_deref(), caller, waiting);
                continue;
            }
            let changes = !states.is_empty() || !effects.is_empty() || transaction.is_some();
            stores += usize::from(answers && changes);
            let ticket = (answers && changes).then(|| Ticket::of_part(index, number));
            if changes || !keep {
                let from = self.core;
                let message = Message::Store { from, ticket, id, keep, states, effects, transaction, caller, waiting };
                self.post(shard, message);
            }
        }
        stores
    }

    /// The effects on the keys of each shard.
    fn effects_by_shard(&self, loans: &[(ShardId, Vec<KeyState>)], effects: Vec<Effect>) -> Vec<Vec<Effect>> {
        let mut by_shard: Vec<Vec<Effect>> = loans.iter().map(|_| Vec::new()).collect();
        for effect in effects {
            let key = effect.act.key().expect("only keys are gathered, not databases");
            let shard = self.router.shard_of(key);
            if let Some(number) = loans.iter().position(|(lender, _)| *lender == shard) {
                by_shard[number].push(effect);
            }
        }
        by_shard
    }

    /// Runs `work` with the lenders' values in place of this shard's. What each is to get back is left with it.
    pub(super) fn work_on(&mut self, lenders: &mut [Lender], work: impl FnOnce(&mut Self)) -> Worked {
        let databases = self.shard.databases.len();
        let mut bench = self.operations.workbench.take().unwrap_or_else(|| Box::new(Shard::new(self.core, databases)));
        bench.effects.wanted = true;
        if self.shard.log.wanted {
            let keys = lenders.iter().flat_map(|lender| &lender.keys);
            let read = keys.filter(|(_, mode)| **mode == Mode::Shared).map(|(key, _)| key.clone()).collect();
            bench.log.set_bench(Some(Box::new(Bench::new(self.router, read))));
        }
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
        let mut effects = std::mem::take(&mut bench.effects.list);
        mark_lent(&mut effects, lenders);
        for lender in &mut *lenders {
            lender.take_home(&mut bench, &effects);
        }
        let Shard { databases, effects: late, log, .. } = &mut *bench;
        for (index, db) in databases.iter_mut().enumerate() {
            // A key that was given a time that is over is gone before it comes home.
            late.incidents(index as u16, db, log);
            db.keep_incidents(Incidents::empty());
            let metrics = &self.node.metrics[self.core.index()];
            metrics.keyspace_hits.add(std::mem::take(&mut db.hits));
            metrics.keyspace_misses.add(std::mem::take(&mut db.misses));
            metrics.expired_keys.add(std::mem::take(&mut db.departed.expired));
        }
        bench.databases.iter_mut().for_each(|db| db.clear(false));
        effects.append(&mut bench.effects.list);
        let (mut payloads, mut large) = (Vec::new(), Vec::new());
        if let Some(mut log) = bench.log.set_bench(None) {
            large = log_whole(&mut log, lenders, &self.stages);
            payloads = log.into_payloads();
        }
        self.operations.workbench = Some(bench);
        Worked { effects, payloads, large }
    }

    /// Puts keys of this shard into the given states, logs it, and tells what was done to them.
    /// From then on a client may wait for them.
    pub(super) fn store(
        &mut self,
        states: Vec<KeyState>,
        effects: Vec<Effect>,
        transaction: Option<&Transaction>,
        caller: Tracker,
        waiting: Option<Box<Registration<Resume>>>,
    ) {
        self.store_keys(states);
        if let Some(transaction) = transaction {
            self.shard.log.transaction(transaction, self.core);
        }
        let wanted = self.shard.effects.wanted;
        let told = effects.into_iter().filter(|effect| wanted || matches!(effect.act, Act::Read { .. }));
        self.shard.effects.list.extend(told);
        self.shard.effects.caller = caller;
        self.after_effects();
        if let Some(registration) = waiting {
            self.add_registration(*registration);
        }
    }

    /// Puts keys of this shard into the given states.
    fn store_keys(&mut self, states: Vec<KeyState>) {
        self.log_incidents();
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
        if self.gather_mut(index).steps.is_some() {
            return self.next_step(index);
        }
        let mut operation = self.operations.remove(index);
        let Work::Gather(gather) = &mut operation.work else { unreachable!("only gathering operations store") };
        match std::mem::replace(&mut gather.job, Job::Done(Output::default())) {
            Job::Done(out) => self.finish(&operation, out),
            Job::Transaction(mut execution) => {
                if operation.lost || execution.queue.writes() && self.may_have_lost() {
                    execution.disown();
                }
                self.forget_watched(execution.client, &execution.watched);
                self.conclude(operation.session, operation.number, execution);
            }
            Job::Command(_) => unreachable!("the command ran before its keys were stored"),
        }
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

/// Marks reads of keys whose values were lent.
fn mark_lent(effects: &mut [Effect], lenders: &[Lender]) {
    if !effects.iter().any(|effect| matches!(effect.act, Act::Read { .. })) {
        return;
    }
    let states = lenders.iter().flat_map(|lender| lender.states.iter().flatten());
    let found: AHashSet<(u16, &[u8])> = states.map(|state| (state.database, &state.key[..])).collect();
    for effect in effects {
        if let Act::Read { key, lent, .. } = &mut effect.act {
            *lent = found.contains(&(effect.database, &key[..]));
        }
    }
}

/// Adds a key to what is borrowed from its shard.
fn add_key(shards: &mut Vec<Lender>, shard: ShardId, key: &[u8], mode: Mode) {
    let known = shards.iter().position(|lender| lender.shard == shard);
    let lender = known.unwrap_or_else(|| {
        shards.push(Lender { shard, keys: Keys::new(), whole: None, states: None });
        shards.len() - 1
    });
    want(&mut shards[lender].keys, key, mode);
}

/// Adds a key to those of one shard. One that is named twice is locked in the stricter mode.
pub(super) fn want(keys: &mut Keys, key: &[u8], mode: Mode) {
    let locked = keys.entry(key.to_vec()).or_insert(mode);
    *locked = (*locked).max(mode);
}
