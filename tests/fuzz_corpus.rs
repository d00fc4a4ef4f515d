//! The fuzz targets as an ordinary test: every seed, and a bounded number of random changes of it. What the fuzzer finds
//! is kept as a seed, so that it is tried again here for ever.
//!
//! `FUZZ_SEED` and `FUZZ_ROUNDS` repeat or prolong a run.

#[path = "../fuzz/targets.rs"]
mod targets;

use crimson::stdx::random::Random;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use targets::{TARGETS, Target};

/// Changed inputs of a target unless `FUZZ_ROUNDS` says otherwise.
const ROUNDS: u64 = 20_000;

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number")))
}

fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(&dir).into_iter().flatten().flatten().map(|file| file.path()).collect();
    paths.sort();
    let read = |path: PathBuf| fs::read(&path).map(|bytes| (path, bytes)).expect("a readable seed");
    let seeds: Vec<_> = paths.into_iter().map(read).collect();
    assert!(!seeds.is_empty(), "{} has no seeds", dir.display());
    seeds
}

/// Bytes that mean something to most of the targets.
const LIKELY: &[u8] = b"*$:+-_0123456789\r\n \"'\\x[]^?\0\x01\x7f\x80\xf1\xf4\xff";

fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(7) {
        0 if at < bytes.len() => bytes[at] = LIKELY[random.below(LIKELY.len())],
        1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 if at < bytes.len() => drop(bytes.remove(at)),
        3 => bytes.truncate(at),
        4 => {
            let piece = bytes[at..].iter().copied().take(1 + random.below(20)).collect::<Vec<u8>>();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, piece);
        }
        _ => bytes.insert(
            at,
            if random.below(2) == 0 { LIKELY[random.below(LIKELY.len())] } else { random.next_u64() as u8 },
        ),
    }
}

fn run(name: &str, target: Target, input: &[u8], from: &str) {
    if catch_unwind(|| target(input)).is_err() {
        panic!("target {name} fails on {from}:\n  {}", input.escape_ascii());
    }
}

fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name");
    let seeds = seeds(name);
    for (path, bytes) in &seeds {
        run(name, *target, bytes, &path.display().to_string());
    }
    let (seed, rounds) = (number_from("FUZZ_SEED", 1), number_from("FUZZ_ROUNDS", ROUNDS));
    let mut random = Random::new(seed);
    for round in 0..rounds {
        let mut input = seeds[random.below(seeds.len())].1.clone();
        for _ in 0..1 + random.below(8) {
            change(&mut input, &mut random);
        }
        run(name, *target, &input, &format!("round {round} of seed {seed}"));
    }
}

macro_rules! replays {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),*];
            for (name, _) in TARGETS {
                assert!(replayed.contains(name), "{name} is not replayed");
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/fuzz_targets/{name}.rs"));
                assert!(path.exists(), "{name} has no fuzz target");
            }
        }
    };
}

replays!(resp_parser, engine, words, glob, number, listpack, intset, config_file, aof_reader, aof_manifest);
