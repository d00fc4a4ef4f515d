//! MONITOR: a line for every command that a client of this core has run, for the monitors of all cores. Each core knows how
//! many every core has; while nobody monitors, nothing is written.
//!
//! A line is written by the client's core, when the command has run or has been sent to the core that runs it. All lines of a
//! turn leave together, behind the replies of that turn, to the cores that have monitors. So a monitor sees each core's
//! commands in the order in which that core's clients have sent them; those of two cores come in any order.

use super::Engine;
use super::message::Message;
use crate::commands::Entry;
use crate::commands::redaction::redacted;
use crate::limits::MONITOR_BYTES_MAX;
use crate::resp::Args;
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::ShardId;
use crate::spec::Flags;
use crate::stdx::words;
use bytes::Bytes;
use std::io::Write;

/// What a core knows of monitors.
pub(super) struct Monitors {
    /// Those among its own clients.
    own: Vec<SessionKey>,
    /// How many each core has.
    pub on: Vec<u32>,
    /// The lines of this turn.
    lines: Vec<u8>,
    /// Whether there were more than may wait.
    too_many: bool,
}

impl Monitors {
    pub fn new(cores: usize) -> Self {
        Self { own: Vec::new(), on: vec![0; cores], lines: Vec::new(), too_many: false }
    }

    /// Whether there is one on any core.
    pub fn any(&self) -> bool {
        self.on.iter().any(|count| *count > 0)
    }
}

impl Engine {
    /// Writes the line of a command.
    pub(super) fn show(&mut self, session: &Session, entry: &Entry, args: Args<'_>) {
        let hidden = entry.row.spec.flags.intersects(Flags::ADMIN | Flags::SKIP_MONITOR);
        if !hidden && self.monitors.any() {
            self.write_line(session, redacted(entry, args));
        }
    }

    /// The same for the EXEC that ends a session's transaction.
    pub(super) fn show_exec(&mut self, session: &Session) {
        if self.monitors.any() {
            let sent_as = session.transaction.as_deref().map_or(*b"EXEC", |transaction| transaction.exec_sent_as);
            self.write_line(session, [&sent_as[..]].into_iter());
        }
    }

    #[cold]
    fn write_line<'a>(&mut self, session: &Session, arguments: impl Iterator<Item = &'a [u8]>) {
        const INFALLIBLE: &str = "writing to a Vec does not fail";
        let time = (self.node.wall_clock)();
        let address = &session.identity.address[..];
        let address = match address.strip_suffix(":0") {
            Some(path) if session.flags.contains(SessionFlags::UNIX_SOCKET) => format!("unix:{path}"),
            _ => address.to_string(),
        };
        let lines = &mut self.monitors.lines;
        let (seconds, microseconds, database) = (time.as_secs(), time.subsec_micros(), session.database);
        write!(lines, "+{seconds}.{microseconds:06} [{database} {address}]").expect(INFALLIBLE);
        for argument in arguments {
            // Escaping makes bytes longer, never shorter.
            if lines.len() + argument.len() > MONITOR_BYTES_MAX as usize {
                self.monitors.too_many = true;
                break;
            }
            write!(lines, " {}", words::quote(argument)).expect(INFALLIBLE);
        }
        lines.extend_from_slice(b"\r\n");
        if self.monitors.too_many {
            // Those who would have to be told lose their connections instead: nobody can see that lines are missing.
            self.monitors.lines = Vec::new();
        }
    }

    /// Gives the lines of this turn to the monitors here and the cores that have others.
    pub(super) fn pass_on_lines(&mut self) {
        if self.monitors.lines.is_empty() && !self.monitors.too_many {
            return;
        }
        let too_many = std::mem::take(&mut self.monitors.too_many);
        let lines = Some(Bytes::from(std::mem::take(&mut self.monitors.lines))).filter(|_| !too_many);
        for core in self.others().filter(|core| self.monitors.on[core.index()] > 0) {
            self.outgoing.push((core, Message::Monitored { lines: lines.clone() }));
        }
        self.take_lines(lines.as_deref());
    }

    /// Gives lines to the monitors among this core's clients; without lines there were too many, and they are closed.
    pub(super) fn take_lines(&mut self, lines: Option<&[u8]>) {
        for key in self.monitors.own.clone() {
            let Some(mut session) = self.sessions.take(key) else { continue };
            match lines {
                _ if session.flags.intersects(SessionFlags::ENDING) => {}
                Some(_) if session.is_silent() => {}
                Some(lines) => {
                    session.message_output().bytes.extend_from_slice(lines);
                    self.mark_dirty(&mut session, key);
                }
                None => self.close_over_limit(&mut session, key),
            }
            self.sessions.put_back(key, session);
        }
    }

    /// Takes notice of a session that may have become a monitor.
    pub(super) fn notice_monitor(&mut self, session: &mut Session, key: SessionKey) {
        if !session.flags.contains(SessionFlags::MONITOR) || self.monitors.own.contains(&key) {
            return;
        }
        self.monitors.own.push(key);
        if session.flags.contains(SessionFlags::DEPARTED) {
            self.end_monitoring(session, key);
        }
    }

    /// A session is a monitor no more.
    pub(super) fn end_monitoring(&mut self, session: &mut Session, key: SessionKey) {
        if !session.flags.contains(SessionFlags::MONITOR) {
            return;
        }
        session.flags.remove(SessionFlags::MONITOR);
        self.monitors.own.retain(|own| *own != key);
        for core in self.others() {
            self.outgoing.push((core, Message::MonitorLeft { from: self.core }));
        }
        self.monitor_left(self.core);
    }

    /// A core has a monitor less.
    pub(super) fn monitor_left(&mut self, core: ShardId) {
        self.monitors.on[core.index()] -= 1;
        self.update_attention();
    }
}
