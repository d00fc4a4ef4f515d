//! Walks over the table that go on while it changes: SCAN, the search for entries whose time is over, random entries.
//!
//! The order of SCAN is that of the segments' hash prefixes and, inside a segment, of H1. A cursor is a place in it:
//!
//! ```text
//! cursor | bits 46-21: prefix | bits 20-5: H1 | bits 4-0: depth of the segment when the cursor was given |
//! ```
//!
//! A segment that has split since is walked on in its first half from that H1 and in its second from 0. One that has
//! merged is walked from 0 again, as entries of the half that came later may have a smaller H1. So everything that is
//! there all the time is visited, some of it twice.

use super::segment::{SLOTS, Segment, Slot, first_h1, home};
use super::{DEPTH_MAX, RawTable};
use crate::stdx::random::Random;
use std::ptr::NonNull;

/// Bits that a cursor of [`RawTable::scan`] needs.
pub const CURSOR_BITS: u32 = DEPTH_MAX as u32 + 16 + 5;

/// Headers of segments looked at in the search for due entries count as one entry each so many.
const HEADERS_PER_ENTRY: usize = 8;

/// Tries at random before a random entry is searched for in order.
const RANDOM_TRIES: usize = 64;

#[derive(Clone, Copy)]
struct Cursor {
    prefix: u32,
    h1: u32,
    depth: u8,
}

impl Cursor {
    fn decode(cursor: u64) -> Self {
        let prefix = ((cursor >> 21) as u32) << (32 - DEPTH_MAX);
        Self { prefix, h1: (cursor >> 5) as u32 & 0xffff, depth: cursor as u8 & 0x1f }
    }

    fn encode(self) -> u64 {
        u64::from(self.prefix >> (32 - DEPTH_MAX)) << 21 | u64::from(self.h1) << 5 | u64::from(self.depth)
    }
}

impl RawTable {
    fn segment_of(&self, prefix: u32) -> Segment {
        self.door(u64::from(prefix) << 32).segment()
    }

    /// Visits about `count` entries from `cursor` on (0: from the start); the cursor to go on with (0: done). Any
    /// number is a valid cursor.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Slot)) -> u64 {
        if self.len == 0 {
            return 0;
        }
        let mut cursor = Cursor::decode(cursor & ((1 << CURSOR_BITS) - 1));
        let mut left = count;
        loop {
            let segment = self.segment_of(cursor.prefix);
            let header = segment.header();
            let merged = cursor.h1 > 0 && cursor.depth > header.depth;
            let mut from = if merged { 0 } else { cursor.h1 };
            for bucket in home(from as u16, header.buckets)..header.buckets {
                let below = first_h1(bucket + 1, header.buckets);
                left = left.saturating_sub(segment.visit(bucket, from, below, &mut visit).max(1));
                from = below;
                if left == 0 && bucket + 1 < header.buckets {
                    return Cursor { prefix: header.prefix, h1: below, depth: header.depth }.encode();
                }
            }
            let Some(prefix) = after(segment) else { return 0 };
            cursor = Cursor { prefix, h1: 0, depth: 0 };
            if left == 0 {
                return cursor.encode();
            }
        }
    }

    /// Searches for entries whose time is over at `now`, from the segment of `prefix` on, and adds those of the first
    /// segment that has any to `due`. Returns the prefix to go on with. `budget` goes down by the entries looked at.
    pub fn due(
        &mut self,
        prefix: u32,
        now: i64,
        budget: &mut usize,
        due: &mut Vec<NonNull<u8>>,
        mut expires: impl FnMut(NonNull<u8>) -> i64,
    ) -> u32 {
        let mut prefix = prefix;
        if self.timed == 0 {
            return prefix;
        }
        let mut headers = 0;
        while *budget > 0 && due.is_empty() && headers < self.segments as usize {
            let segment = self.segment_of(prefix);
            headers += 1;
            if segment.header().timed > 0 && segment.header().earliest <= now {
                *budget = budget.saturating_sub(segment.header().timed as usize);
                segment.header_mut().earliest = due_of(segment, now, due, &mut expires);
            } else if headers % HEADERS_PER_ENTRY == 0 {
                *budget -= 1;
            }
            prefix = after(segment).unwrap_or(0);
        }
        if headers >= self.segments as usize {
            *budget = if due.is_empty() { 0 } else { *budget };
        }
        prefix
    }

    /// Visits entries with a time to live, of up to `headers_max` segments from that of `prefix` on and at most about
    /// `count`.
    pub fn sample_timed(&self, prefix: u32, headers_max: usize, count: usize, mut visit: impl FnMut(NonNull<u8>)) {
        let mut prefix = prefix;
        let mut left = if self.timed == 0 { 0 } else { count };
        for _ in 0..headers_max.min(self.segments as usize) {
            if left == 0 {
                return;
            }
            let segment = self.segment_of(prefix);
            if segment.header().timed > 0 {
                for (slot, _) in segment.slots().filter(|(slot, _)| slot.marks() & Slot::TIMED != 0).take(left) {
                    visit(slot.entry());
                }
                left = left.saturating_sub(segment.header().timed as usize);
            }
            prefix = after(segment).unwrap_or(0);
        }
    }

    /// Visits up to `count` entries with these marks that lie near each other at a random place, looking at
    /// `buckets_max` buckets at most; how many there were.
    pub fn sample(
        &self,
        random: &mut Random,
        count: usize,
        buckets_max: usize,
        marks: u64,
        mut visit: impl FnMut(NonNull<u8>),
    ) -> usize {
        let (mut found, mut looked) = (0, 0);
        while self.len > 0 && looked < buckets_max {
            let segment = self.doors[random.below(self.doors.len())].segment();
            let buckets = segment.header().buckets;
            let start = random.below(buckets as usize) as u32;
            for bucket in (start..buckets).chain(0..start) {
                let slots = segment.bucket(bucket).occupied().map(|(_, slot, _)| slot);
                for slot in slots.filter(|slot| slot.marks() & marks == marks).take(count - found) {
                    visit(slot.entry());
                    found += 1;
                }
                looked += 1;
                if found == count || looked == buckets_max {
                    return found;
                }
            }
        }
        found
    }

    /// A random entry; all are about equally likely.
    pub fn random(&self, random: &mut Random) -> Option<Slot> {
        if self.len == 0 {
            return None;
        }
        for _ in 0..RANDOM_TRIES {
            let segment = self.doors[random.below(self.doors.len())].segment();
            if let Some(slot) = random_of(segment, random) {
                return Some(slot);
            }
        }
        // Nearly all segments are empty: take the first entry from a random place on.
        let start = random.below(self.doors.len());
        let doors = self.doors[start..].iter().chain(&self.doors[..start]);
        doors.map(|door| door.segment()).find_map(|segment| random_of(segment, random))
    }
}

/// The prefix of the segment that follows in the order.
fn after(segment: Segment) -> Option<u32> {
    let header = segment.header();
    u32::try_from(u64::from(header.prefix) + (1 << (32 - header.depth))).ok()
}

/// Adds the entries whose time is over; when the next one's will be.
fn due_of(segment: Segment, now: i64, due: &mut Vec<NonNull<u8>>, expires: &mut impl FnMut(NonNull<u8>) -> i64) -> i64 {
    let timed = || segment.slots().map(|(slot, _)| slot).filter(|slot| slot.marks() & Slot::TIMED != 0);
    for slot in timed() {
        super::prefetch(slot.entry().as_ptr());
    }
    let mut earliest = i64::MAX;
    for slot in timed() {
        let at = expires(slot.entry());
        if at <= now {
            due.push(slot.entry());
        } else {
            earliest = earliest.min(at);
        }
    }
    earliest
}

/// A random entry of one segment.
fn random_of(segment: Segment, random: &mut Random) -> Option<Slot> {
    let header = segment.header();
    if header.len == 0 {
        return None;
    }
    for _ in 0..RANDOM_TRIES {
        let place = random.below(header.buckets as usize * SLOTS);
        let bucket = segment.bucket((place / SLOTS) as u32);
        if let Some((_, slot, _)) = bucket.occupied().find(|&(at, ..)| at == place % SLOTS) {
            return Some(slot);
        }
    }
    segment.slots().map(|(slot, _)| slot).nth(random.below(header.len as usize))
}
