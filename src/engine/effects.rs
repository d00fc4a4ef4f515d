//! What follows from what commands have done to keys of this shard.

use super::Engine;
use crate::config::Notifications;
use crate::shard::{Act, Incidents};

impl Engine {
    /// Tells those who wait for it what has been done. Called after each command, transaction or store.
    #[inline]
    pub(super) fn after_effects(&mut self) {
        if !self.shard.effects.list.is_empty() {
            self.tell_effects();
        }
    }

    fn tell_effects(&mut self) {
        let mut list = std::mem::take(&mut self.shard.effects.list);
        for effect in &list {
            if let Act::Key { key, class, event, .. } = &effect.act {
                self.notify(effect.database, key, *class, event);
            }
        }
        list.clear();
        self.shard.effects.list = list;
    }

    /// Looks who is there that wants to know what is done to keys of this shard. Called when that has changed.
    pub(super) fn update_wanted(&mut self) {
        self.shard.effects.wanted = self.config.notify_keyspace_events.tell();
        let incidents = self.incidents_wanted();
        self.shard.databases.iter_mut().for_each(|db| db.keep_incidents(incidents));
    }

    /// The incidents that somebody wants to know.
    pub(super) fn incidents_wanted(&self) -> Incidents {
        let told = self.config.notify_keyspace_events;
        let mut incidents = Incidents::empty();
        incidents.set(Incidents::EXPIRED, self.shard.effects.wanted);
        incidents.set(Incidents::CREATED, told.tell() && told.contains(Notifications::NEW));
        incidents.set(Incidents::MISSED, told.tell() && told.contains(Notifications::KEY_MISS));
        incidents
    }

    /// Tells what the databases have noted outside of commands.
    pub(super) fn after_incidents(&mut self) {
        if !self.shard.effects.wanted {
            return;
        }
        let crate::shard::Shard { databases, effects, .. } = &mut self.shard;
        databases.iter_mut().enumerate().for_each(|(index, db)| effects.incidents(index as u16, db));
        self.after_effects();
    }
}
