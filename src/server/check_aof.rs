//! `crimson check-aof`: tells the state of every file of a log on the standard output, with a progress bar on the standard
//! error where that is a terminal, and repairs what it was asked to.

use super::aof;
use crate::config::check_aof::CheckAof;
use crate::engine::inspection::Inspection;
use crate::limits::AOF_PENDING_BYTES_MAX;
use crate::persistence::aof::check::{self, Location, Report, Visit};
use crate::persistence::aof::durable::{self, Durability, Lost};
use crate::persistence::aof::pending::{self, Failure, Redone};
use crate::persistence::aof::{Damage, Entry, Kind, Manifest, Origin, SegmentId, Stamps, Verdict};
use crate::persistence::storage::{Directory, RealStorage, Storage};
use crate::stdx::os;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Runs it.
pub fn run(asked: &CheckAof) -> ExitCode {
    os::ignore_file_size_signal();
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

/// The log, read.
struct Log {
    location: Location,
    manifest: Manifest,
    /// Its files in the order in which they are loaded; none where one is missing.
    files: Vec<(Entry, Option<Report>)>,
    durability: Durability,
    /// What files lack that others call durable.
    lost: Vec<Lost>,
    /// Transactions that cannot be missing where they are.
    proven: Vec<(SegmentId, u64)>,
}

impl Check<'_> {
    /// Whether a server loads the log as it is now.
    fn run(&self) -> Result<bool, String> {
        let location = check::locate(self.storage, &self.asked.dir)?;
        let _lock = if self.asked.fix { Some(keep_servers_away(&location)?) } else { None };
        let manifest = location.open(self.storage)?;
        print(&title(&location, &manifest));
        self.pending(&location, &manifest)?;
        let mut health = self.strays(&location, &manifest)?;
        let mut log = self.read(location, manifest)?;
        for (entry, report) in std::mem::take(&mut log.files) {
            health = health.max(match report {
                Some(report) => self.file(&mut log, &entry, &report)?,
                None => {
                    tell(&entry, "missing");
                    Health::Bad
                }
            });
        }
        health = health.max(self.between_files(&mut log)?);
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

    /// Tells of a file that is not listed and keeps a server from starting.
    fn strays(&self, location: &Location, manifest: &Manifest) -> Result<Health, String> {
        // A single file of Redis has a directory of its own beside it, or none.
        if location.manifest.is_none() {
            return Ok(Health::Good);
        }
        let failed = |error: io::Error| format!("{}: {}", location.dir.display(), os::error_text(&error));
        let dir = Directory::open(&location.dir).map_err(failed)?;
        let names = dir.list(Path::new("")).map_err(failed)?;
        Ok(match aof::find_strays(&dir, &location.filename, manifest, &names) {
            Ok(_) => Health::Good,
            Err(error) => {
                print(&format!("  {error}"));
                Health::Bad
            }
        })
    }

    /// Tells what a start adds from the pending areas, or adds it.
    fn pending(&self, location: &Location, manifest: &Manifest) -> Result<(), String> {
        let failed = |error: io::Error| format!("{}: {}", location.dir.display(), os::error_text(&error));
        let names = self.storage.list(&location.dir).map_err(failed)?;
        for area in names.iter().filter(|name| pending::shard_of(name, &location.filename).is_some()) {
            let bytes = self.storage.read(&location.dir.join(area), AOF_PENDING_BYTES_MAX).map_err(failed)?;
            let taken = pending::redo(self.storage, &location.dir, manifest, &bytes, self.asked.fix);
            let taken = taken.map_err(|Failure { name, error, .. }| format!("{name}: {}", os::error_text(&error)))?;
            for Redone { name, bytes } in &taken.added {
                print(&match self.asked.fix {
                    true => format!("  {name}: added {bytes} bytes from {area}"),
                    false => format!("  {name}: {bytes} bytes more are in {area}; a start adds them before it loads"),
                });
            }
            if let Some(fault) = taken.fault() {
                print(&format!("  {area}: {fault}; a start goes on without them, and keeps the file"));
            }
        }
        Ok(())
    }

    /// Reads all files, and compares what they say of each other.
    fn read(&self, location: Location, manifest: Manifest) -> Result<Log, String> {
        let bar = self.progress_bar(&location, &manifest);
        let (mut files, mut durability, mut stamps) = (Vec::new(), Durability::of(&manifest), Vec::new());
        for shard in 0..manifest.shards {
            let mut inspection = Inspection::new(shard, self.asked.databases);
            for entry in manifest.of_shard(shard) {
                bar.set_message(entry.name.clone());
                inspection.stamps.generation = entry.segment.generation;
                let mut visit = |what: Visit<'_>| match what {
                    Visit::Record(args) => inspection.record(args).map_err(|error| error.to_string()),
                    Visit::Boundary => inspection.boundary().map_err(|error| error.to_string()),
                };
                let progress = &mut |bytes| bar.inc(bytes);
                let report = check::check(self.storage, &location.dir, &manifest, entry, progress, &mut visit);
                if let Ok(report) = &report {
                    durability.note(entry, report.sequence, &report.vouched);
                }
                files.push((entry.clone(), if_there(report).map_err(|error| failed(entry, &error))?));
            }
            stamps.push(inspection.stamps);
        }
        bar.finish_and_clear();
        let lost = durability.lost(&manifest);
        let missing = if manifest.origin == Origin::Crimson { Stamps::missing(&stamps) } else { Vec::new() };
        let proven = durability.proven(&manifest, &missing);
        Ok(Log { location, manifest, files, durability, lost, proven })
    }

    /// Tells the state of a file and repairs it if that was asked for; how good it is now.
    fn file(&self, log: &mut Log, entry: &Entry, report: &Report) -> Result<Health, String> {
        tell(entry, &state(report, log.manifest.origin));
        let loads = match &report.unloadable {
            None => Health::Good,
            Some((at, reason)) => {
                tell(entry, &format!("cannot be loaded: at offset {at}: {reason}"));
                Health::Bad
            }
        };
        let is_lost = log.lost.iter().any(|lost| lost.segment == entry.segment);
        let (fix, truncate) = (self.asked.fix, self.asked.truncate_at_corruption);
        let (damage, wanted, flags, health) = match report.verdict {
            Verdict::Good => return Ok(loads),
            Verdict::Cut(damage) if !is_lost => (damage, fix, "--fix", Health::Torn),
            Verdict::OutOfOrder(damage) if !is_lost => (damage, fix, "--fix", Health::Bad),
            Verdict::Cut(damage) | Verdict::OutOfOrder(damage) | Verdict::Refuse(damage) => {
                (damage, truncate, "--fix --truncate-at-corruption", Health::Bad)
            }
        };
        if !damage.may_be_cut() {
            let empties = may_be_emptied(log, entry, &damage);
            if !empties || !truncate {
                tell(entry, &restore(&damage, empties));
                return Ok(health);
            }
        } else if !wanted {
            tell(entry, &format!("{flags} would cut it there: {}", loss(&damage)));
            return Ok(health);
        }
        let accepts = health == Health::Bad && truncate;
        let told = self.repair(log, entry, &damage, accepts).map_err(|error| failed(entry, &error))?;
        tell(entry, &told);
        Ok(loads)
    }

    /// Cuts a file, and sets its length right in the manifest; what to tell. `accepts`: what other files prove of it is
    /// known to be lost from then on.
    fn repair(&self, log: &mut Log, entry: &Entry, damage: &Damage, accepts: bool) -> io::Result<String> {
        let (dir, manifest) = (&log.location.dir, &mut log.manifest);
        let before = manifest.clone();
        let place = if damage.at == 0 { "cut to nothing".into() } else { format!("cut at {}", damage.at) };
        let mut told = format!("{place}: {}", loss(damage));
        if damage.bytes > 0 {
            let kept = check::cut(self.storage, dir, &entry.name, damage)?;
            told += &format!("; what was cut off is in {}", kept.display());
        }
        let listed = manifest.files.iter_mut().find(|file| file.name == entry.name).expect("it is from the manifest");
        if listed.bytes.is_some() {
            listed.bytes = Some(damage.at);
        }
        if accepts && manifest.origin == Origin::Crimson {
            manifest.lost.insert(entry.segment, log.durability.last_known(entry.segment).max(damage.found.synced));
        }
        if *manifest != before {
            manifest.store(self.storage, dir, &log.location.filename)?;
        }
        Ok(told)
    }

    /// Tells what files lack that others prove to have been there. If that was asked for, it is known to be lost from then
    /// on.
    fn between_files(&self, log: &mut Log) -> Result<Health, String> {
        let known = log.manifest.lost.clone();
        let lost: Vec<_> = log.lost.iter().filter(|lost| !known.contains_key(&lost.segment)).collect();
        let proven: Vec<_> = log.proven.iter().filter(|(segment, _)| !known.contains_key(segment)).collect();
        lost.iter().for_each(|lost| print(&format!("  {lost}")));
        if let Some(first) = proven.first() {
            print(&format!("  {} ({} such transactions)", durable::told(first), proven.len()));
        }
        if lost.is_empty() && proven.is_empty() {
            return Ok(Health::Good);
        }
        let listed = lost.iter().all(|lost| lost.name.is_some());
        if !self.asked.truncate_at_corruption || !listed {
            let how = if listed { "; --fix --truncate-at-corruption would go on without what is lost" } else { "" };
            print(&format!("  restore what is missing{how}"));
            return Ok(Health::Bad);
        }
        let segments = lost.iter().map(|lost| lost.segment).chain(proven.iter().map(|(segment, _)| *segment));
        for segment in segments {
            log.manifest.lost.insert(segment, log.durability.last_known(segment));
        }
        let Location { dir, filename, .. } = &log.location;
        let stored = log.manifest.store(self.storage, dir, filename);
        stored.map_err(|error| format!("{}: {}", dir.display(), os::error_text(&error)))?;
        print("  what is lost is noted in the manifest; the log goes on without it");
        Ok(Health::Good)
    }

    /// A bar over the bytes of all files; it does not show where the standard error is no terminal.
    fn progress_bar(&self, location: &Location, manifest: &Manifest) -> ProgressBar {
        let len = |entry: &Entry| self.storage.len(&location.dir.join(&entry.name)).unwrap_or(0);
        let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {binary_bytes_per_sec} {eta} left  {msg}");
        ProgressBar::new(manifest.files.iter().map(len).sum()).with_style(style.expect("a template that is understood"))
    }
}

/// A line about a file.
fn tell(entry: &Entry, text: &str) {
    print(&format!("  {}: {text}", entry.name));
}

fn failed(entry: &Entry, error: &io::Error) -> String {
    format!("{}: {}", entry.name, os::error_text(error))
}

/// `None` if there is no such file.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
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
        Verdict::Good if report.bytes > report.good => {
            let room = report.bytes - report.good;
            format!("good, {} bytes, {contents}, and room for {room} bytes more", report.good)
        }
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
            let word = if matches!(report.verdict, Verdict::OutOfOrder(_)) { "out of order" } else { "corrupt" };
            format!("{word} at {at}{seen}: {reason}; {} bytes, {contents} before, {behind}", report.bytes)
        }
    }
}

/// What to tell of a file of which nothing is good. `empties`: it may be cut to nothing.
fn restore(damage: &Damage, empties: bool) -> String {
    match (empties, damage.reason.is_mended_by_cutting()) {
        (true, _) => format!(
            "nothing in it is good, and --fix does not cut it to nothing: restore the file. --fix --truncate-at-corruption \
             would cut all of it: {}",
            loss(damage)
        ),
        (false, true) => "nothing in it is good, and it is not cut to nothing: restore the file".into(),
        (false, false) => "restore the file".into(),
    }
}

/// Whether a file of which nothing is good may be cut to nothing: an increment of ours of which nobody says that anything was
/// on disk.
fn may_be_emptied(log: &Log, entry: &Entry, damage: &Damage) -> bool {
    let is_ours = log.manifest.origin == Origin::Crimson && entry.segment.kind == Kind::Increment;
    is_ours && damage.may_be_emptied() && log.durability.called_durable(entry.segment) == 0
}

/// What cutting loses.
fn loss(damage: &Damage) -> String {
    match damage.found.batches {
        0 => format!("{} bytes lost", damage.bytes),
        batches => format!("{} bytes lost, {batches} good batches among them", damage.bytes),
    }
}
