//! Who subscribes to what. Each core knows its own subscribers of every name (a channel, a pattern, a shard channel), and
//! which other cores have at least one: a publication goes to those and to nobody else. No I/O: the engine carries the
//! announcements to the other cores and the messages to the subscribers.
//!
//! A subscription comes in two steps. First it is expected: the name counts as wanted here, and if it was not before, the
//! other cores are told. When all of them have heard of it, it is made, and from then on messages reach it. So whoever
//! hears of a confirmed subscription can publish from any core and reach it. Its end takes one step: a publication that
//! is still on its way then finds nobody and counts nobody.

mod announcements;
#[cfg(test)]
mod tests;

pub use announcements::{Announcement, Change};

use crate::session::SessionKey;
use crate::shard::ShardId;
use crate::spec::ChannelKind;
use crate::stdx::glob;
use ahash::AHashMap;
use announcements::Announcements;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// One core's knowledge of subscribers.
pub struct PubSub {
    channels: AHashMap<Bytes, Name>,
    /// In an order that does not depend on chance: a client hears of its patterns in this order.
    patterns: BTreeMap<Bytes, Name>,
    shard_channels: AHashMap<Bytes, Name>,
    announcements: Announcements,
}

/// Who is interested in one name.
#[derive(Default)]
pub struct Name {
    subscribers: BTreeSet<SessionKey>,
    /// Subscriptions of this core that are expected.
    expected: u32,
    /// The announcement that tells the others of this core's interest.
    announced: u64,
    cores: Vec<ShardId>,
}

impl Name {
    /// The subscribers on this core.
    pub fn subscribers(&self) -> &BTreeSet<SessionKey> {
        &self.subscribers
    }

    /// The other cores that have subscribers.
    pub fn cores(&self) -> &[ShardId] {
        &self.cores
    }

    fn is_wanted_here(&self) -> bool {
        !self.subscribers.is_empty() || self.expected > 0
    }
}

impl PubSub {
    /// The registry of core `core` of so many.
    pub fn new(core: ShardId, cores: usize) -> Self {
        Self {
            channels: AHashMap::new(),
            patterns: BTreeMap::new(),
            shard_channels: AHashMap::new(),
            announcements: Announcements::new(core, cores),
        }
    }

    /// Notes that a subscription to `name` is about to be made: the name, shared with everyone who knows it here, and the
    /// announcement that all cores must have heard before.
    pub fn expect(&mut self, kind: ChannelKind, name: &[u8]) -> (Bytes, u64) {
        let shared = self.shared(kind, name);
        let entry = self.entry(kind, &shared);
        let is_new = !entry.is_wanted_here();
        entry.expected += 1;
        if is_new {
            let change = Change { kind, name: shared.clone(), wanted: true };
            let announced = self.announcements.add(change);
            self.entry(kind, &shared).announced = announced;
        }
        let announced = self.entry(kind, &shared).announced;
        (shared, announced)
    }

    /// Makes a subscription that was expected.
    pub fn subscribe(&mut self, kind: ChannelKind, name: &Bytes, key: SessionKey) {
        let entry = self.get_mut(kind, name).expect("an expected subscription keeps its name");
        entry.expected -= 1;
        entry.subscribers.insert(key);
    }

    /// Gives up a subscription that was expected.
    pub fn give_up(&mut self, kind: ChannelKind, name: &Bytes) {
        let entry = self.get_mut(kind, name).expect("an expected subscription keeps its name");
        entry.expected -= 1;
        self.drop_interest(kind, name);
    }

    /// Ends the subscription of session `key` to `name`, which it has.
    pub fn unsubscribe(&mut self, kind: ChannelKind, name: &Bytes, key: SessionKey) {
        let entry = self.get_mut(kind, name).expect("a subscription keeps its name");
        entry.subscribers.remove(&key);
        self.drop_interest(kind, name);
    }

    /// Tells the other cores when the last interest in `name` here is gone, and forgets a name that nobody wants.
    fn drop_interest(&mut self, kind: ChannelKind, name: &Bytes) {
        if self.get_mut(kind, name).is_some_and(|entry| !entry.is_wanted_here()) {
            self.announcements.add(Change { kind, name: name.clone(), wanted: false });
            self.forget_unwanted(kind, name);
        }
    }

    fn forget_unwanted(&mut self, kind: ChannelKind, name: &[u8]) {
        if self.get_mut(kind, name).is_some_and(|entry| !entry.is_wanted_here() && entry.cores.is_empty()) {
            match kind {
                ChannelKind::Channel => self.channels.remove(name),
                ChannelKind::Pattern => self.patterns.remove(name),
                ChannelKind::Shard => self.shard_channels.remove(name),
            };
        }
    }

    /// What the other cores have to be told since the last call.
    pub fn take_announcement(&mut self) -> Option<Announcement> {
        self.announcements.take()
    }

    /// Takes what core `from` announces.
    pub fn hear(&mut self, from: ShardId, changes: &[Change]) {
        for Change { kind, name, wanted } in changes {
            let shared = self.shared(*kind, name);
            let entry = self.entry(*kind, &shared);
            entry.cores.retain(|&core| core != from);
            if *wanted {
                entry.cores.push(from);
            }
            self.forget_unwanted(*kind, name);
        }
    }

    /// Core `from` has heard announcement `number`. Whether it was the last to hear some.
    pub fn heard(&mut self, from: ShardId, number: u64) -> bool {
        self.announcements.heard(from, number)
    }

    /// Whether all cores have heard announcement `number`.
    pub fn is_settled(&self, number: u64) -> bool {
        self.announcements.is_settled(number)
    }

    /// What a publication to `channel` concerns: the channel itself, and behind it every pattern that it matches.
    pub fn matching<'a>(
        &'a self,
        kind: ChannelKind,
        channel: &'a [u8],
    ) -> impl Iterator<Item = (Option<&'a Bytes>, &'a Name)> {
        let exact = if kind == ChannelKind::Shard { &self.shard_channels } else { &self.channels };
        let patterns = (kind == ChannelKind::Channel).then_some(&self.patterns);
        let matching = patterns.into_iter().flatten().filter(move |(pattern, _)| glob::matches(pattern, channel));
        let exact = exact.get(channel).map(|name| (None, name));
        exact.into_iter().chain(matching.map(|(pattern, name)| (Some(pattern), name)))
    }

    /// The names of one kind with subscribers on this core, where they match `pattern`.
    pub fn names(&self, kind: ChannelKind, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let wanted = |(name, entry): (&Bytes, &Name)| {
            let fits = !entry.subscribers.is_empty() && pattern.is_none_or(|pattern| glob::matches(pattern, name));
            fits.then(|| name.clone())
        };
        match kind {
            ChannelKind::Channel => self.channels.iter().filter_map(wanted).collect(),
            ChannelKind::Pattern => self.patterns.iter().filter_map(wanted).collect(),
            ChannelKind::Shard => self.shard_channels.iter().filter_map(wanted).collect(),
        }
    }

    /// How many subscribers of `name` this core has.
    pub fn subscribers(&self, kind: ChannelKind, name: &[u8]) -> usize {
        self.get(kind, name).map_or(0, |entry| entry.subscribers.len())
    }

    /// How many names of one kind have subscribers on any core, as far as this core has heard.
    pub fn len(&self, kind: ChannelKind) -> usize {
        match kind {
            ChannelKind::Channel => self.channels.len(),
            ChannelKind::Pattern => self.patterns.len(),
            ChannelKind::Shard => self.shard_channels.len(),
        }
    }

    /// Whether nobody subscribes to anything, as far as this core has heard.
    pub fn is_empty(&self) -> bool {
        ChannelKind::ALL.into_iter().all(|kind| self.len(kind) == 0)
    }

    fn get(&self, kind: ChannelKind, name: &[u8]) -> Option<&Name> {
        match kind {
            ChannelKind::Channel => self.channels.get(name),
            ChannelKind::Pattern => self.patterns.get(name),
            ChannelKind::Shard => self.shard_channels.get(name),
        }
    }

    fn get_mut(&mut self, kind: ChannelKind, name: &[u8]) -> Option<&mut Name> {
        match kind {
            ChannelKind::Channel => self.channels.get_mut(name),
            ChannelKind::Pattern => self.patterns.get_mut(name),
            ChannelKind::Shard => self.shard_channels.get_mut(name),
        }
    }

    fn entry(&mut self, kind: ChannelKind, name: &Bytes) -> &mut Name {
        match kind {
            ChannelKind::Channel => self.channels.entry(name.clone()).or_default(),
            ChannelKind::Pattern => self.patterns.entry(name.clone()).or_default(),
            ChannelKind::Shard => self.shard_channels.entry(name.clone()).or_default(),
        }
    }

    /// The bytes of a name as they are known here already, or a copy.
    fn shared(&self, kind: ChannelKind, name: &[u8]) -> Bytes {
        let known = match kind {
            ChannelKind::Channel => self.channels.get_key_value(name),
            ChannelKind::Pattern => self.patterns.get_key_value(name),
            ChannelKind::Shard => self.shard_channels.get_key_value(name),
        };
        known.map_or_else(|| Bytes::copy_from_slice(name), |(known, _)| known.clone())
    }
}
