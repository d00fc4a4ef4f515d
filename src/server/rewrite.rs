//! The control thread's part in rewriting the log: it makes the files of a new generation, has the cores cut, and when
//! all bases are written makes them the log.
//!
//! The manifest says that a generation is begun before its files are made, and lists the new increments before the cut,
//! empty, behind the old ones: so what is logged from the cut on is part of the log at once, whatever becomes of the bases.
//! When they are whole, a manifest with nothing but the new generation takes its place. A log that is switched on is none
//! before its bases are whole; only then its files are listed.
//!
//! No generation is begun twice, and nothing is removed that a manifest on disk may still list.

use super::BootError;
use super::aof;
use crate::commands::Node;
use crate::config::Config;
use crate::limits::AOF_GENERATIONS_MAX;
use crate::metrics::persistence::{BASE_DONE, BASE_IDLE, BASE_WRITING, Persistence};
use crate::persistence::aof::{Catalog, Cut, CutFiles, Entry, Kind, LogId, Manifest, SegmentId, pending};
use crate::persistence::storage::{Directory, Storage};
use crate::shard::Millis;
use crate::stdx::os::error_text;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex};
use tracing::{debug, error, info, warn};

/// A log that could not be switched on is not tried again for so long, and then ever longer, unless somebody asks for it.
const REST_MS: Millis = 10_000;

/// A log that was found; none where it is the one that is known.
pub type Found<D> = Result<Option<Catalog<D>>, BootError>;

/// What a rewrite needs of the machine.
pub struct Means<D> {
    /// Opens a file that the storage has just made.
    pub open: fn(&D, &Path) -> io::Result<OwnedFd>,
    /// The log that the directives name now, for so many shards, if it is not in the directory that is locked already.
    pub find: fn(&Config, u16, Option<&D>) -> Found<D>,
}

/// Rewrites of the log, one at a time.
pub struct Rewriter<D> {
    means: Means<D>,
    /// The log, from when it is first wanted.
    catalog: Option<Catalog<D>>,
    under_way: Option<UnderWay>,
    /// Files that a manifest may still list which could not be stored for sure. They go when another one is.
    leftovers: BTreeSet<String>,
    /// The last generation that was begun, or tried to.
    newest: u64,
    /// The failure that was told last, and has not ended since.
    told: Option<String>,
}

struct UnderWay {
    generation: u64,
    started_ms: Millis,
    /// Whether the manifest lists the increments.
    listed: bool,
    /// Whether it switches the log on.
    switches_on: bool,
}

impl Rewriter<Directory> {
    /// For this log, if there is one yet.
    pub fn new(catalog: Option<Catalog<Directory>>) -> Self {
        let open = |log: &Directory, name: &Path| log.file(&name.to_string_lossy()).open_to_write().map(OwnedFd::from);
        let find = |config: &Config, cores, current: Option<&Directory>| aof::find_again(config, cores, current);
        Self::with(Means { open, find }, catalog)
    }
}

impl<D: Storage> Rewriter<D> {
    /// The same by other means.
    pub fn with(means: Means<D>, catalog: Option<Catalog<D>>) -> Self {
        let (under_way, leftovers, newest, told) = Default::default();
        Self { means, catalog, under_way, leftovers, newest, told }
    }

    /// The log, if there has ever been one.
    pub fn found(&mut self) -> Option<&mut Catalog<D>> {
        self.catalog.as_mut()
    }

    /// The log that is loaded at start.
    pub fn catalog(&mut self) -> &mut Catalog<D> {
        self.catalog.as_mut().expect("what is loaded has been found before")
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
        // A cut that waits must not be replaced by another one.
        if node.has_cut() {
            return;
        }
        let wanted = node.config().appendonly;
        if state.on.load(Relaxed) && !wanted {
            info!("The append-only log is switched off");
            switch_off(node, &wake);
        }
        if self.under_way.is_some() {
            return;
        }
        let switches_on = wanted && !state.on.load(Relaxed);
        let asked = state.rewrite_asked.swap(false, AcqRel);
        if asked {
            self.told = None;
        }
        let rests = !asked && state.rests_after_failure(now, REST_MS);
        if !state.rewrite_scheduled.load(Acquire) && (!switches_on || rests) {
            return;
        }
        if let Err(reason) = self.begin(node, wanted, switches_on, now, &wake) {
            self.fail(state, switches_on, reason, now);
        }
        // Only now, so that at any moment it is to be seen that one is wanted, under way, or has failed.
        state.rewrite_scheduled.store(false, Release);
    }

    /// Tells of a failure; once as long as it stays the same, for it is tried again and again.
    fn fail(&mut self, state: &Persistence, switches_on: bool, reason: String, now: Millis) {
        let what = if switches_on { "switch the append-only log on" } else { "rewrite the append-only log" };
        let line = format!("Can't {what}: {reason}");
        if self.told.as_ref() == Some(&line) {
            debug!("{line}");
        } else {
            error!("{line}{}", if switches_on { "; trying again from time to time" } else { "" });
            self.told = Some(line);
        }
        state.note_rewrite_failure(now);
    }

    fn begin(
        &mut self,
        node: &Node,
        logs: bool,
        switches_on: bool,
        now: Millis,
        wake: &impl Fn(),
    ) -> Result<(), String> {
        let state = &node.persistence;
        let shards = state.shards.len() as u16;
        if !state.on.load(Relaxed) {
            self.find(&node.config(), shards)?;
        }
        let listed = logs && !switches_on;
        let generation = self.next_generation(listed)?;
        if self.told.is_none() {
            info!("Rewriting the append-only log: generation {generation}");
        }
        let files = self.prepare(generation, shards, listed).map_err(|error| error_text(&error))?;
        state.shards.iter().for_each(|shard| {
            shard.base_errno.store(0, Relaxed);
            shard.base.store(BASE_WRITING, Release);
        });
        state.rewrite_started_ms.store(now, Relaxed);
        state.rewriting.store(true, Release);
        state.on.store(logs, Release);
        self.under_way = Some(UnderWay { generation, started_ms: now, listed, switches_on });
        let log = self.catalog().manifest().log;
        cut(node, Cut { log, generation, logs, snapshot: true, files }, wake);
        Ok(())
    }

    /// While nothing is logged, the log is where the directives say, which may be another place than before.
    fn find(&mut self, config: &Config, shards: u16) -> Result<(), String> {
        let current = self.catalog.as_ref().map(Catalog::storage);
        let found = (self.means.find)(config, shards, current).map_err(|error| error.to_string())?;
        if found.is_some() {
            self.catalog = found;
            self.leftovers.clear();
        }
        Ok(())
    }

    /// The number of the generation that begins. `listed`: the manifest gets longer by it.
    fn next_generation(&mut self, listed: bool) -> Result<u64, String> {
        let manifest = self.catalog().manifest();
        let generations: BTreeSet<u64> = manifest.files.iter().map(|entry| entry.segment.generation).collect();
        if listed && generations.len() >= AOF_GENERATIONS_MAX {
            return Err(format!(
                "{AOF_GENERATIONS_MAX} rewrites have failed one after another, and each has left files that are part of the \
                 log. When the disk works again, switch the log off and on"
            ));
        }
        let newest = manifest.newest();
        self.newest = self.newest.max(newest) + 1;
        Ok(self.newest)
    }

    /// Makes the files of a generation, and lists the increments if they are part of the log from now on.
    fn prepare(&mut self, generation: u64, shards: u16, listed: bool) -> io::Result<Vec<Mutex<Option<CutFiles>>>> {
        self.catalog().begin(generation)?;
        let mut made = Vec::new();
        let files =
            (0..shards).map(|shard| self.make(generation, shard, listed, &mut made)).collect::<io::Result<Vec<_>>>();
        let files = files.and_then(|files| self.catalog().storage().sync_dir(Path::new("")).map(|()| files));
        let files = files.inspect_err(|_| made.iter().for_each(|name| self.remove(name)))?;
        if listed {
            let mut manifest = self.catalog().manifest().clone();
            manifest.files.extend((0..shards).map(|shard| self.entry(generation, shard, Kind::Increment, None)));
            self.catalog().store(manifest).inspect_err(|_| self.leftovers.extend(made))?;
        }
        Ok(files)
    }

    /// All bases are written, or some cannot be.
    fn end(&mut self, node: &Node, under_way: &UnderWay, now: Millis, wake: &impl Fn()) {
        let state = &node.persistence;
        // All of them, to the last.
        let done: Vec<bool> =
            state.shards.iter().map(|shard| shard.base.swap(BASE_IDLE, AcqRel) == BASE_DONE).collect();
        let completed = match done.iter().all(|done| *done) {
            true => self.complete(state, under_way.generation).map_err(|error| error_text(&error)),
            false => Err(self.abandon(state, under_way)),
        };
        state.last_rewrite_seconds.store((now - under_way.started_ms) / 1000, Relaxed);
        match completed {
            Ok(bytes) => {
                state.rewrites.fetch_add(1, Relaxed);
                state.last_rewrite_ok.store(true, Relaxed);
                state.rewrite_failures.store(0, Relaxed);
                state.base_bytes.store(bytes, Relaxed);
                // The cores add to it at a cut, and the next one is made here.
                state.shards.iter().for_each(|shard| shard.earlier_bytes.set(0));
                // Last, for clients wait for it and see the rest then.
                state.in_force.store(state.on.load(Relaxed), Release);
                self.told = None;
                info!("The append-only log is rewritten: {bytes} bytes in {} ms", now - under_way.started_ms);
            }
            Err(reason) => {
                self.fail(state, under_way.switches_on, reason, now);
                if under_way.switches_on && state.on.load(Relaxed) {
                    // What was logged since belongs to no log.
                    switch_off(node, wake);
                }
            }
        }
        // Only now, so that how it has ended is there when it is no longer under way.
        state.rewriting.store(false, Release);
    }

    /// The files of a generation that has not come to its end are not needed; why it has not.
    fn abandon(&mut self, state: &Persistence, under_way: &UnderWay) -> String {
        let (shards, generation) = (state.shards.len() as u16, under_way.generation);
        let kinds = if under_way.listed { &[Kind::Base][..] } else { &[Kind::Base, Kind::Increment] };
        let names = kinds.iter().flat_map(|&kind| (0..shards).map(move |shard| (shard, kind)));
        let names: Vec<String> = names.map(|(shard, kind)| self.name(generation, shard, kind)).collect();
        match self.catalog().check() {
            Ok(()) => names.iter().for_each(|name| self.remove(name)),
            Err(_) => self.leftovers.extend(names),
        }
        let errno = state.shards.iter().map(|shard| shard.base_errno.load(Relaxed)).find(|errno| *errno != 0);
        errno.map_or_else(
            || "a base could not be written".into(),
            |errno| error_text(&io::Error::from_raw_os_error(errno)),
        )
    }

    /// Makes a generation the log; the length of its bases.
    fn complete(&mut self, state: &Persistence, generation: u64) -> io::Result<u64> {
        let mut after = Manifest::new(self.catalog().manifest().log, state.shards.len() as u16);
        for (shard, log) in state.shards.iter().enumerate() {
            let bytes = log.base_bytes.get();
            after.files.push(self.entry(generation, shard as u16, Kind::Base, Some(bytes)));
            after.files.push(self.entry(generation, shard as u16, Kind::Increment, None));
        }
        let new: BTreeSet<String> = after.files.iter().map(|entry| entry.name.clone()).collect();
        let mut old: BTreeSet<String> =
            self.catalog().manifest().files.iter().map(|entry| entry.name.clone()).collect();
        if let Err(error) = self.catalog().store(after) {
            // The manifest may have taken its place all the same, and only the sync behind that have failed.
            self.leftovers.extend(new);
            return Err(error);
        }
        state.generation.store(generation, Release);
        old.append(&mut self.leftovers);
        old.difference(&new).for_each(|name| self.remove(name));
        Ok(state.sum(|shard| &shard.base_bytes))
    }

    fn name(&mut self, generation: u64, shard: u16, kind: Kind) -> String {
        let segment = SegmentId { log: LogId::NONE, generation, shard, kind };
        Manifest::segment_name(self.catalog().filename(), segment)
    }

    fn entry(&mut self, generation: u64, shard: u16, kind: Kind, bytes: Option<u64>) -> Entry {
        let log = self.catalog().manifest().log;
        let name = self.name(generation, shard, kind);
        Entry { name, segment: SegmentId { log, generation, shard, kind }, bytes }
    }

    /// Makes the files of one shard, and notes their names.
    fn make(
        &mut self,
        generation: u64,
        shard: u16,
        listed: bool,
        made: &mut Vec<String>,
    ) -> io::Result<Mutex<Option<CutFiles>>> {
        let mut make = |kind| {
            let name = self.name(generation, shard, kind);
            let (path, log) = (Path::new(&name), self.catalog().storage());
            log.create_new(path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    let path = log.shown(path);
                    io::Error::other(format!("{} is there already, and not this server's", path.display()))
                }
                _ => error,
            })?;
            made.push(name.clone());
            (self.means.open)(self.catalog().storage(), Path::new(&name))
        };
        let (increment, base) = (make(Kind::Increment)?, Some(make(Kind::Base)?));
        // A log that goes on keeps the one it has.
        let pending = if listed { None } else { Some(self.make_pending(shard)?.into()) };
        Ok(Mutex::new(Some(CutFiles { increment, base, pending })))
    }

    /// Makes the file of a shard's pending area. One that is there may still be mapped by a log that is being finished, so
    /// it is not emptied but loses its name.
    fn make_pending(&mut self, shard: u16) -> io::Result<OwnedFd> {
        let name = pending::name(self.catalog().filename(), shard);
        let path = Path::new(&name);
        let storage = self.catalog().storage();
        match storage.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => storage.create_new(path)?,
        }
        (self.means.open)(self.catalog().storage(), path)
    }

    fn remove(&mut self, name: &str) {
        if let Err(error) = self.catalog().storage().remove(Path::new(name)) {
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

/// Has the cores log no more.
fn switch_off(node: &Node, wake: &impl Fn()) {
    node.persistence.in_force.store(false, Release);
    node.persistence.on.store(false, Release);
    cut(node, Cut::switching_off(), wake);
}
