//! WAITAOF: clients that wait until what they have changed is on disk. SHUTDOWN waits for the same, of all clients.
//!
//! Each core makes known how much its shard has logged and how much of that is on disk. A wait's goal is what all shards
//! have logged at the end of the turn in which it begins: the client has all its replies by then, so what it has changed
//! is part of that. The cores look at the goals when they have their turns, which they have at least as often as their
//! crons.

use super::Engine;
use crate::commands::context::LogWait;
use crate::commands::persistence::LOG_IS_OFF;
use crate::resp::{CommandError, Output, Reply};
use crate::session::{Blocked, Session, SessionFlags, SessionKey};
use crate::shard::blocked::Claim;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// The waits by their numbers, hence by their goals too.
pub(super) type Waits = BTreeMap<u64, Waiter>;

/// A client that waits for the log.
pub(super) struct Waiter {
    session: SessionKey,
    /// What each shard is to have on disk, as soon as that is known.
    goal: Option<Box<[u64]>>,
    /// Whether the server ends then.
    ends: bool,
}

/// As in Redis when it cannot save.
const CANNOT_END: CommandError = CommandError::fixed("ERR Errors trying to SHUTDOWN. Check logs.");

impl Engine {
    /// Answers a session at once or has it wait. Nothing of it may be pending.
    pub(in crate::engine) fn wait_for_log(&mut self, session: &mut Session, key: SessionKey, wait: LogWait) {
        if wait.ends && self.ends_at_once(session) {
            return;
        }
        if !wait.replicas && (!wait.local || self.is_log_safe()) {
            if !session.is_silent() {
                self.tell_log_state(&mut Reply::new(&mut session.output, session.protocol));
            }
            return;
        }
        let (number, silent) = (session.pending.expect(), session.is_silent());
        session.flags.insert(SessionFlags::STALLED);
        let id = self.new_wait();
        if !wait.replicas {
            self.node.persistence.flushes.fetch_add(usize::from(wait.ends), AcqRel);
            self.blocking.for_log.insert(id.number, Waiter { session: key, goal: None, ends: wait.ends });
        }
        let (claim, deadline, shards) = (Claim::default(), wait.deadline, Vec::new());
        let (trying, for_log, unblock) = (false, true, None);
        self.block(session, key, Blocked { id, claim, number, deadline, shards, silent, trying, for_log, unblock });
    }

    /// Ends the server for a client, or refuses to; `false`: its log has to be forced to disk before. One that is not in force
    /// yet does not hold what there is.
    fn ends_at_once(&mut self, session: &mut Session) -> bool {
        let state = &self.node.persistence;
        let incomplete = state.is_incomplete(self.config.appendonly);
        if state.errno() != 0 || incomplete {
            if incomplete {
                tracing::warn!("Writing initial AOF, can't exit");
            }
            Reply::new(&mut session.output, session.protocol).error(&CANNOT_END);
            self.metrics().count_error(CANNOT_END.code());
            return true;
        }
        let ends = !state.in_force.load(Acquire) || self.is_log_safe();
        if ends {
            self.node.request_shutdown();
            session.flags.insert(SessionFlags::CLOSE_AFTER_REPLY);
        }
        ends
    }

    /// A client is gone that waited. What it has asked for happens all the same.
    pub(super) fn forget_log_wait(&mut self, wait: u64) {
        if self.blocking.for_log.remove(&wait).is_some_and(|waiter| waiter.ends) {
            self.node.persistence.flushes.fetch_sub(1, AcqRel);
            self.node.request_shutdown();
        }
    }

    /// What WAITAOF answers now.
    pub(in crate::engine) fn tell_log_state(&self, reply: &mut Reply<'_>) {
        tell_log_state(self.is_log_safe(), reply);
    }

    /// Whether all that has been logged on all shards is on disk.
    fn is_log_safe(&self) -> bool {
        !self.has_log() && self.is_safe(&self.logged_bytes())
    }

    fn is_safe(&self, goal: &[u64]) -> bool {
        let state = &self.node.persistence;
        let mut shards = state.shards.iter().zip(goal);
        state.in_force.load(Acquire) && shards.all(|(shard, goal)| shard.durable.get() >= *goal)
    }

    fn logged_bytes(&self) -> Box<[u64]> {
        self.node.persistence.shards.iter().map(|shard| shard.appended.get()).collect()
    }

    /// This core has made known what the turn has logged: waits and stages that have begun in it get their goals.
    pub fn set_log_goals(&mut self) {
        self.set_stage_goals();
        let new = self.blocking.for_log.last_key_value().is_some_and(|(_, waiter)| waiter.goal.is_none());
        if new {
            let goal = self.logged_bytes();
            let waiters = self.blocking.for_log.values_mut().rev();
            waiters.take_while(|waiter| waiter.goal.is_none()).for_each(|waiter| waiter.goal = Some(goal.clone()));
        }
    }

    /// Ends the waits whose goals are reached, and all of them when there is no log any more.
    pub(in crate::engine) fn end_log_waits(&mut self) {
        if !self.blocking.for_log.is_empty() && self.node.persistence.errno() != 0 {
            self.refuse_to_end();
        }
        while let Some((&number, waiter)) = self.blocking.for_log.first_key_value() {
            let off = !self.config.appendonly;
            if !off && !waiter.goal.as_ref().is_some_and(|goal| self.is_safe(goal)) {
                return;
            }
            let (key, ends) = (waiter.session, waiter.ends);
            self.blocking.for_log.remove(&number);
            if ends {
                self.node.request_shutdown();
            } else {
                self.end_log_wait(key, number, off.then_some(LOG_IS_OFF));
            }
        }
    }

    /// The log cannot be written: nobody ends the server.
    fn refuse_to_end(&mut self) {
        let waits = self.blocking.for_log.iter().filter(|(_, waiter)| waiter.ends);
        let waits: Vec<(u64, SessionKey)> = waits.map(|(&number, waiter)| (number, waiter.session)).collect();
        for (number, key) in waits {
            self.blocking.for_log.remove(&number);
            self.node.persistence.flushes.fetch_sub(1, AcqRel);
            self.end_log_wait(key, number, Some(CANNOT_END));
        }
    }

    fn end_log_wait(&mut self, key: SessionKey, wait: u64, error: Option<CommandError>) {
        let Some(mut session) = self.sessions.take(key) else { return };
        let blocked = session.blocked.as_deref().filter(|blocked| blocked.id.number == wait && blocked.claim.take());
        let silent = blocked.map(|blocked| blocked.silent);
        let protocol = session.protocol;
        let number = silent.and_then(|_| self.end_wait(&mut session, key, None));
        self.sessions.put_back(key, session);
        let (Some(silent), Some(number)) = (silent, number) else { return };
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, protocol);
        match &error {
            Some(error) => {
                reply.error(error);
                self.metrics().count_error(error.code());
            }
            None => tell_log_state(true, &mut reply),
        }
        if silent {
            out.clear();
        }
        self.deliver(key, number, &out.bytes, out.pins);
    }
}

/// What WAITAOF answers: whether the log is on disk, and in how many replicas' logs it is.
fn tell_log_state(safe: bool, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.integer(i64::from(safe));
    reply.integer(0);
}
