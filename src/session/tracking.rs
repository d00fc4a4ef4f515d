//! What a session tracks (CLIENT TRACKING): how it hears of keys that have changed, and which.

use super::SessionKey;
use crate::shard::ShardId;
use crate::shard::tracking::Tracker;
use std::collections::BTreeSet;

/// Another client that gets the invalidations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub id: u64,
    /// Its core.
    pub core: ShardId,
    /// Its place on that core; whether it is still there, the id tells.
    pub key: SessionKey,
}

/// Which keys a session tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Those it reads.
    #[default]
    Reads,
    /// Those it reads with a command behind CLIENT CACHING YES.
    OptIn,
    /// Those it reads, but not with a command behind CLIENT CACHING NO.
    OptOut,
    /// All with certain prefixes.
    Broadcast,
}

/// What a session tracks.
#[derive(Clone, Debug)]
pub struct Tracking {
    /// Who it is for the owners of keys.
    pub tracker: Tracker,
    /// Which keys.
    pub mode: Mode,
    /// Whether it does not hear of its own changes.
    pub no_loop: bool,
    /// Whether CLIENT CACHING stands before the next command.
    pub caching: bool,
    /// Who gets the invalidations; `None`: the session itself.
    pub redirect: Option<Target>,
    /// Whether that client has gone.
    pub broken: bool,
    /// The prefixes of the broadcast mode.
    pub prefixes: BTreeSet<Box<[u8]>>,
    /// Bytes of these.
    pub prefix_bytes: usize,
}

impl Tracking {
    /// Tracking of what is read.
    pub fn new(tracker: Tracker) -> Self {
        let (mode, prefixes) = Default::default();
        Self { tracker, mode, no_loop: false, caching: false, redirect: None, broken: false, prefixes, prefix_bytes: 0 }
    }

    /// Whether keys that the next command reads are tracked.
    pub fn remembers(&self) -> bool {
        match self.mode {
            Mode::Reads => true,
            Mode::OptIn => self.caching,
            Mode::OptOut => !self.caching,
            Mode::Broadcast => false,
        }
    }
}
