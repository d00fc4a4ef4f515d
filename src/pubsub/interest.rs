//! Which cores have clients that want to hear of something: subscribers of channels, and clients that track all keys with a
//! prefix. All cores share it, as they share counters: nobody announces anything, and nobody waits for an announcement.
//!
//! Channels are dealt into sets by their hash, patterns and prefixes by their first byte. A set has a bit for every core: it
//! is raised before the first client of a name in the set is answered there, and falls with the last. So whoever publishes
//! finds all who came before. A core whose bit is up because of another name of the set gets a message for nobody.
//!
//! How many names are wanted is counted by name, under a lock that is taken where a core's first client of a name comes or
//! its last one goes.

use crate::limits::INTEREST_SETS;
use crate::shard::ShardId;
use crate::spec::ChannelKind;
use ahash::{AHashMap, RandomState};
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Sets of patterns, and of prefixes: one for each first byte, and one for those that any may begin.
const BYTE_SETS: usize = 257;

/// The set of what any byte may begin.
const ANY: usize = 256;

/// The first set of patterns, and that of prefixes.
const PATTERNS: usize = INTEREST_SETS;
const PREFIXES: usize = PATTERNS + BYTE_SETS;

/// All sets.
const SETS: usize = PREFIXES + BYTE_SETS;

/// Parts of the names, each with its lock.
const PARTS: usize = 64;

/// What a client may want to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// What is published to a channel.
    Channel,
    /// What is published to channels that match a pattern.
    Pattern,
    /// What is published to a shard channel.
    Shard,
    /// Changes of keys with a prefix.
    Prefix,
}

impl From<ChannelKind> for Topic {
    fn from(kind: ChannelKind) -> Self {
        match kind {
            ChannelKind::Channel => Self::Channel,
            ChannelKind::Pattern => Self::Pattern,
            ChannelKind::Shard => Self::Shard,
        }
    }
}

/// On how many cores each name is wanted.
type Names = AHashMap<(Topic, Bytes), u32>;

/// Which cores have clients that want what.
pub struct Interest {
    cores: usize,
    /// Words of one set.
    words: usize,
    /// By set, a bit for each core.
    bits: Box<[AtomicU64]>,
    hasher: RandomState,
    names: Box<[Mutex<Names>]>,
    /// By topic, how many names are wanted.
    counts: [AtomicU64; 4],
}

/// One core's part in it: how many names of each set are wanted there.
#[derive(Default)]
pub struct OwnInterest {
    names: AHashMap<usize, u32>,
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

    /// How many names of one topic are wanted on any core.
    #[inline]
    pub fn len(&self, topic: impl Into<Topic>) -> u64 {
        self.counts[topic.into() as usize].load(Ordering::Relaxed)
    }

    /// Whether nobody on any core would hear what is published to a channel.
    #[inline]
    pub fn is_deaf(&self) -> bool {
        self.len(Topic::Channel) + self.len(Topic::Pattern) == 0
    }

    /// Whether a client on some core may want to hear of changes of a key.
    pub fn is_tracked(&self, key: &[u8]) -> bool {
        let sets = [PREFIXES + first_set(key), PREFIXES + ANY];
        let is_up = |set: usize| {
            self.bits[set * self.words..][..self.words].iter().any(|bits| bits.load(Ordering::Acquire) != 0)
        };
        self.len(Topic::Prefix) > 0 && sets.into_iter().any(is_up)
    }

    /// The cores but `own` that may have clients who want to hear of something, in order, behind `reached`: of a
    /// publication to a channel or shard channel, or of a change of a key.
    pub fn cores(&self, topic: impl Into<Topic>, name: &[u8], own: ShardId, reached: &mut Vec<ShardId>) {
        if self.cores == 1 {
            return;
        }
        let sets = match topic.into() {
            Topic::Prefix => [PREFIXES + first_set(name), PREFIXES + ANY, PREFIXES + ANY],
            Topic::Channel => [self.set(Topic::Channel, name), PATTERNS + first_set(name), PATTERNS + ANY],
            topic => [self.set(topic, name); 3],
        };
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

    /// Core `core` has its first client that wants `name`.
    pub fn begin(&self, core: ShardId, own: &mut OwnInterest, topic: impl Into<Topic>, name: &Bytes) {
        let topic = topic.into();
        let set = self.set(topic, name);
        let count = own.names.entry(set).or_default();
        *count += 1;
        if *count == 1 {
            self.word(set, core).fetch_or(1 << (core.index() % 64), Ordering::AcqRel);
        }
        let mut names = self.part(set);
        let cores = names.entry((topic, name.clone())).or_default();
        *cores += 1;
        if *cores == 1 {
            self.counts[topic as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Core `core` has lost its last client that wants `name`.
    pub fn end(&self, core: ShardId, own: &mut OwnInterest, topic: impl Into<Topic>, name: &Bytes) {
        let topic = topic.into();
        let set = self.set(topic, name);
        let count = own.names.get_mut(&set).expect("it has begun");
        *count -= 1;
        if *count == 0 {
            own.names.remove(&set);
            self.word(set, core).fetch_and(!(1 << (core.index() % 64)), Ordering::AcqRel);
        }
        let mut names = self.part(set);
        let name = (topic, name.clone());
        let cores = names.get_mut(&name).expect("it has begun");
        *cores -= 1;
        if *cores == 0 {
            names.remove(&name);
            self.counts[topic as usize].fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn word(&self, set: usize, core: ShardId) -> &AtomicU64 {
        &self.bits[set * self.words + core.index() / 64]
    }

    fn part(&self, set: usize) -> std::sync::MutexGuard<'_, Names> {
        self.names[set % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, topic: Topic, name: &[u8]) -> usize {
        match topic {
            Topic::Pattern => PATTERNS + first_byte(name).map_or(ANY, usize::from),
            Topic::Prefix => PREFIXES + first_set(name),
            _ => self.hasher.hash_one((topic as u8, name)) as usize % INTEREST_SETS,
        }
    }
}

/// The place of what begins as this does.
fn first_set(text: &[u8]) -> usize {
    text.first().map_or(ANY, |first| usize::from(*first))
}

/// The byte that all begin with that match a pattern; `None`: there is none.
fn first_byte(pattern: &[u8]) -> Option<u8> {
    match pattern {
        [b'*' | b'?' | b'[', ..] | [] => None,
        [b'\\', escaped, ..] => Some(*escaped),
        [first, ..] => Some(*first),
    }
}
