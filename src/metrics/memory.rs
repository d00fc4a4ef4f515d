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

/// Pages are given back at most so often.
const PURGE_INTERVAL_MS: i64 = 1000;

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

/// What the process holds beside what its cores know of themselves.
#[derive(Debug, Default)]
pub struct Held {
    /// Whether the cores tell what their threads hold; otherwise it does not compare with what the allocator says.
    pub by_threads: AtomicBool,
    /// Bytes that other threads than the cores hold.
    others: AtomicI64,
    /// Bytes by which more is in memory than the limit and the budget allow.
    excess: AtomicU64,
    /// When pages were last given back for that.
    purged_ms: AtomicI64,
    /// Since when the limit has been exceeded, in milliseconds since the epoch; 0: it is not.
    exceeded_since_ms: AtomicI64,
    /// For how long it had been before.
    exceeded_ms: AtomicU64,
}

impl Held {
    /// Takes note of what the allocator says, under a limit of `maxmemory` bytes (0: none) to which `uncounted` come.
    /// Whether it should give back pages: half of the budget is used up.
    pub fn note(
        &self,
        bytes: &AllocatorBytes,
        cores: &[CoreMetrics],
        maxmemory: u64,
        uncounted: u64,
        now: i64,
    ) -> bool {
        if !self.by_threads.load(Relaxed) {
            return false;
        }
        self.others.store((bytes.allocated as i64).wrapping_sub(sum(cores)), Relaxed);
        let may = maxmemory.saturating_add(RESIDENT_BUDGET_BYTES).saturating_add(uncounted);
        self.excess.store(if maxmemory == 0 { 0 } else { bytes.resident.saturating_sub(may) }, Relaxed);
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
        let purges = maxmemory > 0
            && bytes.resident > may - RESIDENT_BUDGET_BYTES / 2
            && (now - self.purged_ms.load(Relaxed)).abs() >= PURGE_INTERVAL_MS;
        if purges {
            self.purged_ms.store(now, Relaxed);
        }
        purges
    }

    /// Bytes that the core `own` may hold under a limit for the process to which `uncounted` come: what the others leave.
    pub fn left_for(&self, own: usize, cores: &[CoreMetrics], maxmemory: u64, uncounted: u64) -> i64 {
        let others = sum(cores[..own].iter().chain(&cores[own + 1..])).wrapping_add(self.others.load(Relaxed));
        let limit = maxmemory.saturating_sub(self.excess.load(Relaxed)).saturating_add(uncounted);
        let limit = limit.min(i64::MAX as u64) as i64;
        limit.saturating_sub(others)
    }

    /// For how long the limit has been exceeded: now, and in all, in milliseconds.
    pub fn exceeded_ms(&self, now: i64) -> (u64, u64) {
        let since = self.exceeded_since_ms.load(Relaxed);
        let current = if since > 0 { (now - since).max(0) as u64 } else { 0 };
        (current, current + self.exceeded_ms.load(Relaxed))
    }
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
    #[test]
    fn the_allocator_answers() {
        let bytes = super::AllocatorBytes::read();
        assert!(bytes.resident >= bytes.active && bytes.active >= bytes.allocated);
        assert!(super::allocator_name().starts_with("jemalloc-5"));
    }
}
