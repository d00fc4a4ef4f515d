//! SUBSCRIBE and UNSUBSCRIBE of all kinds, and what other cores' subscribers want.

use super::super::Engine;
use super::super::message::Message;
use super::Exchange;
use super::subscribes_in_exec;
use crate::commands::Handler;
use crate::pubsub::Announcement;
use crate::resp::{Args, Output, Reply};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::ShardId;
use crate::spec::{ChannelKind, ChannelSpec};
use bytes::Bytes;

/// A SUBSCRIBE that waits until the other cores have heard of it.
pub struct Subscribing {
    /// The announcement that all must have heard.
    announcement: u64,
    session: SessionKey,
    /// The request's number in its session.
    number: u32,
    kind: ChannelKind,
    names: Vec<Bytes>,
}

impl Engine {
    pub(super) fn run_subscribe(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        channels: ChannelSpec,
        args: Args<'_>,
    ) {
        let kind = channels.kind;
        let (mut names, mut announcement) = (Vec::with_capacity(args.len()), 0);
        for name in channels.names(args) {
            let (name, announced) = self.exchange.registry.expect(kind, name);
            names.push(name);
            announcement = announcement.max(announced);
        }
        if self.exchange.registry.is_settled(announcement) {
            let mut out = std::mem::take(&mut session.output);
            self.subscribe(session, key, kind, &names, &mut out);
            session.output = out;
            return;
        }
        let number = session.pending.expect();
        session.flags.insert(SessionFlags::STALLED);
        self.exchange.subscribing.push(Subscribing { announcement, session: key, number, kind, names });
    }

    /// Makes subscriptions that were expected and confirms them, also to a client that wants no replies.
    fn subscribe(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        kind: ChannelKind,
        names: &[Bytes],
        out: &mut Output,
    ) {
        let mut reply = Reply::new(out, session.protocol);
        let subscriptions = session.subscriptions.get_or_insert_default();
        for name in names {
            self.exchange.registry.subscribe(kind, name, key);
            subscriptions.insert(kind, name.clone());
            confirm(&mut reply, word(kind, ["subscribe", "psubscribe", "ssubscribe"]), Some(name));
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
        self.publish_interest();
    }

    /// The session at `key` is gone. A SUBSCRIBE that it waits for is given up when the other cores have heard of it.
    pub(in crate::engine) fn forget_subscriber(&mut self, key: SessionKey) {
        let Some(mut session) = self.sessions.take(key) else { return };
        self.end_subscriptions(&mut session, key);
        self.sessions.put_back(key, session);
    }

    /// Takes what another core's subscribers want.
    pub(in crate::engine) fn take_interest(&mut self, from: ShardId, announcement: &Announcement) {
        self.exchange.registry.hear(from, &announcement.changes);
        self.outgoing.push((from, Message::InterestHeard { from: self.core, number: announcement.number }));
        self.publish_interest();
    }

    /// Another core has heard an announcement: subscriptions are made that have waited for it.
    pub(in crate::engine) fn interest_heard(&mut self, from: ShardId, number: u64) {
        if !self.exchange.registry.heard(from, number) {
            return;
        }
        let waiting = std::mem::take(&mut self.exchange.subscribing);
        for subscribing in waiting {
            if self.exchange.registry.is_settled(subscribing.announcement) {
                self.finish_subscribe(subscribing);
            } else {
                self.exchange.subscribing.push(subscribing);
            }
        }
        let Self { exchange: Exchange { registry, announcing, .. }, resumable, .. } = self;
        announcing.retain(|&(announcement, key)| {
            let settled = registry.is_settled(announcement);
            resumable.extend(settled.then_some(key));
            !settled
        });
        self.publish_interest();
    }

    /// Announces what a transaction will subscribe to. Whether all cores have heard of it; if not, EXEC is tried again
    /// when they have.
    pub(in crate::engine) fn announce_for_exec(&mut self, session: &mut Session, key: SessionKey) -> bool {
        let transaction = session.transaction.as_deref_mut().expect("MULTI has made it");
        if !transaction.subscribes {
            return true;
        }
        if transaction.expected.is_empty() {
            transaction.announcement = 0;
            for (command, args) in transaction.queue.iter() {
                let entry = self.table.get(command);
                let Handler::Channels(channels) = entry.row.handler else { continue };
                for name in channels.names(args).filter(|_| subscribes_in_exec(entry)) {
                    let (name, announced) = self.exchange.registry.expect(channels.kind, name);
                    transaction.expected.push((channels.kind, name));
                    transaction.announcement = transaction.announcement.max(announced);
                }
            }
        }
        let announcement = transaction.announcement;
        let settled = self.exchange.registry.is_settled(announcement);
        if !settled {
            self.exchange.announcing.push((announcement, key));
        }
        self.publish_interest();
        settled
    }

    /// Gives up what EXEC has announced: the transaction has subscribed, or never will.
    pub(in crate::engine) fn end_announced(&mut self, session: &mut Session) {
        let Some(transaction) = session.transaction.as_deref_mut() else { return };
        if transaction.expected.is_empty() {
            return;
        }
        for (kind, name) in std::mem::take(&mut transaction.expected) {
            self.exchange.registry.give_up(kind, &name);
        }
        self.publish_interest();
    }

    /// SUBSCRIBE in a transaction: EXEC has announced the names, so it need not wait. A client that has gone meanwhile
    /// subscribes to nothing.
    pub(super) fn subscribe_in_exec(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        channels: ChannelSpec,
        args: Args<'_>,
        out: &mut Output,
    ) {
        if session.flags.contains(SessionFlags::ZOMBIE) {
            return;
        }
        let registry = &mut self.exchange.registry;
        let names: Vec<Bytes> = channels.names(args).map(|name| registry.expect(channels.kind, name).0).collect();
        self.subscribe(session, key, channels.kind, &names, out);
    }

    fn finish_subscribe(&mut self, Subscribing { session: key, number, kind, names, .. }: Subscribing) {
        let mut out = Output::default();
        let mut session = self.sessions.take(key).expect("a session stays while it waits for a reply");
        if session.flags.contains(SessionFlags::ZOMBIE) {
            names.iter().for_each(|name| self.exchange.registry.give_up(kind, name));
        } else {
            self.subscribe(&mut session, key, kind, &names, &mut out);
        }
        self.sessions.put_back(key, session);
        self.deliver(key, number, &out.bytes, out.pins);
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
