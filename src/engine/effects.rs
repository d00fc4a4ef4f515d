//! What follows from what commands did to this shard's keys. Every command, transaction and store on a shard ends here
//! when it had effects that somebody waits for; while nobody waits, nothing is noted and nothing runs.

use super::Engine;
use crate::shard::{Act, Effect};

impl Engine {
    /// Decides anew whether effects are noted: when somebody begins or stops to wait for them.
    pub(super) fn update_wanted(&mut self) {
        self.shard.effects.wanted = !self.shard.watch.is_empty();
        if !self.shard.effects.wanted {
            self.shard.effects.list.clear();
        }
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
        for effect in list.drain(..) {
            self.mark_watchers(&effect);
        }
        self.shard.effects.list = list;
        self.update_wanted();
    }

    /// Marks the clients whose watched keys an effect concerns.
    fn mark_watchers(&mut self, effect: &Effect) {
        let (watch, databases) = (&mut self.shard.watch, &mut self.shard.databases);
        let database = effect.database;
        match &effect.act {
            Act::Key { changed: false, .. } => {}
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
