//! What the allocator says about memory. Reading it makes the allocator add up its arenas, some microseconds of work, so
//! it is done for INFO and ten times a second, never for a command on data. What one thread has allocated and freed costs
//! nothing to read: the sum over all threads is what the process holds, to the byte, between two readings of the whole.

use super::CoreMetrics;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use tikv_jemalloc_ctl::thread::{ThreadLocal, allocatedp, deallocatedp};
use tikv_jemalloc_ctl::{epoch, stats, version};

/// What the process may hold in memory beyond the limit without being made to give up keys for it: the program itself,
/// stacks, and free memory that the allocator keeps for the next request.
pub const RESIDENT_BUDGET_BYTES: u64 = 64 << 20;

/// Pages are given back at most so often, and so often where more is in memory than may be.
const PURGE_INTERVAL_MS: i64 = 1000;
const PURGE_INTERVAL_OVER_MS: i64 = 200;

/// What the thread that has made it holds.
pub struct ThreadBytes {
    allocated: ThreadLocal<u64>,
    freed: ThreadLocal<u64>,
}

impl ThreadBytes {
    /// Of the calling thread; `None` where the allocator does not tell.
    pub fn of_this_thread() -> Option<Self> {
        Some(Self { allocated: allocatedp::read().ok()?, freed: deallocatedp::read().ok()? })
    }

    /// Bytes allocated by the thread less those freed by it; below 0 where it frees what others have allocated.
    #[inline]
    pub fn held(&self) -> i64 {
        self.allocated.get().wrapping_sub(self.freed.get()) as i64
    }
}

/// What a core may hold, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Left {
    /// By what the others hold now.
    pub bytes: i64,
    /// How much more when they have given back what they are at.
    pub to_come: i64,
}

/// What the process holds beside what its cores know of themselves.
#[derive(Debug, Default)]
pub struct Held {
    /// Whether the cores tell what their threads hold; otherwise it does not compare with what the allocator says.
    pub by_threads: AtomicBool,
    /// Bytes that other threads than the cores hold.
    others: AtomicI64,
    /// Bytes by which more is in memory than the limit and the budget allow, though free pages have been given back.
    excess: AtomicU64,
    /// When pages were last asked for back.
    purged_ms: AtomicI64,
    /// Since when the limit has been exceeded, in milliseconds since the epoch; 0: it is not.
    exceeded_since_ms: AtomicI64,
    /// For how long it had been before.
    exceeded_ms: AtomicU64,
}

impl Held {
    /// Takes note of what the allocator says when it is asked by `ask`, under a limit of `maxmemory` bytes (0: none) to which
    /// `uncounted` come. Whether it should give back pages: half of the budget is used up.
    pub fn note(
        &self,
        ask: impl FnOnce() -> AllocatorBytes,
        cores: &[CoreMetrics],
        maxmemory: u64,
        uncounted: u64,
        now: i64,
    ) -> bool {
        if !self.by_threads.load(Relaxed) {
            return false;
        }
        let before = sum(cores);
        let bytes = &ask();
        // What cores give back while the allocator is being asked is not held by others, and must make no key go.
        self.others.store((bytes.allocated as i64).wrapping_sub(before.max(sum(cores))), Relaxed);
        let may = maxmemory.saturating_add(RESIDENT_BUDGET_BYTES).saturating_add(uncounted);
        self.excess.fetch_min(excess(bytes, maxmemory, uncounted), Relaxed);
        let (exceeded, since) = (
            maxmemory > 0 && bytes.allocated > maxmemory.saturating_add(uncounted),
            self.exceeded_since_ms.load(Relaxed),
        );
        if exceeded && since == 0 {
            self.exceeded_since_ms.store(now, Relaxed);
        } else if !exceeded && since > 0 {
            self.exceeded_ms.fetch_add((now - since).max(0) as u64, Relaxed);
            self.exceeded_since_ms.store(0, Relaxed);
        }
        let interval = if bytes.resident > may { PURGE_INTERVAL_OVER_MS } else { PURGE_INTERVAL_MS };
        let purges = maxmemory > 0
            && bytes.resident > may - RESIDENT_BUDGET_BYTES / 2
            && (now - self.purged_ms.load(Relaxed)).abs() >= interval;
        if purges {
            self.purged_ms.store(now, Relaxed);
        }
        purges
    }

    /// Takes note of what the allocator says right after it has given back pages, and of what it had `allocated` right before.
    /// Only this can make keys go: free pages that are still in memory are no reason, and what has been freed meanwhile is
    /// in such pages.
    pub fn note_purged(&self, allocated: u64, bytes: &AllocatorBytes, maxmemory: u64, uncounted: u64) {
        let bytes = AllocatorBytes { allocated: bytes.allocated.max(allocated), ..*bytes };
        self.excess.store(excess(&bytes, maxmemory, uncounted), Relaxed);
    }

    /// What the others leave the core `own` of a limit for the process to which `uncounted` bytes come.
    pub fn left_for(&self, own: usize, cores: &[CoreMetrics], maxmemory: u64, uncounted: u64) -> Left {
        let limit = maxmemory.saturating_sub(self.excess.load(Relaxed)).saturating_add(uncounted);
        let limit = limit.min(i64::MAX as u64) as i64;
        let (mut others, mut to_come) = (self.others.load(Relaxed), 0);
        for core in cores[..own].iter().chain(&cores[own + 1..]) {
            let allocated = core.allocated.get();
            others = others.wrapping_add(allocated as i64);
            to_come += allocated.wrapping_sub(core.kept.get()) as i64;
        }
        Left { bytes: limit.saturating_sub(others), to_come }
    }

    /// For how long the limit has been exceeded: now, and in all, in milliseconds.
    pub fn exceeded_ms(&self, now: i64) -> (u64, u64) {
        let since = self.exceeded_since_ms.load(Relaxed);
        let current = if since > 0 { (now - since).max(0) as u64 } else { 0 };
        (current, current + self.exceeded_ms.load(Relaxed))
    }
}

/// Bytes by which more is in memory than the limit, the uncounted and the budget allow. While more is allocated than the
/// limit allows, as when it has just been lowered, that is what goes; only what is in memory beside it counts here.
fn excess(bytes: &AllocatorBytes, maxmemory: u64, uncounted: u64) -> u64 {
    let may_hold = maxmemory.saturating_add(uncounted).max(bytes.allocated);
    if maxmemory == 0 { 0 } else { bytes.resident.saturating_sub(may_hold.saturating_add(RESIDENT_BUDGET_BYTES)) }
}

/// What the threads of cores hold, in bytes. One may be below 0, so that the numbers wrap.
fn sum<'a>(cores: impl IntoIterator<Item = &'a CoreMetrics>) -> i64 {
    cores.into_iter().fold(0, |sum, core| sum.wrapping_add(core.allocated.get() as i64))
}

/// The allocator's view, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllocatorBytes {
    /// Handed out to the program.
    pub allocated: u64,
    /// In pages that hold something handed out.
    pub active: u64,
    /// Held in memory, free pages that are kept included.
    pub resident: u64,
}

impl AllocatorBytes {
    /// The numbers now; zero where the allocator does not tell.
    pub fn read() -> Self {
        // A failed refresh leaves the numbers of the last one, which are the best there are.
        _ = epoch::advance();
        let number = |read: tikv_jemalloc_ctl::Result<usize>| read.map_or(0, |bytes| bytes as u64);
        Self {
            allocated: number(stats::allocated::read()),
            active: number(stats::active::read()),
            resident: number(stats::resident::read()),
        }
    }
}

/// The allocator's name and version, such as `jemalloc-5.3.0`.
pub fn allocator_name() -> String {
    let full = version::read().unwrap_or("unknown");
    format!("jemalloc-{}", full.split('-').next().unwrap_or(full))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_allocator_answers() {
        let bytes = AllocatorBytes::read();
        assert!(bytes.resident >= bytes.active && bytes.active >= bytes.allocated);
        assert!(allocator_name().starts_with("jemalloc-5"));
    }

    /// Bytes in MiB, under a limit of 100 MiB.
    fn bytes(allocated: u64, resident: u64) -> AllocatorBytes {
        AllocatorBytes { allocated: allocated * MIB, active: allocated * MIB, resident: resident * MIB }
    }

    #[test]
    fn only_what_stays_in_memory_makes_keys_go() {
        let (held, cores) = (Held::default(), [CoreMetrics::new(1, 1)]);
        held.by_threads.store(true, Relaxed);
        let may_hold = || (held.left_for(0, &cores, 100 * MIB, 0).bytes + held.others.load(Relaxed)) as u64 / MIB;
        // The limit has been lowered to less than there is.
        assert!(held.note(|| bytes(300, 305), &cores, 100 * MIB, 0, 1000), "pages are given back");
        assert!(!held.note(|| bytes(290, 305), &cores, 100 * MIB, 0, 1100), "but not all the time");
        held.note_purged(300 * MIB, &bytes(290, 305), 100 * MIB, 0);
        assert_eq!(may_hold(), 100, "what is allocated goes anyway");
        held.note_purged(290 * MIB, &bytes(99, 300), 100 * MIB, 0);
        assert_eq!(may_hold(), 100, "it has gone while pages were given back");
        // Its pages have not yet.
        assert!(held.note(|| bytes(99, 305), &cores, 100 * MIB, 0, 1200));
        assert_eq!(may_hold(), 100, "they are free");
        held.note_purged(99 * MIB, &bytes(99, 174), 100 * MIB, 0);
        assert_eq!(may_hold(), 90, "these could not be given back");
        held.note(|| bytes(89, 170), &cores, 100 * MIB, 0, 1300);
        assert_eq!(may_hold(), 94);
        held.note(|| bytes(89, 180), &cores, 100 * MIB, 0, 1400);
        assert_eq!(may_hold(), 94, "nobody has tried to give these back");
    }
}
