//! A server whose cores keep a log on a simulated disk. What a core does in a turn with its log, its base and what waits
//! for them is what the runtime's core does; jobs take their time, and the power may fail between any two steps of them.

use super::super::disk::{Disk, OpenDir};
use super::super::world::World;
use super::recovery::Tail;
use crate::records::each_record;
use crimson::config::{Config, Fsync};
use crimson::metrics::persistence::{BASE_DONE, BASE_FAILED};
use crimson::persistence::aof::pending::{Area, Pending};
use crimson::persistence::aof::writer::Job;
use crimson::persistence::aof::{Catalog, Direct, Kind, Manifest, Sealer, SegmentId, TransactionView};
use crimson::persistence::storage::Storage;
use crimson::runtime::log::{Base, Gate, Group, Log};
use crimson::server::rewrite::{Means, Rewriter};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Relaxed, Release};

/// What can be made to go wrong with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Replies do not wait for the log.
    NotHeld,
    /// A shard does not log some transactions over several shards.
    LostRecord,
    /// What a shard has lost of a transaction is not completed.
    NotCompleted,
    /// Syncs do nothing.
    NoSync,
    /// What a failed write was to say is said.
    NotDropped,
    /// A log with a gap goes on as if there was none.
    NotMended,
    /// Pieces of values that go to another shard count as durable as soon as they are logged.
    StagedEarly,
    /// A start only syncs what a failed sync may have left in memory alone.
    NotWrittenAgain,
}

/// A job on its way.
struct Flight {
    file: PathBuf,
    offset: u64,
    /// Still to be written.
    bytes: Option<Vec<u8>>,
    /// Whether it has to be forced to disk.
    syncs: bool,
    len: i32,
    result: Option<i32>,
}

impl Flight {
    fn new(job: Job<'_, PathBuf>) -> Self {
        match job {
            Job::Sync { file } => {
                Self { file: file.clone(), offset: 0, bytes: None, syncs: true, len: 0, result: None }
            }
            Job::Write { file, offset, bytes, durable, .. } => Self {
                file: file.clone(),
                offset,
                bytes: Some(bytes.to_vec()),
                syncs: durable,
                len: bytes.len() as i32,
                result: None,
            },
        }
    }

    /// The next step of it: the write, or the sync. The error is that there is no power.
    fn advance(&mut self, disk: &OpenDir<'_>, syncs: bool) -> Result<(), ()> {
        if self.result.is_some() {
            return Ok(());
        }
        let outcome = match self.bytes.take() {
            // A write that has to be durable is synced in a second step.
            Some(bytes) => disk.write_at(&self.file, self.offset, &bytes).map(|()| !self.syncs),
            None if syncs => disk.sync(&self.file).map(|()| true),
            None => Ok(true),
        };
        self.result = match outcome {
            Ok(over) => over.then_some(self.len),
            Err(error) => Some(-error.raw_os_error().ok_or(())?),
        };
        Ok(())
    }
}

/// When all that was acknowledged is safe.
enum Promise {
    /// Nobody knows.
    Never,
    /// When the logs are synced up to where they are at that time: then what has begun under another policy is over.
    From(i64),
    /// When they are synced up to here.
    Behind(Vec<u64>),
    /// Always.
    Now,
}

/// A pending area on the disk.
struct Mapped {
    disk: Disk,
    path: PathBuf,
}

/// Small, so that it is full now and then.
pub const PENDING_BYTES: usize = 2000;

impl Area for Mapped {
    fn len(&self) -> usize {
        PENDING_BYTES
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.disk.put_mapped(&self.path, at, bytes);
    }
}

/// One core's part.
#[derive(Default)]
struct Core {
    log: Option<Log<PathBuf>>,
    base: Option<Base<PathBuf>>,
    job: Option<Flight>,
    base_job: Option<Flight>,
    /// By client, what waits for the log.
    held: Vec<(usize, Vec<u8>)>,
    /// By client, what waits no more.
    released: Vec<(usize, Vec<u8>)>,
}

/// The server.
pub struct Machine<'a> {
    pub world: World,
    /// The directory of the log.
    disk: OpenDir<'a>,
    filename: String,
    cores: Vec<Core>,
    rewriter: Rewriter<OpenDir<'a>>,
    fault: Option<Fault>,
    /// Whether the power has failed.
    pub is_off: bool,
    /// When the log last could not be written, and since when.
    failing: Option<(i64, i64)>,
    /// Whether a write or sync has failed.
    pub has_failed: bool,
    promise: Promise,
    /// How many gaps of logs have been mended.
    pub mended: u64,
}

/// So long after a change of the policy something may be under way that began before.
const UNDER_WAY_MS: i64 = 500;

/// So long after a failure what had waited for it may still be on its way to disk.
const AFTER_FAILURE_MS: i64 = 2500;

impl<'a> Machine<'a> {
    /// Cores that go on with these logs.
    pub fn new(mut world: World, catalog: Catalog<OpenDir<'a>>, logs: Vec<Log<PathBuf>>, fault: Option<Fault>) -> Self {
        let filename = "appendonly.aof".to_string();
        // Nobody writes to what is opened here: files are known by their names.
        let open = |_: &OpenDir<'a>, _: &Path| -> io::Result<_> { Ok(File::open("/dev/null")?.into()) };
        let disk = *catalog.storage();
        let rewriter = Rewriter::with(Means { open, find: |_, _, _| Ok(None) }, Some(catalog));
        let logs_len = logs.len();
        let cores = logs.into_iter().map(|log| Core { log: Some(log), ..Core::default() }).collect();
        let (is_off, failing, has_failed, mended) = Default::default();
        let always = world.engines().all(|engine| engine.config().appendfsync == Fsync::Always);
        if world.random.below(2) == 0 || fault == Some(Fault::StagedEarly) {
            // What goes over shards is small here. It is logged in pieces all the same.
            (0..logs_len).for_each(|core| world.engine(core).set_staged_min(0, 0));
        }
        let promise = if always { Promise::Now } else { Promise::Never };
        Self { world, disk, filename, cores, rewriter, fault, is_off, failing, has_failed, promise, mended }
    }

    /// Has the logs synced otherwise from now on.
    pub fn set_policy(&mut self, policy: Fsync) {
        let set = |config: &mut Config| -> Result<(), ()> {
            config.appendfsync = policy;
            Ok(())
        };
        self.world.engine(0).node().change_config(set).expect("it does not fail");
        let always = policy == Fsync::Always;
        self.promise = if always { Promise::From(self.world.now + UNDER_WAY_MS) } else { Promise::Never };
    }

    /// Whether all that was acknowledged is safe.
    pub fn keeps_all(&self) -> bool {
        matches!(self.promise, Promise::Now)
    }

    fn look_at_promise(&mut self) {
        let logs = self.cores.iter_mut().filter_map(|core| core.log.as_mut());
        match &self.promise {
            Promise::From(from) if *from <= self.world.now => {
                self.promise = Promise::Behind(logs.map(|log| log.writer().positions().0).collect());
            }
            Promise::Behind(marks) if logs.zip(marks).all(|(log, mark)| log.writer().synced() >= *mark) => {
                self.promise = Promise::Now;
            }
            _ => {}
        }
    }

    /// Something happens: a turn of some core, most often, and the disk and the control thread go on.
    pub fn step(&mut self) {
        let world = &mut self.world;
        world.now += world.random.below(3) as i64;
        if world.random.below(10) == 0 {
            world.now += world.random.below(40) as i64;
        }
        let core = world.random.below(self.cores.len());
        self.turn(core);
        for core in 0..self.cores.len() {
            self.advance(core, 3);
        }
        if self.world.random.below(5) == 0 {
            let node = self.world.engine(0).node().clone();
            self.rewriter.look(&node, self.world.now, || {});
            self.is_off |= self.disk.list(Path::new("")).is_err();
        }
        self.note_failures();
        self.look_at_promise();
    }

    /// Lets what a core has under way go on, with some luck.
    fn advance(&mut self, core: usize, one_in: usize) {
        let Core { job, base_job, .. } = &mut self.cores[core];
        let syncs = self.fault != Some(Fault::NoSync);
        for flight in [job, base_job].into_iter().flatten() {
            if self.world.random.below(one_in) == 0 && flight.advance(&self.disk, syncs).is_err() {
                self.is_off = true;
            }
        }
    }

    /// The process ends; what it had under way is done or not.
    pub fn kill(mut self) {
        for _ in 0..2 {
            (0..self.cores.len()).for_each(|core| self.advance(core, 2));
        }
    }

    fn note_failures(&mut self) {
        let now = self.world.now;
        if self.cores.iter_mut().filter_map(|core| core.log.as_mut()).any(|log| log.writer().trouble().is_some()) {
            self.failing = Some((self.failing.map_or(now, |(since, _)| since), now));
            self.has_failed = true;
        } else if self.failing.is_some_and(|(_, last)| now - last > AFTER_FAILURE_MS) {
            self.failing = None;
        }
    }

    /// Since when the log may be behind, because it could not be written.
    pub fn failing_since(&self) -> Option<i64> {
        self.failing.map(|(since, _)| since)
    }

    fn turn(&mut self, core: usize) {
        self.world.begin_turn(core);
        let node = self.world.engine(core).node().clone();
        if core == 0
            && let Some(cut) = node.take_cut()
        {
            self.world.engine(0).start_cut(cut);
        }
        self.take_results(core);
        self.world.engine(core).end_turn();
        self.make_cuts(core);
        self.keep_log(core);
        self.let_out(core);
        self.keep_base(core);
        for (client, bytes) in std::mem::take(&mut self.cores[core].released) {
            self.world.clients[client].received.splice(0..0, bytes);
        }
    }

    fn take_results(&mut self, core: usize) {
        if let Some(result) = self.cores[core].job.as_ref().and_then(|job| job.result) {
            self.cores[core].job = None;
            self.logged(core, result);
        }
        if let Some(result) = self.cores[core].base_job.as_ref().and_then(|job| job.result) {
            self.cores[core].base_job = None;
            self.base_written(core, result);
        }
    }

    fn logged(&mut self, core: usize, result: i32) {
        let now = self.world.now;
        trace(|| format!("{now} core {core}: job {result}"));
        let Some(log) = &mut self.cores[core].log else { return };
        let before = log.writer().trouble();
        let group = log.done(result, now);
        let after = log.writer().trouble();
        if before != after {
            self.tell_trouble(core, after);
        }
        match group {
            Some(group) if self.gate(core) == Gate::Lost => self.drop_group(core, group),
            Some(group) => self.release_group(core, group),
            None => {}
        }
    }

    fn tell_trouble(&mut self, core: usize, errno: Option<i32>) {
        let engine = self.world.engine(core);
        engine.node().persistence.shards[core].errno.store(errno.unwrap_or(0), Relaxed);
        engine.look_at_log();
    }

    fn gate(&self, core: usize) -> Gate {
        let gate = self.cores[core].log.as_ref().map_or(Gate::Open, Log::gate);
        match (self.fault, gate) {
            (Some(Fault::NotHeld), _) | (Some(Fault::NotDropped), Gate::Lost) => Gate::Open,
            _ => gate,
        }
    }

    fn make_cuts(&mut self, core: usize) {
        let now = self.world.now;
        for here in self.world.engine(core).take_cuts() {
            let segment =
                |kind| SegmentId { log: here.cut.log, generation: here.cut.generation, shard: core as u16, kind };
            let path = |kind| PathBuf::from(Manifest::segment_name(&self.filename, segment(kind)));
            let Some(log) = &mut self.cores[core].log else { continue };
            if !here.before.is_empty() {
                log.append(now, false, |records| records.extend_from_slice(&here.before));
            }
            let shard = &self.world.engine(core).node().persistence.shards[core];
            log.switch(path(Kind::Increment), segment(Kind::Increment), shard);
            self.cores[core].base = Some(Base::new(path(Kind::Base), segment(Kind::Base), now));
        }
    }

    fn keep_log(&mut self, core: usize) {
        let (now, fault) = (self.world.now, self.fault);
        let idle = self.world.random.below(2) == 0;
        let loses = fault == Some(Fault::LostRecord) && self.world.random.below(2) == 0;
        let Core { log: Some(log), job, .. } = &mut self.cores[core] else { return };
        let engine = self.world.engine(core);
        log.writer().set_policy(engine.config().appendfsync);
        log.vouch(now, &engine.node().persistence.shards);
        if engine.has_log() {
            log.append(now, false, |records| {
                engine.take_log(records);
                trace(|| format!("{now} core {core}: {}", records.escape_ascii()));
                if loses {
                    *records = without_transactions(records);
                }
            });
        }
        let generation = engine.node().persistence.generation.load(Relaxed);
        let mended = log.writer().mend(if fault == Some(Fault::NotMended) { u64::MAX } else { generation });
        if job.is_none() && (idle || log.is_due(now)) {
            let flush = engine.node().persistence.flushes.load(Relaxed) > 0 || engine.awaits_sync();
            *job = log.next(now, flush).map(Flight::new);
            if let Some(Flight { file, offset, len, .. }) = job {
                trace(|| format!("{now} core {core}: begins {file:?} {offset} {len}"));
            }
        }
        log.tell(&engine.node().persistence.shards[core]);
        engine.set_log_goals();
        if fault == Some(Fault::StagedEarly) {
            engine.shard_log().durable.set(u64::MAX);
        }
        if mended {
            self.mended += 1;
            self.tell_trouble(core, None);
        }
    }

    fn let_out(&mut self, core: usize) {
        match self.gate(core) {
            Gate::Open => {
                let mut mail = Vec::new();
                self.world.engine(core).take_outgoing(&mut mail);
                if let Some(log) = &mut self.cores[core].log {
                    log.forget_lost();
                }
                self.world.post_all(core, mail);
                self.world.flush(core);
            }
            Gate::Shut => {}
            gate @ (Gate::Hold | Gate::Lost) => {
                let mut group = Group::default();
                self.world.engine(core).take_outgoing(&mut group.mail);
                self.world.flush(core);
                let clients = self.world.clients.iter_mut().enumerate();
                let told = clients.filter(|(_, client)| client.core == core && !client.received.is_empty());
                let held = told.map(|(number, client)| (number, std::mem::take(&mut client.received)));
                self.cores[core].held = held.collect();
                let log = self.cores[core].log.as_mut().expect("only a log closes the gate");
                if gate == Gate::Hold {
                    log.hold(group);
                } else {
                    log.forget_lost();
                    self.drop_group(core, group);
                }
            }
        }
    }

    fn release_group(&mut self, core: usize, group: Group) {
        self.world.post_all(core, group.mail);
        let Core { held, released, .. } = &mut self.cores[core];
        released.append(held);
    }

    fn drop_group(&mut self, core: usize, mut group: Group) {
        trace(|| format!("core {core}: drops {:?}", self.cores[core].held));
        group.mail.iter_mut().for_each(|(_, message)| message.disown());
        self.world.post_all(core, group.mail);
        for (client, _) in std::mem::take(&mut self.cores[core].held) {
            self.world.disconnect(client);
        }
    }

    fn keep_base(&mut self, core: usize) {
        let now = self.world.now;
        let Core { base, base_job, .. } = &mut self.cores[core];
        let engine = self.world.engine(core);
        let Some(writer) = base else {
            if engine.has_snapshot() && engine.step_snapshot(true, &mut Vec::new()) {
                engine.node().persistence.shards[core].base.store(BASE_FAILED, Release);
            }
            return;
        };
        let room = writer.has_room();
        writer.append(now, |records| engine.step_snapshot(room, records));
        if base_job.is_none() {
            *base_job = writer.next(now).map(Flight::new);
        }
        let state = &engine.node().persistence.shards[core];
        state.base_bytes.set(writer.bytes());
        if writer.is_done() {
            *base = None;
            state.base.store(BASE_DONE, Release);
        }
    }

    fn base_written(&mut self, core: usize, result: i32) {
        let now = self.world.now;
        let Some(base) = &mut self.cores[core].base else { return };
        if !base.done(result, now) {
            let engine = self.world.engine(core);
            engine.abandon_snapshot();
            if !engine.has_snapshot() {
                engine.node().persistence.shards[core].base.store(BASE_FAILED, Release);
            }
            self.cores[core].base = None;
        }
    }

    /// Goes on where a loaded log ends. `pending`: the file of its pending area, if it has one.
    pub fn log_at(disk: &Disk, tail: Tail, pending: Option<PathBuf>, policy: Fsync, now: i64) -> Log<PathBuf> {
        let Tail { path, segment, sequence, offset } = tail;
        let mut log = Log::new(path, Sealer::resume(segment, sequence), offset, policy, now, 0);
        if let Some(path) = pending {
            let area = Mapped { disk: disk.clone(), path };
            log.writer().set_pending(Pending::new(Box::new(area)));
        }
        // Small, so that what little there is here is cut where blocks end. Allocations are aligned to as much.
        log.writer().set_direct(Some(Direct { block_bytes: 16, least_bytes: 64 }));
        log
    }
}

/// Prints what happens, if that is wanted.
pub fn trace(text: impl FnOnce() -> String) {
    if std::env::var_os("SIMULATION_TRACE").is_some() {
        println!("{}", text());
    }
}

/// The same records, but no transactions over several shards.
fn without_transactions(records: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    each_record(records, |args, bytes| {
        if !TransactionView::is_one(args) {
            kept.extend_from_slice(bytes);
        }
    });
    kept
}
