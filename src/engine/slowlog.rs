//! The slow log: what is noted of commands that took long. The times are those that the command statistics measure.
//!
//! An entry names the client, which only the client's core knows. Another core that has run a command for it sends what it
//! has measured there, in front of the reply. Of a command in parts the longest one counts: so long a core was held up.

use super::Engine;
use super::message::{Message, Ticket};
use super::operation::Work;
use crate::commands::redaction::redacted;
use crate::commands::{Entry, Handler};
use crate::metrics::slowlog::{SlowCommand, shown};
use crate::resp::Args;
use crate::session::{Identity, Session, SessionFlags, SessionKey};
use crate::shard::ShardId;
use crate::spec::Flags;

/// A command, or a part of one, that took long on another core than its client's.
pub struct Slow {
    /// Whose it is.
    pub ticket: Ticket,
    /// How long it took.
    pub nanoseconds: u64,
    /// The command as the log shows it; empty for a part, as its core knows the whole.
    pub arguments: Vec<Vec<u8>>,
}

/// What is slow, by the directives: nanoseconds from which on a command is; `u64::MAX`: none is.
pub(super) fn threshold(config: &crate::config::Config) -> u64 {
    match u64::try_from(config.slowlog_log_slower_than) {
        Ok(microseconds) if config.slowlog_max_len > 0 => microseconds.saturating_mul(1000),
        _ => u64::MAX,
    }
}

impl Engine {
    /// Decides anew from which time on somebody wants to know of a command.
    pub(super) fn update_attention(&mut self) {
        self.slow_nanoseconds = threshold(&self.config);
        self.attention_nanoseconds = if self.monitors.any() { 0 } else { self.slow_nanoseconds };
    }

    /// Looks at a command that a session has run, or sent on its way: `nanoseconds` is none then. `in_multi`: it did so
    /// between MULTI and the end of the transaction.
    #[cold]
    pub(super) fn observe(
        &mut self,
        session: &Session,
        entry: &Entry,
        args: Args<'_>,
        nanoseconds: Option<u64>,
        in_multi: bool,
    ) {
        // What is under way is noted at its end. Subscribing and WATCH only wait for others to hear of it.
        let only_told = matches!(entry.row.handler, Handler::Channels(_)) || entry.row.spec.name == "watch";
        let goes_on = session.flags.contains(SessionFlags::STALLED) && !only_told;
        if let Some(nanoseconds) = nanoseconds.filter(|_| !goes_on) {
            self.log_if_slow(&session.identity, entry, args, nanoseconds);
        }
        // A transaction is shown when it has run, its EXEC last.
        if !(in_multi && entry.row.spec.name == "exec") {
            self.show(session, entry, args);
        }
    }

    /// Logs a command of a client that took this long, if that is too long.
    #[inline]
    pub(super) fn log_if_slow(&self, client: &Identity, entry: &Entry, args: Args<'_>, nanoseconds: u64) {
        if nanoseconds >= self.slow_nanoseconds && !entry.row.spec.flags.contains(Flags::SKIP_SLOWLOG) {
            self.log_slow(client, shown(redacted(entry, args)), nanoseconds);
        }
    }

    #[cold]
    fn log_slow(&self, client: &Identity, arguments: Vec<Vec<u8>>, nanoseconds: u64) {
        let command = SlowCommand {
            id: 0,
            at_seconds: self.now / 1000,
            microseconds: nanoseconds / 1000,
            arguments,
            address: client.address.clone(),
            name: client.name.clone(),
        };
        self.node.slow_log.push(command, self.config.slowlog_max_len);
    }

    /// The same for a session that is in the registry.
    pub(super) fn log_if_slow_of(&mut self, key: SessionKey, entry: &Entry, args: Args<'_>, nanoseconds: u64) {
        if nanoseconds >= self.slow_nanoseconds
            && let Some(session) = self.sessions.take(key)
        {
            self.log_if_slow(&session.identity, entry, args, nanoseconds);
            self.sessions.put_back(key, session);
        }
    }

    /// Tells a client's core of a command that this one has run for it, if that took too long. It hears of it before it has
    /// the reply.
    #[inline]
    pub(super) fn note_if_slow(
        &mut self,
        from: ShardId,
        ticket: Ticket,
        entry: &Entry,
        args: Args<'_>,
        nanoseconds: u64,
    ) {
        if nanoseconds >= self.slow_nanoseconds && !entry.row.spec.flags.contains(Flags::SKIP_SLOWLOG) {
            self.note_slow(from, Slow { ticket, nanoseconds, arguments: shown(redacted(entry, args)) });
        }
    }

    /// The same for a part of a command.
    #[inline]
    pub(super) fn note_slow_part(&mut self, from: ShardId, ticket: Ticket, nanoseconds: u64) {
        if nanoseconds >= self.slow_nanoseconds {
            self.note_slow(from, Slow { ticket, nanoseconds, arguments: Vec::new() });
        }
    }

    #[cold]
    fn note_slow(&mut self, from: ShardId, slow: Slow) {
        if from == self.core {
            return self.take_slow(slow);
        }
        match self.outgoing.last_mut() {
            Some((to, Message::Slow(list))) if *to == from => list.push(slow),
            _ => self.outgoing.push((from, Message::Slow(vec![slow]))),
        }
    }

    /// Takes what another core, or this one's shard, has measured of a command of this core's client.
    pub(super) fn take_slow(&mut self, Slow { ticket, nanoseconds, arguments }: Slow) {
        if let Some(index) = ticket.operation() {
            let operation = self.operations.get_mut(index);
            let longest = match &mut operation.work {
                Work::Split(split) => &mut split.commands[ticket.number as usize].longest_nanoseconds,
                _ => &mut operation.longest_nanoseconds,
            };
            *longest = nanoseconds.max(*longest);
        } else if let Some(session) = self.sessions.take(SessionKey(ticket.owner)) {
            self.log_slow(&session.identity, arguments, nanoseconds);
            self.sessions.put_back(SessionKey(ticket.owner), session);
        }
    }

    /// Nanoseconds since the clock showed `started`.
    pub(super) fn nanoseconds_since(&self, started: u64) -> u64 {
        self.clock.delta_as_nanos(started, self.clock.raw())
    }
}
