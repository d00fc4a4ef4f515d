//! Which transactions over several shards a segment has, to find those that another one has lost with its tail.

use super::TransactionView;
use ahash::{AHashMap, AHashSet};

/// The transactions of one shard's segments.
#[derive(Debug, Default)]
pub struct Stamps {
    /// Stamps, and the numbers of their participants and generation in `sets`.
    seen: Vec<(u64, u32)>,
    /// Sets of participants in a generation; there are few different ones.
    sets: Vec<Set>,
    numbers: AHashMap<Set, u32>,
    /// The generation of the file that is being read.
    pub generation: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Set {
    generation: u64,
    shards: Box<[u16]>,
}

/// A transaction that not all its participants have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its stamp.
    pub stamp: u64,
    /// The generation of the file that has it.
    pub generation: u64,
    /// A shard whose segments have it.
    pub has: u16,
    /// The shards whose segments lack it.
    pub lack: Vec<u16>,
}

impl Stamps {
    /// Notes a transaction. What it has several records of is noted once.
    pub fn note(&mut self, transaction: &TransactionView<'_>) {
        if self.seen.last().is_some_and(|(stamp, _)| *stamp == transaction.stamp) {
            return;
        }
        let shards = transaction.parts.iter().map(|(shard, _)| *shard).collect();
        let set = Set { generation: self.generation, shards };
        let number = self.numbers.get(&set).copied().unwrap_or_else(|| {
            let number = self.sets.len() as u32;
            self.sets.push(set.clone());
            self.numbers.insert(set, number);
            number
        });
        self.seen.push((transaction.stamp, number));
    }

    /// The greatest stamp; 0: there is none.
    pub fn highest(&self) -> u64 {
        self.seen.iter().map(|(stamp, _)| *stamp).max().unwrap_or(0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// What is missing, given the transactions of all shards by their numbers, in the order in which it is to be applied.
    pub fn missing(all: &[Self]) -> Vec<Missing> {
        let has: Vec<AHashSet<u64>> =
            all.iter().map(|stamps| stamps.seen.iter().map(|(stamp, _)| *stamp).collect()).collect();
        let mut found = Vec::new();
        for (shard, stamps) in all.iter().enumerate() {
            for (stamp, set) in &stamps.seen {
                let Set { generation, shards } = &stamps.sets[*set as usize];
                let lacks = |shard: &u16| has.get(usize::from(*shard)).is_some_and(|has| !has.contains(stamp));
                if shards.iter().any(lacks) {
                    let lack = shards.iter().copied().filter(|shard| lacks(shard)).collect();
                    found.push(Missing { stamp: *stamp, generation: *generation, has: shard as u16, lack });
                }
            }
        }
        found.sort_by_key(|missing| (missing.stamp, missing.has));
        found.dedup_by_key(|missing| missing.stamp);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_some_have_and_others_lack_is_found_in_order() {
        let mut all: Vec<Stamps> = (0..3).map(|_| Stamps::default()).collect();
        let mut note = |stamp, own: u16, shards: &[u16]| {
            all[usize::from(own)].generation = stamp / 2;
            let parts = shards.iter().map(|shard| (*shard, &b""[..])).collect();
            all[usize::from(own)].note(&TransactionView { stamp, own, parts });
        };
        [0, 1].into_iter().for_each(|own| note(5, own, &[0, 1]));
        note(9, 1, &[0, 1, 2]);
        note(9, 2, &[0, 1, 2]);
        note(7, 2, &[0, 1, 2]);
        note(4, 1, &[1]);
        let missing = |stamp, has, lack: &[u16]| Missing { stamp, generation: stamp / 2, has, lack: lack.to_vec() };
        assert_eq!(Stamps::missing(&all), [missing(7, 2, &[0, 1]), missing(9, 1, &[0])]);
        assert_eq!(all.iter().map(Stamps::highest).collect::<Vec<_>>(), [5, 9, 9]);
    }
}
