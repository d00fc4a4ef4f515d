//! How clients end. Whoever is told that a client is gone, be it by its last reply, by the end of its connection or by the
//! answer to CLIENT KILL, does not meet it again: it gets no message, and no registry, list or counter has it. So a session
//! departs first, and its reply or the close of its connection comes behind that, in the same turn.

use super::Engine;
use crate::session::{Session, SessionFlags, SessionKey};

impl Engine {
    /// Closes a session's connection at once; what waits to be sent is lost.
    pub(super) fn close(&mut self, session: &mut Session, key: SessionKey) {
        session.flags.insert(SessionFlags::CLOSE_NOW);
        self.depart(session, key);
        if !session.flags.intersects(SessionFlags::CLOSING | SessionFlags::ZOMBIE) {
            session.flags.insert(SessionFlags::CLOSING);
            self.closing.push(key);
        }
    }

    /// The same for a session that is in the registry.
    pub fn hang_up(&mut self, key: SessionKey) {
        let Some(mut session) = self.sessions.take(key) else { return };
        self.close(&mut session, key);
        self.sessions.put_back(key, session);
    }

    /// Has sessions depart that are closed when they have their replies, and have them all: they are sent the last of them
    /// in this turn.
    pub(super) fn end_departing(&mut self) {
        while let Some(key) = self.departing.pop() {
            let Some(mut session) = self.sessions.take(key) else { continue };
            // The key may have found a new owner.
            if session.flags.contains(SessionFlags::CLOSE_AFTER_REPLY) && session.pending.is_empty() {
                self.depart(&mut session, key);
            }
            self.sessions.put_back(key, session);
        }
    }

    /// Takes a session out of all registries and counters of this core, and has the other cores take it out of theirs.
    pub(super) fn depart(&mut self, session: &mut Session, key: SessionKey) {
        if session.flags.contains(SessionFlags::DEPARTED) {
            return;
        }
        session.flags.insert(SessionFlags::DEPARTED);
        self.leave(session, key);
        self.end_subscriptions(session, key);
        if let Some(tracking) = &session.tracking {
            self.trackers.depart(tracking.tracker);
        }
        self.end_tracking(session, key);
        self.end_monitoring(session, key);
        self.hold_back(session, false);
        self.discard(session);
        self.node.directory.remove(session.id);
        self.clients.present -= 1;
        self.metrics().clients.set(self.clients.present as u64);
    }

    /// Notes a client that has come.
    pub(super) fn arrive(&mut self, id: u64, key: SessionKey) {
        self.node.directory.insert(id, self.core, key);
        self.clients.present += 1;
        self.metrics().clients.set(self.clients.present as u64);
    }
}
