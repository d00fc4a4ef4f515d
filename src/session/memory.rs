//! What a session takes of memory: for CLIENT LIST, for the numbers of INFO and MEMORY, and for the limit that
//! `maxmemory-clients` sets.

use super::{Identity, Session, Transaction};
use bytes::Bytes;

/// What a name costs in a session's set and in the registry of its core, beside its bytes: it stands in both.
const NAME_BYTES: usize = 4 * size_of::<Bytes>();

impl Session {
    /// Bytes of what it has been answered and not read yet, wherever it waits. Values that are sent from where they are
    /// count too: they stay until they are sent.
    pub fn waiting_bytes(&self) -> usize {
        let pinned: usize = self.output.pins.iter().map(|pin| pin.value.len()).sum();
        pinned + self.pending.held_bytes() + self.sending_bytes + self.later_bytes()
    }

    /// Bytes of what it has queued and watches.
    pub fn multi_bytes(&self) -> usize {
        self.transaction.as_deref().map_or(0, Transaction::memory_bytes)
    }

    /// Bytes that it takes with all that is kept for it: what it has sent and not been answered, what waits to be sent to
    /// it, its transaction, subscriptions and tracked prefixes.
    pub fn memory_bytes(&self) -> usize {
        let identity = &*self.identity;
        let names = identity.name.capacity() + identity.lib_name.capacity() + identity.lib_version.capacity();
        let subscriptions = self.subscriptions.as_deref();
        let subscribed = subscriptions.map_or(0, |it| it.name_bytes() + it.len() * NAME_BYTES);
        let prefixes = self.tracking.as_deref().map_or(0, |it| it.prefix_bytes + it.prefixes.len() * NAME_BYTES);
        let places = self.pending.memory_bytes() - self.pending.held_bytes();
        let buffers = self.input.capacity() + self.output.bytes.capacity() + self.waiting_bytes() + places;
        size_of::<Self>() + size_of::<Identity>() + names + buffers + self.multi_bytes() + subscribed + prefixes
    }
}

#[cfg(test)]
mod tests {
    use crate::session::{Identity, Session};
    use crate::shard::WatchedKey;
    use crate::spec::ChannelKind;
    use bytes::Bytes;

    #[test]
    fn everything_that_is_kept_for_a_client_counts() {
        let mut session = Session::new(1, Identity::default(), 0);
        let mut before = session.memory_bytes();
        let mut grows = |session: &Session, by: usize| {
            let now = session.memory_bytes();
            assert!(now >= before + by && now < before + 2 * by + 1000, "{before} to {now}, not by {by}");
            before = now;
        };
        session.input.reserve_exact(5000);
        grows(&session, 5000);
        session.output.bytes.reserve_exact(6000);
        grows(&session, 6000);
        session.sending_bytes = 7000;
        grows(&session, 7000);
        let number = session.pending.expect();
        session.pending.expect();
        session.pending.complete(number + 1, &[b'x'; 8000], Vec::new(), &mut session.output);
        grows(&session, 8000);
        let subscriptions = session.subscriptions.get_or_insert_default();
        subscriptions.insert(ChannelKind::Pattern, Bytes::from(vec![b'p'; 9000]));
        grows(&session, 9000);
        let key = WatchedKey { database: 0, key: vec![b'k'; 4000].into() };
        session.transaction.get_or_insert_default().watch(key);
        grows(&session, 4000);
    }
}
