//! Client tracking: invalidations from the shards that own keys to the cores of the clients that track them, and on to the
//! clients or those that they redirect to.
//!
//! A read is noted by the shard that runs it, so a client is told of every change that comes after what it has read.
//! Notes to other cores leave at the end of the turn, behind all replies of that turn, and a client gets an invalidation
//! behind the replies it waits for: what it has read can never come after the word that it is old. A turn can note no
//! more than what its commands have changed, so its notes have no bound of their own.

use super::Engine;
use super::message::{Message, Note, Stale};
use crate::commands::Entry;
use crate::limits::TRACKING_SWEEP_KEYS;
use crate::pubsub::{OwnInterest, Topic};
use crate::resp::{Args, Output, Protocol, Reply};
use crate::session::tracking::{Mode, Target, Tracking};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::tracking::{ChangedKeys, SharedKey, Tracker};
use crate::shard::{Act, Effect, ShardId};
use crate::spec::{Flags, KeyFlags};
use crate::stdx::prefix::prefixes_of;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{self, Unbounded};
use std::sync::Arc;

/// The channel on which clients that speak RESP2 hear of invalidations.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// What a core keeps for its clients that track keys.
pub(super) struct Trackers {
    /// These clients, by id.
    clients: BTreeMap<u64, SessionKey>,
    /// Those in broadcast mode, by prefix.
    prefixes: BTreeMap<Bytes, BTreeSet<u64>>,
    /// What the other cores see of these prefixes.
    interest: OwnInterest,
    /// Whether a client of any core is in broadcast mode, as this core has noticed.
    broadcasts: bool,
    /// Notes of this turn, by the core they are for. Those for this core wait until no session is being worked on but the
    /// one that they are handed out beside.
    notes: Vec<Vec<Note>>,
    /// Clients that have gone since the other cores were told.
    departed: Vec<Tracker>,
}

impl Trackers {
    pub fn new(cores: usize) -> Self {
        let notes = (0..cores).map(|_| Vec::new()).collect();
        let (clients, prefixes, interest) = Default::default();
        Self { clients, prefixes, interest, broadcasts: false, notes, departed: Vec::new() }
    }

    /// A client has gone for good.
    pub fn depart(&mut self, tracker: Tracker) {
        self.departed.push(tracker);
    }

    /// Whether a client of this core tracks keys, or one of any core in broadcast mode.
    pub fn any(&self) -> bool {
        !self.clients.is_empty() || self.broadcasts
    }

    /// Keys that have changed under each of the prefixes that clients of this core track.
    fn by_prefix(&self, keys: ChangedKeys) -> BTreeMap<Bytes, ChangedKeys> {
        let mut found: BTreeMap<Bytes, ChangedKeys> = BTreeMap::new();
        let last = |end: Bound<&[u8]>| {
            self.prefixes.range::<[u8], _>((Unbounded, end)).next_back().map(|(prefix, _)| &prefix[..])
        };
        for (key, by) in keys {
            for prefix in prefixes_of(&key, last) {
                let (prefix, _) = self.prefixes.get_key_value(prefix).expect("just found");
                found.entry(prefix.clone()).or_default().push((key.clone(), by));
            }
        }
        found
    }
}

/// The session that is being worked on, out of the registry.
type InHand<'a> = Option<(&'a mut Session, SessionKey)>;

/// The shard's side.
impl Engine {
    /// Lists the keys that a command has read, for its client.
    pub(super) fn list_reads(&mut self, entry: &Entry, database: u16, tracker: Tracker, args: Args<'_>) {
        if !entry.row.spec.flags.contains(Flags::READONLY) {
            return;
        }
        let list = &mut self.shard.effects.list;
        for keys in entry.row.spec.keys.iter().filter(|keys| !keys.flags.contains(KeyFlags::NOT_KEY)) {
            // Arguments that do not fit name no keys.
            let _ = keys.each(args, |index| {
                list.push(Effect { database, act: Act::Read { key: args.at(index).into(), tracker, lent: false } });
            });
        }
    }

    /// Notes that a client has read a key of this shard.
    pub(super) fn remember(&mut self, key: &[u8], tracker: Tracker) {
        let first = self.shard.tracking.is_idle();
        self.shard.tracking.remember(key, tracker);
        if first {
            self.update_wanted();
        }
        self.bound_tracked_keys();
    }

    /// A client has read a key whose value was lent. If that has expired here meanwhile, nobody was told for this reader.
    pub(super) fn tell_if_gone(&mut self, database: u16, key: &[u8], tracker: Tracker) {
        let db = &mut self.shard.databases[usize::from(database)];
        db.set_now(self.now);
        if !db.contains(key) {
            self.note_stale(&key.into(), &[tracker], Tracker::NONE);
        }
    }

    /// Forgets random keys while there are too many; their readers are told.
    fn bound_tracked_keys(&mut self) {
        let keys_max = self.config.tracking_table_max_keys.div_ceil(self.router.shards() as u64);
        while keys_max > 0 && self.shard.tracking.keys() as u64 > keys_max {
            if let Some((key, readers)) = self.shard.tracking.forget_random(&mut self.random) {
                self.note_stale(&key, &readers, Tracker::NONE);
            }
        }
    }

    /// Notes for those who track it that a key has changed.
    pub(super) fn invalidate(&mut self, key: &[u8], by: Tracker) {
        if let Some((key, readers)) = self.shard.tracking.forget(key) {
            self.note_stale(&key, &readers, by);
        }
        if self.node.interest.is_tracked(key) {
            self.shard.tracking.change(key, by);
        }
    }

    /// Takes notice of clients of other cores that have begun or ended broadcast mode.
    #[inline]
    pub(super) fn follow_broadcasts(&mut self) {
        let broadcasts = self.node.interest.len(Topic::Prefix) > 0;
        if broadcasts != self.trackers.broadcasts {
            self.trackers.broadcasts = broadcasts;
            self.update_wanted();
        }
    }

    fn note_stale(&mut self, key: &SharedKey, readers: &[Tracker], by: Tracker) {
        for reader in readers {
            let stale = Note::Stale { client: reader.id(), key: key.clone(), by };
            self.trackers.notes[reader.core().index()].push(stale);
        }
    }

    /// Notes for this core's clients that all keys of a database have gone. Every core is told by its own part of it.
    pub(super) fn invalidate_all(&mut self) {
        self.shard.tracking.clear();
        self.trackers.notes[self.core.index()].push(Note::AllStale);
    }

    /// Posts what this turn has to tell the other cores' clients, behind everything else, and tells this core's own.
    pub(super) fn post_notes(&mut self) {
        self.note_changed();
        self.take_own_notes(None);
        for core in 0..self.trackers.notes.len() {
            let notes = std::mem::take(&mut self.trackers.notes[core]);
            if !notes.is_empty() {
                self.post(ShardId(core as u16), Message::Notes(notes));
            }
        }
    }

    /// Notes what has changed in this turn for the cores that have clients in broadcast mode.
    fn note_changed(&mut self) {
        let changed = self.shard.tracking.take_changed();
        if changed.is_empty() {
            return;
        }
        let mut by_core: Vec<ChangedKeys> = vec![Vec::new(); self.router.shards()];
        let mut reached = Vec::new();
        for (key, by) in changed {
            reached.clear();
            reached.extend((!self.trackers.prefixes.is_empty()).then_some(self.core));
            self.node.interest.cores(Topic::Prefix, &key, self.core, &mut reached);
            reached.iter().for_each(|core| by_core[core.index()].push((key.clone(), by)));
        }
        for (core, keys) in by_core.into_iter().enumerate().filter(|(_, keys)| !keys.is_empty()) {
            self.trackers.notes[core].push(Note::Changed(keys));
        }
    }

    /// The regular work: tells the others who has gone, and takes such clients out of a part of the table.
    pub(super) fn sweep_trackers(&mut self) {
        let departed = std::mem::take(&mut self.trackers.departed);
        if !departed.is_empty() {
            let departed: Arc<[Tracker]> = departed.into();
            self.trackers.notes.iter_mut().for_each(|notes| notes.push(Note::Departed(departed.clone())));
        }
        if self.shard.effects.wanted {
            self.shard.tracking.sweep(TRACKING_SWEEP_KEYS);
            // The directive may have changed.
            self.bound_tracked_keys();
            self.update_wanted();
            self.publish_tracking();
        }
    }

    /// Makes the numbers of INFO visible to all cores.
    pub(super) fn publish_tracking(&self) {
        let (metrics, table) = (self.metrics(), &self.shard.tracking);
        metrics.tracking_clients.set(self.trackers.clients.len() as u64);
        metrics.tracking_keys.set(table.keys() as u64);
        metrics.tracking_items.set(table.items() as u64);
    }
}

/// The clients' side.
impl Engine {
    /// Takes notice of what a session tracks now.
    pub(super) fn update_tracker(&mut self, session: &mut Session, key: SessionKey) {
        if session.flags.contains(SessionFlags::DEPARTED) {
            // It has gone while the other cores were asked.
            session.end_tracking();
        }
        if session.tracking.is_some() {
            self.trackers.clients.insert(session.id, key);
        } else {
            self.trackers.clients.remove(&session.id);
        }
        for (prefix, wanted) in std::mem::take(&mut session.prefix_changes) {
            self.change_prefix(session.id, prefix.into(), wanted);
        }
        self.follow_broadcasts();
        self.update_wanted();
        self.publish_tracking();
    }

    /// A client tracks the keys with a prefix from now on, or no more.
    fn change_prefix(&mut self, client: u64, prefix: Bytes, wanted: bool) {
        let Trackers { prefixes, interest, .. } = &mut self.trackers;
        let clients = prefixes.entry(prefix.clone()).or_default();
        let was_wanted = !clients.is_empty();
        if wanted {
            clients.insert(client)
        } else {
            clients.remove(&client)
        };
        match (was_wanted, !clients.is_empty()) {
            (false, true) => self.node.interest.begin(self.core, interest, Topic::Prefix, &prefix),
            (true, false) => self.node.interest.end(self.core, interest, Topic::Prefix, &prefix),
            _ => {}
        }
        if clients.is_empty() {
            prefixes.remove(&prefix);
        }
    }

    /// The same behind commands that may have changed it.
    pub(super) fn notice_tracker(&mut self, session: &mut Session, key: SessionKey) {
        let known = self.trackers.clients.contains_key(&session.id);
        if known != session.tracking.is_some() || !session.prefix_changes.is_empty() {
            self.update_tracker(session, key);
        }
    }

    /// Ends a session's tracking without a word.
    pub(super) fn end_tracking(&mut self, session: &mut Session, key: SessionKey) {
        if session.flags.contains(SessionFlags::TRACKING) {
            session.end_tracking();
            self.update_tracker(session, key);
        }
    }

    /// Takes another core's notes.
    pub(super) fn take_notes(&mut self, notes: Vec<Note>) {
        notes.into_iter().for_each(|note| self.take_note(note, &mut None));
    }

    /// Takes the notes for this core, with the session that is being worked on if there is one.
    #[inline]
    pub(super) fn take_own_notes(&mut self, mut in_hand: InHand<'_>) {
        while !self.trackers.notes[self.core.index()].is_empty() {
            let notes = std::mem::take(&mut self.trackers.notes[self.core.index()]);
            notes.into_iter().for_each(|note| self.take_note(note, &mut in_hand));
        }
    }

    fn take_note(&mut self, note: Note, in_hand: &mut InHand<'_>) {
        match note {
            Note::Stale { client, key, by } => {
                let hears = |tracking: &Tracking| {
                    tracking.mode != Mode::Broadcast && !(tracking.no_loop && tracking.tracker == by)
                };
                self.tell_client(client, &Stale::Keys([key].into()), in_hand, hears);
            }
            Note::AllStale => {
                let clients: Vec<u64> = self.trackers.clients.keys().copied().collect();
                clients.into_iter().for_each(|client| self.tell_client(client, &Stale::All, in_hand, |_| true));
            }
            Note::Changed(keys) => {
                for (prefix, keys) in self.trackers.by_prefix(keys) {
                    self.tell_prefix(&prefix, &keys, in_hand);
                }
            }
            Note::Redirected { tracker, resp3, target, stale } => {
                if !self.tell_target(target, resp3, &stale, in_hand) {
                    self.trackers.notes[tracker.core().index()].push(Note::Broken { client: tracker.id() });
                }
            }
            Note::Broken { client } => self.tell_broken(client, in_hand),
            Note::Departed(departed) => self.shard.tracking.depart(&departed),
        }
    }

    /// Tells those who want a prefix which of its keys have changed.
    fn tell_prefix(&mut self, prefix: &[u8], keys: &ChangedKeys, in_hand: &mut InHand<'_>) {
        let clients: Vec<u64> = self.trackers.prefixes.get(prefix).into_iter().flatten().copied().collect();
        let all: Arc<[SharedKey]> = keys.iter().map(|(key, _)| key.clone()).collect();
        for client in clients {
            let mut stale = Stale::Keys(all.clone());
            let own = |key: &&(SharedKey, Tracker)| key.1.id() == client;
            let hears = |tracking: &Tracking| !tracking.no_loop || keys.iter().any(|key| !own(&key));
            if self.is_no_loop(client, in_hand) && keys.iter().any(|key| own(&key)) {
                stale = Stale::Keys(keys.iter().filter(|key| !own(key)).map(|(key, _)| key.clone()).collect());
            }
            self.tell_client(client, &stale, in_hand, hears);
        }
    }

    fn is_no_loop(&mut self, client: u64, in_hand: &mut InHand<'_>) -> bool {
        let key = self.trackers.clients.get(&client).copied();
        let session = key.and_then(|key| self.session_of(key, in_hand));
        session.is_some_and(|session| session.tracking.as_ref().is_some_and(|tracking| tracking.no_loop))
    }

    /// A session in the registry or in hand.
    fn session_of<'a>(&'a mut self, key: SessionKey, in_hand: &'a mut InHand<'_>) -> Option<&'a mut Session> {
        match in_hand {
            Some((session, own)) if *own == key => Some(session),
            _ => self.sessions.get_mut(key),
        }
    }

    /// Tells a client of this core what is stale, or the one it redirects to, if it `hears` of it.
    fn tell_client(
        &mut self,
        client: u64,
        stale: &Stale,
        in_hand: &mut InHand<'_>,
        hears: impl FnOnce(&Tracking) -> bool,
    ) {
        let own = self.core;
        let Some(&key) = self.trackers.clients.get(&client) else { return };
        let Some(session) = self.session_of(key, in_hand) else { return };
        let resp3 = session.protocol == Protocol::Resp3;
        let Some(tracking) = session.tracking.as_deref().filter(|tracking| hears(tracking)) else { return };
        let (tracker, redirect) = (tracking.tracker, tracking.redirect);
        match redirect {
            None if resp3 => {
                let mut out = Output::default();
                write_push(&mut Reply::new(&mut out, Protocol::Resp3), stale, true);
                self.add_output(key, in_hand, |session| append_push(session, out));
            }
            // A client that speaks RESP2 could not tell it from a reply.
            None => {}
            Some(target) if target.core == own => {
                let told = self.tell_target(target, resp3, stale, in_hand);
                if !told {
                    self.tell_broken(client, in_hand);
                }
            }
            Some(target) => {
                let note = Note::Redirected { tracker, resp3, target, stale: stale.clone() };
                self.trackers.notes[target.core.index()].push(note);
            }
        }
    }

    /// Tells a client what another one wants told to it; whether it is there. `resp3` is the other's protocol, whose null
    /// it gets.
    fn tell_target(&mut self, target: Target, resp3: bool, stale: &Stale, in_hand: &mut InHand<'_>) -> bool {
        let Some(session) = self.session_of(target.key, in_hand) else { return false };
        if session.id != target.id || session.flags.contains(SessionFlags::DEPARTED) {
            return false;
        }
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, session.protocol);
        if session.protocol == Protocol::Resp3 {
            write_push(&mut reply, stale, resp3);
        } else if session.flags.contains(SessionFlags::SUBSCRIBED) {
            reply.array(3);
            reply.bulk(b"message");
            reply.bulk(CHANNEL);
            write_stale(&mut reply, stale, resp3);
        } else {
            return true;
        }
        // It is no reply to anything: the client may be waiting for one for as long as it likes.
        self.add_output(target.key, in_hand, |session| {
            let protocol = session.protocol;
            Reply::new(session.message_output(), protocol).append(out);
        });
        true
    }

    /// Tells a client that nobody gets its invalidations any more.
    fn tell_broken(&mut self, client: u64, in_hand: &mut InHand<'_>) {
        let Some(&key) = self.trackers.clients.get(&client) else { return };
        let Some(session) = self.session_of(key, in_hand) else { return };
        let resp3 = session.protocol == Protocol::Resp3;
        let Some(tracking) = session.tracking.as_deref_mut() else { return };
        let Some(target) = tracking.redirect else { return };
        tracking.broken = true;
        session.flags.insert(SessionFlags::TRACKING_BROKEN);
        if resp3 {
            let mut out = Output::default();
            let mut reply = Reply::new(&mut out, Protocol::Resp3);
            reply.push(2);
            reply.bulk(b"tracking-redir-broken");
            reply.integer(target.id as i64);
            self.add_output(key, in_hand, |session| append_push(session, out));
        }
    }

    /// Has `add` add to a session's output, unless the session is being closed.
    fn add_output(&mut self, key: SessionKey, in_hand: &mut InHand<'_>, add: impl FnOnce(&mut Session)) {
        match in_hand {
            // It is marked when it goes back.
            Some((session, own)) if *own == key => add(session),
            _ => {
                let Some(session) = self.sessions.get_mut(key) else { return };
                if session.flags.intersects(SessionFlags::ENDING) {
                    return;
                }
                add(session);
                if !session.flags.contains(SessionFlags::DIRTY) {
                    session.flags.insert(SessionFlags::DIRTY);
                    self.told.push(key);
                }
            }
        }
    }
}

/// Tells a client something behind the replies it waits for. One that is blocked has read nothing on the way, and may be
/// waiting for as long as it likes.
fn append_push(session: &mut Session, out: Output) {
    if session.blocked.is_some() && session.pending.len() <= 1 {
        Reply::new(session.message_output(), Protocol::Resp3).append(out);
    } else {
        session.append_reply(out);
    }
}

fn write_push(reply: &mut Reply<'_>, stale: &Stale, resp3: bool) {
    reply.push(2);
    reply.bulk(b"invalidate");
    write_stale(reply, stale, resp3);
}

/// The keys, or the null that stands for all in the protocol of the client that tracks them.
fn write_stale(reply: &mut Reply<'_>, stale: &Stale, resp3: bool) {
    match stale {
        Stale::All => {
            let mut null = Output::default();
            Reply::new(&mut null, if resp3 { Protocol::Resp3 } else { Protocol::Resp2 }).null();
            reply.append(null);
        }
        Stale::Keys(keys) => {
            reply.array(keys.len());
            keys.iter().for_each(|key| reply.bulk(key));
        }
    }
}
