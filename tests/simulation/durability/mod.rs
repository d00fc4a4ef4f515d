//! The log under power failures and kills: servers with logs on a simulated disk, clients that remember what they were
//! told, and a look at what is there after every new start.
//!
//! When the server is killed, nothing that was acknowledged may be gone. When the power fails, nothing with `always`, with
//! `everysec` only what was acknowledged in the last second;
//! a transaction over several shards is there on all or on none, what was removed stays so, and what one client has done
//! to one key is there up to some point of it. Meanwhile the log is rewritten, and the disk fills up and fails. Without
//! syncs (`no`) nothing need be there, until that is changed to `always`: then all.
//!
//! - `machine`   a server whose cores write their logs to the disk
//! - `recovery`  its start
//! - `clients`   what they ask
//! - `memory`    what they remember, and the judgement

mod clients;
mod machine;
mod memory;
mod recovery;

use super::disk::Disk;
use super::world::{each_seed, timeless};
use clients::Clients;
use crimson::config::{Config, Fsync};
use crimson::persistence::storage::Storage;
use crimson::stdx::random::Random;
use machine::{Fault, Machine};
use recovery::{DIR, Stop};
use std::path::Path;

/// How long it takes at most, beside the second, until what was to be synced is.
const SLACK_MS: i64 = 1500;

/// What has happened in runs.
#[derive(Default, Debug)]
struct Tally {
    answered: u64,
    starts: u64,
    power_failures: u64,
    kills: u64,
    kills_failing: u64,
    failures_at_start: u64,
    syncs_failed_at_start: u64,
    repairs: u64,
    rewrites: u64,
    failures: u64,
    gaps_mended: u64,
}

/// A run of servers one after another, on one disk.
struct Run<'a> {
    disk: &'a Disk,
    random: Random,
    config: Config,
    clients: Clients,
    cores: usize,
    now: i64,
    fault: Option<Fault>,
    /// Whether the policy changes.
    changes: bool,
    /// Whether a server whose log fails may be killed, without a power failure.
    kills_failing: bool,
    /// Whether all that was acknowledged must be there.
    exact: bool,
    /// Up to when what was acknowledged must be there, and whether all of it, if the power fails.
    promised: (i64, bool),
    /// Whether what was not synced may have survived a power failure out of order.
    disordered: bool,
    tally: &'a mut Tally,
}

fn run(seed: u64, fault: Option<Fault>, tally: &mut Tally) -> Result<(), String> {
    let mut random = Random::new(seed ^ 0xD15C);
    let disk = Disk::new(seed);
    disk.create_dir(Path::new(DIR)).and_then(|()| disk.sync_dir(Path::new("/"))).expect("nothing fails yet");
    let appendfsync =
        [Fsync::Always, Fsync::Always, Fsync::EverySecond, Fsync::EverySecond, Fsync::No][random.below(5)];
    let config = timeless(Config { dir: DIR.into(), appendonly: true, appendfsync, ..Config::default() });
    let clients = Clients::new(2 + random.below(5));
    let cores = 1 + random.below(4);
    let changes = appendfsync == Fsync::No && random.below(2) == 0;
    let (now, exact, promised) = (1_700_000_000_000, true, (i64::MAX, true));
    let disordered = false;
    let kills_failing = seed.is_multiple_of(2);
    let mut run = Run {
        disk: &disk,
        random,
        config,
        clients,
        cores,
        now,
        fault,
        changes,
        kills_failing,
        exact,
        promised,
        disordered,
        tally,
    };
    let mut safe_ms = i64::MAX;
    for _ in 0..2 + run.random.below(3) {
        let mut machine = run.start(&mut safe_ms)?;
        run.look(&mut machine, safe_ms).map_err(|reason| format!("{appendfsync:?}: {reason}"))?;
        safe_ms = run.serve(machine)?;
    }
    let mut machine = run.start(&mut safe_ms)?;
    run.look(&mut machine, safe_ms).map_err(|reason| format!("{appendfsync:?}: {reason}"))
}

impl<'a> Run<'a> {
    /// Starts a server; the power may fail a few times meanwhile. Then no more is there than is promised for that.
    fn start(&mut self, safe_ms: &mut i64) -> Result<Machine<'a>, String> {
        if self.random.below(5) == 0 {
            self.cores = 1 + self.random.below(4);
        }
        loop {
            if self.random.below(3) == 0 {
                self.disk.fail_power_after(self.random.below(25) as u64);
            }
            if self.kills_failing && self.random.below(5) == 0 {
                self.disk.fail_sync_after(self.random.below(8) as u64);
            }
            let fails = self.disk.will_fail_a_sync();
            self.now += 1;
            let seed = self.random.next_u64() >> 1;
            match recovery::start(self.disk, &self.config, self.cores, seed, self.now, self.fault) {
                Ok(machine) => {
                    self.tally.starts += 1;
                    self.disk.heal();
                    return Ok(machine);
                }
                // It ends there, and what it has written is in memory.
                Err(Stop::Refused(_)) if fails && !self.disk.will_fail_a_sync() => {
                    self.tally.syncs_failed_at_start += 1
                }
                Err(Stop::Refused(reason)) => return Err(format!("the log cannot be loaded: {reason}")),
                Err(Stop::OutOfOrder(path, damage)) => {
                    if !self.disordered {
                        return Err(format!("{} is out of order: {damage:?}", path.display()));
                    }
                    self.disk.heal();
                    recovery::repair(self.disk, &path, &damage).expect("nothing fails");
                    self.tally.repairs += 1;
                }
                Err(Stop::Off) => {
                    self.tally.failures_at_start += 1;
                    (*safe_ms, self.exact) = self.promised;
                    self.disk.restart();
                    self.disordered |= self.writes_unsynced();
                }
            }
        }
    }

    /// Whether anything is written that is not on disk before the next write: only that can survive out of order.
    fn writes_unsynced(&self) -> bool {
        self.config.appendfsync != Fsync::Always || self.changes
    }

    /// Looks at what is there after a start.
    fn look(&mut self, machine: &mut Machine<'_>, safe_ms: i64) -> Result<(), String> {
        let found = self.clients.look(machine)?.expect("nothing fails");
        self.clients.memory.judge(&found, safe_ms, self.exact)?;
        if self.exact {
            self.clients.memory.judge_ends(&found)?;
        }
        self.clients.memory.accept(&found, self.clients.tick);
        Ok(())
    }

    /// Serves until the end; up to when all that was acknowledged must be there afterwards.
    fn serve(&mut self, mut machine: Machine<'_>) -> Result<i64, String> {
        let steps = 50 + self.random.below(1500);
        if self.random.below(2) == 0 {
            self.disk.fail_power_after(self.random.below(300) as u64);
        }
        let fails = self.random.below(if self.kills_failing { 2 } else { 3 }) == 0;
        for _ in 0..steps {
            if self.random.below(200) == 0 {
                machine.world.engine(0).node().request_rewrite();
            }
            if fails && self.random.below(100) == 0 {
                match self.random.below(if self.kills_failing { 7 } else { 4 }) {
                    0 => self.disk.fail_write_after(self.random.below(5) as u64),
                    2 => self.disk.set_space(self.random.below(500) as u64),
                    3 => self.disk.set_space(u64::MAX),
                    _ => self.disk.fail_sync_after(self.random.below(5) as u64),
                }
            }
            if self.changes && self.random.below(200) == 0 {
                let changed = if self.config.appendfsync == Fsync::No { Fsync::Always } else { Fsync::No };
                self.config.appendfsync = changed;
                machine.set_policy(changed);
                if changed == Fsync::Always && self.random.below(2) == 0 {
                    // Of what was written and not kept.
                    self.disk.fail_sync_after(self.random.below(2) as u64);
                }
            }
            self.clients.step(&mut machine, true)?;
            let is_failing = self.kills_failing && machine.failing_since().is_some();
            if machine.is_off || is_failing && self.random.below(15) == 0 {
                break;
            }
        }
        self.now = machine.world.now;
        let node = machine.world.engine(0).node().clone();
        self.tally.rewrites += node.persistence.rewrites.load(std::sync::atomic::Ordering::Relaxed);
        self.tally.failures += u64::from(machine.has_failed);
        self.tally.gaps_mended += machine.mended;
        self.exact = machine.keeps_all();
        let safe_ms = match self.config.appendfsync {
            _ if self.exact => i64::MAX,
            Fsync::EverySecond => machine.failing_since().unwrap_or(self.now).min(self.now) - 1000 - SLACK_MS,
            _ => i64::MIN,
        };
        // What the disk has not taken is in the memory of the machine as if it had, also behind the next start: only a
        // power failure shows it.
        let power = machine.is_off || machine.has_failed && !self.kills_failing || self.random.below(2) == 0;
        self.tally.kills_failing += u64::from(machine.failing_since().is_some() && !power);
        // Whatever the policy, the machine has all that was acknowledged when only the process ends.
        self.promised = (safe_ms, self.exact);
        self.exact |= !power;
        let safe_ms = if power { safe_ms } else { i64::MAX };
        if power {
            drop(machine);
            self.tally.power_failures += 1;
        } else {
            machine.kill();
            self.tally.kills += 1;
        }
        self.disk.heal();
        if power {
            self.disk.restart();
        }
        self.disordered |= power && self.writes_unsynced();
        self.clients.disconnected();
        self.tally.answered = self.clients.answered.max(self.tally.answered);
        Ok(safe_ms)
    }
}

/// Runs of the test that looks for faults of the server. Planted faults must be found in no more, most of them.
const SEEDS: u64 = 60;

#[test]
fn what_was_acknowledged_survives() {
    let mut tally = Tally::default();
    each_seed(SEEDS, |seed| {
        if let Err(reason) = run(seed, None, &mut tally) {
            panic!("{reason}\n{tally:?}");
        }
    });
    println!("{tally:?}");
}

/// A BLPOP over two shards was logged on its own shard behind a write that had failed, and answered when the other shard
/// had its keys back.
#[test]
fn what_a_failed_log_has_of_a_transaction_is_not_acknowledged_later() {
    run(517, None, &mut Tally::default()).expect("all that was acknowledged is there");
}

/// A judge that finds nothing proves nothing: each of these faults must be noticed.
fn is_noticed(fault: Fault) {
    is_noticed_in(SEEDS, fault);
}

fn is_noticed_in(seeds: u64, fault: Fault) {
    let finds =
        |seed| std::panic::catch_unwind(|| run(seed, Some(fault), &mut Tally::default())).is_ok_and(|run| run.is_err());
    assert!((0..seeds).any(finds), "{fault:?} has gone unnoticed");
}

#[test]
fn replies_that_do_not_wait_for_the_log_are_noticed() {
    is_noticed(Fault::NotHeld);
}

#[test]
fn transactions_that_a_shard_does_not_log_are_noticed() {
    is_noticed(Fault::LostRecord);
}

#[test]
fn transactions_that_are_not_completed_are_noticed() {
    is_noticed(Fault::NotCompleted);
}

#[test]
fn syncs_that_do_nothing_are_noticed() {
    is_noticed(Fault::NoSync);
}

#[test]
fn gaps_that_are_not_mended_are_noticed() {
    is_noticed(Fault::NotMended);
}

#[test]
fn transactions_before_their_values_are_noticed() {
    // Few power failures come just then.
    is_noticed_in(10 * SEEDS, Fault::StagedEarly);
}

#[test]
fn what_a_start_only_syncs_after_a_failed_sync_is_noticed() {
    // Few kills come just then.
    is_noticed_in(10 * SEEDS, Fault::NotWrittenAgain);
}

#[test]
fn replies_that_tell_of_a_failed_write_are_noticed() {
    is_noticed(Fault::NotDropped);
}
