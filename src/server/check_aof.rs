//! `crimson check-aof`: tells the state of every file of a log on the standard output, with a progress bar on the standard
//! error where that is a terminal, and repairs what it was asked to.

use crate::config::check_aof::CheckAof;
use crate::persistence::aof::check::{self, Location, Report};
use crate::persistence::aof::{Damage, Entry, Manifest, Origin, Verdict};
use crate::persistence::storage::{RealStorage, Storage};
use crate::stdx::os;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

/// Runs it.
pub fn run(asked: &CheckAof) -> ExitCode {
    match (Check { asked, storage: &RealStorage }).run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A line on the standard output. Who no longer reads it still wants the rest done.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// No server may use the log while it is repaired.
fn keep_servers_away(location: &Location) -> Result<File, String> {
    let failed = |error: io::Error| format!("{}: {}", location.dir.display(), os::error_text(&error));
    let dir = File::open(&location.dir).map_err(failed)?;
    match os::lock(&dir) {
        Ok(true) => Ok(dir),
        Ok(false) => Err(format!("{}: the log is in use by a server, which must end first", location.dir.display())),
        Err(error) => Err(failed(error)),
    }
}

/// How good a log or a file of it is now; the worst of all files is the log's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Good,
    /// Its end is torn: a server cuts that off at its start (`aof-load-truncated`).
    Torn,
    Bad,
}

struct Check<'a> {
    asked: &'a CheckAof,
    storage: &'a dyn Storage,
}

impl Check<'_> {
    /// Whether the log is whole now.
    fn run(&self) -> Result<bool, String> {
        let location = check::locate(self.storage, &self.asked.dir)?;
        let _lock = if self.asked.fix { Some(keep_servers_away(&location)?) } else { None };
        let mut manifest = location.open(self.storage)?;
        print(&title(&location, &manifest));
        let bar = self.progress_bar(&location, &manifest);
        let mut health = Health::Good;
        for shard in 0..manifest.shards {
            let entries: Vec<Entry> = manifest.of_shard(shard).into_iter().cloned().collect();
            for entry in entries {
                health = health.max(self.file(&location, &mut manifest, &entry, &bar)?);
            }
        }
        bar.finish_and_clear();
        print(match health {
            Health::Good => "The log is good.",
            Health::Torn => {
                "The log can be loaded without its torn end, which a server cuts off at its start; with aof-load-truncated \
                 'no' it cannot be loaded as it is."
            }
            Health::Bad => "The log cannot be loaded as it is.",
        });
        Ok(health == Health::Good)
    }

    /// Checks one file and repairs it if that was asked for; how good it is now.
    fn file(
        &self,
        location: &Location,
        manifest: &mut Manifest,
        entry: &Entry,
        bar: &ProgressBar,
    ) -> Result<Health, String> {
        let tell = |text: String| bar.suspend(|| print(&format!("  {}: {text}", entry.name)));
        let failed = |error: io::Error| format!("{}: {}", entry.name, os::error_text(&error));
        bar.set_message(entry.name.clone());
        let report = match check::check(self.storage, &location.dir, manifest, entry, &mut |bytes| bar.inc(bytes)) {
            Ok(report) => report,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tell("missing".into());
                return Ok(Health::Bad);
            }
            Err(error) => return Err(failed(error)),
        };
        tell(state(&report, manifest.origin));
        let truncate = self.asked.truncate_at_corruption;
        let (damage, wanted, flags, health) = match report.verdict {
            Verdict::Good => return Ok(Health::Good),
            Verdict::Cut(damage) => (damage, self.asked.fix, "--fix", Health::Torn),
            Verdict::OutOfOrder(damage) => (damage, self.asked.fix, "--fix", Health::Bad),
            Verdict::Refuse(damage) => (damage, truncate, "--fix --truncate-at-corruption", Health::Bad),
        };
        if !damage.may_be_cut() {
            return Ok(health);
        }
        if !wanted {
            tell(format!("{flags} would cut it there: {}", loss(&damage)));
            return Ok(health);
        }
        let told = self.repair(location, manifest, entry, &damage).map_err(failed)?;
        tell(told);
        Ok(Health::Good)
    }

    /// Cuts a file, and sets its length right in the manifest; what to tell.
    fn repair(
        &self,
        location: &Location,
        manifest: &mut Manifest,
        entry: &Entry,
        damage: &Damage,
    ) -> io::Result<String> {
        let mut told = format!("cut at {}: {}", damage.at, loss(damage));
        if damage.bytes > 0 {
            let kept = check::cut(self.storage, &location.dir, &entry.name, damage)?;
            told += &format!("; what was cut off is in {}", kept.display());
        }
        let listed = manifest.files.iter_mut().find(|file| file.name == entry.name).expect("it is from the manifest");
        if listed.bytes.is_some_and(|bytes| bytes != damage.at) {
            listed.bytes = Some(damage.at);
            manifest.store(self.storage, &location.dir, &location.filename)?;
        }
        Ok(told)
    }

    /// A bar over the bytes of all files; it does not show where the standard error is no terminal.
    fn progress_bar(&self, location: &Location, manifest: &Manifest) -> ProgressBar {
        let len = |entry: &Entry| self.storage.len(&location.dir.join(&entry.name)).unwrap_or(0);
        let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {binary_bytes_per_sec} {eta} left  {msg}");
        ProgressBar::new(manifest.files.iter().map(len).sum()).with_style(style.expect("a template that is understood"))
    }
}

fn title(location: &Location, manifest: &Manifest) -> String {
    let path = match &location.manifest {
        Some(name) => location.dir.join(name),
        None => location.dir.join(&location.filename),
    };
    let path = path.display();
    match manifest.origin {
        Origin::Redis => format!("{path}: a log of Redis, {} files", manifest.files.len()),
        Origin::Crimson => {
            let (shards, generation) = (manifest.shards, manifest.generation());
            format!("{path}: {shards} shards, generation {generation}, {} files", manifest.files.len())
        }
    }
}

/// What was found in a file.
fn state(report: &Report, origin: Origin) -> String {
    let contents = match origin {
        Origin::Crimson => format!("{} batches, {} records", report.batches, report.records),
        Origin::Redis => format!("{} records", report.records),
    };
    match report.verdict {
        Verdict::Good => format!("good, {} bytes, {contents}", report.bytes),
        Verdict::Cut(damage) => {
            let Damage { at, bytes, .. } = damage;
            format!("torn at {at}: the last {bytes} of {} bytes are not whole; {contents} before", report.bytes)
        }
        Verdict::OutOfOrder(damage) | Verdict::Refuse(damage) => {
            let Damage { at, noticed_at, reason, found, .. } = damage;
            let behind = match found.batches {
                0 => "nothing good behind".into(),
                batches => format!("{batches} good batches behind, the first at {}", found.first),
            };
            let seen = if noticed_at == at { String::new() } else { format!(" (seen at {noticed_at})") };
            format!("corrupt at {at}{seen}: {reason}; {} bytes, {contents} before, {behind}", report.bytes)
        }
    }
}

/// What cutting loses.
fn loss(damage: &Damage) -> String {
    match damage.found.batches {
        0 => format!("{} bytes lost", damage.bytes),
        batches => format!("{} bytes lost, {batches} good batches among them", damage.bytes),
    }
}
