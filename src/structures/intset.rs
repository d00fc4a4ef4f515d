//! A sorted set of integers in one allocation, in the byte format that Redis keeps in memory and writes to RDB files:
//!
//! ```text
//! | encoding u32 | length u32 | integer 0 | integer 1 | ... |     all little-endian, ascending, no duplicates
//! ```
//!
//! The encoding is the width of every integer in bytes: 2, 4 or 8. An integer that does not fit widens them all; removing
//! it does not narrow them again. An [`IntSet`] is one pointer: the size of its allocation follows from the header.

#![allow(unsafe_code)]

use crate::stdx::allocation;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ptr::NonNull;

const HEADER_BYTES: usize = 8;

/// A sorted set of 64-bit integers.
pub struct IntSet {
    /// The allocation. It is always exactly as long as its header says, and the header is always valid.
    start: NonNull<u8>,
}

// SAFETY: the pointer is owned alone, like a `Box<[u8]>`.
unsafe impl Send for IntSet {}
// SAFETY: shared references only read.
unsafe impl Sync for IntSet {}

impl IntSet {
    /// An empty set.
    pub fn new() -> Self {
        let mut set = Self { start: allocate(HEADER_BYTES) };
        // SAFETY: eight bytes have just been allocated at `start`.
        unsafe { set.start.as_ptr().cast::<[u8; HEADER_BYTES]>().write([0; HEADER_BYTES]) };
        // A length of 0 stands there now, so the allocation is as long as the header says.
        set.bytes_mut()[0] = 2;
        set
    }

    /// A set from the bytes of one; `None` unless they are exactly a non-empty one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let width = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let len = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
        let whole = matches!(width, 2 | 4 | 8) && len > 0 && len.checked_mul(width)?.checked_add(8)? == bytes.len();
        if !whole || (1..len).any(|index| read(bytes, width, index - 1) >= read(bytes, width, index)) {
            return None;
        }
        Some(Self::copy_of(bytes))
    }

    /// A set of the bytes of another one.
    fn copy_of(bytes: &[u8]) -> Self {
        let start = allocate(bytes.len());
        // SAFETY: as many bytes have just been allocated at `start`, and they overlap with nothing.
        unsafe { start.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Self { start }
    }

    /// Its bytes in Redis's format.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the allocation is `memory_bytes` bytes long, all of them initialised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.memory_bytes()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_bytes`; the set is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.memory_bytes()) }
    }

    #[inline]
    fn header(&self) -> [u8; HEADER_BYTES] {
        // SAFETY: every allocation begins with an initialised header.
        unsafe { self.start.as_ptr().cast::<[u8; HEADER_BYTES]>().read() }
    }

    /// Bytes it has allocated.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        HEADER_BYTES + self.width() * self.len()
    }

    /// Bytes that it takes of the allocator.
    pub fn allocated_bytes(&self) -> usize {
        allocation::class(self.memory_bytes())
    }

    #[inline]
    fn width(&self) -> usize {
        usize::from(self.header()[0])
    }

    /// How many integers there are.
    #[inline]
    pub fn len(&self) -> usize {
        let [_, _, _, _, len @ ..] = self.header();
        u32::from_le_bytes(len) as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integer at `index` in ascending order; panics when there is none.
    #[inline]
    pub fn get(&self, index: usize) -> i64 {
        read(self.as_bytes(), self.width(), index)
    }

    /// The integers, ascending.
    pub fn iter(&self) -> Iter<'_> {
        Iter { bytes: self.as_bytes(), width: self.width(), next: 0, end: self.len() }
    }

    /// Where `value` is, or where it would have to be put.
    fn find(&self, value: i64) -> Result<usize, usize> {
        let (bytes, width, len) = (self.as_bytes(), self.width(), self.len());
        // Integers often come in ascending order: look at the last one first.
        if len == 0 || value > read(bytes, width, len - 1) {
            return Err(len);
        }
        let (mut low, mut high) = (0, len);
        while low < high {
            let middle = low + (high - low) / 2;
            match read(bytes, width, middle).cmp(&value) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// Whether `value` is in the set.
    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        width_of(value) <= self.width() && self.find(value).is_ok()
    }

    /// Puts `value` in; whether it was not there.
    pub fn insert(&mut self, value: i64) -> bool {
        let width = width_of(value);
        if width > self.width() {
            self.widen_with(value, width);
            return true;
        }
        let Err(index) = self.find(value) else { return false };
        let (width, len) = (self.width(), self.len());
        self.resize(len + 1);
        let at = HEADER_BYTES + index * width;
        let end = HEADER_BYTES + len * width;
        let bytes = self.bytes_mut();
        bytes.copy_within(at..end, at + width);
        write(bytes, width, index, value);
        true
    }

    /// Makes every integer `width` bytes wide and puts `value`, which needs that width, in: being wider than all others
    /// it is either below or above all of them.
    fn widen_with(&mut self, value: i64, width: usize) {
        let len = self.len() + 1;
        let mut bytes = vec![0; HEADER_BYTES + len * width];
        bytes[0] = width as u8;
        bytes[4..8].copy_from_slice(&length_bytes(len));
        let before = usize::from(value < 0);
        for (index, old) in self.iter().enumerate() {
            write(&mut bytes, width, index + before, old);
        }
        write(&mut bytes, width, if value < 0 { 0 } else { len - 1 }, value);
        *self = Self::copy_of(&bytes);
    }

    /// Takes `value` out; whether it was there.
    pub fn remove(&mut self, value: i64) -> bool {
        if width_of(value) > self.width() {
            return false;
        }
        let Ok(index) = self.find(value) else { return false };
        self.remove_at(index);
        true
    }

    /// Takes the integer at `index` out; panics when there is none.
    pub fn remove_at(&mut self, index: usize) -> i64 {
        let value = self.get(index);
        let (width, len) = (self.width(), self.len());
        let at = HEADER_BYTES + index * width;
        self.bytes_mut().copy_within(at + width.., at);
        self.resize(len - 1);
        value
    }

    /// Makes room for `len` integers, or gives back what is behind them. New ones have no value yet but initialised bytes.
    fn resize(&mut self, len: usize) {
        let old = self.memory_bytes();
        let new = HEADER_BYTES + len * self.width();
        let length = length_bytes(len);
        if new < old {
            self.bytes_mut()[4..8].copy_from_slice(&length);
        }
        // SAFETY: `start` was allocated with the layout of `old` bytes, and `new` is neither 0 nor near `isize::MAX`.
        let moved = unsafe { realloc(self.start.as_ptr(), layout(old), new) };
        self.start = NonNull::new(moved).unwrap_or_else(|| handle_alloc_error(layout(new)));
        if new > old {
            // SAFETY: bytes from `old` to `new` are part of the allocation now.
            unsafe { self.start.as_ptr().add(old).write_bytes(0, new - old) };
            // SAFETY: the header is part of every allocation; what it announces has just been initialised.
            unsafe { self.start.as_ptr().add(4).cast::<[u8; 4]>().write(length) };
        }
    }
}

/// The width in bytes that `value` needs.
#[inline]
fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

fn length_bytes(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("fewer than 2^32 integers, or the set would not be an intset any more").to_le_bytes()
}

#[inline]
fn read(bytes: &[u8], width: usize, index: usize) -> i64 {
    let at = HEADER_BYTES + index * width;
    match width {
        2 => i64::from(i16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))),
        4 => i64::from(i32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))),
        _ => i64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")),
    }
}

/// Writes `value`, which fits in `width` bytes; the low bytes of the wider two's complement are the narrower one.
#[inline]
fn write(bytes: &mut [u8], width: usize, index: usize, value: i64) {
    let at = HEADER_BYTES + index * width;
    bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 1).expect("far below isize::MAX")
}

/// Allocates `bytes` bytes, not initialised; at least the header.
fn allocate(bytes: usize) -> NonNull<u8> {
    debug_assert!(bytes >= HEADER_BYTES);
    // SAFETY: the size is not 0.
    let start = unsafe { alloc(layout(bytes)) };
    NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout(bytes)))
}

impl Drop for IntSet {
    fn drop(&mut self) {
        let layout = layout(self.memory_bytes());
        // SAFETY: `start` was allocated with this layout and is not used any more.
        unsafe { dealloc(self.start.as_ptr(), layout) };
    }
}

impl Default for IntSet {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for IntSet {
    fn clone(&self) -> Self {
        Self::copy_of(self.as_bytes())
    }
}

impl PartialEq for IntSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for IntSet {}

impl fmt::Debug for IntSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a IntSet {
    type Item = i64;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The integers of a set, ascending.
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    width: usize,
    next: usize,
    end: usize,
}

impl Iterator for Iter<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        if self.next == self.end {
            return None;
        }
        self.next += 1;
        Some(read(self.bytes, self.width, self.next - 1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::IntSet;
    use crate::stdx::random::Random;
    use std::collections::BTreeSet;

    #[test]
    fn bytes_are_those_of_redis() {
        let mut set = IntSet::new();
        assert_eq!(set.as_bytes(), [2, 0, 0, 0, 0, 0, 0, 0]);
        assert!(set.insert(5) && set.insert(-1) && !set.insert(5));
        assert_eq!(set.as_bytes(), [2, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 5, 0]);
        assert!(set.insert(65535));
        assert_eq!(set.as_bytes(), [4, 0, 0, 0, 3, 0, 0, 0, 255, 255, 255, 255, 5, 0, 0, 0, 255, 255, 0, 0]);
        assert!(set.remove(65535) && !set.remove(65535) && !set.remove(i64::MAX));
        assert_eq!(set.as_bytes(), [4, 0, 0, 0, 2, 0, 0, 0, 255, 255, 255, 255, 5, 0, 0, 0]);
        assert!(set.insert(i64::MIN));
        assert_eq!(set.iter().collect::<Vec<_>>(), [i64::MIN, -1, 5]);
        assert_eq!(set.as_bytes()[0], 8);
    }

    #[test]
    fn widens_at_every_edge() {
        let edges = [i64::from(i16::MIN), i64::from(i16::MAX), i64::from(i32::MIN), i64::from(i32::MAX)];
        for edge in edges {
            for value in [edge - 1, edge, edge + 1, i64::MIN, i64::MAX] {
                let mut set: IntSet = IntSet::new();
                for small in [0, -7, 7, value] {
                    set.insert(small);
                }
                assert!(set.contains(value) && set.len() == 4 && !set.contains(value ^ 1 << 20));
                assert_eq!(IntSet::from_bytes(set.as_bytes()), Some(set));
            }
        }
    }

    #[test]
    fn foreign_bytes_are_checked() {
        let good = [2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0];
        assert_eq!(IntSet::from_bytes(&good).map(|set| set.iter().collect()), Some(vec![1, 2]));
        for cut in 0..good.len() {
            assert_eq!(IntSet::from_bytes(&good[..cut]), None);
        }
        for (at, byte) in [(0, 3), (0, 4), (1, 1), (4, 1), (4, 3), (7, 255), (8, 2), (8, 3), (9, 1)] {
            let mut bad = good;
            bad[at] = byte;
            assert_eq!(IntSet::from_bytes(&bad), None, "byte {at} set to {byte}");
        }
        assert_eq!(IntSet::from_bytes(&[2, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(IntSet::from_bytes(&[8, 0, 0, 0, 255, 255, 255, 255]), None);
    }

    #[test]
    fn behaves_like_a_btree_set() {
        for seed in 0..60 {
            println!("seed {seed}");
            let mut random = Random::new(seed);
            let (mut set, mut model) = (IntSet::new(), BTreeSet::new());
            let bits = [6, 12, 20, 40, 63][seed as usize % 5];
            for _ in 0..400 {
                let wide = random.below(40) == 0;
                let value = random.next_u64() as i64 >> if wide { 0 } else { 63 - bits };
                match random.below(4) {
                    0 | 1 => assert_eq!(set.insert(value), model.insert(value)),
                    2 => assert_eq!(set.remove(value), model.remove(&value)),
                    _ if !model.is_empty() => {
                        let index = random.below(model.len());
                        let value = *model.iter().nth(index).unwrap();
                        assert_eq!(set.remove_at(index), value);
                        model.remove(&value);
                    }
                    _ => {}
                }
                assert_eq!(set.contains(value), model.contains(&value));
                assert_eq!(set.len(), model.len());
            }
            assert!(set.iter().eq(model.iter().copied()));
            assert!(set.clone().iter().eq(model.iter().copied()));
            assert_eq!(set.is_empty(), model.is_empty());
        }
        assert_eq!(size_of::<Option<IntSet>>(), 8);
    }
}
