//! Transactions over several shards with commands that concern whole databases (FLUSHALL, DBSIZE, SCAN ...). They lock
//! all shards whole, and then run command by command under these locks: a command on databases on every shard, one on
//! keys on the keys' shard or, with keys on several, on the workbench.

use super::Engine;
use super::coordinator::{each_key, whole_shard_mode};
use super::dispatch::Route;
use super::gather::{Finished, Gather, Homeward, Job, Keys, Lender, Worked, want};
use super::message::{Call, Execution, Logged, Message, Ticket};
use super::propagation::take_payload;
use super::split::Part;
use crate::commands::Entry;
use crate::resp::{Output, Reply};
use crate::session::{Session, SessionKey};
use crate::shard::ShardId;
use crate::shard::locks::Mode;
use crate::spec::{Flags, RequestPolicy};
use std::collections::BTreeMap;

/// How far such a transaction is.
#[derive(Default)]
pub(super) struct Steps {
    /// Commands that have run.
    done: usize,
    /// The replies to the command that runs now, by shard.
    parts: Vec<Part>,
    /// Whether keys are being borrowed for it.
    borrows: bool,
    /// Whether it may change anything, and so be logged.
    writes: bool,
    /// What is to be logged on each shard.
    payloads: BTreeMap<ShardId, Vec<u8>>,
}

impl Steps {
    /// Adds to what is to be logged on a shard.
    pub fn add_payload(&mut self, shard: ShardId, payload: &[u8]) {
        if !payload.is_empty() {
            self.payloads.entry(shard).or_default().extend_from_slice(payload);
        }
    }
}

impl Engine {
    /// Whether a transaction has to run command by command; how it locks all shards then.
    pub(super) fn needs_steps(&self, execution: &Execution) -> Option<Mode> {
        let on_keys = execution.queue.iter().zip(&execution.calls).filter(|(_, call)| call.is_some());
        let entries = on_keys.map(|((command, _), _)| self.table.get(command));
        let (mut needs, mut writes) = (false, false);
        for entry in entries {
            needs |= whole_shard_mode(entry).is_some() || entry.row.spec.request == RequestPolicy::Special;
            writes |= entry.row.spec.flags.contains(Flags::WRITE);
        }
        needs.then_some(if writes { Mode::Exclusive } else { Mode::Shared })
    }

    pub(super) fn start_stepwise(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        execution: Box<Execution>,
        mode: Mode,
    ) {
        let shards = self.router.all();
        let lender = |shard| Lender { shard, keys: Keys::new(), whole: Some(mode), states: None };
        let (job, shards) = (Job::Transaction(execution), shards.map(lender).collect());
        let steps = Steps { writes: mode == Mode::Exclusive, ..Steps::default() };
        self.gather(session, key, entry, Gather { job, shards, intact: true, steps: Some(steps), staged: None });
    }

    /// Whether a transaction is to be logged.
    fn logs_steps(&mut self, index: u32) -> bool {
        let writes = self.gather_mut(index).steps.as_ref().is_some_and(|steps| steps.writes);
        writes && self.shard.log.wanted
    }

    /// All locks are there, or all keys that the next command needs.
    pub(super) fn go_on_stepwise(&mut self, index: u32) {
        let gather = self.gather_mut(index);
        let steps = gather.steps.as_mut().expect("the caller has looked");
        if std::mem::take(&mut steps.borrows) {
            return self.run_borrowed_step(index);
        }
        let intact = gather.intact;
        gather.execution().intact = intact;
        self.next_step(index);
    }

    /// Runs commands until one has to be waited for, or ends the transaction. In a loop: a client says how many there are.
    pub(super) fn next_step(&mut self, index: u32) {
        loop {
            let gather = self.gather_mut(index);
            let step = gather.steps.as_ref().expect("the caller has looked").done;
            let execution = gather.execution();
            let done = !execution.intact || step == execution.queue.len();
            if done {
                return self.end_stepwise(index);
            }
            let over = execution.calls[step].is_none_or(|call| self.start_step(index, step, call));
            if !over {
                return;
            }
            self.count_step(index);
        }
    }

    /// Runs a command; whether all shards have run it, or it will be answered later.
    fn start_step(&mut self, index: u32, step: usize, call: Call) -> bool {
        // The queue is taken out while its command is sent.
        let queue = std::mem::take(&mut self.gather_mut(index).execution().queue);
        let (command, args) = queue.get(step);
        let entry = self.table.get(command);
        let shards: Vec<ShardId> = match self.route(entry, args) {
            Route::One(shard) => vec![shard],
            Route::Any => vec![self.core],
            Route::All => self.router.all().collect(),
            Route::Several => Vec::new(),
        };
        if shards.is_empty() {
            let mut keys = vec![Keys::new(); self.router.shards()];
            each_key(entry, args, |key, mode| want(&mut keys[self.router.shard_of(key).index()], key, mode));
            self.gather_mut(index).execution().queue = queue;
            self.borrow(index, keys);
            return false;
        }
        let id = self.operations.get_mut(index).id.0;
        let logged = if self.logs_steps(index) { Logged::Step } else { Logged::Itself };
        let call = Call { part: true, no_reply: false, transaction: id, logged, ..call };
        let steps = self.gather_mut(index).steps.as_mut().expect("it runs in steps");
        steps.parts = shards.iter().map(|shard| Part::new(*shard, Vec::new())).collect();
        self.operations.get_mut(index).waiting = shards.len();
        let mut own = None;
        for (number, shard) in shards.into_iter().enumerate() {
            if shard == self.core {
                let mut out = Output::default();
                self.run_step(self.core, Ticket::of_part(index, number), call, args, &mut out);
                own = Some((number as u32, out));
            } else {
                self.post_command(shard, Ticket::of_part(index, number), call, args.iter_from(0));
            }
        }
        self.gather_mut(index).execution().queue = queue;
        own.is_some_and(|(number, out)| self.take_step(index, number, out))
    }

    /// Another shard has run the command.
    pub(super) fn step_answered(&mut self, index: u32, number: u32, reply: Output) {
        if self.take_step(index, number, reply) {
            self.count_step(index);
            self.next_step(index);
        }
    }

    /// One shard has run the command; with the last of them its reply is made. Whether it was the last.
    fn take_step(&mut self, index: u32, number: u32, mut reply: Output) -> bool {
        let logged = self.logs_steps(index);
        let operation = self.operations.get_mut(index);
        operation.waiting -= 1;
        let waits = operation.waiting > 0;
        let steps = self.gather_mut(index).steps.as_mut().expect("only steps are answered so");
        if logged {
            let shard = steps.parts[number as usize].shard;
            steps.add_payload(shard, &take_payload(&mut reply));
        }
        steps.parts[number as usize].reply = reply;
        if waits {
            return false;
        }
        let parts = std::mem::take(&mut steps.parts);
        let step = steps.done;
        let execution = self.gather_mut(index).execution();
        let call = execution.calls[step].expect("it ran on shards");
        let mut replies = std::mem::take(&mut execution.replies);
        let mut reply = Reply::new(&mut replies, call.protocol);
        match <[Part; 1]>::try_from(parts) {
            Ok([part]) => reply.append(part.reply),
            Err(parts) => self.join_parts(self.table.get(call.command), call, parts, &mut reply),
        }
        self.gather_mut(index).execution().replies = replies;
        true
    }

    /// Asks the shards for the keys of a command whose keys lie on several.
    fn borrow(&mut self, index: u32, mut keys: Vec<Keys>) {
        let core = self.core;
        let gather = self.gather_mut(index);
        gather.steps.as_mut().expect("it runs in steps").borrows = true;
        for lender in &mut gather.shards {
            lender.keys = std::mem::take(&mut keys[lender.shard.index()]);
        }
        let remote: Vec<_> = (gather.shards.iter().enumerate())
            .filter(|(_, lender)| lender.shard != core && !lender.keys.is_empty())
            .map(|(number, lender)| (number, lender.shard, lender.keys.clone()))
            .collect();
        let logged = self.logs_steps(index);
        let operation = self.operations.get_mut(index);
        operation.waiting = remote.len();
        let logged = logged.then_some(operation.id);
        logged.into_iter().for_each(|id| self.shard.log.collect(id));
        self.lend_own(index);
        for (number, shard, keys) in remote {
            self.post(shard, Message::Borrow { from: core, ticket: Ticket::of_part(index, number), logged, keys });
        }
    }

    fn run_borrowed_step(&mut self, index: u32) {
        let gather = self.gather_mut(index);
        let step = gather.steps.as_ref().expect("it runs in steps").done;
        let mut lenders = std::mem::take(&mut gather.shards);
        let execution = gather.execution();
        let call = execution.calls[step].expect("it runs on keys");
        let (queue, mut replies) = (std::mem::take(&mut execution.queue), std::mem::take(&mut execution.replies));
        let (command, args) = queue.get(step);
        let entry = self.table.get(command);
        let started = self.clock.raw();
        let worked = self.work_on(&mut lenders, |engine| engine.run_command(entry, call, args, &mut replies));
        self.note_slow_part(self.core, Ticket::of_part(index, 0), self.nanoseconds_since(started));
        let gather = self.gather_mut(index);
        gather.shards = lenders;
        let execution = gather.execution();
        (execution.queue, execution.replies) = (queue, replies);
        self.count_step(index);
        let Worked { effects, payloads, large } = worked;
        let finished = Finished { effects, payloads, waiting: BTreeMap::new(), answers: true, tries: false };
        self.go_home_or_stage(index, finished, large);
    }

    /// Sends home what a command has borrowed. The locks stay.
    pub(super) fn end_borrowed_step(&mut self, index: u32, finished: Finished) {
        let Finished { effects, payloads, waiting, .. } = finished;
        let steps = self.gather_mut(index).steps.as_mut().expect("it runs in steps");
        payloads.into_iter().for_each(|(shard, payload)| steps.add_payload(shard, &payload));
        let homeward = Homeward { answers: true, keep_locks: true, transaction: None };
        let stores = self.send_home(index, effects, waiting, homeward);
        // One more than the stores: this step itself ends like a store.
        self.operations.get_mut(index).waiting = stores + 1;
        self.stored(index);
    }

    fn count_step(&mut self, index: u32) {
        let nanoseconds = std::mem::take(&mut self.operations.get_mut(index).longest_nanoseconds);
        let slow = nanoseconds >= self.slow_nanoseconds;
        let gather = self.gather_mut(index);
        gather.steps.as_mut().expect("it runs in steps").done += 1;
        let execution = gather.execution();
        if slow {
            execution.slow.push((execution.ends.len(), nanoseconds));
        }
        let end = execution.replies.mark();
        execution.ends.push(end);
    }

    /// Has it logged, gives up all locks and answers.
    fn end_stepwise(&mut self, index: u32) {
        let id = self.operations.get_mut(index).id;
        let gather = self.gather_mut(index);
        let steps = gather.steps.take().expect("it has run in steps");
        gather.shards.iter_mut().for_each(|lender| lender.states = None);
        let transaction = self.to_transaction(steps.payloads.into_iter().collect());
        // The locks have kept everybody away, so that nothing has to be stored any more; only the log may be waited for.
        let homeward = Homeward { answers: self.waits_for_log(), keep_locks: false, transaction };
        let stores = self.send_home(index, Vec::new(), BTreeMap::new(), homeward);
        self.operations.get_mut(index).waiting = stores + 1;
        self.stored(index);
        self.unlock(id);
    }
}

impl Gather {
    fn execution(&mut self) -> &mut Execution {
        let Job::Transaction(execution) = &mut self.job else { unreachable!("only transactions have steps") };
        execution
    }
}
