//! What is logged, replayed: random commands of every kind on one or several engines in one thread, then their segments
//! into empty shards, which must hold the same. And what recovery makes of segments that have lost their tails. A failure
//! prints its seed; `REPLAY_SEED` runs just that one, `REPLAY_CASES` more. Beside that, tables of what every writing command
//! logs, word by word, on one shard (`words`) and on two (`apart`).

mod apart;
mod digest;
#[allow(dead_code, reason = "it also makes commands that change nothing")]
#[path = "../oracle/generate/mod.rs"]
mod generate;
mod program;
#[path = "../support/records.rs"]
mod records;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../support/reply.rs"]
mod reply;
mod segment;
mod tails;
mod words;
mod world;

use crimson::commands::{Handler, table};
use crimson::config::{Config, Eviction, EvictionPolicy};
use crimson::shard::ShardId;
use crimson::spec::Flags;
use world::World;

fn seeds(cases: u64) -> std::ops::Range<u64> {
    let read = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match read("REPLAY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..read("REPLAY_CASES").unwrap_or(cases),
    }
}

/// Runs random commands and compares; which commands have done something.
fn what_is_logged_makes_the_same(seed: u64, mut world: World) -> Vec<bool> {
    let shards = world.engines.len();
    world.run(&mut program::Program::new(seed), 1500);
    world.check_replies();
    for core in 0..shards {
        let segment = world.segment(core);
        let replayed = segment::replay(&segment, ShardId(core as u16), shards as u16);
        let (shard, _) = replayed.unwrap_or_else(|error| panic!("seed {seed}, {shards} shards, core {core}: {error}"));
        let mut shard = shard;
        let rebuilt = segment::replay(&segment::rebuild(&mut shard), ShardId(core as u16), shards as u16);
        let (live, replayed) = (world.digest(core), digest::of(shard));
        let rebuilt = digest::of(rebuilt.unwrap_or_else(|error| panic!("seed {seed}, rebuilt: {error}")).0);
        assert_eq!(rebuilt, replayed, "seed {seed}, {shards} shards, core {core}, rebuilt");
        for key in live.keys().chain(replayed.keys()) {
            if live.get(key) != replayed.get(key) {
                segment::show(&segment, &key.1);
                panic!(
                    "seed {seed}, {shards} shards, core {core}: {key:?} holds\n  {:?}, and replayed\n  {:?}",
                    live.get(key),
                    replayed.get(key)
                );
            }
        }
    }
    world.commands_done()
}

fn try_seeds(shards: usize, cases: u64) {
    let mut done = vec![false; table().entries().len()];
    let range = seeds(cases);
    let whole = range.end - range.start >= cases;
    for seed in range {
        let some = what_is_logged_makes_the_same(seed, World::new(seed, shards));
        done.iter_mut().zip(some).for_each(|(done, some)| *done |= some);
    }
    let writes = table()
        .entries()
        .iter()
        .filter(|entry| matches!(entry.row.handler, Handler::Shard(_)) && entry.row.spec.flags.contains(Flags::WRITE));
    let missed: Vec<_> = writes.filter(|entry| !done[usize::from(entry.id)]).map(|entry| entry.row.spec.name).collect();
    assert!(!whole || missed.is_empty(), "never tried: {missed:?}");
}

#[test]
fn one_shard() {
    try_seeds(1, 30);
}

#[test]
fn two_shards() {
    try_seeds(2, 30);
}

#[test]
fn several_shards() {
    try_seeds(4, 30);
}

#[test]
fn a_log_that_is_switched_off_and_on() {
    for seed in seeds(60) {
        let shards = 2 + seed as usize % 5;
        let mut world = World::new(seed, shards);
        world.switches = Some((true, shards));
        what_is_logged_makes_the_same(seed, world);
    }
}

/// Keys go for want of memory, between commands and beside transactions, on the shard that needs room and on others.
#[test]
fn what_is_evicted_is_logged() {
    let mut evicted = 0;
    for seed in seeds(60) {
        let shards = 1 + seed as usize % 4;
        let policy = EvictionPolicy::ALL[seed as usize % EvictionPolicy::ALL.len()];
        let eviction = Eviction { policy, ..Eviction::default() };
        let maxmemory = (1_000 + 200 * (seed % 20)) * shards as u64;
        let mut world = World::configured(Config { maxmemory, eviction, ..Config::default() }, seed, shards);
        world.switches = (seed % 3 == 0).then_some((true, shards));
        let metrics = world.engines[0].node().clone();
        what_is_logged_makes_the_same(seed, world);
        evicted += metrics.metrics.iter().map(|core| core.evicted_keys.get()).sum::<u64>();
    }
    assert!(evicted > 1000, "only {evicted} keys were evicted");
}

#[test]
fn tails_that_are_lost() {
    seeds(60).for_each(tails::transactions_are_recovered_whole);
}
