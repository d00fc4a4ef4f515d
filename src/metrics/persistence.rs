//! The state of the append-only log, as all cores and the control thread see it.
//!
//! Each shard's numbers are written by its own core, everything else by the control thread.

use super::Counter;
use crate::limits::AOF_REWRITE_REST_MS_MAX;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed},
};

/// One shard's log.
#[derive(Debug, Default)]
pub struct ShardLog {
    /// Length of the file that is appended to, with what is not written yet.
    pub file_bytes: Counter,
    /// Bytes of the files that it has appended to before, since the last rewrite that went well; the control thread sets this
    /// back when one has.
    pub earlier_bytes: Counter,
    /// Bytes that wait to be written.
    pub unwritten_bytes: Counter,
    /// Bytes of memory for what the shard has logged in a turn.
    pub turn_bytes: Counter,
    /// Bytes of memory for what is not on disk yet.
    pub held_bytes: Counter,
    /// Bytes of the base that is being written in memory.
    pub base_held_bytes: Counter,
    /// Whether so much waits to be written that nobody should change anything here for a while.
    pub behind: AtomicBool,
    /// What was left at the end of the process: bytes that no file has, and of those the ones that the pending area has not.
    pub left_bytes: Counter,
    /// See `left_bytes`.
    pub lost_bytes: Counter,
    /// Syncs and durable writes under way.
    pub pending_syncs: Counter,
    /// Bytes appended since the core started, and of those the ones on disk.
    pub appended: Counter,
    /// See `appended`.
    pub durable: Counter,
    /// The last batch that is known to be on disk, and the generation of its file, in one number; 0: none. See
    /// [`ShardLog::set_durable_batch`].
    durable_batch: AtomicU64,
    /// Error number of the last write or sync; 0 while they work.
    pub errno: AtomicI32,
    /// Whether the shard logs what commands change.
    pub logs: AtomicBool,
    /// The generation of its file that may have a gap, which only a rewrite makes good; 0: none has.
    pub gap: AtomicU64,
    /// Bytes of the base being written, while the log is rewritten.
    pub base_bytes: Counter,
    /// Why the base could not be written: an error number.
    pub base_errno: AtomicI32,
    /// How far the base is: one of the `BASE` constants. The core sets it, and the control thread back to idle.
    pub base: AtomicU8,
}

/// Bits of a batch's number in `durable_batch`, below those of the generation.
const SEQUENCE_BITS: u32 = 40;

impl ShardLog {
    /// Makes known which batch of which generation is on disk. Where the numbers are too large, or there is none, nobody
    /// learns of any.
    pub fn set_durable_batch(&self, generation: u64, sequence: u64) {
        let fits = sequence >> SEQUENCE_BITS == 0 && generation >> (u64::BITS - SEQUENCE_BITS) == 0;
        let known = if fits && sequence > 0 { generation << SEQUENCE_BITS | sequence } else { 0 };
        self.durable_batch.store(known, Relaxed);
    }

    /// The generation and the number of the last batch that is known to be on disk.
    pub fn durable_batch(&self) -> Option<(u64, u64)> {
        let known = self.durable_batch.load(Relaxed);
        (known != 0).then_some((known >> SEQUENCE_BITS, known & ((1 << SEQUENCE_BITS) - 1)))
    }
}

/// No base is being written.
pub const BASE_IDLE: u8 = 0;
/// One is.
pub const BASE_WRITING: u8 = 1;
/// It is whole and on disk.
pub const BASE_DONE: u8 = 2;
/// It could not be written.
pub const BASE_FAILED: u8 = 3;

/// The loading of the data at start.
#[derive(Debug, Default)]
pub struct Loading {
    /// Whether it is under way.
    pub active: AtomicBool,
    /// When it began, in seconds since the epoch.
    pub started: AtomicI64,
    /// Bytes of all files.
    pub total_bytes: AtomicU64,
    /// Bytes of them that are loaded.
    pub loaded_bytes: AtomicU64,
    /// Keys that are there.
    pub keys: AtomicU64,
}

/// The state of the log.
#[derive(Debug)]
pub struct Persistence {
    /// Whether changes are logged.
    pub on: AtomicBool,
    /// Whether the next start would load what is logged: a log that is being switched on is none before it is whole.
    pub in_force: AtomicBool,
    /// The generation of the last rewrite that went well; files of older ones are no part of the log. 0: there was none.
    pub generation: AtomicU64,
    /// By shard.
    pub shards: Box<[ShardLog]>,
    /// How many of them are behind.
    behind: AtomicUsize,
    /// How many wait for the end of the server: all that is logged is forced to disk at once.
    pub flushes: AtomicUsize,
    /// Whether a rewrite is wanted that has not begun.
    pub rewrite_scheduled: AtomicBool,
    /// Whether a client has asked for one, or has switched the log on: then it is tried at once, and what becomes of it is told.
    pub rewrite_asked: AtomicBool,
    /// Whether a rewrite is under way. One that is wanted is so until it is under way, or has failed.
    pub rewriting: AtomicBool,
    /// When it began, in milliseconds since the epoch.
    pub rewrite_started_ms: AtomicI64,
    /// How long the last one took; -1: there was none.
    pub last_rewrite_seconds: AtomicI64,
    /// Whether the last one went well.
    pub last_rewrite_ok: AtomicBool,
    /// How many have failed since one went well.
    pub rewrite_failures: AtomicU64,
    /// When one failed last, in milliseconds since the epoch.
    pub rewrite_failed_ms: AtomicI64,
    /// How many there were.
    pub rewrites: AtomicU64,
    /// Bytes of all bases after the last rewrite or load.
    pub base_bytes: AtomicU64,
    /// See [`Loading`].
    pub loading: Loading,
}

impl Persistence {
    /// No log yet, of `shards` shards.
    pub fn new(shards: usize) -> Self {
        Self {
            on: AtomicBool::new(false),
            in_force: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            shards: (0..shards).map(|_| ShardLog::default()).collect(),
            behind: AtomicUsize::new(0),
            flushes: AtomicUsize::new(0),
            rewrite_scheduled: AtomicBool::new(false),
            rewrite_asked: AtomicBool::new(false),
            rewriting: AtomicBool::new(false),
            rewrite_started_ms: AtomicI64::new(0),
            last_rewrite_seconds: AtomicI64::new(-1),
            last_rewrite_ok: AtomicBool::new(true),
            rewrite_failures: AtomicU64::new(0),
            rewrite_failed_ms: AtomicI64::new(0),
            rewrites: AtomicU64::new(0),
            base_bytes: AtomicU64::new(0),
            loading: Loading::default(),
        }
    }

    /// Notes whether the log of a shard is behind. Its core does.
    pub fn note_behind(&self, shard: usize, behind: bool) {
        match (self.shards[shard].behind.swap(behind, Relaxed), behind) {
            (false, true) => _ = self.behind.fetch_add(1, Relaxed),
            (true, false) => _ = self.behind.fetch_sub(1, Relaxed),
            _ => {}
        }
    }

    /// Whether the log of any shard is behind: then no core takes anything from its clients, for it may be a change there.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Relaxed) > 0
    }

    /// Error number of the last write or sync on any shard that failed and has not worked since; 0: none.
    pub fn errno(&self) -> i32 {
        self.shards.iter().map(|shard| shard.errno.load(Relaxed)).find(|errno| *errno != 0).unwrap_or(0)
    }

    /// Whether any file that the next start would load may have a gap.
    pub fn has_gap(&self) -> bool {
        let generation = self.generation.load(Acquire).max(1);
        self.shards.iter().any(|shard| shard.gap.load(Relaxed) >= generation)
    }

    /// A rewrite has failed.
    pub fn note_rewrite_failure(&self, now_ms: i64) {
        self.last_rewrite_ok.store(false, Relaxed);
        self.rewrite_failures.fetch_add(1, Relaxed);
        self.rewrite_failed_ms.store(now_ms, Relaxed);
    }

    /// Whether the last rewrite has failed so short a time ago that none is tried yet unless somebody asks for it:
    /// `rest_ms` after one failure, and twice as long after every further one, up to a bound.
    pub fn rests_after_failure(&self, now_ms: i64, rest_ms: i64) -> bool {
        let doublings = self.rewrite_failures.load(Relaxed).saturating_sub(1).min(16);
        let rest_ms = (rest_ms << doublings).min(AOF_REWRITE_REST_MS_MAX);
        !self.last_rewrite_ok.load(Relaxed) && now_ms - self.rewrite_failed_ms.load(Relaxed) < rest_ms
    }

    /// Whether changes go to the log that the next start loads. One that is switched off ends when all shards have made the
    /// cut.
    pub fn is_in_force(&self, wanted: bool) -> bool {
        let logs = |shard: &ShardLog| shard.logs.load(Acquire);
        if wanted { self.in_force.load(Acquire) } else { self.shards.iter().any(logs) }
    }

    /// Whether the log is to hold what there is, as `wanted` says, and does not yet: it has been switched on a moment ago, or
    /// could not be written.
    pub fn is_incomplete(&self, wanted: bool) -> bool {
        wanted && !self.in_force.load(Acquire) && !self.loading.active.load(Acquire)
    }

    /// Whether a rewrite is going to begin: one is wanted, or the log is to be switched on, as `wanted` says.
    pub fn is_rewrite_pending(&self, wanted: bool) -> bool {
        let switches_on = wanted && !self.on.load(Acquire) && !self.loading.active.load(Acquire);
        self.rewrite_scheduled.load(Acquire) || switches_on
    }

    /// Bytes of the log and of a rewrite in memory, which go when they are on disk and make no key go.
    pub fn held_bytes(&self) -> u64 {
        let of = |shard: &ShardLog| shard.turn_bytes.get() + shard.held_bytes.get() + shard.base_held_bytes.get();
        self.shards.iter().map(of).sum()
    }

    /// Bytes of all files that the next start would load.
    pub fn current_bytes(&self) -> u64 {
        self.base_bytes.load(Relaxed) + self.sum(|shard| &shard.file_bytes) + self.sum(|shard| &shard.earlier_bytes)
    }

    /// The sum of a number over all shards.
    pub fn sum(&self, number: impl Fn(&ShardLog) -> &Counter) -> u64 {
        self.shards.iter().map(|shard| number(shard).get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_over_when_a_newer_generation_is_in_force() {
        let persistence = Persistence::new(2);
        assert!(!persistence.has_gap());
        persistence.shards[1].gap.store(3, Relaxed);
        for (generation, gap) in [(0, true), (3, true), (4, false)] {
            persistence.generation.store(generation, Relaxed);
            assert_eq!(persistence.has_gap(), gap, "{generation}");
        }
    }

    #[test]
    fn rewrites_that_fail_are_tried_less_and_less_often() {
        let persistence = Persistence::new(1);
        assert!(!persistence.rests_after_failure(0, 10_000));
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            persistence.note_rewrite_failure(0);
            let rests = |ms| persistence.rests_after_failure(ms, 10_000);
            assert_eq!([rests(seconds * 1000 - 1), rests(seconds * 1000)], [true, false], "{seconds}");
        }
        persistence.rewrite_failures.store(u64::MAX, Relaxed);
        assert!(persistence.rests_after_failure(299_999, 10_000) && !persistence.rests_after_failure(300_000, 10_000));
    }

    /// What a client sends to one core may be a change on another, so one log that is behind is everybody's concern.
    #[test]
    fn a_log_is_behind_for_all_cores() {
        let persistence = Persistence::new(3);
        assert!(!persistence.is_behind());
        for (shard, behind, any) in
            [(1, true, true), (1, true, true), (2, true, true), (1, false, true), (2, false, false), (2, false, false)]
        {
            persistence.note_behind(shard, behind);
            assert_eq!(persistence.is_behind(), any, "shard {shard}, {behind}");
        }
    }
}
