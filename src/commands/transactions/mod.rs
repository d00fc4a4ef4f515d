//! MULTI, EXEC, DISCARD, WATCH, UNWATCH. Commands between MULTI and EXEC are queued by the engine's dispatch, which also
//! runs EXEC and takes watches to the shards that own the keys; here is what concerns the session alone.

use super::{Flow, Row, SessionContext};
use crate::resp::{Args, CommandError};
use crate::session::SessionFlags;
use crate::spec::{Categories, Flags, Group, KeyFlags, KeySpec};

const STEERING: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);
const FAST: Flags = STEERING.union(Flags::FAST).union(Flags::ALLOW_BUSY);

/// The transaction commands.
pub const ROWS: &[Row] = &[
    Row::session("discard", 1, Group::Transactions, discard)
        .summary("Forgets the queued commands and the watched keys.")
        .syntax("DISCARD")
        .since("2.0.0")
        .complexity("O(N) where N is the number of queued commands")
        .flags(FAST)
        .categories(Categories::TRANSACTION),
    Row::session("exec", 1, Group::Transactions, exec)
        .summary("Runs the queued commands as one, unless a watched key has changed.")
        .syntax("EXEC")
        .since("1.2.0")
        .complexity("Depends on the queued commands")
        .flags(STEERING.union(Flags::SKIP_SLOWLOG))
        .categories(Categories::TRANSACTION),
    Row::session("multi", 1, Group::Transactions, multi)
        .summary("Begins a transaction: the commands that follow are queued.")
        .syntax("MULTI")
        .since("1.2.0")
        .flags(FAST)
        .categories(Categories::TRANSACTION),
    Row::session("unwatch", 1, Group::Transactions, unwatch)
        .summary("Forgets the watched keys.")
        .syntax("UNWATCH")
        .since("2.2.0")
        .flags(FAST)
        .categories(Categories::TRANSACTION),
    Row::session("watch", -2, Group::Transactions, watch)
        .summary("Makes the next transaction depend on keys that must not change before it.")
        .syntax("WATCH key [key ...]")
        .since("2.2.0")
        .complexity("O(1) for every key")
        .flags(FAST)
        .categories(Categories::TRANSACTION)
        .keys(&[KeySpec::rest(1, 1, KeyFlags::RO)]),
];

fn multi(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    if ctx.session.flags.contains(SessionFlags::MULTI) {
        return Err(CommandError::fixed("ERR MULTI calls can not be nested"));
    }
    ctx.session.flags.insert(SessionFlags::MULTI);
    ctx.session.transaction.get_or_insert_default();
    ctx.reply.ok();
    Ok(Flow::Done)
}

fn exec(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    if !ctx.session.flags.contains(SessionFlags::MULTI) {
        return Err(CommandError::fixed("ERR EXEC without MULTI"));
    }
    Ok(Flow::Exec)
}

fn discard(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    if !ctx.session.flags.contains(SessionFlags::MULTI) {
        return Err(CommandError::fixed("ERR DISCARD without MULTI"));
    }
    ctx.session.discard();
    ctx.reply.ok();
    Ok(Flow::Unwatch)
}

fn watch(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    if ctx.session.flags.contains(SessionFlags::MULTI) {
        return Err(CommandError::fixed("ERR WATCH inside MULTI is not allowed"));
    }
    Ok(Flow::Watch)
}

fn unwatch(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    ctx.reply.ok();
    Ok(Flow::Unwatch)
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Console;
    use crate::session::SessionFlags;

    #[test]
    fn what_needs_multi_and_what_must_not_be_in_it() {
        let mut console = Console::new();
        assert_eq!(console.run("EXEC"), "-ERR EXEC without MULTI\r\n");
        assert_eq!(console.run("DISCARD"), "-ERR DISCARD without MULTI\r\n");
        assert_eq!(console.run("UNWATCH"), "+OK\r\n");
        assert!(console.session.transaction.is_none());
        assert_eq!(console.run("MULTI"), "+OK\r\n");
        assert_eq!(console.run("MULTI"), "-ERR MULTI calls can not be nested\r\n");
        assert_eq!(console.run("WATCH a"), "-ERR WATCH inside MULTI is not allowed\r\n");
        assert!(console.run("CLIENT INFO").contains(" flags=x db=0 sub=0 psub=0 ssub=0 multi=0 "));
        assert_eq!(console.run("DISCARD"), "+OK\r\n");
        assert!(console.run("CLIENT INFO").contains(" flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 "));
        console.run("MULTI");
        assert_eq!(console.run("RESET"), "+RESET\r\n");
        assert!(!console.session.flags.contains(SessionFlags::MULTI));
    }
}
