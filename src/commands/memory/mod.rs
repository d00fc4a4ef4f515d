//! MEMORY: what keys take, what the whole server takes and for what, and advice. The `report` puts the numbers together,
//! for INFO as well; `doctor` judges them.

mod doctor;
pub mod report;

use super::row::Outcome;
use super::server::write_help;
use super::{CoreView, EveryCore, Flow, Row, SessionContext, ShardContext};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError, Reply};
use crate::spec::{Flags, Group, KeyFlags, KeySpec, RequestPolicy, ResponsePolicy};
use crate::stdx::allocation;
use report::{CoreBytes, Report};
use std::any::Any;
use std::sync::Arc;

/// MEMORY.
pub const ROWS: &[Row] = &[Row::container("memory", Group::Server, SUBCOMMANDS)
    .summary("A container for commands on memory.")
    .syntax("MEMORY")
    .since("4.0.0")
    .complexity("Depends on subcommand.")];

const UNSTEADY: &[&str] = &["nondeterministic_output"];

const SUBCOMMANDS: &[Row] = &[
    Row::session("memory|doctor", 2, Group::Server, doctor)
        .summary("Tells what is wrong with the use of memory.")
        .syntax("MEMORY DOCTOR")
        .since("4.0.0")
        .tips(UNSTEADY)
        .policies(RequestPolicy::AllShards, ResponsePolicy::Special),
    Row::session("memory|help", 2, Group::Server, help)
        .summary("Describes the subcommands.")
        .syntax("MEMORY HELP")
        .since("4.0.0")
        .flags(Flags::LOADING.union(Flags::STALE)),
    Row::session("memory|malloc-stats", 2, Group::Server, malloc_stats)
        .summary("Returns the allocator's report on itself.")
        .syntax("MEMORY MALLOC-STATS")
        .since("4.0.0")
        .complexity("Depends on how much memory is allocated.")
        .tips(UNSTEADY)
        .policies(RequestPolicy::AllShards, ResponsePolicy::Special),
    Row::session("memory|purge", 2, Group::Server, purge)
        .summary("Gives free pages back to the system.")
        .syntax("MEMORY PURGE")
        .since("4.0.0")
        .complexity("Depends on how much memory is free.")
        .policies(RequestPolicy::AllShards, ResponsePolicy::AllSucceeded),
    Row::session("memory|stats", 2, Group::Server, stats)
        .summary("Returns what takes how much memory.")
        .syntax("MEMORY STATS")
        .since("4.0.0")
        .tips(UNSTEADY)
        .policies(RequestPolicy::AllShards, ResponsePolicy::Special),
    Row::shard("memory|usage", -3, Group::Server, usage)
        .summary("Returns the bytes that a key and its value take.")
        .syntax("MEMORY USAGE key [SAMPLES count]")
        .since("4.0.0")
        .complexity("O(N) where N is the number of samples.")
        .flags(Flags::READONLY)
        .keys(&[KeySpec::one(2, KeyFlags::RO)]),
];

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];

/// Elements of a large collection that USAGE looks at unless it is told otherwise.
const SAMPLES: usize = 5;

fn help(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    write_help(&mut ctx.reply, "MEMORY", HELP);
    Ok(Flow::Done)
}

fn usage(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let mut samples = SAMPLES;
    for at in (3..args.len()).step_by(2) {
        if !is_token(args.at(at), "SAMPLES") || at + 1 == args.len() {
            return Err(CommandError::Syntax);
        }
        samples = match usize::try_from(args.integer(at + 1)?).map_err(|_| CommandError::Syntax)? {
            0 => usize::MAX,
            samples => samples,
        };
    }
    match ctx.db.memory_usage(args.at(2), samples) {
        Some(bytes) => ctx.reply.count(bytes),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn stats(_ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    Ok(Flow::EveryCore(Arc::new(Stats { write: write_stats })))
}

fn doctor(_ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    let write = |report: &Report, reply: &mut Reply<'_>| reply.verbatim("txt", doctor::advice(report).as_bytes());
    Ok(Flow::EveryCore(Arc::new(Stats { write })))
}

/// Asks every core for its numbers, and what is written from all of them.
struct Stats {
    write: fn(&Report, &mut Reply<'_>),
}

impl EveryCore for Stats {
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        Box::new(CoreBytes::count(core))
    }

    fn finish(&self, parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>) {
        let parts = parts.into_iter().map(|part| *part.downcast::<CoreBytes>().expect("the parts are made in `run`"));
        let report = Report::new(context.node, parts.collect());
        (self.write)(&report, &mut context.reply);
    }
}

/// A value of MEMORY STATS.
enum Stat {
    Bytes(i128),
    Ratio(f64),
}

fn write_stats(report: &Report, reply: &mut Reply<'_>) {
    use Stat::{Bytes, Ratio};
    let bytes = |bytes: u64| Bytes(i128::from(bytes));
    let before = [
        ("peak.allocated", bytes(report.peak)),
        ("total.allocated", bytes(report.used())),
        ("startup.allocated", bytes(report.startup)),
        ("replication.backlog", Bytes(0)),
        ("clients.slaves", Bytes(0)),
        ("clients.normal", bytes(report.clients)),
        ("cluster.links", Bytes(0)),
        ("aof.buffer", bytes(report.log)),
        ("lua.caches", Bytes(0)),
        ("functions.caches", Bytes(0)),
    ];
    let (active, resident) = (report.allocator.active, report.allocator.resident);
    let compare =
        |bytes: u64, base: u64| (Ratio(report::ratio(bytes, base)), Bytes(i128::from(bytes) - i128::from(base)));
    let (fragmentation, fragmented) = compare(active, report.allocator.allocated);
    let (allocator_rss, kept) = compare(resident, active);
    let (rss_overhead, beside) = compare(report.resident, resident);
    let (all, all_bytes) = compare(report.resident, report.used());
    let behind = [
        ("overhead.total", bytes(report.overhead())),
        ("keys.count", bytes(report.keys())),
        ("keys.bytes-per-key", bytes(report.bytes_per_key())),
        ("dataset.bytes", bytes(report.dataset())),
        ("dataset.percentage", Ratio(report.dataset_percent())),
        ("peak.percentage", Ratio(report.peak_percent())),
        ("allocator.allocated", bytes(report.allocator.allocated)),
        ("allocator.active", bytes(active)),
        ("allocator.resident", bytes(resident)),
        ("allocator-fragmentation.ratio", fragmentation),
        ("allocator-fragmentation.bytes", fragmented),
        ("allocator-rss.ratio", allocator_rss),
        ("allocator-rss.bytes", kept),
        ("rss-overhead.ratio", rss_overhead),
        ("rss-overhead.bytes", beside),
        ("fragmentation", all),
        ("fragmentation.bytes", all_bytes),
    ];
    let databases = || report.databases.iter().enumerate().filter(|(_, database)| database.keys > 0);
    reply.map(before.len() + databases().count() + behind.len());
    before.into_iter().for_each(|stat| write_stat(reply, stat));
    for (index, database) in databases() {
        reply.bulk(format!("db.{index}").as_bytes());
        reply.map(3);
        write_stat(reply, ("overhead.hashtable.main", bytes(database.table)));
        write_stat(reply, ("overhead.hashtable.expires", bytes(database.expires())));
        write_stat(reply, ("overhead.hashtable.slot-to-keys", Bytes(0)));
    }
    behind.into_iter().for_each(|stat| write_stat(reply, stat));
}

fn write_stat(reply: &mut Reply<'_>, (name, value): (&str, Stat)) {
    reply.bulk(name.as_bytes());
    match value {
        Stat::Bytes(bytes) => reply.integer(bytes as i64),
        Stat::Ratio(ratio) => reply.double(ratio),
    }
}

fn malloc_stats(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    ctx.reply.verbatim("txt", &allocation::report());
    Ok(Flow::Done)
}

fn purge(_ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    Ok(Flow::EveryCore(Arc::new(Purge)))
}

/// Every core gives up what its thread keeps; then all free pages go.
struct Purge;

impl EveryCore for Purge {
    fn run(&self, _core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        allocation::flush_thread_cache();
        Box::new(())
    }

    fn finish(&self, _parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>) {
        match allocation::purge() {
            true => context.reply.ok(),
            false => context.refuse(&CommandError::fixed("ERR Error purging dirty pages")),
        }
    }
}

#[cfg(test)]
mod tests;
