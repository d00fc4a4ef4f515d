//! Keys that were evicted, remembered by a fingerprint: one for each key that is there, 4 bytes each.
//!
//! ```text
//! 31          20 19 18 17     12 11         0
//! [ fingerprint | trial | weight  | time / 64 ]
//! ```
//!
//! A hash leads to a set of [`WAYS`] entries; a new one takes the place of the one that counts least. Two keys with the same
//! fingerprint in the same set are taken for each other, once in a thousand lookups: one of them is kept too long then.

use crate::limits::EVICTION_GHOSTS_MAX;

/// Entries in a set.
const WAYS: usize = 4;
/// Bits of the time that an entry lacks.
const TIME_SHIFT: u32 = 6;
const TIME_MASK: u32 = 0xfff;
const WEIGHT_MASK: u32 = 0x3f;

/// A victim that was chosen with another half-life, to see what that is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// With a shorter one.
    Short,
    /// With a longer one.
    Long,
}

/// What is remembered of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ghost {
    /// Its weight at its last use.
    pub weight: u32,
    /// When that was, a little rounded.
    pub time: u32,
    /// Why it was evicted.
    pub trial: Option<Trial>,
}

impl Ghost {
    fn unpack(entry: u32) -> Self {
        let trial = match entry >> 18 & 3 {
            1 => Some(Trial::Short),
            2 => Some(Trial::Long),
            _ => None,
        };
        Self { weight: entry >> 12 & WEIGHT_MASK, time: (entry & TIME_MASK) << TIME_SHIFT, trial }
    }

    fn pack(self, fingerprint: u32) -> u32 {
        let trial = match self.trial {
            None => 0,
            Some(Trial::Short) => 1,
            Some(Trial::Long) => 2,
        };
        fingerprint << 20 | trial << 18 | self.weight << 12 | self.time >> TIME_SHIFT & TIME_MASK
    }
}

/// The keys that are remembered. An entry of 0 is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Ghosts {
    sets: Vec<[u32; WAYS]>,
}

impl Ghosts {
    /// Bytes they take.
    pub fn memory_bytes(&self) -> usize {
        self.sets.capacity() * size_of::<[u32; WAYS]>()
    }

    /// Makes room for as many as there are keys. What was remembered is lost when that means another size; it grows and
    /// shrinks by large steps, so that this is rare.
    pub fn fit(&mut self, keys: usize) {
        let wanted = keys.min(EVICTION_GHOSTS_MAX).div_ceil(WAYS).max(1);
        let sets = self.sets.len();
        if wanted > sets + sets / 4 || wanted < sets / 2 {
            self.sets = vec![[0; WAYS]; wanted];
        }
    }

    /// The set and the fingerprint of a hash; `None` when there is no room at all.
    #[inline]
    fn place(&self, hash: u64) -> Option<(usize, u32)> {
        // The table of keys uses other bits of the hash to tell keys apart; all are as good as random.
        let set = ((u128::from(hash) * self.sets.len() as u128) >> 64) as usize;
        (set < self.sets.len()).then_some((set, (hash as u32 & TIME_MASK).max(1)))
    }

    /// Takes out what is remembered of the key with this hash.
    #[inline]
    pub fn take(&mut self, hash: u64) -> Option<Ghost> {
        let (set, fingerprint) = self.place(hash)?;
        let entry = self.sets[set].iter_mut().find(|entry| **entry >> 20 == fingerprint)?;
        Some(Ghost::unpack(std::mem::take(entry)))
    }

    /// Remembers a key, instead of one of which `worth` is least where there is no room.
    pub fn put(&mut self, hash: u64, ghost: Ghost, worth: impl Fn(Ghost) -> i64) {
        let Some((set, fingerprint)) = self.place(hash) else { return };
        let worth = |entry: &&mut u32| if **entry == 0 { i64::MIN } else { worth(Ghost::unpack(**entry)) };
        if let Some(entry) = self.sets[set].iter_mut().min_by_key(worth) {
            *entry = ghost.pack(fingerprint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdx::random::Random;

    #[test]
    fn what_is_put_is_found_once() {
        let mut ghosts = Ghosts::default();
        let ghost = Ghost { weight: 63, time: 4095 << 6, trial: Some(Trial::Long) };
        assert_eq!(ghosts.take(7), None);
        ghosts.put(7, ghost, |_| 0);
        assert_eq!((ghosts.take(7), ghosts.memory_bytes()), (None, 0));
        ghosts.fit(1);
        ghosts.put(7, ghost, |_| 0);
        assert_eq!((ghosts.take(7), ghosts.take(7)), (Some(ghost), None));
    }

    #[test]
    fn the_least_worth_makes_way() {
        let mut ghosts = Ghosts::default();
        ghosts.fit(4);
        for time in [3, 1, 2, 5, 4] {
            ghosts.put(time, Ghost { weight: 0, time: (time as u32) << 6, trial: None }, |ghost| i64::from(ghost.time));
        }
        let found: Vec<bool> = (1..=5).map(|hash| ghosts.take(hash).is_some()).collect();
        assert_eq!(found, [false, true, true, true, true]);
    }

    #[test]
    fn there_are_about_as_many_as_keys() {
        let (mut ghosts, mut random) = (Ghosts::default(), Random::new(3));
        for keys in [10_000, 11_000, 9_000, 100_000, 12_000] {
            ghosts.fit(keys);
            assert!((2 * keys..=8 * keys + 16).contains(&ghosts.memory_bytes()), "{keys}: {}", ghosts.memory_bytes());
        }
        let hashes: Vec<u64> = (0..12_000).map(|_| random.next_u64()).collect();
        hashes.iter().for_each(|&hash| ghosts.put(hash, Ghost { weight: 1, time: 0, trial: None }, |_| 0));
        let strangers = (0..100_000).filter(|_| ghosts.take(random.next_u64()).is_some()).count();
        assert!(strangers < 150, "{strangers} in 100,000 are taken for others");
        let found = hashes.iter().filter(|&&hash| ghosts.take(hash).is_some()).count();
        assert!(found > 9_000, "{found} of 12,000");
    }
}
