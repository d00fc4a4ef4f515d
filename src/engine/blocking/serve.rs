//! The shard's side of waiting: who waits for which of its keys, and how they are served.

use super::Resume;
use crate::commands::Handler;
use crate::engine::Engine;
use crate::engine::coordinator::lock_set;
use crate::engine::message::Message;
use crate::resp::Output;
use crate::shard::blocked::{Registration, WaitId};
use crate::shard::{Act, Effect};

impl Engine {
    /// How many registrations of waiting clients there are on this shard.
    pub fn waiting_registrations(&self) -> usize {
        self.blocking.clients.len()
    }

    /// Puts a client into the queues of this shard's keys.
    pub(in crate::engine) fn add_registration(&mut self, registration: Registration<Resume>) {
        self.blocking.clients.add(registration);
        self.blocked_clients_changed();
    }

    /// Takes a client out of them.
    pub(in crate::engine) fn forget(&mut self, id: WaitId) {
        self.blocking.clients.remove(id);
        self.blocked_clients_changed();
        self.serve_ready();
    }

    /// A client's core has tried in vain, as this shard had asked it to.
    pub(in crate::engine) fn after_try(&mut self, id: WaitId) {
        self.blocking.clients.after_try(id);
        self.serve_ready();
    }

    fn blocked_clients_changed(&mut self) {
        self.metrics().blocking_keys.set(self.blocking.clients.keys_len() as u64);
        self.update_wanted();
    }

    /// Notes the keys that an effect may have made ready.
    pub(in crate::engine) fn note_ready(&mut self, effect: &Effect) {
        match &effect.act {
            Act::Key { key, changed: true, .. } => self.blocking.clients.touch(effect.database, key),
            Act::Swapped(other) => {
                self.blocking.clients.touch_all(effect.database);
                self.blocking.clients.touch_all(*other);
            }
            Act::Key { .. } | Act::Read { .. } | Act::Flushed => {}
        }
    }

    /// Locks have gone: keys that they held up are looked at again.
    pub(in crate::engine) fn serve_held_up(&mut self) {
        if !self.blocking.clients.is_empty() {
            self.blocking.clients.let_go();
            self.serve_ready();
        }
    }

    /// Serves those who wait for ready keys, and those whose keys become ready by that, until no key is.
    pub(in crate::engine) fn serve_ready(&mut self) {
        if self.blocking.looking || !self.blocking.clients.has_ready() {
            return;
        }
        self.blocking.looking = true;
        while let Some((database, key)) = self.blocking.clients.next_ready() {
            self.serve_key(database, key);
        }
        self.blocking.looking = false;
    }

    /// Serves those who wait for one key, in their order, as long as it has something for them.
    fn serve_key(&mut self, database: u16, key: Box<[u8]>) {
        let mut last = None;
        loop {
            let db = &mut self.shard.databases[usize::from(database)];
            db.set_now(self.now);
            let Some(kind) = db.peek(&key).map(|value| value.kind()) else { return };
            let Some(place) = self.blocking.clients.next_for(database, &key, kind, last) else { return };
            if self.blocking.clients.is_asked(place) {
                return;
            }
            let registration = self.blocking.clients.get(place);
            let Resume { call, request, reaches_out, .. } = &registration.what;
            let locks = &self.locks;
            let entry = self.table.get(call.command);
            if !locks.is_empty() && locks.blocks(&lock_set(entry, request.args())) {
                return self.blocking.clients.hold(database, key);
            }
            if *reaches_out {
                let registration = registration.clone();
                self.blocking.clients.ask(place);
                return self.ask_to_try(registration);
            }
            if registration.claim.take() {
                let registration = registration.clone();
                self.serve(registration, &key);
            }
            last = Some(place);
        }
    }

    fn ask_to_try(&mut self, registration: Registration<Resume>) {
        let core = registration.id.core;
        if core == self.core {
            self.blocking.tries.push_back(registration);
        } else {
            self.post(core, Message::Ready(Box::new(registration)));
        }
    }

    /// Runs a client's command again, now that `key` has something for it.
    fn serve(&mut self, registration: Registration<Resume>, key: &[u8]) {
        let Registration { id, claim, what: Resume { ticket, call, request, .. }, .. } = registration;
        let entry = self.table.get(call.command);
        debug_assert!(matches!(entry.row.handler, Handler::Shard(_)));
        let mut out = Output::default();
        self.blocking.serving = Some(key.into());
        let started = self.clock.raw();
        self.run_command(entry, call, request.args(), &mut out);
        let nanoseconds = self.nanoseconds_since(started);
        self.blocking.serving = None;
        if self.blocking.wait.take().is_some() {
            // There is a value of the right kind, but nothing in it for this client.
            claim.give_back();
            return self.after_effects();
        }
        self.blocking.clients.remove(id);
        self.blocked_clients_changed();
        self.after_effects();
        self.note_if_slow(id.core, ticket, entry, request.args(), nanoseconds);
        if call.no_reply {
            out.clear();
        }
        if id.core == self.core {
            self.served(self.core, ticket, out);
        } else {
            self.post(id.core, Message::Served { by: self.core, ticket, reply: out });
        }
    }
}
