//! What a core tells the others about its interest, and how far they have heard it.
//!
//! The changes of a turn leave as one numbered announcement. Each change says how things are, not what has changed, and
//! mail between two cores keeps its order: the last word of a core about a name is what the others believe.

use crate::shard::ShardId;
use crate::spec::ChannelKind;
use bytes::Bytes;
use std::sync::Arc;

/// A core wants the messages of a name, or does not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What kind of name it is.
    pub kind: ChannelKind,
    /// The name.
    pub name: Bytes,
    /// Whether the core wants its messages.
    pub wanted: bool,
}

/// Changes with the number by which the others say that they have heard them.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Ascending from 1.
    pub number: u64,
    /// In order; a name may stand here twice.
    pub changes: Arc<[Change]>,
}

/// The announcements of one core.
pub(super) struct Announcements {
    /// The number of the next one, which changes are gathered for.
    next: u64,
    changes: Vec<Change>,
    /// By core, the last one it has heard. This core itself has heard all.
    heard: Vec<u64>,
    /// All cores have heard those up to this one.
    settled: u64,
}

impl Announcements {
    pub fn new(core: ShardId, cores: usize) -> Self {
        let mut heard = vec![0; cores];
        heard[core.index()] = u64::MAX;
        Self { next: 1, changes: Vec::new(), settled: if cores == 1 { u64::MAX } else { 0 }, heard }
    }

    /// Gathers a change; the number of the announcement it will leave with. With nobody to tell, nothing is gathered.
    pub fn add(&mut self, change: Change) -> u64 {
        if self.heard.len() > 1 {
            self.changes.push(change);
        }
        self.next
    }

    pub fn take(&mut self) -> Option<Announcement> {
        if self.changes.is_empty() {
            return None;
        }
        let number = self.next;
        self.next += 1;
        Some(Announcement { number, changes: std::mem::take(&mut self.changes).into() })
    }

    pub fn heard(&mut self, from: ShardId, number: u64) -> bool {
        debug_assert!(self.heard[from.index()] < number, "mail between two cores keeps its order");
        self.heard[from.index()] = number;
        let before = self.settled;
        self.settled = self.heard.iter().copied().min().unwrap_or(u64::MAX);
        self.settled > before
    }

    pub fn is_settled(&self, number: u64) -> bool {
        number <= self.settled
    }
}
