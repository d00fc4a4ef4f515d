//! Loading the append-only log at start. The cores answer -LOADING meanwhile: each does its part in slices of its turns.
//!
//! - `disk`     reads and writes files for a core, on a thread of its own
//! - `pass`     one way through the files of a shard
//! - `load`     replays what the log holds
//! - `trim`     cuts off torn ends, when all logs have been found to fit together
//! - `recover`  completes transactions over several shards that some of these have lost
//! - `spread`   gives keys to the shards of today, where there was another number of them
//! - `base`     writes a new generation, where the log cannot go on as it is
//! - `loader`   leads a core through these steps
//!
//! All cores take the same steps, and none begins a step before all have done the one before: [`Loading`] keeps them
//! together, and tells the control thread where that has to do something.

mod base;
mod disk;
mod load;
mod loader;
mod pass;
mod recover;
mod spread;
mod step;
mod trim;

pub use disk::Disk;
pub(super) use load::Tail;
pub(super) use loader::{Loader, Turn};
pub(super) use spread::adopt;

use crate::commands::Node;
use crate::commands::node::Control;
use crate::metrics::persistence::Loading as Progress;
use crate::persistence::aof::durable::{self, Durability, Lost};
use crate::persistence::aof::{LogId, Manifest, Missing, Origin, SegmentId, Stamps, Transaction, pending};
use crate::persistence::storage::{Directory, FileIn, Storage};
use crate::stdx::os::error_text;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What is loaded, and where the log goes on.
#[derive(Debug)]
pub struct Plan<D = Directory> {
    /// The directory of the files.
    pub source: D,
    /// Which they are.
    pub manifest: Manifest,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Whether a torn end is cut off.
    pub cuts: bool,
    /// The directory in which the log goes on.
    pub dir: D,
    /// What its files are named after.
    pub filename: String,
    /// Which log it is from then on.
    pub log: LogId,
    /// Whether the log cannot go on in its files: other shards have written them, or Redis, or an older format has.
    pub renews: bool,
    /// Files that a crash has left: they go when all is loaded.
    pub strays: Vec<String>,
    /// Pending areas that are to be kept under other names: they have what the log does not have.
    pub kept: BTreeSet<String>,
    /// Whether the log is a single file of Redis, which stays where it is.
    pub single: bool,
}

impl<D> Plan<D> {
    /// The generation that begins, where one does.
    pub fn next_generation(&self) -> u64 {
        self.manifest.newest() + 1
    }
}

/// Gives a pending area that is to be kept another name, so that the log can go on.
pub fn set_aside(dir: &dyn Storage, area: &str) -> io::Result<()> {
    let kept = pending::set_aside(dir, Path::new(""), area)?;
    let (area, kept) = (dir.shown(Path::new(area)), dir.shown(&kept));
    tracing::warn!(
        "{} is kept as {}: what it has is not in the log. A start adds it that finds it under its own name beside its own \
         files",
        area.display(),
        kept.display()
    );
    Ok(())
}

/// One core's part.
#[derive(Debug)]
pub struct LoadingPart {
    /// What all cores share.
    pub shared: Arc<Loading>,
    /// Reads and writes files for the core.
    pub disk: Disk,
}

impl LoadingPart {
    /// Starts the thread that reads and writes for core `core`, on the CPUs on which the caller may run.
    pub fn start(shared: Arc<Loading>, core: u16) -> io::Result<Self> {
        Ok(Self { shared, disk: Disk::start(core)? })
    }
}

/// What all cores do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// Each replays its segments.
    Load,
    /// Each cuts off the torn ends of its segments.
    Trim,
    /// Each looks for what others lack.
    Find,
    /// Each completes its segments.
    Complete,
    /// Each gives away keys that are not its own.
    Spread,
    /// Each waits for the last of its own.
    Settle,
    /// The control thread notes that a new generation begins.
    Begin,
    /// Each writes a base.
    Base,
    /// The control thread puts the new generation in force.
    Commit,
    /// Each begins to log.
    Open,
    /// All serve.
    Serve,
}

impl Stage {
    const ALL: [Self; 11] = [
        Self::Load,
        Self::Trim,
        Self::Find,
        Self::Complete,
        Self::Spread,
        Self::Settle,
        Self::Begin,
        Self::Base,
        Self::Commit,
        Self::Open,
        Self::Serve,
    ];
}

/// What the control thread has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Note that a new generation begins, and [`Loading::go_on`].
    Begin,
    /// Put the new generation in force, with bases of these lengths, and [`Loading::go_on`].
    Commit(Vec<u64>),
    /// Tell that the server is ready.
    Ready,
    /// End the process, with this error.
    Fail(String),
}

/// What all cores share while they load.
pub struct Loading {
    node: Arc<Node>,
    plan: Plan,
    cores: u16,
    started: Instant,
    stage: AtomicU8,
    state: Mutex<State>,
    /// Whether a new generation begins.
    renews: AtomicBool,
    missing: OnceLock<Vec<Missing>>,
    /// By core, keys that others have sent it.
    sent: Box<[AtomicU64]>,
}

#[derive(Default)]
struct State {
    /// Cores that are through with the stage.
    arrived: u16,
    /// By shard as there was.
    stamps: Vec<Stamps>,
    /// What all files say of each other.
    durability: Durability,
    found: BTreeMap<u64, Transaction>,
    /// By core, bytes of its base.
    bases: Vec<u64>,
    failure: Option<String>,
}

impl std::fmt::Debug for Loading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loading").field("plan", &self.plan).field("stage", &self.stage()).finish_non_exhaustive()
    }
}

impl Loading {
    /// Begins: from now on `node` says that it loads.
    pub fn begin(node: Arc<Node>, plan: Plan) -> Arc<Self> {
        let cores = node.metrics.len();
        let progress = &node.persistence.loading;
        progress.total_bytes.store(plan.bytes, Ordering::Relaxed);
        progress.started.store((node.wall_clock)().as_secs() as i64, Ordering::Relaxed);
        progress.active.store(true, Ordering::Release);
        let durability = Durability::of(&plan.manifest);
        let mut state = State { bases: vec![0; cores], durability, ..State::default() };
        state.stamps.resize_with(usize::from(plan.manifest.shards), Stamps::default);
        Arc::new(Self {
            renews: AtomicBool::new(plan.renews),
            node,
            plan,
            cores: cores as u16,
            started: Instant::now(),
            stage: AtomicU8::new(Stage::Load as u8),
            state: Mutex::new(state),
            missing: OnceLock::new(),
            sent: (0..cores).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// What is loaded.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the control thread has to do now; `None`: nothing.
    pub fn call(&self) -> Option<Call> {
        let state = self.state();
        match (&state.failure, self.stage()) {
            (Some(failure), _) => Some(Call::Fail(failure.clone())),
            (None, Stage::Begin) => Some(Call::Begin),
            (None, Stage::Commit) => Some(Call::Commit(state.bases.clone())),
            (None, Stage::Serve) => Some(Call::Ready),
            _ => None,
        }
    }

    /// The control thread has done what it had to.
    pub fn go_on(&self) {
        self.enter(self.after(self.stage()));
    }

    /// By increment that has been loaded, its last batch. When all cores serve, it is on disk, if the file is still part of the
    /// log.
    pub fn ends(&self) -> BTreeMap<SegmentId, u64> {
        self.state().durability.ends()
    }

    /// How long it has taken up to now.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Bytes that have been loaded, and keys that are there.
    pub fn progress(&self) -> &Progress {
        &self.node.persistence.loading
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all cores do now.
    fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.stage.load(Ordering::Acquire))]
    }

    fn enter(&self, stage: Stage) {
        if stage == Stage::Serve {
            self.serve();
        }
        self.stage.store(stage as u8, Ordering::Release);
        if matches!(stage, Stage::Begin | Stage::Commit | Stage::Serve) {
            self.node.tell(Control::Log);
        }
    }

    /// All cores log: they may serve.
    fn serve(&self) {
        let persistence = &self.node.persistence;
        let bases = match self.renews() {
            true => self.state().bases.iter().sum(),
            false => self.plan.bytes.saturating_sub(persistence.sum(|shard| &shard.file_bytes)),
        };
        persistence.base_bytes.store(bases, Ordering::Relaxed);
        persistence.on.store(true, Ordering::Relaxed);
        persistence.in_force.store(true, Ordering::Relaxed);
        persistence.loading.active.store(false, Ordering::Release);
    }

    /// Whether a new generation begins.
    pub fn renews(&self) -> bool {
        self.renews.load(Ordering::Relaxed)
    }

    /// The log cannot go on in its files, as it turns out.
    fn renew(&self) {
        self.renews.store(true, Ordering::Relaxed);
    }

    /// Whether other shards than those of today have written the log.
    fn is_scattered(&self) -> bool {
        self.plan.manifest.shards != self.cores
    }

    /// A core is through with a stage. The last one to be so leads on to the next.
    fn arrive(&self, stage: Stage) {
        let mut state = self.state();
        debug_assert_eq!(self.stage(), stage, "none begins before all are there");
        state.arrived += 1;
        if state.arrived < self.cores {
            return;
        }
        state.arrived = 0;
        if stage == Stage::Load {
            self.compare(&mut state);
            if let Some(failure) = self.lost(&state) {
                drop(state);
                return self.fail(failure);
            }
        }
        drop(state);
        self.enter(self.after(stage));
    }

    fn after(&self, stage: Stage) -> Stage {
        let loaded = match (self.is_scattered(), self.renews()) {
            (true, _) => Stage::Spread,
            (false, true) => Stage::Begin,
            (false, false) => Stage::Open,
        };
        match stage {
            Stage::Load => Stage::Trim,
            Stage::Trim if self.missing().is_empty() => loaded,
            Stage::Trim => Stage::Find,
            Stage::Find => Stage::Complete,
            Stage::Complete => loaded,
            Stage::Spread => Stage::Settle,
            Stage::Settle => Stage::Begin,
            Stage::Begin => Stage::Base,
            Stage::Base => Stage::Commit,
            Stage::Commit => Stage::Open,
            Stage::Open | Stage::Serve => Stage::Serve,
        }
    }

    /// What files lack that others prove to have been there: nothing is changed then.
    fn lost(&self, state: &State) -> Option<String> {
        let lost = state.durability.lost(&self.plan.manifest);
        let proven = state.durability.proven(&self.plan.manifest, self.missing());
        let told: Vec<String> =
            lost.iter().map(Lost::to_string).chain(proven.iter().take(1).map(durable::told)).collect();
        let dir = self.plan.source.path().display();
        (!told.is_empty()).then(|| {
            format!(
                "the append-only log in {dir} is not whole: {}. Restore what is missing; `crimson check-aof {dir}` tells more",
                told.join("; ")
            )
        })
    }

    /// Finds out which transactions over several shards some of these have lost.
    fn compare(&self, state: &mut State) {
        let stamps = std::mem::take(&mut state.stamps);
        self.node.raise_stamp(stamps.iter().map(Stamps::highest).max().unwrap_or(0));
        let missing = if self.plan.manifest.origin == Origin::Crimson { Stamps::missing(&stamps) } else { Vec::new() };
        let first = self.missing.set(missing);
        debug_assert!(first.is_ok(), "they are compared once");
    }

    /// What is missing, in the order in which it is to be applied.
    fn missing(&self) -> &[Missing] {
        self.missing.get().map_or(&[], Vec::as_slice)
    }

    fn note_stamps(&self, shard: u16, stamps: Stamps) {
        self.state().stamps[usize::from(shard)] = stamps;
    }

    fn note_durability(&self, durability: Durability) {
        self.state().durability.append(durability);
    }

    fn found(&self, transaction: Transaction) {
        match self.state().found.entry(transaction.stamp) {
            Entry::Vacant(place) => drop(place.insert(transaction)),
            Entry::Occupied(mut first) => first.get_mut().join(transaction),
        }
    }

    fn transaction(&self, stamp: u64) -> Option<Transaction> {
        self.state().found.get(&stamp).cloned()
    }

    fn note_base(&self, core: u16) {
        let core = usize::from(core);
        self.state().bases[core] = self.node.persistence.shards[core].base_bytes.get();
    }

    /// A core cannot go on, and so none can.
    fn fail(&self, failure: String) {
        self.state().failure.get_or_insert(failure);
        self.node.tell(Control::Log);
    }

    fn count_bytes(&self, bytes: u64) {
        self.progress().loaded_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn count_sent(&self, to: usize, keys: u64) {
        self.sent[to].fetch_add(keys, Ordering::Relaxed);
    }

    fn sent_to(&self, core: u16) -> u64 {
        self.sent[usize::from(core)].load(Ordering::Relaxed)
    }
}

/// An error with a file.
fn in_file(path: &FileIn, error: &io::Error) -> String {
    format!("{}: {}", path.shown().display(), error_text(error))
}
