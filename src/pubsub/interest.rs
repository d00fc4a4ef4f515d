//! Which cores have subscribers, for whoever publishes on any of them. All cores share it, as they share counters: nobody
//! announces anything, and nobody waits for an announcement.
//!
//! Names are dealt into sets by their hash, patterns by their first byte. A set has a bit for every core: it is raised
//! before the first subscription to a name of the set is confirmed there, and falls with the last. So whoever publishes
//! finds every subscription that was made before. A core whose bit is up because of another name of the set gets a message
//! for nobody.
//!
//! How many names have subscribers is counted by name, under a lock that is taken where a core's first subscription to a
//! name begins or its last one ends.

use crate::limits::INTEREST_SETS;
use crate::shard::ShardId;
use crate::spec::ChannelKind;
use ahash::{AHashMap, RandomState};
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Sets of patterns: one for each first byte, and one for those that may begin with any.
const PATTERN_SETS: usize = 257;

/// All sets of names and patterns.
const SETS: usize = INTEREST_SETS + PATTERN_SETS;

/// Parts of the names, each with its lock.
const PARTS: usize = 64;

/// On how many cores each name has subscribers.
type Names = AHashMap<(ChannelKind, Bytes), u32>;

/// Which cores have subscribers of what.
pub struct Interest {
    cores: usize,
    /// Words of one set.
    words: usize,
    /// By set, a bit for each core.
    bits: Box<[AtomicU64]>,
    hasher: RandomState,
    names: Box<[Mutex<Names>]>,
    /// By kind, how many names have subscribers.
    counts: [AtomicU64; 3],
}

/// One core's part in it: how many names of each set have subscribers there.
#[derive(Default)]
pub(super) struct OwnInterest {
    /// By set; empty until somebody subscribes.
    names: Vec<u32>,
}

impl Interest {
    /// Nobody's interest, on so many cores. `seed` decides which names share a set.
    pub fn new(cores: usize, seed: u64) -> Self {
        let words = cores.div_ceil(64);
        Self {
            cores,
            words,
            bits: (0..SETS * words).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::with_seeds(seed, seed.rotate_left(16), seed.rotate_left(32), seed.rotate_left(48)),
            names: (0..PARTS).map(|_| Mutex::default()).collect(),
            counts: Default::default(),
        }
    }

    /// How many names of one kind have subscribers on any core.
    pub fn len(&self, kind: ChannelKind) -> u64 {
        self.counts[kind as usize].load(Ordering::Relaxed)
    }

    /// Whether nobody on any core would hear what is published to a channel.
    #[inline]
    pub fn is_deaf(&self) -> bool {
        self.len(ChannelKind::Channel) + self.len(ChannelKind::Pattern) == 0
    }

    /// The cores but `own` that may have subscribers of `channel`, in order, behind `reached`.
    pub fn cores(&self, kind: ChannelKind, channel: &[u8], own: ShardId, reached: &mut Vec<ShardId>) {
        if self.cores == 1 {
            return;
        }
        let first = channel.first().map_or(256, |first| usize::from(*first));
        let mut sets = [self.set(kind, channel); 3];
        if kind == ChannelKind::Channel {
            sets[1..].copy_from_slice(&[INTEREST_SETS + first, INTEREST_SETS + 256]);
        }
        for word in 0..self.words {
            let bits = |set: &usize| self.bits[set * self.words + word].load(Ordering::Acquire);
            let mut wanted = sets.iter().map(bits).fold(0, |all, some| all | some);
            while wanted != 0 {
                let core = ShardId((64 * word) as u16 + wanted.trailing_zeros() as u16);
                wanted &= wanted - 1;
                reached.extend((core != own).then_some(core));
            }
        }
    }

    /// Core `core` has its first subscriber of `name`.
    pub(super) fn begin(&self, core: ShardId, own: &mut OwnInterest, kind: ChannelKind, name: &Bytes) {
        let set = self.set(kind, name);
        own.names.resize(SETS, 0);
        own.names[set] += 1;
        if own.names[set] == 1 {
            self.word(set, core).fetch_or(1 << (core.index() % 64), Ordering::AcqRel);
        }
        let mut names = self.part(set);
        let cores = names.entry((kind, name.clone())).or_default();
        *cores += 1;
        if *cores == 1 {
            self.counts[kind as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Core `core` has lost its last subscriber of `name`.
    pub(super) fn end(&self, core: ShardId, own: &mut OwnInterest, kind: ChannelKind, name: &Bytes) {
        let set = self.set(kind, name);
        own.names[set] -= 1;
        if own.names[set] == 0 {
            self.word(set, core).fetch_and(!(1 << (core.index() % 64)), Ordering::AcqRel);
        }
        let mut names = self.part(set);
        let name = (kind, name.clone());
        let cores = names.get_mut(&name).expect("it has begun");
        *cores -= 1;
        if *cores == 0 {
            names.remove(&name);
            self.counts[kind as usize].fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn word(&self, set: usize, core: ShardId) -> &AtomicU64 {
        &self.bits[set * self.words + core.index() / 64]
    }

    fn part(&self, set: usize) -> std::sync::MutexGuard<'_, Names> {
        self.names[set % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, kind: ChannelKind, name: &[u8]) -> usize {
        if kind == ChannelKind::Pattern {
            return INTEREST_SETS + first_byte(name).map_or(256, usize::from);
        }
        self.hasher.hash_one((kind as u8, name)) as usize % INTEREST_SETS
    }
}

/// The byte that all begin with that match a pattern; `None`: there is none.
fn first_byte(pattern: &[u8]) -> Option<u8> {
    match pattern {
        [b'*' | b'?' | b'[', ..] | [] => None,
        [b'\\', escaped, ..] => Some(*escaped),
        [first, ..] => Some(*first),
    }
}
