//! An extendible hash table of pointers to entries. No operation waits for a rehash of the whole: the directory, an
//! array indexed by the top bits of the hash, leads to [segments](segment) of some hundred entries, and each of them
//! grows in steps, splits in two or merges on its own. Only the directory doubles as a whole, 8 bytes a segment.
//!
//! ```text
//! hash              | bits 63-38: directory and tag ...  | ... 15-0: H1, the bucket inside the segment |
//! directory entry   | bits 0-5 first hash bit of the tags | bits 6-47 segment | bits 48-63 its number of buckets |
//! ```
//!
//! The tag of an entry is 8 hash bits that begin at the segment's depth, rounded down to a multiple of 4. So a split
//! knows from the tag to which half an entry goes, and only every fourth split must read the entries to hash them again.
//!
//! The table knows nothing of what entries are: callers give hashes, and functions that compare and rehash.
#![allow(unsafe_code)]

mod growth;
mod pool;
mod scan;
mod segment;
#[cfg(test)]
mod tests;

use pool::Pool;
pub use segment::Slot;
use segment::{HEAP, Segment, h1};
use std::ptr::NonNull;

/// Most hash bits that the directory uses: 2^26 segments hold more than 10^10 entries.
const DEPTH_MAX: u8 = 26;

/// Where an entry is. It is of use until the next insertion or removal; callers see to that.
#[derive(Clone, Copy)]
pub struct Place {
    segment: Segment,
    slot: NonNull<Slot>,
}

impl Place {
    /// What is there.
    #[inline]
    pub fn slot(self) -> Slot {
        // SAFETY: places are given only for slots, and used before these move.
        unsafe { self.slot.read() }
    }

    /// Tells that the entry here expires at `at`.
    ///
    /// # Safety
    /// Nothing has been inserted or removed since the place was found.
    #[inline]
    pub unsafe fn expires(self, at: i64) {
        let header = self.segment.header_mut();
        header.earliest = header.earliest.min(at);
    }
}

/// Asks the processor to fetch the line at `pointer`, which may be any address.
#[inline]
pub fn prefetch(pointer: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on the cache, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(pointer.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = pointer;
}

/// One place of the directory.
#[derive(Clone, Copy)]
struct Door(u64);

impl Door {
    fn new(segment: Segment) -> Self {
        let header = segment.header();
        Self(segment.address() | u64::from(header.buckets) << 48 | u64::from(tag_base(header.depth)))
    }

    #[inline]
    fn segment(self) -> Segment {
        Segment::at(self.0 & 0x0000_ffff_ffff_ffc0)
    }

    #[inline]
    fn buckets(self) -> u32 {
        (self.0 >> 48) as u32
    }

    #[inline]
    fn tag(self, hash: u64) -> u8 {
        tag(hash, self.0 as u8 & 0x3f)
    }
}

/// The hash bit, from the top, with which the tags begin in a segment of this depth.
fn tag_base(depth: u8) -> u8 {
    depth & !3
}

#[inline]
fn tag(hash: u64, base: u8) -> u8 {
    ((hash << base) >> 56) as u8
}

/// The table.
#[derive(Default)]
pub struct RawTable {
    doors: Vec<Door>,
    /// Hash bits that index the directory.
    depth: u8,
    /// Segments of the directory's depth; when the last of them merges, the directory halves.
    deepest: u32,
    segments: u32,
    len: usize,
    /// Entries with a time to live.
    timed: usize,
    /// Bytes of all segments.
    bytes: usize,
    /// Segments with an allocation of their own.
    heap_segments: u32,
    pool: Option<Box<Pool>>,
}

impl RawTable {
    /// Number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Number of entries with a time to live.
    pub fn timed(&self) -> usize {
        self.timed
    }

    /// Bytes of segments and directory.
    pub fn bytes(&self) -> usize {
        let unused = self.pool.as_ref().map_or(0, |pool| pool.unused_bytes());
        self.bytes + unused + self.doors.capacity() * size_of::<Door>()
    }

    #[inline]
    fn door(&self, hash: u64) -> Door {
        let index = (hash >> 32) >> (32 - self.depth);
        debug_assert!((index as usize) < self.doors.len());
        // SAFETY: the directory has 2^depth places once it has any, which the caller has checked.
        unsafe { *self.doors.get_unchecked(index as usize) }
    }

    /// Asks the processor to fetch the bucket in which an entry with this hash is looked for first.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if !self.doors.is_empty() {
            let door = self.door(hash);
            door.segment().prefetch(h1(hash), door.buckets());
        }
    }

    /// The place of the entry with this hash that `is_it` accepts.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl FnMut(Slot) -> bool) -> Option<Place> {
        if self.doors.is_empty() {
            return None;
        }
        let door = self.door(hash);
        let segment = door.segment();
        let slot = segment.find(h1(hash), door.tag(hash), door.buckets(), is_it)?;
        Some(Place { segment, slot })
    }

    /// Adds an entry that is not in the table. `rehash` gives the hash of an entry that is.
    #[inline]
    pub fn insert(&mut self, hash: u64, entry: NonNull<u8>, marks: u64, rehash: impl Fn(NonNull<u8>) -> u64) -> Place {
        if self.doors.is_empty() {
            self.open();
        }
        let mut door = self.door(hash);
        while door.segment().header().len >= door.segment().header().high {
            self.make_room(hash, &rehash);
            door = self.door(hash);
        }
        self.len += 1;
        self.timed += (marks & Slot::TIMED) as usize;
        let segment = door.segment();
        let slot = segment.insert(Slot::new(entry, marks, h1(hash)), door.tag(hash));
        Place { segment, slot }
    }

    /// Replaces the entry at `place` by `entry` with the same key.
    ///
    /// # Safety
    /// The place is of this table, and nothing has been inserted or removed since it was found.
    #[inline]
    pub unsafe fn set(&mut self, place: Place, entry: NonNull<u8>, marks: u64) {
        let old = place.slot();
        let (after, before) = ((marks & Slot::TIMED) as u32, (old.marks() & Slot::TIMED) as u32);
        if after != before {
            self.timed = self.timed + after as usize - before as usize;
            let header = place.segment.header_mut();
            header.timed = header.timed + after - before;
        }
        // SAFETY: the caller's promise: the slot is where it was.
        unsafe { place.slot.write(old.with(entry, marks)) };
    }

    /// Takes the entry at `place` out. `rehash` gives the hash of an entry of the table.
    ///
    /// # Safety
    /// As [`RawTable::set`].
    pub unsafe fn remove(&mut self, place: Place, rehash: impl Fn(NonNull<u8>) -> u64) -> Slot {
        let slot = place.segment.remove(place.slot);
        self.len -= 1;
        self.timed -= (slot.marks() & Slot::TIMED) as usize;
        if place.segment.header().len < place.segment.header().low {
            self.give_room(place.segment, &rehash);
        }
        slot
    }

    fn segments(&self) -> impl Iterator<Item = Segment> {
        let mut index = 0;
        std::iter::from_fn(move || {
            let segment = self.doors.get(index)?.segment();
            index += 1 << (self.depth - segment.header().depth);
            Some(segment)
        })
    }

    /// All entries, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        self.segments().flat_map(|segment| segment.slots().map(|(slot, _)| slot))
    }
}

impl Drop for RawTable {
    /// The pool frees its pages; the directory is walked only for segments with allocations of their own.
    fn drop(&mut self) {
        let mut index = 0;
        while self.heap_segments > 0 {
            let segment = self.doors[index].segment();
            let header = segment.header();
            index += 1 << (self.depth - header.depth);
            if header.index == HEAP {
                self.heap_segments -= 1;
                segment.free();
            }
        }
    }
}
