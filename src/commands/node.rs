//! What all cores share: directives, counters, identity. Read often, written rarely; nothing here is on the data path.

use super::reclaimer::Reclaimer;
use crate::config::Config;
use crate::limits::CONTROL_MESSAGES_MAX;
use crate::metrics::memory::{AllocatorBytes, Held};
use crate::metrics::persistence::Persistence;
use crate::metrics::sampler::{Rates, Reading, Sampler};
use crate::metrics::slowlog::SlowLog;
use crate::metrics::{Baseline, CommandTotals, CoreMetrics, CoreTotals};
use crate::persistence::aof::Cut;
use crate::pubsub::Interest;
use crate::session::Directory;
use crate::shard::{Millis, ShardId};
use crate::stdx::allocation;
use crate::stdx::random::Random;
use crossbeam_channel::{Receiver, Sender};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The Redis version whose core commands and behaviour are promised to clients.
pub const REDIS_VERSION: &str = "7.2.4";

/// Crimson's own version.
pub const CRIMSON_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Tells the time since the Unix epoch, finer than the milliseconds that commands work with.
pub type WallClock = Box<dyn Fn() -> Duration + Send + Sync>;

/// What wakes the control thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The process got this signal, which asks for its end.
    Signal(i32),
    /// A client asked for the end of the process.
    Shutdown,
    /// A core has ended.
    CoreEnded(ShardId),
    /// Something about the log is to be looked at: its state tells what.
    Log,
    /// The allocator is to give back the pages that it keeps for the next request.
    Purge,
}

/// What all cores share.
pub struct Node {
    config: Mutex<Arc<Config>>,
    config_version: AtomicU64,
    /// The configuration file, if there was one; CONFIG REWRITE writes it.
    pub config_file: Option<PathBuf>,
    /// The directory the server was started in, where relative paths in that file begin.
    pub start_directory: PathBuf,
    control: (Sender<Control>, Receiver<Control>),
    /// Whether word of the log, or the wish for pages, waits there already.
    waiting: [AtomicBool; 2],
    /// Each core's counters.
    pub metrics: Box<[CoreMetrics]>,
    /// What the process holds beside what its cores know of themselves.
    pub held: Held,
    /// The append-only log.
    pub persistence: Persistence,
    /// Which cores have clients that want to hear of what.
    pub interest: Arc<Interest>,
    /// Where every client is.
    pub directory: Directory,
    /// A cut that the first core is to make.
    cut: Mutex<Option<Arc<Cut>>>,
    cut_waits: AtomicBool,
    next_client_id: AtomicU64,
    next_transaction: AtomicU64,
    /// The stamp of the next transaction over several shards that is logged.
    next_stamp: AtomicU64,
    /// Until when which commands wait (CLIENT PAUSE): a [`Pause`] as one number, so that two that come at once become one.
    pause: AtomicI64,
    /// Commands that had run, and the time, when the allocator was asked last.
    sampled_commands: AtomicU64,
    asked_ms: AtomicI64,
    /// Set by SHUTDOWN.
    pub shutdown: AtomicBool,
    /// Whether keys whose time is over are removed in the background; DEBUG SET-ACTIVE-EXPIRE changes it.
    pub active_expire: AtomicBool,
    /// Microseconds for TIME and INFO; the system's clock unless a test gives another.
    pub wall_clock: WallClock,
    /// Frees what takes long; at once unless a thread has been started for it.
    pub reclaimer: Reclaimer,
    /// The commands that took long.
    pub slow_log: SlowLog,
    statistics: Mutex<Statistics>,
    /// Most bytes the allocator had handed out at any sample.
    peak_memory_bytes: AtomicU64,
    /// Bytes the allocator had handed out at the first sample.
    startup_memory_bytes: AtomicU64,
    /// 40 hexadecimal digits that name the history of this data, as a replica would know it.
    pub replication_id: String,
    /// The CPU each core is pinned to; empty when they are not.
    pub cpus: Vec<usize>,
    /// Whether systemd is told how the server is.
    pub supervised: bool,
    /// 40 hexadecimal digits that name this run.
    pub run_id: String,
    /// When the server started.
    pub started_ms: Millis,
    /// Where it listens, as INFO tells it: `name=tcp,bind=127.0.0.1,port=6379`.
    pub listeners: Vec<String>,
}

impl Node {
    /// A node with `cores` cores that starts now.
    pub fn new(config: Config, cores: usize, commands: usize, run_id: String, now: Millis) -> Self {
        let metrics = (0..cores).map(|_| CoreMetrics::new(config.databases, commands)).collect();
        Self {
            config: Mutex::new(Arc::new(config)),
            config_version: AtomicU64::new(1),
            config_file: None,
            start_directory: PathBuf::new(),
            control: crossbeam_channel::bounded(CONTROL_MESSAGES_MAX),
            waiting: Default::default(),
            metrics,
            held: Held::default(),
            persistence: Persistence::new(cores),
            directory: Directory::default(),
            interest: Arc::new(Interest::new(cores, seed_of(&run_id))),
            cut: Mutex::default(),
            cut_waits: AtomicBool::new(false),
            next_client_id: AtomicU64::new(1),
            next_transaction: AtomicU64::new(1),
            next_stamp: AtomicU64::new(1),
            pause: AtomicI64::new(0),
            sampled_commands: AtomicU64::new(0),
            asked_ms: AtomicI64::new(0),
            shutdown: AtomicBool::new(false),
            active_expire: AtomicBool::new(true),
            wall_clock: Box::new(|| SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()),
            reclaimer: Reclaimer::inline(),
            slow_log: SlowLog::default(),
            statistics: Mutex::default(),
            peak_memory_bytes: AtomicU64::new(0),
            startup_memory_bytes: AtomicU64::new(0),
            replication_id: replication_id(&run_id),
            cpus: Vec::new(),
            supervised: false,
            run_id,
            started_ms: now,
            listeners: Vec::new(),
        }
    }

    /// The directives now.
    pub fn config(&self) -> Arc<Config> {
        self.config.lock().expect("no holder panics").clone()
    }

    /// Runs `action` with the directives while nobody can change them.
    pub fn with_config<R>(&self, action: impl FnOnce(&Config) -> R) -> R {
        action(&self.config.lock().expect("no holder panics"))
    }

    /// Changes with every change of the directives, so that a core knows when to fetch them again.
    #[inline]
    pub fn config_version(&self) -> u64 {
        self.config_version.load(Ordering::Acquire)
    }

    /// Changes directives for all cores; a change that fails leaves everything as it was.
    pub fn change_config<E>(&self, change: impl FnOnce(&mut Config) -> Result<(), E>) -> Result<(), E> {
        let mut guard = self.config.lock().expect("no holder panics");
        let mut next = Config::clone(&guard);
        change(&mut next)?;
        *guard = Arc::new(next);
        self.config_version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// An id for a new client.
    pub fn next_client_id(&self) -> u64 {
        self.next_client_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The id of a new transaction, greater than all before.
    pub fn next_transaction(&self) -> u64 {
        self.next_transaction.fetch_add(1, Ordering::Relaxed)
    }

    /// The stamp of a transaction over several shards that is about to be logged, greater than all before. Whoever takes
    /// one has all the transaction's locks there, or knows that they are.
    pub fn next_stamp(&self) -> u64 {
        self.next_stamp.fetch_add(1, Ordering::Relaxed)
    }

    /// Stamps go on above `stamp`, which a log that was loaded has seen.
    pub fn raise_stamp(&self, stamp: u64) {
        self.next_stamp.fetch_max(stamp.saturating_add(1), Ordering::Relaxed);
    }

    /// Holds commands back until `until_ms`, or only those that write. A pause that is under way is neither shortened nor
    /// weakened.
    pub fn pause(&self, now: Millis, until_ms: Millis, writes_only: bool) {
        let both = |before| {
            let Pause { until_ms: before_ms, writes_only: before } = Pause::from_bits(before);
            let holds_all = before_ms > now && !before;
            Some(Pause { until_ms: before_ms.max(until_ms), writes_only: writes_only && !holds_all }.to_bits())
        };
        _ = self.pause.fetch_update(Ordering::AcqRel, Ordering::Acquire, both);
    }

    /// Ends a pause.
    pub fn unpause(&self) {
        self.pause.store(0, Ordering::Release);
    }

    /// The pause that was asked for last; it may be over.
    #[inline]
    pub fn last_pause(&self) -> Pause {
        Pause::from_bits(self.pause.load(Ordering::Relaxed))
    }

    /// Asks for the end of the process. The control thread does it.
    pub fn request_shutdown(&self) {
        self.shutdown.store(true, Ordering::Release);
        self.tell(Control::Shutdown);
    }

    /// Asks the first core for a cut. It must be woken.
    pub fn request_cut(&self, cut: Arc<Cut>) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
        self.cut_waits.store(true, Ordering::Release);
    }

    /// Whether the first core has yet to take a cut.
    pub fn has_cut(&self) -> bool {
        self.cut_waits.load(Ordering::Acquire)
    }

    /// The cut that the first core is to make, once.
    #[inline]
    pub fn take_cut(&self) -> Option<Arc<Cut>> {
        if !self.cut_waits.load(Ordering::Relaxed) {
            return None;
        }
        self.cut_waits.store(false, Ordering::Relaxed);
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Has the log rewritten as soon as possible.
    pub fn request_rewrite(&self) {
        self.persistence.rewrite_scheduled.store(true, Ordering::Release);
        self.tell(Control::Log);
    }

    /// Wakes the control thread with `message`. What cores tell again and again waits there once, so there is always room
    /// for everything else.
    pub fn tell(&self, message: Control) {
        if !self.waits(message).is_some_and(|waits| waits.swap(true, Ordering::AcqRel)) {
            let _ = self.control.0.try_send(message);
        }
    }

    /// Sleeps until there is a message for the control thread.
    pub fn next_control(&self) -> Control {
        let message = self.control.1.recv().expect("the node holds a sender itself");
        if let Some(waits) = self.waits(message) {
            // Before anything is looked at: what is told from now on comes again.
            waits.swap(false, Ordering::AcqRel);
        }
        message
    }

    fn waits(&self, message: Control) -> Option<&AtomicBool> {
        match message {
            Control::Log => Some(&self.waiting[0]),
            Control::Purge => Some(&self.waiting[1]),
            Control::Signal(_) | Control::Shutdown | Control::CoreEnded(_) => None,
        }
    }

    fn statistics(&self) -> MutexGuard<'_, Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a sample for the rates in INFO when one is due; one core calls this a few times in each tenth of a second.
    pub fn sample(&self, now: Millis) {
        let mut statistics = self.statistics();
        if !statistics.sampler.is_due(now) {
            return;
        }
        let mut reading = Reading::default();
        for core in &self.metrics {
            reading.commands += core.commands.get();
            reading.input_bytes += core.input_bytes.get();
            reading.output_bytes += core.output_bytes.get();
            reading.busy_nanoseconds.push(core.busy_nanoseconds.get());
        }
        let reading_commands = reading.commands;
        statistics.sampler.record(now, reading);
        drop(statistics);
        if !self.asks_allocator(reading_commands, now) {
            return;
        }
        if self.held.note(|| self.memory(), &self.metrics, self.config().maxmemory, self.persistence.held_bytes(), now)
        {
            self.tell(Control::Purge);
        }
    }

    /// Whether the allocator is to be asked what it holds, which costs more than all else that an idle server does: at once
    /// where there is a limit or a command has run, else every few seconds.
    fn asks_allocator(&self, commands: u64, now: Millis) -> bool {
        let busy = self.sampled_commands.swap(commands, Ordering::Relaxed) != commands;
        let due = now - self.asked_ms.load(Ordering::Relaxed) >= IDLE_ASK_MS;
        let asks = busy || due || self.config().maxmemory > 0;
        if asks {
            self.asked_ms.store(now, Ordering::Relaxed);
        }
        asks
    }

    /// Has the allocator give back all free pages, and takes note of what is left. It takes a while.
    pub fn purge(&self) {
        let allocated = self.memory().allocated;
        allocation::purge();
        self.held.note_purged(allocated, &self.memory(), self.config().maxmemory, self.persistence.held_bytes());
    }

    /// The rates of the last moments.
    pub fn rates(&self) -> Rates {
        self.statistics().sampler.rates()
    }

    /// Sets statistics back to zero, as CONFIG RESETSTAT does. Counters go on; what they show now is subtracted later.
    pub fn reset_statistics(&self) {
        let baseline = Baseline::take(&self.metrics);
        let mut statistics = self.statistics();
        statistics.baseline = baseline;
        statistics.sampler.reset();
        self.reclaimer.reset_freed();
    }

    /// What each core has counted since the last reset.
    pub fn core_totals(&self) -> Vec<CoreTotals> {
        self.statistics().baseline.cores(&self.metrics)
    }

    /// What was counted for each command since the last reset, as the command table numbers them.
    pub fn command_totals(&self) -> Vec<CommandTotals> {
        self.statistics().baseline.commands(&self.metrics)
    }

    /// Error replies since the last reset, by code.
    pub fn error_totals(&self) -> BTreeMap<Box<str>, u64> {
        self.statistics().baseline.errors(&self.metrics)
    }

    /// What the allocator says now; notes the peak.
    pub fn memory(&self) -> AllocatorBytes {
        let bytes = AllocatorBytes::read();
        self.peak_memory_bytes.fetch_max(bytes.allocated, Ordering::Relaxed);
        // Only the first reading finds a zero here.
        _ = self.startup_memory_bytes.compare_exchange(0, bytes.allocated, Ordering::Relaxed, Ordering::Relaxed);
        bytes
    }

    /// Most bytes the allocator had handed out.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.peak_memory_bytes.load(Ordering::Relaxed)
    }

    /// Bytes the allocator had handed out soon after the start.
    pub fn startup_memory_bytes(&self) -> u64 {
        self.startup_memory_bytes.load(Ordering::Relaxed)
    }
}

/// Which commands wait, and until when (CLIENT PAUSE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Milliseconds since the epoch.
    pub until_ms: Millis,
    /// Whether only those that write wait.
    pub writes_only: bool,
}

impl Pause {
    fn from_bits(bits: i64) -> Self {
        Self { until_ms: bits >> 1, writes_only: bits & 1 == 1 }
    }

    fn to_bits(self) -> i64 {
        self.until_ms.clamp(0, i64::MAX >> 1) << 1 | i64::from(self.writes_only)
    }
}

/// So often an idle server without a limit asks the allocator what it holds.
const IDLE_ASK_MS: Millis = 5000;

/// What INFO computes from counters, beside the counters.
#[derive(Default)]
struct Statistics {
    baseline: Baseline,
    sampler: Sampler,
}

/// Another 40 hexadecimal digits, made from those of the run.
fn replication_id(run_id: &str) -> String {
    let mut random = Random::new(seed_of(run_id));
    format!("{:016x}{:016x}{:08x}", random.next_u64(), random.next_u64(), random.next_u64() as u32)
}

fn seed_of(run_id: &str) -> u64 {
    run_id.bytes().fold(0u64, |seed, byte| seed.wrapping_mul(0x100_0000_01B3) ^ u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        Node::new(Config::default(), 2, 3, "a".repeat(40), 0)
    }

    #[test]
    fn a_pause_is_neither_shortened_nor_weakened() {
        let node = node();
        node.pause(100, 1000, false);
        node.pause(100, 500, true);
        assert_eq!(node.last_pause(), Pause { until_ms: 1000, writes_only: false });
        node.pause(1001, 2000, true);
        assert_eq!(node.last_pause(), Pause { until_ms: 2000, writes_only: true });
        node.unpause();
        assert_eq!(node.last_pause(), Pause { until_ms: 0, writes_only: false });
        node.pause(100, Millis::MAX, true);
        assert!(node.last_pause().until_ms > Millis::MAX / 4 && node.last_pause().writes_only);
    }

    #[test]
    fn a_pause_of_writes_does_not_weaken_one_of_all_that_comes_at_once() {
        let node = node();
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    start.wait();
                    node.pause(100, 500, true);
                    start.wait();
                }
            });
            for _ in 0..5_000 {
                node.unpause();
                start.wait();
                node.pause(100, 1000, false);
                start.wait();
                assert_eq!(node.last_pause(), Pause { until_ms: 1000, writes_only: false });
            }
        });
    }

    #[test]
    fn word_of_the_log_leaves_room_for_signals() {
        let node = node();
        (0..2 * CONTROL_MESSAGES_MAX).for_each(|_| node.tell(Control::Log));
        node.tell(Control::Signal(15));
        assert_eq!([node.next_control(), node.next_control()], [Control::Log, Control::Signal(15)]);
    }

    /// It was dropped where anything waited, but pages that are to be given back had nobody look at the log: a rewrite that
    /// was asked for at that moment never began.
    #[test]
    fn word_of_the_log_is_not_lost_behind_other_messages() {
        let node = node();
        for _ in 0..2 {
            (0..2 * CONTROL_MESSAGES_MAX).for_each(|_| node.tell(Control::Purge));
            node.request_rewrite();
            node.tell(Control::Log);
            assert_eq!([node.next_control(), node.next_control()], [Control::Purge, Control::Log]);
        }
        assert!(node.control.1.is_empty());
    }

    #[test]
    fn a_reset_starts_statistics_from_zero() {
        let node = node();
        node.sample(1000);
        node.metrics[1].commands.add(1600);
        node.sample(1100);
        assert_eq!((node.core_totals()[1].commands, node.rates().commands), (1600, 1000));
        node.reset_statistics();
        assert_eq!((node.core_totals()[1].commands, node.rates().commands), (0, 0));
        assert_eq!(node.replication_id.len(), 40);
        assert!(node.peak_memory_bytes() >= node.startup_memory_bytes());
    }
}
