//! Random sequences against the oracle. `ORACLE_SEED` and `ORACLE_CASES` repeat or prolong a run; a failure prints its
//! seed and the shortest failing sequence as lines for redis-cli.

use crate::generate::{Command, FAMILIES, Family, Gen};
use crate::run::{Failure, Mode, Pair};
use crate::shrink::shrink;
use crate::support::Server;
use crate::support::client::line;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Sequences a family runs unless `ORACLE_CASES` says otherwise.
const CASES: u64 = 800;

/// Commands of a sequence.
const COMMANDS: usize = 60;

/// Failures after which a run ends.
const FAILURES_MAX: usize = 12;

/// Shards of the subjects.
const SHARDS: [usize; 2] = [1, 4];

/// How all servers are started: DEBUG is among the commands.
const ARGUMENTS: &[&str] = &["--enable-debug-command", "yes"];

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number")))
}

/// What a case is, made from its seed alone.
struct Case {
    seed: u64,
    commands: Vec<Command>,
    protocol: u8,
    mode: Mode,
}

impl Case {
    fn new(seed: u64, family: Option<Family>) -> Self {
        let mut g = Gen::new(seed);
        let commands = (0..COMMANDS).map(|_| {
            // A third of the commands come from other families, so that types meet.
            let mixed = family != Some(Family::Transactions) && g.chance(33);
            let family = family.filter(|_| !mixed).unwrap_or_else(|| g.pick(&FAMILIES));
            g.command(family)
        });
        let commands = commands.collect();
        let protocol = if seed.is_multiple_of(2) { 2 } else { 3 };
        let mode = if seed % 4 < 2 { Mode::OneByOne } else { Mode::Pipelined };
        Self { seed, commands, protocol, mode }
    }
}

fn run_cases(family: Option<Family>) {
    let base = number_from("ORACLE_SEED", 1) + family.map_or(0, |family| (family as u64 + 1) << 32);
    let cases = number_from("ORACLE_CASES", CASES);
    let oracle = Server::redis(ARGUMENTS);
    let mut subjects: Vec<(usize, Server)> =
        SHARDS.iter().map(|&shards| (shards, Server::subject(shards, ARGUMENTS))).collect();
    let started = Instant::now();
    // The first failure of each command: one that fails always must not hide the others.
    let mut failed: BTreeMap<String, String> = BTreeMap::new();
    for seed in base..base + cases {
        let case = Case::new(seed, family);
        for (shards, subject) in &mut subjects {
            if let Err(failure) = run_case(&oracle, subject, &case, &case.commands) {
                let seen = failed.len();
                let entry = failed.entry(failure.command_name());
                entry.or_insert_with(|| explain(&oracle, subject, *shards, &case, failure));
                if failed.len() > seen && !subject.is_alive() {
                    *subject = Server::subject(*shards, ARGUMENTS);
                }
            }
        }
        if failed.len() >= FAILURES_MAX {
            break;
        }
    }
    println!("{cases} sequences of {COMMANDS} commands in {:.1} s", started.elapsed().as_secs_f64());
    let texts: Vec<String> = failed.into_values().collect();
    assert!(texts.is_empty(), "{} commands fail:\n{}", texts.len(), texts.join("\n"));
}

fn run_case(oracle: &Server, subject: &Server, case: &Case, commands: &[Command]) -> Result<(), Failure> {
    Pair::connect(oracle, subject, case.protocol)?.run(commands, case.mode)
}

/// Shrinks the failing case and describes it.
fn explain(oracle: &Server, subject: &mut Server, shards: usize, case: &Case, first: Failure) -> String {
    let mut last = first;
    let wanted = last.command_name();
    let commands = shrink(&case.commands, Duration::from_secs(40), |commands| {
        if !subject.is_alive() || matches!(last, Failure::Broken { .. }) {
            *subject = Server::subject(shards, ARGUMENTS);
        }
        match run_case(oracle, subject, case, commands) {
            // Another failure of the same sequence is another finding.
            Err(failure) if failure.command_name() == wanted => {
                last = failure;
                true
            }
            _ => false,
        }
    });
    let mut text = format!(
        "\nseed {} ({} shards, RESP{}, {:?}) fails with these commands:\n\n",
        case.seed, shards, case.protocol, case.mode
    );
    for command in &commands {
        writeln!(text, "    {}", line(command)).expect("a String takes text");
    }
    match last {
        Failure::Differs(difference) => {
            let (oracle, subject) = (&difference.oracle, &difference.subject);
            let (mut theirs, mut ours) = (oracle.to_string(), subject.to_string());
            if theirs == ours {
                (theirs, ours) = (format!("{oracle:?}"), format!("{subject:?}"));
            }
            write!(text, "\n{}\n  oracle:  {theirs}\n  subject: {ours}\n", line(&difference.command))
        }
        Failure::Broken { server, command, error } => {
            write!(text, "\n{}\n  the {server} fails: {error}\n  its log:\n{}\n", line(&command), subject.log())
        }
    }
    .expect("a String takes text");
    text
}

#[test]
fn strings() {
    run_cases(Some(Family::Strings));
}

#[test]
fn lists() {
    run_cases(Some(Family::Lists));
}

#[test]
fn sets() {
    run_cases(Some(Family::Sets));
}

#[test]
fn hashes() {
    run_cases(Some(Family::Hashes));
}

#[test]
fn keys() {
    run_cases(Some(Family::Keys));
}

#[test]
fn connections() {
    run_cases(Some(Family::Connection));
}

#[test]
fn transactions() {
    run_cases(Some(Family::Transactions));
}

#[test]
fn all_families() {
    run_cases(None);
}
