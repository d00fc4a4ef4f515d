//! Memory for the segments of large tables. Segments come and go in a few sizes all the time while a table grows, which
//! leaves holes in any allocator's pages. Here the segments of one size stand densely, page after page: when one goes,
//! the last of its size is moved into its place. A segment may move, as only the directory refers to it.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a page: large against a segment, so that little is cut off at its end.
const PAGE_BYTES: usize = 64 * 1024;

/// Sizes of segments in a pool, in cache lines: from this on, in steps, up to the size that splits.
const LINES_MIN: usize = 32;
const LINES_STEP: usize = 4;
const LINES_MAX: usize = 64;
const CLASSES: usize = (LINES_MAX - LINES_MIN) / LINES_STEP + 1;

const LINE_BYTES: usize = 64;

/// Aligned like pages of records, which may come to stand where pages of segments were.
const PAGE_LAYOUT: Layout = match Layout::from_size_align(PAGE_BYTES, PAGE_BYTES) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};

/// The segments of one size.
#[derive(Default)]
struct Class {
    pages: Vec<NonNull<u8>>,
    len: usize,
}

/// Pages of segments.
#[derive(Default)]
pub struct Pool {
    classes: [Class; CLASSES],
}

// SAFETY: the pages belong to the pool alone; nothing in them is tied to a thread.
unsafe impl Send for Pool {}
// SAFETY: a shared pool is only asked for its size.
unsafe impl Sync for Pool {}

impl Class {
    /// The memory of segment number `index`, which has a page.
    fn memory(&self, index: usize, lines: usize) -> NonNull<u8> {
        let per_page = per_page(lines);
        // SAFETY: the offset lies inside the page.
        unsafe { self.pages[index / per_page].add(index % per_page * lines * LINE_BYTES) }
    }
}

/// Whether pools have segments of this many lines.
pub fn serves(lines: usize) -> bool {
    (LINES_MIN..=LINES_MAX).contains(&lines) && lines.is_multiple_of(LINES_STEP)
}

fn per_page(lines: usize) -> usize {
    PAGE_BYTES / (lines * LINE_BYTES)
}

impl Pool {
    fn class(&mut self, lines: usize) -> &mut Class {
        debug_assert!(serves(lines));
        &mut self.classes[(lines - LINES_MIN) / LINES_STEP]
    }

    /// Memory for a segment of `lines` lines, with any content, and its number among those of its size.
    pub fn allocate(&mut self, lines: usize) -> (NonNull<u8>, u32) {
        let class = self.class(lines);
        let index = class.len;
        class.len += 1;
        if index / per_page(lines) == class.pages.len() {
            // SAFETY: the size is not 0.
            let page = unsafe { alloc(PAGE_LAYOUT) };
            class.pages.push(NonNull::new(page).unwrap_or_else(|| handle_alloc_error(PAGE_LAYOUT)));
        }
        (class.memory(index, lines), index as u32)
    }

    /// Gives segment number `index` back. If another one has been moved into its place: from where and to where.
    pub fn release(&mut self, lines: usize, index: u32) -> Option<(NonNull<u8>, NonNull<u8>)> {
        let class = self.class(lines);
        class.len -= 1;
        let (from, to) = (class.memory(class.len, lines), class.memory(index as usize, lines));
        let moved = from != to;
        if moved {
            // SAFETY: two different segments of this many bytes, each inside a page.
            unsafe { to.copy_from_nonoverlapping(from, lines * LINE_BYTES) };
        }
        // One page more than needed stays, for the next segment.
        while class.pages.len() > class.len.div_ceil(per_page(lines)) + 1 {
            let page = class.pages.pop().expect("there is more than one");
            // SAFETY: allocated with this layout; no segment is left in it.
            unsafe { dealloc(page.as_ptr(), PAGE_LAYOUT) };
        }
        moved.then_some((from, to))
    }

    /// Bytes of pages that no segment uses.
    pub fn unused_bytes(&self) -> usize {
        let unused = |(index, class): (usize, &Class)| {
            class.pages.len() * PAGE_BYTES - class.len * (LINES_MIN + index * LINES_STEP) * LINE_BYTES
        };
        self.classes.iter().enumerate().map(unused).sum()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for page in self.classes.iter().flat_map(|class| &class.pages) {
            // SAFETY: allocated with this layout, freed once.
            unsafe { dealloc(page.as_ptr(), PAGE_LAYOUT) };
        }
    }
}
