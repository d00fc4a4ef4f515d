//! MULTI and EXEC: commands are queued at the session's core and run in one go on the shard that owns their keys.
//!
//! Where that is this core, each command's reply goes straight into the session's output. Where it is another one, the
//! queue travels there and back; commands on the session or the server, which belong to the session's core, run when it
//! is back, and the replies are put in order here. What such commands change for the ones behind them (SELECT, HELLO) is
//! found beforehand, on a copy of the session.
//!
//! Differs: a request to every core (CLIENT LIST ...) is sent when all commands have run, so that nothing comes between.
//! Commands on channels run at the session's core like those on the session, and so publish what the keys' shards have
//! already done; a message to the client itself comes behind the reply to EXEC, where Redis 7.0 puts it into the array.

use super::Engine;
use super::coordinator::each_key_of_transaction;
use super::dispatch::{Route, Step};
use super::message::{Call, Execution, Message};
use super::operation::Request;
use super::pubsub;
use crate::commands::{Entry, EveryCore, Flow, Handler, SessionContext};
use crate::limits::{SPARE_QUEUE_BYTES_MAX, SPARE_QUEUES_MAX};
use crate::resp::reply::Mark;
use crate::resp::{Args, CommandError, Output, Reply};
use crate::session::{Identity, Queue, Session, SessionFlags, SessionKey};
use crate::shard::ShardId;
use crate::shard::locks::LockSet;
use crate::spec::Flags;
use crate::stdx::random::Random;
use std::sync::Arc;

/// A transaction that runs on another shard.
pub(super) struct Executing {
    session: SessionKey,
    /// The request's number in its session.
    number: u32,
}

/// A transaction's reply that waits for requests to every core.
pub(super) struct Assembly {
    session: SessionKey,
    number: u32,
    /// The reply in pieces, empty where a core's answer is missing.
    pieces: Vec<Output>,
    waiting: usize,
}

/// A piece of an [`Assembly`].
#[derive(Clone, Copy)]
pub(super) struct Piece {
    assembly: u64,
    index: usize,
}

/// Requests to every core among a transaction's commands, with the places of their replies.
#[derive(Default)]
struct Requests {
    assembly: u64,
    pieces: Vec<Output>,
    /// How many of the pieces are awaited; counts of PUBLISH are not in the list, they are asked for already.
    waiting: usize,
    list: Vec<RequestInExec>,
}

/// One of them.
struct RequestInExec {
    entry: &'static Entry,
    call: Call,
    command: Request,
    request: Arc<dyn EveryCore>,
    /// The place of its reply among the pieces.
    index: usize,
}

impl Requests {
    /// Leaves a place behind what has been written to `out` from `start` on.
    fn leave_place(&mut self, out: &mut Output, start: Mark) -> Piece {
        self.pieces.extend([out.split_off(start), Output::default()]);
        self.waiting += 1;
        Piece { assembly: self.assembly, index: self.pieces.len() - 1 }
    }
}

/// Where a transaction runs.
enum Place {
    Here(Vec<Option<Call>>),
    There(ShardId, Vec<Option<Call>>),
    Several(Vec<Option<Call>>),
}

/// Queueing.
impl Engine {
    /// Puts a command into the transaction's queue. One that has been spoiled already is not worth the memory.
    pub(super) fn enqueue(
        &mut self,
        session: &mut Session,
        entry: &'static Entry,
        args: Args<'_>,
        started: &mut u64,
    ) -> Step {
        let transaction = session.transaction.as_deref_mut().expect("MULTI has made it");
        if !transaction.aborted {
            if transaction.queue.memory_bytes() == 0 {
                transaction.queue = self.spare_queues.pop().unwrap_or_default();
            }
            // What publishes waits for the end of a pause as what writes does.
            let publishes = if pubsub::publishes(entry) { Flags::WRITE } else { Flags::empty() };
            transaction.queue.push(entry.id, entry.row.spec.flags | publishes, args);
            transaction.queued += 1;
        }
        session.last_command = entry.id + 1;
        session.commands += 1;
        if !session.is_silent() {
            let mut out = Output::default();
            let direct = session.pending.is_empty();
            let place = if direct { &mut session.output } else { &mut out };
            Reply::new(place, session.protocol).simple("QUEUED");
            if !direct {
                session.append_reply(out);
            }
        }
        *started = self.clock.raw();
        Step::Away
    }

    /// A request of a transaction was refused: EXEC will be, too.
    pub(super) fn spoil(session: &mut Session) {
        if session.flags.contains(SessionFlags::MULTI) {
            session.transaction.as_deref_mut().expect("MULTI has made it").aborted = true;
        }
    }

    /// Ends a session's transaction: it watches nothing any more.
    pub(super) fn discard(&mut self, session: &mut Session) {
        session.discard();
        self.unwatch(session);
        if let Some(transaction) = &mut session.transaction {
            let queue = std::mem::take(&mut transaction.queue);
            self.recycle_queue(queue);
        }
    }

    fn recycle_queue(&mut self, mut queue: Queue) {
        let bytes = queue.memory_bytes();
        if bytes > 0 && bytes <= SPARE_QUEUE_BYTES_MAX && self.spare_queues.len() < SPARE_QUEUES_MAX {
            queue.clear();
            self.spare_queues.push(queue);
        }
    }

    /// A number for something that is under way to other shards.
    pub(super) fn next_flight(&mut self) -> u64 {
        self.flights += 1;
        self.flights
    }
}

/// EXEC.
impl Engine {
    /// Runs a session's queue, or says why not. Nothing that the session asked before is under way.
    pub(super) fn exec(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        args: Args<'_>,
    ) -> Step {
        let transaction = session.transaction.as_deref_mut().expect("MULTI has made it");
        transaction.exec_sent_as = *args.at(0).first_chunk().expect("it has found EXEC");
        if transaction.aborted {
            let error = CommandError::fixed("EXECABORT Transaction discarded because of previous errors.");
            self.fail_transaction(session, entry, &error);
            return Step::Done;
        }
        match self.place(session) {
            Place::Here(calls) if self.is_held_up_here(session, &calls) => {
                self.exec_there(session, key, self.core, calls);
            }
            Place::Here(_) => self.exec_here(session, key),
            Place::There(shard, calls) => self.exec_there(session, key, shard, calls),
            Place::Several(calls) => self.start_transaction_over_shards(session, key, entry, calls),
        }
        Step::Done
    }

    /// Answers EXEC with an error; the transaction is over.
    fn fail_transaction(&mut self, session: &mut Session, entry: &Entry, error: &CommandError) {
        self.discard(session);
        self.show_exec(session);
        let mark = session.output.mark();
        self.fail(entry, error, session.protocol, &mut session.output, mark);
        if session.is_silent() {
            session.output.truncate(mark);
        }
    }

    /// Finds the shard of a transaction's keys, queued and watched, and how its commands are to be run.
    fn place(&self, session: &Session) -> Place {
        if self.router.shards() == 1 {
            return Place::Here(Vec::new());
        }
        let transaction = session.transaction.as_deref().expect("MULTI has made it");
        let mut owner = None;
        let mut several = false;
        let mut add = |shard| {
            several |= owner.is_some_and(|owner| owner != shard);
            owner = Some(shard);
        };
        let mut copy = None;
        let mut calls = Vec::with_capacity(transaction.queue.len());
        for (command, args) in transaction.queue.iter() {
            let entry = self.table.get(command);
            if let Handler::Session(_) | Handler::Channels(_) = entry.row.handler {
                self.foresee(session, &mut copy, entry, args);
                calls.push(None);
                continue;
            }
            calls.push(Some(Self::call(copy.as_ref().unwrap_or(session), entry)));
            match self.route(entry, args) {
                Route::One(shard) => add(shard),
                Route::Any => {}
                // All shards are several, if there is more than one.
                Route::Several | Route::All => (0..2).for_each(|shard| add(ShardId(shard))),
            }
        }
        transaction.watched.iter().for_each(|watched| add(self.router.shard_of(&watched.key)));
        match owner {
            _ if several => Place::Several(calls),
            Some(shard) if shard != self.core => Place::There(shard, calls),
            _ => Place::Here(calls),
        }
    }

    /// Does to a copy of the session what a command will do to the session, if that matters to commands behind it.
    fn foresee(&self, session: &Session, copy: &mut Option<Session>, entry: &Entry, args: Args<'_>) {
        let Handler::Session(handler) = entry.row.handler else { return };
        const MATTER: [&str; 5] = ["select", "hello", "client|no-touch", "client|tracking", "client|caching"];
        if !MATTER.contains(&entry.row.spec.name) {
            return;
        }
        let copy = copy.get_or_insert_with(|| {
            let mut copy = Session::new(session.id, Identity::default(), self.now);
            (copy.database, copy.protocol, copy.flags) = (session.database, session.protocol, session.flags);
            copy.tracking = session.tracking.clone();
            copy
        });
        // What it answers, and whether it fails, is found again when it runs.
        let _ = handler(
            &mut SessionContext {
                reply: Reply::new(&mut Output::default(), copy.protocol),
                session: copy,
                node: &self.node,
                config: &self.config,
                core: self.core,
                now: self.now,
                random: &mut Random::new(0),
            },
            args,
        );
    }

    fn exec_here(&mut self, session: &mut Session, key: SessionKey) {
        let transaction = session.transaction.as_deref_mut().expect("MULTI has made it");
        let mut intact = true;
        if !transaction.watched.is_empty() {
            transaction.take_watched();
            intact = self.end_watch_here(session.id);
        }
        let transaction = session.transaction.as_deref_mut().expect("just seen");
        let queue = std::mem::take(&mut transaction.queue);
        let mut out = std::mem::take(&mut session.output);
        let requests = self.reply_to_transaction(session, key, &queue, intact, None, &mut out);
        session.output = out;
        self.notice_tracker(session, key);
        self.recycle_queue(queue);
        self.release_held(session, key);
        if requests.waiting == 0 {
            session.discard();
            return;
        }
        let number = session.pending.expect();
        session.flags.insert(SessionFlags::STALLED);
        self.assemble(key, number, requests);
    }

    /// Sends a session's queue to the shard that owns all its keys.
    fn exec_there(&mut self, session: &mut Session, key: SessionKey, shard: ShardId, calls: Vec<Option<Call>>) {
        let execution = Self::execution(session, calls);
        let id = self.next_flight();
        self.executing.insert(id, Executing { session: key, number: session.pending.expect() });
        session.flags.insert(SessionFlags::STALLED);
        if shard == self.core {
            self.park_transaction(shard, id, execution);
        } else {
            self.post(shard, Message::Execute { from: self.core, id, execution });
        }
    }

    /// Takes a session's queue and watches to be run elsewhere; the session stays in MULTI until they have.
    fn execution(session: &mut Session, calls: Vec<Option<Call>>) -> Box<Execution> {
        let transaction = session.transaction.as_deref_mut().expect("MULTI has made it");
        Box::new(Execution {
            client: session.id,
            queue: std::mem::take(&mut transaction.queue),
            calls,
            watched: transaction.take_watched().into_iter().collect(),
            intact: true,
            replies: Output::default(),
            ends: Vec::new(),
            slow: Vec::new(),
        })
    }

    /// Starts a transaction whose keys, queued and watched, lie on several shards.
    fn start_transaction_over_shards(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        calls: Vec<Option<Call>>,
    ) {
        let execution = Self::execution(session, calls);
        self.start_gather_for_transaction(session, key, entry, execution);
    }

    /// Whether locks on this shard hold up a transaction whose keys are all here.
    fn is_held_up_here(&self, session: &Session, calls: &[Option<Call>]) -> bool {
        if self.locks.is_empty() {
            return false;
        }
        let transaction = session.transaction.as_deref().expect("MULTI has made it");
        self.locks.blocks(&LockSet::of_each(|add| {
            each_key_of_transaction(self.table, &transaction.queue, calls, &transaction.watched, add);
        }))
    }

    /// Runs a transaction, all of whose keys are here, and sends it back to its core.
    pub(super) fn execute(&mut self, from: ShardId, id: u64, mut execution: Box<Execution>) {
        if !execution.watched.is_empty() {
            execution.intact = self.end_watch_here(execution.client);
        }
        if execution.intact {
            let begin = self.shard.log.mark();
            self.run_commands(&mut execution);
            self.shard.log.end_transaction(begin);
            self.after_effects();
        }
        if from == self.core {
            self.executed(id, execution);
        } else {
            self.post(from, Message::Executed { id, execution });
        }
    }

    /// Runs a transaction's commands on keys.
    pub(super) fn run_commands(&mut self, execution: &mut Execution) {
        let mut started = self.clock.raw();
        let Execution { queue, calls, replies, ends, slow, .. } = execution;
        for ((command, args), call) in queue.iter().zip(calls) {
            if let Some(call) = *call {
                let entry = self.table.get(command);
                self.run_command(entry, call, args, replies);
                let nanoseconds = self.count_run(entry, &mut started);
                if nanoseconds >= self.slow_nanoseconds {
                    slow.push((ends.len(), nanoseconds));
                }
            }
            ends.push(replies.mark());
        }
    }

    /// Takes a transaction back that has run on another shard.
    pub(super) fn executed(&mut self, id: u64, execution: Box<Execution>) {
        let Some(Executing { session: key, number }) = self.executing.remove(&id) else { return };
        self.conclude(key, number, execution);
    }

    /// Answers EXEC when the commands on keys have run.
    pub(super) fn conclude(&mut self, key: SessionKey, number: u32, execution: Box<Execution>) {
        let Some(mut session) = self.sessions.take(key) else { return };
        let mut out = Output::default();
        let run = Some(&*execution);
        let requests = self.reply_to_transaction(&mut session, key, &execution.queue, execution.intact, run, &mut out);
        self.notice_tracker(&mut session, key);
        let waits = requests.waiting > 0;
        if !waits {
            session.discard();
        }
        self.sessions.put_back(key, session);
        if waits {
            self.assemble(key, number, requests);
        } else {
            self.deliver(key, number, &out.bytes, out.pins);
        }
        self.release_all_held();
        self.recycle_queue(execution.queue);
    }
}

/// The reply.
impl Engine {
    /// Writes the reply to EXEC. Commands on keys are run now, unless `run` has their replies.
    fn reply_to_transaction(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        queue: &Queue,
        intact: bool,
        run: Option<&Execution>,
        out: &mut Output,
    ) -> Requests {
        let start = out.mark();
        let mut requests = Requests { assembly: self.next_flight(), ..Requests::default() };
        let mut reply = Reply::new(out, session.protocol);
        if intact {
            reply.array(queue.len())
        } else {
            reply.null_array()
        }
        if session.is_silent() {
            out.truncate(start);
        }
        if !intact {
            self.show_exec(session);
            return requests;
        }
        let mut started = self.clock.raw();
        let begin = self.shard.log.mark();
        for (index, (command, args)) in queue.iter().enumerate() {
            let entry = self.table.get(command);
            let mark = out.mark();
            session.last_command = command + 1;
            let nanoseconds = match (entry.row.handler, run) {
                (Handler::Shard(_), Some(run)) => {
                    run.copy_reply(index, &mut Reply::new(out, session.protocol));
                    let slow = run.slow.binary_search_by_key(&index, |(place, _)| *place).ok();
                    slow.map(|found| run.slow[found].1)
                }
                (Handler::Shard(_), None) => {
                    let call = Self::call(session, entry);
                    self.run_command(entry, call, args, out);
                    Some(self.count_run(entry, &mut started))
                }
                (Handler::Session(_), _) => {
                    let flow = self.call_session(session, entry, args, out);
                    let asks_all = matches!(flow, Flow::EveryCore(_));
                    self.follow(session, entry, args, flow, (out, start), &mut requests);
                    Some(self.count_run(entry, &mut started)).filter(|_| !asks_all)
                }
                (Handler::Channels(_), _) => {
                    let place = |out: &mut Output| requests.leave_place(out, start);
                    self.run_on_channels_in_exec(session, key, entry, args, out, place);
                    Some(self.count_run(entry, &mut started))
                }
                (Handler::Container, _) => {
                    unreachable!("a command without its subcommand is refused, not queued")
                }
            };
            if nanoseconds.unwrap_or(0) >= self.attention_nanoseconds {
                nanoseconds.into_iter().for_each(|taken| self.log_if_slow(&session.identity, entry, args, taken));
                self.show(session, entry, args);
            }
            // Confirmations of subscriptions reach also a client that wants no replies.
            if session.is_silent() && !matches!(entry.row.handler, Handler::Channels(_)) {
                out.truncate(mark);
            }
        }
        self.show_exec(session);
        if requests.waiting > 0 {
            requests.pieces.push(out.split_off(start));
            session.flags.insert(SessionFlags::ASSEMBLING);
        }
        self.shard.log.end_transaction(begin);
        self.after_effects();
        requests
    }

    /// Does what a session command inside a transaction asks of the engine. `start` is where the transaction's reply
    /// begins in the output.
    fn follow(
        &self,
        session: &mut Session,
        entry: &'static Entry,
        args: Args<'_>,
        flow: Flow,
        (out, start): (&mut Output, Mark),
        requests: &mut Requests,
    ) {
        match flow {
            // UNWATCH: EXEC has ended the watches already.
            Flow::Done | Flow::Reset | Flow::Unwatch | Flow::Watch | Flow::Exec => {}
            // The engine takes notice of it when all commands have run.
            Flow::Tracking => {}
            Flow::Close => session.flags.insert(SessionFlags::CLOSE_AFTER_REPLY),
            // Nothing waits in a transaction.
            Flow::WaitLog(_) => self.tell_log_state(&mut Reply::new(out, session.protocol)),
            Flow::EveryCore(request) => {
                let Piece { index, .. } = requests.leave_place(out, start);
                let (call, command) = (Self::call(session, entry), Request::of(args));
                requests.list.push(RequestInExec { entry, call, command, request, index });
            }
        }
    }

    /// Sends a transaction's requests to every core, and waits for all pieces of its reply.
    fn assemble(&mut self, key: SessionKey, number: u32, requests: Requests) {
        let Requests { assembly, pieces, waiting, list } = requests;
        self.assemblies.insert(assembly, Assembly { session: key, number, pieces, waiting });
        for RequestInExec { entry, call, command, request, index } in list {
            self.ask_every_core(key, entry, call, command, request, Err(Piece { assembly, index }));
        }
    }

    /// Takes the reply to a transaction's request to every core; with the last of them the transaction's reply leaves.
    pub(super) fn take_piece(&mut self, piece: Piece, out: Output) {
        let Some(assembly) = self.assemblies.get_mut(&piece.assembly) else { return };
        assembly.pieces[piece.index] = out;
        assembly.waiting -= 1;
        if assembly.waiting > 0 {
            return;
        }
        let assembly = self.assemblies.remove(&piece.assembly).expect("just seen");
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, crate::resp::Protocol::Resp2);
        assembly.pieces.into_iter().for_each(|piece| reply.append(piece));
        if let Some(session) = self.sessions.get_mut(assembly.session) {
            session.discard();
            reply.append(session.end_assembling());
        }
        self.deliver(assembly.session, assembly.number, &out.bytes, out.pins);
    }
}
