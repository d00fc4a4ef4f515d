//! What the whole server takes of memory, told apart: what serves the data from the data. Overhead is what the process
//! took before it had any data, what clients take, buffers that are kept for them, what the log holds back, and what
//! leads to keys: the tables, and the times to live. All the rest is data, keys and the heads of their records included.

use crate::commands::{CoreView, Node};
use crate::metrics::memory::AllocatorBytes;
use crate::session::SessionFlags;
use crate::stdx::process;

/// Bytes that a time to live takes in its key's record.
const EXPIRY_BYTES: u64 = 8;

/// One database, on one core or on all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseBytes {
    /// How many keys there are.
    pub keys: u64,
    /// How many of them have a time to live.
    pub timed: u64,
    /// Bytes of the table.
    pub table: u64,
}

impl DatabaseBytes {
    /// Bytes of the times to live.
    pub fn expires(&self) -> u64 {
        self.timed * EXPIRY_BYTES
    }
}

/// What one core takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreBytes {
    /// Its clients.
    pub clients: u64,
    /// How many there are.
    pub clients_len: u64,
    /// Buffers that it keeps.
    pub spare: u64,
    /// Its part of the databases, by index.
    pub databases: Vec<DatabaseBytes>,
}

impl CoreBytes {
    /// Counts what a core takes now.
    pub fn count(core: &mut CoreView<'_>) -> Self {
        let mut counted = Self { spare: core.metrics.spare_bytes.get(), ..Self::default() };
        for (_, session) in core.sessions.iter_mut() {
            if !session.flags.contains(SessionFlags::ZOMBIE) {
                counted.clients += session.memory_bytes() as u64;
                counted.clients_len += 1;
            }
        }
        let databases = core.shard.databases.iter().map(|db| DatabaseBytes {
            keys: db.len() as u64,
            timed: db.expires_len() as u64,
            table: db.table_bytes() as u64,
        });
        counted.databases = databases.collect();
        counted
    }

    /// What each core took when it told last, some moments ago.
    pub fn published(node: &Node) -> Vec<Self> {
        let of_core = |core: &crate::metrics::CoreMetrics| {
            let database = |index: usize| DatabaseBytes {
                keys: core.keys[index].get(),
                timed: core.expires[index].get(),
                table: core.table_bytes[index].get(),
            };
            Self {
                clients: core.clients_bytes.get(),
                clients_len: core.clients.get(),
                spare: core.spare_bytes.get(),
                databases: (0..core.keys.len()).map(database).collect(),
            }
        };
        node.metrics.iter().map(of_core).collect()
    }
}

/// What the whole server takes.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the allocator says.
    pub allocator: AllocatorBytes,
    /// What the system says.
    pub resident: u64,
    /// Most bytes there were.
    pub peak: u64,
    /// Bytes there were when the server had started.
    pub startup: u64,
    /// Bytes of all clients.
    pub clients: u64,
    /// How many there are.
    pub clients_len: u64,
    /// Bytes of buffers that are kept for the next replies and messages.
    pub spare: u64,
    /// Bytes of the log that are not written yet.
    pub log: u64,
    /// The databases, by index.
    pub databases: Vec<DatabaseBytes>,
}

impl Report {
    /// The report on a node whose cores take this much.
    pub fn new(node: &Node, cores: Vec<CoreBytes>) -> Self {
        let mut report = Self {
            allocator: node.memory(),
            resident: process::resident_bytes(),
            peak: node.peak_memory_bytes(),
            startup: node.startup_memory_bytes(),
            log: node.persistence.sum(|shard| &shard.unwritten_bytes),
            ..Self::default()
        };
        for core in cores {
            report.clients += core.clients;
            report.clients_len += core.clients_len;
            report.spare += core.spare;
            report.databases.resize(report.databases.len().max(core.databases.len()), DatabaseBytes::default());
            for (sum, part) in report.databases.iter_mut().zip(core.databases) {
                sum.keys += part.keys;
                sum.timed += part.timed;
                sum.table += part.table;
            }
        }
        report
    }

    /// Bytes that are allocated.
    pub fn used(&self) -> u64 {
        self.allocator.allocated
    }

    /// Bytes that serve the data.
    pub fn overhead(&self) -> u64 {
        let tables: u64 = self.databases.iter().map(|database| database.table + database.expires()).sum();
        self.startup + self.clients + self.spare + self.log + tables
    }

    /// Bytes of the data.
    pub fn dataset(&self) -> u64 {
        self.used().saturating_sub(self.overhead())
    }

    /// Bytes that have come since the start.
    pub fn net(&self) -> u64 {
        self.used().saturating_sub(self.startup)
    }

    /// How many keys there are.
    pub fn keys(&self) -> u64 {
        self.databases.iter().map(|database| database.keys).sum()
    }

    /// Bytes that have come since the start, for each key.
    pub fn bytes_per_key(&self) -> u64 {
        self.net().checked_div(self.keys()).unwrap_or(0)
    }

    /// Which part of what has come since the start is data.
    pub fn dataset_percent(&self) -> f64 {
        ratio(self.dataset(), self.net()) * 100.0
    }

    /// Which part of the most there was is there now.
    pub fn peak_percent(&self) -> f64 {
        ratio(self.used(), self.peak) * 100.0
    }
}

/// How many times `base` there is.
pub fn ratio(bytes: u64, base: u64) -> f64 {
    bytes as f64 / base.max(1) as f64
}
