//! What a cut gives every shard: files of a new generation (see the manifest), and whether a snapshot goes with them.

use super::LogId;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

/// What the shards change to.
#[derive(Debug)]
pub struct Cut {
    /// The log they are part of.
    pub log: LogId,
    /// The generation of the files.
    pub generation: u64,
    /// Whether changes are logged from then on.
    pub logs: bool,
    /// Whether a snapshot is taken.
    pub snapshot: bool,
    /// By shard: the increment and the base. Each shard takes its own; there are none where no files are.
    pub files: Vec<Mutex<Option<CutFiles>>>,
}

impl Cut {
    /// With which the log ends.
    pub fn switching_off() -> Self {
        Self { log: LogId::NONE, generation: 0, logs: false, snapshot: false, files: Vec::new() }
    }
}

/// The new files of one shard, empty.
#[derive(Debug)]
pub struct CutFiles {
    /// What is logged from then on goes here.
    pub increment: OwnedFd,
    /// The snapshot goes here, if there is one.
    pub base: Option<OwnedFd>,
    /// The pending area, where the log is switched on.
    pub pending: Option<File>,
}
