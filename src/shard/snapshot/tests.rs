//! Snapshots against what was there when they began, while everything that can happen to keys happens.

use super::Encode;
use crate::config::{EncodingLimits, LazyFree};
use crate::limits::SNAPSHOT_PENDING_BYTES_MAX;
use crate::shard::{Database, Expiry, Garbage, Millis, Shard, ShardId};
use crate::stdx::random::Random;
use crate::types::list::{NodeLimit, Side};
use crate::types::{Hash, LargeString, List, Piece, Set, StringValue, Value, ValueRef};
use std::collections::BTreeMap;

const DATABASES: usize = 4;

/// What has come of keys, by the index of their database.
type Content = BTreeMap<(u16, Vec<u8>), Seen>;

/// What has come of a key.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    kind: Vec<u8>,
    string: Vec<u8>,
    /// Bytes of its parts, each counted once only.
    string_bytes: usize,
    /// Elements, members, or fields with their values.
    items: Vec<Vec<u8>>,
    expires: Option<Millis>,
    /// Whether nothing more may come.
    over: bool,
}

const ENCODE: Encode = Encode { whole, piece };

fn field(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text);
}

fn whole(key: &[u8], value: ValueRef<'_>, expires: Option<Millis>, bytes: &mut Vec<u8>) {
    value.pieces(key.len(), |part| piece(key, part, bytes));
    if let Some(at) = expires {
        return piece(key, Piece::Expiry(at), bytes);
    }
    field(bytes, key);
    field(bytes, b"whole");
}

fn piece(key: &[u8], piece: Piece<'_>, bytes: &mut Vec<u8>) {
    field(bytes, key);
    match piece {
        Piece::Part { at, bytes: part } => {
            field(bytes, b"part");
            field(bytes, &at.to_le_bytes());
            field(bytes, part);
        }
        Piece::Items(kind, items) => {
            field(bytes, kind.name().as_bytes());
            field(bytes, &items.len().to_le_bytes());
            items.iter().for_each(|item| field(bytes, &item.to_vec()));
        }
        Piece::Expiry(at) => {
            field(bytes, b"expiry");
            field(bytes, &at.to_le_bytes());
        }
    }
}

fn take_field(bytes: &mut &[u8]) -> Vec<u8> {
    let (len, rest) = bytes.split_at(4);
    let (text, rest) = rest.split_at(u32::from_le_bytes(len.try_into().expect("4 bytes")) as usize);
    *bytes = rest;
    text.to_vec()
}

fn take_number(bytes: &mut &[u8]) -> usize {
    usize::from_le_bytes(take_field(bytes).try_into().expect("8 bytes"))
}

/// Adds what was encoded.
fn add(content: &mut Content, database: u16, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let key = take_field(&mut bytes);
        let name = key.escape_ascii().to_string();
        let seen = content.entry((database, key)).or_default();
        assert!(!seen.over, "{name} of database {database} twice");
        match &take_field(&mut bytes)[..] {
            b"whole" => seen.over = true,
            b"expiry" => (seen.expires, seen.over) = (Some(take_number(&mut bytes) as Millis), true),
            b"part" => {
                let (at, part) = (take_number(&mut bytes), take_field(&mut bytes));
                seen.string.resize(seen.string.len().max(at + part.len()), 0);
                seen.string[at..at + part.len()].copy_from_slice(&part);
                (seen.kind, seen.string_bytes) = (b"string".to_vec(), seen.string_bytes + part.len());
            }
            kind => {
                seen.kind = kind.to_vec();
                let count = take_number(&mut bytes);
                seen.items.extend((0..count).map(|_| take_field(&mut bytes)));
            }
        }
    }
}

/// The same for comparing: members and fields have no order.
fn in_order(mut content: Content) -> Content {
    for seen in content.values_mut() {
        seen.over = true;
        match &seen.kind[..] {
            b"set" => seen.items.sort(),
            b"hash" => {
                let mut pairs: Vec<_> = seen.items.chunks(2).map(<[Vec<u8>]>::to_vec).collect();
                pairs.sort();
                seen.items = pairs.concat();
            }
            _ => {}
        }
    }
    content
}

fn content(shard: &Shard) -> Content {
    let mut content = Content::new();
    for (index, db) in shard.databases.iter().enumerate() {
        add(&mut content, index as u16, &db.encode_all(ENCODE));
    }
    in_order(content)
}

/// Steps until the snapshot is over; what it had to give.
fn finish(shard: &mut Shard, budget: usize) -> Content {
    let mut found = Content::new();
    while !shard.step_snapshot(budget, |database, bytes| add(&mut found, database, &std::mem::take(bytes))) {}
    assert!(!shard.has_snapshot());
    in_order(found)
}

fn filled(keys: usize) -> Shard {
    let mut shard = Shard::new(ShardId(0), DATABASES);
    (0..keys).for_each(|key| shard.databases[0].set_string(&key.to_le_bytes(), b"value", Expiry::Never));
    shard
}

fn push(list: &mut List, value: &[u8]) {
    list.push(Side::Right, [value].into_iter(), NodeLimit::new(-2));
}

fn random_value(random: &mut Random) -> Value {
    let limits = EncodingLimits::default();
    let most = [10, 10, 10, 10, 10, 10, 300, 1_500][random.below(8)];
    let count = 1 + random.below(most);
    let long = if random.below(8) == 0 { 2_000 } else { 0 };
    let members = (0..count).map(|member| format!("m{member:0long$}").into_bytes());
    match random.below(8) {
        0 => Value::String(StringValue::Int(random.next_u64() as i64 >> random.below(64))),
        1 => Value::String(StringValue::Bytes { bytes: vec![b'v'; random.below(2_000)], raw: true }),
        2 => Value::String(StringValue::Bytes { bytes: vec![b'w'; random.below(50)], raw: false }),
        3 => Value::String(StringValue::Large(LargeString::new(vec![b'l'; 2_000 + random.below(2_000)]))),
        7 => Value::String(StringValue::Large(LargeString::new(vec![b'L'; 60_000 + random.below(200_000)]))),
        4 => {
            let mut hash = Hash::new();
            members.for_each(|member| _ = hash.set(&member, b"value", &limits));
            Value::Hash(hash)
        }
        5 => {
            let mut set = Set::with_strings();
            members.for_each(|member| _ = set.add(&member, &limits));
            Value::Set(set)
        }
        _ => {
            let mut list = List::new();
            members.for_each(|member| push(&mut list, &member));
            Value::List(list)
        }
    }
}

/// A value that is lent out: its database, its key, and what is to come back.
type Loan = (usize, Vec<u8>, Value, Option<Millis>);

struct World {
    shard: Shard,
    random: Random,
    now: Millis,
    lent: Vec<Loan>,
    /// What was there when the snapshot began, if there is one that is wanted.
    wanted: Option<Content>,
    found: Content,
    /// Snapshots that came to their end.
    complete: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let shard = Shard::new(ShardId(0), DATABASES);
        let (lent, found) = (Vec::new(), Content::new());
        Self { shard, random: Random::new(seed), now: 1_000, lent, wanted: None, found, complete: 0 }
    }

    fn key(&mut self) -> Vec<u8> {
        match self.random.below(40) {
            0 => Vec::new(),
            1 => vec![b'k'; 250 + self.random.below(12)],
            2 => vec![b'K'; 1_000 * self.random.below(100)],
            _ => format!("key:{}", self.random.below(3_000)).into_bytes(),
        }
    }

    fn expiry(&mut self) -> Expiry {
        let soon = self.now + 1 + self.random.below(500) as Millis;
        [Expiry::Keep, Expiry::Never, Expiry::At(soon)][self.random.below(3)]
    }

    /// Something that a command may do to a key that is not lent out.
    fn change(&mut self, index: usize, key: &[u8]) {
        let (expiry, choice) = (self.expiry(), self.random.below(22));
        let (value, text) = (random_value(&mut self.random), vec![b's'; self.random.below(40)]);
        let member = format!("m{}", self.random.below(1_000)).into_bytes();
        let limit = NodeLimit::new(-2);
        let db = &mut self.shard.databases[index];
        match choice {
            16 => _ = db.get_mut::<Hash>(key).map(|hash| hash.map(|hash| hash.set(&member, &text, &<_>::default()))),
            17 => {
                let left = db
                    .get_mut::<Hash>(key)
                    .map(|hash| hash.is_some_and(|hash| hash.remove(&member) && hash.is_empty()));
                _ = left == Ok(true) && db.remove(key);
            }
            18 => {
                let some = self.random.below(3);
                let random = &mut self.random;
                _ = db.get_mut::<Set>(key).map(|set| {
                    let set = set.filter(|set| set.len() > 1)?;
                    let count = [1, set.len() / 2, set.len() - 1][some];
                    set.pop_many(count, &<_>::default(), random, |_| ());
                    Some(())
                });
            }
            19 => {
                let some = self.random.next_u64() as usize;
                _ = db.get_mut::<List>(key).map(|list| {
                    let list = list.filter(|list| list.len() > 1)?;
                    let index = some % list.len();
                    match some / list.len() % 3 {
                        0 => list.set(index, &text, limit),
                        1 => list.remove_end(Side::Left, limit),
                        _ => _ = list.remove_range(index.max(1), 10, limit),
                    }
                    Some(())
                });
            }
            20 => _ = db.rename(key, b"renamed"),
            21 => {
                let append = |bytes: &mut Vec<u8>| {
                    bytes.extend_from_slice(&text);
                    Ok(())
                };
                _ = db.edit_string(key, |len| len..len, append);
            }
            0 => db.set_string(key, b"0123456789", expiry),
            1 => db.set_string(key, &text, expiry),
            2 => db.replace(key, value, expiry),
            3 => _ = db.edit_integer(key, |before| Ok(before.wrapping_add(1 << text.len()))),
            4 => _ = db.edit_string(key, |len| 0..len, |bytes| Ok(bytes.splice(.., text).count())),
            5 => _ = db.get_mut::<Hash>(key).map(|hash| hash.map(|hash| hash.set(b"f", &text, &<_>::default()))),
            6 => _ = db.get_mut::<List>(key).map(|list| list.map(|list| push(list, &text))),
            7 => _ = db.get_or_insert::<List>(key, List::new).map(|list| push(list, &text)),
            8 => _ = db.get_or_insert::<Set>(key, Set::new).map(|set| set.add(&text, &<_>::default())),
            9 => _ = db.remove(key),
            10 => _ = db.delete(key, true),
            11 => {
                if let Some((value, expires)) = db.take(key) {
                    db.replace(b"renamed", value, expires.map_or(Expiry::Never, Expiry::At));
                }
            }
            12 => _ = db.set_expires_at(key, if let Expiry::At(at) = expiry { Some(at) } else { None }),
            13 => _ = db.set_expires_at_if(key, Some(self.now + 50), |before| before.is_some()),
            14 => {
                if let Some((value, expires)) = db.lend(key) {
                    self.lent.push((index, key.to_vec(), value, expires));
                }
            }
            _ => _ = (db.value(key).is_some(), db.copy(key).is_some(), db.contains(b"key:1")),
        }
    }

    fn bring_back(&mut self) {
        let Some((index, key, value, expires)) = self.lent.pop() else { return };
        let db = &mut self.shard.databases[index];
        match self.random.below(4) {
            0 => _ = db.remove(&key),
            1 => db.replace(&key, random_value(&mut self.random), Expiry::Never),
            _ => db.replace(&key, value, expires.map_or(Expiry::Never, Expiry::At)),
        }
    }

    /// What concerns many keys.
    fn upheaval(&mut self, index: usize) {
        let other = self.random.below(DATABASES);
        let db = &mut self.shard.databases[index];
        match self.random.below(8) {
            0 | 1 => (0..2_000).for_each(|key| db.set_string(format!("key:{key}").as_bytes(), b"grown", Expiry::Keep)),
            2 => (0..2_900).for_each(|key| _ = db.remove(format!("key:{key}").as_bytes())),
            3 => (0..2_000).for_each(|key| _ = db.set_expires_at(format!("key:{key}").as_bytes(), Some(self.now + 30))),
            4 => _ = db.expire_some(usize::MAX),
            5 => _ = db.scan(self.random.next_u64(), 100, |_, _| ()),
            6 if self.lent.is_empty() => db.clear(self.random.below(2) == 0),
            7 if self.lent.is_empty() => self.shard.databases.swap(index, other),
            _ => _ = db.random_key(&mut self.random).is_some(),
        }
    }

    fn begin(&mut self) {
        if !self.lent.is_empty() {
            return;
        }
        let before = content(&self.shard);
        let under_way = self.shard.has_snapshot();
        assert_eq!(self.shard.begin_snapshot(ENCODE), !under_way);
        if !under_way {
            (self.wanted, self.found) = (Some(before), Content::new());
        }
    }

    fn step(&mut self) {
        let budget = [0, 1, 10, 100, 1_000][self.random.below(5)];
        let (found, wanted) = (&mut self.found, self.wanted.is_some());
        let leave = self.random.below(4) == 0;
        let under_way = self.shard.has_snapshot();
        let over = self.shard.step_snapshot(budget, |database, bytes| {
            assert!(wanted, "nothing comes when nobody wants it");
            if !leave {
                add(found, database, &std::mem::take(bytes));
            }
        });
        assert_eq!(over, !self.shard.has_snapshot());
        if over && let Some(wanted) = self.wanted.take() {
            assert!(under_way);
            assert!(in_order(std::mem::take(&mut self.found)) == wanted, "what came is not what was there");
            self.complete += 1;
        }
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            let index = self.random.below(DATABASES);
            self.now += self.random.below(2) as Millis;
            self.shard.databases.iter_mut().for_each(|db| db.set_now(self.now));
            match self.random.below(400) {
                0..3 => self.upheaval(index),
                3..43 => self.step(),
                43..46 => self.begin(),
                46..56 => self.bring_back(),
                56 if self.random.below(4) == 0 => {
                    self.shard.abandon_snapshot();
                    self.wanted = None;
                }
                57 => self.shard.databases.iter_mut().for_each(|db| drop(db.departed.take_garbage())),
                _ => {
                    let key = self.key();
                    if !self.lent.iter().any(|(place, lent, ..)| *place == index && *lent == key) {
                        self.change(index, &key);
                    }
                }
            }
        }
    }
}

#[test]
fn gives_what_was_there_when_it_began() {
    let mut complete = 0;
    for seed in 0..8 {
        println!("seed {seed}");
        let mut world = World::new(seed);
        world.run(6_000);
        complete += world.complete;
    }
    assert!(complete > 30, "only {complete} came to their end");
}

#[test]
fn a_snapshot_of_nothing_is_over_at_once() {
    let mut shard = filled(0);
    assert!(shard.begin_snapshot(ENCODE));
    shard.databases[1].set_string(b"new", b"value", Expiry::Never);
    assert_eq!(finish(&mut shard, 1), Content::new());
}

#[test]
fn a_second_one_is_refused_while_one_is_under_way() {
    let mut shard = filled(100);
    let before = content(&shard);
    assert!(shard.begin_snapshot(ENCODE));
    assert!(!shard.begin_snapshot(ENCODE));
    assert_eq!(finish(&mut shard, 10), before);
    assert!(shard.begin_snapshot(ENCODE));
    assert_eq!(finish(&mut shard, 10), before, "again");
}

#[test]
fn an_abandoned_one_gives_nothing_and_ends() {
    let mut shard = filled(1_000);
    assert!(shard.begin_snapshot(ENCODE));
    shard.step_snapshot(100, |_, bytes| bytes.clear());
    shard.databases[0].set_string(&999usize.to_le_bytes(), b"other", Expiry::Never);
    shard.abandon_snapshot();
    assert!(!shard.begin_snapshot(ENCODE));
    shard.databases[0].set_string(&998usize.to_le_bytes(), b"other", Expiry::Never);
    assert_eq!(finish(&mut shard, 100), Content::new());
    let before = content(&shard);
    assert!(shard.begin_snapshot(ENCODE));
    assert_eq!(finish(&mut shard, 100), before);
}

#[test]
fn large_values_come_in_pieces_whatever_happens_to_them() {
    let limits = EncodingLimits::default();
    let mut shard = filled(10);
    let db = &mut shard.databases[0];
    let hash = db.get_or_insert::<Hash>(b"hash", Hash::new).unwrap();
    (0..30_000).for_each(|field| _ = hash.set(format!("f{field}").as_bytes(), b"value", &limits));
    for key in [b"set 1", b"set 2", b"set 3"] {
        let set = db.get_or_insert::<Set>(key, Set::new).unwrap();
        (0..30_000).for_each(|member| _ = set.add(format!("m{member}").as_bytes(), &limits));
    }
    let list = db.get_or_insert::<List>(b"list", List::new).unwrap();
    (0..100_000).for_each(|element| push(list, format!("e{element}").as_bytes()));
    let string = Value::String(StringValue::Large(LargeString::new(vec![b'x'; 3 << 20])));
    db.replace(b"string", string, Expiry::At(5_000));
    let before = content(&shard);
    assert!(shard.begin_snapshot(ENCODE));
    let (mut found, mut steps) = (Content::new(), 0);
    let mut step = |shard: &mut Shard| {
        let mut largest = 0;
        let over = shard.step_snapshot(100, |database, bytes| {
            largest = largest.max(bytes.len());
            add(&mut found, database, &std::mem::take(bytes));
        });
        assert!(largest < 3 * SNAPSHOT_PENDING_BYTES_MAX, "{largest} bytes at once");
        steps += 1;
        over
    };
    (0..10).for_each(|_| assert!(!step(&mut shard)));
    for round in 0..1_000 {
        let db = &mut shard.databases[0];
        let field = format!("f{}", round * 17);
        if let Ok(Some(hash)) = db.get_mut::<Hash>(b"hash") {
            hash.set(field.as_bytes(), b"other", &limits);
        }
        if let Ok(Some(list)) = db.get_mut::<List>(b"list") {
            list.remove_end(Side::Left, NodeLimit::new(-2));
        }
        match round {
            100 => assert!(db.rename(b"set 1", b"set 4") && db.remove(b"set 2")),
            110 => assert!(db.rename(b"set 3", b"set 1") && db.remove(b"string")),
            120 => assert!(db.remove(b"list") && db.rename(b"hash", b"list")),
            130 => assert!(db.rename(b"list", b"hash")),
            131 => push(db.get_or_insert::<List>(b"list", List::new).unwrap(), b"element"),
            _ => {}
        }
        assert!(!step(&mut shard));
        if round > 200 {
            break;
        }
    }
    shard.databases[0].clear(false);
    while !step(&mut shard) {}
    assert!(in_order(found) == before, "what came is not what was there");
    assert!(steps > 1_000, "only {steps} steps");
}

#[test]
fn what_is_left_comes_before_what_a_removed_value_hands_out_later() {
    let limits = EncodingLimits::default();
    for is_freed in [true, false] {
        let mut shard = filled(10);
        let db = &mut shard.databases[0];
        let mut hash = Hash::new();
        (0..3_000).for_each(|field| _ = hash.set(format!("f{field}").as_bytes(), b"value", &limits));
        db.replace(b"hash", Value::Hash(hash), Expiry::At(5_000));
        let before = content(&shard);
        assert!(shard.begin_snapshot(ENCODE));
        while {
            let mut has_begun = false;
            shard.step_snapshot(10, |_, bytes| has_begun = bytes.windows(4).any(|key| key == b"hash"));
            !has_begun
        } {}
        let db = &mut shard.databases[0];
        if is_freed {
            assert!(db.remove(b"hash"));
        } else {
            assert!(db.take(b"hash").is_some(), "its rest is handed out at once");
        }
        assert_eq!(finish(&mut shard, 100), before);
    }
}

#[test]
fn a_flushed_database_is_walked_to_its_end_and_freed_then() {
    let mut shard = filled(10_000);
    shard.set_lazy_free(LazyFree::default());
    let before = content(&shard);
    assert!(shard.begin_snapshot(ENCODE));
    let db = &mut shard.databases[0];
    let bytes = db.memory_bytes();
    db.clear(false);
    assert_eq!((db.len(), db.memory_bytes()), (0, bytes));
    db.set_string(b"new", b"value", Expiry::Never);
    db.clear(false);
    shard.databases.swap(0, 3);
    assert_eq!(finish(&mut shard, 100), before);
    let db = &mut shard.databases[3];
    assert_eq!(db.departed.take_garbage().iter().map(Garbage::objects).collect::<Vec<_>>(), [10_000]);
    assert_eq!(db.memory_bytes(), 0);

    let mut shard = filled(10_000);
    assert!(shard.begin_snapshot(ENCODE));
    shard.databases[0].clear(true);
    shard.abandon_snapshot();
    assert_eq!(shard.databases[0].departed.take_garbage().len(), 1, "nobody wants the keys any more");
    assert!(shard.step_snapshot(0, |_, _| panic!("nothing is wanted")));
}

#[test]
fn steps_are_small_and_what_is_left_stops_the_walk() {
    let mut shard = filled(20_000);
    assert!(shard.begin_snapshot(ENCODE));
    let mut taken = 0;
    while taken < 20_000 {
        let mut content = Content::new();
        shard.step_snapshot(100, |database, bytes| add(&mut content, database, &std::mem::take(bytes)));
        assert!((50..150).contains(&content.len()) || taken + content.len() == 20_000, "{}", content.len());
        taken += content.len();
    }

    let mut shard = filled(0);
    for key in 0..200u8 {
        shard.databases[0].set_string(&[key], &[b'v'; 900], Expiry::Never);
    }
    let before = content(&shard);
    assert!(shard.begin_snapshot(ENCODE));
    let mut waiting = 0;
    for _ in 0..10 {
        assert!(!shard.step_snapshot(usize::MAX, |_, bytes| waiting = bytes.len()));
    }
    assert!((SNAPSHOT_PENDING_BYTES_MAX..SNAPSHOT_PENDING_BYTES_MAX + 8_000).contains(&waiting), "{waiting}");
    assert_eq!(finish(&mut shard, 100), before);
}

#[test]
fn only_keys_that_were_there_wait_when_they_change() {
    let mut shard = filled(100);
    assert!(shard.begin_snapshot(ENCODE));
    let waiting = |shard: &mut Shard| {
        let mut content = Content::new();
        shard.step_snapshot(0, |database, bytes| add(&mut content, database, &std::mem::take(bytes)));
        content.len()
    };
    let mut change = |change: &mut dyn FnMut(&mut Database)| {
        change(&mut shard.databases[0]);
        waiting(&mut shard)
    };
    let key = 7usize.to_le_bytes();
    assert_eq!(change(&mut |db| _ = db.value(&key).is_some()), 0, "reading");
    assert_eq!(change(&mut |db| _ = db.copy(&key).is_some()), 0);
    assert_eq!(change(&mut |db| db.set_string(b"new", b"value", Expiry::Never)), 0);
    assert_eq!(change(&mut |db| db.set_string(b"new", b"other", Expiry::Never)), 0);
    assert_eq!(change(&mut |db| db.set_string(&key, b"other", Expiry::Never)), 1);
    assert_eq!(change(&mut |db| db.set_string(&key, b"third", Expiry::Never)), 0, "once only");
    assert_eq!(change(&mut |db| _ = db.remove(&8usize.to_le_bytes())), 1);
    assert_eq!(change(&mut |db| db.set_string(&8usize.to_le_bytes(), b"again", Expiry::Never)), 0);
    assert_eq!(finish(&mut shard, 1_000).len(), 98);
}
