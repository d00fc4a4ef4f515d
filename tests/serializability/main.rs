//! Several engines in one thread, their messages delayed at random, and clients whose commands conflict: what they were
//! answered must be what a single-threaded server could have answered, in some order that keeps to the time each command
//! was under way (strict serializability). A seed repeats a run:
//!
//! ```text
//! SIMULATION_SEED=42 cargo test --test serializability      one run
//! SIMULATION_CASES=100000 cargo test --test serializability  as many as wanted
//! ```
//!
//! - `world`    the engines, the mail between them, the clients, and faults that can be planted into the mail
//! - `program`  what the clients send
//! - `model`    the single-threaded server
//! - `check`    the search for an order that explains all answers

mod check;
mod model;
mod program;
mod world;

use check::Verdict;
use world::{Fault, World};

fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_CASES").unwrap_or(count),
    }
}

/// One run from a seed.
fn run(seed: u64, fault: Option<Fault>) -> Result<(), String> {
    let mut world = World::new(seed, fault);
    let histories = world.run()?;
    match check::explain(&histories) {
        Verdict::Explained => Ok(()),
        Verdict::Impossible => Err(format!("no order explains these answers:\n{}", check::show(&histories))),
    }
}

#[test]
fn answers_are_those_of_one_command_after_another() {
    for seed in seeds(1500) {
        if let Err(reason) = run(seed, None) {
            panic!("SIMULATION_SEED={seed}: {reason}");
        }
    }
}

/// A checker that finds nothing proves nothing: each of these faults must be noticed.
fn is_noticed(fault: Fault) {
    // A fault may also break what the engine itself relies on.
    let passes = |seed| std::panic::catch_unwind(|| run(seed, Some(fault))).is_ok_and(|run| run.is_ok());
    let noticed = (0..3000).find(|&seed| !passes(seed));
    assert!(noticed.is_some(), "{fault:?} has gone unnoticed");
}

#[test]
fn locks_that_are_not_taken_are_noticed() {
    is_noticed(Fault::NoLocks);
}

#[test]
fn changes_that_are_stored_by_half_are_noticed() {
    is_noticed(Fault::HalfStored);
}

#[test]
fn locks_that_are_given_up_too_early_are_noticed() {
    is_noticed(Fault::EarlyUnlock);
}

#[test]
fn locks_that_are_never_given_up_are_noticed() {
    is_noticed(Fault::LostUnlock);
}
