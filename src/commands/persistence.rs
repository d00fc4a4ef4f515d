//! The append-only log, as clients see it.

use super::context::LogWait;
use super::{Flow, Row, SessionContext};
use crate::resp::{Args, CommandError};
use crate::spec::{Categories, Flags, Group, RequestPolicy, ResponsePolicy};
use crate::stdx::number;
use std::sync::atomic::Ordering::Relaxed;

/// Nobody can wait for a log that there is not.
pub const LOG_IS_OFF: CommandError =
    CommandError::fixed("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");

/// BGREWRITEAOF, LASTSAVE and WAITAOF.
pub const ROWS: &[Row] = &[
    Row::session("bgrewriteaof", 1, Group::Server, bgrewriteaof)
        .summary("Rewrites the append-only log in the background.")
        .syntax("BGREWRITEAOF")
        .flags(Flags::NO_ASYNC_LOADING.union(Flags::ADMIN).union(Flags::NOSCRIPT)),
    Row::session("lastsave", 1, Group::Server, lastsave)
        .summary("Tells when data was last saved to a snapshot.")
        .syntax("LASTSAVE")
        .flags(Flags::LOADING.union(Flags::STALE).union(Flags::FAST))
        .categories(Categories::ADMIN.union(Categories::DANGEROUS))
        .tips(&["nondeterministic_output"]),
    Row::session("waitaof", 4, Group::Generic, waitaof)
        .since("7.2.0")
        .summary("Waits until what the client has changed is on disk here, and on disks of replicas.")
        .syntax("WAITAOF numlocal numreplicas timeout")
        .flags(Flags::BLOCKING)
        .categories(Categories::CONNECTION)
        .policies(RequestPolicy::AllShards, ResponsePolicy::AggMin),
];

fn bgrewriteaof(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    let state = &ctx.node.persistence;
    if state.rewriting.load(Relaxed) || state.rewrite_scheduled.load(Relaxed) {
        return Err(CommandError::fixed("ERR Background append only file rewriting already in progress"));
    }
    state.rewrite_asked.store(true, Relaxed);
    ctx.node.request_rewrite();
    ctx.reply.simple("Background append only file rewriting started");
    Ok(Flow::Done)
}

/// Without snapshots yet, as Redis before its first one: when the server started.
fn lastsave(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    ctx.reply.integer(ctx.node.started_ms / 1000);
    Ok(Flow::Done)
}

fn waitaof(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    const LOCAL: CommandError = CommandError::fixed("ERR value is out of range, must be between 0 and 1");
    const UNREADABLE: CommandError = CommandError::fixed("ERR timeout is not an integer or out of range");
    const TOO_LARGE: CommandError = CommandError::fixed("ERR timeout is out of range");
    let local = match args.integer(1)? {
        0 => false,
        1 => true,
        _ => return Err(LOCAL),
    };
    let replicas = match args.integer(2)? {
        ..0 => return Err(CommandError::NotPositive),
        replicas => replicas > 0,
    };
    let deadline = match number::parse_i64(args.at(3)).ok_or(UNREADABLE)? {
        ..0 => return Err(CommandError::fixed("ERR timeout is negative")),
        0 => None,
        milliseconds => Some(ctx.now.checked_add(milliseconds).ok_or(TOO_LARGE)?),
    };
    if local && !ctx.config.appendonly {
        return Err(LOG_IS_OFF);
    }
    Ok(Flow::WaitLog(LogWait { local, replicas, deadline, ends: false }))
}

#[cfg(test)]
mod tests {
    use crate::commands::context::LogWait;
    use crate::commands::testing::Console;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn a_rewrite_is_asked_for_once() {
        let mut console = Console::new();
        assert_eq!(console.run("BGREWRITEAOF"), "+Background append only file rewriting started\r\n");
        assert!(console.node.persistence.rewrite_scheduled.load(Relaxed));
        let again = "-ERR Background append only file rewriting already in progress\r\n";
        assert_eq!(console.run("BGREWRITEAOF"), again);
    }

    #[test]
    fn lastsave_is_the_start_before_the_first_snapshot() {
        let mut console = Console::new();
        let seconds = console.node.started_ms / 1000;
        assert_eq!(console.run("LASTSAVE"), format!(":{seconds}\r\n"));
    }

    #[test]
    fn waitaof_takes_what_redis_takes() {
        let mut console = Console::new();
        for (line, error) in [
            ("WAITAOF 2 0 0", "ERR value is out of range, must be between 0 and 1"),
            ("WAITAOF -1 0 0", "ERR value is out of range, must be between 0 and 1"),
            ("WAITAOF x -1 -1", "ERR value is not an integer or out of range"),
            ("WAITAOF 1 -1 -1", "ERR value is out of range, must be positive"),
            ("WAITAOF 1 x -1", "ERR value is not an integer or out of range"),
            ("WAITAOF 1 0 -1", "ERR timeout is negative"),
            ("WAITAOF 1 0 1.5", "ERR timeout is not an integer or out of range"),
            ("WAITAOF 1 0 9223372036854775807", "ERR timeout is out of range"),
            ("WAITAOF 1 0 0", "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."),
        ] {
            assert_eq!(console.run(line), format!("-{error}\r\n"), "{line}");
        }
        assert_eq!(console.run("WAITAOF 0 3 50"), "");
        let deadline = Some(console.now + 50);
        assert_eq!(console.log_wait, Some(LogWait { local: false, replicas: true, deadline, ends: false }));
    }
}
