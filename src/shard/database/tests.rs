//! The database against a plain model, and the rules that other rooms rely on.

use super::{Database, Expiry, Garbage, Incidents};
use crate::config::{EncodingLimits, LazyFree};
use crate::limits::GARBAGE_MAX;
use crate::resp::CommandError;
use crate::stdx::random::Random;
use crate::types::{Hash, Kind, List, Object, Set, StringRef, StringValue, Value};
use std::collections::{BTreeMap, BTreeSet};

fn text(db: &mut Database, key: &[u8]) -> Option<Vec<u8>> {
    let string = db.string(key).expect("a string");
    string.map(|string| string.bytes(&mut itoa::Buffer::new()).to_vec())
}

fn encoding(db: &mut Database, key: &[u8]) -> &'static str {
    db.peek(key).expect("it is there").encoding()
}

#[test]
fn strings_of_all_sizes_come_back() {
    let mut db = Database::new();
    for len in [0, 1, 16, 44, 45, 255, 256, 1_000, 1_024, 1_025, 20_000, 1, 300, 70_000, 0] {
        let bytes = vec![b'x'; len];
        for key in [&b""[..], b"key", &[b'k'; 300]] {
            db.set_string(key, &bytes, Expiry::Never);
            assert_eq!(text(&mut db, key).as_deref(), Some(&bytes[..]));
            assert_eq!(encoding(&mut db, key), if len <= 44 { "embstr" } else { "raw" });
        }
    }
    db.set_string(b"n", b"-12", Expiry::Never);
    assert_eq!(encoding(&mut db, b"n"), "int");
    assert!(matches!(db.string(b"n"), Ok(Some(StringRef::Int(-12)))));
    assert_eq!((db.len(), db.hits, db.misses), (4, 46, 0));
}

#[test]
fn strings_are_changed_in_place() {
    let mut db = Database::new();
    db.set_now(1_000);
    db.set_string(b"k", b"12", Expiry::At(5_000));
    let append = |db: &mut Database, suffix: &[u8]| {
        let appended = db.edit_string(
            b"k",
            |len| len..len,
            |bytes| {
                bytes.extend_from_slice(suffix);
                Ok(())
            },
        );
        assert_eq!(appended, Ok(Some(())));
    };
    append(&mut db, b"3");
    assert_eq!((text(&mut db, b"k").as_deref(), encoding(&mut db, b"k")), (Some(&b"123"[..]), "raw"));
    assert_eq!(db.expires_at(b"k"), Some(Some(5_000)));
    for _ in 0..3_000 {
        append(&mut db, b"0123456789");
    }
    assert_eq!(text(&mut db, b"k").expect("a string").len(), 30_003);
    assert_eq!(db.expires_at(b"k"), Some(Some(5_000)));

    let Ok(Some(StringRef::Large(large))) = db.string(b"k") else { panic!("not large") };
    let (lent, place) = (large.shared().clone(), large.as_slice().as_ptr());
    db.edit_string(b"k", |_| 0..2, |bytes| Ok(std::mem::replace(&mut bytes[0], b'x'))).expect("a string");
    assert_eq!(lent[..3], b"123"[..], "a reply on its way keeps what it was given");
    drop(lent);
    let Ok(Some(StringRef::Large(large))) = db.string(b"k") else { panic!("not large") };
    let copied = large.as_slice().as_ptr();
    assert_ne!(copied, place);
    db.edit_string(b"k", |_| 0..2, |bytes| Ok(std::mem::replace(&mut bytes[1], b'y'))).expect("a string");
    let Ok(Some(StringRef::Large(large))) = db.string(b"k") else { panic!("not large") };
    assert_eq!((large.as_slice().as_ptr(), &large.as_slice()[..3]), (copied, &b"xy3"[..]));

    db.get_or_insert::<List>(b"l", List::new).expect("a list");
    assert_eq!(db.edit_string(b"l", |_| 0..0, |_| Ok(())), Err(CommandError::WrongType));
    assert_eq!(db.edit_string(b"new", |_| 0..0, |bytes| Ok(bytes.len())), Ok(None));
    for key in [&b"k"[..], b"n"] {
        db.set_string(b"n", b"short", Expiry::Never);
        let before = text(&mut db, key);
        assert_eq!(db.edit_string(key, |_| 0..0, |_| Err::<(), _>(CommandError::Syntax)), Err(CommandError::Syntax));
        assert_eq!(text(&mut db, key), before);
    }
}

#[test]
fn integers_are_changed_in_place() {
    let mut db = Database::new();
    db.set_now(1_000);
    for expiry in [Expiry::Never, Expiry::At(5_000)] {
        let mut expected = 0;
        db.set_string(b"n", b"0", expiry);
        for change in [1, 126, 1, 200, -500, 40_000, -1, 1 << 40, -(1 << 40), i64::MAX - 60_000, -3, i64::MIN + 9] {
            expected += change;
            assert_eq!(db.edit_integer(b"n", |before| Ok(before + change)), Ok(expected));
            assert!(matches!(db.string(b"n"), Ok(Some(StringRef::Int(integer))) if integer == expected));
        }
        assert_eq!(db.expires_at(b"n"), Some(if let Expiry::At(at) = expiry { Some(at) } else { None }));
        assert_eq!(db.edit_integer(b"n", |_| Err(CommandError::Syntax)), Err(CommandError::Syntax));
        assert_eq!(db.edit_integer(b"n", Ok), Ok(expected));
    }
    db.set_now(6_000);
    assert_eq!(db.edit_integer(b"n", |before| Ok(before + 7)), Ok(7), "its time was over");
    assert_eq!(db.expires_at(b"n"), Some(None));
    db.replace(b"t", Value::String(StringValue::text(b"41".to_vec())), Expiry::Never);
    assert_eq!(db.edit_integer(b"t", |before| Ok(before + 1)), Ok(42));
    assert_eq!(encoding(&mut db, b"t"), "int");
    db.set_string(b"s", b"text", Expiry::Never);
    assert_eq!(db.edit_integer(b"s", Ok), Err(CommandError::NotInteger));
    db.get_or_insert::<List>(b"l", List::new).expect("a list");
    assert_eq!(db.edit_integer(b"l", Ok), Err(CommandError::WrongType));
}

#[test]
fn times_to_live_are_set_on_conditions() {
    let mut db = Database::new();
    db.set_string(b"k", b"v", Expiry::Never);
    assert!(!db.set_expires_at_if(b"k", Some(100), |before| before.is_some()));
    assert_eq!(db.expires_at(b"k"), Some(None));
    assert!(db.set_expires_at_if(b"k", Some(100), |before| before.is_none()));
    assert!(!db.set_expires_at_if(b"k", None, |before| before == Some(99)));
    assert!(db.set_expires_at_if(b"k", None, |before| before == Some(100)));
    assert_eq!(db.expires_at(b"k"), Some(None));
    assert!(!db.set_expires_at_if(b"missing", Some(100), |_| true));
}

#[test]
fn other_types_are_refused() {
    let mut db = Database::new();
    db.set_string(b"s", b"text", Expiry::Never);
    db.set_string(b"big", &[b'x'; 5_000], Expiry::Never);
    db.get_or_insert::<Hash>(b"h", Hash::new).expect("a hash").set(b"f", b"v", &EncodingLimits::default());
    for key in [&b"s"[..], b"big"] {
        assert!(matches!(db.get::<Hash>(key), Err(CommandError::WrongType)));
        assert!(matches!(db.get_mut::<Set>(key), Err(CommandError::WrongType)));
        assert!(matches!(db.get_or_insert::<List>(key, List::new), Err(CommandError::WrongType)));
    }
    assert!(matches!(db.get::<Set>(b"h"), Err(CommandError::WrongType)));
    assert!(matches!(db.string(b"h"), Err(CommandError::WrongType)));
    assert_eq!(db.value(b"h").map(|value| value.kind()), Some(Kind::Hash));
    assert_eq!(db.get::<Hash>(b"h").map(|hash| hash.map(Hash::len)), Ok(Some(1)));
    let both = db.get_many::<Hash>([&b"h"[..], b"none"].into_iter()).expect("hashes");
    assert_eq!(both.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn expired_keys_are_gone_and_named() {
    let mut db = Database::new();
    db.set_now(10);
    db.keep_incidents(Incidents::EXPIRED);
    for key in [&b"a"[..], b"b", b"c", b"d", b"e", b"f"] {
        db.set_string(key, b"v", Expiry::At(20));
    }
    assert_eq!((db.expires_len(), db.average_ttl()), (6, 10));
    db.set_now(20);
    assert_eq!(db.len(), 6);
    assert!(!db.contains(b"a"));
    db.set_string(b"b", b"again", Expiry::Keep);
    assert_eq!(db.expires_at(b"b"), Some(None));
    assert!(!db.remove(b"c"));
    assert!(!db.set_expires_at(b"d", None));
    assert!(db.take(b"e").is_none());
    assert_eq!(db.expire_some(100), 1);
    let expired: Vec<_> = db.take_incidents().into_iter().map(|(_, key)| key).collect();
    assert_eq!(expired, [b"a", b"b", b"c", b"d", b"e", b"f"].map(|key| Box::from(&key[..])));
    assert_eq!((db.len(), db.departed.expired, db.expires_len()), (1, 6, 0));
    assert!(!db.has_incidents());
}

#[test]
fn expired_keys_that_stay_are_gone_for_all_who_ask() {
    let mut db = Database::new();
    let mut random = Random::new(1);
    db.set_now(10);
    db.keep_incidents(Incidents::EXPIRED);
    for key in [&b"a"[..], b"b", b"c", b"d"] {
        db.set_string(key, b"v", Expiry::At(20));
    }
    let hash = db.get_or_insert::<Hash>(b"h", Hash::new).expect("a new one");
    hash.set(b"f", b"v", &EncodingLimits::default());
    db.set_expires_at(b"h", Some(20));
    db.keep_expired(true);
    db.set_now(20);
    assert!(!db.contains(b"a") && text(&mut db, b"b").is_none() && db.take(b"c").is_none() && !db.remove(b"d"));
    assert_eq!(db.expires_at(b"a"), None);
    assert!(db.get_many::<Hash>([&b"h"[..]].into_iter()).expect("none")[0].is_none());
    assert_eq!(db.scan(0, 100, |_, _| panic!("there is none")), 0);
    assert_eq!(db.random_key(&mut random), None);
    assert_eq!((db.len(), db.departed.expired, db.has_incidents()), (5, 0, false));

    // What is stored in their place is new.
    db.set_string(b"a", b"new", Expiry::Keep);
    assert_eq!(db.get_or_insert::<Hash>(b"h", Hash::new).map(|hash| hash.len()), Ok(0));
    db.remove(b"h");
    assert_eq!((db.expires_at(b"a"), db.len(), db.departed.expired), (Some(None), 4, 2));
    db.clear(false);
    db.set_string(b"e", b"v", Expiry::At(20));
    assert!(!db.contains(b"e") && db.len() == 1, "a database that is emptied keeps them still");
    db.keep_expired(false);
    assert!(!db.contains(b"e") && db.is_empty());
}

#[test]
fn idle_time_follows_reads_unless_touching_is_off() {
    let mut db = Database::new();
    db.set_now(100_000);
    db.set_string(b"k", b"v", Expiry::Never);
    db.set_now(107_900);
    assert_eq!(db.idle_ms(b"k"), Some(7_000));
    db.set_touch(false);
    text(&mut db, b"k");
    assert_eq!(db.idle_ms(b"k"), Some(7_000));
    db.set_touch(true);
    db.contains(b"k");
    assert_eq!(db.idle_ms(b"k"), Some(7_000));
    text(&mut db, b"k");
    assert_eq!(db.idle_ms(b"k"), Some(0));
    assert_eq!(db.idle_ms(b"none"), None);
}

#[test]
fn scan_and_random_keys_skip_what_has_expired() {
    let mut db = Database::new();
    let mut random = Random::new(1);
    assert_eq!(db.random_key(&mut random), None);
    for index in 0..1_000 {
        let expiry = if index % 2 == 0 { Expiry::At(50) } else { Expiry::Never };
        db.set_string(format!("k{index}").as_bytes(), b"v", expiry);
    }
    db.set_now(50);
    for _ in 0..50 {
        let key = db.random_key(&mut random).expect("half of them live").to_vec();
        assert!(key.last().is_some_and(|digit| digit % 2 == 1), "{key:?}");
    }
    let (mut cursor, mut seen) = (0, BTreeSet::new());
    loop {
        cursor = db.scan(cursor, 10, |key, _| _ = seen.insert(key.to_vec()));
        if cursor == 0 {
            break;
        }
    }
    assert_eq!((seen.len(), db.len(), db.departed.expired), (500, 500, 500));
    db.clear(true);
    assert_eq!((db.len(), db.memory_bytes()), (0, 0));
    let garbage = db.departed.take_garbage();
    assert_eq!(garbage.iter().map(Garbage::objects).collect::<Vec<_>>(), [500]);
    std::thread::spawn(move || drop(garbage)).join().expect("keys may be dropped on another thread");
    db.clear(true);
    assert!(db.departed.take_garbage().is_empty(), "there was no key");
}

#[test]
fn large_values_become_garbage_where_that_is_wanted() {
    let mut db = Database::new();
    let lazy = |server_del, expire| LazyFree { server_del, expire, ..Default::default() };
    let set = |db: &mut Database, members: u64, expiry| {
        let mut set = Set::with_strings();
        let limits = EncodingLimits::default();
        (0..members).for_each(|member| _ = set.add(format!("m{member}").as_bytes(), &limits));
        db.replace(b"s", set.into_value(), expiry);
    };
    let garbage = |db: &mut Database| db.departed.take_garbage().len();
    // 100 members lie in one piece; 200 are a table.
    for (members, is_large) in [(100, 0), (200, 1)] {
        db.set_lazy_free(lazy(true, true));
        set(&mut db, members, Expiry::Never);
        assert!(db.delete(b"s", true));
        assert_eq!(garbage(&mut db), is_large);
        set(&mut db, members, Expiry::Never);
        set(&mut db, members, Expiry::Never);
        assert_eq!(garbage(&mut db), is_large, "overwritten");
        db.set_string(b"s", b"short", Expiry::Never);
        assert_eq!(garbage(&mut db), is_large, "overwritten by another type");
        set(&mut db, members, Expiry::At(10));
        db.set_now(20);
        assert!(!db.contains(b"s"));
        set(&mut db, members, Expiry::At(30));
        db.set_now(40);
        assert_eq!(db.expire_some(usize::MAX), 1);
        assert_eq!(garbage(&mut db), 2 * is_large, "expired");
        db.set_lazy_free(lazy(false, false));
        set(&mut db, members, Expiry::At(50));
        db.set_now(60);
        assert!(!db.contains(b"s"));
        set(&mut db, members, Expiry::Never);
        assert!(db.remove(b"s"));
        assert_eq!(garbage(&mut db), 0);
    }
}

#[test]
fn garbage_is_bounded() {
    let mut db = Database::new();
    for _ in 0..GARBAGE_MAX + 10 {
        db.set_string(b"k", b"v", Expiry::Never);
        db.clear(true);
    }
    assert_eq!(db.departed.take_garbage().len(), GARBAGE_MAX);
}

#[test]
fn an_empty_database_holds_no_memory() {
    let mut db = Database::new();
    assert_eq!(db.memory_bytes(), 0);
    db.set_string(b"k", b"v", Expiry::Never);
    assert!(db.memory_bytes() < 256, "{}", db.memory_bytes());
    db.clear(false);
    assert_eq!(db.memory_bytes(), 0);
}

fn random_value(random: &mut Random) -> Value {
    let limits = EncodingLimits::default();
    match random.below(6) {
        0 => Value::String(StringValue::Int(random.next_u64() as i64 >> random.below(64))),
        1 => Value::String(StringValue::Bytes { bytes: vec![b'v'; random.below(2_000)], raw: true }),
        2 => Value::String(StringValue::Bytes { bytes: vec![b'w'; random.below(50)], raw: false }),
        3 => {
            let mut hash = Hash::new();
            (0..1 + random.below(200)).for_each(|field| _ = hash.set(&field.to_le_bytes(), b"value", &limits));
            Value::Hash(hash)
        }
        4 => {
            let mut set = Set::with_strings();
            (0..1 + random.below(200)).for_each(|member| _ = set.add(&member.to_le_bytes(), &limits));
            Value::Set(set)
        }
        _ => Value::String(StringValue::Large(crate::types::LargeString::new(vec![b'l'; 3_000]))),
    }
}

/// What of a value can be compared.
fn digest(value: &Value) -> (Kind, usize, Vec<u8>) {
    match value {
        Value::String(string) => {
            let string = string.as_ref();
            (Kind::String, string.len(), string.bytes(&mut itoa::Buffer::new()).to_vec())
        }
        Value::Hash(hash) => (Kind::Hash, hash.len(), Vec::new()),
        Value::Set(set) => (Kind::Set, set.len(), Vec::new()),
        Value::List(list) => (Kind::List, list.len(), Vec::new()),
    }
}

#[test]
fn behaves_like_a_map_of_values() {
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let mut db = Database::new();
        let mut map: BTreeMap<Vec<u8>, (Value, Option<i64>)> = BTreeMap::new();
        for step in 0..3_000 {
            db.set_now(step);
            map.retain(|_, (_, expires)| expires.is_none_or(|at| at > step));
            let key = format!("key:{}", random.below(300)).into_bytes();
            match random.below(6) {
                0..3 => {
                    let value = random_value(&mut random);
                    let expires = (random.below(2) == 0).then(|| step + 1 + random.below(300) as i64);
                    db.replace(&key, value.clone(), expires.map_or(Expiry::Never, Expiry::At));
                    map.insert(key, (value, expires));
                }
                3 => assert_eq!(db.remove(&key), map.remove(&key).is_some(), "seed {seed}"),
                4 => {
                    let (found, expected) = (db.take(&key), map.remove(&key));
                    let digests = |entry: &(Value, Option<i64>)| (digest(&entry.0), entry.1);
                    assert_eq!(found.as_ref().map(digests), expected.as_ref().map(digests), "seed {seed}");
                }
                _ => {
                    let found = db.value(&key).map(|value| digest(&value.to_value()));
                    assert_eq!(found, map.get(&key).map(|(value, _)| digest(value)), "seed {seed}");
                    assert_eq!(db.expires_at(&key), map.get(&key).map(|(_, expires)| *expires), "seed {seed}");
                }
            }
            if step % 100 == 0 {
                db.expire_some(usize::MAX);
                assert_eq!(db.len(), map.len(), "seed {seed}");
            }
        }
    }
}
