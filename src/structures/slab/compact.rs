//! Compaction: the blocks of a page that is nearly empty go to other pages of their size, and the page is freed. Sizes go
//! out of use when values change, and pages of such a size would otherwise stay until their last key is gone.
#![allow(unsafe_code)]

use super::{Allocator, CLASSES, Class, PAGE_BYTES, Page, Slab, blocks_per_page, unlink};
use std::ptr::NonNull;

/// So many pages are compared for the one that is emptied.
const PAGES_COMPARED: usize = 64;

/// Bits of a page's blocks: none is smaller than 8 bytes.
const BLOCK_BITS: usize = PAGE_BYTES / 8;

impl Slab {
    /// Empties a page with few blocks in use, if there is a size of which the other pages have room for them; the bytes that
    /// this gives back.
    pub(super) fn empty_a_page(&mut self, mut moved: impl FnMut(NonNull<u8>, NonNull<u8>)) -> usize {
        let Some(page) = self.emptiest().or_else(|| self.emptiest_with_most_holes()) else { return 0 };
        // SAFETY: all pages in the list are live.
        let (bytes, used) = unsafe { ((*page).block_bytes as usize, (*page).used) };
        // SAFETY: a page with room is in the list of its class.
        unsafe { unlink(self.class(bytes), page) };
        for block in blocks_in_use(page, bytes) {
            let to = self.allocate(bytes);
            debug_assert!(to.paged, "the other pages have room");
            // SAFETY: both are blocks of this size, of different pages.
            unsafe { to.pointer.as_ptr().copy_from_nonoverlapping(block.as_ptr(), bytes) };
            moved(block, to.pointer);
        }
        self.class(bytes).used -= used;
        self.in_use -= used as usize * bytes;
        // SAFETY: in no list, and all that was in it is elsewhere.
        unsafe { self.free_page(page, bytes) };
        PAGE_BYTES
    }

    /// Of the next few pages the one with the fewest bytes in use, among those whose blocks find room in others.
    fn emptiest(&mut self) -> Option<*mut Page> {
        let mut best: Option<(usize, *mut Page)> = None;
        for _ in 0..PAGES_COMPARED.min(self.pages.len()) {
            self.cursor = if self.cursor + 1 < self.pages.len() { self.cursor + 1 } else { 0 };
            let page = self.pages[self.cursor].as_ptr();
            // SAFETY: all pages in the list are live.
            let (used, bytes) = unsafe { ((*page).used as usize, (*page).block_bytes as usize) };
            let in_use = used * bytes;
            if self.has_a_page_of_holes(bytes) && best.is_none_or(|(least, _)| in_use < least) {
                best = Some((in_use, page));
            }
        }
        best.map(|(_, page)| page).filter(|page| {
            // SAFETY: as above.
            unsafe { (**page).has_room() }
        })
    }

    /// The emptiest of a few pages of the size with the most free blocks, in bytes. Where the next few pages are of other
    /// sizes, there may still be much to give back.
    fn emptiest_with_most_holes(&self) -> Option<*mut Page> {
        let classes = self.classes.iter().flat_map(|classes| classes.iter());
        let sizes = classes.enumerate().map(|(index, class)| ((index + 1) * 8, class));
        let holes =
            |bytes: usize, class: &Class| (class.pages as usize * blocks_per_page(bytes) - class.used as usize) * bytes;
        let sizes = sizes.filter(|(bytes, _)| self.has_a_page_of_holes(*bytes));
        let (_, class) = sizes.max_by_key(|(bytes, class)| holes(*bytes, class))?;
        let first = (!class.open.is_null()).then_some(class.open);
        // SAFETY: pages in a list are live.
        let next = |page: &*mut Page| Some(unsafe { (**page).next }).filter(|page| !page.is_null());
        // SAFETY: as above.
        std::iter::successors(first, next).take(PAGES_COMPARED).min_by_key(|page| unsafe { (**page).used })
    }

    /// Whether pages with blocks of this size have as many free ones as a page holds: then any page can be emptied.
    fn has_a_page_of_holes(&self, bytes: usize) -> bool {
        let Some(classes) = &self.classes else { return false };
        let (class, per_page) = (&classes[(bytes / 8 - 1).min(CLASSES - 1)], blocks_per_page(bytes));
        class.pages as usize * per_page >= class.used as usize + per_page
    }
}

/// The blocks of a page that are in use.
fn blocks_in_use(page: *mut Page, bytes: usize) -> Vec<NonNull<u8>> {
    let mut free = [0u64; BLOCK_BITS / 64];
    // SAFETY: the page is live, and its list leads from one free block to the next.
    unsafe {
        let mut block = (*page).free;
        while !block.is_null() {
            let at = block.offset_from_unsigned(page.cast::<u8>()) / 8;
            free[at / 64] |= 1 << (at % 64);
            block = block.cast::<*mut u8>().read();
        }
    }
    // SAFETY: live.
    let fresh = unsafe { (*page).fresh } as usize;
    let offsets = (size_of::<Page>()..fresh).step_by(bytes);
    let in_use = offsets.filter(|at| free[at / 8 / 64] & 1 << (at / 8 % 64) == 0);
    // SAFETY: the offsets are those of blocks that have been handed out.
    in_use.map(|at| unsafe { NonNull::new_unchecked(page.cast::<u8>().add(at)) }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Allocator, Block, Slab};
    use crate::stdx::random::Random;
    use std::collections::BTreeMap;
    use std::ptr::NonNull;

    /// Holes are found wherever they are: behind more pages of another size, all full, than are compared.
    #[test]
    fn full_pages_of_another_size_hide_no_holes() {
        const MANY: usize = 80 * 1024;
        let mut slab = Slab::default();
        let fill = |slab: &mut Slab, bytes| -> Vec<Block> { (0..MANY).map(|_| slab.allocate(bytes)).collect() };
        let (small, large) = (fill(&mut slab, 64), fill(&mut slab, 72));
        for (_, block) in large.into_iter().enumerate().filter(|(at, _)| at % 4 > 0) {
            // SAFETY: allocated with this size, and released once.
            unsafe { slab.release(block, 72) };
        }
        let holes = slab.bytes_free();
        while slab.compact(|_, _| {}) > 0 {}
        assert!(
            holes > 4 << 20 && slab.bytes_free() < 2 * super::PAGE_BYTES,
            "{} of {holes} are left",
            slab.bytes_free()
        );
        assert_eq!(slab.bytes_in_use(), small.len() * 64 + MANY / 4 * 72);
    }

    #[test]
    fn blocks_move_with_what_they_hold() {
        for seed in 0..8 {
            let mut random = Random::new(seed);
            let mut slab = Slab::default();
            let mut held: BTreeMap<NonNull<u8>, (Block, usize, u8)> = BTreeMap::new();
            for _ in 0..30_000 {
                let bytes = 8 * (1 + random.below(12));
                let (block, fill) = (slab.allocate(bytes), random.next_u64() as u8);
                // SAFETY: the block has this many bytes.
                unsafe { block.pointer.as_ptr().write_bytes(fill, bytes) };
                held.insert(block.pointer, (block, bytes, fill));
            }
            let all: Vec<NonNull<u8>> = held.keys().copied().collect();
            for pointer in all.into_iter().filter(|_| random.below(4) > 0) {
                let (block, bytes, _) = held.remove(&pointer).unwrap();
                // SAFETY: held, with this size.
                unsafe { slab.release(block, bytes) };
            }
            let free = slab.bytes_free();
            assert!(free < slab.bytes_held() - slab.bytes_in_use());
            let (in_use, before) = (slab.bytes_in_use(), slab.bytes_held());
            let mut given_back = 0;
            for _ in 0..200 {
                given_back += slab.compact(|from, to| {
                    let (block, bytes, fill) = held.remove(&from).expect("only blocks in use move");
                    held.insert(to, (Block { pointer: to, ..block }, bytes, fill));
                });
            }
            assert_eq!(before - given_back, slab.bytes_held());
            assert_eq!(slab.bytes_in_use(), in_use);
            assert!(slab.bytes_free() < free / 4);
            assert!(slab.bytes_held() < before / 2, "seed {seed}: {} of {before}, {in_use} in use", slab.bytes_held());
            for (pointer, (block, bytes, fill)) in held {
                // SAFETY: the block is still held.
                let content = unsafe { std::slice::from_raw_parts(pointer.as_ptr(), bytes) };
                assert!(content.iter().all(|&byte| byte == fill), "seed {seed}");
                // SAFETY: held, with this size.
                unsafe { slab.release(block, bytes) };
            }
            assert_eq!(slab.bytes_in_use(), 0);
        }
    }
}
