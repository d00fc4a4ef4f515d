//! PUBLISH and SPUBLISH: messages to the subscribers here and on other cores, and how many they were.

use super::super::Engine;
use super::super::dispatch::Step;
use super::super::message::{Message, Publication};
use super::super::transaction::Piece;
use super::Exchange;
use crate::limits::{OUTPUT_CHECK_BYTES, PUBLICATIONS_PER_MESSAGE_MAX, SHARED_VALUE_BYTES_MIN};
use crate::resp::{Args, Output, Protocol, Reply};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::ShardId;
use crate::spec::ChannelKind;
use bytes::Bytes;

/// PUBLISH commands whose counts are not complete.
#[derive(Default)]
pub struct Counts {
    slots: Vec<Count>,
    free: Vec<u32>,
}

pub struct Count {
    place: Place,
    /// Cores that have not answered.
    waiting: usize,
    receivers: u32,
}

/// Where a count goes.
#[derive(Clone, Copy)]
enum Place {
    /// It is the reply to a session's request of this number.
    Reply(SessionKey, u32),
    /// It is a part of the reply to EXEC.
    Piece(Piece),
}

/// A message for a session that is being worked on.
pub struct Held {
    session: SessionKey,
    kind: ChannelKind,
    pattern: Option<Bytes>,
    channel: Bytes,
    payload: Bytes,
}

/// What a message says. A small one is copied out of its request only where it has to leave this core.
enum Payload<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl Payload<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Payload::Borrowed(bytes) => bytes,
            Payload::Shared(bytes) => bytes,
        }
    }

    fn shared(&mut self) -> Bytes {
        if let Payload::Borrowed(bytes) = self {
            *self = Payload::Shared(Bytes::copy_from_slice(bytes));
        }
        let Payload::Shared(bytes) = self else { unreachable!("just made") };
        bytes.clone()
    }

    /// Writes the message as a subscriber gets it.
    fn write(&mut self, reply: &mut Reply<'_>, kind: ChannelKind, pattern: Option<&[u8]>, channel: &[u8]) {
        reply.push(3 + usize::from(pattern.is_some()));
        match (pattern, kind) {
            (Some(pattern), _) => {
                reply.bulk(b"pmessage");
                reply.bulk(pattern);
            }
            (None, ChannelKind::Shard) => reply.bulk(b"smessage"),
            (None, _) => reply.bulk(b"message"),
        }
        reply.bulk(channel);
        if self.bytes().len() < SHARED_VALUE_BYTES_MIN {
            reply.bulk(self.bytes());
        } else {
            reply.bulk_shared(&self.shared());
        }
    }
}

impl Counts {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    fn insert(&mut self, count: Count) -> u32 {
        match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = count;
                index
            }
            None => {
                self.slots.push(count);
                (self.slots.len() - 1) as u32
            }
        }
    }
}

impl Engine {
    /// Sends a message to a channel's subscribers on all cores. Nobody waits for their number.
    pub fn publish(&mut self, kind: ChannelKind, channel: &[u8], payload: Bytes) {
        let mut payload = Payload::Shared(payload);
        self.fan_out(kind, channel, &mut payload);
        self.pass_on(kind, channel, &mut payload, None);
    }

    pub(super) fn run_publish(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        kind: ChannelKind,
        args: Args<'_>,
    ) -> Step {
        // Whoever receives a message must see what its client has written before. So the replies to that are awaited;
        // only the counts of earlier publications need not be there.
        if session.pending.waiting() > session.publishing as usize {
            return Step::Wait;
        }
        let (channel, mut payload) = (args.at(1), Payload::Borrowed(args.at(2)));
        let receivers = self.fan_out(kind, channel, &mut payload);
        let silent = session.is_silent();
        let waiting = self.exchange.reached.len();
        let awaited = (waiting > 0 && !silent).then(|| {
            session.publishing += 1;
            let number = session.pending.expect();
            self.exchange.counts.insert(Count { place: Place::Reply(key, number), waiting, receivers })
        });
        if awaited.is_none() && !silent {
            reply_count(session, receivers);
        }
        self.pass_on(kind, channel, &mut payload, awaited);
        self.release_held(session, key);
        Step::Done
    }

    /// PUBLISH in a transaction, whose commands on keys have run. Its count goes to `out`, or later to the place that
    /// `place` leaves there.
    pub(super) fn publish_in_exec(
        &mut self,
        session: &Session,
        kind: ChannelKind,
        args: Args<'_>,
        out: &mut Output,
        place: impl FnOnce(&mut Output) -> Piece,
    ) {
        let (channel, mut payload) = (args.at(1), Payload::Borrowed(args.at(2)));
        let receivers = self.fan_out(kind, channel, &mut payload);
        let waiting = self.exchange.reached.len();
        let mut awaited = None;
        if !session.is_silent() && waiting > 0 {
            let place = Place::Piece(place(out));
            awaited = Some(self.exchange.counts.insert(Count { place, waiting, receivers }));
        } else if !session.is_silent() {
            Reply::new(out, session.protocol).count(receivers as usize);
        }
        self.pass_on(kind, channel, &mut payload, awaited);
    }

    /// Gives a message to this core's subscribers; how many there are. Notes which other cores may want it.
    fn fan_out(&mut self, kind: ChannelKind, channel: &[u8], payload: &mut Payload<'_>) -> u32 {
        let Self { exchange, sessions, told, spare_buffers, .. } = self;
        let Exchange { registry, held, reached, encoded, .. } = exchange;
        let (mut receivers, mut large) = (0, Vec::new());
        reached.clear();
        registry.other_cores(kind, channel, reached);
        for (pattern, subscribers) in registry.matching(kind, channel) {
            receivers += subscribers.len() as u32;
            encoded.iter_mut().for_each(Output::clear);
            for &key in subscribers {
                let Some(session) = sessions.get_mut(key) else {
                    let (channel, payload) = (Bytes::copy_from_slice(channel), payload.shared());
                    held.push(Held { session: key, kind, pattern: pattern.cloned(), channel, payload });
                    continue;
                };
                if !takes_messages(session) {
                    continue;
                }
                let message = &mut encoded[usize::from(session.protocol == Protocol::Resp3)];
                if message.is_empty() {
                    let mut reply = Reply::new(message, session.protocol);
                    payload.write(&mut reply, kind, pattern.map(|pattern| &pattern[..]), channel);
                }
                let protocol = session.protocol;
                let output = session.message_output();
                if output.bytes.capacity() == 0 {
                    output.bytes = spare_buffers.pop().unwrap_or_default();
                }
                Reply::new(output, protocol).append_from(message, 0, message.bytes.len());
                let bytes = output.bytes.len();
                if !session.flags.contains(SessionFlags::DIRTY) {
                    session.flags.insert(SessionFlags::DIRTY);
                    told.push(key);
                }
                if bytes > OUTPUT_CHECK_BYTES {
                    large.push(key);
                }
            }
        }
        // A large payload is not kept longer than its subscribers need it.
        encoded.iter_mut().for_each(Output::clear);
        for key in large {
            self.admit_output(key);
        }
        receivers
    }

    /// Adds a message to those of this turn for the cores that want it.
    fn pass_on(&mut self, kind: ChannelKind, channel: &[u8], payload: &mut Payload<'_>, awaited: Option<u32>) {
        let reached = std::mem::take(&mut self.exchange.reached);
        if !reached.is_empty() {
            let (channel, payload) = (Bytes::copy_from_slice(channel), payload.shared());
            for &core in &reached {
                let publication = Publication { kind, channel: channel.clone(), payload: payload.clone(), awaited };
                self.exchange.filling[core.index()].push(publication);
                if self.exchange.filling[core.index()].len() == PUBLICATIONS_PER_MESSAGE_MAX {
                    // Behind the commands that were given before.
                    self.post_batch(core);
                    self.post_publications(core);
                }
            }
        }
        self.exchange.reached = reached;
    }

    pub(super) fn post_publications(&mut self, core: ShardId) {
        let publications = std::mem::take(&mut self.exchange.filling[core.index()]);
        if !publications.is_empty() {
            self.outgoing.push((core, Message::Publish { from: self.core, publications }));
        }
    }

    /// Gives another core's messages to the subscribers here, and tells it how many received those it asks for.
    pub(in crate::engine) fn take_publications(&mut self, from: ShardId, publications: Vec<Publication>) {
        let mut counts = Vec::new();
        for Publication { kind, channel, payload, awaited } in publications {
            let receivers = self.fan_out(kind, &channel, &mut Payload::Shared(payload));
            counts.extend(awaited.map(|number| (number, receivers)));
        }
        if !counts.is_empty() {
            self.outgoing.push((from, Message::Published(counts)));
        }
    }

    /// Takes another core's counts. What has the last of its counts is answered.
    pub(in crate::engine) fn published(&mut self, counts: &[(u32, u32)]) {
        for &(index, receivers) in counts {
            let count = &mut self.exchange.counts.slots[index as usize];
            count.receivers += receivers;
            count.waiting -= 1;
            if count.waiting > 0 {
                continue;
            }
            let Count { place, receivers, .. } = *count;
            self.exchange.counts.free.push(index);
            let mut out = Output::default();
            Reply::new(&mut out, Protocol::Resp2).count(receivers as usize);
            match place {
                Place::Piece(piece) => self.take_piece(piece, out),
                Place::Reply(key, number) => {
                    if let Some(session) = self.sessions.get_mut(key) {
                        session.publishing -= 1;
                    }
                    self.deliver(key, number, &out.bytes, out.pins);
                }
            }
        }
    }

    /// Gives a session the messages that came while it was being worked on.
    #[inline]
    pub(in crate::engine) fn release_held(&mut self, session: &mut Session, key: SessionKey) {
        if self.exchange.held.is_empty() {
            return;
        }
        let (own, others) = std::mem::take(&mut self.exchange.held).into_iter().partition(|held| held.session == key);
        self.exchange.held = others;
        let own: Vec<Held> = own;
        if takes_messages(session) {
            own.into_iter().for_each(|held| held.write(session));
        }
    }

    /// The same for all sessions, which are in the registry again.
    pub(in crate::engine) fn release_all_held(&mut self) {
        while let Some(key) = self.exchange.held.first().map(|held| held.session) {
            let Some(mut session) = self.sessions.take(key) else {
                self.exchange.held.retain(|held| held.session != key);
                continue;
            };
            self.mark_dirty(&mut session, key);
            self.sessions.put_back(key, session);
        }
    }
}

impl Held {
    fn write(self, session: &mut Session) {
        let protocol = session.protocol;
        let mut reply = Reply::new(session.message_output(), protocol);
        Payload::Shared(self.payload).write(&mut reply, self.kind, self.pattern.as_deref(), &self.channel);
    }
}

/// Answers a PUBLISH that nobody else has to be asked about.
fn reply_count(session: &mut Session, receivers: u32) {
    if session.pending.is_empty() {
        return Reply::new(&mut session.output, session.protocol).count(receivers as usize);
    }
    let mut out = Output::default();
    Reply::new(&mut out, session.protocol).count(receivers as usize);
    session.append_reply(out);
}

/// Whether messages still reach a session: one that ends when it has its replies gets none, though it is counted until then.
fn takes_messages(session: &Session) -> bool {
    !session.flags.intersects(SessionFlags::ENDING)
}
