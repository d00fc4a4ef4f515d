//! INFO: the server's state as text. It reads shared counters only, so that a busy core never delays it. A field is here
//! when it is true; fields that Redis has and that mean nothing here are left out.

mod counters;
mod machine;
mod state;

use super::{Flow, Node, Row, SessionContext};
use crate::config::Config;
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError};
use crate::shard::Millis;
use crate::spec::{Categories, Flags, Group, RequestPolicy, ResponsePolicy};
use std::fmt::{self, Write};

/// INFO.
pub const ROWS: &[Row] = &[Row::session("info", -1, Group::Server, info)
    .summary("Tells the server's state and statistics.")
    .syntax("INFO [section [section ...]]")
    .flags(Flags::LOADING.union(Flags::STALE))
    .categories(Categories::DANGEROUS)
    .tips(&["nondeterministic_output"])
    .policies(RequestPolicy::AllShards, ResponsePolicy::Special)];

/// What the sections are written from.
struct Facts<'a> {
    node: &'a Node,
    config: &'a Config,
    now: Millis,
}

/// A section: its name in a request, its title, whether INFO shows it unasked, and the function that writes it.
struct Section {
    name: &'static str,
    title: &'static str,
    default: bool,
    write: fn(&mut Text, &Facts<'_>),
}

const fn section(name: &'static str, title: &'static str, write: fn(&mut Text, &Facts<'_>)) -> Section {
    Section { name, title, default: true, write }
}

/// The sections in the order they appear in, whatever order they are asked for in.
const SECTIONS: &[Section] = &[
    section("server", "Server", machine::server),
    section("clients", "Clients", counters::clients),
    section("memory", "Memory", machine::memory),
    section("persistence", "Persistence", state::persistence),
    section("stats", "Stats", counters::stats),
    section("replication", "Replication", state::replication),
    section("cpu", "CPU", machine::cpu),
    section("cores", "Cores", counters::cores),
    section("modules", "Modules", state::modules),
    Section { default: false, ..section("commandstats", "Commandstats", counters::commandstats) },
    section("errorstats", "Errorstats", counters::errorstats),
    Section { default: false, ..section("latencystats", "Latencystats", counters::latencystats) },
    section("cluster", "Cluster", state::cluster),
    section("keyspace", "Keyspace", counters::keyspace),
];

fn info(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let facts = Facts { node: ctx.node, config: ctx.config, now: ctx.now };
    let text = render(&facts, |section| {
        let asked = |name: &[u8]| {
            is_token(name, section.name)
                || is_token(name, "all")
                || is_token(name, "everything")
                || section.default && is_token(name, "default")
        };
        if args.len() == 1 { section.default } else { args.iter_from(1).any(asked) }
    });
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

fn render(facts: &Facts<'_>, wanted: impl Fn(&Section) -> bool) -> String {
    let mut text = Text(String::with_capacity(4096));
    for section in SECTIONS.iter().filter(|section| wanted(section)) {
        if !text.0.is_empty() {
            text.0.push_str("\r\n");
        }
        text.line(format_args!("# {}", section.title));
        (section.write)(&mut text, facts);
    }
    text.0
}

/// INFO's text as it grows.
struct Text(String);

impl Text {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("writing to a String does not fail");
        self.0.push_str("\r\n");
    }

    /// `name:value`
    fn field(&mut self, name: &str, value: impl fmt::Display) {
        self.line(format_args!("{name}:{value}"));
    }

    /// Several fields that are all zero.
    fn zeros(&mut self, names: &[&str]) {
        for name in names {
            self.field(name, 0);
        }
    }

    /// A number of bytes, and behind it the same for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.line(format_args!("{name}_human:{}", Human(bytes)));
    }
}

/// A number of bytes in a unit that people read easily, as Redis writes it.
pub struct Human(pub u64);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return write!(f, "{}B", self.0);
        }
        let (mut amount, mut units) = (self.0 as f64 / 1024.0, "KMGTPE".chars());
        let mut unit = units.next();
        while amount >= 1024.0 {
            amount /= 1024.0;
            unit = units.next();
        }
        write!(f, "{amount:.2}{}", unit.unwrap_or('E'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::Console;

    #[test]
    fn bytes_for_people() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (916_304, "894.83K"),
            (1 << 20, "1.00M"),
            (25_276_510_208, "23.54G"),
            (u64::MAX, "16.00E"),
        ] {
            assert_eq!(Human(bytes).to_string(), text);
        }
    }

    fn titles(reply: &str) -> Vec<&str> {
        reply.lines().filter_map(|line| line.strip_prefix("# ")).collect()
    }

    #[test]
    fn sections_are_chosen() {
        let mut console = Console::new();
        let default =
            "Server Clients Memory Persistence Stats Replication CPU Cores Modules Errorstats Cluster Keyspace";
        assert_eq!(titles(&console.run("INFO")).join(" "), default);
        assert_eq!(titles(&console.run("INFO default")).join(" "), default);
        assert_eq!(titles(&console.run("INFO keyspace SERVER nosuch")), ["Server", "Keyspace"]);
        assert_eq!(titles(&console.run("INFO all")).len(), SECTIONS.len());
        assert_eq!(titles(&console.run("INFO everything")).len(), SECTIONS.len());
        assert_eq!(console.run("INFO nosuch"), "$0\r\n\r\n");
        assert_eq!(console.run("INFO keyspace"), "$12\r\n# Keyspace\r\n\r\n");
        console.run("HELLO 3");
        assert_eq!(console.run("INFO cluster"), "=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n");
    }

    #[test]
    fn the_fields_that_tools_read_are_there() {
        let mut console = Console::new();
        let text = console.run("INFO everything");
        for field in [
            "redis_version:7.2.4",
            "crimson_version:",
            "redis_git_sha1:00000000",
            "redis_git_dirty:0",
            "redis_build_id:",
            "monotonic_clock:",
            "redis_mode:standalone",
            "os:Linux ",
            "arch_bits:64",
            "process_id:",
            "run_id:0123456789",
            "tcp_port:6379",
            "uptime_in_seconds:0",
            "uptime_in_days:0",
            "hz:",
            "executable:/",
            "config_file:",
            "connected_clients:0",
            "maxclients:10000",
            "blocked_clients:0",
            "used_memory:",
            "used_memory_human:",
            "used_memory_rss:",
            "used_memory_peak_human:",
            "used_memory_overhead:",
            "used_memory_dataset:",
            "used_memory_dataset_perc:",
            "mem_clients_normal:0",
            "total_system_memory:",
            "maxmemory:0",
            "maxmemory_policy:noeviction",
            "mem_fragmentation_ratio:",
            "loading:0",
            "rdb_changes_since_last_save:0",
            "rdb_last_bgsave_status:ok",
            "aof_enabled:0",
            "total_connections_received:0",
            "total_commands_processed:0",
            "instantaneous_ops_per_sec:0",
            "total_net_input_bytes:0",
            "total_net_output_bytes:0",
            "rejected_connections:0",
            "expired_keys:0",
            "evicted_keys:0",
            "evicted_clients:0",
            "expired_stale_perc:0.00",
            "expired_time_cap_reached_count:0",
            "active_defrag_hits:0",
            "current_active_defrag_time:0",
            "dump_payload_sanitizations:0",
            "io_threaded_writes_processed:0",
            "repl_backlog_size:0",
            "keyspace_hits:0",
            "keyspace_misses:0",
            "total_error_replies:0",
            "role:master",
            "connected_slaves:0",
            "master_replid:",
            "used_cpu_sys:",
            "used_cpu_user:",
            "cluster_enabled:0",
        ] {
            assert!(text.lines().any(|line| line.starts_with(field)), "{field} is not in {text}");
        }
        let (fields, others): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains(':'));
        assert!(others.iter().all(|line| line.is_empty() || line.starts_with("# ") || line.starts_with('$')));
        let mut names: Vec<&str> = fields.iter().filter_map(|line| line.split(':').next()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a field stands twice");
    }
}
