//! Clients whose commands conflict: what they were answered must be what a single-threaded server could have answered, in
//! some order that keeps to the time each command was under way (strict serializability); clients that wait are served in
//! their order and never sleep beside an element, messages reach whom they should, SCAN finds what is always there, all
//! are answered, and nothing is left when all have gone.
//!
//! - `program`    what the clients send
//! - `play`       how they send it, and the record of that
//! - `model`      the single-threaded server
//! - `check`      the search for an order that explains all answers
//! - `deliveries` what subscribers must have heard
//! - `tally`      what has happened in runs, so that none of it is missing unseen
//! - `faults`     faults that can be planted into the mail, and that must be found

mod check;
mod deliveries;
mod faults;
mod model;
mod play;
mod program;
mod tally;

use super::world::each_seed;
use check::Verdict;
use faults::Fault;
use play::{Past, Play};
use tally::Tally;

/// One run from a seed; whether its order was found.
fn run(seed: u64, fault: Option<Fault>) -> Result<bool, String> {
    let mut pasts = Play::new(seed, fault.map(Fault::tamper)).run()?;
    let shown = |reason: &str, pasts: &[Past]| format!("{reason}:\n{}", check::show(pasts));
    deliveries::judge(&pasts).map_err(|reason| shown(&reason, &pasts))?;
    deliveries::order_by_hearing(&mut pasts);
    match check::explain(&pasts) {
        Verdict::Explained => Ok(true),
        Verdict::Undecided => Ok(false),
        Verdict::Impossible => Err(shown("no order explains these answers", &pasts)),
    }
}

/// Runs of the test that looks for faults of the server. Planted faults must be found in no more.
const SEEDS: u64 = 1500;

#[test]
fn answers_are_those_of_one_command_after_another() {
    let (mut runs, mut undecided) = (0, 0);
    each_seed(SEEDS, |seed| {
        runs += 1;
        match run(seed, None) {
            Ok(decided) => undecided += u64::from(!decided),
            Err(reason) => panic!("{reason}"),
        }
    });
    assert!(undecided <= 1 + runs / 100, "{undecided} of {runs} runs are not decided");
}

/// What the checker is for happens in the runs.
#[test]
fn runs_are_about_what_they_should_be() {
    let mut tally = Tally::default();
    (0..SEEDS / 3).for_each(|seed| tally.add(&Play::new(seed, None).run().expect("a run without faults")));
    let rare: Vec<_> = tally.counts().into_iter().filter(|(_, count)| *count < 10).collect();
    assert!(rare.is_empty(), "{rare:?}");
}

/// A checker that finds nothing proves nothing: each of these faults must be noticed.
fn is_noticed(fault: Fault) {
    // A fault may also break what the engine itself relies on. That is not to the credit of the checker.
    let finds = |seed| std::panic::catch_unwind(|| run(seed, Some(fault))).is_ok_and(|run| run.is_err());
    assert!((0..SEEDS).any(finds), "{fault:?} has gone unnoticed");
}

macro_rules! noticed {
    ($($name:ident: $fault:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                is_noticed(Fault::$fault);
            }
        )*
    };
}

noticed! {
    locks_that_are_not_taken_are_noticed: NoLocks,
    changes_that_are_stored_by_half_are_noticed: HalfStored,
    locks_that_are_given_up_too_early_are_noticed: EarlyUnlock,
    locks_that_are_never_given_up_are_noticed: LostUnlock,
    commands_that_run_twice_are_noticed: Doubled,
    messages_that_overtake_are_noticed: Reordered,
    parts_that_run_in_the_wrong_order_are_noticed: Backwards,
    watches_that_are_lost_are_noticed: LostWatch,
    waits_that_are_lost_are_noticed: LostWait,
    wake_ups_that_are_lost_are_noticed: LostWakeUp,
    tries_in_vain_that_are_lost_are_noticed: LostTry,
    servings_that_are_lost_are_noticed: LostServing,
    ends_of_waits_that_are_lost_are_noticed: LostEndOfWait,
    publications_that_are_lost_are_noticed: LostPublication,
    publications_that_come_twice_are_noticed: DoubledPublication,
}
