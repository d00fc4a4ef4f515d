//! The table against std's map, with entries that are nothing but their hash.

use super::{RawTable, Slot};
use crate::stdx::random::Random;
use std::collections::{HashMap, HashSet};
use std::ptr::NonNull;

/// An entry: its hash and a number of its own.
struct Entry {
    hash: u64,
    expires: i64,
}

fn entry(hash: u64, expires: i64) -> NonNull<u8> {
    NonNull::from(Box::leak(Box::new(Entry { hash, expires }))).cast()
}

fn of(pointer: NonNull<u8>) -> &'static Entry {
    // SAFETY: the tests free entries only after they have left the table.
    unsafe { pointer.cast::<Entry>().as_ref() }
}

fn hash(pointer: NonNull<u8>) -> u64 {
    of(pointer).hash
}

fn free(pointer: NonNull<u8>) {
    // SAFETY: made by `entry`, freed once.
    drop(unsafe { Box::from_raw(pointer.cast::<Entry>().as_ptr()) });
}

/// A table that owns its entries.
#[derive(Default)]
struct Owner {
    table: RawTable,
    all: HashMap<usize, NonNull<u8>>,
}

impl Owner {
    fn add(&mut self, hash_: u64) -> NonNull<u8> {
        let new = entry(hash_, i64::MAX);
        self.table.insert(hash_, new, 0, hash);
        self.all.insert(new.as_ptr() as usize, new);
        new
    }

    fn remove(&mut self, pointer: NonNull<u8>) {
        let place = self.table.find(hash(pointer), |slot| slot.entry() == pointer).expect("it is there");
        // SAFETY: just found.
        let slot = unsafe { self.table.remove(place, hash) };
        assert_eq!(slot.entry(), pointer);
        self.all.remove(&(pointer.as_ptr() as usize));
        free(pointer);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.all.values().for_each(|&pointer| free(pointer));
    }
}

/// Hashes of some unlucky kinds: `kind` 0 is what a hasher gives.
fn draw(random: &mut Random, kind: usize) -> u64 {
    let hash = random.next_u64();
    match kind {
        1 => hash & !0xffff,
        2 => hash & 0xffff_ffff,
        3 => 0x0123_4567_89ab_cdef,
        4 => hash & 0xff00_0000_0000_00ff,
        5 => hash | 0xffff,
        _ => hash,
    }
}

#[test]
fn random_insertions_and_removals() {
    for seed in 0..24 {
        let mut random = Random::new(seed);
        let mut owner = Owner::default();
        let mut here = Vec::new();
        let kind = seed as usize % 6;
        for step in 0..6_000 {
            let growing = (step / 2_000) % 2 == 0;
            if here.is_empty() || random.below(100) < if growing { 90 } else { 5 } {
                here.push(owner.add(draw(&mut random, kind)));
            } else {
                let at = random.below(here.len());
                owner.remove(here.swap_remove(at));
            }
            if step % 500 == 0 {
                owner.table.check(hash);
            }
        }
        assert_eq!(owner.table.len(), here.len(), "seed {seed}");
        assert_eq!(owner.table.iter().count(), here.len(), "seed {seed}");
        while let Some(last) = here.pop() {
            owner.remove(last);
        }
        owner.table.check(hash);
        assert_eq!(owner.table.segment_count(), 1, "seed {seed}: an empty table merges to one segment");
        let spare_pages = 7 * 64 * 1024;
        assert!(owner.table.bytes() < 300 + spare_pages, "seed {seed}: {} bytes", owner.table.bytes());
        assert!(owner.table.find(random.next_u64(), |_| true).is_none());
    }
}

#[test]
fn a_missing_entry_is_not_found() {
    let mut random = Random::new(1);
    let mut owner = Owner::default();
    assert!(owner.table.find(0, |_| true).is_none());
    for _ in 0..5_000 {
        owner.add(random.next_u64());
    }
    for _ in 0..5_000 {
        let missing = random.next_u64();
        assert!(owner.table.find(missing, |slot| hash(slot.entry()) == missing).is_none());
    }
}

/// Walks the whole table with SCAN while `change` changes it; all entries that are there all the time must be seen.
fn scan_all(owner: &mut Owner, stable: &[NonNull<u8>], count: usize, mut change: impl FnMut(&mut Owner)) -> usize {
    let mut seen: HashSet<NonNull<u8>> = HashSet::new();
    let (mut cursor, mut calls) = (0, 0);
    loop {
        cursor = owner.table.scan(cursor, count, |slot| {
            seen.insert(slot.entry());
        });
        assert!(cursor < 1 << super::scan::CURSOR_BITS);
        calls += 1;
        if cursor == 0 {
            break;
        }
        assert!(calls < 1_000_000, "the walk must end");
        change(owner);
    }
    for pointer in stable {
        assert!(seen.contains(pointer), "an entry was missed");
    }
    seen.len()
}

#[test]
fn scan_misses_nothing_while_the_table_grows_and_shrinks() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut owner = Owner::default();
        let kind = [0, 0, 0, 1, 4, 2][seed as usize % 6];
        let stable: Vec<_> = (0..300).map(|_| owner.add(draw(&mut random, kind))).collect();
        assert_eq!(scan_all(&mut owner, &stable, 1 + random.below(20), |_| ()), 300, "seed {seed}");

        let mut extra = Vec::new();
        scan_all(&mut owner, &stable, 10, |owner| {
            extra.extend((0..40).map(|_| owner.add(draw(&mut random, kind))));
        });
        for _ in 0..6_000 {
            extra.push(owner.add(draw(&mut random, kind)));
        }
        scan_all(&mut owner, &stable, 10, |owner| {
            extra.drain(extra.len().saturating_sub(40)..).for_each(|pointer| owner.remove(pointer));
        });
        scan_all(&mut owner, &stable, 1 + random.below(10), |owner| {
            if random.below(2) == 0 {
                extra.extend((0..random.below(300)).map(|_| owner.add(draw(&mut random, kind))));
            } else {
                let keep = random.below(extra.len() + 1);
                extra.drain(keep..).for_each(|pointer| owner.remove(pointer));
            }
        });
    }
}

#[test]
fn any_number_is_a_cursor() {
    let mut random = Random::new(9);
    let mut owner = Owner::default();
    assert_eq!(owner.table.scan(77, 10, |_| ()), 0);
    for _ in 0..3_000 {
        owner.add(random.next_u64());
        owner.table.scan(random.next_u64(), 1 + random.below(10), |_| ());
        owner.table.scan(u64::MAX, 10, |_| ());
    }
}

#[test]
fn scan_gives_about_as_many_as_asked_for() {
    let mut random = Random::new(3);
    let mut owner = Owner::default();
    (0..10_000).for_each(|_| {
        owner.add(random.next_u64());
    });
    let (mut cursor, mut calls) = (0, 0);
    loop {
        let mut visited = 0;
        cursor = owner.table.scan(cursor, 10, |_| visited += 1);
        assert!(visited <= 40, "{visited}");
        calls += 1;
        if cursor == 0 {
            break;
        }
    }
    assert!((500..1_500).contains(&calls), "{calls} calls for 10 000 entries");
}

#[test]
fn random_entries_are_about_equally_likely() {
    let mut random = Random::new(5);
    let mut owner = Owner::default();
    assert!(owner.table.random(&mut random).is_none());
    let all: Vec<_> = (0..2_000).map(|_| owner.add(random.next_u64())).collect();
    let mut counts: HashMap<NonNull<u8>, u32> = HashMap::new();
    for _ in 0..200_000 {
        *counts.entry(owner.table.random(&mut random).expect("there are entries").entry()).or_default() += 1;
    }
    for pointer in &all {
        let count = counts.get(pointer).copied().unwrap_or(0);
        assert!((25..300).contains(&count), "{count} of about 100");
    }
    for &pointer in &all[1..] {
        owner.remove(pointer);
    }
    assert_eq!(owner.table.random(&mut random).expect("one is left").entry(), all[0]);
}

#[test]
fn due_entries_are_found_and_segments_without_any_are_skipped() {
    let mut random = Random::new(11);
    let mut owner = Owner::default();
    for index in 0..20_000 {
        let hash_ = random.next_u64();
        let timed = index % 10 == 0;
        let new = entry(hash_, if timed { index } else { i64::MAX });
        let place = owner.table.insert(hash_, new, if timed { Slot::TIMED } else { 0 }, hash);
        if timed {
            // SAFETY: just made.
            unsafe { place.expires(index) };
        }
        owner.all.insert(new.as_ptr() as usize, new);
    }
    assert_eq!(owner.table.timed(), 2_000);
    let (mut prefix, mut looked) = (0, 0);
    for now in [-1, 5_000, 5_000, 20_000] {
        let before = owner.table.timed();
        for _ in 0..owner.table.segment_count() + 1 {
            let (mut budget, mut due) = (1_000_000, Vec::new());
            prefix = owner.table.due(prefix, now, &mut budget, &mut due, |pointer| {
                looked += 1;
                of(pointer).expires
            });
            due.into_iter().for_each(|pointer| owner.remove(pointer));
        }
        let expected = if now < 0 { 0 } else { (now as usize / 10 + 1).min(2_000) };
        assert_eq!(2_000 - owner.table.timed(), expected, "now {now}, {before} before");
        assert!(now != -1 || looked == 0, "nothing is due, nothing is looked at");
    }
    owner.table.check(hash);
}
