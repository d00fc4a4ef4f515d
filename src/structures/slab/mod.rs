//! Memory for records. [`Slab`] serves sizes up to [`SLAB_BYTES_MAX`] from pages, each cut into blocks of one size, a
//! multiple of 8, so that no byte is lost to coarse size classes and nothing is stored per block. A page is aligned to
//! its size: the page of a block is found by masking its address. Larger blocks, and the first few of each size, come
//! from the global allocator, so that a small database costs little; whoever holds a block remembers which kind it is.
//! [`Heap`] takes everything from the global allocator.
//!
//! ```text
//! page | header, 64 bytes | block 0 | block 1 | ... |
//! free block | pointer to the next free block of the page, or null | ... |
//! ```
#![allow(unsafe_code)]

mod compact;

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{NonNull, null_mut};

/// Largest block that comes from a page, in bytes.
pub const SLAB_BYTES_MAX: usize = 1024;

/// Bytes of a page, and its alignment. Large enough that header and cut-off end do not count, small enough that pages
/// become empty when keys go.
const PAGE_BYTES: usize = 32 * 1024;

/// So many blocks of a size come from the global allocator before the first page of that size is made.
const BLOCKS_BEFORE_PAGE: u32 = 32;

const CLASSES: usize = SLAB_BYTES_MAX / 8;

fn blocks_per_page(bytes: usize) -> usize {
    (PAGE_BYTES - size_of::<Page>()) / bytes
}

/// Memory for one record.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Where it is; aligned to 8.
    pub pointer: NonNull<u8>,
    /// Whether it is a part of a page.
    pub paged: bool,
}

/// Where records get their memory.
pub trait Allocator: Default {
    /// A block of `bytes` bytes, a multiple of 8 and not 0.
    fn allocate(&mut self, bytes: usize) -> Block;

    /// Gives a block back.
    ///
    /// # Safety
    /// The block came from this allocator with this number of bytes and is not used again.
    unsafe fn release(&mut self, block: Block, bytes: usize);

    /// Bytes of all blocks handed out.
    fn bytes_in_use(&self) -> usize;

    /// Bytes taken from the system for them.
    fn bytes_held(&self) -> usize;

    /// Bytes that could be given back if the blocks in use lay close together.
    fn bytes_free(&self) -> usize {
        0
    }

    /// Moves blocks together so that some memory can be given back to the system; how many bytes were. Calls `moved` with
    /// the old and the new place of each block, which holds what it held.
    fn compact(&mut self, _moved: impl FnMut(NonNull<u8>, NonNull<u8>)) -> usize {
        0
    }
}

/// Bytes of a page that a block of `bytes` bytes takes, with its part of what the page holds beside blocks.
pub fn share_of_page(bytes: usize) -> usize {
    let blocks = (PAGE_BYTES - size_of::<Page>()) / bytes;
    PAGE_BYTES.div_ceil(blocks.max(1))
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).expect("a record is far smaller than the address space")
}

fn heap_allocate(bytes: usize) -> NonNull<u8> {
    debug_assert!(bytes > 0 && bytes.is_multiple_of(8));
    // SAFETY: the size is not 0.
    let memory = unsafe { alloc(layout(bytes)) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout(bytes)))
}

/// The global allocator, counting.
#[derive(Debug, Default)]
pub struct Heap {
    bytes: usize,
}

impl Allocator for Heap {
    fn allocate(&mut self, bytes: usize) -> Block {
        self.bytes += bytes;
        Block { pointer: heap_allocate(bytes), paged: false }
    }

    unsafe fn release(&mut self, block: Block, bytes: usize) {
        self.bytes -= bytes;
        // SAFETY: the caller's promise: it was allocated above with this size.
        unsafe { dealloc(block.pointer.as_ptr(), layout(bytes)) };
    }

    fn bytes_in_use(&self) -> usize {
        self.bytes
    }

    fn bytes_held(&self) -> usize {
        self.bytes
    }
}

#[repr(C, align(64))]
struct Page {
    /// Neighbours in the list of pages with free blocks.
    previous: *mut Page,
    next: *mut Page,
    /// Blocks given back.
    free: *mut u8,
    /// Offset of the first block never handed out.
    fresh: u32,
    /// Blocks handed out.
    used: u32,
    block_bytes: u32,
    /// Position in [`Slab::pages`].
    index: u32,
}

impl Page {
    fn has_room(&self) -> bool {
        !self.free.is_null() || self.fresh + self.block_bytes <= PAGE_BYTES as u32
    }
}

#[derive(Clone, Copy)]
struct Class {
    /// Pages with free blocks; blocks are taken from the first.
    open: *mut Page,
    pages: u32,
    /// Blocks in use of all its pages.
    used: u32,
    /// Blocks from the global allocator.
    single: u32,
}

/// Pages of small blocks.
#[derive(Default)]
pub struct Slab {
    classes: Option<Box<[Class; CLASSES]>>,
    pages: Vec<NonNull<Page>>,
    in_use: usize,
    single_bytes: usize,
    /// Bytes of all blocks of all pages.
    block_bytes: usize,
    /// The page that compaction looks at next.
    cursor: usize,
}

// SAFETY: the pages belong to the slab alone; nothing in them is tied to a thread.
unsafe impl Send for Slab {}

const PAGE_LAYOUT: Layout = match Layout::from_size_align(PAGE_BYTES, PAGE_BYTES) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};

impl Slab {
    /// The class of a size that pages serve, and the list of its pages.
    fn class(&mut self, bytes: usize) -> &mut Class {
        let none = Class { open: null_mut(), pages: 0, used: 0, single: 0 };
        &mut self.classes.get_or_insert_with(|| Box::new([none; CLASSES]))[bytes / 8 - 1]
    }

    #[cold]
    fn add_page(&mut self, bytes: usize) -> *mut Page {
        // SAFETY: the size is not 0.
        let memory = unsafe { alloc(PAGE_LAYOUT) }.cast::<Page>();
        let Some(page) = NonNull::new(memory) else { handle_alloc_error(PAGE_LAYOUT) };
        let header = Page {
            previous: null_mut(),
            next: null_mut(),
            free: null_mut(),
            fresh: size_of::<Page>() as u32,
            used: 0,
            block_bytes: bytes as u32,
            index: self.pages.len() as u32,
        };
        // SAFETY: freshly allocated, aligned, large enough.
        unsafe { page.write(header) };
        self.pages.push(page);
        self.block_bytes += blocks_per_page(bytes) * bytes;
        let class = self.class(bytes);
        class.pages += 1;
        // SAFETY: the page has just been written and is in no list.
        unsafe { link(class, page.as_ptr()) };
        page.as_ptr()
    }

    /// Frees an empty page.
    ///
    /// # Safety
    /// It is a page of this slab, in the list of its class, with no block in use.
    #[cold]
    unsafe fn drop_page(&mut self, page: *mut Page, bytes: usize) {
        // SAFETY: in the list, as the caller promises.
        unsafe { unlink(self.class(bytes), page) };
        // SAFETY: in no list any more.
        unsafe { self.free_page(page, bytes) };
    }

    /// Gives a page back.
    ///
    /// # Safety
    /// It is a page of this slab, in no list, and what its blocks hold is not needed any more.
    unsafe fn free_page(&mut self, page: *mut Page, bytes: usize) {
        self.class(bytes).pages -= 1;
        self.block_bytes -= blocks_per_page(bytes) * bytes;
        // SAFETY: the page is live.
        let index = unsafe { (*page).index };
        self.pages.swap_remove(index as usize);
        if let Some(moved) = self.pages.get_mut(index as usize) {
            // SAFETY: all pages in the list are live.
            unsafe { moved.as_mut() }.index = index;
        }
        // SAFETY: allocated with this layout, and now in no list.
        unsafe { dealloc(page.cast(), PAGE_LAYOUT) };
    }
}

/// Puts a page first in the list of its class.
///
/// # Safety
/// The page is live and in no list.
unsafe fn link(class: &mut Class, page: *mut Page) {
    // SAFETY: live.
    let header = unsafe { &mut *page };
    header.previous = null_mut();
    header.next = class.open;
    if !class.open.is_null() {
        // SAFETY: pages in a list are live, and this is another one.
        unsafe { (*class.open).previous = page };
    }
    class.open = page;
}

/// Takes a page out of the list of its class.
///
/// # Safety
/// The page is live and in that list.
unsafe fn unlink(class: &mut Class, page: *mut Page) {
    // SAFETY: live.
    let (previous, next) = unsafe { ((*page).previous, (*page).next) };
    if previous.is_null() {
        class.open = next;
    } else {
        // SAFETY: pages in a list are live.
        unsafe { (*previous).next = next };
    }
    if !next.is_null() {
        // SAFETY: pages in a list are live.
        unsafe { (*next).previous = previous };
    }
}

impl Allocator for Slab {
    #[inline]
    fn allocate(&mut self, bytes: usize) -> Block {
        debug_assert!(bytes > 0 && bytes.is_multiple_of(8));
        self.in_use += bytes;
        if bytes > SLAB_BYTES_MAX {
            self.single_bytes += bytes;
            return Block { pointer: heap_allocate(bytes), paged: false };
        }
        let class = self.class(bytes);
        class.used += 1;
        let mut page = class.open;
        if page.is_null() {
            if class.pages == 0 && class.single < BLOCKS_BEFORE_PAGE {
                class.single += 1;
                class.used -= 1;
                self.single_bytes += bytes;
                return Block { pointer: heap_allocate(bytes), paged: false };
            }
            page = self.add_page(bytes);
        }
        // SAFETY: pages in the list are live, and no other reference to the header exists.
        let header = unsafe { &mut *page };
        header.used += 1;
        let block = if header.free.is_null() {
            let at = header.fresh as usize;
            header.fresh += header.block_bytes;
            // SAFETY: a page in the list has room, so the block lies inside the page.
            unsafe { page.cast::<u8>().add(at) }
        } else {
            let block = header.free;
            // SAFETY: a free block begins with the pointer to the next.
            header.free = unsafe { block.cast::<*mut u8>().read() };
            block
        };
        if !header.has_room() {
            // SAFETY: the page is in this list.
            unsafe { unlink(self.class(bytes), page) };
        }
        // SAFETY: it points into a page.
        Block { pointer: unsafe { NonNull::new_unchecked(block) }, paged: true }
    }

    #[inline]
    unsafe fn release(&mut self, block: Block, bytes: usize) {
        self.in_use -= bytes;
        let pointer = block.pointer.as_ptr();
        if !block.paged {
            self.single_bytes -= bytes;
            if bytes <= SLAB_BYTES_MAX {
                self.class(bytes).single -= 1;
            }
            // SAFETY: it came from the global allocator with this size.
            return unsafe { dealloc(pointer, layout(bytes)) };
        }
        let page = pointer.map_addr(|address| address & !(PAGE_BYTES - 1)).cast::<Page>();
        // SAFETY: a paged block lies in a live page of this slab, aligned to its size.
        let header = unsafe { &mut *page };
        debug_assert_eq!(header.block_bytes as usize, bytes);
        let had_room = header.has_room();
        // SAFETY: the block is free now and holds at least 8 bytes.
        unsafe { pointer.cast::<*mut u8>().write(header.free) };
        header.free = pointer;
        header.used -= 1;
        let empty = header.used == 0;
        let class = self.class(bytes);
        class.used -= 1;
        if !had_room {
            // SAFETY: a full page is in no list.
            unsafe { link(class, page) };
        }
        // One page stays, so that a single key that comes and goes does not make and drop it each time.
        if empty && class.pages > 1 {
            // SAFETY: it has room, so it is in the list.
            unsafe { self.drop_page(page, bytes) };
        }
    }

    fn bytes_in_use(&self) -> usize {
        self.in_use
    }

    fn bytes_held(&self) -> usize {
        self.pages.len() * PAGE_BYTES + self.single_bytes
    }

    fn bytes_free(&self) -> usize {
        let free = self.block_bytes - (self.in_use - self.single_bytes);
        // With its blocks goes what a page holds beside them.
        let beside = self.pages.len() * PAGE_BYTES - self.block_bytes;
        free + (beside as f64 * free as f64 / self.block_bytes.max(1) as f64) as usize
    }

    fn compact(&mut self, moved: impl FnMut(NonNull<u8>, NonNull<u8>)) -> usize {
        self.empty_a_page(moved)
    }
}

impl Drop for Slab {
    /// Frees the pages. Blocks from the global allocator must have been released before.
    fn drop(&mut self) {
        for page in &self.pages {
            // SAFETY: every page in the list is live and was allocated with this layout.
            unsafe { dealloc(page.as_ptr().cast(), PAGE_LAYOUT) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Allocator, BLOCKS_BEFORE_PAGE, Block, PAGE_BYTES, SLAB_BYTES_MAX, Slab};
    use crate::stdx::random::Random;

    #[test]
    fn blocks_do_not_overlap_and_pages_come_and_go() {
        for seed in 0..8 {
            let mut random = Random::new(seed);
            let mut slab = Slab::default();
            let mut held: Vec<(Block, usize, u8)> = Vec::new();
            for step in 0..20_000 {
                let growing = (step / 5_000) % 2 == 0;
                if held.is_empty() || random.below(10) < if growing { 7 } else { 3 } {
                    let bytes = 8 * (1 + random.below(if seed % 2 == 0 { 6 } else { SLAB_BYTES_MAX / 8 + 4 }));
                    let block = slab.allocate(bytes);
                    let fill = random.next_u64() as u8;
                    // SAFETY: the block has this many bytes.
                    unsafe { block.pointer.as_ptr().write_bytes(fill, bytes) };
                    held.push((block, bytes, fill));
                } else {
                    let (block, bytes, fill) = held.swap_remove(random.below(held.len()));
                    // SAFETY: the block is still held.
                    let content = unsafe { std::slice::from_raw_parts(block.pointer.as_ptr(), bytes) };
                    assert!(content.iter().all(|&byte| byte == fill), "seed {seed} step {step}");
                    // SAFETY: held, with this size.
                    unsafe { slab.release(block, bytes) };
                }
                assert_eq!(slab.bytes_in_use(), held.iter().map(|(_, bytes, _)| bytes).sum::<usize>());
            }
            for (block, bytes, _) in held.drain(..) {
                // SAFETY: held, with this size.
                unsafe { slab.release(block, bytes) };
            }
            assert_eq!(slab.bytes_in_use(), 0);
            assert!(slab.bytes_held() <= PAGE_BYTES * SLAB_BYTES_MAX / 8, "at most one page of each size stays");
        }
    }

    #[test]
    fn a_few_blocks_need_no_page() {
        let mut slab = Slab::default();
        let blocks: Vec<Block> = (0..BLOCKS_BEFORE_PAGE).map(|_| slab.allocate(40)).collect();
        assert_eq!(slab.bytes_held(), 40 * BLOCKS_BEFORE_PAGE as usize);
        for block in blocks {
            // SAFETY: just allocated with this size.
            unsafe { slab.release(block, 40) };
        }
        assert_eq!(slab.bytes_held(), 0);
    }
}
