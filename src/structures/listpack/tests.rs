//! Listpack against a vector of byte strings.

use super::*;
use crate::stdx::random::Random;

fn listpack(values: &[&str]) -> Listpack {
    let mut pack = Listpack::new();
    pack.extend(values.iter().map(|value| value.as_bytes()));
    pack
}

fn contents(pack: &Listpack) -> Vec<Vec<u8>> {
    pack.iter().map(|element| element.to_vec()).collect()
}

/// Compares everything that can be read with the model.
fn assert_same(pack: &Listpack, model: &[Vec<u8>], seed: u64) {
    assert_eq!(contents(pack), model, "seed {seed}");
    let backwards: Vec<_> = pack.iter().rev().map(|element| element.to_vec()).collect();
    assert!(backwards.iter().eq(model.iter().rev()), "seed {seed}");
    assert_eq!((pack.len(), pack.is_empty()), (model.len(), model.is_empty()), "seed {seed}");
    let again = Listpack::from_bytes(pack.as_bytes()).expect("what is written is valid");
    assert_eq!(again, *pack, "seed {seed}");
}

fn random_value(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => random.below(200).to_string().into_bytes(),
        1 => ((random.next_u64() >> random.below(64)) as i64).to_string().into_bytes(),
        2 => ((random.next_u64() >> random.below(64)) as i64).wrapping_neg().to_string().into_bytes(),
        3 => vec![b'z'; random.below(200)],
        4 => vec![b'y'; random.below(5000)],
        _ => vec![b'a' + random.below(4) as u8; random.below(12)],
    }
}

#[test]
fn agrees_with_a_vector_under_random_operations() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let (mut pack, mut model) = (Listpack::new(), Vec::<Vec<u8>>::new());
        for _ in 0..200 {
            step(&mut random, &mut pack, &mut model);
            assert_eq!(pack.len(), model.len(), "seed {seed}");
            if random.below(10) == 0 {
                assert_same(&pack, &model, seed);
            }
        }
        assert_same(&pack, &model, seed);
    }
}

fn step(random: &mut Random, pack: &mut Listpack, model: &mut Vec<Vec<u8>>) {
    let value = random_value(random);
    let index = random.below(model.len().max(1));
    let position = pack.seek(index as i64);
    match (random.below(13), position) {
        (0..=2, _) | (_, None) => {
            pack.push_back(&value[..]);
            model.push(value);
        }
        (3 | 4, _) => {
            pack.push_front(&value[..]);
            model.insert(0, value);
        }
        (5, Some(position)) => {
            pack.insert_before(position, &value[..]);
            assert!(pack.get(position).eq_bytes(&value));
            model.insert(index, value);
        }
        (6, Some(position)) => {
            let at = pack.insert_after(position, &value[..]);
            assert!(pack.get(at).eq_bytes(&value));
            model.insert(index + 1, value);
        }
        (7, Some(position)) => {
            pack.replace(position, &value[..]);
            model[index] = value;
        }
        (8, Some(position)) => {
            let next = pack.remove(position);
            model.remove(index);
            assert_eq!(next.map(|next| pack.get(next).to_vec()), model.get(index).cloned());
        }
        (9, Some(position)) => {
            let count = random.below(6);
            let end = (index + count).min(model.len());
            assert_eq!(pack.remove_range(position, count), model.drain(index..end).count());
        }
        (10, Some(position)) => {
            let tail = pack.split_off(position);
            let model_tail = model.split_off(index);
            assert_eq!(contents(&tail), model_tail);
            assert_eq!(contents(pack), *model);
            if random.below(3) > 0 {
                pack.append(&tail);
                model.extend(model_tail);
            }
        }
        (11, Some(_)) => {
            let wanted = model[index].clone();
            let (skip, max) = (random.below(3), random.below(4));
            let mut number = 0;
            let before = model.len();
            model.retain(|value| {
                number += usize::from(*value == wanted);
                *value != wanted || number <= skip || number > skip + max
            });
            assert_eq!(pack.remove_equal(Element::from(&wanted[..]), skip, max), before - model.len());
        }
        (_, Some(_)) => read(random, pack, model),
    }
}

fn read(random: &mut Random, pack: &Listpack, model: &[Vec<u8>]) {
    let wanted = model[random.below(model.len())].clone();
    let from = random.below(model.len());
    let skip = random.below(3);
    let expected = (from..model.len()).step_by(skip + 1).find(|&index| model[index] == wanted);
    let start = pack.seek(from as i64).expect("inside");
    let found = pack.find(start, &wanted, skip);
    assert_eq!(found, expected.and_then(|index| pack.seek(index as i64)));
    assert_eq!(pack.seek(from as i64), pack.seek(from as i64 - model.len() as i64));
    assert_eq!(pack.seek(model.len() as i64), None);
    assert_eq!(pack.seek(-1 - model.len() as i64), None);
    assert!(pack.iter_from(start).map(|element| element.to_vec()).eq(model[from..].iter().cloned()));
    assert!(pack.iter_until(start).rev().map(|element| element.to_vec()).eq(model[..=from].iter().rev().cloned()));
}

#[test]
fn bytes_are_those_of_the_format() {
    let pack = listpack(&["hello", "1024"]);
    assert_eq!(pack.as_bytes(), b"\x11\0\0\0\x02\0\x85hello\x06\xc4\x00\x02\xff");
    assert_eq!(Listpack::new().as_bytes(), b"\x07\0\0\0\0\0\xff");
}

#[test]
fn more_than_the_header_can_count() {
    let mut pack = Listpack::new();
    pack.extend((0..70_000).map(i64::from));
    assert_eq!(pack.len(), 70_000);
    assert_eq!(pack.seek(69_999).map(|at| pack.get(at)), Some(Element::Int(69_999)));
    assert_eq!(pack.seek(-70_000).map(|at| pack.get(at)), Some(Element::Int(0)));
    assert_eq!(Listpack::from_bytes(pack.as_bytes()), Some(pack.clone()));
    let first = pack.first().expect("not empty");
    assert_eq!(pack.remove_range(first, 69_990), 69_990);
    assert_eq!((pack.len(), pack.header_count()), (10, 10));
}

#[test]
fn both_ends_as_a_queue_keep_the_memory_near_the_content() {
    let mut pack = Listpack::new();
    for turn in 0..20_000i64 {
        pack.push_back(turn);
        if turn >= 500 {
            assert_eq!(pack.get(pack.first().expect("not empty")), Element::Int(turn - 500));
            pack.remove(pack.first().expect("not empty"));
        }
        assert!(pack.memory_bytes() < 3 * pack.byte_len() + 128);
    }
    while let Some(first) = pack.first() {
        pack.remove(first);
    }
    assert!(pack.memory_bytes() < 160);
    for turn in 0..20_000i64 {
        pack.push_front(turn);
        if turn >= 500 {
            pack.remove(pack.last().expect("not empty"));
        }
    }
    assert_eq!(pack.len(), 500);
}

#[test]
fn foreign_bytes_are_taken_only_when_valid() {
    let pack = listpack(&["hello", "1024", "", "-7", "70000"]);
    let good = pack.as_bytes();
    for len in 0..good.len() {
        assert_eq!(Listpack::from_bytes(&good[..len]), None, "cut to {len}");
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        // A flipped bit in the data gives other data; whatever is taken must be whole.
        if let Some(taken) = Listpack::from_bytes(&bad) {
            assert_eq!(taken.len(), taken.iter().rev().count());
        }
    }
    let mut random = Random::new(1);
    for _ in 0..20_000 {
        let mut noise: Vec<u8> = (0..random.below(30)).map(|_| random.next_u64() as u8).collect();
        if noise.len() >= EMPTY_BYTES {
            let len = noise.len();
            noise[..4].copy_from_slice(&(len as u32).to_le_bytes());
            noise[4..6].copy_from_slice(&[random.below(4) as u8, 0]);
            noise[len - 1] = TERMINATOR;
        }
        if let Some(taken) = Listpack::from_bytes(&noise) {
            assert_eq!(taken.len(), taken.iter().rev().count());
        }
    }
}

#[test]
fn foreign_bytes_are_written_anew_when_odd() {
    // The text "12" as a string, and the integer 5 in 64 bits.
    let odd = b"\x15\0\0\0\x02\0\x8212\x03\xf4\x05\0\0\0\0\0\0\0\x09\xff";
    let taken = Listpack::from_bytes(odd).expect("valid");
    assert_eq!(taken, listpack(&["12", "5"]));
    // "Count them" for a few.
    assert_eq!(Listpack::from_bytes(b"\x09\0\0\0\xff\xff\x01\x01\xff"), Some(listpack(&["1"])));
    assert_eq!(Listpack::from_bytes(b"\x09\0\0\0\x02\0\x01\x01\xff"), None);
}

#[test]
fn is_small() {
    assert_eq!(size_of::<Option<Listpack>>(), 8);
    assert_eq!(Listpack::new().memory_bytes(), 16);
    assert_eq!(listpack(&["a"; 10]).memory_bytes(), 48);
}
