//! INFO's sections on the process and its machine: server, memory, cpu.

use super::{Facts, Human, Text};
use crate::commands::memory::report::{CoreBytes, Report, ratio};
use crate::commands::node::{CRIMSON_VERSION, REDIS_VERSION};
use crate::metrics::memory::allocator_name;
use crate::stdx::process;
use std::time::Duration;

pub(super) fn server(text: &mut Text, facts: &Facts<'_>) {
    let node = facts.node;
    let uptime_seconds = facts.now.saturating_sub(node.started_ms).max(0) / 1000;
    text.field("redis_version", REDIS_VERSION);
    text.field("crimson_version", CRIMSON_VERSION);
    // As Redis where it is built from an archive: nobody knows the commit.
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_build_id", process::build_id());
    text.field("redis_mode", "standalone");
    text.field("os", process::system_name());
    text.field("arch_bits", usize::BITS);
    text.field("multiplexing_api", "io_uring");
    text.field("monotonic_clock", monotonic_clock());
    text.field("process_id", std::process::id());
    text.field("process_supervised", if node.supervised { "systemd" } else { "no" });
    text.field("run_id", &node.run_id);
    text.field("tcp_port", facts.config.port);
    text.field("server_time_usec", (node.wall_clock)().as_micros());
    text.field("uptime_in_seconds", uptime_seconds);
    text.field("uptime_in_days", uptime_seconds / 86_400);
    text.field("hz", facts.config.hz);
    text.field("configured_hz", facts.config.hz);
    text.field("lru_clock", super::super::debug::lru_clock(facts.now));
    text.field("executable", std::env::current_exe().unwrap_or_default().display());
    text.field("config_file", node.config_file.as_deref().unwrap_or("".as_ref()).display());
    text.field("io_threads_active", 0);
    text.field("shards", node.metrics.len());
    for (index, listener) in node.listeners.iter().enumerate() {
        text.line(format_args!("listener{index}:{listener}"));
    }
}

/// What commands are timed with, in Redis's words.
fn monotonic_clock() -> String {
    // Only the processor's own counter has a unit of its own.
    let nanoseconds = quanta::Clock::new().delta_as_nanos(0, 1_000_000);
    if nanoseconds == 1_000_000 {
        return "POSIX clock_gettime".into();
    }
    let counter = if cfg!(target_arch = "aarch64") { "ARM CNTVCT" } else { "X86 TSC" };
    format!("{counter} @ {} ticks/us", 1_000_000_000 / nanoseconds.max(1))
}

pub(super) fn memory(text: &mut Text, facts: &Facts<'_>) {
    let report = Report::new(facts.node, CoreBytes::published(facts.node));
    let (allocator, used, resident) = (report.allocator, report.used(), report.resident);
    text.bytes("used_memory", used);
    text.bytes("used_memory_rss", resident);
    text.bytes("used_memory_peak", report.peak);
    text.field("used_memory_peak_perc", format_args!("{:.2}%", report.peak_percent()));
    text.field("used_memory_overhead", report.overhead());
    text.field("used_memory_startup", report.startup);
    text.field("used_memory_dataset", report.dataset());
    text.field("used_memory_dataset_perc", format_args!("{:.2}%", report.dataset_percent()));
    text.field("allocator_allocated", allocator.allocated);
    text.field("allocator_active", allocator.active);
    text.field("allocator_resident", allocator.resident);
    text.bytes("total_system_memory", process::system_memory_bytes());
    scripts(text);
    text.bytes("maxmemory", facts.config.maxmemory);
    text.field("maxmemory_policy", facts.config.eviction.policy.name());
    compare(text, "allocator_frag", allocator.active, allocator.allocated);
    compare(text, "allocator_rss", allocator.resident, allocator.active);
    compare(text, "rss_overhead", resident, allocator.resident);
    compare(text, "mem_fragmentation", resident, used);
    text.field("mem_not_counted_for_evict", facts.node.persistence.held_bytes());
    text.zeros(&["mem_replication_backlog", "mem_total_replication_buffers"]);
    text.zeros(&["mem_clients_slaves"]);
    text.field("mem_clients_normal", report.clients);
    text.zeros(&["mem_cluster_links"]);
    text.field("mem_aof_buffer", report.log);
    text.field("mem_allocator", allocator_name());
    text.field("active_defrag_running", 0);
    text.field("lazyfree_pending_objects", facts.node.reclaimer.pending());
    text.field("lazyfreed_objects", facts.node.reclaimer.freed());
}

/// There are no scripts yet.
fn scripts(text: &mut Text) {
    text.zeros(&["used_memory_lua", "used_memory_vm_eval"]);
    text.field("used_memory_lua_human", Human(0));
    text.zeros(&["used_memory_scripts_eval", "number_of_cached_scripts", "number_of_functions", "number_of_libraries"]);
    text.zeros(&["used_memory_vm_functions"]);
    text.bytes("used_memory_vm_total", 0);
    text.zeros(&["used_memory_functions"]);
    text.bytes("used_memory_scripts", 0);
}

/// How `bytes` relate to the `base` they contain.
fn compare(text: &mut Text, name: &str, bytes: u64, base: u64) {
    text.line(format_args!("{name}_ratio:{:.2}", ratio(bytes, base)));
    text.line(format_args!("{name}_bytes:{}", i128::from(bytes) - i128::from(base)));
}

pub(super) fn cpu(text: &mut Text, _facts: &Facts<'_>) {
    let (own, children) = (process::cpu_times(), process::cpu_times_of_children());
    let mut time = |name: &str, time: Duration| {
        text.field(name, format_args!("{}.{:06}", time.as_secs(), time.subsec_micros()));
    };
    time("used_cpu_sys", own.system);
    time("used_cpu_user", own.user);
    time("used_cpu_sys_children", children.system);
    time("used_cpu_user_children", children.user);
}
