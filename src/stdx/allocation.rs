//! What the allocator can do beside allocating: tell how much it takes for a size, give free pages back to the system,
//! and report on itself. The answers are jemalloc's, which the server runs on, whatever allocator a test runs on.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;
use tikv_jemalloc_sys as jemalloc;

/// The alignment that every allocation has.
const ALIGN_ALWAYS: usize = 16;

/// The number that stands for all arenas in the names of controls.
const ALL_ARENAS: u32 = 4096;

/// Bytes that an allocation of `bytes` bytes takes: its size class. None takes nothing.
pub fn class(bytes: usize) -> usize {
    class_aligned(bytes, 1)
}

/// The same for memory that is aligned to `align`, a power of two.
pub fn class_aligned(bytes: usize, align: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    let flags = if align <= ALIGN_ALWAYS && align <= bytes { 0 } else { align.trailing_zeros() as i32 };
    // SAFETY: computes with numbers; the size is not 0 and, as of something that is there, far from the largest.
    unsafe { jemalloc::nallocx(bytes, flags) }
}

/// Gives what this thread keeps for its next allocations back to the arenas.
pub fn flush_thread_cache() {
    control(c"thread.tcache.flush");
}

/// Gives all free pages of all arenas back to the system; whether that worked.
pub fn purge() -> bool {
    let name = std::ffi::CString::new(format!("arena.{ALL_ARENAS}.purge")).expect("there is no zero in it");
    control(&name)
}

/// Does what stands behind a name of a control that takes and gives nothing.
fn control(name: &CStr) -> bool {
    // SAFETY: the name is a C string that outlives the call, and nothing is read or written beside it.
    unsafe { jemalloc::mallctl(name.as_ptr(), null_mut(), null_mut(), null_mut(), 0) == 0 }
}

/// The allocator's report on itself, for people.
pub fn report() -> Vec<u8> {
    /// Takes a piece of the report.
    extern "C" fn write(report: *mut c_void, piece: *const c_char) {
        // SAFETY: this is the report that is handed over below, and nobody else refers to it until the call is over.
        let report = unsafe { &mut *report.cast::<Vec<u8>>() };
        // SAFETY: the allocator hands over C strings.
        let piece = unsafe { CStr::from_ptr(piece) };
        report.extend_from_slice(piece.to_bytes());
    }
    let mut report = Vec::new();
    // SAFETY: the function takes the report as what it is, within this call.
    unsafe { jemalloc::malloc_stats_print(Some(write), (&raw mut report).cast(), std::ptr::null()) };
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_allocator() {
        let classes = [0, 1, 8, 9, 40, 100, 1024, 1025, 20_000].map(class);
        assert_eq!(classes, [0, 8, 8, 16, 48, 112, 1024, 1280, 20_480]);
        assert_eq!([class_aligned(100, 64), class_aligned(32 << 10, 32 << 10)], [128, 32 << 10]);
    }

    #[test]
    fn the_allocator_reports_and_purges() {
        let report = String::from_utf8(report()).expect("text");
        assert!(report.starts_with("___ Begin jemalloc statistics ___") && report.contains("Arenas:"), "{report}");
        flush_thread_cache();
        assert!(purge());
    }
}
