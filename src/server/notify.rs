//! What systemd is told: that the server is ready, what it does, that its cores are not stuck, that it ends.
//!
//! A thread of its own tells, because the control thread may wait for the disk, and a slow disk is no reason to end a
//! server. Every core counts the turns of its loop, idle ones too; the watchdog hears of the server whenever each core has
//! turned since it heard last. So one stuck core is enough for it to hear nothing more.

use crate::commands::Node;
use crate::commands::info::Human;
use crate::config::{Config, Supervised};
use crate::metrics::CoreMetrics;
use crossbeam_channel::{RecvTimeoutError, Sender};
use sd_notify::NotifyState;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::warn;

/// How often the status is told.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// How often it is told while data is loaded.
const STATUS_WHILE_LOADING_EVERY: Duration = Duration::from_secs(1);

/// The watchdog hears of the server this many times in the time after which it would end it.
const WATCHDOG_MESSAGES: u32 = 4;

/// A start that loads data may go on for this long after each time it has told that it does. Far more than the time
/// between two of these, in case the machine is busy.
const MORE_TIME_TO_LOAD: Duration = Duration::from_secs(60);

/// A core that has not turned for so long is stuck: idle cores turn `hz` times a second, once at least.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// Whether systemd is to be told, as `config` says and the environment allows.
pub fn is_wanted(config: &Config) -> bool {
    let reachable = std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty());
    match config.supervised {
        Supervised::No => false,
        Supervised::Auto => reachable,
        Supervised::Systemd => {
            if !reachable {
                warn!("systemd supervision requested or auto-detected, but NOTIFY_SOCKET not set!");
            }
            reachable
        }
    }
}

/// The thread that tells systemd of a server.
pub struct Supervision {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Supervision {
    /// Begins to tell of the server whose cores share `node`.
    pub fn begin(node: Arc<Node>) -> io::Result<Self> {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let mut reporter = Reporter::new(node, sd_notify::watchdog_enabled());
        let run = move || {
            loop {
                reporter.tell();
                if stopped.recv_timeout(reporter.interval()) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("notify".into()).spawn(run)?;
        Ok(Self { stop, thread })
    }

    /// The server serves.
    pub fn ready(&self) {
        send(&[NotifyState::Ready]);
    }

    /// The server begins to end. Nothing is told after that.
    pub fn end(self) {
        drop(self.stop);
        // A thread that has panicked has nothing more to tell either.
        let _ = self.thread.join();
        send(&[NotifyState::Stopping, NotifyState::Status("Writing what is not on disk yet")]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("Can't tell systemd how the server is: {error}");
    }
}

/// What is told time and again.
struct Reporter {
    node: Arc<Node>,
    pulse: Pulse,
    /// When the watchdog would end the server.
    watchdog: Option<Duration>,
    /// Whether the log tells of a stuck core already.
    warned: bool,
}

impl Reporter {
    fn new(node: Arc<Node>, watchdog: Option<Duration>) -> Self {
        Self { pulse: Pulse::new(&node.metrics), node, watchdog, warned: false }
    }

    fn loads(&self) -> bool {
        self.node.persistence.loading.active.load(Relaxed)
    }

    /// The time until the next message.
    fn interval(&self) -> Duration {
        let status = if self.loads() { STATUS_WHILE_LOADING_EVERY } else { STATUS_EVERY };
        self.watchdog.map_or(status, |limit| status.min(limit / WATCHDOG_MESSAGES))
    }

    fn tell(&mut self) {
        let turning = self.pulse.beats(&self.node.metrics, Instant::now());
        let stuck = self.pulse.stuck(Instant::now());
        self.warn(stuck);
        let status = stuck.map_or_else(|| self.status(), |(core, time)| stuck_text(core, time));
        let mut states = vec![NotifyState::Status(&status)];
        if turning && self.watchdog.is_some() {
            states.push(NotifyState::Watchdog);
        }
        if turning && self.loads() {
            states.push(NotifyState::ExtendTimeoutUsec(MORE_TIME_TO_LOAD.as_micros() as u32));
        }
        send(&states);
    }

    /// Tells the log of a stuck core, once, so that it can be found there why the server has ended.
    fn warn(&mut self, stuck: Option<(usize, Duration)>) {
        if let Some((core, time)) = stuck
            && !self.warned
        {
            warn!("{}", stuck_text(core, time));
        }
        self.warned = stuck.is_some();
    }

    fn status(&self) -> String {
        let persistence = &self.node.persistence;
        if self.loads() {
            let progress = &persistence.loading;
            let (loaded, total) = (progress.loaded_bytes.load(Relaxed), progress.total_bytes.load(Relaxed).max(1));
            let percent = (loaded as f64 / total as f64 * 100.0).min(100.0);
            let keys = progress.keys.load(Relaxed);
            return format!("Loading: {percent:.1} % of {}, {keys} keys", Human(total));
        }
        let clients: u64 = self.node.metrics.iter().map(|core| core.clients.get()).sum();
        let (rate, used) = (self.node.rates().commands, Human(self.node.memory().allocated));
        let mut text = format!("Serving: {clients} clients, {rate} commands/s, {used} of memory");
        match persistence.errno() {
            0 => {}
            errno => {
                let error = crate::stdx::os::error_text(&io::Error::from_raw_os_error(errno));
                let _ = write!(text, "; the log cannot be written: {error}");
            }
        }
        text
    }
}

fn stuck_text(core: usize, time: Duration) -> String {
    format!("Core {core} has not turned for {} s", time.as_secs())
}

/// Which cores have turned when.
struct Pulse {
    /// By core, the count it had when all had turned last.
    counts: Vec<u64>,
    /// By core, the last count that was seen, and when it was seen first.
    seen: Vec<(u64, Instant)>,
}

impl Pulse {
    fn new(metrics: &[CoreMetrics]) -> Self {
        let counts: Vec<u64> = metrics.iter().map(|core| core.heartbeats.get()).collect();
        let now = Instant::now();
        Self { seen: counts.iter().map(|&count| (count, now)).collect(), counts }
    }

    /// Whether every core has turned since this was true last.
    fn beats(&mut self, metrics: &[CoreMetrics], now: Instant) -> bool {
        for (core, seen) in metrics.iter().zip(&mut self.seen) {
            let count = core.heartbeats.get();
            if count != seen.0 {
                *seen = (count, now);
            }
        }
        let all = self.seen.iter().zip(&self.counts).all(|(seen, count)| seen.0 != *count);
        if all {
            self.counts = self.seen.iter().map(|seen| seen.0).collect();
        }
        all
    }

    /// The core that has stood still for longest, if that is too long, and for how long.
    fn stuck(&self, now: Instant) -> Option<(usize, Duration)> {
        let still = self.seen.iter().map(|seen| now.saturating_duration_since(seen.1)).enumerate();
        still.max_by_key(|&(_, time)| time).filter(|&(_, time)| time >= STUCK_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Arc<Node> {
        Arc::new(Node::new(Config::default(), 2, 1, "a".repeat(40), 0))
    }

    #[test]
    fn one_core_that_stands_still_stops_the_pulse() {
        let node = node();
        let (mut pulse, start) = (Pulse::new(&node.metrics), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!pulse.beats(&node.metrics, at(1)));
        node.metrics[0].heartbeats.add(1);
        assert!(!pulse.beats(&node.metrics, at(2)));
        node.metrics[1].heartbeats.add(1);
        assert!(pulse.beats(&node.metrics, at(3)));
        for second in 4..10 {
            node.metrics[0].heartbeats.add(1);
            assert!(!pulse.beats(&node.metrics, at(second)));
        }
        assert_eq!(pulse.stuck(at(4)), None);
        assert_eq!(pulse.stuck(at(9)), Some((1, Duration::from_secs(6))));
        node.metrics[1].heartbeats.add(1);
        assert!(pulse.beats(&node.metrics, at(10)));
    }

    #[test]
    fn the_status_tells_of_loading_then_of_the_load_and_of_trouble() {
        let node = node();
        let reporter = Reporter::new(node.clone(), Some(Duration::from_secs(30)));
        node.persistence.loading.active.store(true, Relaxed);
        node.persistence.loading.total_bytes.store(3 << 20, Relaxed);
        node.persistence.loading.loaded_bytes.store(1 << 20, Relaxed);
        assert_eq!(reporter.status(), "Loading: 33.3 % of 3.00M, 0 keys");
        assert_eq!(reporter.interval(), STATUS_WHILE_LOADING_EVERY);
        node.persistence.loading.active.store(false, Relaxed);
        node.metrics[1].clients.add(7);
        assert!(reporter.status().starts_with("Serving: 7 clients, 0 commands/s, "), "{}", reporter.status());
        assert_eq!(reporter.interval(), STATUS_EVERY);
        assert_eq!(Reporter::new(node.clone(), Some(Duration::from_secs(2))).interval(), Duration::from_millis(500));
        node.persistence.shards[0].errno.store(libc::ENOSPC, Relaxed);
        assert!(reporter.status().ends_with("; the log cannot be written: No space left on device"));
    }
}
