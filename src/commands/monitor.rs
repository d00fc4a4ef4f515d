//! MONITOR: every command that any client runs, as it runs. The engine writes the lines (`engine::monitors`).

use super::{CoreView, EveryCore, Flow, Row, SessionContext};
use crate::resp::{Args, CommandError};
use crate::session::SessionFlags;
use crate::shard::ShardId;
use crate::spec::{Flags, Group};
use std::any::Any;
use std::sync::Arc;

/// MONITOR.
pub const ROWS: &[Row] = &[Row::session("monitor", 1, Group::Server, monitor)
    .summary("Shows every command that the server runs.")
    .syntax("MONITOR")
    .complexity("")
    .flags(Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE))];

/// A client that is a monitor already gets no answer, as in Redis.
fn monitor(ctx: &mut SessionContext<'_>, _: Args<'_>) -> Result<Flow, CommandError> {
    if ctx.session.flags.contains(SessionFlags::MULTI) {
        return Err(CommandError::fixed("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    if ctx.session.flags.contains(SessionFlags::MONITOR) {
        return Ok(Flow::Done);
    }
    Ok(Flow::EveryCore(Arc::new(Begin { core: ctx.core })))
}

/// Every core has to know that it is watched before the client is told.
struct Begin {
    core: ShardId,
}

impl EveryCore for Begin {
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        core.monitors[self.core.index()] += 1;
        Box::new(())
    }

    fn finish(&self, _parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>) {
        context.session.flags.insert(SessionFlags::MONITOR);
        context.reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Console;
    use crate::session::SessionFlags;

    #[test]
    fn a_monitor_is_told_once() {
        let mut console = Console::new();
        assert_eq!(console.run("MONITOR"), "+OK\r\n");
        assert!(console.session.flags.contains(SessionFlags::MONITOR));
        assert_eq!(console.run("MONITOR"), "");
        assert!(console.run("CLIENT INFO").contains(" flags=O "));
        console.session.flags = SessionFlags::MULTI;
        assert_eq!(console.run("MONITOR"), "-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n");
    }
}
