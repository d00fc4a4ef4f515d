//! What the allocator says about memory. Reading it makes the allocator add up its arenas, some microseconds of work, so
//! it is done for INFO and ten times a second, never for a command on data.

use tikv_jemalloc_ctl::{epoch, stats, version};

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
