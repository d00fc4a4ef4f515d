//! Publish/subscribe: publications carried to the cores that want them and to the sessions there.
//!
//! A SUBSCRIBE is made and confirmed at once, and all cores see that this one wants the name: no message can come before
//! the confirmation, and none is missing that is published after it. UNSUBSCRIBE waits for nobody either: what is still on
//! its way finds no subscriber.
//!
//! A PUBLISH gives its message to the subscribers here at once. Other cores that want it get all publications of a turn
//! in one message, in order, and answer with the counts; the session goes on with its pipeline meanwhile. Messages
//! between two cores keep their order, so all messages of one publisher reach every subscriber in order.
//!
//! A transaction publishes when its commands on keys have run; counts of other cores are put into their places of the
//! reply, and messages to the client itself leave behind that.

mod publish;
mod subscribe;

use super::Engine;
use super::dispatch::Step;
use super::message::Publication;
use super::transaction::Piece;
use crate::commands::{Entry, Handler};
use crate::pubsub::{Interest, PubSub};
use crate::resp::{Args, CommandError, Output, Protocol};
use crate::session::{Session, SessionKey};
use crate::shard::ShardId;
use crate::spec::{ChannelAction, ChannelKind, ChannelSpec};
use publish::{Counts, Held};
use std::sync::Arc;

/// What a core keeps for publish/subscribe.
pub(super) struct Exchange {
    /// Who subscribes to what.
    pub registry: PubSub,
    counts: Counts,
    /// By core, the publications of this turn.
    filling: Vec<Vec<Publication>>,
    /// Messages for sessions that are being worked on, until their command is answered.
    held: Vec<Held>,
    /// The cores that the latest publication goes to; used again and again.
    reached: Vec<ShardId>,
    /// The latest message as it is sent in RESP2 and RESP3; used again and again.
    encoded: [Output; 2],
}

impl Exchange {
    pub fn new(core: ShardId, cores: usize, interest: Arc<Interest>) -> Self {
        Self {
            registry: PubSub::new(core, interest),
            counts: Counts::default(),
            filling: (0..cores).map(|_| Vec::new()).collect(),
            held: Vec::new(),
            reached: Vec::new(),
            encoded: Default::default(),
        }
    }

    /// Whether answers of other cores are on their way.
    pub fn awaits_others(&self) -> bool {
        !self.counts.is_empty()
    }
}

/// The error of a command that a RESP2 client may not send while it has subscriptions: it could not tell replies from
/// messages.
pub(super) fn check_allowed(session: &Session, entry: &Entry) -> Result<(), CommandError> {
    let allowed = match entry.row.handler {
        Handler::Channels(channels) => channels.action != ChannelAction::Publish,
        _ => matches!(entry.row.spec.name, "ping" | "quit" | "reset"),
    };
    if allowed || session.protocol == Protocol::Resp3 {
        return Ok(());
    }
    Err(CommandError::text(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        entry.row.spec.name
    )))
}

/// Whether a command publishes: a pause of writes holds it back, because replicas get its messages too.
pub(super) fn publishes(entry: &Entry) -> bool {
    matches!(entry.row.handler, Handler::Channels(channels) if channels.action == ChannelAction::Publish)
}

impl Engine {
    /// Runs a command on channels.
    pub(super) fn run_on_channels(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        channels: ChannelSpec,
        args: Args<'_>,
    ) -> Step {
        match channels.action {
            ChannelAction::Publish => return self.run_publish(session, key, channels.kind, args),
            // They come after everything asked before.
            _ if !session.pending.is_empty() => return Step::Wait,
            action => {
                let mut out = std::mem::take(&mut session.output);
                match action {
                    ChannelAction::Subscribe => self.run_subscribe(session, key, channels, args, &mut out),
                    _ => self.run_unsubscribe(session, key, channels, args, &mut out),
                }
                session.output = out;
            }
        }
        Step::Done
    }

    /// Runs a command on channels of a transaction. `place` leaves a place in the output for a count that other cores
    /// have a part in.
    pub(super) fn run_on_channels_in_exec(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &Entry,
        args: Args<'_>,
        out: &mut Output,
        place: impl FnOnce(&mut Output) -> Piece,
    ) {
        let Handler::Channels(channels) = entry.row.handler else { unreachable!("the caller has looked") };
        match (channels.action, channels.kind) {
            (ChannelAction::Publish, kind) => self.publish_in_exec(session, kind, args, out, place),
            (ChannelAction::Subscribe, ChannelKind::Shard) => {
                let error = CommandError::fixed("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
                let mark = out.mark();
                self.fail(entry, &error, session.protocol, out, mark);
                if session.is_silent() {
                    out.truncate(mark);
                }
            }
            (ChannelAction::Subscribe, _) => self.run_subscribe(session, key, channels, args, out),
            (ChannelAction::Unsubscribe, _) => self.run_unsubscribe(session, key, channels, args, out),
        }
    }

    /// Posts what this turn has to tell the other cores: its publications, behind its commands.
    pub(super) fn post_exchange(&mut self) {
        self.release_all_held();
        for core in 0..self.exchange.filling.len() {
            self.post_publications(ShardId(core as u16));
        }
    }
}
