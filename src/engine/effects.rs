//! What follows from what commands have done to keys of this shard. While nobody waits for it, nothing is noted.

use super::Engine;

impl Engine {
    /// Decides anew whether effects are noted: when somebody begins or stops to wait for them.
    pub(super) fn update_wanted(&mut self) {
        self.shard.effects.wanted = !self.blocking.clients.is_empty();
        if !self.shard.effects.wanted {
            self.shard.effects.list.clear();
        }
    }

    /// Tells those who wait for it what has been done. Called after each command, transaction or store.
    #[inline]
    pub(super) fn after_effects(&mut self) {
        debug_assert!(self.shard.effects.list.is_empty() || self.shard.effects.wanted);
        if !self.shard.effects.list.is_empty() {
            self.spread_effects();
        }
    }

    #[cold]
    fn spread_effects(&mut self) {
        let mut list = std::mem::take(&mut self.shard.effects.list);
        for effect in list.drain(..) {
            self.note_ready(&effect);
        }
        self.shard.effects.list = list;
        self.serve_ready();
    }
}
