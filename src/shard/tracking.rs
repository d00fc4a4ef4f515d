//! Which clients want to hear of changes to keys of this shard (CLIENT TRACKING): those that have read a key. What has changed
//! is kept, too, for those that want all keys with a prefix.
//!
//! A key is forgotten when its readers have been told of a change. Readers that have left are taken out by a sweep, a part
//! of the table at a time.

use super::ShardId;
use crate::stdx::random::Random;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A key, shared by those who tell of it.
pub type SharedKey = Arc<[u8]>;

/// Keys that were changed, in order, and who changed each first.
pub type ChangedKeys = Vec<(SharedKey, Tracker)>;

/// A client that tracks keys: its core and its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tracker(u64);

impl Tracker {
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// Bits of a client's id; it would take centuries to count so far.
    const ID_BITS: u32 = 48;

    /// Client `id` of core `core`.
    pub fn new(core: ShardId, id: u64) -> Self {
        debug_assert!(id < 1 << Self::ID_BITS);
        Self(u64::from(core.0) << Self::ID_BITS | id)
    }

    /// As one number.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// From that number.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its core.
    pub fn core(self) -> ShardId {
        ShardId((self.0 >> Self::ID_BITS) as u16)
    }

    /// The client's id; 0: nobody.
    pub fn id(self) -> u64 {
        self.0 & ((1 << Self::ID_BITS) - 1)
    }

    /// Whether it is a client.
    #[inline]
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// What a shard keeps for CLIENT TRACKING.
#[derive(Default)]
pub struct TrackingTable {
    /// Where each key stands among the entries.
    places: HashMap<SharedKey, usize, ahash::RandomState>,
    entries: Vec<Entry>,
    /// Readers of all keys together.
    items: usize,
    changed: BTreeMap<SharedKey, Tracker>,
    /// Clients that have gone since the sweep began.
    departed: BTreeSet<Tracker>,
    /// Clients that the sweep takes out, and how many entries it has yet to look at.
    leaving: BTreeSet<Tracker>,
    unswept: usize,
}

/// A key and who has read it, in ascending order.
struct Entry {
    key: SharedKey,
    readers: Vec<Tracker>,
}

/// Readers of keys.
impl TrackingTable {
    /// Notes that a client has read a key.
    pub fn remember(&mut self, key: &[u8], reader: Tracker) {
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => {
                let key = SharedKey::from(key);
                self.places.insert(key.clone(), self.entries.len());
                self.entries.push(Entry { key, readers: Vec::new() });
                self.entries.len() - 1
            }
        };
        let readers = &mut self.entries[place].readers;
        if let Err(at) = readers.binary_search(&reader) {
            readers.insert(at, reader);
            self.items += 1;
        }
    }

    /// Forgets a key; its readers are to be told.
    pub fn forget(&mut self, key: &[u8]) -> Option<(SharedKey, Vec<Tracker>)> {
        let place = *self.places.get(key)?;
        Some(self.remove(place))
    }

    /// Forgets a random key, to make room.
    pub fn forget_random(&mut self, random: &mut Random) -> Option<(SharedKey, Vec<Tracker>)> {
        (!self.entries.is_empty()).then(|| self.remove(random.below(self.entries.len())))
    }

    fn remove(&mut self, place: usize) -> (SharedKey, Vec<Tracker>) {
        let Entry { key, readers } = self.entries.swap_remove(place);
        self.places.remove(&key);
        if let Some(moved) = self.entries.get(place) {
            *self.places.get_mut(&moved.key).expect("every entry has its place") = place;
        }
        self.items -= readers.len();
        (key, readers)
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        (self.places, self.entries, self.items) = Default::default();
        self.leaving.clear();
        self.unswept = 0;
    }

    /// Number of keys.
    pub fn keys(&self) -> usize {
        self.entries.len()
    }

    /// Number of readers of all keys together.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Notes that clients have gone for good.
    pub fn depart(&mut self, trackers: &[Tracker]) {
        if !self.entries.is_empty() {
            self.departed.extend(trackers);
        }
    }

    /// Takes clients that have gone out of up to `budget` keys.
    pub fn sweep(&mut self, budget: usize) {
        if self.leaving.is_empty() {
            if self.departed.is_empty() {
                return;
            }
            self.leaving = std::mem::take(&mut self.departed);
            self.unswept = self.entries.len();
        }
        // From the end: a removal moves the last entry, which has been looked at.
        self.unswept = self.unswept.min(self.entries.len());
        for _ in 0..budget.min(self.unswept) {
            self.unswept -= 1;
            let readers = &mut self.entries[self.unswept].readers;
            let before = readers.len();
            readers.retain(|reader| !self.leaving.contains(reader));
            let left = readers.len();
            self.items -= before - left;
            if left == 0 {
                self.remove(self.unswept);
            }
        }
        if self.unswept == 0 {
            self.leaving.clear();
        }
    }
}

/// What has changed.
impl TrackingTable {
    /// Whether nobody has read anything.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty()
    }

    /// Notes a change of a key that clients may want because of its prefix.
    pub fn change(&mut self, key: &[u8], by: Tracker) {
        if !self.changed.contains_key(key) {
            self.changed.insert(key.into(), by);
        }
    }

    /// What has changed since the last call.
    pub fn take_changed(&mut self) -> ChangedKeys {
        std::mem::take(&mut self.changed).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(id: u64) -> Tracker {
        Tracker::new(ShardId(3), id)
    }

    #[test]
    fn a_tracker_is_a_core_and_an_id() {
        assert_eq!((tracker(7).core(), tracker(7).id(), tracker(7).is_some()), (ShardId(3), 7, true));
        assert_eq!(Tracker::from_bits(tracker(7).to_bits()), tracker(7));
        assert!(!Tracker::NONE.is_some());
    }

    #[test]
    fn readers_are_told_once() {
        let mut table = TrackingTable::default();
        for (key, id) in [("a", 1), ("a", 2), ("a", 1), ("b", 1)] {
            table.remember(key.as_bytes(), tracker(id));
        }
        assert_eq!((table.keys(), table.items()), (2, 3));
        let (key, readers) = table.forget(b"a").expect("it was read");
        assert_eq!((&key[..], readers), (&b"a"[..], vec![tracker(1), tracker(2)]));
        assert!(table.forget(b"a").is_none());
        assert_eq!((table.keys(), table.items()), (1, 1));
        assert!(table.forget_random(&mut Random::new(1)).is_some());
        assert!(table.forget_random(&mut Random::new(1)).is_none());
        assert!(table.is_idle());
    }

    #[test]
    fn who_has_gone_is_swept_out_bit_by_bit() {
        let mut table = TrackingTable::default();
        for number in 0..100u64 {
            table.remember(format!("key{number}").as_bytes(), tracker(number % 3 + 1));
            table.remember(format!("key{number}").as_bytes(), tracker(9));
        }
        table.remember(b"only", tracker(1));
        table.depart(&[tracker(1), tracker(2)]);
        for _ in 0..20 {
            table.sweep(10);
        }
        assert_eq!((table.keys(), table.items()), (100, 133));
        assert!(table.forget(b"only").is_none());
        assert_eq!(table.forget(b"key2").expect("two are left").1, [tracker(3), tracker(9)]);
        assert_eq!(table.forget(b"key0").expect("one is left").1, [tracker(9)]);
        table.depart(&[tracker(9), tracker(3)]);
        for _ in 0..20 {
            table.sweep(10);
        }
        assert!(table.is_idle());
    }

    #[test]
    fn changes_are_kept_once() {
        let mut table = TrackingTable::default();
        for (key, by) in [("ab", 1), ("b", 2), ("ab", 3), ("aa", 3)] {
            table.change(key.as_bytes(), tracker(by));
        }
        let changed = table.take_changed();
        let shown: Vec<_> = changed.iter().map(|(key, by)| (&key[..], by.id())).collect();
        assert_eq!(shown, [(&b"aa"[..], 3), (b"ab", 1), (b"b", 2)]);
        assert!(table.take_changed().is_empty());
    }
}
