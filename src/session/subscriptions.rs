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

    /// The names of one kind, to be changed.
    pub fn of_mut(&mut self, kind: ChannelKind) -> &mut BTreeSet<Bytes> {
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
            subscriptions.of_mut(kind).insert(Bytes::from_static(b"a"));
        }
        assert_eq!(ChannelKind::ALL.map(|kind| subscriptions.counted_with(kind)), [2, 2, 1]);
        assert_eq!(subscriptions.of(ChannelKind::Shard).len(), 1);
        assert!(!subscriptions.is_empty());
    }
}
