//! INFO's sections on what other servers would have: persistence, replication, modules, cluster. Crimson has
//! no snapshots and no replicas yet; these say so in the fields that tools look for.

use super::{Facts, Text};
use crate::metrics::persistence::Loading;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed},
};

pub(super) fn persistence(text: &mut Text, facts: &Facts<'_>) {
    let changes: u64 = facts.node.metrics.iter().map(|core| core.dirty.get()).sum();
    let log = &facts.node.persistence;
    let config = facts.config;
    // In this order: a rewrite is pending until it is under way, so at any moment one of the two shows it.
    let pending = u8::from(log.is_rewrite_pending(config.appendonly));
    let rewriting = log.rewriting.load(Acquire);
    let flag = |flag: &AtomicBool| u8::from(flag.load(Relaxed));
    let status = |ok: bool| if ok { "ok" } else { "err" };
    text.field("loading", flag(&log.loading.active));
    text.field("async_loading", 0);
    // There is no fork, and so no copy on write.
    text.zeros(&["current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    text.field("current_fork_perc", "0.00");
    text.zeros(&["current_save_keys_processed", "current_save_keys_total"]);
    text.field("rdb_changes_since_last_save", changes);
    text.field("rdb_bgsave_in_progress", 0);
    // Redis, too, shows the time of the start before the first save.
    text.field("rdb_last_save_time", facts.node.started_ms / 1000);
    text.field("rdb_last_bgsave_status", "ok");
    text.field("rdb_last_bgsave_time_sec", -1);
    text.field("rdb_current_bgsave_time_sec", -1);
    text.zeros(&["rdb_saves", "rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"]);
    // As Redis: a log that is being switched on is enabled, and a rewrite is pending or under way until it is in force.
    text.field("aof_enabled", u8::from(config.appendonly));
    text.field("aof_in_force", u8::from(log.is_in_force(config.appendonly)));
    text.field("aof_rewrite_in_progress", u8::from(rewriting));
    text.field("aof_rewrite_scheduled", pending);
    text.field("aof_last_rewrite_time_sec", log.last_rewrite_seconds.load(Relaxed));
    let current = (facts.now - log.rewrite_started_ms.load(Relaxed)) / 1000;
    text.field("aof_current_rewrite_time_sec", if rewriting { current } else { -1 });
    text.field("aof_last_bgrewrite_status", status(log.last_rewrite_ok.load(Relaxed)));
    text.field("aof_rewrites", log.rewrites.load(Relaxed));
    text.field("aof_rewrites_consecutive_failures", log.rewrite_failures.load(Relaxed));
    text.field("aof_last_write_status", status(log.errno() == 0 || !config.appendonly));
    text.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    if config.appendonly {
        text.field("aof_current_size", log.current_bytes());
        text.field("aof_base_size", log.base_bytes.load(Relaxed));
        text.field("aof_pending_rewrite", pending);
        text.field("aof_buffer_length", log.sum(|shard| &shard.unwritten_bytes));
        text.field("aof_pending_bio_fsync", log.sum(|shard| &shard.pending_syncs));
        // No command ever waits for a sync that takes long.
        text.field("aof_delayed_fsync", 0);
    }
    if log.loading.active.load(Relaxed) {
        progress(text, &log.loading, facts.now / 1000);
    }
}

/// How far the loading is.
fn progress(text: &mut Text, loading: &Loading, now_seconds: i64) {
    let (total, loaded) = (loading.total_bytes.load(Relaxed), loading.loaded_bytes.load(Relaxed));
    let started = loading.started.load(Relaxed);
    let elapsed = (now_seconds - started).max(0);
    // As Redis, which puts one second where it knows nothing yet.
    let left = match loaded {
        0 => 1,
        _ => (elapsed as f64 * total.saturating_sub(loaded) as f64 / loaded as f64) as i64,
    };
    text.field("loading_start_time", started);
    text.field("loading_total_bytes", total);
    text.field("loading_rdb_used_mem", 0);
    text.field("loading_loaded_bytes", loaded);
    text.field("loading_loaded_perc", format_args!("{:.2}", loaded as f64 * 100.0 / total.max(1) as f64));
    text.field("loading_eta_seconds", left);
}

pub(super) fn replication(text: &mut Text, facts: &Facts<'_>) {
    text.field("role", "master");
    text.field("connected_slaves", 0);
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", &facts.node.replication_id);
    text.field("master_replid2", "0".repeat(40));
    text.field("master_repl_offset", 0);
    text.field("second_repl_offset", -1);
    text.zeros(&["repl_backlog_active", "repl_backlog_size", "repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

pub(super) fn modules(_text: &mut Text, _facts: &Facts<'_>) {}

pub(super) fn cluster(text: &mut Text, _facts: &Facts<'_>) {
    text.field("cluster_enabled", 0);
}
