//! The memory that clients take: how it is counted, and what happens when it is more than `maxmemory-clients`.
//!
//! A core keeps the sum over its clients. Without a limit only the cron counts, some clients at a time; with one, a client
//! is counted anew when it has sent something, when it is to be sent something and when that is sent. Sum and largest
//! client of each core are known to all.
//!
//! When all sums together are above the limit, a core that finds out closes its largest clients, until it is enough or
//! another core has a much larger one: then that core is told to go on. Much larger is what takes one bit more, as Redis
//! sorts clients: so cores with clients of about the same size need not hand the matter to and fro.

use super::Engine;
use super::message::Message;
use crate::limits::{CLIENT_BYTES_SMALL, CLIENTS_COUNTED_MIN};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::ShardId;

/// What a core knows of its clients' memory.
#[derive(Default)]
pub(super) struct ClientMemory {
    /// The sum.
    bytes: usize,
    /// The place at which the cron goes on counting.
    next: usize,
    /// The largest client that was found in this round of the cron.
    largest: usize,
    /// The largest input and output that were found in this round of the cron.
    largest_buffers: (usize, usize),
    /// Whether to look at the end of the turn if it is too much.
    look: bool,
    /// Clients that have not departed.
    pub present: usize,
    /// Whether it was too much and another core's turn, which has been told. What this core has to close is then not
    /// looked for before it is told in turn, has a large client again, or its cron runs.
    rests: bool,
}

impl Engine {
    /// Counts a session anew behind a change, if there is a limit.
    #[inline]
    pub(super) fn count_client(&mut self, session: &mut Session) {
        if self.clients_bytes_max.is_some() {
            self.recount_client(session);
        }
    }

    /// Counts a session anew; one that is gone takes nothing.
    pub(super) fn recount_client(&mut self, session: &mut Session) {
        let bytes = if session.flags.intersects(SessionFlags::GONE) { 0 } else { session.memory_bytes() };
        let before = std::mem::replace(&mut session.counted_bytes, bytes);
        if bytes == before {
            return;
        }
        self.clients.bytes = self.clients.bytes + bytes - before;
        self.clients.look |= bytes > before;
        self.metrics().clients_bytes.set(self.clients.bytes as u64);
        if is_evictable(session) {
            self.clients.largest = self.clients.largest.max(bytes);
            let published = &self.node.metrics[self.core.index()].largest_client_bytes;
            published.set(published.get().max(bytes as u64));
        }
    }

    /// Counts the sessions that are about to be sent something.
    pub(super) fn count_dirty_clients(&mut self) {
        if self.clients_bytes_max.is_none() {
            return;
        }
        for index in 0..self.dirty.len() {
            self.count_place(self.dirty[index]);
        }
        for index in 0..self.told.len() {
            self.count_place(self.told[index]);
        }
    }

    /// Bytes have been sent to a client, and so many are still to be.
    pub fn sent(&mut self, key: SessionKey, bytes: usize, unsent: usize) {
        let metrics = self.metrics();
        metrics.writes.add(1);
        metrics.output_bytes.add(bytes as u64);
        let Some(mut session) = self.sessions.take(key) else { return };
        session.sending_bytes = unsent;
        session.output_bytes += bytes as u64;
        self.count_client(&mut session);
        self.sessions.put_back(key, session);
    }

    /// Counts some sessions, so that all have been after a second.
    pub(super) fn count_some_clients(&mut self) {
        let places = self.sessions.places();
        let budget = places.div_ceil(self.config.hz.max(1) as usize).max(CLIENTS_COUNTED_MIN);
        let from = self.clients.next.min(places);
        let to = places.min(from + budget);
        for index in from..to {
            self.count_place(SessionKey(index as u32));
        }
        self.clients.next = to;
        if to == places {
            // What was the largest may have become smaller.
            let (input, output) = std::mem::take(&mut self.clients.largest_buffers);
            let metrics = self.metrics();
            metrics.largest_client_bytes.set(self.clients.largest as u64);
            metrics.largest_input_bytes.set(input as u64);
            metrics.largest_output_bytes.set(output as u64);
            (self.clients.next, self.clients.largest) = (0, 0);
        }
        self.look_at_clients();
    }

    /// Takes notice of a limit that may have changed.
    pub(super) fn take_clients_limit(&mut self) {
        let before = std::mem::replace(&mut self.clients_bytes_max, self.config.clients_bytes_max());
        if self.clients_bytes_max.is_none() || self.clients_bytes_max == before {
            return;
        }
        (0..self.sessions.places()).for_each(|index| self.count_place(SessionKey(index as u32)));
        self.look_at_clients();
    }

    fn count_place(&mut self, key: SessionKey) {
        let Some(mut session) = self.sessions.take(key) else { return };
        self.recount_client(&mut session);
        if is_evictable(&session) {
            self.clients.largest = self.clients.largest.max(session.counted_bytes);
        }
        let (input, output) = &mut self.clients.largest_buffers;
        *input = session.input.capacity().max(*input);
        *output = (session.output.bytes.len() + session.waiting_bytes()).max(*output);
        self.sessions.put_back(key, session);
    }

    /// Closes the largest clients while all together take too much and no other core has a larger one.
    pub(super) fn evict_clients(&mut self) {
        let Some(limit) = self.clients_bytes_max else { return };
        if !std::mem::take(&mut self.clients.look) {
            return;
        }
        if self.all_clients_bytes() <= limit {
            self.clients.rests = false;
            return;
        }
        if self.clients.rests && self.core_of_largest_client() != Some(self.core) {
            return;
        }
        (0..self.sessions.places()).for_each(|index| self.count_place(SessionKey(index as u32)));
        let mut largest: Vec<(usize, SessionKey)> = self
            .sessions
            .iter_mut()
            .filter(|(_, session)| is_evictable(session))
            .map(|(key, session)| (session.counted_bytes, key))
            .collect();
        largest.sort_unstable();
        while self.all_clients_bytes() > limit {
            let own = largest.last().map_or(0, |(bytes, _)| *bytes as u64);
            self.metrics().largest_client_bytes.set(own);
            match self.core_of_largest_client() {
                Some(core) if core == self.core => {
                    let (_, key) = largest.pop().expect("what is published has just been found");
                    self.evict_client(key);
                }
                other => {
                    self.clients.rests = true;
                    other.into_iter().for_each(|core| self.post(core, Message::EvictClients));
                    break;
                }
            }
        }
        let own = largest.last().map_or(0, |(bytes, _)| *bytes as u64);
        self.metrics().largest_client_bytes.set(own);
    }

    /// Looks at the end of the turn whether clients take too much.
    pub(super) fn look_at_clients(&mut self) {
        (self.clients.look, self.clients.rests) = (true, false);
    }

    fn all_clients_bytes(&self) -> u64 {
        self.node.metrics.iter().map(|core| core.clients_bytes.get()).sum()
    }

    /// The core whose turn it is to close a client: this one, unless another has a much larger one; `None`: there is none
    /// to close.
    fn core_of_largest_client(&self) -> Option<ShardId> {
        let bytes = |core: usize| self.node.metrics[core].largest_client_bytes.get();
        let (own, cores) = (self.core.index(), self.node.metrics.len());
        let largest = (0..cores).max_by_key(|core| (rank(bytes(*core)), *core == own))?;
        (bytes(largest) > 0).then_some(ShardId(largest as u16))
    }

    fn evict_client(&mut self, key: SessionKey) {
        let Some(mut session) = self.sessions.take(key) else { return };
        tracing::warn!(
            client = session.id,
            bytes = session.counted_bytes,
            "closing a client, as all together take more than maxmemory-clients"
        );
        self.metrics().evicted_clients.add(1);
        session.flags.insert(SessionFlags::RESET);
        self.close(&mut session, key);
        self.recount_client(&mut session);
        if session.pending.is_empty() {
            // The rest goes with the connection.
            (session.output, session.input, session.input_used) = Default::default();
        }
        self.sessions.put_back(key, session);
    }
}

/// Clients of one rank are about equally large; those of a few kilobytes all are.
fn rank(bytes: u64) -> Option<u32> {
    (bytes > 0).then(|| bytes.max(CLIENT_BYTES_SMALL).ilog2())
}

fn is_evictable(session: &Session) -> bool {
    !session.flags.intersects(SessionFlags::GONE | SessionFlags::CLOSING | SessionFlags::NO_EVICT)
}
