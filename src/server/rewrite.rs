//! The control thread's part in rewriting the log: it makes the files of a new generation, has the cores cut, and when
//! all bases are written makes them the log.
//!
//! The manifest lists the new increments before the cut, empty, behind the old ones: so what is logged from the cut on is
//! part of the log at once, whatever becomes of the bases. When they are whole, a manifest with nothing but the new
//! generation takes its place. A log that is switched on is none before its bases are whole; only then there is a
//! manifest.

use crate::commands::Node;
use crate::metrics::persistence::{BASE_DONE, BASE_IDLE, BASE_WRITING};
use crate::persistence::aof::{Cut, CutFiles, Entry, Kind, LogId, Manifest, SegmentId};
use crate::persistence::storage::{RealStorage, Storage};
use crate::shard::Millis;
use crate::stdx::os::error_text;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex};
use tracing::{error, info, warn};

/// A rewrite that has failed is not tried again for so long, unless somebody asks for it.
pub(super) const REST_MS: Millis = 10_000;

/// Rewrites of the log, one at a time.
pub struct Rewriter<'a> {
    storage: &'a dyn Storage,
    /// Opens a file that the storage has just made.
    open: fn(&Path) -> io::Result<OwnedFd>,
    /// Where the log is.
    directory: PathBuf,
    filename: String,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    log: LogId,
    generation: u64,
    started_ms: Millis,
    /// Whether it switches the log on.
    switches_on: bool,
}

impl Rewriter<'static> {
    /// For the log in `directory`.
    pub fn new(directory: PathBuf, filename: String) -> Self {
        let open = |path: &Path| OpenOptions::new().write(true).open(path).map(OwnedFd::from);
        Self::on(&RealStorage, open, directory, filename)
    }
}

impl<'a> Rewriter<'a> {
    /// For the log in `directory` of a storage, whose files `open` opens.
    pub fn on(
        storage: &'a dyn Storage,
        open: fn(&Path) -> io::Result<OwnedFd>,
        directory: PathBuf,
        filename: String,
    ) -> Self {
        Self { storage, open, directory, filename, under_way: None }
    }

    /// Does what is due. `wake` wakes the cores.
    pub fn look(&mut self, node: &Node, now: Millis, wake: impl Fn()) {
        let state = &node.persistence;
        if state.loading.active.load(Acquire) {
            return;
        }
        if let Some(under_way) = self.under_way.take_if(|_| !is_writing(node)) {
            self.end(node, &under_way, now, &wake);
        }
        if self.under_way.is_some() {
            return;
        }
        let (wanted, on) = (node.config().appendonly, state.on.load(Relaxed));
        let rests = state.rests_after_failure(now, REST_MS);
        if on && !wanted {
            info!("The append-only log is switched off");
            state.in_force.store(false, Release);
            state.on.store(false, Release);
            cut(node, Cut::switching_off(), &wake);
            return;
        }
        let due = state.rewrite_scheduled.swap(false, AcqRel) || wanted && !on && !rests;
        if due && let Err(error) = self.begin(node, wanted, wanted && !on, now, &wake) {
            error!("Can't rewrite the append-only log: {}", error_text(&error));
            state.note_rewrite_failure(now);
        }
    }

    fn begin(&mut self, node: &Node, logs: bool, switches_on: bool, now: Millis, wake: &impl Fn()) -> io::Result<()> {
        let storage = self.storage;
        storage.create_dir(&self.directory)?;
        let shards = node.persistence.shards.len() as u16;
        let mut manifest = self.manifest(shards)?;
        let (log, generation) = (manifest.log, manifest.generation() + 1);
        info!("Rewriting the append-only log: generation {generation}");
        let files = (0..shards).map(|shard| self.make(generation, shard)).collect::<io::Result<Vec<_>>>()?;
        storage.sync_dir(&self.directory)?;
        if logs && !switches_on {
            manifest.files.extend((0..shards).map(|shard| self.entry(log, generation, shard, Kind::Increment, None)));
            manifest.store(storage, &self.directory, &self.filename)?;
        }
        let state = &node.persistence;
        state.shards.iter().for_each(|shard| shard.base.store(BASE_WRITING, Release));
        state.rewrite_started_ms.store(now, Relaxed);
        state.rewriting.store(true, Release);
        state.on.store(logs, Release);
        self.under_way = Some(UnderWay { log, generation, started_ms: now, switches_on });
        cut(node, Cut { log, generation, logs, snapshot: true, files }, wake);
        Ok(())
    }

    /// All bases are written, or some cannot be.
    fn end(&mut self, node: &Node, under_way: &UnderWay, now: Millis, wake: &impl Fn()) {
        let state = &node.persistence;
        let whole = state.shards.iter().all(|shard| shard.base.swap(BASE_IDLE, AcqRel) == BASE_DONE);
        let completed = if whole {
            self.complete(node, under_way.log, under_way.generation)
        } else {
            Err(io::ErrorKind::Other.into())
        };
        let seconds = (now - under_way.started_ms) / 1000;
        state.last_rewrite_seconds.store(seconds, Relaxed);
        state.rewriting.store(false, Release);
        match completed {
            Ok(bytes) => {
                state.in_force.store(state.on.load(Relaxed), Release);
                state.rewrites.fetch_add(1, Relaxed);
                state.last_rewrite_ok.store(true, Relaxed);
                state.rewrite_failures.store(0, Relaxed);
                state.base_bytes.store(bytes, Relaxed);
                // The cores add to it at a cut, and the next one is made here.
                state.shards.iter().for_each(|shard| shard.earlier_bytes.set(0));
                info!("The append-only log is rewritten: {bytes} bytes in {} ms", now - under_way.started_ms);
            }
            Err(error) => {
                if whole {
                    error!("Can't finish the rewrite of the append-only log: {}", error_text(&error));
                }
                state.note_rewrite_failure(now);
                self.remove_bases(state.shards.len() as u16, under_way.generation);
                if under_way.switches_on {
                    // What was logged since belongs to no log.
                    state.on.store(false, Release);
                    cut(node, Cut::switching_off(), wake);
                }
            }
        }
    }

    /// Removes the bases of a generation, unless they belong to the log all the same: its manifest may have taken its
    /// place and only the sync behind that have failed.
    fn remove_bases(&self, shards: u16, generation: u64) {
        let Ok(manifest) = self.manifest(shards) else { return };
        let names = (0..shards).map(|shard| self.name(generation, shard, Kind::Base));
        let unlisted = |name: &String| manifest.files.iter().all(|entry| entry.name != *name);
        names.filter(unlisted).for_each(|name| self.remove(&name));
    }

    /// Makes a generation the log; the length of its bases.
    fn complete(&self, node: &Node, log: LogId, generation: u64) -> io::Result<u64> {
        let state = &node.persistence;
        let shards = state.shards.len() as u16;
        let before = self.manifest(shards)?;
        let mut after = Manifest::new(log, shards);
        for (shard, state) in state.shards.iter().enumerate() {
            let bytes = state.base_bytes.get();
            after.files.push(self.entry(log, generation, shard as u16, Kind::Base, Some(bytes)));
            after.files.push(self.entry(log, generation, shard as u16, Kind::Increment, None));
        }
        after.store(self.storage, &self.directory, &self.filename)?;
        state.generation.store(generation, Release);
        let kept = |name: &str| after.files.iter().any(|entry| entry.name == name);
        before.files.iter().filter(|entry| !kept(&entry.name)).for_each(|entry| self.remove(&entry.name));
        Ok(state.sum(|shard| &shard.base_bytes))
    }

    fn manifest(&self, shards: u16) -> io::Result<Manifest> {
        let manifest = Manifest::load(self.storage, &self.directory, &self.filename).map_err(io::Error::other)?;
        match manifest {
            Some(manifest) => Ok(manifest),
            None => Ok(Manifest::new(LogId::draw()?, shards)),
        }
    }

    fn name(&self, generation: u64, shard: u16, kind: Kind) -> String {
        Manifest::segment_name(&self.filename, SegmentId { log: LogId::NONE, generation, shard, kind })
    }

    fn entry(&self, log: LogId, generation: u64, shard: u16, kind: Kind, bytes: Option<u64>) -> Entry {
        let name = self.name(generation, shard, kind);
        Entry { name, segment: SegmentId { log, generation, shard, kind }, bytes }
    }

    /// Makes the files of one shard.
    fn make(&self, generation: u64, shard: u16) -> io::Result<Mutex<Option<CutFiles>>> {
        let make = |kind| {
            let path = self.directory.join(self.name(generation, shard, kind));
            create_new(self.storage, &path).and_then(|()| (self.open)(&path))
        };
        let (increment, base) = (make(Kind::Increment)?, Some(make(Kind::Base)?));
        Ok(Mutex::new(Some(CutFiles { increment, base, pending: None })))
    }

    fn remove(&self, name: &str) {
        if let Err(error) = self.storage.remove(&self.directory.join(name)) {
            warn!("Can't remove {name}: {}", error_text(&error));
        }
    }
}

/// Has all shards cut.
fn cut(node: &Node, cut: Cut, wake: &impl Fn()) {
    node.request_cut(Arc::new(cut));
    wake();
}

fn is_writing(node: &Node) -> bool {
    node.persistence.shards.iter().any(|shard| shard.base.load(Acquire) == BASE_WRITING)
}

/// Makes a file that is new even if there was one of that name: a core may still be writing that, if it was made to switch
/// the log on in vain.
fn create_new(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    match storage.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => storage.create(path),
    }
}

#[cfg(test)]
mod tests {
    use super::create_new;
    use crate::persistence::storage::RealStorage;
    use std::fs::{self, File};
    use std::io::Write;

    #[test]
    fn a_file_that_is_made_again_is_another_one() {
        let path = std::env::temp_dir().join(format!("crimson-rewrite-{}", std::process::id()));
        create_new(&RealStorage, &path).unwrap();
        let mut old = File::options().write(true).open(&path).unwrap();
        create_new(&RealStorage, &path).unwrap();
        old.write_all(b"late").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        fs::remove_file(&path).unwrap();
    }
}
