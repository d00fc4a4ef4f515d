//! INFO's sections on what other servers would have: persistence, replication, modules, cluster. Crimson keeps its data
//! in memory and has no replicas yet; these say so in the fields that tools look for.

use super::{Facts, Text};
use crate::metrics::persistence::Loading;
use std::sync::atomic::Ordering::Relaxed;

pub(super) fn persistence(text: &mut Text, facts: &Facts<'_>) {
    let changes: u64 = facts.node.metrics.iter().map(|core| core.dirty.get()).sum();
    let loading = &facts.node.persistence.loading;
    let loads = loading.active.load(Relaxed);
    text.field("loading", u8::from(loads));
    text.zeros(&["async_loading"]);
    text.field("rdb_changes_since_last_save", changes);
    text.field("rdb_bgsave_in_progress", 0);
    // Redis, too, shows the time of the start before the first save.
    text.field("rdb_last_save_time", facts.node.started_ms / 1000);
    text.field("rdb_last_bgsave_status", "ok");
    text.field("rdb_last_bgsave_time_sec", -1);
    text.field("rdb_current_bgsave_time_sec", -1);
    text.zeros(&["rdb_saves", "aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled"]);
    text.field("aof_last_rewrite_time_sec", -1);
    text.field("aof_current_rewrite_time_sec", -1);
    text.field("aof_last_bgrewrite_status", "ok");
    text.field("aof_rewrites", 0);
    text.field("aof_last_write_status", "ok");
    if loads {
        progress(text, loading, facts.now / 1000);
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
    text.zeros(&["repl_backlog_active", "repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

pub(super) fn modules(_text: &mut Text, _facts: &Facts<'_>) {}

pub(super) fn cluster(text: &mut Text, _facts: &Facts<'_>) {
    text.field("cluster_enabled", 0);
}
