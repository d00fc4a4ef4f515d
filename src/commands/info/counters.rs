//! INFO's sections that come from counters: clients, stats, cores, command, error and latency statistics, keyspace.

use super::{Facts, Text};
use crate::commands::table;
use crate::metrics::{CoreMetrics, CoreTotals, Counter};
use crate::pubsub::Topic;
use std::fmt::Write;

pub(super) fn clients(text: &mut Text, facts: &Facts<'_>) {
    let sum =
        |counter: fn(&CoreMetrics) -> &Counter| facts.node.metrics.iter().map(|core| counter(core).get()).sum::<u64>();
    text.field("connected_clients", sum(|core| &core.clients));
    text.field("cluster_connections", 0);
    text.field("maxclients", facts.config.maxclients);
    let largest =
        |counter: fn(&CoreMetrics) -> &Counter| facts.node.metrics.iter().map(|core| counter(core).get()).max();
    text.field("client_recent_max_input_buffer", largest(|core| &core.largest_input_bytes).unwrap_or(0));
    text.field("client_recent_max_output_buffer", largest(|core| &core.largest_output_bytes).unwrap_or(0));
    text.field("blocked_clients", sum(|core| &core.blocked_clients));
    text.field("tracking_clients", sum(|core| &core.tracking_clients));
    text.field("clients_in_timeout_table", sum(|core| &core.timed_clients));
    text.field("total_blocking_keys", sum(|core| &core.blocking_keys));
    text.field("total_blocking_keys_on_nokey", 0);
}

pub(super) fn stats(text: &mut Text, facts: &Facts<'_>) {
    let mut totals = CoreTotals::default();
    facts.node.core_totals().iter().for_each(|core| totals.add(core));
    let rates = facts.node.rates();
    let kilobytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    text.field("total_connections_received", totals.connections_received);
    text.field("total_commands_processed", totals.commands);
    text.field("instantaneous_ops_per_sec", rates.commands);
    text.field("total_net_input_bytes", totals.input_bytes);
    text.field("total_net_output_bytes", totals.output_bytes);
    text.zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    text.field("instantaneous_input_kbps", kilobytes(rates.input_bytes));
    text.field("instantaneous_output_kbps", kilobytes(rates.output_bytes));
    text.field("instantaneous_input_repl_kbps", kilobytes(0));
    text.field("instantaneous_output_repl_kbps", kilobytes(0));
    text.field("rejected_connections", totals.connections_rejected);
    text.zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    text.field("expired_keys", totals.expired_keys);
    let cores = &facts.node.metrics;
    let sampled: u64 = cores.iter().map(|core| core.sampled_expires.get()).sum();
    let over: u64 = cores.iter().map(|core| core.sampled_expired.get()).sum();
    text.field("expired_stale_perc", format_args!("{:.2}", over as f64 * 100.0 / sampled.max(1) as f64));
    text.field("expired_time_cap_reached_count", totals.expire_cuts);
    text.field("expire_cycle_cpu_milliseconds", totals.expire_nanoseconds / 1_000_000);
    text.field("evicted_keys", totals.evicted_keys);
    text.field("evicted_clients", totals.evicted_clients);
    let (current_ms, total_ms) = facts.node.held.exceeded_ms(facts.now);
    text.field("total_eviction_exceeded_time", total_ms);
    text.field("current_eviction_exceeded_time", current_ms);
    text.field("keyspace_hits", totals.keyspace_hits);
    text.field("keyspace_misses", totals.keyspace_misses);
    text.field("pubsub_channels", facts.node.interest.len(Topic::Channel));
    text.field("pubsub_patterns", facts.node.interest.len(Topic::Pattern));
    text.field("pubsubshard_channels", facts.node.interest.len(Topic::Shard));
    text.zeros(&["latest_fork_usec", "total_forks"]);
    text.zeros(&["migrate_cached_sockets", "slave_expires_tracked_keys"]);
    // Records are moved together only where memory is used up.
    text.zeros(&["active_defrag_hits", "active_defrag_misses", "active_defrag_key_hits", "active_defrag_key_misses"]);
    text.zeros(&["total_active_defrag_time", "current_active_defrag_time"]);
    text.field("tracking_total_keys", cores.iter().map(|core| core.tracking_keys.get()).sum::<u64>());
    text.field("tracking_total_items", cores.iter().map(|core| core.tracking_items.get()).sum::<u64>());
    text.field("tracking_total_prefixes", facts.node.interest.len(Topic::Prefix));
    text.field("unexpected_error_replies", 0);
    text.field("total_error_replies", totals.errors);
    text.field("dump_payload_sanitizations", 0);
    text.field("total_reads_processed", totals.reads);
    text.field("total_writes_processed", totals.writes);
    // Every core does its own.
    text.zeros(&["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    text.field("client_query_buffer_limit_disconnections", totals.input_limit_disconnections);
    text.field("client_output_buffer_limit_disconnections", totals.output_limit_disconnections);
    text.field("total_commands_remote", totals.commands_remote);
    text.field("total_batches_sent", totals.batches_sent);
    text.field("total_commands_parked", totals.commands_parked);
    text.field("total_transactions_retried", totals.transactions_retried);
}

pub(super) fn cores(text: &mut Text, facts: &Facts<'_>) {
    let (node, rates) = (facts.node, facts.node.rates());
    for (index, (core, totals)) in node.metrics.iter().zip(node.core_totals()).enumerate() {
        let cpu = node.cpus.get(index).map_or(String::new(), |cpu| format!("cpu={cpu},"));
        let keys: u64 = core.keys.iter().map(|keys| keys.get()).sum();
        let busy = rates.busy_percent.get(index).copied().unwrap_or(0.0);
        text.line(format_args!(
            "core{index}:{cpu}clients={},commands={},remote={},batches={},keys={keys},turns={},busy_pct={busy:.2}",
            core.clients.get(),
            totals.commands,
            totals.commands_remote,
            totals.batches_sent,
            totals.turns,
        ));
    }
}

pub(super) fn commandstats(text: &mut Text, facts: &Facts<'_>) {
    for (totals, entry) in facts.node.command_totals().iter().zip(table().entries()) {
        if totals.calls == 0 && totals.rejected == 0 && totals.failed == 0 {
            continue;
        }
        let microseconds = totals.nanoseconds / 1000;
        let each = if totals.calls == 0 { 0.0 } else { totals.nanoseconds as f64 / 1000.0 / totals.calls as f64 };
        text.line(format_args!(
            "cmdstat_{}:calls={},usec={microseconds},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
            entry.row.spec.name, totals.calls, totals.rejected, totals.failed,
        ));
    }
}

pub(super) fn errorstats(text: &mut Text, facts: &Facts<'_>) {
    for (code, count) in facts.node.error_totals() {
        text.line(format_args!("errorstat_{code}:count={count}"));
    }
}

pub(super) fn latencystats(text: &mut Text, facts: &Facts<'_>) {
    const PERCENTILES: &[f64] = &[50.0, 99.0, 99.9];
    for (totals, entry) in facts.node.command_totals().iter().zip(table().entries()) {
        let mut line = String::new();
        for percent in PERCENTILES {
            let Some(nanoseconds) = totals.latency.percentile(*percent) else { continue };
            let comma = if line.is_empty() { "" } else { "," };
            write!(line, "{comma}p{percent}={:.3}", nanoseconds as f64 / 1000.0).expect("a String takes all");
        }
        if !line.is_empty() {
            text.line(format_args!("latency_percentiles_usec_{}:{line}", entry.row.spec.name));
        }
    }
}

pub(super) fn keyspace(text: &mut Text, facts: &Facts<'_>) {
    for database in 0..facts.config.databases {
        let cores = || facts.node.metrics.iter().filter(|core| database < core.keys.len());
        let sum = |number: fn(&CoreMetrics, usize) -> u64| cores().map(|core| number(core, database)).sum::<u64>();
        let keys = sum(|core, database| core.keys[database].get());
        if keys == 0 {
            continue;
        }
        let expires = sum(|core, database| core.expires[database].get());
        // The mean over all cores, each with the weight of its keys.
        let weighted = |core: &CoreMetrics| {
            u128::from(core.average_ttl_ms[database].get()) * u128::from(core.expires[database].get())
        };
        let average = cores().map(weighted).sum::<u128>() / u128::from(expires.max(1));
        text.line(format_args!("db{database}:keys={keys},expires={expires},avg_ttl={average}"));
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::table;
    use crate::commands::testing::Console;

    #[test]
    fn counters_show_in_their_sections() {
        let mut console = Console::new();
        let get = table().find(b"get").expect("GET is there").id;
        let list = table().find(b"client").and_then(|client| table().find_subcommand(client, b"list"));
        let list = list.expect("CLIENT LIST is there").id;
        let metrics = &console.node.metrics[0];
        for _ in 0..4 {
            metrics.by_command[usize::from(get)].record(1500);
        }
        metrics.by_command[usize::from(list)].rejected.add(1);
        metrics.count_error("WRONGTYPE");
        metrics.keyspace_hits.add(3);
        metrics.clients.set(2);
        metrics.keys[0].set(5);
        metrics.expires[0].set(2);
        metrics.average_ttl_ms[0].set(900);
        metrics.keys[9].set(1);
        metrics.sampled_expires.set(200);
        metrics.sampled_expired.set(25);
        metrics.expire_nanoseconds.add(7_999_999);
        metrics.reads.add(6);
        metrics.largest_input_bytes.set(4096);
        let text = console.run("INFO all");
        for line in [
            "cmdstat_get:calls=4,usec=6,usec_per_call=1.50,rejected_calls=0,failed_calls=0",
            "cmdstat_client|list:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0",
            "errorstat_WRONGTYPE:count=1",
            "latency_percentiles_usec_get:p50=1.503,p99=1.503,p99.9=1.503",
            "keyspace_hits:3",
            "total_error_replies:1",
            "connected_clients:2",
            "client_recent_max_input_buffer:4096",
            "client_recent_max_output_buffer:0",
            "expired_stale_perc:12.50",
            "expire_cycle_cpu_milliseconds:7",
            "total_reads_processed:6",
            "total_writes_processed:0",
            "db0:keys=5,expires=2,avg_ttl=900",
            "db9:keys=1,expires=0,avg_ttl=0",
            "core0:clients=2,commands=0,remote=0,batches=0,keys=6,turns=0,busy_pct=0.00",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
        console.node.reset_statistics();
        let text = console.run("INFO all");
        assert!(!text.contains("cmdstat_") && !text.contains("errorstat_") && !text.contains("latency_percentiles"));
        assert!(text.contains("keyspace_hits:0\r\n") && text.contains("db0:keys=5,"));
    }
}
