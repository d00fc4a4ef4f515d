//! Record tables against std's map: random operations from seeds, objects that count themselves, times to live.

use super::{Absent, ByteTable, Clock, Expiry, Handed, NewBody, RecordTable, Scribe, Written};
use crate::stdx::random::Random;
use crate::structures::record::{Body, OwnedBody, RecordMut};
use crate::structures::slab::{Allocator, Heap, Slab};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// An object that shows through its count whether it was dropped once.
type Object = (Rc<()>, u64, [u64; 2]);

#[derive(Clone, Debug, PartialEq)]
enum Model {
    Bytes(Vec<u8>, bool),
    Integer(i64),
    Object(u64),
}

fn model(body: Body<'_, Object>) -> Model {
    match body {
        Body::Bytes { bytes, raw } => Model::Bytes(bytes.to_vec(), raw),
        Body::Integer(integer) => Model::Integer(integer),
        Body::Object(object) => Model::Object(object.1),
    }
}

fn random_bytes(random: &mut Random, below: usize) -> Vec<u8> {
    let len = random.below(below);
    (0..len).map(|_| random.next_u64() as u8).collect()
}

fn random_model(random: &mut Random) -> Model {
    match random.below(10) {
        0..5 => {
            let below = [20, 60, 300, 1_200, 5_000][random.below(5)];
            Model::Bytes(random_bytes(random, below), random.below(2) == 0)
        }
        5..8 => {
            Model::Integer((random.next_u64() >> random.below(64)) as i64 * if random.below(2) == 0 { 1 } else { -1 })
        }
        _ => Model::Object(random.next_u64()),
    }
}

fn random_key(random: &mut Random) -> Vec<u8> {
    match random.below(20) {
        0 => Vec::new(),
        1 => vec![b'k'; 250 + random.below(12)],
        2 => vec![b'K'; random.below(3_000)],
        _ => format!("key:{}", random.below(600)).into_bytes(),
    }
}

/// An absence with the number of the object that expired.
fn number(absent: Absent<Object>) -> Absent<usize> {
    match absent {
        Absent::Missing => Absent::Missing,
        Absent::Expired(object) => Absent::Expired(object.map(|object| object.1 as usize)),
    }
}

struct Pair<A: Allocator> {
    table: RecordTable<Object, A>,
    map: HashMap<Vec<u8>, (Model, Option<i64>)>,
    alive: Rc<()>,
    clock: Clock,
}

impl<A: Allocator> Pair<A> {
    fn put(&mut self, key: &[u8], new: Model, expiry: Expiry) {
        let body = match &new {
            Model::Bytes(bytes, raw) => NewBody::Bytes { bytes, raw: *raw },
            Model::Integer(integer) => NewBody::Integer(*integer),
            Model::Object(number) => NewBody::Object((self.alive.clone(), *number, [7; 2])),
        };
        let written = self.table.put(key, body, expiry, self.clock);
        let old = self.map.get(key).map(|(_, expires)| *expires);
        let over = old.flatten().is_some_and(|at| at <= self.clock.now);
        let expected = match old {
            None => Written::New,
            Some(_) if over => Written::Expired(None),
            Some(_) => Written::Replaced(None),
        };
        let held = old.is_some_and(|_| matches!(self.map[key].0, Model::Object(_)));
        let object = match &written {
            Written::Replaced(object) | Written::Expired(object) => object,
            Written::New => &None,
        };
        assert_eq!(object.is_some(), held);
        assert_eq!(std::mem::discriminant(&written), std::mem::discriminant(&expected));
        let expires = match expiry {
            Expiry::Keep if over => None,
            Expiry::Keep => old.flatten(),
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
        };
        self.map.insert(key.to_vec(), (new, expires));
    }

    fn absent(&mut self, key: &[u8]) -> Option<Absent<Object>> {
        match self.map.get(key) {
            None => Some(Absent::Missing),
            Some((_, Some(at))) if *at <= self.clock.now => match self.map.remove(key) {
                Some((Model::Object(number), _)) => Some(Absent::Expired(Some((self.alive.clone(), number, [7; 2])))),
                _ => Some(Absent::Expired(None)),
            },
            Some(_) => None,
        }
    }

    fn step(&mut self, random: &mut Random) {
        let key = random_key(random);
        let soon = self.clock.now + 1 + random.below(400) as i64;
        match random.below(14) {
            0..5 => {
                let expiry = [Expiry::Keep, Expiry::Never, Expiry::At(soon)][random.below(3)];
                let new = random_model(random);
                self.put(&key, new, expiry);
            }
            5 | 6 => {
                let found = self.table.remove_live(&key, self.clock.now);
                let absent = self.absent(&key);
                let held = matches!(self.map.remove(&key), Some((Model::Object(_), _)));
                assert!(found.as_ref().map_or(true, |object| object.is_some() == held));
                assert_eq!(found.err().map(number), absent.map(number));
            }
            7 | 8 => {
                let at = (random.below(3) > 0).then_some(soon);
                let found = self.table.set_expires_if(&key, at, self.clock.now, |_| true).err();
                assert_eq!(found.map(number), self.absent(&key).map(number));
                if let Some((_, expires)) = self.map.get_mut(&key) {
                    *expires = at;
                }
            }
            9 => {
                let absent = self.absent(&key);
                match self.table.take_live(&key, self.clock.now) {
                    Err(found) => assert_eq!(Some(number(found)), absent.map(number)),
                    Ok((body, expires)) => {
                        let body = match body {
                            OwnedBody::Bytes { bytes, raw } => Model::Bytes(bytes, raw),
                            OwnedBody::Integer(integer) => Model::Integer(integer),
                            OwnedBody::Object(object) => Model::Object(object.1),
                        };
                        assert_eq!(self.map.remove(&key), Some((body, expires)));
                    }
                }
            }
            10 => {
                let alive = self.alive.clone();
                let absent = self.absent(&key);
                let (record, found) =
                    self.table.live_or_insert(&key, self.clock, || NewBody::Object((alive, 5, [1; 2])));
                assert_eq!(found.map(number), absent.map(number));
                if let Some(object) = record.into_object() {
                    object.1 += 1;
                }
                let expected = self.map.entry(key).or_insert((Model::Object(5), None));
                if let Model::Object(number) = &mut expected.0 {
                    *number += 1;
                }
            }
            _ => {
                let absent = self.absent(&key);
                match self.table.live(&key, self.clock.now) {
                    Err(found) => assert_eq!(Some(number(found)), absent.map(number)),
                    Ok(mut record) => {
                        record.set_accessed(self.clock.access);
                        let record = record.into_ref();
                        assert_eq!(record.accessed(), self.clock.access);
                        assert_eq!(record.key(), key);
                        assert_eq!((model(record.body()), record.expires()), self.map[&key]);
                    }
                }
            }
        }
    }

    fn expire(&mut self, budget: usize) {
        let mut gone = HashSet::new();
        self.table.expire_some(self.clock.now, budget, |key, object| {
            let held = matches!(self.map[key].0, Model::Object(_));
            assert!(object.is_some() == held && gone.insert(key.to_vec()));
        });
        for key in gone {
            let (_, expires) = self.map.remove(&key).expect("it was there");
            assert!(expires.expect("it had a time to live") <= self.clock.now);
        }
        if budget == usize::MAX {
            assert!(self.map.values().all(|(_, expires)| expires.is_none_or(|at| at > self.clock.now)));
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.map.len());
        assert_eq!(self.table.timed_len(), self.map.values().filter(|(_, expires)| expires.is_some()).count());
        let objects = self.map.values().filter(|(body, _)| matches!(body, Model::Object(_))).count();
        assert_eq!(Rc::strong_count(&self.alive) - 1, objects);
        let mut bytes = 0;
        for record in self.table.iter() {
            assert_eq!((model(record.body()), record.expires()), self.map[record.key()]);
            bytes += record.memory_bytes();
        }
        assert_eq!(bytes, self.table.record_bytes());
    }
}

fn run<A: Allocator>(seed: u64) {
    let mut random = Random::new(seed);
    let clock = Clock { now: 0, access: 0 };
    let mut pair = Pair::<A> { table: RecordTable::new(), map: HashMap::new(), alive: Rc::new(()), clock };
    for step in 0..4_000 {
        pair.clock.now += random.below(3) as i64;
        pair.clock.access = random.next_u64() as u32 & 0xff_ffff;
        pair.step(&mut random);
        if step % 200 == 0 {
            pair.expire(if random.below(2) == 0 { usize::MAX } else { 20 });
            pair.check();
            let copy = pair.table.clone();
            assert_eq!(copy.len(), pair.table.len());
            let mut seen = HashSet::new();
            let mut cursor = 0;
            loop {
                cursor = pair.table.scan(cursor, 10, |record| _ = seen.insert(record.key().to_vec()));
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(seen.len(), pair.map.len(), "seed {seed}");
            let found = pair.table.random(&mut random).map(|record| record.key().to_vec());
            assert_eq!(found.is_some_and(|key| pair.map.contains_key(&key)), !pair.map.is_empty());
        }
        if random.below(1_500) == 0 {
            pair.table.clear();
            pair.map.clear();
            pair.check();
            assert_eq!(pair.table.memory_bytes(), 0, "seed {seed}");
        }
    }
    pair.check();
    drop(pair.table);
    assert_eq!(Rc::strong_count(&pair.alive), 1, "seed {seed}: every object is dropped");
}

#[test]
fn behaves_like_a_map_in_pages() {
    (0..12).for_each(run::<Slab>);
}

#[test]
fn behaves_like_a_map_on_the_heap() {
    (100..108).for_each(run::<Heap>);
}

#[test]
fn small_records_take_no_byte_more_than_they_must() {
    let key = b"key:000000000001";
    for (body, bytes) in [
        (NewBody::Bytes { bytes: &[7; 16][..], raw: false }, 40),
        (NewBody::Bytes { bytes: &[7; 64], raw: false }, 88),
        (NewBody::Integer(100), 24),
        (NewBody::Integer(i64::MIN), 32),
    ] {
        let mut table = RecordTable::<Object, Slab>::new();
        table.put(key, body, Expiry::Never, Clock::NONE);
        assert_eq!(table.record_bytes(), bytes);
        assert!(table.set_expires_if(key, Some(1), 0, |_| true).expect("it is there"));
        assert_eq!(table.record_bytes(), bytes + 8);
    }
}

#[test]
fn integers_of_all_sizes_come_back() {
    let mut table = RecordTable::<Object, Slab>::new();
    for bits in 0..64 {
        for integer in [1i64 << bits, (1i64 << bits).wrapping_sub(1), -(1i64 << bits.min(62)), i64::MIN >> bits] {
            for key in [&b""[..], b"k", &[b'k'; 300]] {
                table.put(key, NewBody::Integer(integer), Expiry::Keep, Clock::NONE);
                let found = model(table.get(key).expect("just put").body());
                assert_eq!(found, Model::Integer(integer));
            }
        }
    }
}

#[test]
fn a_million_records_may_expire_at_once() {
    let mut table = RecordTable::<Object, Slab>::new();
    let count = 1 << if cfg!(debug_assertions) { 17 } else { 20 };
    let clock = Clock { now: 0, access: 0 };
    for index in 0..count {
        let key = format!("{index}");
        table.put(key.as_bytes(), NewBody::Integer(index), Expiry::At(1_000), clock);
    }
    assert_eq!(table.timed_len(), count as usize);
    assert_eq!(table.average_ttl(400), 600);
    assert_eq!(table.expire_some(999, usize::MAX, |_, _| ()), 0);
    let (mut left, mut calls) = (count as usize, 0);
    while left > 0 {
        let removed = table.expire_some(1_000, 1_000, |_, _| ());
        assert!((1..3_000).contains(&removed), "{removed}");
        left -= removed;
        calls += 1;
    }
    assert!(calls >= count / 3_000);
    assert_eq!((table.len(), table.timed_len()), (0, 0));
    assert!(table.memory_bytes() < 1_000_000, "{} bytes are left", table.memory_bytes());
}

#[test]
fn a_byte_table_is_a_map_of_byte_strings() {
    let mut table = ByteTable::new();
    assert!(table.insert(b"field", b"value"));
    assert!(!table.insert(b"field", b"other"));
    assert!(table.insert(b"member", b""));
    assert_eq!(table.get(b"field").map(|record| record.bytes()), Some(&b"other"[..]));
    assert!(table.remove(b"field"));
    assert!(!table.remove(b"field"));
    assert_eq!(table.iter().map(|record| record.key().to_vec()).collect::<Vec<_>>(), [b"member"]);
}

/// Writes keys.
struct Names;

impl<O> Scribe<O> for Names {
    fn write(&self, records: &mut [RecordMut<'_, O>], handed: &mut Handed) {
        records.iter().for_each(|record| handed.bytes.extend_from_slice(record.as_ref().key()));
    }

    fn go_on(&self, _: &mut O, _: bool, _: &mut usize, _: &mut Vec<u8>) -> bool {
        true
    }
}

/// Records that move together keep what they hold, under a snapshot too, and give memory back.
#[test]
fn compaction_moves_records_with_all_they_hold() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let alive = Rc::new(());
        let clock = Clock { now: 0, access: 0 };
        let mut pair = Pair { table: RecordTable::<Object, Slab>::new(), map: HashMap::new(), alive, clock };
        for number in 0..20_000 {
            let expiry = if random.below(3) == 0 { Expiry::At(1_000_000) } else { Expiry::Never };
            let new = match random.below(4) {
                0 => Model::Object(number),
                1 => Model::Integer(number as i64),
                _ => Model::Bytes(random_bytes(&mut random, 90), false),
            };
            pair.put(format!("key:{number}").as_bytes(), new, expiry);
        }
        for number in (0..20_000).filter(|_| random.below(5) > 0).collect::<Vec<u64>>() {
            let key = format!("key:{number}").into_bytes();
            assert!(pair.table.remove(&key));
            pair.map.remove(&key);
        }
        if seed % 2 == 0 {
            pair.table.begin_snapshot(Box::new(Names));
            pair.table.walk_snapshot(&mut 500);
        }
        let before = pair.table.memory_bytes();
        let given_back: usize = (0..300).map(|_| pair.table.compact()).sum();
        assert_eq!(pair.table.memory_bytes(), before - given_back);
        assert!(pair.table.hole_bytes() * 2 < pair.table.record_bytes() + (1 << 20), "seed {seed}");
        for (key, (value, expires)) in &pair.map {
            let found = pair.table.get(key).expect("it is still there");
            assert_eq!((&model(found.body()), found.expires()), (value, *expires), "seed {seed}");
        }
        pair.table.abandon_snapshot();
    }
}
