//! What all cores share: directives, counters, identity. Read often, written rarely; nothing here is on the data path.

use crate::config::Config;
use crate::metrics::CoreMetrics;
use crate::shard::Millis;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The Redis version whose core commands and behaviour are promised to clients.
pub const REDIS_VERSION: &str = "7.2.4";

/// What all cores share.
pub struct Node {
    config: Mutex<Arc<Config>>,
    config_version: AtomicU64,
    /// The configuration file, if there was one; CONFIG REWRITE writes it.
    pub config_file: Option<std::path::PathBuf>,
    /// Each core's counters.
    pub metrics: Box<[CoreMetrics]>,
    next_client_id: AtomicU64,
    /// Open connections on all cores.
    pub connected: AtomicU64,
    /// Until when commands wait (CLIENT PAUSE), in milliseconds since the epoch.
    pub pause_until_ms: AtomicI64,
    /// Whether the pause concerns only writes.
    pub pause_writes_only: AtomicBool,
    /// Set by SHUTDOWN; the control thread looks at it when it is woken.
    pub shutdown: AtomicBool,
    /// 40 hexadecimal digits that name this run.
    pub run_id: String,
    /// When the server started.
    pub started_ms: Millis,
    /// Where it listens, for INFO.
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
            metrics,
            next_client_id: AtomicU64::new(1),
            connected: AtomicU64::new(0),
            pause_until_ms: AtomicI64::new(0),
            pause_writes_only: AtomicBool::new(false),
            shutdown: AtomicBool::new(false),
            run_id,
            started_ms: now,
            listeners: Vec::new(),
        }
    }

    /// The directives now.
    pub fn config(&self) -> Arc<Config> {
        self.config.lock().expect("no holder panics").clone()
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
}
