//! Who subscribes to what. Each core knows its own subscribers of every name (a channel, a pattern, a shard channel), and
//! tells by bits that all cores see which names have some: a publication goes to those cores and to nobody else. No I/O:
//! the engine carries the messages to the cores and the subscribers. The bits also tell which cores have clients that track
//! all keys with a prefix.
//!
//! A subscription is made at once, and whoever publishes afterwards on any core reaches it. When it ends, a publication that
//! is still on its way finds nobody and counts nobody.

mod interest;
#[cfg(test)]
mod tests;

pub use interest::{Interest, OwnInterest, Topic};

use crate::session::SessionKey;
use crate::shard::ShardId;
use crate::spec::ChannelKind;
use crate::stdx::glob;
use ahash::AHashMap;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The subscribers of one name.
pub type Subscribers = BTreeSet<SessionKey>;

/// One core's subscribers.
pub struct PubSub {
    core: ShardId,
    channels: AHashMap<Bytes, Subscribers>,
    /// In an order that does not depend on chance: a client hears of its patterns in this order.
    patterns: BTreeMap<Bytes, Subscribers>,
    shard_channels: AHashMap<Bytes, Subscribers>,
    interest: Arc<Interest>,
    own: OwnInterest,
}

impl PubSub {
    /// The subscribers of core `core`, whose part in `interest` it is.
    pub fn new(core: ShardId, interest: Arc<Interest>) -> Self {
        Self {
            core,
            channels: AHashMap::new(),
            patterns: BTreeMap::new(),
            shard_channels: AHashMap::new(),
            interest,
            own: OwnInterest::default(),
        }
    }

    /// Makes a subscription; the name, shared with everyone who knows it here.
    pub fn subscribe(&mut self, kind: ChannelKind, name: &[u8], key: SessionKey) -> Bytes {
        let shared = self.shared(kind, name);
        let subscribers = self.entry(kind, &shared);
        let is_first = subscribers.is_empty();
        subscribers.insert(key);
        if is_first {
            self.interest.begin(self.core, &mut self.own, kind, &shared);
        }
        shared
    }

    /// Ends the subscription of session `key` to `name`, which it has.
    pub fn unsubscribe(&mut self, kind: ChannelKind, name: &Bytes, key: SessionKey) {
        let subscribers = self.entry(kind, name);
        subscribers.remove(&key);
        if subscribers.is_empty() {
            match kind {
                ChannelKind::Channel => self.channels.remove(name),
                ChannelKind::Pattern => self.patterns.remove(name),
                ChannelKind::Shard => self.shard_channels.remove(name),
            };
            self.interest.end(self.core, &mut self.own, kind, name);
        }
    }

    /// The subscribers of a publication to `channel`: those of the channel itself, and behind them those of every pattern
    /// that it matches.
    pub fn matching<'a>(
        &'a self,
        kind: ChannelKind,
        channel: &'a [u8],
    ) -> impl Iterator<Item = (Option<&'a Bytes>, &'a Subscribers)> {
        let exact = if kind == ChannelKind::Shard { &self.shard_channels } else { &self.channels };
        let patterns = (kind == ChannelKind::Channel).then_some(&self.patterns);
        let matching = patterns.into_iter().flatten().filter(move |(pattern, _)| glob::matches(pattern, channel));
        let exact = exact.get(channel).map(|subscribers| (None, subscribers));
        exact.into_iter().chain(matching.map(|(pattern, subscribers)| (Some(pattern), subscribers)))
    }

    /// The other cores that may have subscribers of it, behind `reached`.
    pub fn other_cores(&self, kind: ChannelKind, channel: &[u8], reached: &mut Vec<ShardId>) {
        self.interest.cores(kind, channel, self.core, reached);
    }

    /// The names of one kind with subscribers on this core, where they match `pattern`.
    pub fn names(&self, kind: ChannelKind, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let fits = |name: &&Bytes| pattern.is_none_or(|pattern| glob::matches(pattern, name));
        match kind {
            ChannelKind::Channel => self.channels.keys().filter(fits).cloned().collect(),
            ChannelKind::Pattern => self.patterns.keys().filter(fits).cloned().collect(),
            ChannelKind::Shard => self.shard_channels.keys().filter(fits).cloned().collect(),
        }
    }

    /// How many subscribers of `name` this core has.
    pub fn subscribers(&self, kind: ChannelKind, name: &[u8]) -> usize {
        let subscribers = match kind {
            ChannelKind::Channel => self.channels.get(name),
            ChannelKind::Pattern => self.patterns.get(name),
            ChannelKind::Shard => self.shard_channels.get(name),
        };
        subscribers.map_or(0, BTreeSet::len)
    }

    fn entry(&mut self, kind: ChannelKind, name: &Bytes) -> &mut Subscribers {
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
