//! The append-only log at boot: finds it and makes sure that it can be loaded, or begins a new one; and puts a new
//! generation in force when the cores have written it.

use super::BootError;
use crate::config::Config;
use crate::limits::AOF_PENDING_BYTES_MAX;
use crate::persistence::aof::foreign::{MAGIC_BYTES, Snapshot};
use crate::persistence::aof::pending::{self, Redone};
use crate::persistence::aof::{Entry, Kind, LogId, Manifest, Origin, SegmentId};
use crate::persistence::storage::Storage;
use crate::runtime::loading::Plan;
use crate::stdx::os::{self, error_text};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// Finds the log that `config` names, or makes an empty one, for as many shards as there are `cores`.
pub fn prepare(storage: &dyn Storage, config: &Config, cores: u16) -> Result<Plan, BootError> {
    let (server, filename) = (PathBuf::from(&config.dir), config.appendfilename.clone());
    let dir = server.join(&config.appenddirname);
    let there = make_dir(storage, &server, &dir)?;
    let manifest = Manifest::load(storage, &dir, &filename).map_err(|reason| {
        BootError(format!(
            "The manifest of the append-only log, {}: {reason}",
            dir.join(Manifest::name(&filename)).display()
        ))
    })?;
    let single = server.join(&filename);
    let (source, manifest) = match manifest {
        Some(manifest) => (dir.clone(), manifest),
        None if has_data(storage, &dir, &filename, &there)? => {
            return Err(BootError(format!(
                "The directory {} holds files of an append-only log, but not its manifest {}",
                dir.display(),
                Manifest::name(&filename)
            )));
        }
        None if storage.len(&single).is_ok() => {
            info!("Loading {}, a log in a single file; it stays as it is", single.display());
            (server.clone(), Manifest::single(&filename))
        }
        None => (dir.clone(), begin(storage, &dir, &filename, cores)?),
    };
    remove_strays(storage, &dir, &filename, &manifest, &there)?;
    check_files(storage, &source, &manifest)?;
    take_pending(storage, &dir, &filename, &manifest, &there)?;
    let bytes = check_files(storage, &source, &manifest)?;
    let renews = renews(&manifest, cores);
    if !renews {
        check_writable(storage, &source, &manifest)?;
    }
    let log = if manifest.log.is_none() { draw(&dir)? } else { manifest.log };
    Ok(Plan { source, manifest, bytes, cuts: config.aof_load_truncated, dir, filename, log, renews })
}

/// The identity of a new log.
fn draw(dir: &Path) -> Result<LogId, BootError> {
    LogId::draw().map_err(|error| wrong(dir, &error))
}

/// Keeps other servers away from the log in the directory that `config` names, for as long as the file is open.
pub fn lock(storage: &dyn Storage, config: &Config) -> Result<File, BootError> {
    let server = PathBuf::from(&config.dir);
    let dir = server.join(&config.appenddirname);
    make_dir(storage, &server, &dir)?;
    let file = File::open(&dir).map_err(|error| wrong(&dir, &error))?;
    match os::lock(&file) {
        Ok(true) => Ok(file),
        Ok(false) => Err(BootError(format!("The append-only log in {} is in use by another process", dir.display()))),
        Err(error) => Err(wrong(&dir, &error)),
    }
}

/// Puts the new generation of `plan` in force, of which the cores have written these bases, and removes the files that
/// nobody needs any more.
pub fn commit(storage: &dyn Storage, plan: &Plan, bases: &[u64]) -> Result<(), BootError> {
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
    storage.sync_dir(&plan.dir).map_err(|error| wrong(&plan.dir, &error))?;
    manifest.store(storage, &plan.dir, &plan.filename).map_err(|error| wrong(&plan.dir, &error))?;
    info!("The append-only log has a new generation, {generation}, of {} shards", bases.len());
    let old = plan.manifest.files.iter().filter(|_| plan.source == plan.dir);
    for path in old.map(|entry| plan.dir.join(&entry.name)) {
        if let Err(error) = storage.remove(&path) {
            warn!("Can't remove {}, which is not needed any more: {}", path.display(), error_text(&error));
        }
    }
    Ok(())
}

fn wrong(path: &Path, error: &io::Error) -> BootError {
    BootError(format!("The append-only log, {}: {}", path.display(), error_text(error)))
}

/// Makes the directory if there is none; the names in it.
fn make_dir(storage: &dyn Storage, server: &Path, dir: &Path) -> Result<Vec<String>, BootError> {
    let made = match storage.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            storage.create_dir(dir).and_then(|()| storage.sync_dir(server)).map(|()| Vec::new())
        }
        listed => listed,
    };
    made.map_err(|error| wrong(dir, &error))
}

/// Whether there are files of a log, ours or Redis's, with something in them.
fn has_data(storage: &dyn Storage, dir: &Path, filename: &str, names: &[String]) -> Result<bool, BootError> {
    let segments = names.iter().filter(|name| is_own(name, filename) || is_of_redis(name, filename));
    for path in segments.map(|name| dir.join(name)) {
        if storage.len(&path).map_err(|error| wrong(&path, &error))? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Begins a log: nothing in it yet.
fn begin(storage: &dyn Storage, dir: &Path, filename: &str, cores: u16) -> Result<Manifest, BootError> {
    let mut manifest = Manifest::new(draw(dir)?, cores);
    for shard in 0..cores {
        let segment = SegmentId { log: manifest.log, generation: 1, shard, kind: Kind::Increment };
        let name = Manifest::segment_name(filename, segment);
        let path = dir.join(&name);
        storage.create(&path).and_then(|()| storage.sync(&path)).map_err(|error| wrong(&path, &error))?;
        manifest.files.push(Entry { name, segment, bytes: None });
    }
    let stored = storage.sync_dir(dir).and_then(|()| manifest.store(storage, dir, filename));
    stored.map_err(|error| wrong(dir, &error))?;
    info!("Began an append-only log in {}", dir.display());
    Ok(manifest)
}

/// Whether a file is named as those of a log of ours.
fn is_own(name: &str, filename: &str) -> bool {
    matches!(words(name, filename)[..], [generation, shard, "base" | "incr", "aof"] if number(generation) && number(shard))
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

/// Removes what a crash has left: files that no manifest has ever named, or that none names any more.
fn remove_strays(
    storage: &dyn Storage,
    dir: &Path,
    filename: &str,
    manifest: &Manifest,
    names: &[String],
) -> Result<(), BootError> {
    let aside = format!("temp-{}", Manifest::name(filename));
    let listed = |name: &&String| manifest.files.iter().any(|entry| entry.name == **name);
    let strays = names.iter().filter(|name| (is_own(name, filename) || **name == aside) && !listed(name));
    for path in strays.map(|name| dir.join(name)) {
        info!("Removing {}, which is not part of the append-only log", path.display());
        match storage.remove(&path) {
            // The manifest that has just been written was written there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(|error| wrong(&path, &error))?,
        }
    }
    Ok(())
}

/// Adds to the log what its shards had pending when the process died. The areas go when the files have all of it.
fn take_pending(
    storage: &dyn Storage,
    dir: &Path,
    filename: &str,
    manifest: &Manifest,
    names: &[String],
) -> Result<(), BootError> {
    let mut areas = names.iter().filter(|name| pending::shard_of(name, filename).is_some()).peekable();
    if areas.peek().is_none() {
        return Ok(());
    }
    for path in areas.clone().map(|name| dir.join(name)) {
        let added = storage
            .read(&path, AOF_PENDING_BYTES_MAX)
            .and_then(|bytes| pending::redo(storage, dir, manifest, &bytes, true))
            .map_err(|error| wrong(&path, &error))?;
        for Redone { name, bytes } in added {
            info!("Added {bytes} bytes to {name}, which were pending when the server ended");
        }
    }
    for path in areas.map(|name| dir.join(name)) {
        storage.remove(&path).map_err(|error| wrong(&path, &error))?;
    }
    storage.sync_dir(dir).map_err(|error| wrong(dir, &error))
}

/// Looks at every file; the bytes of all of them.
fn check_files(storage: &dyn Storage, source: &Path, manifest: &Manifest) -> Result<u64, BootError> {
    let mut total = 0;
    for entry in &manifest.files {
        let path = source.join(&entry.name);
        let mut start = [0; MAGIC_BYTES];
        let looked = storage.len(&path).and_then(|len| Ok((len, storage.read_at(&path, 0, &mut start)?)));
        let (len, read) = looked.map_err(|error| wrong(&path, &error))?;
        if let Some(snapshot) = Snapshot::of(&start[..read]) {
            let advice = match manifest.origin {
                Origin::Redis => {
                    "which cannot be loaded yet. Have the server that wrote it write its log without: \
                     CONFIG SET aof-use-rdb-preamble no, then BGREWRITEAOF"
                }
                Origin::Crimson => "no file of this log. Put the right file back",
            };
            return Err(BootError(format!("The append-only log, {}: it is {snapshot}, {advice}", path.display())));
        }
        total += len;
    }
    Ok(total)
}

/// Whether the log cannot go on in its files: they are Redis's, or those of other shards, or there are none; or it has no
/// identity yet, or has lost something that is known.
fn renews(manifest: &Manifest, cores: u16) -> bool {
    let goes_on = |shard| manifest.of_shard(shard).last().is_some_and(|last| last.segment.kind == Kind::Increment);
    let is_whole = !manifest.log.is_none() && manifest.lost.is_empty();
    !is_whole || manifest.shards != cores || !(0..cores).all(goes_on)
}

/// Makes sure that the increments can be appended to.
fn check_writable(storage: &dyn Storage, source: &Path, manifest: &Manifest) -> Result<(), BootError> {
    let increments = manifest.files.iter().filter(|entry| entry.segment.kind == Kind::Increment);
    for path in increments.map(|entry| source.join(&entry.name)) {
        storage.append(&path, b"").map_err(|error| wrong(&path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_files_are_told_by_their_names() {
        let own = |name: &str| is_own(name, "appendonly.aof");
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
