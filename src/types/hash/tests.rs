//! Hashes against a model, and the points at which the encoding changes.

use super::Hash;
use crate::config::EncodingLimits;
use crate::stdx::random::Random;
use std::collections::HashMap;

fn pairs(hash: &Hash) -> HashMap<Vec<u8>, Vec<u8>> {
    let all: HashMap<_, _> = hash.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect();
    assert_eq!(hash.iter().count(), all.len(), "every field once");
    assert_eq!(all.len(), hash.len());
    all
}

fn text(random: &mut Random) -> Vec<u8> {
    let number = random.below(200);
    match random.below(4) {
        0 => number.to_string().into_bytes(),
        1 => format!("0{number}").into_bytes(),
        2 => format!("f{}", number % 60).into_bytes(),
        _ => "x".repeat(number % 80).into_bytes(),
    }
}

#[test]
fn behaves_like_a_hash_map() {
    let tight = EncodingLimits { hash_max_listpack_entries: 10, hash_max_listpack_value: 1000, ..Default::default() };
    for seed in 0..120 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let limits = if seed % 2 == 0 { tight } else { EncodingLimits::default() };
        let (mut hash, mut model) = (Hash::new(), HashMap::new());
        for _ in 0..500 {
            let field = text(&mut random);
            match random.below(6) {
                0..=2 => {
                    let value = text(&mut random);
                    assert_eq!(hash.set(&field, &value, &limits), model.insert(field.clone(), value).is_none());
                }
                3 | 4 => assert_eq!(hash.remove(&field), model.remove(&field).is_some()),
                _ => {
                    let mut sampled = HashMap::new();
                    let count = random.below(20);
                    hash.sample(count, &mut random, |field, value| {
                        assert_eq!(model.get(&field.to_vec()), Some(&value.to_vec()));
                        assert!(sampled.insert(field.to_vec(), value.to_vec()).is_none());
                    });
                    assert_eq!(sampled.len(), count.min(model.len()));
                }
            }
            assert_eq!(hash.get(&field).map(|value| value.to_vec()).as_ref(), model.get(&field));
            assert_eq!(hash.contains(&field), model.contains_key(&field));
            assert_eq!(hash.len(), model.len());
            let picked = hash.random(&mut random).map(|(field, value)| (field.to_vec(), value.to_vec()));
            assert_eq!(picked.is_some(), !model.is_empty());
            assert!(picked.is_none_or(|(field, value)| model.get(&field) == Some(&value)));
        }
        assert_eq!(hash.encoding(), "hashtable");
        assert_eq!(pairs(&hash), model);
        assert_eq!(pairs(&hash.clone()), model);
        let (mut scanned, mut cursor) = (HashMap::new(), 0);
        loop {
            cursor = hash.scan(cursor, 3, |field, value| {
                scanned.insert(field.to_vec(), value.to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned, model);
    }
    assert!(size_of::<Hash>() <= 16);
}

#[test]
fn the_encoding_changes_where_redis_changes_it() {
    let limits = EncodingLimits::default();
    let mut hash = Hash::new();
    for number in 0..512 {
        hash.set(format!("f{number}").as_bytes(), b"v", &limits);
    }
    hash.set(b"f0", b"again", &limits);
    assert_eq!((hash.encoding(), hash.len()), ("listpack", 512));
    hash.set(b"one more", b"v", &limits);
    assert_eq!((hash.encoding(), hash.len()), ("hashtable", 513));
    for (field, value, encoding) in [(64, 64, "listpack"), (65, 1, "hashtable"), (1, 65, "hashtable")] {
        let mut hash = Hash::new();
        hash.set(&vec![b'f'; field], &vec![b'v'; value], &limits);
        assert_eq!(hash.encoding(), encoding, "{field} {value}");
        assert_eq!(hash.len(), 1);
    }
}

#[test]
fn the_announced_pairs_choose_the_encoding() {
    let limits = EncodingLimits { hash_max_listpack_entries: 2, ..Default::default() };
    let long = [b'x'; 65];
    for (texts, encoding) in [
        (vec![&b"a"[..], b"1", b"b", b"2"], "listpack"),
        (vec![b"a", b"1", b"a", b"1", b"a", b"1"], "hashtable"),
        (vec![b"a", &long], "hashtable"),
        (vec![&long, b"1"], "hashtable"),
    ] {
        let mut hash = Hash::new();
        hash.expect(texts.into_iter(), &limits);
        assert_eq!(hash.encoding(), encoding);
    }
}
