//! How the table grows and shrinks: one segment at a time, and the directory when a segment needs a bit more than it
//! has. A segment becomes larger in steps of a seventh to a quarter, in a pool an eighth to a sixth, up to
//! [`BUCKETS_BEFORE_SPLIT`], then splits in two.
#![allow(unsafe_code)]

use super::pool;
use super::segment::{HEAP, Header, Segment, Slot, buckets_for, entries_max, larger, lines};
use super::{DEPTH_MAX, Door, RawTable, prefetch, tag, tag_base};
use std::ptr::NonNull;

/// A segment of so many buckets, 4 KiB, splits instead of growing, if it can.
const BUCKETS_BEFORE_SPLIT: u32 = 63;

/// A table with so many segments has a pool for them; below, its pages would be too empty. Tests want it early.
const SEGMENTS_BEFORE_POOL: u32 = if cfg!(test) { 3 } else { 512 };

/// Buckets between prefetching the entries of a bucket and hashing them.
const REHASH_DISTANCE: u32 = 4;

impl RawTable {
    /// The first segment.
    #[cold]
    pub(super) fn open(&mut self) {
        let segment = self.allocate(1, 0, 0);
        self.doors = vec![Door::new(segment)];
        self.segments = 1;
        self.deepest = 1;
    }

    /// Whether new segments come from the pool.
    fn pooled(&self) -> bool {
        self.segments >= SEGMENTS_BEFORE_POOL
    }

    /// A segment without entries, from the pool if the table is large.
    fn allocate(&mut self, buckets: u32, prefix: u32, depth: u8) -> Segment {
        let segment = if self.pooled() && pool::serves(lines(buckets)) {
            let (memory, index) = self.pool.get_or_insert_default().allocate(lines(buckets));
            // SAFETY: the pool gave this many lines.
            unsafe { Segment::make(memory, buckets, prefix, depth, index) }
        } else {
            self.heap_segments += 1;
            Segment::allocate(buckets, prefix, depth)
        };
        self.bytes += segment.bytes();
        segment
    }

    /// Frees a segment that the directory does not lead to any more. This may move another one: its place before and
    /// after. The directory knows by then; other handles to it are void.
    fn free(&mut self, segment: Segment) -> Option<(Segment, Segment)> {
        self.bytes -= segment.bytes();
        let Header { buckets, index, .. } = *segment.header();
        if index == HEAP {
            self.heap_segments -= 1;
            segment.free();
            return None;
        }
        let pool = self.pool.as_mut().expect("a pooled segment came from the pool");
        let (from, to) = pool.release(lines(buckets), index)?;
        // SAFETY: the pool has just copied a segment there.
        let moved = unsafe { Segment::moved_to(to, index) };
        let from = Segment::at(from.as_ptr().expose_provenance() as u64);
        let Header { prefix, .. } = *moved.header();
        if self.door(u64::from(prefix) << 32).segment() == from {
            self.lead_to(moved);
        }
        Some((from, moved))
    }

    /// Makes room in the segment of `hash`, in one step; the caller asks again until it is enough.
    #[cold]
    pub(super) fn make_room(&mut self, hash: u64, rehash: &impl Fn(NonNull<u8>) -> u64) {
        let segment = self.door(hash).segment();
        let Header { buckets, depth, .. } = *segment.header();
        if buckets < BUCKETS_BEFORE_SPLIT || !self.can_split(depth) {
            self.resize(segment, larger(buckets, self.pooled()));
        } else {
            self.split(segment, rehash);
        }
    }

    /// Whether a segment of this depth may split. The directory must stay in proportion to what it leads to: entries
    /// whose hashes are alike by ill luck must not double it again and again.
    fn can_split(&self, depth: u8) -> bool {
        depth < DEPTH_MAX && (depth < self.depth || self.doors.len() <= 4 * self.segments as usize)
    }

    /// Gives a segment that has become too empty fewer buckets, or merges it with its other half.
    #[cold]
    pub(super) fn give_room(&mut self, segment: Segment, rehash: &impl Fn(NonNull<u8>) -> u64) {
        let Header { len, buckets, depth, prefix, .. } = *segment.header();
        if depth > 0 {
            let other = self.door(u64::from(prefix ^ 1 << (32 - depth)) << 32).segment();
            let both = len + other.header().len;
            if other.header().depth == depth && both <= entries_max(BUCKETS_BEFORE_SPLIT) * 3 / 5 {
                return self.merge(segment, other, rehash);
            }
        }
        let enough = buckets_for(len + len / 4, self.pooled());
        if enough < buckets {
            self.resize(segment, enough);
        }
    }

    /// Moves a segment's slots into one of `buckets` buckets. No entry is touched.
    fn resize(&mut self, segment: Segment, buckets: u32) {
        let Header { prefix, depth, earliest, .. } = *segment.header();
        let new = self.allocate(buckets, prefix, depth);
        new.header_mut().earliest = earliest;
        for (slot, tag) in segment.slots() {
            new.insert(slot, tag);
        }
        self.lead_to(new);
        self.free(segment);
    }

    /// Lets the directory lead to a segment from all places that its prefix covers.
    fn lead_to(&mut self, segment: Segment) {
        let Header { prefix, depth, .. } = *segment.header();
        let first = (u64::from(prefix) >> (32 - self.depth)) as usize;
        self.doors[first..first + (1 << (self.depth - depth))].fill(Door::new(segment));
    }

    fn split(&mut self, segment: Segment, rehash: &impl Fn(NonNull<u8>) -> u64) {
        let Header { prefix, depth, earliest, len, .. } = *segment.header();
        if depth == self.depth {
            self.double();
        }
        let bit = 0x80 >> (depth - tag_base(depth));
        let high_len = segment.slots().filter(|(_, tag)| tag & bit != 0).count() as u32;
        let low = self.allocate(buckets_for(len - high_len, self.pooled()), prefix, depth + 1);
        let high = self.allocate(buckets_for(high_len, self.pooled()), prefix | 1 << (31 - depth), depth + 1);
        let base = tag_base(depth + 1);
        let new_tags = base != tag_base(depth);
        each_slot(segment, new_tags, |slot, old_tag| {
            let tag = if new_tags { tag(rehash(slot.entry()), base) } else { old_tag };
            (if old_tag & bit == 0 { low } else { high }).insert(slot, tag);
        });
        for half in [low, high] {
            half.header_mut().earliest = if half.header().timed > 0 { earliest } else { i64::MAX };
            self.lead_to(half);
        }
        self.segments += 1;
        if depth + 1 == self.depth {
            self.deepest += 2;
        }
        self.free(segment);
    }

    fn merge(&mut self, one: Segment, other: Segment, rehash: &impl Fn(NonNull<u8>) -> u64) {
        let depth = one.header().depth - 1;
        let len = one.header().len + other.header().len;
        let base = tag_base(depth);
        let new_tags = base != tag_base(depth + 1);
        let prefix = one.header().prefix & other.header().prefix;
        let merged = self.allocate(buckets_for(len + len / 4, self.pooled()), prefix, depth);
        for half in [one, other] {
            each_slot(half, new_tags, |slot, old_tag| {
                let tag = if new_tags { tag(rehash(slot.entry()), base) } else { old_tag };
                merged.insert(slot, tag);
            });
        }
        merged.header_mut().earliest = one.header().earliest.min(other.header().earliest);
        self.segments -= 1;
        self.lead_to(merged);
        let moved = self.free(one);
        self.free(moved.filter(|(from, _)| *from == other).map_or(other, |(_, to)| to));
        if depth + 1 == self.depth {
            self.deepest -= 2;
            while self.deepest == 0 && self.depth > 0 {
                self.halve();
            }
        }
    }

    /// Twice as many directory places, two leading to each segment where one did.
    fn double(&mut self) {
        self.doors = self.doors.iter().flat_map(|&door| [door, door]).collect();
        self.depth += 1;
        self.deepest = 0;
    }

    /// Half as many places, as no segment needs the last bit.
    fn halve(&mut self) {
        self.doors = self.doors.iter().step_by(2).copied().collect();
        self.depth -= 1;
        self.deepest = self.segments().filter(|segment| segment.header().depth == self.depth).count() as u32;
    }
}

/// Calls `put` with every slot and its tag; fetches the entries ahead when `put` will hash them.
fn each_slot(segment: Segment, entries: bool, mut put: impl FnMut(Slot, u8)) {
    let buckets = segment.header().buckets;
    for at in 0..buckets + REHASH_DISTANCE {
        if entries && at < buckets {
            for (_, slot, _) in segment.bucket(at).occupied() {
                prefetch(slot.entry().as_ptr());
            }
        }
        if at >= REHASH_DISTANCE {
            for (_, slot, tag) in segment.bucket(at - REHASH_DISTANCE).occupied() {
                put(slot, tag);
            }
        }
    }
}

#[cfg(test)]
use super::segment::h1;

#[cfg(test)]
impl RawTable {
    /// Checks everything that must hold; `rehash` as elsewhere.
    pub fn check(&self, rehash: impl Fn(NonNull<u8>) -> u64) {
        let (mut len, mut timed, mut bytes, mut segments, mut deepest, mut heap) = (0, 0, 0, 0, 0, 0);
        let mut index = 0;
        while index < self.doors.len() {
            let segment = self.doors[index].segment();
            let header = segment.header();
            let places = 1 << (self.depth - header.depth);
            assert_eq!(index, (u64::from(header.prefix) >> (32 - self.depth)) as usize, "prefix and place agree");
            for door in &self.doors[index..index + places] {
                assert!(door.0 == Door::new(segment).0, "all places of a segment are alike");
            }
            let mut here = 0;
            let mut timed_here = 0;
            for (slot, slot_tag) in segment.slots() {
                let hash = rehash(slot.entry());
                assert_eq!(slot.h1(), h1(hash));
                assert_eq!(slot_tag, tag(hash, tag_base(header.depth)));
                assert_eq!(
                    self.doors[((hash >> 32) >> (32 - self.depth)) as usize].segment().address(),
                    segment.address()
                );
                let found = self.find(hash, |other| other.entry() == slot.entry()).expect("every entry is found");
                assert_eq!(found.slot().entry(), slot.entry());
                here += 1;
                timed_here += (slot.marks() & Slot::TIMED) as u32;
            }
            assert_eq!((here, timed_here), (header.len, header.timed));
            len += here as usize;
            timed += timed_here as usize;
            bytes += segment.bytes();
            segments += 1;
            heap += u32::from(header.index == HEAP);
            deepest += u32::from(header.depth == self.depth);
            index += places;
        }
        assert_eq!((len, timed, bytes, heap), (self.len, self.timed, self.bytes, self.heap_segments));
        if !self.doors.is_empty() {
            assert_eq!((segments, deepest, 1 << self.depth), (self.segments, self.deepest, self.doors.len()));
        }
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments as usize
    }
}
