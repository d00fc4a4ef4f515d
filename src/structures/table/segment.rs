//! A segment: a header line and `n` buckets of one cache line each, in one allocation.
//!
//! ```text
//! bucket   | 7 tags, a byte each | 1 byte: bits 0-6 occupied, bit 7 passed | 7 slots of 8 bytes |
//! slot     | bits 0-1 marks | bit 2 displaced | bits 3-47 pointer to the entry | bits 48-63 the low 16 hash bits, H1 |
//! ```
//!
//! The home of an entry is bucket `H1 * n / 2^16`, so buckets are in the order of H1 whatever `n` is. When the home is
//! full the entry goes to the next bucket with a free slot, going round, and every bucket it went by is marked
//! *passed*: a search ends at the first bucket that is not. Removing pulls entries back, so that the marks do not pile
//! up. Neither needs the entry itself, as H1 is in the slot.
//!
//! Handles here are as raw as pointers; the table is the only one to hold them, and frees each once.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Slots of a bucket.
pub const SLOTS: usize = 7;

/// Most buckets of a segment: their number fits in 16 bits of a directory entry.
const BUCKETS_MAX: u32 = u16::MAX as u32;

/// [`Header::index`] of a segment with an allocation of its own.
pub const HEAP: u32 = u32::MAX;

const OCCUPIED: u64 = 0x7f << 56;
const PASSED: u64 = 1 << 63;

/// The pointer to an entry, its marks and 16 bits of its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Slot(u64);

impl Slot {
    /// Mark: the entry has a time to live.
    pub const TIMED: u64 = 1;
    /// Mark: the entry owns memory that does not go with its allocator's pages.
    pub const OWNS: u64 = 2;
    const MARKS: u64 = 3;
    /// Mark of the segment's own: the entry is not in its home.
    const DISPLACED: u64 = 4;
    const POINTER: u64 = 0x0000_ffff_ffff_fff8;

    /// A slot for the entry at `entry`. `h1` is not 0, which marks free slots.
    #[inline]
    pub fn new(entry: NonNull<u8>, marks: u64, h1: u16) -> Self {
        let address = entry.as_ptr().expose_provenance() as u64;
        assert!(address & !Self::POINTER == 0, "user addresses have 47 bits and entries lie at multiples of 8");
        Self(address | marks | u64::from(h1) << 48)
    }

    /// The entry.
    #[inline]
    pub fn entry(self) -> NonNull<u8> {
        debug_assert!(self.0 & Self::POINTER != 0, "only occupied slots are asked for their entry");
        let pointer = std::ptr::with_exposed_provenance_mut((self.0 & Self::POINTER) as usize);
        // SAFETY: an occupied slot was made of a pointer that is not null.
        unsafe { NonNull::new_unchecked(pointer) }
    }

    /// The marks.
    #[inline]
    pub fn marks(self) -> u64 {
        self.0 & Self::MARKS
    }

    /// The same slot for another entry with the same key.
    #[inline]
    pub fn with(self, entry: NonNull<u8>, marks: u64) -> Self {
        Self(Self::new(entry, marks, self.h1()).0 | self.0 & Self::DISPLACED)
    }

    #[inline]
    fn is_displaced(self) -> bool {
        self.0 & Self::DISPLACED != 0
    }

    #[inline]
    fn displaced(self, displaced: bool) -> Self {
        Self(self.0 & !Self::DISPLACED | if displaced { Self::DISPLACED } else { 0 })
    }

    /// H1 of the entry's hash.
    #[inline]
    pub fn h1(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

/// One cache line of slots.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Bucket {
    meta: u64,
    slots: [Slot; SLOTS],
}

impl Bucket {
    /// The slots whose tag is `tag`, as one bit in each byte; empty slots may be among them.
    #[inline]
    fn matches(&self, tag: u8) -> u64 {
        const LOW: u64 = 0x007f_7f7f_7f7f_7f7f;
        let differs = self.meta ^ (u64::from(tag) * 0x0001_0101_0101_0101);
        // A byte is zero when neither its high bit is set nor adding 127 to its low bits carries into the high bit.
        !(((differs & LOW) + LOW) | differs) & 0x0080_8080_8080_8080
    }

    #[inline]
    fn free_slot(&self) -> Option<usize> {
        let free = !self.meta & OCCUPIED;
        (free != 0).then(|| (free.trailing_zeros() - 56) as usize)
    }

    #[inline]
    fn passed(&self) -> bool {
        self.meta & PASSED != 0
    }

    #[inline]
    fn put(&mut self, at: usize, slot: Slot, tag: u8) {
        let shift = at * 8;
        self.meta = self.meta & !(0xff << shift) | u64::from(tag) << shift | 1 << (56 + at);
        self.slots[at] = slot;
    }

    #[inline]
    fn clear(&mut self, at: usize) {
        self.meta &= !(1 << (56 + at));
        self.slots[at] = Slot(0);
    }

    #[inline]
    fn tag(&self, at: usize) -> u8 {
        (self.meta >> (at * 8)) as u8
    }

    /// The occupied slots with their places and tags.
    #[inline]
    pub fn occupied(&self) -> impl Iterator<Item = (usize, Slot, u8)> {
        let mut left = (self.meta & OCCUPIED) >> 56;
        std::iter::from_fn(move || {
            let at = (left != 0).then_some(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some((at, self.slots[at], self.tag(at)))
        })
    }
}

/// What a segment knows of itself.
#[repr(C, align(64))]
pub struct Header {
    /// Entries.
    pub len: u32,
    /// With more entries than this the segment grows or splits.
    pub high: u32,
    /// With fewer entries than this it shrinks or merges.
    pub low: u32,
    /// Buckets.
    pub buckets: u32,
    /// The hash bits that all its entries share, from the top down; the rest is zero.
    pub prefix: u32,
    /// How many bits that are.
    pub depth: u8,
    /// Entries with a time to live.
    pub timed: u32,
    /// Its number in the table's pool; [`HEAP`] when it has an allocation of its own.
    pub index: u32,
    /// No entry's time is over before this.
    pub earliest: i64,
}

/// The low 16 hash bits, of which the last is set: so no entry's is 0.
#[inline]
pub fn h1(hash: u64) -> u16 {
    hash as u16 | 1
}

/// The bucket an entry belongs to.
#[inline]
pub fn home(h1: u16, buckets: u32) -> u32 {
    (u32::from(h1) * buckets) >> 16
}

/// How many buckets `to` is behind `from`, going round.
#[inline]
fn distance(from: u32, to: u32, buckets: u32) -> u32 {
    if to >= from { to - from } else { to + buckets - from }
}

/// The first H1 that belongs to bucket `bucket` or a later one; 2^16 past the last bucket.
pub fn first_h1(bucket: u32, buckets: u32) -> u32 {
    (bucket << 16).div_ceil(buckets)
}

/// Most entries of a segment of `buckets` buckets before it grows: nine tenths of its slots, all of a single bucket.
pub fn entries_max(buckets: u32) -> u32 {
    let slots = buckets * SLOTS as u32;
    slots - slots / 10
}

/// Cache lines of a segment of `buckets` buckets.
pub fn lines(buckets: u32) -> usize {
    buckets as usize + 1
}

/// The next larger number of buckets. With the header's line they fill allocation sizes that the allocator has, four
/// to a doubling from 512 bytes on; a pool, which has any size, gets finer steps where those are widest.
pub fn larger(buckets: u32, pooled: bool) -> u32 {
    let lines = buckets + 1;
    match lines {
        0..8 => buckets + 1,
        32..48 if pooled => buckets + 4,
        _ => buckets + (1 << (lines.ilog2() - 2)),
    }
}

/// The smallest number of buckets for `entries` entries and a sixteenth more, so that the next few fit as well.
pub fn buckets_for(entries: u32, pooled: bool) -> u32 {
    let mut buckets = 1;
    while entries_max(buckets) < entries + entries / 16 {
        buckets = larger(buckets, pooled);
    }
    buckets
}

/// A segment; a raw handle. It must not be used after [`Segment::free`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Segment(NonNull<Header>);

impl Segment {
    fn layout(buckets: u32) -> Layout {
        Layout::from_size_align(64 * lines(buckets), 64).expect("fewer than 2^16 buckets")
    }

    /// A segment without entries for the hashes that begin with the `depth` top bits of `prefix`, in an allocation of
    /// its own.
    pub fn allocate(buckets: u32, prefix: u32, depth: u8) -> Self {
        assert!(buckets <= BUCKETS_MAX, "hundreds of thousands of keys with one hash: the hasher is broken");
        let layout = Self::layout(buckets);
        // SAFETY: the layout has at least 128 bytes.
        let memory = unsafe { alloc(layout) };
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: just allocated for this many buckets.
        unsafe { Self::make(memory, buckets, prefix, depth, HEAP) }
    }

    /// The same in memory that has any content.
    ///
    /// # Safety
    /// `memory` is aligned to 64 and has [`lines`]`(buckets)` times 64 bytes, which belong to the segment from now on.
    pub unsafe fn make(memory: NonNull<u8>, buckets: u32, prefix: u32, depth: u8, index: u32) -> Self {
        let high = entries_max(buckets);
        // A single bucket cannot shrink, but merge when it is empty.
        let low = if buckets == 1 { u32::from(depth > 0) } else { high * 2 / 5 };
        let header = memory.cast::<Header>();
        // SAFETY: zeroes are empty buckets, and the header has a line of its own.
        unsafe {
            memory.write_bytes(0, 64 * lines(buckets));
            header.write(Header { len: 0, high, low, buckets, prefix, depth, timed: 0, index, earliest: i64::MAX });
        }
        Self(header)
    }

    /// The segment that has been moved to `memory`.
    ///
    /// # Safety
    /// The bytes of a segment have just been copied there.
    pub unsafe fn moved_to(memory: NonNull<u8>, index: u32) -> Self {
        let segment = Self(memory.cast());
        segment.header_mut().index = index;
        segment
    }

    /// Frees a segment that has an allocation of its own, not its entries.
    pub fn free(self) {
        debug_assert_eq!(self.header().index, HEAP);
        let layout = Self::layout(self.header().buckets);
        // SAFETY: allocated with this layout; the table frees each segment once.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) };
    }

    /// Bytes of its allocation.
    pub fn bytes(self) -> usize {
        Self::layout(self.header().buckets).size()
    }

    /// The address, for the directory; a multiple of 64.
    pub fn address(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// The segment at an address that [`Segment::address`] gave.
    #[inline]
    pub fn at(address: u64) -> Self {
        let pointer = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: the directory holds only addresses of segments, which are not null.
        Self(unsafe { NonNull::new_unchecked(pointer) })
    }

    /// The header.
    #[inline]
    pub fn header<'a>(self) -> &'a Header {
        // SAFETY: the segment is live, and one thread works on a table at a time.
        unsafe { self.0.as_ref() }
    }

    /// The header, for changing. The caller keeps no other reference to it.
    #[inline]
    pub fn header_mut<'a>(mut self) -> &'a mut Header {
        // SAFETY: as above; the borrows that callers make end at once.
        unsafe { self.0.as_mut() }
    }

    #[inline]
    fn bucket_pointer(self, at: u32) -> NonNull<Bucket> {
        // SAFETY: the allocation goes on with the buckets after the header's line, and `at` is below their number.
        unsafe { self.0.cast::<Bucket>().add(at as usize + 1) }
    }

    #[inline]
    fn slot_pointer(self, at: u32, number: usize) -> NonNull<Slot> {
        // SAFETY: the slots follow the first 8 bytes of the bucket.
        unsafe { self.bucket_pointer(at).cast::<Slot>().add(1 + number) }
    }

    /// A bucket.
    #[inline]
    pub fn bucket<'a>(self, at: u32) -> &'a Bucket {
        debug_assert!(at < self.header().buckets);
        // SAFETY: inside the live segment.
        unsafe { self.bucket_pointer(at).as_ref() }
    }

    #[inline]
    fn bucket_mut<'a>(self, at: u32) -> &'a mut Bucket {
        debug_assert!(at < self.header().buckets);
        // SAFETY: inside the live segment; the borrows made here end before the next is made.
        unsafe { self.bucket_pointer(at).as_mut() }
    }

    /// Asks the processor to fetch the bucket in which an entry with this H1 is looked for first.
    #[inline]
    pub fn prefetch(self, h1: u16, buckets: u32) {
        super::prefetch(self.bucket_pointer(home(h1, buckets)).as_ptr().cast());
    }

    /// The place of the entry with this H1 and tag that `is_it` accepts. `buckets` is their number, which the directory
    /// knows without a look at the header.
    #[inline]
    pub fn find(self, h1: u16, tag: u8, buckets: u32, mut is_it: impl FnMut(Slot) -> bool) -> Option<NonNull<Slot>> {
        let mut at = home(h1, buckets);
        let mut left = buckets;
        loop {
            let bucket = self.bucket(at);
            let mut matches = bucket.matches(tag);
            while matches != 0 {
                let number = (matches.trailing_zeros() / 8) as usize;
                let slot = bucket.slots[number];
                if slot.h1() == h1 && is_it(slot) {
                    return Some(self.slot_pointer(at, number));
                }
                matches &= matches - 1;
            }
            left -= 1;
            if !bucket.passed() || left == 0 {
                return None;
            }
            at = if at + 1 == buckets { 0 } else { at + 1 };
        }
    }

    /// Bucket and number of the slot at a place that [`Segment::find`] gave.
    fn position(self, slot: NonNull<Slot>) -> (u32, usize) {
        let offset = slot.as_ptr().addr() - self.0.as_ptr().addr();
        ((offset / 64) as u32 - 1, offset % 64 / 8 - 1)
    }

    /// Puts a slot into the first free place from its home on and counts it. There must be a free place.
    #[inline]
    pub fn insert(self, slot: Slot, tag: u8) -> NonNull<Slot> {
        let header = self.header_mut();
        debug_assert!(header.len < header.buckets * SLOTS as u32, "the table has made room");
        header.len += 1;
        header.timed += (slot.marks() & Slot::TIMED) as u32;
        let buckets = header.buckets;
        let home = home(slot.h1(), buckets);
        let mut at = home;
        loop {
            let bucket = self.bucket_mut(at);
            if let Some(number) = bucket.free_slot() {
                bucket.put(number, slot.displaced(at != home), tag);
                return self.slot_pointer(at, number);
            }
            bucket.meta |= PASSED;
            at = if at + 1 == buckets { 0 } else { at + 1 };
        }
    }

    /// Empties a place and pulls entries back that had to pass it.
    pub fn remove(self, place: NonNull<Slot>) -> Slot {
        let (at, number) = self.position(place);
        let bucket = self.bucket_mut(at);
        let slot = bucket.slots[number];
        bucket.clear(number);
        let passed = bucket.passed();
        let header = self.header_mut();
        header.len -= 1;
        header.timed -= (slot.marks() & Slot::TIMED) as u32;
        if passed || slot.is_displaced() {
            self.close_hole(home(slot.h1(), header.buckets), at);
        }
        slot
    }

    /// Pulls entries back that had to pass the hole at bucket `hole`, which an entry of bucket `start` left, and clears
    /// the marks of buckets that nobody passes any more.
    fn close_hole(self, start: u32, hole: u32) {
        let mut hole = hole;
        while self.bucket(hole).passed() {
            let Some((from, number)) = self.passing(hole) else {
                self.bucket_mut(hole).meta &= !PASSED;
                break;
            };
            let (moved, tag) = (self.bucket(from).slots[number], self.bucket(from).tag(number));
            self.bucket_mut(from).clear(number);
            let free = self.bucket(hole).free_slot().expect("the hole");
            let displaced = home(moved.h1(), self.header().buckets) != hole;
            self.bucket_mut(hole).put(free, moved.displaced(displaced), tag);
            hole = from;
        }
        let mut at = start;
        while at != hole {
            if self.bucket(at).passed() && self.passing(at).is_none() {
                self.bucket_mut(at).meta &= !PASSED;
            }
            at = self.next(at);
        }
    }

    /// The nearest entry behind bucket `over` that passed it on the way from its home.
    fn passing(self, over: u32) -> Option<(u32, usize)> {
        let buckets = self.header().buckets;
        let mut at = self.next(over);
        // How many buckets lie between; an entry that far or less from its home has not passed.
        let mut between = 0;
        while at != over {
            let bucket = self.bucket(at);
            for (number, slot) in bucket.slots.iter().enumerate() {
                if slot.is_displaced() && (between == 0 || distance(home(slot.h1(), buckets), at, buckets) > between) {
                    return Some((at, number));
                }
            }
            if !bucket.passed() {
                return None;
            }
            at = self.next(at);
            between += 1;
        }
        None
    }

    #[inline]
    fn next(self, at: u32) -> u32 {
        if at + 1 == self.header().buckets { 0 } else { at + 1 }
    }

    /// Visits the entries whose home is `bucket` and whose H1 is in `from..below`; how many there were.
    pub fn visit(self, bucket: u32, from: u32, below: u32, mut visit: impl FnMut(Slot)) -> usize {
        let mut visited = 0;
        let mut at = bucket;
        loop {
            for (_, slot, _) in self.bucket(at).occupied() {
                if (from..below).contains(&u32::from(slot.h1())) {
                    visited += 1;
                    visit(slot);
                }
            }
            if !self.bucket(at).passed() {
                return visited;
            }
            at = self.next(at);
            if at == bucket {
                return visited;
            }
        }
    }

    /// All entries with their tags.
    pub fn slots(self) -> impl Iterator<Item = (Slot, u8)> {
        (0..self.header().buckets).flat_map(move |at| self.bucket(at).occupied().map(|(_, slot, tag)| (slot, tag)))
    }
}
