//! What a session is subscribed to. The core's registry (`pubsub`) knows the same from the other side.

use crate::spec::ChannelKind;
use bytes::Bytes;
use std::collections::BTreeSet;

/// The names a session is subscribed to, in an order that does not depend on chance.
#[derive(Debug, Default)]
pub struct Subscriptions {
    channels: BTreeSet<Bytes>,
    patterns: BTreeSet<Bytes>,
    shard_channels: BTreeSet<Bytes>,
    /// Bytes of all these names.
    name_bytes: usize,
}

impl Subscriptions {
    /// The names of one kind.
    pub fn of(&self, kind: ChannelKind) -> &BTreeSet<Bytes> {
        match kind {
            ChannelKind::Channel => &self.channels,
            ChannelKind::Pattern => &self.patterns,
            ChannelKind::Shard => &self.shard_channels,
        }
    }

    /// Adds a name; whether it is a new one.
    pub fn insert(&mut self, kind: ChannelKind, name: Bytes) -> bool {
        let bytes = name.len();
        let new = self.of_mut(kind).insert(name);
        self.name_bytes += if new { bytes } else { 0 };
        new
    }

    /// Removes a name; whether it was there.
    pub fn remove(&mut self, kind: ChannelKind, name: &Bytes) -> bool {
        let known = self.of_mut(kind).remove(name);
        self.name_bytes -= if known { name.len() } else { 0 };
        known
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// Bytes of all names.
    pub fn name_bytes(&self) -> usize {
        self.name_bytes
    }

    fn of_mut(&mut self, kind: ChannelKind) -> &mut BTreeSet<Bytes> {
        match kind {
            ChannelKind::Channel => &mut self.channels,
            ChannelKind::Pattern => &mut self.patterns,
            ChannelKind::Shard => &mut self.shard_channels,
        }
    }

    /// The number in the confirmation of a change of this kind: channels and patterns count together.
    pub fn counted_with(&self, kind: ChannelKind) -> usize {
        match kind {
            ChannelKind::Channel | ChannelKind::Pattern => self.channels.len() + self.patterns.len(),
            ChannelKind::Shard => self.shard_channels.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        ChannelKind::ALL.into_iter().all(|kind| self.of(kind).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_and_patterns_count_together() {
        let mut subscriptions = Subscriptions::default();
        assert!(subscriptions.is_empty());
        for kind in ChannelKind::ALL {
            assert!(subscriptions.insert(kind, Bytes::from_static(b"abc")));
            assert!(!subscriptions.insert(kind, Bytes::from_static(b"abc")));
        }
        assert_eq!(ChannelKind::ALL.map(|kind| subscriptions.counted_with(kind)), [2, 2, 1]);
        assert_eq!(subscriptions.of(ChannelKind::Shard).len(), 1);
        assert!(!subscriptions.is_empty());
        assert_eq!((subscriptions.len(), subscriptions.name_bytes()), (3, 9));
        assert!(subscriptions.remove(ChannelKind::Shard, &Bytes::from_static(b"abc")));
        assert!(!subscriptions.remove(ChannelKind::Shard, &Bytes::from_static(b"abc")));
        assert_eq!((subscriptions.len(), subscriptions.name_bytes()), (2, 6));
    }
}
