//! Counters. Each core writes its own and every core may read them all, so that INFO never waits for a busy core.
//!
//! Nothing is ever set back: CONFIG RESETSTAT notes what the counters show ([`Baseline`]), and later readings subtract
//! that. So each counter keeps its single writer.

pub mod errors;
pub mod latency;
pub mod memory;
pub mod persistence;
pub mod sampler;
pub mod slowlog;

use errors::ErrorCounts;
use latency::{Latency, LatencyTotals};
use std::collections::BTreeMap;
use std::sync::OnceLock;
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
    /// How long its runs took; made at the first one.
    latency: OnceLock<Latency>,
}

impl CommandCounters {
    /// Counts a run that took this long. Only the owning core may call this.
    #[inline]
    pub fn record(&self, nanoseconds: u64) {
        self.calls.add(1);
        self.nanoseconds.add(nanoseconds);
        self.latency.get_or_init(Latency::default).record(nanoseconds);
    }
}

/// What is counted for one command, over all cores, as plain numbers.
#[derive(Clone, Debug, Default)]
pub struct CommandTotals {
    /// See [`CommandCounters::calls`].
    pub calls: u64,
    /// See [`CommandCounters::nanoseconds`].
    pub nanoseconds: u64,
    /// See [`CommandCounters::rejected`].
    pub rejected: u64,
    /// See [`CommandCounters::failed`].
    pub failed: u64,
    /// How long its runs took.
    pub latency: LatencyTotals,
}

impl CommandTotals {
    fn add(&mut self, counters: &CommandCounters) {
        self.calls += counters.calls.get();
        self.nanoseconds += counters.nanoseconds.get();
        self.rejected += counters.rejected.get();
        self.failed += counters.failed.get();
        if let Some(latency) = counters.latency.get() {
            latency.add_to(&mut self.latency);
        }
    }

    fn subtract(&mut self, baseline: &Self) {
        self.calls -= baseline.calls.min(self.calls);
        self.nanoseconds -= baseline.nanoseconds.min(self.nanoseconds);
        self.rejected -= baseline.rejected.min(self.rejected);
        self.failed -= baseline.failed.min(self.failed);
        self.latency.subtract(&baseline.latency);
    }
}

/// Declares the counters that CONFIG RESETSTAT sets back, once for the counters and once for their readings.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One core's counters.
        #[derive(Debug)]
        #[repr(align(128))]
        pub struct CoreMetrics {
            $($(#[$doc])* pub $name: Counter,)*
            /// Turns of the core's loop, idle ones too: a core whose number stands still is stuck.
            pub heartbeats: Counter,
            /// Clients that have not been told, and do not see, that they are gone.
            pub clients: Counter,
            /// Connections that are open, be it only until a last reply has left.
            pub connections: Counter,
            /// Bytes that clients take, as counted last.
            pub clients_bytes: Counter,
            /// Bytes that the largest of those takes that may be closed for it.
            pub largest_client_bytes: Counter,
            /// Bytes of the largest input that any client had waiting in the last round of the count.
            pub largest_input_bytes: Counter,
            /// Bytes of the largest output that waited for any client then.
            pub largest_output_bytes: Counter,
            /// Bytes of buffers that are kept for the next replies and messages, as of the last second.
            pub spare_bytes: Counter,
            /// Connections that wait in a blocking command, or for the end of a pause.
            pub blocked_clients: Counter,
            /// Those of them whose wait ends by itself.
            pub timed_clients: Counter,
            /// Keys of the core's shard that clients wait for.
            pub blocking_keys: Counter,
            /// Clients that track keys.
            pub tracking_clients: Counter,
            /// Keys of the shard that are tracked.
            pub tracking_keys: Counter,
            /// Clients that track each of them, together.
            pub tracking_items: Counter,
            /// Changes since the start.
            pub dirty: Counter,
            /// Bytes that the core's thread holds, modulo 2^64: what it has allocated less what it has freed.
            pub allocated: Counter,
            /// The same without the holes that keys have left which had to go, and that are about to be given back.
            pub kept: Counter,
            /// How much the best candidate for eviction of the shard deserves to go, plus 1; 0 when there is none.
            pub eviction_rank: Counter,
            /// Keys, by database.
            pub keys: Box<[Counter]>,
            /// Keys with a time to live, by database.
            pub expires: Box<[Counter]>,
            /// Bytes of the tables that lead to the keys, by database, as of the last second.
            pub table_bytes: Box<[Counter]>,
            /// Keys of a sample with a time to live, as of the last second, and those of them whose time was over.
            pub sampled_expires: Counter,
            /// See [`CoreMetrics::sampled_expires`].
            pub sampled_expired: Counter,
            /// Mean remaining time to live in milliseconds, by database, estimated.
            pub average_ttl_ms: Box<[Counter]>,
            /// By command, as the command table numbers them.
            pub by_command: Box<[CommandCounters]>,
            /// Error replies by code.
            pub error_codes: ErrorCounts,
        }

        /// A reading of the counters that CONFIG RESETSTAT sets back.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct CoreTotals {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl CoreMetrics {
            /// Counters at zero, for this many databases and commands.
            pub fn new(databases: usize, commands: usize) -> Self {
                let per_database = || (0..databases).map(|_| Counter::default()).collect();
                Self {
                    $($name: Counter::default(),)*
                    heartbeats: Counter::default(),
                    clients: Counter::default(),
                    connections: Counter::default(),
                    clients_bytes: Counter::default(),
                    largest_client_bytes: Counter::default(),
                    largest_input_bytes: Counter::default(),
                    largest_output_bytes: Counter::default(),
                    spare_bytes: Counter::default(),
                    blocked_clients: Counter::default(),
                    timed_clients: Counter::default(),
                    blocking_keys: Counter::default(),
                    tracking_clients: Counter::default(),
                    tracking_keys: Counter::default(),
                    tracking_items: Counter::default(),
                    dirty: Counter::default(),
                    allocated: Counter::default(),
                    kept: Counter::default(),
                    eviction_rank: Counter::default(),
                    keys: per_database(),
                    expires: per_database(),
                    table_bytes: per_database(),
                    sampled_expires: Counter::default(),
                    sampled_expired: Counter::default(),
                    average_ttl_ms: per_database(),
                    by_command: (0..commands).map(|_| CommandCounters::default()).collect(),
                    error_codes: ErrorCounts::default(),
                }
            }

            /// The numbers now.
            pub fn totals(&self) -> CoreTotals {
                CoreTotals { $($name: self.$name.get(),)* }
            }
        }

        impl CoreTotals {
            /// Adds another core's numbers.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// Takes away what had been counted at `baseline`.
            fn subtract(&mut self, baseline: &Self) {
                $(self.$name -= baseline.$name.min(self.$name);)*
            }
        }
    };
}

counters! {
    /// Connections accepted since the start.
    connections_received,
    /// Connections refused because of maxclients.
    connections_rejected,
    /// Commands that ran.
    commands,
    /// Commands that ran for another core's client.
    commands_remote,
    /// Commands that had to wait for the locks of a transaction.
    commands_parked,
    /// Transactions over several shards that had to ask for their locks once more.
    transactions_retried,
    /// Batches sent to other cores.
    batches_sent,
    /// Times something was received from a client.
    reads,
    /// Times something was sent to a client.
    writes,
    /// Bytes received from clients.
    input_bytes,
    /// Bytes sent to clients.
    output_bytes,
    /// Error replies.
    errors,
    /// Reads that found their key.
    keyspace_hits,
    /// Reads that did not.
    keyspace_misses,
    /// Keys removed because their time was over.
    expired_keys,
    /// Nanoseconds spent looking for keys whose time is over.
    expire_nanoseconds,
    /// Times that search ended because it had gone on for long enough.
    expire_cuts,
    /// Keys removed because memory was used up.
    evicted_keys,
    /// Clients closed because their output grew past its limit.
    output_limit_disconnections,
    /// Clients closed because all together took more memory than they may.
    evicted_clients,
    /// Clients closed because their input grew past its limit.
    input_limit_disconnections,
    /// Loop turns of the core that had something to do.
    turns,
    /// Nanoseconds the core was busy rather than waiting.
    busy_nanoseconds,
}

impl CoreMetrics {
    /// Counts an error reply with this code.
    pub fn count_error(&self, code: &str) {
        self.errors.add(1);
        self.error_codes.count(code);
    }
}

/// What the counters showed at the last CONFIG RESETSTAT; zero before the first.
#[derive(Debug, Default)]
pub struct Baseline {
    cores: Vec<CoreTotals>,
    commands: Vec<CommandTotals>,
    errors: BTreeMap<Box<str>, u64>,
}

impl Baseline {
    /// What the counters show now.
    pub fn take(metrics: &[CoreMetrics]) -> Self {
        let nothing = Self::default();
        Self { cores: nothing.cores(metrics), commands: nothing.commands(metrics), errors: nothing.errors(metrics) }
    }

    /// What each core has counted since.
    pub fn cores(&self, metrics: &[CoreMetrics]) -> Vec<CoreTotals> {
        let mut cores: Vec<CoreTotals> = metrics.iter().map(CoreMetrics::totals).collect();
        for (core, before) in cores.iter_mut().zip(&self.cores) {
            core.subtract(before);
        }
        cores
    }

    /// What all cores have counted since, by command.
    pub fn commands(&self, metrics: &[CoreMetrics]) -> Vec<CommandTotals> {
        let count = metrics.first().map_or(0, |core| core.by_command.len());
        let mut commands = vec![CommandTotals::default(); count];
        for core in metrics {
            for (totals, counters) in commands.iter_mut().zip(&core.by_command) {
                totals.add(counters);
            }
        }
        for (totals, before) in commands.iter_mut().zip(&self.commands) {
            totals.subtract(before);
        }
        commands
    }

    /// Error replies since, by code; codes without one are left out.
    pub fn errors(&self, metrics: &[CoreMetrics]) -> BTreeMap<Box<str>, u64> {
        let mut errors = BTreeMap::new();
        for core in metrics {
            core.error_codes.add_to(&mut errors);
        }
        for (code, count) in &mut errors {
            *count -= self.errors.get(code).copied().unwrap_or(0).min(*count);
        }
        errors.retain(|_, count| *count > 0);
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_sets_back_what_was_counted_before() {
        let metrics = [CoreMetrics::new(1, 2), CoreMetrics::new(1, 2)];
        metrics[0].commands.add(5);
        metrics[1].by_command[1].record(1000);
        metrics[1].count_error("ERR");
        let baseline = Baseline::take(&metrics);
        assert_eq!(baseline.cores(&metrics)[0], CoreTotals::default());
        assert_eq!(baseline.commands(&metrics)[1].calls, 0);
        assert_eq!(baseline.commands(&metrics)[1].latency.percentile(50.0), None);
        assert!(baseline.errors(&metrics).is_empty());

        metrics[0].commands.add(2);
        metrics[0].by_command[1].record(3000);
        metrics[0].count_error("ERR");
        assert_eq!(baseline.cores(&metrics)[0].commands, 2);
        assert_eq!(baseline.commands(&metrics)[1].nanoseconds, 3000);
        assert_eq!(baseline.errors(&metrics)["ERR"], 1);
        assert_eq!(Baseline::default().errors(&metrics)["ERR"], 2);
        assert_eq!(metrics[0].commands.get(), 7);
    }
}
