//! The append-only log at boot: finds it and makes sure that it can be loaded, or begins a new one; and puts a new
//! generation in force when the cores have written it.

use super::BootError;
use crate::config::Config;
use crate::limits::AOF_PENDING_BYTES_MAX;
use crate::metrics::persistence::{Persistence, ShardLog};
use crate::persistence::aof::foreign::{MAGIC_BYTES, Snapshot};
use crate::persistence::aof::pending::{self, Failure, Redone};
use crate::persistence::aof::{Catalog, Entry, Kind, LogId, Manifest, Origin, SegmentId};
use crate::persistence::storage::{Directory, Storage};
use crate::runtime::loading::{Plan, set_aside};
use crate::stdx::os::error_text;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use tracing::{error, info, warn};

/// The directory of the log: paths of its storage begin there.
const HERE: &str = "";

/// Finds the log that `config` names, or makes an empty one, for as many shards as there are `cores`. `server` is `dir`, and
/// `log` the log's directory in it. Nothing is removed or renamed. A log is begun where there is none, and increments get
/// what pending areas have and they lack.
pub fn prepare<D: Storage + Clone>(
    server: &D,
    log: &D,
    config: &Config,
    cores: u16,
) -> Result<(Plan<D>, Catalog<D>), BootError> {
    let (filename, single) = (&config.appendfilename, Path::new(&config.appendfilename));
    let mut catalog = find_catalog(log, filename, cores)?;
    let names = log.list(Path::new(HERE)).map_err(|error| wrong(log, HERE, &error))?;
    let (mut source, mut manifest) = (log.clone(), catalog.manifest().clone());
    if !catalog.is_there() {
        let is_single = server.len(single).is_ok();
        let begun = if is_single { catalog.begun_aside() } else { 0 };
        if begun == 0 {
            refuse_headless(log, filename, &names)?;
        }
        if is_single {
            info!("Loading {}, a log in a single file; it stays as it is", server.shown(single).display());
            (source, manifest) = (server.clone(), Manifest { begun, ..Manifest::single(filename) });
        } else {
            begin(&mut catalog, cores)?;
            manifest = catalog.manifest().clone();
        }
    }
    let mut strays = find_strays(log, filename, &manifest, &names)?;
    check_files(&source, &manifest)?;
    // The areas of the shards of today are emptied when the cores begin to log: by then what they have is durable.
    let kept = take_pending(log, filename, &manifest, &names)?;
    strays
        .extend(names.into_iter().filter(|name| pending::shard_of(name, filename).is_some_and(|shard| shard >= cores)));
    let bytes = bytes_of(&source, &manifest)?;
    let renews = renews(&manifest, cores);
    if !renews {
        check_writable(&source, &manifest)?;
    }
    let id = if manifest.log.is_none() { draw(log)? } else { manifest.log };
    let (dir, filename, single, cuts) = (log.clone(), filename.clone(), !catalog.is_there(), config.aof_load_truncated);
    Ok((Plan { source, manifest, bytes, cuts, dir, filename, log: id, renews, strays, kept, single }, catalog))
}

/// The identity of a new log.
fn draw(log: &dyn Storage) -> Result<LogId, BootError> {
    LogId::draw().map_err(|error| wrong(log, HERE, &error))
}

/// Reads the manifest in the log's directory, and makes durable that it and the files have their names: whoever gave them
/// may have been killed before that.
fn find_catalog<D: Storage + Clone>(log: &D, filename: &str, cores: u16) -> Result<Catalog<D>, BootError> {
    log.sync_dir(Path::new(HERE)).map_err(|error| wrong(log, HERE, &error))?;
    Catalog::load(log.clone(), filename, cores).map_err(|reason| {
        let path = log.shown(Path::new(&Manifest::name(filename)));
        BootError(format!("The manifest of the append-only log, {}: {reason}", path.display()))
    })
}

/// Opens the log's directory that `config` names, which is made if there is none, and keeps other servers away from it for
/// as long as it is open. Also `dir`, in which it is.
pub fn lock(config: &Config) -> Result<(Directory, Directory), BootError> {
    let (server, log) = open(config)?;
    match log.lock() {
        Ok(true) => Ok((server, log)),
        Ok(false) => Err(in_use(&log)),
        Err(error) => Err(wrong(&log, HERE, &error)),
    }
}

/// The log that `config` names now, if it is in another directory than `current`, which this server has locked.
pub fn find_again(
    config: &Config,
    cores: u16,
    current: Option<&Directory>,
) -> Result<Option<Catalog<Directory>>, BootError> {
    let (_, log) = open(config)?;
    let failed = |error: io::Error| wrong(&log, HERE, &error);
    if current.map(|current| current.is_same(&log)).transpose().map_err(failed)? == Some(true) {
        return Ok(None);
    }
    if !log.lock().map_err(failed)? {
        return Err(in_use(&log));
    }
    let filename = &config.appendfilename;
    let catalog = find_catalog(&log, filename, cores)?;
    let names = log.list(Path::new(HERE)).map_err(failed)?;
    if !catalog.is_there() {
        refuse_headless(&log, filename, &names)?;
    }
    let strays = find_strays(&log, filename, catalog.manifest(), &names)?;
    // The areas are about to be used anew.
    for area in take_pending(&log, filename, catalog.manifest(), &names)? {
        set_aside(&log, &area).map_err(|error| wrong(&log, &area, &error))?;
    }
    for name in strays {
        // Nothing is lost with it, and its name may be needed.
        if is_empty(&log, &name)? {
            log.remove(Path::new(&name)).map_err(|error| wrong(&log, &name, &error))?;
        }
    }
    Ok(Some(catalog))
}

fn open(config: &Config) -> Result<(Directory, Directory), BootError> {
    let path = Path::new(&config.dir);
    let server = Directory::open(path)
        .map_err(|error| BootError(format!("The directory {}: {}", path.display(), error_text(&error))))?;
    make_dir(&server, &config.appenddirname)?;
    let log = server.open_inside(&config.appenddirname);
    Ok((server.clone(), log.map_err(|error| wrong(&server, &config.appenddirname, &error))?))
}

fn in_use(log: &Directory) -> BootError {
    BootError(format!("The append-only log in {} is in use by another process", log.path().display()))
}

/// Notes, before the cores make its files, that the new generation of `plan` begins.
pub fn begin_generation<D: Storage>(catalog: &mut Catalog<D>, plan: &Plan<D>) -> Result<(), BootError> {
    let generation = plan.next_generation();
    let noted = if plan.single { catalog.begin_aside(generation) } else { catalog.begin(generation) };
    noted.map_err(|error| wrong(&plan.dir, HERE, &error))
}

/// Puts the new generation of `plan` in force, of which the cores have written these bases.
pub fn commit<D: Storage>(catalog: &mut Catalog<D>, plan: &Plan<D>, bases: &[u64]) -> Result<(), BootError> {
    let generation = plan.next_generation();
    let mut manifest = Manifest::new(plan.log, bases.len() as u16);
    for (shard, &bytes) in bases.iter().enumerate() {
        let segment = |kind| SegmentId { log: plan.log, generation, shard: shard as u16, kind };
        let name = |kind| Manifest::segment_name(&plan.filename, segment(kind));
        let entry = |kind, bytes| Entry { name: name(kind), segment: segment(kind), bytes };
        manifest.files.push(entry(Kind::Base, Some(bytes)));
        manifest.files.push(entry(Kind::Increment, None));
    }
    // The names of the new files, before the manifest that names them.
    let stored = plan.dir.sync_dir(Path::new(HERE)).and_then(|()| catalog.store(manifest));
    stored.map_err(|error| wrong(&plan.dir, HERE, &error))?;
    info!("The append-only log has a new generation, {generation}, of {} shards", bases.len());
    Ok(())
}

/// Removes, now that all is loaded and logged again, the files that nobody needs: what a crash has left, and what a new
/// generation has taken the place of.
pub fn clean<D: Storage>(catalog: &Catalog<D>, plan: &Plan<D>) {
    let kept = |name: &str| catalog.manifest().files.iter().any(|entry| entry.name == name);
    let replaced = plan.manifest.files.iter().map(|entry| &entry.name).filter(|name| !plan.single && !kept(name));
    let strays = plan.strays.iter().filter(|name| !kept(name));
    strays.clone().for_each(|name| {
        info!("Removing {}, which is not part of the append-only log", plan.dir.shown(Path::new(name)).display());
    });
    for name in strays.chain(replaced) {
        if plan.kept.contains(name) {
            if let Err(error) = set_aside(&plan.dir, name) {
                let path = plan.dir.shown(Path::new(name));
                warn!("Can't give {}, which is kept, another name: {}", path.display(), error_text(&error));
            }
            continue;
        }
        match plan.dir.remove(Path::new(name)) {
            // What has been written under that name since has its own now.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = plan.dir.shown(Path::new(name));
                warn!("Can't remove {}, which is not needed any more: {}", path.display(), error_text(&error));
            }
            _ => {}
        }
    }
}

fn wrong(storage: &dyn Storage, name: &str, error: &io::Error) -> BootError {
    let path = storage.shown(Path::new(name));
    BootError(format!("The append-only log, {}: {}", path.display(), error_text(error)))
}

/// Makes the log's directory in `dir` if there is none, durably.
pub fn make_dir(server: &dyn Storage, name: &str) -> Result<(), BootError> {
    let made = server.create_dir(Path::new(name)).and_then(|()| server.sync_dir(Path::new(HERE)));
    made.map_err(|error| wrong(server, name, &error))
}

/// Whether there are files of a log, ours or Redis's, with something in them.
fn has_data(log: &dyn Storage, filename: &str, names: &[String]) -> Result<bool, BootError> {
    let segments = names.iter().filter(|name| own_segment(name, filename).is_some() || is_of_redis(name, filename));
    for name in segments {
        if !is_empty(log, name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Without its manifest a log cannot be loaded, and must not be taken for what a crash has left.
fn refuse_headless(log: &dyn Storage, filename: &str, names: &[String]) -> Result<(), BootError> {
    if !has_data(log, filename, names)? {
        return Ok(());
    }
    Err(BootError(format!(
        "The directory {} holds files of an append-only log, but not its manifest {}",
        log.shown(Path::new(HERE)).display(),
        Manifest::name(filename)
    )))
}

fn is_empty(log: &dyn Storage, name: &str) -> Result<bool, BootError> {
    log.len(Path::new(name)).map(|len| len == 0).map_err(|error| wrong(log, name, &error))
}

/// Begins a log: nothing in it yet.
fn begin<D: Storage>(catalog: &mut Catalog<D>, cores: u16) -> Result<(), BootError> {
    let mut manifest = Manifest::new(catalog.manifest().log, cores);
    for shard in 0..cores {
        let segment = SegmentId { log: manifest.log, generation: 1, shard, kind: Kind::Increment };
        let name = Manifest::segment_name(catalog.filename(), segment);
        let (log, path) = (catalog.storage(), Path::new(&name));
        log.create(path).and_then(|()| log.sync(path)).map_err(|error| wrong(log, &name, &error))?;
        manifest.files.push(Entry { name, segment, bytes: None });
    }
    let stored = catalog.storage().sync_dir(Path::new(HERE)).and_then(|()| catalog.store(manifest));
    stored.map_err(|error| wrong(catalog.storage(), HERE, &error))?;
    info!("Began an append-only log in {}", catalog.storage().shown(Path::new(HERE)).display());
    Ok(())
}

/// What a file is that is named as those of a log of ours; of a generation that cannot be, the last one.
fn own_segment(name: &str, filename: &str) -> Option<(u64, Kind)> {
    match words(name, filename)[..] {
        [generation, shard, kind, "aof"] if number(generation) && number(shard) => {
            let kind = [Kind::Base, Kind::Increment].into_iter().find(|known| known.word() == kind)?;
            Some((generation.parse().unwrap_or(u64::MAX), kind))
        }
        _ => None,
    }
}

/// Whether a file is named as those of a log of Redis.
fn is_of_redis(name: &str, filename: &str) -> bool {
    matches!(words(name, filename)[..], [sequence, "base" | "incr", "aof" | "rdb"] if number(sequence))
}

/// What stands between the dots of a name, behind that of the log.
fn words<'n>(name: &'n str, filename: &str) -> Vec<&'n str> {
    let rest = name.strip_prefix(filename).and_then(|rest| rest.strip_prefix('.'));
    rest.into_iter().flat_map(|rest| rest.split('.')).collect()
}

fn number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a crash has left: files that no manifest has ever named, or that none names any more. An error where files that are
/// not listed cannot be that, for the manifest is older than they are.
pub(super) fn find_strays(
    log: &dyn Storage,
    filename: &str,
    manifest: &Manifest,
    names: &[String],
) -> Result<Vec<String>, BootError> {
    let aside = format!("temp-{}", Manifest::name(filename));
    let listed = |name: &String| manifest.files.iter().any(|entry| entry.name == *name);
    let mut strays = Vec::new();
    for name in names.iter().filter(|name| !listed(name)) {
        let own = own_segment(name, filename);
        if own.is_some_and(|(generation, kind)| is_newer(manifest, generation, kind)) && !is_empty(log, name)? {
            return Err(BootError(format!(
                "The append-only log: {} is not part of the log that the manifest {} lists, but newer than that. The manifest \
                 is older than the files: put the right one there, or move the files away that it does not list",
                log.shown(Path::new(name)).display(),
                Manifest::name(filename)
            )));
        }
        if own.is_some() || *name == aside {
            strays.push(name.clone());
        }
    }
    Ok(strays)
}

/// Whether a file that the manifest does not list is of a log that it does not know of. What has not come to its end is of
/// a generation that is noted as begun; what is no longer needed is older than what is listed, or a base beside increments.
fn is_newer(manifest: &Manifest, generation: u64, kind: Kind) -> bool {
    let listed = manifest.generation();
    match manifest.origin {
        // Generations of ours and numbers of Redis say nothing of each other.
        Origin::Redis => generation > manifest.begun,
        Origin::Crimson => generation > manifest.newest() || generation == listed && kind == Kind::Increment,
    }
}

/// Adds to the log what its shards had pending when the process died. The names of the areas that have anything else: they
/// are to be kept.
fn take_pending(
    log: &dyn Storage,
    filename: &str,
    manifest: &Manifest,
    names: &[String],
) -> Result<BTreeSet<String>, BootError> {
    let mut kept = BTreeSet::new();
    for area in names.iter().filter(|name| pending::shard_of(name, filename).is_some()) {
        let bytes = log.read(Path::new(area), AOF_PENDING_BYTES_MAX).map_err(|error| wrong(log, area, &error))?;
        let taken = pending::redo(log, Path::new(HERE), manifest, &bytes, true);
        let taken = taken.map_err(|failure| not_added(log, area, &failure))?;
        for Redone { name, bytes } in &taken.added {
            info!("Added {bytes} bytes to {name}, which were pending when the server ended");
        }
        if let Some(fault) = taken.fault() {
            let path = log.shown(Path::new(area));
            warn!("{} has {fault}, as after a power failure, or beside files that are not its own", path.display());
            kept.insert(area.clone());
        }
    }
    Ok(kept)
}

/// What to tell when an increment could not be read, or what is pending could not be added to it.
fn not_added(log: &dyn Storage, area: &str, failure: &Failure) -> BootError {
    let BootError(told) = wrong(log, &failure.name, &failure.error);
    if !failure.writes {
        return BootError(told);
    }
    let area = log.shown(Path::new(area));
    BootError(format!(
        "{told}. Nothing is lost: what it lacks is in {}, and a start adds it when there is room for it",
        area.display()
    ))
}

/// The cores have ended. Where a log is whole on disk, the manifest says so, and its pending areas go; else this tells what is
/// left, and what becomes of it.
pub fn leave<D: Storage>(state: &Persistence, catalog: Option<&mut Catalog<D>>) -> io::Result<()> {
    let Some(catalog) = catalog else { return Ok(()) };
    let (log, mut whole) = (catalog.storage(), true);
    for (number, shard) in state.shards.iter().enumerate() {
        let name = pending::name(catalog.filename(), number as u16);
        let path = Path::new(&name);
        let (left, lost) = (shard.left_bytes.get(), shard.lost_bytes.get());
        if left == 0 {
            match log.remove(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    warn!("Can't remove {}: {}", log.shown(path).display(), error_text(&error));
                }
                _ => {}
            }
            continue;
        }
        whole = false;
        let reason = match shard.errno.load(Relaxed) {
            0 => "its file could not be made durable".into(),
            errno => error_text(&io::Error::from_raw_os_error(errno)),
        };
        error!(
            "The append-only log of shard {number} is not whole on disk: {reason}. {left} bytes are not in its file"
        );
        if lost > 0 {
            error!("{lost} bytes of what clients were told has been done are lost");
        }
        match log.sync(path) {
            Ok(()) => error!("What can be kept is in {}, and the next start adds it", log.shown(path).display()),
            Err(error) => error!("Can't keep it in {}: {}", log.shown(path).display(), error_text(&error)),
        }
    }
    if !whole {
        return Err(io::Error::other("The server ends without its append-only log being whole on disk"));
    }
    // What is not in force is no part of this log, or not any more.
    if !state.in_force.load(Relaxed) {
        return Ok(());
    }
    if let Err(error) = catalog.end(&last_batches(state, catalog.manifest().log)) {
        // All data is on disk: only damage that comes from now on is harder to see.
        warn!("Can't note in the manifest what is on disk: {}", error_text(&error));
    }
    Ok(())
}

/// By increment, its last batch, where the shards have ended.
fn last_batches(state: &Persistence, log: LogId) -> BTreeMap<SegmentId, u64> {
    let last = |(number, shard): (usize, &ShardLog)| {
        let (generation, sequence) = shard.durable_batch()?;
        Some((SegmentId { log, generation, shard: number as u16, kind: Kind::Increment }, sequence))
    };
    state.shards.iter().enumerate().filter_map(last).collect()
}

/// Looks at the beginning of every file.
fn check_files(source: &dyn Storage, manifest: &Manifest) -> Result<(), BootError> {
    for entry in &manifest.files {
        let path = Path::new(&entry.name);
        let mut start = [0; MAGIC_BYTES];
        let read = source.read_at(path, 0, &mut start).map_err(|error| wrong(source, &entry.name, &error))?;
        if let Some(snapshot) = Snapshot::of(&start[..read]) {
            let advice = match manifest.origin {
                Origin::Redis => {
                    "which cannot be loaded yet. Have the server that wrote it write its log without: \
                     CONFIG SET aof-use-rdb-preamble no, then BGREWRITEAOF"
                }
                Origin::Crimson => "no file of this log. Put the right file back",
            };
            let path = source.shown(path);
            return Err(BootError(format!("The append-only log, {}: it is {snapshot}, {advice}", path.display())));
        }
    }
    Ok(())
}

/// The bytes of all files.
fn bytes_of(source: &dyn Storage, manifest: &Manifest) -> Result<u64, BootError> {
    let len = |entry: &Entry| source.len(Path::new(&entry.name)).map_err(|error| wrong(source, &entry.name, &error));
    manifest.files.iter().map(len).sum()
}

/// Whether the log cannot go on in its files: they are Redis's, or those of other shards, or there are none; or it has no
/// identity yet, or has lost something that is known.
fn renews(manifest: &Manifest, cores: u16) -> bool {
    let goes_on = |shard| manifest.of_shard(shard).last().is_some_and(|last| last.segment.kind == Kind::Increment);
    let is_whole = !manifest.log.is_none() && manifest.lost.is_empty();
    !is_whole || manifest.shards != cores || !(0..cores).all(goes_on)
}

/// Makes sure that the increments can be appended to.
fn check_writable(source: &dyn Storage, manifest: &Manifest) -> Result<(), BootError> {
    let increments = manifest.files.iter().filter(|entry| entry.segment.kind == Kind::Increment);
    for name in increments.map(|entry| &entry.name) {
        source.append(Path::new(name), b"").map_err(|error| wrong(source, name, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_files_are_told_by_their_names() {
        let own = |name: &str| own_segment(name, "appendonly.aof").is_some();
        assert!(own("appendonly.aof.3.0.base.aof") && own("appendonly.aof.12.10.incr.aof"));
        for other in [
            "appendonly.aof.1.base.rdb",
            "appendonly.aof.1.incr.aof",
            "appendonly.aof.manifest",
            "appendonly.aof.3.0.base.aof.cut",
            "appendonly.aof.x.0.base.aof",
            "other.aof.3.0.base.aof",
            "appendonly.aof",
        ] {
            assert!(!own(other), "{other}");
        }
        let of_redis = |name: &str| is_of_redis(name, "appendonly.aof");
        assert!(of_redis("appendonly.aof.1.base.rdb") && of_redis("appendonly.aof.12.incr.aof"));
        assert!(!of_redis("appendonly.aof.3.0.base.aof") && !of_redis("appendonly.aof.manifest"));
    }
}
