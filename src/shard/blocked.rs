//! Clients that wait for keys of this shard, in the order in which they came, and the keys that have become ready.
//!
//! A client may wait on several shards at once. It is registered with each of them, and all registrations share one
//! [`Claim`]: whoever takes it, a shard that serves the client or the core that gives the wait up, is the only one to
//! answer. It is the one thing that cores share. A registration whose claim is taken is passed over until the client's
//! core has it removed.
//!
//! There are at most as many registrations as clients, each with at most as many keys as its request has arguments.

use super::ShardId;
use crate::types::Kind;
use ahash::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The right to answer a client that waits: one of all who hold a copy gets it.
#[derive(Clone, Debug, Default)]
pub struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Takes it; whether nobody had.
    pub fn take(&self) -> bool {
        self.0.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives it back: the client goes on waiting. Only for who has taken it.
    pub fn give_back(&self) {
        self.0.store(false, Ordering::Release);
    }

    fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// One wait of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaitId {
    /// The client's core.
    pub core: ShardId,
    /// Which of the waits of that core's clients.
    pub number: u64,
}

/// A client's wait for keys of one shard. `W` is what is to be done when one of them is ready.
#[derive(Clone, Debug)]
pub struct Registration<W> {
    /// Which wait.
    pub id: WaitId,
    /// Who may end it.
    pub claim: Claim,
    /// The database.
    pub database: u16,
    /// The keys.
    pub keys: Vec<Box<[u8]>>,
    /// What one of them has to hold.
    pub kind: Kind,
    /// What is to be done then.
    pub what: W,
}

/// A registration in its queues. Whoever came earlier has the lesser place.
struct Waiting<W> {
    registration: Registration<W>,
    /// Whether the client's core has been asked to try; until it has, those behind it wait too.
    asked: bool,
}

/// Those who wait for one key.
#[derive(Default)]
struct Queue {
    places: BTreeSet<u64>,
    /// Whether the key stands among the ready ones.
    ready: bool,
}

/// The clients that wait for keys of one shard.
pub struct BlockedClients<W> {
    by_place: BTreeMap<u64, Waiting<W>>,
    by_id: HashMap<WaitId, u64, RandomState>,
    queues: HashMap<u16, HashMap<Box<[u8]>, Queue, RandomState>, RandomState>,
    next_place: u64,
    /// How many keys somebody waits for.
    keys: usize,
    ready: VecDeque<(u16, Box<[u8]>)>,
    /// Ready keys that somebody's locks hold up.
    held: Vec<(u16, Box<[u8]>)>,
}

impl<W> Default for BlockedClients<W> {
    fn default() -> Self {
        Self {
            by_place: BTreeMap::new(),
            by_id: HashMap::default(),
            queues: HashMap::default(),
            next_place: 0,
            keys: 0,
            ready: VecDeque::new(),
            held: Vec::new(),
        }
    }
}

impl<W> BlockedClients<W> {
    /// Whether nobody waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// How many registrations there are.
    pub fn len(&self) -> usize {
        self.by_place.len()
    }

    /// How many keys somebody waits for.
    pub fn keys_len(&self) -> usize {
        self.keys
    }

    /// Adds a registration behind all others.
    pub fn add(&mut self, registration: Registration<W>) {
        let place = self.next_place;
        self.next_place += 1;
        let queues = self.queues.entry(registration.database).or_default();
        for key in &registration.keys {
            let queue = queues.entry(key.clone()).or_insert_with(|| {
                self.keys += 1;
                Queue::default()
            });
            queue.places.insert(place);
        }
        self.by_id.insert(registration.id, place);
        self.by_place.insert(place, Waiting { registration, asked: false });
    }

    /// Removes a client's registration. If its core had been asked to try, its keys are ready for those behind it.
    pub fn remove(&mut self, id: WaitId) {
        self.after_try(id);
        let Some(place) = self.by_id.remove(&id) else { return };
        let Some(Waiting { registration, .. }) = self.by_place.remove(&place) else { return };
        let Some(queues) = self.queues.get_mut(&registration.database) else { return };
        for key in &registration.keys {
            let Some(queue) = queues.get_mut(key) else { continue };
            queue.places.remove(&place);
            if queue.places.is_empty() {
                queues.remove(key);
                self.keys -= 1;
            }
        }
        if queues.is_empty() {
            self.queues.remove(&registration.database);
        }
    }

    /// The client's core has tried, if it was asked to: the keys are ready once more, for whoever is first now.
    pub fn after_try(&mut self, id: WaitId) {
        let waiting = self.by_id.get(&id).and_then(|place| self.by_place.get_mut(place));
        let Some(waiting) = waiting.filter(|waiting| waiting.asked) else { return };
        waiting.asked = false;
        let (database, keys) = (waiting.registration.database, waiting.registration.keys.clone());
        keys.iter().for_each(|key| self.touch(database, key));
    }

    /// Somebody has changed `key`: it is ready if anybody waits for it.
    pub fn touch(&mut self, database: u16, key: &[u8]) {
        let queue = self.queues.get_mut(&database).and_then(|queues| queues.get_mut(key));
        if let Some(queue) = queue.filter(|queue| !queue.ready) {
            queue.ready = true;
            self.ready.push_back((database, key.into()));
        }
    }

    /// All keys of a database may have changed.
    pub fn touch_all(&mut self, database: u16) {
        let Some(queues) = self.queues.get(&database) else { return };
        let mut keys: Vec<Box<[u8]>> = queues.keys().cloned().collect();
        keys.sort_unstable();
        keys.iter().for_each(|key| self.touch(database, key));
    }

    /// Whether keys are ready.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The key that has been ready for longest.
    pub fn next_ready(&mut self) -> Option<(u16, Box<[u8]>)> {
        let (database, key) = self.ready.pop_front()?;
        if let Some(queue) = self.queues.get_mut(&database).and_then(|queues| queues.get_mut(&key)) {
            queue.ready = false;
        }
        Some((database, key))
    }

    /// Keeps a ready key until locks have gone.
    pub fn hold(&mut self, database: u16, key: Box<[u8]>) {
        self.held.push((database, key));
    }

    /// Locks have gone: the keys that were held up are ready.
    pub fn let_go(&mut self) {
        for (database, key) in std::mem::take(&mut self.held) {
            self.touch(database, &key);
        }
    }

    /// The place of the first behind `after` who waits for `key` to hold a value of `kind`. Claimed ones are passed over,
    /// but not one whose core has been asked to try: until it has, nobody behind it has a turn.
    pub fn next_for(&self, database: u16, key: &[u8], kind: Kind, after: Option<u64>) -> Option<u64> {
        let queue = self.queues.get(&database)?.get(key)?;
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        queue.places.range(behind).copied().find(|place| {
            let Waiting { registration, asked } = &self.by_place[place];
            registration.kind == kind && (*asked || !registration.claim.is_taken())
        })
    }

    /// The registration at `place`, which is one that [`BlockedClients::next_for`] gave.
    pub fn get(&self, place: u64) -> &Registration<W> {
        &self.by_place[&place].registration
    }

    /// Whether the client's core has been asked to try and has not done so yet.
    pub fn is_asked(&self, place: u64) -> bool {
        self.by_place[&place].asked
    }

    /// Notes that the client's core is asked to try.
    pub fn ask(&mut self, place: u64) {
        if let Some(waiting) = self.by_place.get_mut(&place) {
            waiting.asked = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(number: u64, keys: &[&str]) -> Registration<()> {
        let keys = keys.iter().map(|key| key.as_bytes().into()).collect();
        let id = WaitId { core: ShardId(0), number };
        Registration { id, claim: Claim::default(), database: 0, keys, kind: Kind::List, what: () }
    }

    fn first(clients: &BlockedClients<()>, key: &str, after: Option<u64>) -> Option<u64> {
        clients.next_for(0, key.as_bytes(), Kind::List, after)
    }

    #[test]
    fn a_claim_is_taken_once() {
        let claim = Claim::default();
        let copy = claim.clone();
        assert!(claim.take() && !copy.take());
        copy.give_back();
        assert!(copy.take() && claim.is_taken());
    }

    #[test]
    fn clients_stand_in_the_queue_of_every_key_in_order() {
        let mut clients = BlockedClients::default();
        let (one, two) = (registration(1, &["a", "b", "a"]), registration(2, &["b"]));
        clients.add(one.clone());
        clients.add(two);
        assert_eq!((clients.len(), clients.keys_len()), (2, 2));
        assert_eq!((first(&clients, "a", None), first(&clients, "b", None)), (Some(0), Some(0)));
        assert_eq!(clients.next_for(0, b"a", Kind::Hash, None), None);
        assert_eq!(clients.next_for(1, b"a", Kind::List, None), None);
        assert_eq!(first(&clients, "b", Some(0)), Some(1));
        assert!(one.claim.take());
        assert_eq!(first(&clients, "b", None), Some(1), "a claimed one is passed over");
        clients.remove(one.id);
        clients.remove(one.id);
        assert_eq!((clients.len(), clients.keys_len(), first(&clients, "a", None)), (1, 1, None));
        clients.remove(WaitId { core: ShardId(0), number: 2 });
        assert!(clients.is_empty() && clients.queues.is_empty());
    }

    #[test]
    fn a_key_is_ready_once_until_it_is_looked_at() {
        let mut clients = BlockedClients::default();
        clients.add(registration(1, &["b", "a"]));
        clients.touch(0, b"nobody");
        clients.touch(1, b"a");
        assert!(!clients.has_ready());
        clients.touch(0, b"b");
        clients.touch(0, b"b");
        clients.touch_all(0);
        assert_eq!(clients.next_ready(), Some((0, b"b"[..].into())));
        clients.touch(0, b"b");
        assert_eq!(clients.next_ready(), Some((0, b"a"[..].into())));
        assert_eq!(clients.next_ready(), Some((0, b"b"[..].into())));
        assert_eq!(clients.next_ready(), None);
        clients.hold(0, b"a"[..].into());
        assert!(!clients.has_ready());
        clients.let_go();
        assert!(clients.has_ready());
    }

    #[test]
    fn the_end_of_a_try_makes_the_keys_ready() {
        let mut clients = BlockedClients::default();
        let one = registration(1, &["a"]);
        clients.add(one.clone());
        clients.add(registration(2, &["a"]));
        clients.after_try(one.id);
        assert!(!clients.has_ready(), "nobody was asked");
        clients.ask(0);
        assert!(clients.is_asked(0));
        clients.after_try(one.id);
        assert!(!clients.is_asked(0) && clients.next_ready().is_some());
        clients.ask(0);
        clients.remove(one.id);
        assert!(clients.next_ready().is_some() && first(&clients, "a", None) == Some(1));
    }
}
