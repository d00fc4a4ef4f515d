//! SUBSCRIBE and UNSUBSCRIBE of all kinds.

use super::super::Engine;
use crate::resp::{Args, Output, Reply};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::spec::{ChannelKind, ChannelSpec};
use bytes::Bytes;

impl Engine {
    /// Makes subscriptions and confirms them, also to a client that wants no replies. One that has gone while its
    /// transaction was under way subscribes to nothing.
    pub(super) fn run_subscribe(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        channels: ChannelSpec,
        args: Args<'_>,
        out: &mut Output,
    ) {
        if session.flags.contains(SessionFlags::DEPARTED) {
            return;
        }
        let kind = channels.kind;
        let mut reply = Reply::new(out, session.protocol);
        let subscriptions = session.subscriptions.get_or_insert_default();
        for name in channels.names(args) {
            let name = self.exchange.registry.subscribe(kind, name, key);
            confirm(&mut reply, word(kind, ["subscribe", "psubscribe", "ssubscribe"]), Some(&name));
            subscriptions.insert(kind, name);
            reply.count(subscriptions.counted_with(kind));
        }
        session.flags.insert(SessionFlags::SUBSCRIBED);
    }

    pub(super) fn run_unsubscribe(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        channels: ChannelSpec,
        args: Args<'_>,
        out: &mut Output,
    ) {
        let kind = channels.kind;
        let mut subscriptions = session.subscriptions.take().unwrap_or_default();
        let mut names: Vec<Bytes> = channels.names(args).map(Bytes::copy_from_slice).collect();
        if names.is_empty() {
            names.extend(subscriptions.of(kind).iter().cloned());
        }
        let word = word(kind, ["unsubscribe", "punsubscribe", "sunsubscribe"]);
        let mut reply = Reply::new(out, session.protocol);
        if names.is_empty() {
            confirm(&mut reply, word, None);
            reply.count(subscriptions.counted_with(kind));
        }
        for name in &names {
            if subscriptions.remove(kind, name) {
                self.exchange.registry.unsubscribe(kind, name, key);
            }
            confirm(&mut reply, word, Some(name));
            reply.count(subscriptions.counted_with(kind));
        }
        session.flags.set(SessionFlags::SUBSCRIBED, !subscriptions.is_empty());
        session.subscriptions = Some(subscriptions).filter(|subscriptions| !subscriptions.is_empty());
    }

    /// Ends all subscriptions of a session without a word.
    pub(in crate::engine) fn end_subscriptions(&mut self, session: &mut Session, key: SessionKey) {
        let Some(subscriptions) = session.subscriptions.take() else { return };
        session.flags.remove(SessionFlags::SUBSCRIBED);
        for kind in ChannelKind::ALL {
            for name in subscriptions.of(kind) {
                self.exchange.registry.unsubscribe(kind, name, key);
            }
        }
    }
}

/// The word of a kind, out of those of all kinds.
fn word(kind: ChannelKind, [channel, pattern, shard]: [&'static str; 3]) -> &'static str {
    match kind {
        ChannelKind::Channel => channel,
        ChannelKind::Pattern => pattern,
        ChannelKind::Shard => shard,
    }
}

/// A confirmation, without the number at its end.
fn confirm(reply: &mut Reply<'_>, word: &str, name: Option<&[u8]>) {
    reply.push(3);
    reply.bulk(word.as_bytes());
    reply.bulk_or_null(name);
}
