//! Bytes that are appended, in memory of the allocator or in huge pages of their own: those are reached with fewer
//! translations, and the kernel takes them for a direct write at once, not one small page after another.

use memmap2::{Advice, MmapMut, MmapOptions};
use std::ops::{Deref, DerefMut};

/// Bytes, and room for more.
#[derive(Debug)]
pub struct Buffer(Memory);

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    /// So many bytes of it are in use.
    Page(MmapMut, usize),
}

impl Default for Buffer {
    fn default() -> Self {
        Self(Memory::Heap(Vec::new()))
    }
}

impl Buffer {
    /// Room for so many bytes, in huge pages of their size if the system has them. Without the memory, on the heap.
    pub fn huge(bytes: usize) -> Self {
        let Ok(page) = MmapOptions::new().len(bytes).map_anon() else { return Self::default() };
        // A system without them says so, and has small ones.
        let _ = page.advise(Advice::HugePage);
        Self(Memory::Page(page, 0))
    }

    /// Whether it is a page of its own.
    pub fn is_huge(&self) -> bool {
        matches!(self.0, Memory::Page(..))
    }

    /// Bytes of memory for it.
    pub fn capacity(&self) -> usize {
        match &self.0 {
            Memory::Heap(bytes) => bytes.capacity(),
            Memory::Page(page, _) => page.len(),
        }
    }

    /// Makes room for so many bytes more.
    pub fn reserve(&mut self, more: usize) {
        let needed = self.len() + more;
        match &mut self.0 {
            Memory::Heap(bytes) => bytes.reserve(more),
            Memory::Page(page, _) if needed <= page.len() => {}
            Memory::Page(page, len) => {
                let mut bytes = Vec::with_capacity(needed);
                bytes.extend_from_slice(&page[..*len]);
                self.0 = Memory::Heap(bytes);
            }
        }
    }

    /// Appends bytes.
    pub fn extend_from_slice(&mut self, more: &[u8]) {
        self.reserve(more.len());
        match &mut self.0 {
            Memory::Heap(bytes) => bytes.extend_from_slice(more),
            Memory::Page(page, len) => {
                page[*len..][..more.len()].copy_from_slice(more);
                *len += more.len();
            }
        }
    }

    /// Appends zero bytes.
    pub fn extend_with_zeros(&mut self, count: usize) {
        self.reserve(count);
        match &mut self.0 {
            Memory::Heap(bytes) => bytes.resize(bytes.len() + count, 0),
            Memory::Page(page, len) => {
                page[*len..][..count].fill(0);
                *len += count;
            }
        }
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.0 {
            Memory::Heap(bytes) => bytes.truncate(len),
            Memory::Page(_, used) => *used = len.min(*used),
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Heap(bytes) => bytes,
            Memory::Page(page, len) => &page[..*len],
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Heap(bytes) => bytes,
            Memory::Page(page, len) => &mut page[..*len],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUGE_PAGE_BYTES: usize = 2 << 20;

    #[test]
    fn both_kinds_hold_the_same() {
        let (mut heap, mut huge) = (Buffer::default(), Buffer::huge(HUGE_PAGE_BYTES));
        assert!(huge.is_huge() && !heap.is_huge() && huge.capacity() == HUGE_PAGE_BYTES);
        for buffer in [&mut heap, &mut huge] {
            buffer.extend_from_slice(b"one two");
            buffer.truncate(4);
            buffer.extend_with_zeros(2);
            buffer.extend_from_slice(b"!");
            buffer[0] = b'O';
            assert_eq!(&buffer[..], b"One \0\0!");
            buffer.truncate(100);
            assert_eq!(buffer.len(), 7);
        }
        huge.extend_from_slice(&vec![7; HUGE_PAGE_BYTES - 8]);
        assert!(huge.is_huge());
        huge.extend_with_zeros(2);
        assert!(!huge.is_huge(), "it goes where it has room");
        assert_eq!((huge.len(), &huge[..8], huge[huge.len() - 3]), (HUGE_PAGE_BYTES + 1, &b"One \0\0!\x07"[..], 7));
    }
}
