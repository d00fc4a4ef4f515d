//! A boxed byte slice that is one word wide: its length stands at the head of the allocation instead of beside the
//! pointer. Collections by the million are worth the eight bytes.
//!
//! Invariant: `head` points to an allocation of `HEAD + len` bytes, aligned for `u32`, whose first four bytes hold
//! `len` and all of whose bytes are initialised.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error, realloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

const HEAD: usize = size_of::<u32>();

/// Owned bytes behind a single pointer.
pub struct Block {
    head: NonNull<u32>,
}

// SAFETY: a block owns plain bytes and nothing else refers to them.
unsafe impl Send for Block {}
// SAFETY: shared access only reads.
unsafe impl Sync for Block {}

fn layout(len: usize) -> Layout {
    assert!(u32::try_from(len).is_ok(), "a block stays below 4 GiB");
    Layout::from_size_align(HEAD + len, align_of::<u32>()).expect("the size is far below isize::MAX")
}

impl Block {
    /// `len` zero bytes. Panics at 4 GiB.
    pub fn new(len: usize) -> Self {
        let layout = layout(len);
        // SAFETY: the layout is never of size zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(head) = NonNull::new(memory.cast::<u32>()) else { handle_alloc_error(layout) };
        // SAFETY: the allocation is aligned for `u32` and at least that long.
        unsafe { head.write(len as u32) };
        Self { head }
    }

    /// Makes the block `len` bytes long: cuts the end off or adds zero bytes.
    pub fn resize(&mut self, len: usize) {
        let old = self.len();
        let layout_new = layout(len);
        // SAFETY: the memory came from this allocator with `layout(old)`, and the new size is neither zero nor too big.
        let memory = unsafe { realloc(self.head.as_ptr().cast(), layout(old), layout_new.size()) };
        let Some(head) = NonNull::new(memory.cast::<u32>()) else { handle_alloc_error(layout_new) };
        self.head = head;
        if len > old {
            // SAFETY: the allocation is `HEAD + len` bytes long, so the bytes from `old` to `len` lie inside it.
            unsafe { memory.add(HEAD + old).write_bytes(0, len - old) };
        }
        // SAFETY: `head` is aligned and points to memory that is ours.
        unsafe { head.write(len as u32) };
    }

    /// The size of the whole allocation that a block of `len` bytes has.
    pub const fn allocation(len: usize) -> usize {
        HEAD + len
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let layout = layout(self.len());
        // SAFETY: the memory came from this allocator with this layout, and nobody uses it after this.
        unsafe { dealloc(self.head.as_ptr().cast(), layout) };
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: by the invariant the length stands there.
        let len = unsafe { self.head.read() } as usize;
        // SAFETY: by the invariant the bytes start inside the same allocation.
        let bytes = unsafe { self.head.as_ptr().cast::<u8>().add(HEAD) };
        // SAFETY: by the invariant that many initialised bytes follow; the borrow of `self` keeps them.
        unsafe { std::slice::from_raw_parts(bytes, len) }
    }
}

impl DerefMut for Block {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: by the invariant the length stands there.
        let len = unsafe { self.head.read() } as usize;
        // SAFETY: by the invariant the bytes start inside the same allocation.
        let bytes = unsafe { self.head.as_ptr().cast::<u8>().add(HEAD) };
        // SAFETY: by the invariant that many initialised bytes follow; the unique borrow of `self` keeps them ours.
        unsafe { std::slice::from_raw_parts_mut(bytes, len) }
    }
}

#[cfg(test)]
mod tests {
    use super::Block;

    #[test]
    fn keeps_its_bytes_when_it_grows_and_shrinks() {
        let mut block = Block::new(3);
        assert_eq!(*block, [0, 0, 0]);
        block.copy_from_slice(b"abc");
        block.resize(6);
        assert_eq!(*block, *b"abc\0\0\0");
        block.resize(2);
        assert_eq!(*block, *b"ab");
        block.resize(0);
        assert!(block.is_empty());
        block.resize(40_000);
        assert_eq!(block.len(), 40_000);
        assert!(block.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn is_one_word_wide() {
        assert_eq!(size_of::<Option<Block>>(), size_of::<usize>());
    }
}
