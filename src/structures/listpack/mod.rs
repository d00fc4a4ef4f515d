//! Listpack: a sequence of byte strings and integers in one run of bytes, readable from both ends. Small lists, hashes
//! and sets are one listpack; large lists are chains of them. The bytes are exactly those of Redis's listpack, so that a
//! dump can carry them as they are:
//!
//! ```text
//! listpack  total bytes: u32 | elements: u16, 65535 = count them | entry ... | 0xFF          all numbers little-endian
//! entry     head | data | back length: bytes of head and data, seven bits a byte, read from its end
//! head      0iiiiiii                       integer 0 to 127
//!           10nnnnnn  data                 string of up to 63 bytes
//!           110iiiii iiiiiiii              integer of 13 bits, two's complement
//!           1110nnnn nnnnnnnn  data        string of up to 4095 bytes
//!           11110000 n n n n  data         string, length in 32 bits
//!           11110001 to 11110100 i ...     integer of 16, 24, 32, 64 bits
//! ```
//!
//! In memory a listpack is one pointer to one allocation, which keeps the room it does not use on both sides, so that
//! adding and removing at either end moves a few bytes:
//!
//! ```text
//! block     bytes of block: u32 | start: u32 | room | listpack | room
//! ```

mod block;
mod entry;
mod iter;
#[cfg(test)]
mod tests;

pub use entry::{Element, entry_size};
pub use iter::Iter;

use crate::stdx::allocation;
use block::Block;

/// Bytes before the first entry.
const HEADER: usize = 6;
/// Bytes of a listpack without elements.
const EMPTY_BYTES: usize = HEADER + 1;
const TERMINATOR: u8 = 0xFF;
/// The element count that says "count them".
const UNKNOWN: u16 = u16::MAX;
/// Bytes of the block before the room: the start of the listpack.
const BASE: usize = size_of::<u32>();
/// Below this size moving everything is cheaper than keeping room on both sides.
const SLIDE_BYTES_MIN: usize = 512;
/// A larger one that needs room moves to a larger block when less than this share of it would stay free.
const SPARE_SHARE: usize = 64;
/// Most of the spare room that stays on the side that did not ask for it.
const SPARE_OTHER_SIDE_BYTES_MAX: usize = 64;

/// Most bytes of a listpack, as in Redis: whoever adds asks [`Listpack::fits`] first where sizes are not bounded anyway.
pub const LISTPACK_BYTES_MAX: usize = 1 << 30;

/// A sequence of elements in one allocation; one pointer wide.
pub struct Listpack {
    block: Block,
}

/// Where an element stands in a listpack. Any change to the listpack may make it point elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(usize);

impl Position {
    /// Where the first element stands in any listpack that has one.
    pub const FIRST: Self = Self(HEADER);
}

impl Listpack {
    /// A listpack without elements.
    pub fn new() -> Self {
        Self::with_room(EMPTY_BYTES, &[EMPTY_BYTES as u8, 0, 0, 0, 0, 0, TERMINATOR])
    }

    fn with_room(len: usize, content: &[u8]) -> Self {
        let mut block = Block::new(block_len_for(len));
        block[BASE..][..content.len()].copy_from_slice(content);
        Self { block }
    }

    /// A copy of bytes from outside, if they are a valid listpack to the last byte. What no writer would have written
    /// so, such as an integer as a string, is taken and written anew.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let total = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
        let count = u16::from_le_bytes(header[4..].try_into().ok()?);
        let end = total.checked_sub(1)?;
        if total != bytes.len() || !(EMPTY_BYTES..=LISTPACK_BYTES_MAX).contains(&total) || bytes[end] != TERMINATOR {
            return None;
        }
        let (mut at, mut found, mut canonical) = (HEADER, 0usize, true);
        while at < end {
            let (body, size) = entry::check(bytes, at, end)?;
            canonical &= match entry::decode(body) {
                Element::Bytes(text) => Element::from(text) == Element::Bytes(text),
                Element::Int(_) => true,
            } && entry_size(entry::decode(body)) == size;
            at += size;
            found += 1;
        }
        if count != UNKNOWN && usize::from(count) != found {
            return None;
        }
        if canonical && (count == UNKNOWN) == (found >= usize::from(UNKNOWN)) {
            return Some(Self::with_room(total, bytes));
        }
        let mut clean = Self::new();
        for element in Iter::new(bytes, HEADER) {
            clean.push_back(Element::from(element.bytes(&mut itoa::Buffer::new())));
        }
        Some(clean)
    }

    #[inline]
    fn start(&self) -> usize {
        u32::from_le_bytes(self.block[..BASE].try_into().expect("four bytes")) as usize
    }

    #[inline]
    fn set_start(&mut self, start: usize) {
        self.block[..BASE].copy_from_slice(&(start as u32).to_le_bytes());
    }

    /// The listpack's bytes, as a dump carries them.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        let behind = &self.block[BASE + self.start()..];
        let total = u32::from_le_bytes(behind[..4].try_into().expect("four bytes"));
        &behind[..total as usize]
    }

    #[inline]
    fn as_bytes_mut(&mut self) -> &mut [u8] {
        let start = self.start();
        let behind = &mut self.block[BASE + start..];
        let total = u32::from_le_bytes(behind[..4].try_into().expect("four bytes"));
        &mut behind[..total as usize]
    }

    /// Bytes of the listpack, header and terminator included.
    #[inline]
    pub fn byte_len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Bytes it has allocated.
    pub fn memory_bytes(&self) -> usize {
        Block::allocation(self.block.len())
    }

    /// Bytes that it takes of the allocator.
    pub fn allocated_bytes(&self) -> usize {
        allocation::class(self.memory_bytes())
    }

    /// Whether an element of `len` bytes can be added within [`LISTPACK_BYTES_MAX`].
    pub fn fits(&self, len: usize) -> bool {
        // Fifteen bytes are more than head and back length of any entry.
        len.saturating_add(15 + self.byte_len()) <= LISTPACK_BYTES_MAX
    }

    /// Number of elements. Counts them when there are 65535 or more.
    #[inline]
    pub fn len(&self) -> usize {
        match self.header_count() {
            UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    #[inline]
    fn header_count(&self) -> u16 {
        let bytes = self.as_bytes();
        u16::from_le_bytes([bytes[4], bytes[5]])
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.byte_len() == EMPTY_BYTES
    }

    /// The elements from the front; also from the back.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(self.as_bytes(), HEADER)
    }

    /// The elements from the one at `position` on.
    #[inline]
    pub fn iter_from(&self, position: Position) -> Iter<'_> {
        Iter::new(self.as_bytes(), position.0)
    }

    /// The elements up to the one at `position`, it included; to be walked from the back.
    #[inline]
    pub fn iter_until(&self, position: Position) -> Iter<'_> {
        Iter::until(self.as_bytes(), self.end_of(position))
    }

    /// Where the entry behind the one at `position` starts.
    #[inline]
    fn end_of(&self, position: Position) -> usize {
        position.0 + entry::read(self.as_bytes(), position.0).1
    }

    /// The element at `position`.
    #[inline]
    pub fn get(&self, position: Position) -> Element<'_> {
        entry::read(self.as_bytes(), position.0).0
    }

    /// Where the first element stands.
    #[inline]
    pub fn first(&self) -> Option<Position> {
        (!self.is_empty()).then_some(Position(HEADER))
    }

    /// Where the last element stands.
    #[inline]
    pub fn last(&self) -> Option<Position> {
        self.before(self.byte_len() - 1)
    }

    /// Where the element behind the one at `position` stands.
    #[inline]
    pub fn next(&self, position: Position) -> Option<Position> {
        self.entry_at(self.end_of(position))
    }

    /// Where the element before the one at `position` stands.
    #[inline]
    pub fn prev(&self, position: Position) -> Option<Position> {
        self.before(position.0)
    }

    #[inline]
    fn entry_at(&self, at: usize) -> Option<Position> {
        (at + 1 < self.byte_len()).then_some(Position(at))
    }

    #[inline]
    fn before(&self, end: usize) -> Option<Position> {
        if end == HEADER {
            return None;
        }
        Some(Position(entry::start_before(self.as_bytes(), end)))
    }

    /// Where element number `index` stands; 0 is the first, -1 the last.
    pub fn seek(&self, index: i64) -> Option<Position> {
        let count = self.header_count();
        // With the count known, walk from the nearer end.
        let index = match (count, index) {
            (UNKNOWN, _) => index,
            (_, 0..) if index >= i64::from(count) => return None,
            (_, 0..) if index > i64::from(count) / 2 => index - i64::from(count),
            (_, ..0) if index < -i64::from(count) => return None,
            (_, ..0) if index < -i64::from(count) / 2 => index + i64::from(count),
            _ => index,
        };
        let mut position = if index >= 0 { self.first()? } else { self.last()? };
        for _ in 0..if index >= 0 { index } else { -1 - index } {
            position = if index >= 0 { self.next(position)? } else { self.prev(position)? };
        }
        Some(position)
    }

    /// The first element from `from` on that equals `value`, looking at one and passing over `skip`, in turn.
    pub fn find(&self, from: Position, value: &[u8], skip: usize) -> Option<Position> {
        let wanted = Element::from(value);
        let mut iter = self.iter_from(from);
        loop {
            let (position, element) = iter.next_with_position()?;
            if element == wanted {
                return Some(position);
            }
            for _ in 0..skip {
                iter.next()?;
            }
        }
    }

    /// Adds an element behind the last.
    #[inline]
    pub fn push_back<'e>(&mut self, value: impl Into<Element<'e>>) {
        self.write(self.byte_len() - 1, 0, value.into(), 1);
    }

    /// Adds an element before the first.
    #[inline]
    pub fn push_front<'e>(&mut self, value: impl Into<Element<'e>>) {
        self.write(HEADER, 0, value.into(), 1);
    }

    /// Adds an element before the one at `position`, where it then stands.
    pub fn insert_before<'e>(&mut self, position: Position, value: impl Into<Element<'e>>) {
        self.write(position.0, 0, value.into(), 1);
    }

    /// Adds an element behind the one at `position`; where it stands.
    pub fn insert_after<'e>(&mut self, position: Position, value: impl Into<Element<'e>>) -> Position {
        let at = self.end_of(position);
        self.write(at, 0, value.into(), 1);
        Position(at)
    }

    /// Puts `value` in the place of the element at `position`; it then stands there.
    pub fn replace<'e>(&mut self, position: Position, value: impl Into<Element<'e>>) {
        self.write(position.0, self.end_of(position) - position.0, value.into(), 0);
    }

    /// Removes the element at `position`; where the one behind it then stands.
    pub fn remove(&mut self, position: Position) -> Option<Position> {
        let removed = self.end_of(position) - position.0;
        self.splice(position.0, removed, 0, -1);
        self.entry_at(position.0)
    }

    /// Removes up to `count` elements from `position` on; how many.
    pub fn remove_range(&mut self, position: Position, count: usize) -> usize {
        let mut iter = self.iter_from(position);
        let found = iter.by_ref().take(count).count();
        let end = iter.next_with_position().map_or(self.byte_len() - 1, |(behind, _)| behind.0);
        self.splice(position.0, end - position.0, 0, -(found as i64));
        found
    }

    /// Passes over the first `skip` elements that equal `value` and removes up to `max` of those that follow, in one pass;
    /// how many.
    pub fn remove_equal(&mut self, value: Element<'_>, skip: usize, max: usize) -> usize {
        let bytes = self.as_bytes_mut();
        let end = bytes.len() - 1;
        // Entries before `write` are kept and in place; those from `run` to `read` are kept and still to be moved there.
        let (mut read, mut run, mut write) = (HEADER, HEADER, HEADER);
        let (mut skipped, mut removed) = (0, 0);
        while read < end && removed < max {
            let (element, size) = entry::read(bytes, read);
            let next = read + size;
            if element == value {
                if skipped < skip {
                    skipped += 1;
                } else {
                    bytes.copy_within(run..read, write);
                    write += read - run;
                    run = next;
                    removed += 1;
                }
            }
            read = next;
        }
        if removed > 0 {
            bytes.copy_within(run..end, write);
            write += end - run;
            self.splice(write, end - write, 0, -(removed as i64));
        }
        removed
    }

    /// Removes every element.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Adds all elements of `other` behind the last.
    pub fn append(&mut self, other: &Self) {
        let entries = &other.as_bytes()[HEADER..other.byte_len() - 1];
        let at = self.byte_len() - 1;
        self.splice(at, 0, entries.len(), other.len() as i64);
        self.as_bytes_mut()[at..at + entries.len()].copy_from_slice(entries);
    }

    /// Cuts the elements from `position` on off and hands them out.
    pub fn split_off(&mut self, position: Position) -> Self {
        let tail = &self.as_bytes()[position.0..self.byte_len() - 1];
        let (bytes, count) = (tail.len(), self.iter_from(position).count());
        let mut split = Self::with_room(EMPTY_BYTES + bytes, Self::new().as_bytes());
        split.splice(HEADER, 0, bytes, count as i64);
        split.as_bytes_mut()[HEADER..HEADER + bytes].copy_from_slice(tail);
        self.splice(position.0, bytes, 0, -(count as i64));
        split
    }

    /// Gives memory back that is not used. Costs a copy: for a listpack that will not change for a while.
    pub fn shrink_to_fit(&mut self) {
        self.fit(block_len_for(self.byte_len()));
    }

    fn write(&mut self, at: usize, removed: usize, element: Element<'_>, count_change: i64) {
        let encoded = entry::Encoded::new(element);
        self.splice(at, removed, encoded.len(), count_change);
        encoded.write(&mut self.as_bytes_mut()[at..]);
    }

    /// Makes `removed` bytes at `at` be `added` bytes, whose content the caller then writes; the number of elements
    /// changes by `count_change`. Of the bytes before and behind the smaller part moves where there is room for it.
    fn splice(&mut self, at: usize, removed: usize, added: usize, count_change: i64) {
        let len = self.byte_len();
        let new_len = len - removed + added;
        assert!(new_len <= u32::MAX as usize / 2, "whoever adds to a listpack keeps it within its limit");
        let move_front = if added > removed { self.make_room(at, removed, added) } else { at < len - at - removed };
        let start = self.start();
        if move_front {
            let new_start = start + removed - added;
            self.block.copy_within(BASE + start..BASE + start + at, BASE + new_start);
            self.set_start(new_start);
        } else {
            let from = BASE + start + at;
            self.block.copy_within(from + removed..BASE + start + len, from + added);
        }
        self.set_header(new_len, count_change);
        if added < removed && 2 * new_len + 64 < self.block.len() {
            self.shrink_to_fit();
        }
    }

    /// Finds room for a splice that adds bytes; whether the part before `at` is the one to move.
    fn make_room(&mut self, at: usize, removed: usize, added: usize) -> bool {
        let len = self.byte_len();
        let (grow, want_front) = (added - removed, at < len - at - removed);
        if self.room_fits(want_front, grow) {
            return want_front;
        }
        // A share of spare room keeps the next ones from moving everything again; small ones have none to spare.
        let spare_min = if len < SLIDE_BYTES_MIN { 0 } else { len / SPARE_SHARE };
        if self.block.len() - BASE - len < grow + spare_min {
            self.block.resize(block_len_for(len + grow + spare_min));
        }
        if self.room_fits(want_front, grow) {
            return want_front;
        }
        if len < SLIDE_BYTES_MIN && self.room_fits(!want_front, grow) {
            return !want_front;
        }
        let spare = self.block.len() - BASE - len - grow;
        // Nearly all of the spare room goes to the side that asks; a little keeps a turn to the other one cheap.
        let little = (spare / 8).min(SPARE_OTHER_SIDE_BYTES_MAX);
        let new_start = match (want_front, len < SLIDE_BYTES_MIN) {
            (true, false) => grow + spare - little,
            (false, false) => little,
            (_, true) => 0,
        };
        self.slide(new_start);
        want_front && new_start > 0
    }

    #[inline]
    fn room_fits(&self, front: bool, grow: usize) -> bool {
        let start = self.start();
        if front { start >= grow } else { self.block.len() - BASE - start - self.byte_len() >= grow }
    }

    /// Moves the whole listpack inside its block.
    fn slide(&mut self, new_start: usize) {
        let (start, len) = (self.start(), self.byte_len());
        self.block.copy_within(BASE + start..BASE + start + len, BASE + new_start);
        self.set_start(new_start);
    }

    /// Gives the block exactly `block_len` bytes, which must be enough.
    fn fit(&mut self, block_len: usize) {
        if block_len != self.block.len() {
            self.slide(0);
            self.block.resize(block_len);
        }
    }

    fn set_header(&mut self, new_len: usize, count_change: i64) {
        let start = self.start();
        let header = &mut self.block[BASE + start..][..HEADER];
        header[..4].copy_from_slice(&(new_len as u32).to_le_bytes());
        let count = u16::from_le_bytes([header[4], header[5]]);
        if count_change == 0 {
            return;
        }
        let new_count = match count {
            // Many were counted away: count what is left, so that the header knows again.
            UNKNOWN if count_change < 0 => self.iter().count() as i64,
            UNKNOWN => return,
            count => i64::from(count) + count_change,
        };
        let new_count = u16::try_from(new_count).unwrap_or(UNKNOWN);
        self.block[BASE + start + 4..][..2].copy_from_slice(&new_count.to_le_bytes());
    }
}

/// The length of a block for a listpack of `len` bytes: up to the next size class of the allocator, whose room would be
/// lost otherwise. Classes are 16 bytes apart up to 128, then four to each doubling.
fn block_len_for(len: usize) -> usize {
    let bytes = Block::allocation(BASE + len);
    let step = if bytes <= 128 { 16 } else { 1 << ((bytes - 1).ilog2() - 2) };
    bytes.next_multiple_of(step) - Block::allocation(0)
}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Listpack {
    fn clone(&self) -> Self {
        Self::with_room(self.byte_len(), self.as_bytes())
    }
}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Equal elements in equal order.
impl PartialEq for Listpack {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Listpack {}

impl<'e, T: Into<Element<'e>>> Extend<T> for Listpack {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.push_back(value);
        }
    }
}
