//! What follows from what commands have done to keys of this shard.

use super::Engine;
use crate::config::Notifications;
use crate::shard::tracking::Tracker;
use crate::shard::{Act, Incidents, Shard};

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
        let caller = self.shard.effects.caller;
        let mut flushed = false;
        for effect in &list {
            match &effect.act {
                Act::Key { key, class, event, changed } => {
                    if *changed {
                        self.invalidate(key, caller);
                    }
                    self.notify(effect.database, key, *class, event);
                }
                Act::Read { key, tracker } => self.remember(key, *tracker),
                Act::Flushed => flushed = true,
                Act::Swapped(_) => {}
            }
        }
        if flushed {
            self.invalidate_all();
        }
        list.clear();
        self.shard.effects.list = list;
    }

    /// Looks who is there that wants to know what is done to keys of this shard. Called when that has changed.
    pub(super) fn update_wanted(&mut self) {
        let tracked = !self.shard.tracking.is_idle() || self.trackers.any();
        self.shard.effects.wanted = tracked || self.config.notify_keyspace_events.tell();
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
        let Shard { databases, effects, .. } = &mut self.shard;
        effects.caller = Tracker::NONE;
        databases.iter_mut().enumerate().for_each(|(index, db)| effects.incidents(index as u16, db));
        self.after_effects();
    }
}
