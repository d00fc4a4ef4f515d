//! Segments that have lost their tails: recovery makes each transaction over several shards whole or nothing.
//!
//! Two keys on different shards are only ever written together, with the same value; elements only move between lists. So
//! whatever is lost, the two are equal, and no element is there twice or gone.

use crate::digest::{self, Digest};
use crate::generate::{Command, cmd};
use crate::segment::{self, Segment};
use crate::world::World;
use crimson::persistence::aof::Stamps;
use crimson::shard::{Router, ShardId};
use crimson::stdx::random::Random;
use std::collections::BTreeSet;

const PAIRS: usize = 3;
const ELEMENTS: usize = 20;

/// A name on each shard: nothing between two of them is of one shard alone.
fn one_on_each(kind: &str, shards: usize) -> Vec<String> {
    let router = Router::new(shards as u16);
    let on = |shard: usize| {
        let name = |number: usize| format!("{kind}{number}");
        (0..).map(name).find(|name| router.shard_of(name.as_bytes()).index() == shard).expect("some name is there")
    };
    (0..shards).map(on).collect()
}

/// Writes or removes keys on two shards or more, which are never written otherwise.
fn some_of_each(random: &mut Random, value: String, shards: usize) -> Vec<Command> {
    let mut names = one_on_each("c", shards);
    while names.len() > 2 && random.below(2) == 0 {
        names.remove(random.below(names.len()));
    }
    if random.below(6) == 0 {
        return vec![[vec!["DEL".into()], names.into_iter().map(String::into_bytes).collect()].concat()];
    }
    let pairs = names.into_iter().flat_map(|name| [name.into_bytes(), value.clone().into_bytes()]);
    vec![[b"MSET".to_vec()].into_iter().chain(pairs).collect()]
}

fn program(random: &mut Random, count: &mut u64, lists: &[String]) -> Vec<Command> {
    *count += 1;
    let pair = random.below(PAIRS);
    let [a, b] = ["a", "b"].map(|half| format!("{half}{pair}"));
    let value = count.to_string();
    let side = |random: &mut Random| ["LEFT", "RIGHT"][random.below(2)];
    let (from, to) = (lists[random.below(lists.len())].clone(), lists[random.below(lists.len())].clone());
    match random.below(18) {
        12..=17 => some_of_each(random, value, lists.len()),
        0..=4 => vec![cmd!["MSET", a, value.clone(), b, value]],
        5 => vec![cmd!["DEL", a, b]],
        6 | 7 => vec![cmd!["MULTI"], cmd!["SET", a, value.clone()], cmd!["SET", b, value], cmd!["EXEC"]],
        8 => vec![cmd!["MULTI"], cmd!["DBSIZE"], cmd!["SET", a, value.clone()], cmd!["SET", b, value], cmd!["EXEC"]],
        9 if random.below(20) == 0 => vec![cmd!["FLUSHDB"]],
        9 => vec![cmd!["MSETNX", a, value.clone(), b, value]],
        _ => vec![cmd!["LMOVE", from, to, side(random), side(random)]],
    }
}

/// Loses tails and recovers; the transactions of each shard agree afterwards, and so do the keys.
pub fn transactions_are_recovered_whole(seed: u64) {
    let mut random = Random::new(seed);
    let shards = 2 + random.below(3);
    let mut world = World::new(seed, shards);
    // What is logged in pieces is on disk before anything tells of it: it is in no tail that is lost.
    world.engines.iter_mut().for_each(|engine| engine.set_staged_min(usize::MAX, usize::MAX));
    let mut count = 0;
    let lists = one_on_each("l", shards);
    let push = |element: usize| cmd!["RPUSH", lists[element % shards].clone(), format!("x{element}")];
    let mut elements = (0..ELEMENTS).map(push);
    for _ in 0..300 {
        world.turn(|_| elements.next().into_iter().collect());
    }
    world.calm();
    let kept: Vec<usize> = world.segments.iter().map(Vec::len).collect();
    for _ in 0..600 {
        world.turn(|_| program(&mut random, &mut count, &lists));
    }
    let settled = random.below(2) == 0;
    if settled {
        world.settle();
    }
    let mut segments = std::mem::take(&mut world.segments);
    let whole = segments.clone();
    // One shard at least loses nothing it has written.
    let spared = random.below(shards);
    let mut losers = 0;
    for (shard, segment) in segments.iter_mut().enumerate() {
        if shard != spared && random.below(3) > 0 {
            let lost = random.below((segment.len() - kept[shard]).min(40) + 1);
            segment.truncate(segment.len() - lost);
            losers += usize::from(lost > 0);
        }
    }
    let recovered = recover_and_check(seed, &segments, shards, losers < 2);
    if settled && losers < 2 {
        // What only such transactions have written is as it was, since the other shards have lost nothing.
        let before = recover_and_check(seed, &whole, shards, true);
        for (shard, name) in one_on_each("c", shards).into_iter().enumerate() {
            let key = (0, name.into_bytes());
            assert_eq!(recovered[shard].get(&key), before[shard].get(&key), "seed {seed}: {key:?}");
        }
    }
}

/// `alone`: at most one shard has lost anything. Where several have, a move that all its shards have lost may be followed by
/// one that is recovered.
fn recover_and_check(seed: u64, segments: &[Segment], shards: usize, alone: bool) -> Vec<Digest> {
    let replay = |shard: usize| segment::replay(&segments[shard], ShardId(shard as u16), shards as u16);
    let replayed: Vec<_> =
        (0..shards).map(|shard| replay(shard).unwrap_or_else(|error| panic!("seed {seed}: {error}"))).collect();
    let (mut data, mut replays): (Vec<_>, Vec<_>) = replayed.into_iter().unzip();
    let stamps: Vec<Stamps> = replays.iter_mut().map(|replay| std::mem::take(&mut replay.stamps)).collect();
    for missing in Stamps::missing(&stamps) {
        segment::with_transaction(&segments[usize::from(missing.has)], missing.stamp, |view| {
            for shard in missing.lack.iter().map(|shard| usize::from(*shard)) {
                replays[shard].complete(&mut data[shard], view).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            }
        });
    }
    let digests: Vec<_> = data.into_iter().map(digest::of).collect();
    let router = Router::new(shards as u16);
    let value = |key: &str| {
        let owner = router.shard_of(key.as_bytes()).index();
        digests[owner].get(&(0, key.as_bytes().to_vec())).map(|(value, _)| value.clone())
    };
    for pair in 0..PAIRS {
        let (a, b) = (value(&format!("a{pair}")), value(&format!("b{pair}")));
        assert_eq!(a, b, "seed {seed}: pair {pair}");
    }
    let mut found: Vec<String> = Vec::new();
    for list in one_on_each("l", shards).iter().filter_map(|list| value(list)) {
        let items = list.trim_start_matches("list [").trim_end_matches(']');
        found.extend(items.split(", ").map(str::to_string));
    }
    found.sort();
    let distinct = found.iter().collect::<BTreeSet<_>>().len();
    // All of them, or none where a FLUSHDB was among the transactions.
    assert!(distinct == ELEMENTS || distinct == 0, "seed {seed}: elements are gone: {found:?}");
    assert!(!alone || distinct == found.len(), "seed {seed}: elements are there twice: {found:?}");
    digests
}
