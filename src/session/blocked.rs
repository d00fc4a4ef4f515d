//! A session that waits in a blocking command.

use super::Session;
use crate::shard::blocked::{Claim, WaitId};
use crate::shard::{Millis, ShardId};

/// What is known of a session's wait on its own core.
#[derive(Debug)]
pub struct Blocked {
    /// Which wait.
    pub id: WaitId,
    /// Who may end it.
    pub claim: Claim,
    /// The number of its request.
    pub number: u32,
    /// Until when it waits; `None`: for ever.
    pub deadline: Option<Millis>,
    /// The shards it is registered with.
    pub shards: Vec<ShardId>,
    /// Whether nobody wants the reply (CLIENT REPLY).
    pub silent: bool,
    /// Whether its command is being tried again over several shards; its core has the claim then.
    pub trying: bool,
    /// Whether it waits for the append-only log and not for keys.
    pub for_log: bool,
    /// How it has been ended; with a try under way, which then takes nothing, its client is told behind that. The claim is
    /// taken.
    pub unblock: Option<Unblock>,
}

/// How a wait is ended that has not been served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblock {
    /// Its time is over, or another client has declared it so.
    Timeout,
    /// Another client has ended it with an error.
    Error,
}

impl Session {
    /// Ends the session's wait, if there is one that nobody else has ended; whether there is. The engine then answers.
    pub fn unblock(&mut self, how: Unblock) -> bool {
        let Some(blocked) = self.blocked.as_deref_mut().filter(|blocked| blocked.unblock.is_none()) else {
            return false;
        };
        if !blocked.trying && !blocked.claim.take() {
            return false;
        }
        blocked.unblock = Some(how);
        true
    }
}
