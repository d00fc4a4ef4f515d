//! What cores tell each other.

use super::batch::Batch;
use super::blocking::Resume;
use super::coordinator::each_key_of_transaction;
use super::gather::Keys;
use super::parts::Parts;
use super::slowlog::Slow;
use crate::commands::{CommandTable, EveryCore};
use crate::config::OutputClass;
use crate::persistence::aof::{Cut, Transaction};
use crate::resp::reply::Mark;
use crate::resp::{CommandError, Output, Protocol, Reply};
use crate::session::Queue;
use crate::session::tracking::Target;
use crate::shard::blocked::{Registration, WaitId};
use crate::shard::locks::{LockSet, Mode, TransactionId};
use crate::shard::tracking::{ChangedKeys, SharedKey, Tracker};
use crate::shard::{Effect, Millis, ShardId, WatchedKey};
use crate::spec::ChannelKind;
use crate::types::Value;
use bytes::Bytes;
use std::any::Any;
use std::sync::Arc;

/// Who waits for a reply: a session's request, or a part of an operation over several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// A session's key, or an operation's number with [`Ticket::OPERATION`] added.
    pub owner: u32,
    /// The number of the request in its session, or of the part in its operation.
    pub number: u32,
}

impl Ticket {
    /// Marks an operation among owners.
    pub const OPERATION: u32 = 1 << 31;
}

/// How a command is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Number of the command in the table.
    pub command: u16,
    /// The selected database.
    pub database: u16,
    /// The protocol of the reply.
    pub protocol: Protocol,
    /// Whether access times stay as they are (CLIENT NO-TOUCH).
    pub no_touch: bool,
    /// Whether nobody wants the reply (CLIENT REPLY).
    pub no_reply: bool,
    /// Which limit holds for its reply.
    pub class: OutputClass,
    /// Whether this is a part of a command, which is counted where the whole is.
    pub part: bool,
    /// The transaction that a step belongs to; 0: none.
    pub transaction: u64,
    /// The client, if it tracks keys.
    pub tracker: Tracker,
    /// Whether it tracks the keys that this command reads.
    pub remember: bool,
    /// How it is logged that it has changed something.
    pub logged: Logged,
    /// Whether it may wait. Never between cores: what may wait runs on its session's core or on gathered keys.
    pub may_block: bool,
}

impl Call {
    /// A command that no client has sent.
    pub(super) fn of_nobody(command: u16) -> Self {
        Self {
            command,
            database: 0,
            protocol: Protocol::Resp2,
            no_touch: true,
            no_reply: true,
            class: OutputClass::Either,
            part: false,
            transaction: 0,
            tracker: Tracker::NONE,
            remember: false,
            logged: Logged::Itself,
            may_block: false,
        }
    }
}

/// How a command that has changed something gets into the log of the shard where it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// By itself.
    Itself,
    /// With the whole of which it is a part, when all that is run here has run.
    Part,
    /// It is a step of a transaction over all shards, which is logged at its end: the reply brings what is to be logged.
    Step,
}

/// One key of one database and what it holds: a value with the time it expires at, or nothing.
pub struct KeyState {
    /// The database.
    pub database: u16,
    /// The key.
    pub key: Vec<u8>,
    /// What it holds.
    pub state: Option<(Value, Option<Millis>)>,
}

/// A transaction that runs on another shard than its session's.
pub struct Execution {
    /// The client's id.
    pub client: u64,
    /// The commands.
    pub queue: Queue,
    /// How each is to be run; `None` for those that run on the session's core.
    pub calls: Vec<Option<Call>>,
    /// The keys that must be as they were.
    pub watched: Vec<WatchedKey>,
    /// Whether they are; if not, nothing has been run.
    pub intact: bool,
    /// The replies, one after another.
    pub replies: Output,
    /// Where each command's reply ends.
    pub ends: Vec<Mark>,
    /// Commands that took long, by their place, and how many nanoseconds.
    pub slow: Vec<(usize, u64)>,
}

impl Execution {
    /// Calls `found` with each key, queued or watched, and how it is locked.
    pub fn each_key(&self, table: &CommandTable, mut found: impl FnMut(&[u8], Mode)) {
        each_key_of_transaction(table, &self.queue, &self.calls, &self.watched, &mut found);
    }

    /// Appends the reply of command `index` to `reply`.
    pub fn copy_reply(&self, index: usize, reply: &mut Reply<'_>) {
        let start = index.checked_sub(1).map_or_else(|| Output::default().mark(), |before| self.ends[before]);
        reply.append_between(&self.replies, start, self.ends[index]);
    }
}

/// What a shard lends to a transaction.
pub struct Loan {
    /// What there is; keys that do not exist are left out.
    pub states: Vec<KeyState>,
    /// Whether all that its client watches here is as it was.
    pub intact: bool,
    /// What is to be logged of the steps that the transaction has done here before.
    pub logged: Vec<u8>,
}

/// A message to the subscribers of a channel.
pub struct Publication {
    /// A channel or a shard channel.
    pub kind: ChannelKind,
    /// The channel.
    pub channel: Bytes,
    /// What it says; all cores share it.
    pub payload: Bytes,
    /// The number under which the publishing core waits for the count of receivers, if it does.
    pub awaited: Option<u32>,
}

/// What clients that track keys must forget.
#[derive(Clone, Debug)]
pub enum Stale {
    /// These keys.
    Keys(Arc<[SharedKey]>),
    /// All keys.
    All,
}

/// What one core tells another for clients that track keys.
#[derive(Clone, Debug)]
pub enum Note {
    /// A key has changed that a client of the receiver has read.
    Stale {
        /// The client.
        client: u64,
        /// The key.
        key: SharedKey,
        /// Who changed it, if that client tracks keys.
        by: Tracker,
    },
    /// All keys of a database have gone. A core tells it only itself.
    AllStale,
    /// Keys have changed, with prefixes that clients of the receiver may track.
    Changed(ChangedKeys),
    /// A client of the receiver is to be told what another one tracks.
    Redirected {
        /// That other one.
        tracker: Tracker,
        /// Whether that other one speaks RESP3.
        resp3: bool,
        /// Who is to be told.
        target: Target,
        /// What.
        stale: Stale,
    },
    /// The client has gone that should hear what a client of the receiver tracks.
    Broken {
        /// The client of the receiver.
        client: u64,
    },
    /// Clients that track keys have gone for good.
    Departed(Arc<[Tracker]>),
}

/// What one core tells another.
pub enum Message {
    /// Commands to run.
    Requests(Box<Batch>),
    /// The same batch with their replies.
    Replies(Box<Batch>),
    /// Replies to commands that were held up by locks when their batch was run.
    Late(Box<Batch>),
    /// Parts of commands on several shards.
    RunParts(Box<Parts>),
    /// The same parts with their replies, or refused.
    PartsRun(Box<Parts>),
    /// A transaction asks for locks, and keeps them until its part comes or it gives them up.
    Lock {
        /// Who asks.
        from: ShardId,
        /// For what.
        ticket: Ticket,
        /// Which transaction.
        id: TransactionId,
        /// The locks.
        locks: LockSet,
        /// Whether it stands in line instead of being refused.
        patient: bool,
    },
    /// The locks are granted or refused.
    Locked {
        /// For what.
        ticket: Ticket,
        /// Whether they are granted.
        granted: bool,
    },
    /// A transaction gives up its locks.
    Unlock {
        /// Which transaction.
        id: TransactionId,
    },
    /// Begins another file of the log.
    Cut {
        /// Who coordinates it.
        from: ShardId,
        /// For what.
        ticket: Ticket,
        /// What is new.
        cut: Arc<Cut>,
    },
    /// A cut has been made here.
    HasCut {
        /// For what.
        ticket: Ticket,
    },
    /// A transaction asks for locks, and for the values of keys in all databases.
    Lend {
        /// Who asks.
        from: ShardId,
        /// For what.
        ticket: Ticket,
        /// Which transaction.
        id: TransactionId,
        /// The locks.
        locks: LockSet,
        /// Whether it stands in line instead of being refused.
        patient: bool,
        /// The keys.
        keys: Keys,
        /// The client whose watched keys must be as they were.
        watcher: Option<u64>,
    },
    /// A transaction that has its locks asks for the values of keys in all databases.
    Borrow {
        /// Who asks.
        from: ShardId,
        /// For what.
        ticket: Ticket,
        /// The transaction, if it is to be logged.
        logged: Option<TransactionId>,
        /// The keys.
        keys: Keys,
    },
    /// The values, or that the locks are refused.
    Lent {
        /// For what.
        ticket: Ticket,
        /// The values; `None`: the locks are refused.
        loan: Option<Loan>,
    },
    /// Large values that a transaction will store: they are to be logged before.
    Stage {
        /// Who asks.
        from: ShardId,
        /// For what.
        ticket: Ticket,
        /// Which transaction.
        id: TransactionId,
        /// The name of the stage in the log.
        stamp: u64,
        /// The values.
        states: Vec<KeyState>,
    },
    /// They are on disk, or go with the rest.
    Staged {
        /// For what.
        ticket: Ticket,
        /// What is to be logged of them with the rest.
        payload: Vec<u8>,
    },
    /// Puts keys into the given states, and those that have come before, and gives up the transaction's locks.
    Store {
        /// Who asks.
        from: ShardId,
        /// Who waits for the answer; `None`: nobody.
        ticket: Option<Ticket>,
        /// Which transaction.
        id: TransactionId,
        /// Whether it keeps its locks.
        keep: bool,
        /// The states.
        states: Vec<KeyState>,
        /// What was done to the keys.
        effects: Vec<Effect>,
        /// What is to be logged of the transaction, if it has changed something here.
        transaction: Option<Arc<Transaction>>,
        /// By whom, if that client tracks keys.
        caller: Tracker,
        /// Who waits for them from now on.
        waiting: Option<Box<Registration<Resume>>>,
    },
    /// The keys are stored.
    Stored {
        /// For what.
        ticket: Ticket,
        /// Whether it may be lost.
        lost: bool,
    },
    /// A client that waits is served.
    Served {
        /// By which shard.
        by: ShardId,
        /// Which request.
        ticket: Ticket,
        /// The reply.
        reply: Output,
    },
    /// What a client waits for is there, but its command concerns several shards: its core is to try it again.
    Ready(Box<Registration<Resume>>),
    /// It has tried in vain, and the client goes on waiting.
    Tried {
        /// Which wait.
        id: WaitId,
    },
    /// A client waits no more.
    Forget {
        /// Which wait.
        id: WaitId,
    },
    /// Memory is used up: gives some back, for the receiver has better keys to remove than the sender.
    GiveBack {
        /// Who needs it.
        from: ShardId,
        /// How much.
        bytes: i64,
    },
    /// That has been done as far as possible.
    GivenBack {
        /// By whom.
        by: ShardId,
    },
    /// Clients take too much memory, and the receiver has the largest.
    EvictClients,
    /// A client has changed directives: a core that sleeps is woken, so that they hold there, too.
    ConfigChanged,
    /// A request to every core.
    Every {
        /// Who asks.
        from: ShardId,
        /// For what.
        ticket: Ticket,
        /// The request.
        request: Arc<dyn EveryCore>,
    },
    /// One core's part of it.
    Part {
        /// For what.
        ticket: Ticket,
        /// The part.
        part: Box<dyn Any + Send>,
    },
    /// Notes for clients that track keys, in order.
    Notes(Vec<Note>),
    /// Lets a client watch keys of the receiver.
    Watch {
        /// Who asks.
        from: ShardId,
        /// For what.
        id: u64,
        /// The client's id.
        client: u64,
        /// The keys.
        keys: Vec<WatchedKey>,
    },
    /// The keys are watched.
    Watching {
        /// For what.
        id: u64,
    },
    /// Forgets what a client watches.
    Unwatch {
        /// The client's id.
        client: u64,
    },
    /// Runs a transaction.
    Execute {
        /// Who asks.
        from: ShardId,
        /// For what.
        id: u64,
        /// The transaction.
        execution: Box<Execution>,
    },
    /// The transaction has run.
    Executed {
        /// For what.
        id: u64,
        /// The same transaction with its replies.
        execution: Box<Execution>,
    },
    /// Publications for the receiver's subscribers, in order.
    Publish {
        /// Who publishes.
        from: ShardId,
        /// The publications.
        publications: Vec<Publication>,
    },
    /// What took long of what the sender has run for the receiver's clients.
    Slow(Vec<Slow>),
    /// What the sender's clients have run, for the receiver's monitors.
    Monitored {
        /// Whole lines; `None`: they were too many.
        lines: Option<Bytes>,
    },
    /// A monitor of a core has gone.
    MonitorLeft {
        /// The core.
        from: ShardId,
    },
    /// How many received publications that somebody waits for: their numbers and the counts.
    Published(Vec<(u32, u32)>),
}

impl Message {
    /// Makes the receiver's clients hear that what they asked for has failed: it has happened, but cannot be made safe.
    pub fn disown(&mut self) {
        match self {
            Self::Replies(batch) | Self::Late(batch) => batch.disown(&not_safe()),
            Self::PartsRun(parts) => parts.batch.lost = true,
            // A client that wants no reply has none.
            Self::Served { reply, .. } if !reply.is_empty() => {
                reply.clear();
                Reply::new(reply, Protocol::Resp2).error(&not_safe());
            }
            Self::Executed { execution, .. } => execution.disown(),
            Self::Stored { lost, .. } => *lost = true,
            _ => {}
        }
    }
}

impl Execution {
    /// Puts an error in the place of every reply.
    pub fn disown(&mut self) {
        self.replies.clear();
        for end in &mut self.ends {
            Reply::new(&mut self.replies, Protocol::Resp2).error(&not_safe());
            *end = self.replies.mark();
        }
    }
}

/// What is told of what may be lost.
pub(super) fn not_safe() -> CommandError {
    CommandError::fixed("MISCONF Errors writing to the AOF file: what was changed may be lost")
}
