//! Requests that every core answers with a part: CLIENT LIST, DEBUG SLEEP ...

use super::Engine;
use super::message::{Call, Message, Ticket};
use super::operation::{Operation, Request, Work};
use super::transaction::Piece;
use crate::commands::{Entry, EveryCore, SessionContext};
use crate::resp::{Args, Output, Reply};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::ShardId;
use std::any::Any;
use std::sync::Arc;

impl Engine {
    /// Sends a request to every core; its own part runs when the session is back in the registry.
    pub(super) fn start_every_core(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        args: Args<'_>,
        request: Arc<dyn EveryCore>,
    ) {
        let (number, call) = (session.pending.expect(), Self::call(session, entry));
        session.flags.insert(SessionFlags::STALLED);
        self.ask_every_core(key, entry, call, Request::of(args), request, Ok(number));
    }

    /// Sends a request to every core. Its reply is that to the session's request of a number, or a piece of the reply to
    /// a transaction.
    pub(super) fn ask_every_core(
        &mut self,
        key: SessionKey,
        entry: &'static Entry,
        call: Call,
        command: Request,
        request: Arc<dyn EveryCore>,
        place: Result<u32, Piece>,
    ) {
        let cores = self.router.shards();
        let parts = (0..cores).map(|_| None).collect();
        let work = Work::Every { request: request.clone(), command, parts, piece: place.err() };
        let index = self
            .operations
            .insert(Operation { waiting: cores, ..Operation::new(key, place.unwrap_or(0), entry, call, work) });
        for core in 0..cores {
            let ticket = Ticket::of_part(index, core);
            if core == self.core.index() {
                self.own_parts.push_back((ticket, request.clone()));
            } else {
                self.post(ShardId(core as u16), Message::Every { from: self.core, ticket, request: request.clone() });
            }
        }
    }

    /// Takes one core's part; with the last of them the request writes its reply.
    pub(super) fn take_part(&mut self, ticket: Ticket, part: Box<dyn Any + Send>) {
        let index = ticket.operation().expect("parts belong to operations");
        let operation = self.operations.get_mut(index);
        let Work::Every { parts, .. } = &mut operation.work else {
            unreachable!("only requests to every core have parts")
        };
        parts[ticket.number as usize] = Some(part);
        operation.waiting -= 1;
        if operation.waiting > 0 {
            return;
        }
        let mut operation = self.operations.remove(index);
        let Work::Every { request, parts, piece, .. } = &mut operation.work else { unreachable!("just seen") };
        let piece = *piece;
        let parts = parts.drain(..).map(|part| part.expect("all parts are there")).collect();
        let mut out = Output::default();
        if let Some(mut session) = self.sessions.take(operation.session) {
            request.finish(
                parts,
                &mut SessionContext {
                    reply: Reply::new(&mut out, session.protocol),
                    session: &mut session,
                    node: &self.node,
                    config: &self.config,
                    core: self.core,
                    now: self.now,
                    random: &mut self.random,
                },
            );
            self.notice_monitor(&mut session, operation.session);
            self.sessions.put_back(operation.session, session);
        }
        if let Work::Every { command, .. } = &operation.work {
            let (session, nanoseconds) = (operation.session, operation.longest_nanoseconds);
            self.log_if_slow_of(session, operation.entry, command.args(), nanoseconds);
        }
        match piece {
            Some(piece) if operation.call.no_reply => self.take_piece(piece, Output::default()),
            Some(piece) => self.take_piece(piece, out),
            None => self.finish(&operation, out),
        }
    }
}
