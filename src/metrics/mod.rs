//! Counters. Each core writes its own and every core may read them all, so that INFO never waits for a busy core.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one core writes and any core reads.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`. Only the owning core may call this: it is a load and a store, not a locked instruction.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// Sets the number. Only the owning core may call this.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What is counted for one command.
#[derive(Debug, Default)]
pub struct CommandCounters {
    /// Times it ran.
    pub calls: Counter,
    /// Nanoseconds it ran in total.
    pub nanoseconds: Counter,
    /// Times it was refused before it ran.
    pub rejected: Counter,
    /// Times it ran and answered with an error.
    pub failed: Counter,
}

/// One core's counters.
#[derive(Debug)]
#[repr(align(128))]
pub struct CoreMetrics {
    /// Connections that are open.
    pub clients: Counter,
    /// Connections accepted since the start.
    pub connections_received: Counter,
    /// Connections refused because of maxclients.
    pub connections_rejected: Counter,
    /// Commands that ran.
    pub commands: Counter,
    /// Commands that ran for another core's client.
    pub commands_remote: Counter,
    /// Batches sent to other cores.
    pub batches_sent: Counter,
    /// Bytes received from clients.
    pub input_bytes: Counter,
    /// Bytes sent to clients.
    pub output_bytes: Counter,
    /// Error replies.
    pub errors: Counter,
    /// Reads that found their key.
    pub keyspace_hits: Counter,
    /// Reads that did not.
    pub keyspace_misses: Counter,
    /// Keys removed because their time was over.
    pub expired_keys: Counter,
    /// Clients closed because their output grew past its limit.
    pub output_limit_disconnections: Counter,
    /// Clients closed because their input grew past its limit.
    pub input_limit_disconnections: Counter,
    /// Changes since the start.
    pub dirty: Counter,
    /// Loop turns of the core.
    pub turns: Counter,
    /// Nanoseconds the core was busy rather than waiting.
    pub busy_nanoseconds: Counter,
    /// Keys, by database.
    pub keys: Box<[Counter]>,
    /// Keys with a time to live, by database.
    pub expires: Box<[Counter]>,
    /// Mean remaining time to live in milliseconds, by database, estimated.
    pub average_ttl_ms: Box<[Counter]>,
    /// By command, as the command table numbers them.
    pub by_command: Box<[CommandCounters]>,
}

impl CoreMetrics {
    /// Counters at zero, for this many databases and commands.
    pub fn new(databases: usize, commands: usize) -> Self {
        let per_database = || (0..databases).map(|_| Counter::default()).collect();
        Self {
            clients: Counter::default(),
            connections_received: Counter::default(),
            connections_rejected: Counter::default(),
            commands: Counter::default(),
            commands_remote: Counter::default(),
            batches_sent: Counter::default(),
            input_bytes: Counter::default(),
            output_bytes: Counter::default(),
            errors: Counter::default(),
            keyspace_hits: Counter::default(),
            keyspace_misses: Counter::default(),
            expired_keys: Counter::default(),
            output_limit_disconnections: Counter::default(),
            input_limit_disconnections: Counter::default(),
            dirty: Counter::default(),
            turns: Counter::default(),
            busy_nanoseconds: Counter::default(),
            keys: per_database(),
            expires: per_database(),
            average_ttl_ms: per_database(),
            by_command: (0..commands).map(|_| CommandCounters::default()).collect(),
        }
    }
}
