//! The start of a server: the log is found, read and completed as the runtime's loading does it, step by step on a disk
//! whose power may fail at any of them.

use super::super::disk::{Disk, OpenDir};
use super::super::world::World;
use super::machine::{Fault, Machine, PENDING_BYTES, trace};
use crate::records::each_record;
use crimson::config::Config;
use crimson::engine::replay::Replay;
use crimson::persistence::aof::checkpoints::Place;
use crimson::persistence::aof::durable::{self, Durability, Lost};
use crimson::persistence::aof::{
    Catalog, Damage, Doubt, Entry, Kind, Manifest, Reader, Sealer, SegmentId, Stamps, Step, Transaction,
    TransactionView, Verdict, again, check, pending,
};
use crimson::persistence::storage::Storage;
use crimson::runtime::loading::Plan;
use crimson::server::aof;
use crimson::shard::{Router, Shard, ShardId};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the server has its files.
pub const DIR: &str = "/data";

/// Why it has not started.
#[derive(Debug)]
pub enum Stop {
    /// There is no power any more.
    Off,
    /// The log cannot be loaded.
    Refused(String),
    /// Good batches stand behind a bad one of this file: `check-aof --fix` would cut it.
    OutOfOrder(PathBuf, Damage),
}

/// Where a shard's log goes on.
pub struct Tail {
    pub path: PathBuf,
    pub segment: SegmentId,
    pub sequence: u64,
    pub offset: u64,
}

/// A shard as there was when the log was written.
struct Segment {
    data: Shard,
    replay: Replay,
    tail: Option<Tail>,
    /// Its increments, where they are torn, and what of them may not be on disk.
    ends: Vec<(Entry, Option<Damage>, Doubt)>,
}

struct Recovery<'a> {
    plan: Plan<OpenDir<'a>>,
    catalog: Catalog<OpenDir<'a>>,
    segments: Vec<Segment>,
    /// The transactions that any segment has.
    found: BTreeMap<u64, Transaction>,
    /// What the files say of each other.
    durability: Durability,
    out_of_order: Option<(PathBuf, Damage)>,
    now: i64,
}

/// Starts a server with so many cores.
pub fn start<'a>(
    disk: &'a Disk,
    config: &Config,
    cores: usize,
    seed: u64,
    now: i64,
    fault: Option<Fault>,
) -> Result<Machine<'a>, Stop> {
    let out_of_order = Cell::new(None);
    let refused = |reason: String| match out_of_order.take() {
        _ if disk.list(Path::new(DIR)).is_err() => Stop::Off,
        Some((path, damage)) => Stop::OutOfOrder(path, damage),
        None => Stop::Refused(reason),
    };
    let recovered = || -> Result<Machine<'a>, String> {
        let server = disk.open(Path::new(DIR)).map_err(said)?;
        aof::make_dir(&server, &config.appenddirname).map_err(said)?;
        let log = disk.open(&Path::new(DIR).join(&config.appenddirname)).map_err(said)?;
        let (plan, catalog) = aof::prepare(&server, &log, config, cores as u16).map_err(said)?;
        let mut recovery = Recovery::new(plan, catalog, now);
        for shard in 0..recovery.plan.manifest.shards {
            let loaded = recovery.load(config, shard);
            out_of_order.set(recovery.out_of_order.take());
            loaded?;
        }
        let stamps: Vec<Stamps> =
            recovery.segments.iter_mut().map(|segment| std::mem::take(&mut segment.replay.stamps)).collect();
        recovery.trim(&stamps, fault)?;
        if fault != Some(Fault::NotCompleted) {
            recovery.complete(&stamps)?;
        }
        let mut world = World::configured(config.clone(), cores, seed, now);
        world.engine(0).node().raise_stamp(stamps.iter().map(Stamps::highest).max().unwrap_or(0));
        recovery.hand_over(&mut world);
        let tails = recovery.tails(&mut world)?;
        let mut logs = Vec::new();
        for (shard, tail) in tails.into_iter().enumerate() {
            let pending = recovery.create_pending(shard as u16).map_err(said)?;
            logs.push(Machine::log_at(disk, tail, pending, config.appendfsync, now));
        }
        aof::clean(&recovery.catalog, &recovery.plan);
        let machine = Machine::new(world, recovery.catalog, logs, fault);
        Ok(machine)
    };
    trace(|| format!("{now}: start with {cores} cores, {:?}", config.appendfsync));
    let mut machine = recovered().map_err(refused)?;
    machine.world.engine(0).node().persistence.on.store(true, std::sync::atomic::Ordering::Relaxed);
    Ok(machine)
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Does what `check-aof --fix` does, or where nothing would be left, whoever looks after the log.
pub fn repair(disk: &Disk, path: &Path, damage: &Damage) -> std::io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name that is text");
    check::cut(disk, path.parent().expect("a directory"), name, damage).map(drop)
}

impl<'a> Recovery<'a> {
    fn new(plan: Plan<OpenDir<'a>>, catalog: Catalog<OpenDir<'a>>, now: i64) -> Self {
        let (segments, found, durability) = Default::default();
        Self { plan, catalog, segments, found, durability, out_of_order: None, now }
    }

    /// Replays the segments of a shard.
    fn load(&mut self, config: &Config, shard: u16) -> Result<(), String> {
        let mut data = Shard::new(ShardId(shard), config.databases);
        data.set_timeless(true);
        let replay = Replay::new(Arc::new(config.clone()), ShardId(shard), self.plan.manifest.shards, self.now);
        let mut segment = Segment { data, replay, tail: None, ends: Vec::new() };
        let files: Vec<Entry> = self.plan.manifest.of_shard(shard).into_iter().cloned().collect();
        for entry in &files {
            let path = PathBuf::from(&entry.name);
            let (verdict, doubt) = self.read(entry, &path, &mut segment)?;
            let torn = match verdict {
                Verdict::Good => None,
                Verdict::Cut(damage) => Some(damage),
                Verdict::OutOfOrder(damage) => {
                    self.out_of_order = Some((self.on_disk(&path), damage));
                    return Err("out of order".into());
                }
                Verdict::Refuse(damage) => return Err(format!("{}: {damage:?}", path.display())),
            };
            let Place { sequence, offset } = doubt.until;
            if sequence > 0 {
                segment.ends.iter_mut().for_each(|(.., doubt)| doubt.settle());
            }
            if entry.segment.kind == Kind::Increment {
                segment.ends.push((entry.clone(), torn, doubt));
            }
            if files.last() == Some(entry) && !self.plan.renews {
                segment.tail = Some(Tail { path, segment: entry.segment, sequence, offset });
            }
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Cuts torn ends off, if the logs fit together, and makes durable what is good.
    fn trim(&mut self, stamps: &[Stamps], fault: Option<Fault>) -> Result<(), String> {
        let lost = self.durability.lost(&self.plan.manifest);
        let proven = self.durability.proven(&self.plan.manifest, &Stamps::missing(stamps));
        if !lost.is_empty() || !proven.is_empty() {
            return Err(lost.iter().map(Lost::to_string).chain(proven.iter().map(durable::told)).collect());
        }
        let ends: Vec<_> = self.segments.iter_mut().flat_map(|segment| std::mem::take(&mut segment.ends)).collect();
        for (entry, torn, doubt) in ends {
            let (dir, path) = (&self.plan.source, Path::new(&entry.name));
            match torn {
                Some(damage) if self.plan.renews => check::keep(dir, Path::new(""), &entry.name, &damage).map(drop),
                Some(damage) => check::cut(dir, Path::new(""), &entry.name, &damage).map(drop),
                None => Ok(()),
            }
            .and_then(|()| match fault {
                _ if self.plan.renews => Ok(()),
                Some(Fault::NotWrittenAgain) => dir.sync(path),
                _ => again::make_durable(dir, path, self.plan.manifest.format(&entry), doubt),
            })
            .map_err(said)?;
        }
        Ok(())
    }

    fn read(&mut self, entry: &Entry, path: &Path, segment: &mut Segment) -> Result<(Verdict, Doubt), String> {
        let (mut reader, mut chunk) = (Reader::new(self.plan.manifest.format(entry)), vec![0; 3000]);
        segment.replay.rewind();
        segment.replay.stamps.generation = entry.segment.generation;
        let end = loop {
            match reader.step() {
                Step::Read(offset) => {
                    let read = self.plan.source.read_at(path, offset, &mut chunk).map_err(said)?;
                    reader.feed(&chunk[..read]);
                }
                Step::Record(record) => {
                    let view = TransactionView::is_one(record.args).then(|| TransactionView::parse(record.args));
                    if let Some(view) = view.flatten() {
                        self.found.insert(view.stamp, view.to_transaction());
                    }
                    let replayed = segment.replay.record(&mut segment.data, record.args);
                    replayed.map_err(|error| format!("{} at {}: {error}", path.display(), record.offset))?;
                }
                Step::Batch(_) if segment.replay.is_in_transaction() => return Err("MULTI without EXEC".into()),
                Step::Batch(_) => segment.replay.rewind(),
                Step::End(end) => break end,
            }
        };
        let good = reader.good_up_to();
        trace(|| format!("{}: {end:?} at {good}, batch {}", path.display(), reader.sequence()));
        self.durability.note(entry, reader.sequence(), reader.vouched());
        Ok((self.plan.manifest.judge(entry, end, good), Doubt::of(&reader)))
    }

    /// Completes transactions over several shards.
    fn complete(&mut self, stamps: &[Stamps]) -> Result<(), String> {
        let mut batches: Vec<Vec<u8>> = vec![Vec::new(); self.segments.len()];
        for missing in Stamps::missing(stamps) {
            trace(|| format!("{missing:?}"));
            for shard in missing.lack {
                let segment = &mut self.segments[usize::from(shard)];
                let mut record = Vec::new();
                self.found[&missing.stamp].write(shard, &mut record);
                let mut failed = Ok(0);
                each_record(&record, |args, _| {
                    let view = TransactionView::parse(args).expect("it was written just now");
                    failed = segment.replay.complete(&mut segment.data, &view);
                });
                if failed.map_err(said)? > 0 {
                    self.plan.renews = true;
                }
                batches[usize::from(shard)].append(&mut record);
            }
        }
        if self.plan.renews {
            return Ok(());
        }
        for (segment, mut batch) in self.segments.iter_mut().zip(batches) {
            let Some(tail) = segment.tail.as_mut().filter(|_| !batch.is_empty()) else { continue };
            let mut sealer = Sealer::resume(tail.segment, tail.sequence);
            sealer.seal(&mut batch, 0, self.now as u64);
            self.plan.dir.write_at(&tail.path, tail.offset, &batch).map_err(said)?;
            self.plan.dir.sync(&tail.path).map_err(said)?;
            tail.sequence = sealer.sequence();
            tail.offset += batch.len() as u64;
        }
        Ok(())
    }

    /// The file of a shard's pending area; now and then there is none.
    fn create_pending(&self, shard: u16) -> io::Result<Option<PathBuf>> {
        if self.now % 4 == 0 {
            return Ok(None);
        }
        let name = pending::name(&self.plan.filename, shard);
        if self.plan.kept.contains(&name) {
            pending::set_aside(&self.plan.dir, Path::new(""), &name)?;
        }
        let path = PathBuf::from(name);
        self.plan.dir.create(&path)?;
        self.plan.dir.truncate(&path, PENDING_BYTES as u64)?;
        Ok(Some(self.on_disk(&path)))
    }

    /// Where a file of the log is on the disk.
    fn on_disk(&self, path: &Path) -> PathBuf {
        self.plan.dir.shown(path)
    }

    /// Gives all keys to the cores of today.
    fn hand_over(&mut self, world: &mut World) {
        let router = Router::new(world.shards() as u16);
        (0..world.shards()).for_each(|core| world.engine(core).begin_loading());
        for segment in &mut self.segments {
            let db = &mut segment.data.databases[0];
            loop {
                let mut keys: Vec<Vec<u8>> = Vec::new();
                let cursor = db.scan(0, 1000, |key, _| keys.push(key.to_vec()));
                for key in keys {
                    let Some((value, expires)) = db.take(&key) else { continue };
                    world.engine(router.shard_of(&key).index()).adopt(0, &key, value, expires);
                }
                if cursor == 0 && db.is_empty() {
                    break;
                }
            }
        }
        for core in 0..world.shards() {
            world.engine(core).set_logging(true);
            world.engine(core).end_loading();
        }
    }

    /// Where the logs go on: where they end, or in a new generation.
    fn tails(&mut self, world: &mut World) -> Result<Vec<Tail>, String> {
        if !self.plan.renews {
            return Ok(self.segments.iter_mut().map(|segment| segment.tail.take().expect("it is loaded")).collect());
        }
        let (mut tails, mut bases) = (Vec::new(), Vec::new());
        aof::begin_generation(&mut self.catalog, &self.plan).map_err(said)?;
        let generation = self.plan.next_generation();
        for shard in 0..world.shards() {
            let segment = |kind| SegmentId { log: self.plan.log, generation, shard: shard as u16, kind };
            let path = |kind| PathBuf::from(Manifest::segment_name(&self.plan.filename, segment(kind)));
            let (base, increment) = (path(Kind::Base), path(Kind::Increment));
            self.plan.dir.create(&base).map_err(said)?;
            self.plan.dir.create(&increment).and_then(|()| self.plan.dir.sync(&increment)).map_err(said)?;
            let mut sealer = Sealer::new(segment(Kind::Base));
            let (mut offset, engine) = (0, world.engine(shard));
            engine.begin_snapshot();
            loop {
                let mut batch = Vec::new();
                let over = engine.step_snapshot(true, &mut batch);
                sealer.seal(&mut batch, 0, self.now as u64);
                self.plan.dir.write_at(&base, offset, &batch).map_err(said)?;
                offset += batch.len() as u64;
                if over {
                    break;
                }
            }
            self.plan.dir.sync(&base).map_err(said)?;
            bases.push(offset);
            tails.push(Tail { path: increment, segment: segment(Kind::Increment), sequence: 0, offset: 0 });
        }
        aof::commit(&mut self.catalog, &self.plan, &bases).map_err(said)?;
        Ok(tails)
    }
}
