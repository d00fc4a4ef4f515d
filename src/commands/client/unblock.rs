//! CLIENT UNBLOCK: the core of a client that waits ends its wait; the engine answers it.

use super::subcommand_syntax;
use crate::commands::{CoreView, EveryCore, Flow, SessionContext};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError};
use crate::session::{SessionFlags, Unblock};
use std::any::Any;
use std::sync::Arc;

pub(super) fn unblock(_ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let how = match args.get(3) {
        _ if args.len() > 4 => return Err(subcommand_syntax(args)),
        None => Unblock::Timeout,
        Some(reason) if is_token(reason, "TIMEOUT") => Unblock::Timeout,
        Some(reason) if is_token(reason, "ERROR") => Unblock::Error,
        Some(_) => return Err(CommandError::fixed("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    // No client has a negative id.
    let id = u64::try_from(args.integer(2)?).unwrap_or(0);
    Ok(Flow::EveryCore(Arc::new(Request { id, how })))
}

struct Request {
    id: u64,
    how: Unblock,
}

impl EveryCore for Request {
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        let mut sessions = core.sessions.iter_mut().map(|(_, session)| session);
        let session = sessions.find(|session| session.id == self.id);
        let unblocked =
            session.filter(|session| !session.flags.intersects(SessionFlags::GONE)).is_some_and(|session| {
                // Only its own core and whoever serves it can end a wait, and only one of them does.
                session.unblock(self.how)
            });
        Box::new(unblocked)
    }

    fn finish(&self, parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>) {
        let unblocked = parts.into_iter().any(|part| *part.downcast::<bool>().expect("the parts are made in `run`"));
        context.reply.integer(i64::from(unblocked));
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Console;
    use crate::session::{Blocked, Unblock};
    use crate::shard::ShardId;
    use crate::shard::blocked::{Claim, WaitId};

    fn wait(number: u64) -> Option<Box<Blocked>> {
        let id = WaitId { core: ShardId(0), number };
        let claim = Claim::default();
        let (shards, deadline, unblock) = (Vec::new(), None, None);
        let (silent, trying, for_log) = (false, false, false);
        Some(Box::new(Blocked { id, claim, number: 0, deadline, shards, silent, trying, for_log, unblock }))
    }

    #[test]
    fn clients_that_wait_are_unblocked_once() {
        let mut console = Console::new();
        let keys = [console.connect(8), console.connect(9), console.connect(10)];
        for key in keys {
            console.sessions.get_mut(key).expect("it is there").blocked = wait(1);
        }
        assert!(console.run("CLIENT LIST ID 9").contains(" flags=b "));
        assert_eq!(console.run("CLIENT UNBLOCK 8"), ":1\r\n");
        assert_eq!(console.run("CLIENT UNBLOCK 8 ERROR"), ":0\r\n");
        assert_eq!(console.run("CLIENT UNBLOCK 9 error"), ":1\r\n");
        let blocked = console.sessions.get_mut(keys[2]).and_then(|session| session.blocked.as_mut());
        assert!(blocked.expect("it waits").claim.take());
        assert_eq!(console.run("CLIENT UNBLOCK 10"), ":0\r\n", "somebody is about to serve it");
        let mut how = |key| console.sessions.get_mut(key).and_then(|session| session.blocked.as_ref()?.unblock);
        assert_eq!(keys.map(&mut how), [Some(Unblock::Timeout), Some(Unblock::Error), None]);
    }

    #[test]
    fn clients_that_do_not_wait_are_left_alone() {
        let mut console = Console::new();
        for line in ["CLIENT UNBLOCK 99", "CLIENT UNBLOCK 99 error", "CLIENT UNBLOCK 7", "CLIENT UNBLOCK -7 timeout"] {
            assert_eq!(console.run(line), ":0\r\n", "{line}");
        }
        assert_eq!(console.run("CLIENT UNBLOCK x"), "-ERR value is not an integer or out of range\r\n");
        let wrong = "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n";
        assert_eq!(console.run("CLIENT UNBLOCK x foo"), wrong);
    }
}
