//! The memory limit. Each core knows to the byte what its thread holds, and tells at the end of a turn; so at the start of
//! the next each knows what the others leave it of the limit. A core that has no more than that left makes room before a
//! command runs: it removes keys, as the policy chooses, and where records have left holes in their pages it moves others
//! together and gives pages back.
//!
//! A shard that has better candidates than the one that needs room is asked to make it, so that a key stays or goes for
//! what it is and not for where it lies. What is refused is refused on the core of the client, before anything has
//! happened: a command over several shards is never half refused.
//!
//! Keys of transactions under way are left alone, and so is everything while a transaction has its changes collected.

use super::Engine;
use super::message::Message;
use crate::commands::Entry;
use crate::config::EvictionPolicy;
use crate::limits::{EVICTION_REQUEST_BYTES_MAX, EVICTION_REQUEST_BYTES_MIN};
use crate::metrics::memory::ThreadBytes;
use crate::resp::CommandError;
use crate::session::{Queue, Session};
use crate::shard::eviction::{Candidate, Pool};
use crate::shard::locks::{LockKey, LockSet, Mode};
use crate::shard::tracking::Tracker;
use crate::shard::{EventClass, ShardId};
use crate::spec::Flags;
use crate::stdx::allocation;
use std::sync::atomic::Ordering::Relaxed;

/// A refusal, as Redis words it.
const OUT_OF_MEMORY: CommandError = CommandError::fixed("OOM command not allowed when used memory > 'maxmemory'.");

/// The part of the limit, over all shards, that may be holes in pages of records. Keys go when that much is left, pages are
/// given back when nothing is.
const HOLES_PART: i64 = 128;

/// Between two looks at the clock so many keys go.
const KEYS_PER_LOOK: usize = 16;

/// So many candidates are tried one after another that have been used or locked since they became some.
const TRIES_MAX: usize = 32;

/// A core's view of the memory limit.
pub(super) struct Memory {
    /// What the core's thread holds; `None` where nobody tells: then it is what the tables say they hold.
    thread: Option<ThreadBytes>,
    /// What the thread may hold in this turn; the greatest number when there is no limit.
    may_hold: i64,
    /// How much more when other cores have given back what they are at, which is no reason for keys to go.
    to_come: i64,
    /// How much less it holds before keys go.
    slack: i64,
    /// Bytes of memory for what the shard had logged when the turn began, which come on top as what it logs since.
    logged: i64,
    pool: Pool<(u16, Box<[u8]>)>,
    policy: EvictionPolicy,
    /// Whether the shard has nothing to give.
    exhausted: bool,
    /// Whether compaction has found nothing in this turn.
    is_compact: bool,
    /// Bytes that others have asked this shard to give back, and who is to hear when that is done.
    owed: i64,
    creditors: Vec<ShardId>,
    /// Bytes that each other shard has been asked to give back and has not.
    asked: Vec<i64>,
    /// Whether there is more to do when nobody asks for anything.
    goes_on: bool,
}

impl Memory {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            thread: None,
            may_hold: i64::MAX,
            to_come: 0,
            slack: 0,
            logged: 0,
            pool: Pool::default(),
            policy: EvictionPolicy::Noeviction,
            exhausted: false,
            is_compact: false,
            owed: 0,
            creditors: Vec::new(),
            asked: vec![0; shards],
            goes_on: false,
        }
    }

    /// Whether room should be made before anything else runs.
    #[inline]
    fn is_limited(&self) -> bool {
        self.may_hold != i64::MAX
    }
}

impl Engine {
    /// From now on goes by what this thread, which is the engine's own, has allocated.
    pub fn count_thread_bytes(&mut self) {
        self.memory.thread = ThreadBytes::of_this_thread();
        self.node.held.by_threads.store(self.memory.thread.is_some(), Relaxed);
    }

    /// Whether the shard has to be given turns to give memory back, although nobody asks for anything.
    pub fn gives_memory_back(&self) -> bool {
        self.memory.goes_on
    }

    /// Bytes that this core holds.
    #[inline]
    fn held_bytes(&self) -> i64 {
        match &self.memory.thread {
            Some(thread) => thread.held(),
            None => self.shard.databases.iter().map(|db| db.memory_bytes() as i64).sum(),
        }
    }

    /// What this core may hold now.
    #[inline]
    fn may_hold(&self) -> i64 {
        self.memory.may_hold.saturating_add(self.shard.log.memory_bytes() as i64 - self.memory.logged)
    }

    fn hole_bytes(&self) -> i64 {
        self.shard.databases.iter().map(|db| db.hole_bytes() as i64).sum()
    }

    /// Finds out what the limit leaves this core.
    pub(super) fn begin_memory_turn(&mut self) {
        let maxmemory = self.config.maxmemory;
        if maxmemory == 0 || self.loading {
            self.memory.may_hold = i64::MAX;
            return;
        }
        self.tell_and_hear();
        let Self { memory, node, .. } = self;
        memory.slack = (maxmemory.min(i64::MAX as u64) as i64) / HOLES_PART / node.metrics.len() as i64;
        (memory.exhausted, memory.is_compact) = (false, false);
        if memory.policy != self.config.eviction.policy {
            memory.policy = self.config.eviction.policy;
            memory.pool.clear();
        }
    }

    /// Tells the others what this core holds, and hears what they leave it.
    fn tell_and_hear(&mut self) {
        self.tell_held_bytes();
        let Self { memory, node, config, .. } = self;
        memory.logged = self.shard.log.memory_bytes() as i64;
        let uncounted = node.persistence.held_bytes();
        let left = node.held.left_for(self.core.index(), &node.metrics, config.maxmemory, uncounted);
        (memory.may_hold, memory.to_come) = (left.bytes, left.to_come);
    }

    /// Whether there is less room than there should be.
    #[inline]
    pub(super) fn is_tight(&self) -> bool {
        self.memory.is_limited() && self.held_bytes() > self.may_hold() - self.memory.slack
    }

    /// Why a client's command is refused for want of memory, after an attempt to make room for it.
    #[cold]
    pub(super) fn refused_for_memory(
        &mut self,
        session: &Session,
        entry: &Entry,
        queues: bool,
    ) -> Option<CommandError> {
        self.make_room();
        let queue_needs = self.queue_of(session, entry).is_some_and(Queue::needs_memory);
        let needs = entry.row.spec.flags.contains(Flags::DENYOOM) || queue_needs || queues;
        (needs && self.is_out_of_memory()).then_some(OUT_OF_MEMORY)
    }

    /// Whether the limit is exceeded and nobody can change that.
    fn is_out_of_memory(&self) -> bool {
        let memory = &self.memory;
        if self.held_bytes() <= self.may_hold() || self.is_paused() {
            return false;
        }
        memory.policy == EvictionPolicy::Noeviction || memory.exhausted && self.best_other().is_none()
    }

    /// Removes keys and moves records together until there is room, or for as long as a command may be held up.
    #[cold]
    pub(super) fn make_room(&mut self) {
        if self.shard.log.is_collecting() || self.is_paused() {
            return;
        }
        let (started, mut removed) = (self.clock.raw(), 0);
        let went_on = std::mem::take(&mut self.memory.goes_on);
        self.memory.goes_on = loop {
            let held = self.held_bytes();
            let credit: i64 = self.memory.asked.iter().sum();
            let may_hold = self.may_hold();
            let may_keep = may_hold - self.memory.slack + self.memory.to_come;
            let over = held - self.hole_bytes() - may_keep - credit;
            if over > 0 && self.memory.policy != EvictionPolicy::Noeviction {
                if self.ask_others(over) {
                    continue;
                }
                if !self.evict_one() {
                    self.memory.exhausted = true;
                    break false;
                }
                removed += 1;
                if removed % KEYS_PER_LOOK == 0 {
                    if self.has_taken_too_long(started) {
                        break true;
                    }
                    // Others may be at the same excess.
                    self.memory.goes_on = true;
                    self.tell_and_hear();
                }
            } else if held <= may_hold || !self.compact() {
                break false;
            }
        };
        if went_on && !self.memory.goes_on {
            // The thread keeps the last pages for itself otherwise, and the limit counts them.
            allocation::flush_thread_cache();
        }
        self.end_eviction(removed);
    }

    fn end_eviction(&mut self, removed: usize) {
        if removed > 0 {
            self.metrics().evicted_keys.add(removed as u64);
            self.shard.effects.caller = Tracker::NONE;
            self.after_effects();
        }
    }

    fn has_taken_too_long(&self, started: u64) -> bool {
        let limit = self.config.eviction.time_limit();
        limit.is_some_and(|limit| self.nanoseconds_since(started) > limit)
    }

    /// Moves records together; whether that has given something back.
    fn compact(&mut self) -> bool {
        if !self.memory.is_compact {
            let given_back: usize = self.shard.databases.iter_mut().map(|db| db.compact()).sum();
            self.memory.is_compact = given_back == 0;
        }
        !self.memory.is_compact
    }

    /// Looks at some keys of every database.
    fn look_for_candidates(&mut self) {
        let Self { shard, memory, random, .. } = self;
        for (index, db) in shard.databases.iter_mut().enumerate().filter(|(_, db)| !db.is_empty()) {
            db.set_now(self.now);
            let samples = if memory.policy.is_random() { 1 } else { db.usage().samples() };
            db.sample_candidates(random, samples, |rank, bits, key| {
                if memory.pool.wants(rank) {
                    memory.pool.offer(rank, bits, (index as u16, key.into()));
                }
            });
        }
        let best = memory.pool.best().map_or(0, |rank| rank.saturating_add(1));
        self.metrics().eviction_rank.set(best);
    }

    /// Removes the key that deserves it most; whether there was one.
    fn evict_one(&mut self) -> bool {
        for _ in 0..TRIES_MAX {
            self.look_for_candidates();
            if self.memory.pool.best().is_none() {
                return false;
            }
            while let Some(candidate) = self.choose_candidate() {
                let (database, key) = &candidate.key;
                let database = *database;
                let db = &self.shard.databases[usize::from(database)];
                if db.is_still(key, &candidate) && !self.is_locked(key) && self.evict(database, key, candidate.bits) {
                    return true;
                }
            }
        }
        false
    }

    /// Takes the candidate out of the pool that goes next.
    fn choose_candidate(&mut self) -> Option<Candidate<(u16, Box<[u8]>)>> {
        let Self { shard, memory, .. } = self;
        let database = memory.pool.best_key()?.0;
        shard.databases[usize::from(database)].choose(&mut memory.pool)
    }

    fn is_locked(&self, key: &[u8]) -> bool {
        let lock = || LockSet::of_keys(vec![(LockKey::of(key), Mode::Exclusive)]);
        !self.locks.is_empty() && self.locks.blocks(&lock())
    }

    /// Removes a key for whatever it was worth; whether it was there.
    fn evict(&mut self, database: u16, key: &[u8], bits: u32) -> bool {
        let shard = &mut self.shard;
        let removed = shard.databases[usize::from(database)].evict(key, bits);
        if self.touched.last() != Some(&database) {
            self.touched.push(database);
        }
        // A key whose time was over is told as that.
        shard.effects.incidents(database, &mut shard.databases[usize::from(database)], &mut shard.log);
        if removed {
            if shard.log.wanted {
                shard.log.append(database, key, [&b"DEL"[..], key].into_iter());
            }
            shard.effects.key(database, key, EventClass::Evicted, "evicted", true);
        }
        removed
    }

    /// The other shard whose best candidate deserves most to go, and how much.
    fn best_other(&self) -> Option<(ShardId, u64)> {
        let ranks = self.others().map(|shard| (shard, self.rank_of(shard)));
        ranks.filter(|(_, rank)| *rank > 0).max_by_key(|(_, rank)| *rank)
    }

    /// How much another shard's best candidate deserves to go, plus 1. Of one that has not looked, but has keys that may go,
    /// nothing better is known than that.
    fn rank_of(&self, shard: ShardId) -> u64 {
        let metrics = &self.node.metrics[shard.index()];
        let keys = if self.memory.policy.is_volatile() { &metrics.expires } else { &metrics.keys };
        metrics.eviction_rank.get().max(u64::from(keys.iter().any(|keys| keys.get() > 0)))
    }

    /// Asks another shard to give `bytes` back, if its best candidate is clearly better than this one's; whether it did.
    fn ask_others(&mut self, bytes: i64) -> bool {
        let Some((shard, rank)) = self.best_other() else { return false };
        let own = self.metrics().eviction_rank.get();
        if self.memory.asked[shard.index()] > 0 || rank <= own.saturating_add(own / 8) {
            return false;
        }
        // Until it is done this shard holds so much more, which all together must be a small part of the limit.
        let all = self.memory.slack * self.router.shards() as i64;
        let most = all.clamp(EVICTION_REQUEST_BYTES_MIN, EVICTION_REQUEST_BYTES_MAX);
        let bytes = (bytes + self.memory.slack).clamp(EVICTION_REQUEST_BYTES_MIN, most);
        self.memory.asked[shard.index()] = bytes;
        self.post(shard, Message::GiveBack { from: self.core, bytes });
        true
    }

    /// Another shard needs room.
    pub(super) fn give_back(&mut self, from: ShardId, bytes: i64) {
        self.memory.owed = self.memory.owed.saturating_add(bytes);
        self.memory.creditors.push(from);
    }

    /// Another shard has made the room that it was asked for, or what it could.
    pub(super) fn given_back(&mut self, by: ShardId) {
        self.memory.asked[by.index()] = 0;
    }

    /// Makes room at the end of a turn: for others, and for what has run without looking.
    pub(super) fn end_memory_turn(&mut self) {
        if self.memory.owed > 0 {
            self.pay();
        } else if self.is_tight() {
            self.make_room();
        } else {
            self.memory.goes_on = false;
        }
        self.tell_held_bytes();
    }

    /// Lets the others know what this core holds.
    pub(super) fn tell_held_bytes(&self) {
        let held = self.held_bytes();
        // A part of its holes goes before anything else happens here, so nobody else has to make room for that.
        let goes =
            if self.memory.goes_on { self.hole_bytes().min(held.saturating_sub(self.may_hold())).max(0) } else { 0 };
        self.metrics().allocated.set(held as u64);
        self.metrics().kept.set((held - goes) as u64);
        self.shard_log().turn_bytes.set(self.shard.log.memory_bytes() as u64);
    }

    /// Gives back what others need.
    fn pay(&mut self) {
        if self.shard.log.is_collecting() || self.is_paused() {
            self.memory.goes_on = !self.is_paused();
            return;
        }
        let (started, mut removed, before) = (self.clock.raw(), 0, self.held_bytes());
        // The policy may have been changed since somebody asked.
        let (target, mut done) = (before - self.memory.owed, self.memory.policy == EvictionPolicy::Noeviction);
        while !done {
            let held = self.held_bytes();
            // Pages can be given back when there are holes for a few of them.
            if held - self.hole_bytes() > target - EVICTION_REQUEST_BYTES_MIN {
                done = !self.evict_one();
                removed += usize::from(!done);
            } else {
                done |= held <= target || !self.compact();
            }
            if removed % KEYS_PER_LOOK == 0 && self.has_taken_too_long(started) {
                break;
            }
        }
        self.end_eviction(removed);
        self.memory.owed = if done { 0 } else { self.memory.owed - (before - self.held_bytes()).max(0) };
        // What it has to give back beside that has waited.
        self.memory.goes_on = !done || self.held_bytes() > self.may_hold();
        if done {
            let creditors = std::mem::take(&mut self.memory.creditors);
            creditors.into_iter().for_each(|to| self.post(to, Message::GivenBack { by: self.core }));
        }
    }

    /// A client of another core has changed directives. Where that lowers the limit, whoever writes has to know at once what
    /// this shard could give: its own keys would go for all until this core wakes by itself.
    pub(super) fn hear_of_config(&mut self) {
        self.refresh_config();
        self.begin_memory_turn();
        self.tell_candidates(true);
    }

    /// Lets others know what this shard could give, while memory is nearly used up, or `anyway`.
    pub(super) fn tell_candidates(&mut self, anyway: bool) {
        let wanted = self.memory.is_limited() && self.memory.policy != EvictionPolicy::Noeviction;
        if !wanted {
            return self.metrics().eviction_rank.set(0);
        }
        // What is near the limit of all is near what the others leave this core.
        let is_near = self.held_bytes() > self.may_hold() - 16 * self.memory.slack;
        if self.router.shards() > 1 && (is_near || anyway) {
            self.memory.pool.clear();
            self.look_for_candidates();
        }
    }
}
