//! What follows from what commands did to this shard's keys. Every command, transaction and store on a shard ends here
//! when it had effects that somebody waits for; while nobody waits, nothing is noted and nothing runs.

use super::Engine;
use crate::config::Notifications;
use crate::shard::tracking::Tracker;
use crate::shard::{Act, Effect, EventClass, Incidents};

impl Engine {
    /// Decides anew whether effects are noted: when somebody begins or stops to wait for them.
    pub(super) fn update_wanted(&mut self) {
        let waits = !self.shard.watch.is_empty() || !self.blocking.clients.is_empty();
        self.shard.effects.wanted = waits || self.tells_clients();
        if !self.shard.effects.wanted {
            self.shard.effects.list.clear();
        }
        let incidents = self.incidents_wanted();
        if self.shard.databases[0].kept_incidents() != incidents {
            self.shard.databases.iter_mut().for_each(|db| db.keep_incidents(incidents));
        }
    }

    /// Whether clients may have to be told of changes, by notifications or because they track keys.
    fn tells_clients(&self) -> bool {
        !self.shard.tracking.is_idle() || self.trackers.any() || self.config.notify_keyspace_events.tell()
    }

    /// What is noted beside the effects of commands. WATCH finds out by itself that a key has expired.
    pub(super) fn incidents_wanted(&self) -> Incidents {
        let told = self.config.notify_keyspace_events;
        let mut incidents = Incidents::empty();
        if self.loading {
            return incidents;
        }
        incidents.set(Incidents::EXPIRED, self.tells_clients() || self.shard.log.wanted);
        incidents.set(Incidents::CREATED, told.tell() && told.contains(Notifications::NEW));
        incidents.set(Incidents::MISSED, told.tell() && told.contains(Notifications::KEY_MISS));
        incidents
    }

    /// Tells those who wait.
    #[inline]
    pub(super) fn after_effects(&mut self) {
        if !self.shard.effects.list.is_empty() {
            self.spread_effects();
        }
    }

    #[cold]
    fn spread_effects(&mut self) {
        let mut list = std::mem::take(&mut self.shard.effects.list);
        let caller = self.shard.effects.caller;
        let mut flushed = false;
        for effect in list.drain(..) {
            // Databases that are flushed together are one flush to clients.
            if flushed && effect.act != Act::Flushed {
                flushed = false;
                self.invalidate_all();
            }
            self.mark_watchers(&effect);
            self.note_ready(&effect);
            match effect.act {
                Act::Key { key, class, event, changed } => {
                    if changed {
                        self.invalidate(&key, caller);
                    }
                    self.notify(effect.database, &key, class, event);
                }
                Act::Read { key, tracker, lent } => {
                    self.remember(&key, tracker);
                    if lent {
                        self.tell_if_gone(effect.database, &key, tracker);
                    }
                }
                Act::Flushed => flushed = true,
                Act::Swapped(_) => {}
            }
        }
        if flushed {
            self.invalidate_all();
        }
        self.shard.effects.list = list;
        self.update_wanted();
        self.serve_ready();
    }

    /// Tells what the databases have noted outside of commands.
    pub(super) fn after_incidents(&mut self) {
        if !self.shard.effects.wanted && !self.shard.log.wanted {
            return;
        }
        self.shard.effects.caller = Tracker::NONE;
        self.log_incidents();
        self.after_effects();
    }

    /// Marks the clients whose watched keys an effect concerns.
    fn mark_watchers(&mut self, effect: &Effect) {
        let (watch, databases) = (&mut self.shard.watch, &mut self.shard.databases);
        let database = effect.database;
        match &effect.act {
            // At EXEC a watched key that has expired is missed; one that had expired before WATCH is not.
            Act::Key { changed: false, .. } | Act::Key { class: EventClass::Expired, .. } | Act::Read { .. } => {}
            Act::Key { key, .. } => watch.changed(database, key),
            Act::Flushed => watch.flushed(database),
            Act::Swapped(other) => watch.swapped(database, *other, |database, key| {
                let db = &mut databases[usize::from(database)];
                db.set_now(self.now);
                db.contains(key)
            }),
        }
    }
}
