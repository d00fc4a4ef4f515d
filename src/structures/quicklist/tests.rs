//! Quicklist against a vector of byte strings.

use super::*;
use crate::stdx::random::Random;

fn entry(value: &[u8]) -> Entry<'_> {
    Entry::from(value)
}

fn contents(list: &Quicklist) -> Vec<Vec<u8>> {
    list.iter_from(0, Side::Right).map(|entry| entry.to_vec()).collect()
}

/// Compares with the model and checks what must hold for every node.
fn assert_same(list: &Quicklist, model: &[Vec<u8>], limit: NodeLimit, seed: u64) {
    assert_eq!(list.len(), model.len(), "seed {seed}");
    assert_eq!(contents(list), model, "seed {seed}");
    assert_eq!(list.len(), list.nodes.iter().map(Node::len).sum::<usize>(), "seed {seed}");
    for node in &list.nodes {
        match node.pack() {
            Some(pack) => {
                assert_eq!(pack.len(), node.len(), "seed {seed}");
                assert!(node.len() > 0 && node.len() <= limit.elements, "seed {seed}");
                assert!(node.len() == 1 || pack.byte_len() <= limit.fill_bytes, "seed {seed}");
            }
            None => assert!(matches!(node, Node::Large(large) if limit.is_large(large)), "seed {seed}"),
        }
    }
}

fn random_value(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0 => vec![b'z'; random.below(600)],
        1 => vec![b'y'; 4000 + random.below(300)],
        2..=4 => random.below(100_000).to_string().into_bytes(),
        _ => vec![b'a' + random.below(4) as u8; random.below(30)],
    }
}

#[test]
fn agrees_with_a_vector_under_random_operations() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let limit = NodeLimit::new([-1, -2, 1, 2, 5, 64][random.below(6)]);
        let (mut list, mut model) = (Quicklist::new(), Vec::<Vec<u8>>::new());
        for _ in 0..400 {
            step(&mut random, &mut list, &mut model, limit);
            assert_eq!(list.len(), model.len(), "seed {seed}");
            if random.below(10) == 0 {
                assert_same(&list, &model, limit, seed);
            }
        }
        assert_same(&list, &model, limit, seed);
        assert_eq!(contents(&list.clone()), model, "seed {seed}");
    }
}

fn place_of(list: &Quicklist, index: usize) -> Place {
    list.iter_from(index, Side::Right).next_with_place().expect("there is such an element").0
}

fn step(random: &mut Random, list: &mut Quicklist, model: &mut Vec<Vec<u8>>, limit: NodeLimit) {
    let value = random_value(random);
    let side = [Side::Left, Side::Right][random.below(2)];
    let index = random.below(model.len().max(1));
    match random.below(if model.is_empty() { 3 } else { 12 }) {
        0..=2 => {
            list.push(side, entry(&value), limit);
            model.insert(if side == Side::Left { 0 } else { model.len() }, value);
        }
        3..=5 => {
            list.insert(place_of(list, index), side, entry(&value), limit);
            model.insert(index + usize::from(side == Side::Right), value);
        }
        6 | 7 => {
            list.replace(place_of(list, index), entry(&value), limit);
            model[index] = value;
        }
        8 => {
            list.remove_end(side);
            model.remove(if side == Side::Left { 0 } else { model.len() - 1 });
        }
        9 => {
            let many = [200, 10, 10, 10][random.below(4)];
            let count = random.below(many);
            let end = (index + count).min(model.len());
            assert_eq!(list.remove_range(index, count, limit), model.drain(index..end).count());
        }
        10 => remove_equal(random, list, model, limit),
        _ => {
            let right: Vec<_> = list.iter_from(index, Side::Right).map(|entry| entry.to_vec()).collect();
            assert_eq!(right, model[index..]);
            let left: Vec<_> = list.iter_from(index, Side::Left).map(|entry| entry.to_vec()).collect();
            assert!(left.iter().eq(model[..=index].iter().rev()));
            assert!(list.iter_from(model.len(), side).next().is_none());
        }
    }
}

fn remove_equal(random: &mut Random, list: &mut Quicklist, model: &mut Vec<Vec<u8>>, limit: NodeLimit) {
    let wanted = model[random.below(model.len())].clone();
    let max = [1, 2, usize::MAX][random.below(3)];
    let from = [Side::Left, Side::Right][random.below(2)];
    let equal: Vec<usize> = (0..model.len()).filter(|&index| model[index] == wanted).collect();
    let count = max.min(equal.len());
    let gone = if from == Side::Left { &equal[..count] } else { &equal[equal.len() - count..] };
    for &index in gone.iter().rev() {
        model.remove(index);
    }
    assert_eq!(list.remove_equal(Element::from(&wanted[..]), max, from, limit), count);
}

/// Reads up to so many of the next elements.
fn read_some(frozen: &mut FrozenList, most: usize) -> Vec<Vec<u8>> {
    let mut left = most;
    let takes = |_: &Entry<'_>| {
        left = left.wrapping_sub(1);
        left != usize::MAX
    };
    frozen.next(takes, |entries| entries.iter().map(Entry::to_vec).collect())
}

#[test]
fn a_frozen_list_stays_as_it_was() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let limit = NodeLimit::new([-1, -2, 1, 5, 64][random.below(5)]);
        let (mut list, mut model) = (Quicklist::new(), Vec::<Vec<u8>>::new());
        let mut frozen: Vec<(FrozenList, Vec<Vec<u8>>)> = Vec::new();
        for _ in 0..400 {
            step(&mut random, &mut list, &mut model, limit);
            if random.below(20) == 0 {
                frozen.push((list.freeze(), model.clone()));
                assert_same(&list, &model, limit, seed);
            }
            for (frozen, before) in &mut frozen {
                let most = random.below(4) * random.below(10);
                let some = read_some(frozen, most);
                assert_eq!(some, before.drain(..most.min(before.len())).collect::<Vec<_>>(), "seed {seed}");
                assert_eq!(frozen.is_empty(), before.is_empty(), "seed {seed}");
            }
        }
        assert_same(&list, &model, limit, seed);
        frozen.iter_mut().for_each(|(frozen, before)| assert_eq!(&read_some(frozen, usize::MAX), before));
    }
}

#[test]
fn a_change_copies_what_it_touches_of_a_frozen_list_only() {
    let limit = NodeLimit::new(-1);
    let mut list = Quicklist::new();
    (0..100_000).for_each(|number| list.push(Side::Right, Entry::Int(number), limit));
    let mut frozen = list.freeze();
    let shared = |list: &Quicklist| list.nodes.iter().filter(|node| matches!(node, Node::Shared(..))).count();
    let nodes = list.nodes_len();
    assert_eq!(shared(&list), nodes);
    list.push(Side::Left, Entry::Int(-1), limit);
    list.push(Side::Right, Entry::Int(-1), limit);
    assert_eq!((shared(&list), list.nodes_len()), (nodes - 1, nodes + 1), "a full node gets a new neighbour");
    list.remove_equal(Element::Int(50_000), 1, Side::Left, limit);
    assert_eq!(shared(&list), nodes - 2);
    assert_eq!(read_some(&mut frozen, usize::MAX).len(), 100_000);
}

#[test]
fn nodes_are_filled_to_their_limit_and_no_further() {
    for (directive, bytes) in [(-1, 4096), (-2, 8192), (-3, 16_384), (-4, 32_768), (-5, 65_536), (-99, 65_536)] {
        let limit = NodeLimit::new(directive);
        assert_eq!((limit.bytes, limit.by_elements()), (bytes, false));
        for side in [Side::Left, Side::Right] {
            let mut list = Quicklist::new();
            for number in 0..100_000i64 {
                list.push(side, Entry::Int(number), limit);
            }
            let full = list.nodes.iter().filter(|node| node.memory_bytes() == bytes).count();
            assert_eq!(full, list.nodes_len() - 1, "{directive}");
        }
    }
    let mut list = Quicklist::new();
    for number in 0..10 {
        list.push(Side::Right, Entry::Int(number), NodeLimit::new(3));
    }
    assert_eq!(list.nodes_len(), 4);
    assert_eq!(NodeLimit::new(0).elements, 1);
}

#[test]
fn small_neighbours_are_joined_after_removals() {
    let limit = NodeLimit::new(-2);
    let mut list = Quicklist::new();
    for number in 0..100_000 {
        list.push(Side::Right, Entry::Int(i64::from(number % 100 != 0)), limit);
    }
    assert!(list.nodes_len() > 20);
    assert_eq!(list.remove_equal(Element::Int(1), usize::MAX, Side::Right, limit), 99_000);
    assert_eq!((list.len(), list.nodes_len()), (1000, 1));
    list.remove_range(1, 998, limit);
    assert_eq!((list.len(), list.nodes_len()), (2, 1));
}

#[test]
fn large_elements_are_shared_not_copied() {
    let limit = NodeLimit::new(-2);
    let mut list = Quicklist::new();
    list.push(Side::Right, entry(&[b'x'; 10_000]), limit);
    list.push(Side::Right, entry(b"small"), limit);
    let Some(Entry::Large(large)) = list.iter_from(0, Side::Right).next() else { panic!("not large") };
    let owned = Entry::Large(large).to_owned();
    let Entry::Large(again) = owned.as_entry() else { panic!("not large") };
    assert_eq!(again.as_ptr(), large.as_ptr());
    assert_eq!((list.nodes_len(), size_of::<Node>()), (2, 16));
}
