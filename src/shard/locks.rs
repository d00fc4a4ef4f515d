//! Locks of one shard's keys for transactions over several shards.
//!
//! A transaction has an id from a counter of the whole node and asks a shard for all its locks there at once. It is
//! *granted* when nobody who conflicts with it is in its way; it *waits* for older ones, and it is *refused* when a younger
//! one that conflicts has been granted its locks already: then it must give up all its locks everywhere and try again. So
//! whoever waits is younger than those it waits for, on every shard, and nobody waits in a circle.
//!
//! At its second try it is *patient*: it asks shard by shard, in their order, and is never refused, but stands in line
//! behind all who are there. Two patient ones do not wait in a circle because they keep to the same order; and others are
//! refused where they would have to wait for a patient one, so that nobody whom it waits for ever waits for it.
//!
//! Commands on a single shard take no locks. They only ask whether a granted transaction is in their way.

use crate::limits::LOCKED_KEYS_MAX;
use ahash::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

/// Which transaction; later ones have greater ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u64);

/// What may go on beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Other readers.
    Shared,
    /// Nothing.
    Exclusive,
}

impl Mode {
    fn conflicts(self, other: Self) -> bool {
        self == Self::Exclusive || other == Self::Exclusive
    }
}

/// A key among locks: a hash of its name, whatever its database. Two keys with the same hash share their lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockKey(u64);

impl LockKey {
    /// The lock of `key`, the same on every core.
    pub fn of(key: &[u8]) -> Self {
        static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(STATE.hash_one(key))
    }
}

/// What is locked on one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockSet {
    /// Keys, each once, in order.
    keys: Vec<(LockKey, Mode)>,
    /// The shard with all its keys, those that do not exist included.
    whole: Option<Mode>,
}

impl LockSet {
    /// All keys of the shard.
    pub fn whole(mode: Mode) -> Self {
        Self { keys: Vec::new(), whole: Some(mode) }
    }

    /// Keys, each in the strictest mode it is named with.
    pub fn of_keys(mut keys: Vec<(LockKey, Mode)>) -> Self {
        keys.sort_unstable_by(|(a, mode), (b, other)| a.cmp(b).then(other.cmp(mode)));
        keys.dedup_by_key(|(key, _)| *key);
        Self { keys, whole: None }
    }

    /// The same for keys by name that `each` calls its argument with. Where they are very many, the whole shard is locked.
    pub fn of_each(each: impl FnOnce(&mut dyn FnMut(&[u8], Mode))) -> Self {
        let (mut keys, mut whole) = (Vec::new(), None);
        each(&mut |key, mode| {
            if whole.is_some() || keys.len() == LOCKED_KEYS_MAX {
                whole = whole.max(Some(mode));
            } else {
                keys.push((LockKey::of(key), mode));
            }
        });
        match whole {
            Some(mode) => Self::whole(keys.into_iter().fold(mode, |strictest, (_, mode)| strictest.max(mode))),
            None => Self::of_keys(keys),
        }
    }

    /// The same with all keys of the shard beside them.
    pub fn and_whole(mut self, mode: Mode) -> Self {
        self.whole = self.whole.max(Some(mode));
        self
    }

    /// Whether nothing is locked.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.whole.is_none()
    }

    fn mode_of(&self, key: LockKey) -> Option<Mode> {
        let found = self.keys.binary_search_by_key(&key, |(key, _)| *key);
        found.ok().map(|index| self.keys[index].1)
    }

    /// The strictest mode in it.
    fn strictest(&self) -> Option<Mode> {
        self.keys.iter().map(|(_, mode)| *mode).max().max(self.whole)
    }

    fn conflicts(&self, other: &Self) -> bool {
        let (few, many) = if self.keys.len() < other.keys.len() { (self, other) } else { (other, self) };
        let both = |a: Option<Mode>, b: Option<Mode>| a.zip(b).is_some_and(|(a, b)| a.conflicts(b));
        few.keys.iter().any(|(key, mode)| many.mode_of(*key).is_some_and(|other| mode.conflicts(other)))
            || both(self.whole, other.strictest())
            || both(other.whole, self.strictest())
    }
}

/// The answer to a transaction that asks for its locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It has them.
    Granted,
    /// It will have them when older ones are done.
    Waits,
    /// A younger one is in the way.
    Refused,
}

/// A transaction on this shard. `W` is what is to be done when its wait is over.
struct Holder<W> {
    locks: LockSet,
    /// Its place in line: by the id, or for a patient one behind all that were there.
    rank: u64,
    patient: bool,
    granted: bool,
    waiter: Option<W>,
}

/// The locks of one shard.
pub struct Locks<W> {
    holders: BTreeMap<TransactionId, Holder<W>>,
    /// Of each locked key, who locks it or waits for it.
    by_key: HashMap<LockKey, Vec<TransactionId>, RandomState>,
    /// How many have or want the whole shard.
    whole: usize,
}

impl<W> Default for Locks<W> {
    fn default() -> Self {
        Self { holders: BTreeMap::new(), by_key: HashMap::default(), whole: 0 }
    }
}

impl<W> Locks<W> {
    /// Whether nothing is locked.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// Whether a transaction has its locks here.
    pub fn holds(&self, id: TransactionId) -> bool {
        self.holders.get(&id).is_some_and(|holder| holder.granted)
    }

    /// Whether a granted transaction is in the way of something that wants `locks` for a moment.
    pub fn blocks(&self, locks: &LockSet) -> bool {
        self.blocker(locks).is_some()
    }

    /// A granted transaction that is in the way of something that wants `locks` for a moment.
    pub fn blocker(&self, locks: &LockSet) -> Option<TransactionId> {
        self.rivals(locks).find(|id| {
            let holder = &self.holders[id];
            holder.granted && holder.locks.conflicts(locks)
        })
    }

    /// Whether nobody has or wants locks that conflict with `locks`.
    pub fn is_free(&self, locks: &LockSet) -> bool {
        !self.rivals(locks).any(|id| self.holders[&id].locks.conflicts(locks))
    }

    /// Asks for the locks of a transaction. One that waits is to be given to [`Locks::wait`].
    pub fn ask(&mut self, id: TransactionId, locks: LockSet, patient: bool) -> Asked {
        let own = 2 * id.0;
        // Ranks of patient ones are odd, those of others even: no two are the same.
        let behind_all = || (self.holders.values().map(|holder| holder.rank).fold(own, u64::max) + 1) | 1;
        let rank = if patient { behind_all() } else { own };
        let mut waits = false;
        for rival in self.rivals(&locks).map(|rival| &self.holders[&rival]) {
            if !rival.locks.conflicts(&locks) {
                continue;
            }
            let before = rival.rank < rank;
            let refuses = if rival.patient { rival.granted || before } else { rival.granted && !before };
            if refuses && !patient {
                return Asked::Refused;
            }
            waits |= before;
        }
        for (key, _) in &locks.keys {
            self.by_key.entry(*key).or_default().push(id);
        }
        self.whole += usize::from(locks.whole.is_some());
        self.holders.insert(id, Holder { locks, rank, patient, granted: !waits, waiter: None });
        if waits { Asked::Waits } else { Asked::Granted }
    }

    /// Keeps what is to be done when the transaction `id`, which waits, is granted its locks.
    pub fn wait(&mut self, id: TransactionId, waiter: W) {
        if let Some(holder) = self.holders.get_mut(&id) {
            debug_assert!(!holder.granted, "only who waits has a waiter");
            holder.waiter = Some(waiter);
        }
    }

    /// Gives a transaction's locks up, granted or not. Those who waited for them are granted theirs by
    /// [`Locks::grant`].
    pub fn release(&mut self, id: TransactionId) -> Option<LockSet> {
        let holder = self.holders.remove(&id)?;
        for (key, _) in &holder.locks.keys {
            if let Some(ids) = self.by_key.get_mut(key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        self.whole -= usize::from(holder.locks.whole.is_some());
        Some(holder.locks)
    }

    /// Grants locks to those who waited for `released` and need wait no more, in line.
    pub fn grant(&mut self, released: &LockSet) -> Vec<(TransactionId, W)> {
        let mut candidates: Vec<TransactionId> = self.rivals(released).collect();
        candidates.sort_unstable_by_key(|id| (self.holders[id].rank, *id));
        candidates.dedup();
        let mut granted = Vec::new();
        for id in candidates {
            let holder = &self.holders[&id];
            let in_its_way = |rival: TransactionId| {
                let rival = &self.holders[&rival];
                rival.rank < holder.rank && rival.locks.conflicts(&holder.locks)
            };
            let free = !holder.granted && !self.rivals(&holder.locks).any(in_its_way);
            if free {
                let holder = self.holders.get_mut(&id).expect("just looked at");
                holder.granted = true;
                granted.extend(holder.waiter.take().map(|waiter| (id, waiter)));
            }
        }
        granted
    }

    /// The transactions that may conflict with `locks`; some of them twice.
    fn rivals<'a>(&'a self, locks: &'a LockSet) -> impl Iterator<Item = TransactionId> + 'a {
        let everyone = locks.whole.is_some() || self.whole > 0;
        let all = everyone.then(|| self.holders.keys().copied()).into_iter().flatten();
        let keys = if everyone { &[][..] } else { &locks.keys[..] };
        all.chain(keys.iter().filter_map(|(key, _)| self.by_key.get(key)).flatten().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdx::random::Random;

    fn locks(keys: &[&str], mode: Mode) -> LockSet {
        LockSet::of_keys(keys.iter().map(|key| (LockKey::of(key.as_bytes()), mode)).collect())
    }

    fn id(number: u64) -> TransactionId {
        TransactionId(number)
    }

    #[test]
    fn very_many_keys_are_a_whole_shard() {
        let set = |count: usize, last: Mode| {
            LockSet::of_each(|add| {
                (1..count).for_each(|number| add(&number.to_le_bytes(), Mode::Shared));
                add(b"last", last);
            })
        };
        assert_eq!(set(LOCKED_KEYS_MAX, Mode::Exclusive).keys.len(), LOCKED_KEYS_MAX);
        assert_eq!(set(LOCKED_KEYS_MAX + 1, Mode::Exclusive), LockSet::whole(Mode::Exclusive));
        assert_eq!(set(2 * LOCKED_KEYS_MAX, Mode::Shared), LockSet::whole(Mode::Shared));
    }

    #[test]
    fn younger_ones_wait_and_older_ones_are_refused() {
        let mut table = Locks::<&str>::default();
        assert_eq!(table.ask(id(5), locks(&["a", "b"], Mode::Exclusive), false), Asked::Granted);
        assert_eq!(table.ask(id(7), locks(&["b", "c"], Mode::Exclusive), false), Asked::Waits);
        table.wait(id(7), "seven");
        assert_eq!(table.ask(id(4), locks(&["a"], Mode::Shared), false), Asked::Refused);
        assert_eq!(
            table.ask(id(6), locks(&["d", "c"], Mode::Shared), false),
            Asked::Granted,
            "who only waits is passed"
        );
        assert!(table.blocks(&locks(&["a"], Mode::Shared)));
        assert!(!table.blocks(&locks(&["d"], Mode::Shared)));
        let released = table.release(id(5)).unwrap();
        assert!(table.grant(&released).is_empty(), "it waits for the one that came between, too");
        assert!(!table.blocks(&locks(&["b"], Mode::Exclusive)), "who waits is in nobody's way");
        let released = table.release(id(6)).unwrap();
        assert_eq!(table.grant(&released), [(id(7), "seven")]);
        assert!(table.blocks(&locks(&["c"], Mode::Exclusive)));
        table.release(id(7));
        assert!(table.is_empty() && table.by_key.is_empty());
    }

    #[test]
    fn patient_ones_are_never_refused_and_nobody_else_waits_for_them() {
        let mut table = Locks::<&str>::default();
        assert_eq!(table.ask(id(9), locks(&["a"], Mode::Exclusive), false), Asked::Granted);
        assert_eq!(table.ask(id(3), locks(&["a"], Mode::Exclusive), true), Asked::Waits);
        table.wait(id(3), "patient");
        assert_eq!(table.ask(id(12), locks(&["a"], Mode::Exclusive), false), Asked::Refused, "it would have to wait");
        assert_eq!(table.ask(id(4), locks(&["a"], Mode::Exclusive), true), Asked::Waits);
        table.wait(id(4), "the next");
        let released = table.release(id(9)).unwrap();
        assert_eq!(table.grant(&released), [(id(3), "patient")]);
        let released = table.release(id(3)).unwrap();
        assert_eq!(table.grant(&released), [(id(4), "the next")]);
    }

    #[test]
    fn the_whole_shard_conflicts_with_every_key() {
        let mut table = Locks::<()>::default();
        assert_eq!(table.ask(id(1), locks(&["a"], Mode::Shared), false), Asked::Granted);
        assert_eq!(table.ask(id(2), LockSet::whole(Mode::Shared), false), Asked::Granted);
        assert_eq!(table.ask(id(3), LockSet::whole(Mode::Exclusive), false), Asked::Waits);
        assert_eq!(table.ask(id(4), locks(&["b"], Mode::Shared), false), Asked::Waits);
        assert!(table.blocks(&locks(&["x"], Mode::Exclusive)) && !table.blocks(&locks(&["x"], Mode::Shared)));
        table.wait(id(3), ());
        table.wait(id(4), ());
        let released = table.release(id(1)).unwrap();
        assert!(table.grant(&released).is_empty());
        let released = table.release(id(2)).unwrap();
        assert_eq!(table.grant(&released), [(id(3), ())]);
        let released = table.release(id(3)).unwrap();
        assert_eq!(table.grant(&released), [(id(4), ())]);
    }

    /// Whatever happens, no two granted transactions conflict, and nobody waits without an older one in the way.
    #[test]
    fn granted_ones_never_conflict() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut table = Locks::<TransactionId>::default();
            let mut next = 0;
            for _ in 0..200 {
                if random.below(2) == 0 {
                    next += 1;
                    let number = 30 + next * 10 - random.below(30) as u64;
                    if table.holders.contains_key(&id(number)) {
                        continue;
                    }
                    let mode = |random: &mut Random| [Mode::Shared, Mode::Exclusive][random.below(2)];
                    let keys = 1 + random.below(3);
                    let key = |random: &mut Random| (LockKey::of(&[random.below(6) as u8]), mode(random));
                    let mut set = LockSet::of_keys((0..keys).map(|_| key(&mut random)).collect());
                    if random.below(10) == 0 {
                        set = set.and_whole(mode(&mut random));
                    }
                    if table.ask(id(number), set, random.below(4) == 0) == Asked::Waits {
                        table.wait(id(number), id(number));
                    }
                } else {
                    let ids: Vec<TransactionId> = table.holders.keys().copied().collect();
                    if ids.is_empty() {
                        continue;
                    }
                    let released = table.release(ids[random.below(ids.len())]).unwrap();
                    table.grant(&released).iter().for_each(|(id, waiter)| assert_eq!(id, waiter));
                }
                for (one, holder) in &table.holders {
                    let rivals = table
                        .holders
                        .iter()
                        .filter(|(other, rival)| *other != one && rival.locks.conflicts(&holder.locks));
                    let (granted, older) = rivals.fold((0, 0), |(g, o), (_, rival)| {
                        (g + i32::from(rival.granted), o + i32::from(rival.rank < holder.rank))
                    });
                    assert!(!holder.granted || granted == 0, "seed {seed}");
                    assert_eq!(holder.granted, older == 0, "seed {seed}");
                }
            }
        }
    }
}
