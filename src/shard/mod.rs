//! One core's data: its slice of every database, and the routing from a key to the shard that owns it.

pub mod blocked;
pub mod database;
pub mod effects;
pub mod eviction;
pub mod locks;
pub mod log;
pub mod routing;
pub mod snapshot;
pub mod tracking;

pub mod watch;

pub use database::{Database, Expiry, Garbage, Incidents};
pub use effects::{Act, Effect, Effects, EventClass};
pub use log::Log;
pub use routing::{Router, ShardId, Slot};
pub use snapshot::Encode;
pub use watch::{Watch, WatchedKey};

use crate::config::LazyFree;
use snapshot::Snapshot;
use tracking::TrackingTable;

/// Milliseconds since the Unix epoch.
pub type Millis = i64;

/// One core's data.
pub struct Shard {
    /// Which shard this is.
    pub id: ShardId,
    /// The databases, by index.
    pub databases: Vec<Database>,
    /// What commands have done and nobody has looked at yet.
    pub effects: Effects,
    /// What they have changed, for the append-only log.
    pub log: Log,
    /// Who wants to hear of changes to keys.
    pub tracking: TrackingTable,
    /// Who watches its keys.
    pub watch: Watch,
    /// The snapshot of its databases that is under way.
    snapshot: Option<Snapshot>,
    /// Whether keys whose time is over stay.
    keeps_expired: bool,
}

impl Shard {
    /// An empty shard with `databases` databases.
    pub fn new(id: ShardId, databases: usize) -> Self {
        Self {
            id,
            databases: (0..databases).map(|_| Database::new()).collect(),
            effects: Effects::default(),
            log: Log::default(),
            tracking: TrackingTable::default(),
            watch: Watch::default(),
            snapshot: None,
            keeps_expired: false,
        }
    }

    /// Whether keys whose time is over stay from now on, as while clients are paused.
    #[inline]
    pub fn keep_expired(&mut self, keep: bool) {
        if keep != self.keeps_expired {
            self.keeps_expired = keep;
            self.databases.iter_mut().for_each(|db| db.keep_expired(keep));
        }
    }

    /// Whether nothing expires from now on, as while a log is replayed.
    pub fn set_timeless(&mut self, timeless: bool) {
        self.databases.iter_mut().for_each(|db| db.set_timeless(timeless));
    }

    /// Sets what is kept as garbage from now on.
    pub fn set_lazy_free(&mut self, lazy: LazyFree) {
        self.databases.iter_mut().for_each(|db| db.set_lazy_free(lazy));
    }
}
