//! Sets against a model, and the points at which the encoding changes.

use super::Set;
use crate::config::EncodingLimits;
use crate::stdx::random::Random;
use crate::structures::listpack::Element;
use std::collections::HashSet;

fn set_of<'a>(members: impl IntoIterator<Item = &'a str>, limits: &EncodingLimits) -> Set {
    let mut set = Set::new();
    for member in members {
        set.add(member.as_bytes(), limits);
    }
    set
}

fn members(set: &Set) -> HashSet<Vec<u8>> {
    let all: Vec<_> = set.iter().map(|member| member.to_vec()).collect();
    let distinct: HashSet<_> = all.iter().cloned().collect();
    assert_eq!(all.len(), distinct.len(), "every member once");
    assert_eq!(all.len(), set.len());
    distinct
}

/// A member such that integers, short and long texts mix, and the same one comes again.
fn member(random: &mut Random, integers_only: bool) -> Vec<u8> {
    let number = random.below(300);
    match random.below(if integers_only { 2 } else { 5 }) {
        0 => number.to_string().into_bytes(),
        1 => (number as i64 * -70_000).to_string().into_bytes(),
        2 => format!("0{number}").into_bytes(),
        3 => format!("m{}", number % 40).into_bytes(),
        _ => "x".repeat(number % 70).into_bytes(),
    }
}

#[test]
fn behaves_like_a_hash_set() {
    let tight = EncodingLimits { set_max_intset_entries: 8, set_max_listpack_entries: 12, ..Default::default() };
    for seed in 0..120 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let limits = if seed % 2 == 0 { tight } else { EncodingLimits::default() };
        let (mut set, mut model) = (Set::new(), HashSet::new());
        let mut seen = HashSet::new();
        for _ in 0..500 {
            let text = member(&mut random, seed % 3 == 0);
            match random.below(10) {
                0..=4 => assert_eq!(set.add(&text, &limits), model.insert(text.clone())),
                5 => assert_eq!(set.add_element(Element::from(&text[..]), &limits), model.insert(text.clone())),
                6 => assert_eq!(set.remove(&text), model.remove(&text)),
                7 => assert_eq!(set.remove_element(Element::from(&text[..])), model.remove(&text)),
                8 => {
                    let mut popped = None;
                    set.pop(&mut random, |member| popped = Some(member.to_vec()));
                    assert_eq!(popped.is_some(), !model.is_empty());
                    assert!(popped.is_none_or(|popped| model.remove(&popped)));
                }
                _ if random.below(8) == 0 && model.len() > 1 => {
                    let count = random.below(model.len());
                    let mut popped = 0;
                    set.pop_many(count, &limits, &mut random, |member| {
                        popped += 1;
                        assert!(model.remove(&member.to_vec()));
                    });
                    assert_eq!(popped, count);
                }
                _ => {
                    let mut sampled = HashSet::new();
                    let count = random.below(20);
                    set.sample(count, &mut random, |member| {
                        assert!(model.contains(&member.to_vec()) && sampled.insert(member.to_vec()));
                    });
                    assert_eq!(sampled.len(), count.min(model.len()));
                }
            }
            assert_eq!(set.contains(&text), model.contains(&text));
            assert_eq!(set.contains_element(Element::from(&text[..])), model.contains(&text));
            assert_eq!(set.len(), model.len());
            let picked = set.random(&mut random).map(|member| member.to_vec());
            assert_eq!(picked.is_some(), !model.is_empty());
            assert!(picked.is_none_or(|picked| model.contains(&picked)));
            seen.insert(set.encoding());
        }
        assert_eq!(members(&set), model);
        assert_eq!(members(&set.clone()), model);
        let (mut scanned, mut cursor) = (HashSet::new(), 0);
        loop {
            cursor = set.scan(cursor, 3, |member| {
                scanned.insert(member.to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned, model);
        assert!(seen.len() > 1 || seed % 6 == 3, "the encoding changes: {seen:?}");
    }
    assert!(size_of::<Set>() <= 16);
}

#[test]
fn integers_stay_an_intset_up_to_the_limit() {
    let limits = EncodingLimits::default();
    let numbers: Vec<_> = (0..513).map(|number| number.to_string()).collect();
    let mut set = set_of(numbers[..512].iter().map(String::as_str), &limits);
    assert_eq!(set.encoding(), "intset");
    set.add(b"0", &limits);
    assert_eq!(set.encoding(), "intset");
    set.add(b"512", &limits);
    assert_eq!(set.encoding(), "hashtable");
    assert_eq!(set.len(), 513);
    set.remove(b"512");
    assert_eq!(set.encoding(), "hashtable");
}

#[test]
fn a_text_makes_an_intset_a_listpack_or_a_table() {
    let limits = EncodingLimits::default();
    let mut set = set_of(["1", "2"], &limits);
    set.add(b"a", &limits);
    assert_eq!(set.encoding(), "listpack");
    assert_eq!(set.iter().map(|member| member.to_vec()).collect::<Vec<_>>(), [b"1", b"2", b"a"]);
    let mut long = set_of(["1", "2"], &limits);
    long.add(&[b'x'; 65], &limits);
    assert_eq!((long.encoding(), long.len()), ("hashtable", 3));
    let numbers: Vec<_> = (0..128).map(|number| number.to_string()).collect();
    let mut many = set_of(numbers.iter().map(String::as_str), &limits);
    assert_eq!(many.encoding(), "intset");
    many.add(b"a", &limits);
    assert_eq!((many.encoding(), many.len()), ("hashtable", 129));
    let narrow = EncodingLimits { set_max_listpack_value: 2, ..limits };
    let mut wide = set_of(["-100"], &narrow);
    wide.add(b"a", &narrow);
    assert_eq!(wide.encoding(), "hashtable");
}

#[test]
fn a_listpack_becomes_a_table_beyond_either_limit() {
    let limits = EncodingLimits::default();
    let names: Vec<_> = (0..128).map(|number| format!("m{number}")).collect();
    let mut set = set_of(names.iter().map(String::as_str), &limits);
    assert_eq!(set.encoding(), "listpack");
    set.add(b"m5", &limits);
    assert_eq!(set.encoding(), "listpack");
    set.add(b"5", &limits);
    assert_eq!((set.encoding(), set.len()), ("hashtable", 129));
    let mut long = set_of(["a"], &limits);
    long.add(&[b'x'; 64], &limits);
    assert_eq!(long.encoding(), "listpack");
    long.add(&[b'x'; 65], &limits);
    assert_eq!((long.encoding(), long.len()), ("hashtable", 3));
}

#[test]
fn the_announced_number_of_members_chooses_the_encoding() {
    let limits = EncodingLimits::default();
    for (first, count, encoding) in [
        ("1", 512, "intset"),
        ("1", 513, "hashtable"),
        ("a", 128, "listpack"),
        ("a", 129, "hashtable"),
        ("01", 1, "listpack"),
    ] {
        assert_eq!(Set::for_members(first.as_bytes(), count, &limits).encoding(), encoding, "{first} {count}");
    }
    let lists = EncodingLimits { set_max_intset_entries: 0, ..limits };
    assert_eq!(Set::for_members(b"1", 1, &lists).encoding(), "listpack");
    let mut set = set_of(["1"], &limits);
    set.expect(512, &limits);
    assert_eq!(set.encoding(), "intset");
    set.expect(513, &limits);
    assert_eq!((set.encoding(), set.len()), ("hashtable", 1));
}

#[test]
fn integers_find_their_way_back_to_an_intset() {
    let limits = EncodingLimits::default();
    let mut set = Set::with_strings();
    for integer in [5, -3, i64::MAX] {
        set.add_element(Element::Int(integer), &limits);
    }
    assert_eq!(set.encoding(), "listpack");
    set.compact_integers(&limits);
    assert_eq!(set.encoding(), "intset");
    assert_eq!(set.iter().collect::<Vec<_>>(), [-3, 5, i64::MAX].map(Element::Int));
    let mut mixed = set_of(["1", "a"], &limits);
    mixed.compact_integers(&limits);
    assert_eq!(mixed.encoding(), "listpack");
}

#[test]
fn popping_nearly_all_makes_a_table_compact_again() {
    let limits = EncodingLimits::default();
    let mut random = Random::new(7);
    let names: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    let mut set = set_of(names.iter().map(String::as_str), &limits);
    set.pop_many(800, &limits, &mut random, |_| {});
    assert_eq!((set.encoding(), set.len()), ("hashtable", 200));
    set.pop_many(180, &limits, &mut random, |_| {});
    assert_eq!((set.encoding(), set.len()), ("listpack", 20));
}
