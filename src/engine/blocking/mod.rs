//! Clients that wait in a blocking command: how a wait begins, how it is served and how it ends.
//!
//! A command that finds nothing asks to wait ([`ShardContext::block`](crate::commands::ShardContext::block)). Its session
//! keeps a [`Blocked`] and is stalled; every shard that owns one of the keys gets a registration: this one at once,
//! others with the message that ends the gathering of the keys, while they are still locked, so that nothing can slip in
//! between.
//!
//! A shard looks at its queues after each command, transaction or store that has changed a key somebody waits for
//! (`serve`). It takes the claim of the first client, runs its command again and sends the reply to its core. Where the
//! command writes to another shard as well (BLMOVE), it asks the client's core to try instead: that gathers the keys as if
//! the command were new. Those behind wait until the try is over, and then the shard looks again, whatever has come of it;
//! so nobody sleeps beside an element, and nobody overtakes.
//!
//! Clients that wait for the append-only log are registered nowhere (`log`): their own core looks after them.
//!
//! However a wait ends, the client's core has its registrations on other shards removed.

mod log;
mod serve;

use super::Engine;
use super::gather::Gather;
use super::message::{Call, Message, Ticket};
use super::operation::{Operation, Request, Work};
use crate::commands::Entry;
use crate::commands::context::Wait;
use crate::resp::{Args, CommandError, Output, Reply};
use crate::session::{Blocked, Session, SessionFlags, SessionKey, Unblock};
use crate::shard::blocked::{BlockedClients, Claim, Registration, WaitId};
use crate::shard::{Millis, ShardId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What a shard does for a client when a key is ready that it waits for.
#[derive(Clone)]
pub struct Resume {
    /// Who waits for the reply, on the client's core.
    ticket: Ticket,
    call: Call,
    request: Arc<Request>,
    /// Whether the command writes to another shard than the one it is registered with.
    reaches_out: bool,
}

/// A core's part in waiting: its shard's registrations and its clients' waits.
#[derive(Default)]
pub(super) struct Blocking {
    /// Who waits for keys of this shard.
    pub clients: BlockedClients<Resume>,
    /// What the command that has just run waits for.
    pub wait: Option<Wait>,
    /// The ready key for which a command runs again.
    pub serving: Option<Box<[u8]>>,
    /// Whether ready keys are being looked at.
    looking: bool,
    /// Waits begun by clients of this core.
    begun: u64,
    /// How many are under way.
    waiting: usize,
    /// The ends of those that have one.
    deadlines: BTreeSet<(Millis, u32)>,
    /// Who waits for the append-only log.
    for_log: log::Waits,
    /// This core's clients who are to try again, asked by its own shard.
    tries: VecDeque<Registration<Resume>>,
}

/// The client's side.
impl Engine {
    /// Runs a command that may block. `here`: all its keys are on this shard.
    pub(super) fn dispatch_blocking(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        here: bool,
        args: Args<'_>,
    ) -> bool {
        if !session.pending.is_empty() {
            return false;
        }
        if !here || self.is_held_up(self.core, key.0, entry, args) {
            self.start_gather(session, key, entry, args);
            return true;
        }
        let call = Call { may_block: true, ..Self::call(session, entry) };
        let mark = session.output.mark();
        self.run_command(entry, call, args, &mut session.output);
        let wait = self.blocking.wait.take();
        self.after_effects();
        if call.no_reply {
            session.output.truncate(mark);
        }
        if let Some(wait) = wait {
            let number = session.pending.expect();
            session.flags.insert(SessionFlags::STALLED);
            let request = Arc::new(Request::of(args));
            for (_, registration) in self.start_wait(session, key, number, entry, call, request, wait) {
                self.add_registration(registration);
            }
        }
        true
    }

    /// Begins a session's wait; the registrations for the shards of the keys. None if there is nobody left to wait.
    #[allow(clippy::too_many_arguments, reason = "a wait is all that a request is")]
    pub(super) fn start_wait(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        number: u32,
        entry: &Entry,
        call: Call,
        request: Arc<Request>,
        wait: Wait,
    ) -> Vec<(ShardId, Registration<Resume>)> {
        let (id, claim) = (self.new_wait(), Claim::default());
        let registrations = self.registrations(key, number, entry, call, &request, &wait, (id, &claim));
        let shards = registrations.iter().map(|(shard, _)| *shard).collect();
        let (deadline, silent) = (wait.deadline, call.no_reply);
        let (trying, for_log, unblock) = (false, false, None);
        self.block(session, key, Blocked { id, claim, number, deadline, shards, silent, trying, for_log, unblock });
        // Where nobody is left to wait, nothing stands in any queue yet.
        if session.blocked.is_some() { registrations } else { Vec::new() }
    }

    fn new_wait(&mut self) -> WaitId {
        self.blocking.begun += 1;
        WaitId { core: self.core, number: self.blocking.begun }
    }

    /// Blocks a session, unless its client is gone.
    fn block(&mut self, session: &mut Session, key: SessionKey, blocked: Blocked) {
        self.blocking.deadlines.extend(blocked.deadline.map(|at| (at, key.0)));
        session.blocked = Some(Box::new(blocked));
        self.blocking.waiting += 1;
        self.publish_waits();
        if session.flags.intersects(SessionFlags::INPUT_ENDED | SessionFlags::CLOSE_NOW) {
            self.leave(session, key);
        }
    }

    /// Begins the wait of a session whose command has found nothing on gathered keys; the registrations by shard.
    pub(super) fn wait_gathered(
        &mut self,
        key: SessionKey,
        number: u32,
        entry: &Entry,
        call: Call,
        request: Arc<Request>,
        wait: Wait,
    ) -> BTreeMap<ShardId, Registration<Resume>> {
        let Some(mut session) = self.sessions.take(key) else { return BTreeMap::new() };
        let gone = session.flags.contains(SessionFlags::DEPARTED);
        let registrations =
            if gone { Vec::new() } else { self.start_wait(&mut session, key, number, entry, call, request, wait) };
        self.sessions.put_back(key, session);
        if gone {
            self.deliver(key, number, &[], Vec::new());
        }
        registrations.into_iter().collect()
    }

    #[allow(clippy::too_many_arguments, reason = "a wait is all that a request is")]
    fn registrations(
        &self,
        key: SessionKey,
        number: u32,
        entry: &Entry,
        call: Call,
        request: &Arc<Request>,
        wait: &Wait,
        (id, claim): (WaitId, &Claim),
    ) -> Vec<(ShardId, Registration<Resume>)> {
        let args = request.args();
        let mut by_shard: BTreeMap<ShardId, Vec<Box<[u8]>>> = BTreeMap::new();
        for awaited in wait.keys.clone().map(|index| args.at(index)) {
            by_shard.entry(self.router.shard_of(awaited)).or_default().push(awaited.into());
        }
        let mut others = Vec::new();
        for spec in entry.row.spec.keys {
            let found = spec.each(args, |index| {
                if !wait.keys.contains(&index) {
                    others.push(self.router.shard_of(args.at(index)));
                }
            });
            found.expect("the command has found its keys");
        }
        let ticket = Ticket { owner: key.0, number };
        let registration = |(shard, keys)| {
            let reaches_out = others.iter().any(|other| *other != shard);
            let what = Resume { ticket, call, request: request.clone(), reaches_out };
            let claim = claim.clone();
            (shard, Registration { id, claim, database: call.database, keys, kind: wait.kind, what })
        };
        by_shard.into_iter().map(registration).collect()
    }

    /// A shard has served a client of this core.
    pub(super) fn served(&mut self, by: ShardId, ticket: Ticket, reply: Output) {
        let key = SessionKey(ticket.owner);
        if let Some(mut session) = self.sessions.take(key) {
            self.end_wait(&mut session, key, Some(by));
            self.sessions.put_back(key, session);
        }
        self.deliver(key, ticket.number, &reply.bytes, reply.pins);
    }

    /// Ends a session's wait, whose claim is taken: its registrations go, but for that of the shard which has removed it.
    /// The number of its request.
    fn end_wait(&mut self, session: &mut Session, key: SessionKey, by: Option<ShardId>) -> Option<u32> {
        let blocked = session.blocked.take()?;
        session.active_ms = self.now;
        if let Some(at) = blocked.deadline {
            self.blocking.deadlines.remove(&(at, key.0));
        }
        self.forget_log_wait(blocked.id.number);
        self.blocking.waiting -= 1;
        self.publish_waits();
        for shard in blocked.shards.into_iter().filter(|shard| Some(*shard) != by) {
            if shard == self.core {
                self.forget(blocked.id);
            } else {
                self.post(shard, Message::Forget { id: blocked.id });
            }
        }
        Some(blocked.number)
    }

    /// Ends the waits whose time is over. A command never waits less than it has asked for.
    pub(super) fn end_overdue_waits(&mut self) {
        while let Some(&(at, key)) = self.blocking.deadlines.first().filter(|(at, _)| *at < self.now) {
            self.blocking.deadlines.remove(&(at, key));
            let Some(mut session) = self.sessions.take(SessionKey(key)) else { continue };
            let unblocked = session.unblock(Unblock::Timeout);
            self.sessions.put_back(SessionKey(key), session);
            if unblocked {
                self.end_unblocked(SessionKey(key));
            }
        }
    }

    /// When this core next has something to do because of the time alone, beside its regular work.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.blocking.deadlines.first().map(|(at, _)| at + 1)
    }

    /// Answers a session whose wait was ended by its timeout or another client, unless a try is under way.
    pub(super) fn end_unblocked(&mut self, key: SessionKey) {
        let Some(mut session) = self.sessions.take(key) else { return };
        let blocked = session.blocked.as_deref().filter(|blocked| !blocked.trying);
        let how = blocked.and_then(|blocked| blocked.unblock.map(|how| (how, blocked.silent, blocked.for_log)));
        let protocol = session.protocol;
        let number = how.and_then(|_| self.end_wait(&mut session, key, None));
        self.sessions.put_back(key, session);
        let (Some((how, silent, for_log)), Some(number)) = (how, number) else { return };
        let mut out = Output::default();
        match how {
            Unblock::Timeout if for_log => self.tell_log_state(&mut Reply::new(&mut out, protocol)),
            Unblock::Timeout => Reply::new(&mut out, protocol).null_array(),
            Unblock::Error => {
                let error = CommandError::fixed("UNBLOCKED client unblocked via CLIENT UNBLOCK");
                Reply::new(&mut out, protocol).error(&error);
                self.metrics().count_error(error.code());
            }
        }
        if silent {
            out.clear();
        }
        self.deliver(key, number, &out.bytes, out.pins);
    }

    /// Gives up the wait of a session whose client is gone, unless somebody is about to answer it.
    pub(super) fn leave(&mut self, session: &mut Session, key: SessionKey) {
        let Some(blocked) = session.blocked.as_deref() else { return };
        if blocked.trying || blocked.unblock.is_none() && !blocked.claim.take() {
            return;
        }
        self.abandon(session, key);
    }

    /// The same where the claim is taken.
    fn abandon(&mut self, session: &mut Session, key: SessionKey) {
        let Some(number) = self.end_wait(session, key, None) else { return };
        session.pending.complete(number, &[], Vec::new(), &mut session.output);
        // What the client has sent behind this command is not run.
        (session.input, session.input_used, session.parser) = Default::default();
        session.flags.insert(SessionFlags::CLOSE_AFTER_REPLY);
        self.mark_dirty(session, key);
    }

    /// A shard asks for a client of this core to be served: what it waits for is there, but the command concerns other
    /// shards as well.
    pub(super) fn try_again(&mut self, registration: Registration<Resume>) {
        let Registration { id, what: Resume { ticket, call, request, .. }, .. } = registration;
        let key = SessionKey(ticket.owner);
        let blocked = self.sessions.get_mut(key).and_then(|session| session.blocked.as_deref_mut());
        // Where the wait is over, or about to be, the shard hears of it anyhow.
        let Some(blocked) = blocked.filter(|blocked| blocked.id == id && blocked.claim.take()) else { return };
        blocked.trying = true;
        let entry = self.table.get(call.command);
        let work = Work::Gather(Box::new(Gather::of_command(self.router, entry, request)));
        let index = self.operations.insert(Operation::new(key, ticket.number, entry, call, work));
        self.begin(index);
    }

    /// Lets this core's clients try again whom its own shard has asked to.
    pub(super) fn try_asked(&mut self) {
        while let Some(registration) = self.blocking.tries.pop_front() {
            self.try_again(registration);
        }
    }

    /// Whether the request `number` of a session is one that tries again.
    pub(super) fn is_trying(&mut self, key: SessionKey, number: u32) -> bool {
        let blocked = self.sessions.get_mut(key).and_then(|session| session.blocked.as_deref());
        blocked.is_some_and(|blocked| blocked.number == number)
    }

    /// Whether that request's wait has been ended, by its timeout or another client, since it was asked to try again. Who was
    /// told so must be right: it takes nothing any more.
    pub(super) fn has_given_up(&mut self, key: SessionKey, number: u32) -> bool {
        let blocked = self.sessions.get_mut(key).and_then(|session| session.blocked.as_deref());
        blocked.is_some_and(|blocked| blocked.number == number && blocked.unblock.is_some())
    }

    /// A try is over. If it has found something, so is the wait, and its operation answers. Else the session goes on
    /// waiting where it stood, unless its wait has ended meanwhile.
    pub(super) fn end_try(&mut self, key: SessionKey, found: bool) {
        let Some(mut session) = self.sessions.take(key) else { return };
        let zombie = session.flags.contains(SessionFlags::ZOMBIE);
        let gone = session.flags.intersects(SessionFlags::CLOSE_NOW | SessionFlags::INPUT_ENDED);
        let Some(blocked) = session.blocked.as_deref_mut() else { return self.sessions.put_back(key, session) };
        blocked.trying = false;
        let (unblocked, number) = (!found && blocked.unblock.is_some(), blocked.number);
        if found || zombie {
            self.end_wait(&mut session, key, None);
        } else if gone {
            self.abandon(&mut session, key);
        } else if !unblocked {
            blocked.claim.give_back();
            self.tell_tried(blocked);
        }
        self.sessions.put_back(key, session);
        if zombie && !found {
            self.deliver(key, number, &[], Vec::new());
        } else if unblocked {
            self.end_unblocked(key);
        }
    }

    /// Tells the shards on which a session waits that it has tried in vain.
    fn tell_tried(&mut self, blocked: &Blocked) {
        for &shard in &blocked.shards {
            if shard == self.core {
                self.after_try(blocked.id);
            } else {
                self.post(shard, Message::Tried { id: blocked.id });
            }
        }
    }

    pub(super) fn publish_waits(&self) {
        let metrics = self.metrics();
        metrics.blocked_clients.set((self.blocking.waiting + self.held_back) as u64);
        metrics.timed_clients.set(self.blocking.deadlines.len() as u64);
    }
}
