//! The append-only log, as clients see it.

use super::{Flow, Row, SessionContext};
use crate::resp::{Args, CommandError};
use crate::spec::{Categories, Flags, Group};
use std::sync::atomic::Ordering::Relaxed;

/// BGREWRITEAOF and LASTSAVE.
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
];

fn bgrewriteaof(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    let state = &ctx.node.persistence;
    if state.rewriting.load(Relaxed) || state.rewrite_scheduled.load(Relaxed) {
        return Err(CommandError::fixed("ERR Background append only file rewriting already in progress"));
    }
    ctx.node.request_rewrite();
    ctx.reply.simple("Background append only file rewriting started");
    Ok(Flow::Done)
}

/// Without snapshots yet, as Redis before its first one: when the server started.
fn lastsave(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    ctx.reply.integer(ctx.node.started_ms / 1000);
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
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
}
