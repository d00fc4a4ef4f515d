//! Publish/subscribe: subscriptions announced to the other cores, publications carried to the cores that want them and to
//! the sessions there.
//!
//! A SUBSCRIBE that is the first of its core for a name waits until every core has heard of it, and only then is made and
//! confirmed; its session stands still meanwhile. So no message can come before its confirmation, and none is missing
//! that was published after it. UNSUBSCRIBE waits for nobody: what is still on its way finds no subscriber.
//!
//! A PUBLISH gives its message to the subscribers here at once. Other cores that want it get all publications of a turn
//! in one message, in order, and answer with the counts; the session goes on with its pipeline meanwhile. Messages
//! between two cores keep their order, so all messages of one publisher reach every subscriber in order.
//!
//! In a transaction nothing may wait between two commands: EXEC announces all that the transaction will subscribe to, and
//! runs when every core has heard of it. It publishes when the commands on keys have run; counts of other cores are put
//! into their places of the reply, and messages to the client itself leave behind that.

mod publish;
mod subscribe;

use super::Engine;
use super::dispatch::Step;
use super::message::{Message, Publication};
use super::transaction::Piece;
use crate::commands::{Entry, Handler};
use crate::pubsub::PubSub;
use crate::resp::{Args, CommandError, Output, Protocol};
use crate::session::{Session, SessionKey};
use crate::shard::ShardId;
use crate::spec::{ChannelAction, ChannelKind, ChannelSpec};
use publish::{Counts, Held};
use subscribe::Subscribing;

/// What a core keeps for publish/subscribe.
pub(super) struct Exchange {
    /// Who subscribes to what.
    pub registry: PubSub,
    /// SUBSCRIBE commands that wait until the other cores have heard of them; at most one of each session.
    subscribing: Vec<Subscribing>,
    /// Sessions whose EXEC waits until the other cores have heard an announcement; at most one of each session.
    announcing: Vec<(u64, SessionKey)>,
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
    pub fn new(core: ShardId, cores: usize) -> Self {
        Self {
            registry: PubSub::new(core, cores),
            subscribing: Vec::new(),
            announcing: Vec::new(),
            counts: Counts::default(),
            filling: (0..cores).map(|_| Vec::new()).collect(),
            held: Vec::new(),
            reached: Vec::new(),
            encoded: Default::default(),
        }
    }

    /// Whether answers of other cores are on their way.
    pub fn awaits_others(&self) -> bool {
        !self.subscribing.is_empty() || !self.announcing.is_empty() || !self.counts.is_empty()
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

/// Whether a command subscribes where it stands in a transaction: SSUBSCRIBE is refused there.
pub(super) fn subscribes_in_exec(entry: &Entry) -> bool {
    matches!(entry.row.handler, Handler::Channels(channels)
        if channels.action == ChannelAction::Subscribe && channels.kind != ChannelKind::Shard)
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
            ChannelAction::Subscribe => self.run_subscribe(session, key, channels, args),
            ChannelAction::Unsubscribe => {
                let mut out = std::mem::take(&mut session.output);
                self.run_unsubscribe(session, key, channels, args, &mut out);
                session.output = out;
            }
        }
        self.publish_interest();
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
            (ChannelAction::Subscribe, _) => self.subscribe_in_exec(session, key, channels, args, out),
            (ChannelAction::Unsubscribe, _) => self.run_unsubscribe(session, key, channels, args, out),
        }
    }

    /// Posts what this turn has to tell the other cores: its interest, and its publications behind its commands.
    pub(super) fn post_exchange(&mut self) {
        self.release_all_held();
        if let Some(announcement) = self.exchange.registry.take_announcement() {
            for core in self.others() {
                let announcement = announcement.clone();
                self.outgoing.push((core, Message::Interest { from: self.core, announcement }));
            }
        }
        for core in 0..self.exchange.filling.len() {
            self.post_publications(ShardId(core as u16));
        }
    }

    /// Makes the numbers of names with subscribers visible to all cores.
    fn publish_interest(&self) {
        let (metrics, registry) = (self.metrics(), &self.exchange.registry);
        metrics.pubsub_channels.set(registry.len(ChannelKind::Channel) as u64);
        metrics.pubsub_patterns.set(registry.len(ChannelKind::Pattern) as u64);
        metrics.pubsub_shard_channels.set(registry.len(ChannelKind::Shard) as u64);
    }
}
