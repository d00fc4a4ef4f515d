//! Looks after a log: reads its files from end to end, tells the state of each, and cuts off what is not good when asked.
//! What is cut off is kept beside the file. Nothing is loaded; records are only counted.

use super::batch::SegmentId;
use super::manifest::{Entry, Manifest, Verdict};
use super::reader::{Damage, Reader, Step};
use crate::persistence::storage::Storage;
use crate::resp::Args;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Where a log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The directory of its files.
    pub dir: PathBuf,
    /// The name of its manifest; an old log of Redis in one file has none.
    pub manifest: Option<String>,
    /// What the directives `appendfilename` of the server would be.
    pub filename: String,
}

/// The state of one file.
#[derive(Debug)]
pub struct Report {
    /// Its length.
    pub bytes: u64,
    /// Good bytes from its start.
    pub good: u64,
    /// Batches in them; none in a file of Redis.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// The number of the last good batch.
    pub sequence: u64,
    /// By file of other shards, the last batch that it calls durable.
    pub vouched: BTreeMap<SegmentId, u64>,
    /// The first record that cannot be loaded, and why.
    pub unloadable: Option<(u64, String)>,
    /// What that means.
    pub verdict: Verdict,
}

const SUFFIX: &str = ".manifest";

/// Finds the log in `dir`, which is its own directory or the server's. The error is what to tell the user.
pub fn locate(storage: &dyn Storage, dir: &Path) -> Result<Location, String> {
    let names = storage.list(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut found = manifests_in(dir, &names);
    let mut headless = names.iter().any(|name| is_segment(name)).then(|| dir.to_path_buf());
    if found.is_empty() {
        for inside in names.iter().map(|name| dir.join(name)) {
            let Ok(names) = storage.list(&inside) else { continue };
            found.extend(manifests_in(&inside, &names));
            if names.iter().any(|name| is_segment(name)) {
                headless.get_or_insert(inside);
            }
        }
    }
    if found.is_empty()
        && let Some(dir) = headless
    {
        return Err(format!(
            "{}: there are files of an append-only log, but no manifest that lists them",
            dir.display()
        ));
    }
    if found.is_empty() {
        let single = names.iter().filter(|name| name.ends_with(".aof"));
        found.extend(single.map(|name| Location { dir: dir.into(), manifest: None, filename: name.clone() }));
    }
    match &found[..] {
        [] => Err(format!("{}: there is no append-only log", dir.display())),
        [_] => Ok(found.remove(0)),
        _ => Err(format!("{}: there are several append-only logs; name the directory of one", dir.display())),
    }
}

fn manifests_in(dir: &Path, names: &[String]) -> Vec<Location> {
    // What is written to take a manifest's place is named `temp-` too, but no file is named after that.
    let has_files = |filename: &str| {
        let of_it = |name: &str| name.strip_prefix(filename).is_some_and(|rest| rest.starts_with('.'));
        names.iter().any(|name| of_it(name) && is_segment(name))
    };
    let location = |name: &String| {
        let filename = name.strip_suffix(SUFFIX).filter(|rest| !rest.is_empty())?;
        if filename.starts_with("temp-") && !has_files(filename) {
            return None;
        }
        Some(Location { dir: dir.into(), manifest: Some(name.clone()), filename: filename.into() })
    };
    names.iter().filter_map(location).collect()
}

/// Whether a file is named like one that a manifest lists, of ours or of Redis.
fn is_segment(name: &str) -> bool {
    let mut words = name.rsplit('.');
    let kind = (words.next(), words.next());
    let number = words.next().is_some_and(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()));
    number && matches!(kind, (Some("aof" | "rdb"), Some("base" | "incr")))
}

impl Location {
    /// Reads the manifest. The error is what to tell the user.
    pub fn open(&self, storage: &dyn Storage) -> Result<Manifest, String> {
        let Some(name) = &self.manifest else { return Ok(Manifest::single(&self.filename)) };
        let told = |error: String| format!("{}: {error}", self.dir.join(name).display());
        Manifest::load(storage, &self.dir, &self.filename).map_err(told)?.ok_or_else(|| told("it has gone".into()))
    }
}

/// What a file holds, one after another.
pub enum Visit<'a> {
    /// A record.
    Record(Args<'a>),
    /// The records since the batch before were a batch; or the file has ended.
    Boundary,
}

/// Reads a file from end to end. `progress` hears of every chunk how many bytes it had, `visit` of what is good, until it
/// says that a record cannot be loaded.
pub fn check(
    storage: &dyn Storage,
    dir: &Path,
    manifest: &Manifest,
    entry: &Entry,
    progress: &mut dyn FnMut(u64),
    visit: &mut dyn FnMut(Visit<'_>) -> Result<(), String>,
) -> io::Result<Report> {
    let path = dir.join(&entry.name);
    let bytes = storage.len(&path)?;
    let mut reader = Reader::new(manifest.format(entry));
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut unloadable = None;
    let mut look = |at: u64, what: Visit<'_>| {
        if unloadable.is_none() {
            unloadable = visit(what).err().map(|reason| (at, reason));
        }
    };
    let end = loop {
        let good = reader.good_up_to();
        match reader.step() {
            Step::Read(offset) => {
                let read = storage.read_at(&path, offset, &mut chunk)?;
                progress(read as u64);
                reader.feed(&chunk[..read]);
            }
            Step::Record(record) => look(record.offset, Visit::Record(record.args)),
            Step::Batch(_) => look(good, Visit::Boundary),
            Step::End(end) => break end,
        }
    };
    let good = reader.good_up_to();
    look(good, Visit::Boundary);
    let verdict = manifest.judge(entry, end, good);
    Ok(Report {
        bytes,
        good,
        batches: reader.batches(),
        records: reader.records(),
        sequence: reader.sequence(),
        vouched: reader.vouched().clone(),
        unloadable,
        verdict,
    })
}

/// Cuts a file off at the end of what is good. What is cut off is in the file that this returns, durable before anything
/// is cut.
pub fn cut(storage: &dyn Storage, dir: &Path, name: &str, damage: &Damage) -> io::Result<PathBuf> {
    let path = dir.join(name);
    let kept = keep(storage, dir, name, damage)?;
    storage.truncate(&path, damage.at)?;
    storage.sync(&path)?;
    Ok(kept)
}

/// Copies what stands behind the good part of a file into the file that this returns, durably. Zero bytes at its end are
/// left out: they are room that was written ahead.
pub fn keep(storage: &dyn Storage, dir: &Path, name: &str, damage: &Damage) -> io::Result<PathBuf> {
    let path = dir.join(name);
    let kept = unused_name(storage, dir, name)?;
    storage.create(&kept)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = damage.at;
    loop {
        let read = storage.read_at(&path, at, &mut chunk)?;
        if read == 0 {
            break;
        }
        if let Some(last) = chunk[..read].iter().rposition(|&byte| byte != 0) {
            // Zeros in front of it, of earlier chunks, are a hole that the file system fills.
            storage.write_at(&kept, at - damage.at, &chunk[..=last])?;
        }
        at += read as u64;
    }
    storage.sync(&kept)?;
    storage.sync_dir(dir)?;
    Ok(kept)
}

/// `NAME.cut`, or with a number behind it if something has been cut off before.
pub(super) fn unused_name(storage: &dyn Storage, dir: &Path, name: &str) -> io::Result<PathBuf> {
    let taken = storage.list(dir)?;
    let first = format!("{name}.cut");
    let mut candidates = std::iter::once(first.clone()).chain((2..).map(|number| format!("{first}{number}")));
    let free = candidates.find(|candidate| !taken.contains(candidate)).expect("there is no end of them");
    Ok(dir.join(free))
}
