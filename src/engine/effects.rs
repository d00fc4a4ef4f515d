//! What follows from what commands have done to keys of this shard.

use super::Engine;

impl Engine {
    /// Tells those who wait for it what has been done. Called after each command, transaction or store.
    #[inline]
    pub(super) fn after_effects(&mut self) {
        debug_assert!(self.shard.effects.list.is_empty() || self.shard.effects.wanted);
        self.shard.effects.list.clear();
    }
}
