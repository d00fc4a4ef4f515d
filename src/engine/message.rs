//! What cores tell each other. Commands for another core are gathered into one [`Batch`] per destination and turn; the
//! batch travels back with the replies and is used again, so that a crossing allocates nothing.
//!
//! A request in a batch:
//!
//! ```text
//! owner u32 | number u32 | command u16 | database u16 | flags u8 | logged u8 | 2 unused | argument count u32 | transaction u64
//! tracking client u64, if there is one
//! length u32 of each argument | bytes of each argument
//! ```

use super::blocking::Resume;
use super::coordinator::each_key_of_transaction;
use super::gather::Keys;
use super::parts::Parts;
use super::slowlog::Slow;
use crate::commands::{CommandTable, EveryCore};
use crate::limits::REQUESTS_AHEAD_MAX;
use crate::persistence::aof::{Cut, Transaction};
use crate::pubsub::Announcement;
use crate::resp::reply::{Mark, Pin};
use crate::resp::{Args, CommandError, Output, Protocol, Reply, Span};
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
use std::ops::Range;
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

const HEAD_BYTES: usize = 28;
const TRACKER_BYTES: usize = 8;
const RESP3: u8 = 1;
const NO_TOUCH: u8 = 2;
const NO_REPLY: u8 = 4;
const PART: u8 = 8;
const TRACKED: u8 = 16;
const REMEMBER: u8 = 32;
const LOGGED_PART: u8 = 1;
const LOGGED_STEP: u8 = 2;

/// Commands of one core's clients for another core, and the replies to them.
#[derive(Debug)]
pub struct Batch {
    /// The core whose clients sent the commands.
    pub from: ShardId,
    requests: Vec<u8>,
    /// The replies, one after another.
    pub replies: Output,
    ends: Vec<ReplyEnd>,
    /// Whether what the replies tell of may be lost.
    pub lost: bool,
}

#[derive(Debug)]
struct ReplyEnd {
    ticket: Ticket,
    bytes: usize,
    pins: usize,
}

/// Commands of a batch that are read but not run yet; used again and again.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Where the next command begins in the batch.
    at: usize,
    requests: Vec<Request>,
    spans: Vec<Span>,
}

impl Ahead {
    /// Begins with another batch.
    pub fn rewind(&mut self) {
        self.at = 0;
    }
}

#[derive(Debug)]
struct Request {
    ticket: Ticket,
    call: Call,
    /// Which of the spans are its arguments.
    spans: Range<usize>,
}

impl Batch {
    /// Bytes of its requests.
    pub fn request_bytes(&self) -> usize {
        self.requests.len()
    }
    /// Bytes that it has allocated.
    pub fn memory_bytes(&self) -> usize {
        self.requests.capacity() + self.replies.bytes.capacity() + self.ends.capacity() * size_of::<ReplyEnd>()
    }

    /// An empty batch.
    pub fn new(from: ShardId) -> Self {
        Self { from, requests: Vec::new(), replies: Output::default(), ends: Vec::new(), lost: false }
    }

    /// Whether it holds no request.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Bytes of requests in it.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Adds a command.
    pub fn push<'a>(&mut self, ticket: Ticket, call: Call, args: impl ExactSizeIterator<Item = &'a [u8]> + Clone) {
        let flags = if call.protocol == Protocol::Resp3 { RESP3 } else { 0 }
            | if call.no_touch { NO_TOUCH } else { 0 }
            | if call.no_reply { NO_REPLY } else { 0 }
            | if call.part { PART } else { 0 }
            | if call.tracker.is_some() { TRACKED } else { 0 }
            | if call.remember { REMEMBER } else { 0 };
        let mut head = [0; HEAD_BYTES];
        head[0..4].copy_from_slice(&ticket.owner.to_le_bytes());
        head[4..8].copy_from_slice(&ticket.number.to_le_bytes());
        head[8..10].copy_from_slice(&call.command.to_le_bytes());
        head[10..12].copy_from_slice(&call.database.to_le_bytes());
        head[12] = flags;
        head[13] = match call.logged {
            Logged::Itself => 0,
            Logged::Part => LOGGED_PART,
            Logged::Step => LOGGED_STEP,
        };
        head[16..20].copy_from_slice(&(args.len() as u32).to_le_bytes());
        head[20..28].copy_from_slice(&call.transaction.to_le_bytes());
        self.requests.extend_from_slice(&head);
        if call.tracker.is_some() {
            self.requests.extend_from_slice(&call.tracker.to_bits().to_le_bytes());
        }
        for argument in args.clone() {
            self.requests.extend_from_slice(&(argument.len() as u32).to_le_bytes());
        }
        for argument in args {
            self.requests.extend_from_slice(argument);
        }
    }

    /// Reads the next commands, at most [`REQUESTS_AHEAD_MAX`], into `ahead`; whether there were any.
    pub fn read_ahead(&self, ahead: &mut Ahead) -> bool {
        ahead.requests.clear();
        ahead.spans.clear();
        while ahead.at < self.requests.len() && ahead.requests.len() < REQUESTS_AHEAD_MAX {
            let (ticket, call, count) = self.head(ahead.at);
            let lengths = ahead.at + HEAD_BYTES + if call.tracker.is_some() { TRACKER_BYTES } else { 0 };
            let first = ahead.spans.len();
            ahead.at = lengths + 4 * count;
            for index in 0..count {
                let len = u32_at(&self.requests, lengths + 4 * index);
                ahead.spans.push(Span { start: ahead.at as u32, len });
                ahead.at += len as usize;
            }
            ahead.requests.push(Request { ticket, call, spans: first..ahead.spans.len() });
        }
        !ahead.requests.is_empty()
    }

    /// The commands that have been read.
    pub fn commands<'a>(&'a self, ahead: &'a Ahead) -> impl ExactSizeIterator<Item = (Call, Args<'a>)> {
        let args = |request: &Request| Args::new(&self.requests, &ahead.spans[request.spans.clone()]);
        ahead.requests.iter().map(move |request| (request.call, args(request)))
    }

    /// Runs `execute` for every command that has been read; what it appends to the output becomes the reply, unless it
    /// says `false`: then the reply comes another way. Where no reply is wanted it is empty.
    pub fn run(&mut self, ahead: &Ahead, mut execute: impl FnMut(Ticket, Call, Args<'_>, &mut Output) -> bool) {
        for Request { ticket, call, spans } in &ahead.requests {
            let mark = self.replies.mark();
            let replied =
                execute(*ticket, *call, Args::new(&self.requests, &ahead.spans[spans.clone()]), &mut self.replies);
            if call.no_reply || !replied {
                self.replies.truncate(mark);
            }
            if replied {
                let (bytes, pins) = (self.replies.bytes.len(), self.replies.pins.len());
                self.ends.push(ReplyEnd { ticket: *ticket, bytes, pins });
            }
        }
    }

    fn head(&self, at: usize) -> (Ticket, Call, usize) {
        let head = &self.requests[at..at + HEAD_BYTES];
        let ticket = Ticket { owner: u32_at(head, 0), number: u32_at(head, 4) };
        let call = Call {
            command: u16::from_le_bytes([head[8], head[9]]),
            database: u16::from_le_bytes([head[10], head[11]]),
            protocol: if head[12] & RESP3 != 0 { Protocol::Resp3 } else { Protocol::Resp2 },
            no_touch: head[12] & NO_TOUCH != 0,
            no_reply: head[12] & NO_REPLY != 0,
            part: head[12] & PART != 0,
            transaction: u64_at(head, 20),
            tracker: match head[12] & TRACKED {
                0 => Tracker::NONE,
                _ => Tracker::from_bits(u64_at(&self.requests, at + HEAD_BYTES)),
            },
            remember: head[12] & REMEMBER != 0,
            logged: match head[13] {
                LOGGED_PART => Logged::Part,
                LOGGED_STEP => Logged::Step,
                _ => Logged::Itself,
            },
            may_block: false,
        };
        (ticket, call, u32_at(head, 16) as usize)
    }

    /// Adds a reply to a command that came another way.
    pub fn push_reply(&mut self, ticket: Ticket, reply: Output) {
        let base = self.replies.bytes.len();
        self.replies.bytes.extend_from_slice(&reply.bytes);
        self.replies.pins.extend(reply.pins.into_iter().map(|pin| Pin { at: base + pin.at, ..pin }));
        self.ends.push(ReplyEnd { ticket, bytes: self.replies.bytes.len(), pins: self.replies.pins.len() });
    }

    /// Hands out every reply.
    pub fn replies(&mut self, mut take: impl FnMut(Ticket, &[u8], Vec<Pin>)) {
        let (mut start, mut first_pin) = (0, 0);
        let mut pins = std::mem::take(&mut self.replies.pins).into_iter();
        for end in &self.ends {
            // Collecting nothing allocates nothing, which is nearly always.
            let own = pins.by_ref().take(end.pins - first_pin);
            let own = own.map(|pin| Pin { at: pin.at - start, ..pin }).collect();
            take(end.ticket, &self.replies.bytes[start..end.bytes], own);
            (start, first_pin) = (end.bytes, end.pins);
        }
    }

    /// Puts an error in the place of every reply to a session; for transactions it tells that they may be lost.
    pub fn disown(&mut self, error: &CommandError) {
        self.lost = true;
        let mut replies = Output::default();
        let mut ends = Vec::new();
        self.replies(|ticket, bytes, pins| {
            let start = replies.bytes.len();
            if ticket.operation().is_some() {
                replies.bytes.extend_from_slice(bytes);
                replies.pins.extend(pins.into_iter().map(|pin| Pin { at: pin.at + start, ..pin }));
            } else {
                Reply::new(&mut replies, Protocol::Resp2).error(error);
            }
            ends.push(ReplyEnd { ticket, bytes: replies.bytes.len(), pins: replies.pins.len() });
        });
        (self.replies, self.ends) = (replies, ends);
    }

    /// Empties it for the next use; a batch that has grown large gives its memory back.
    pub fn reset(&mut self) {
        const KEEP_BYTES: usize = 256 * 1024;
        self.requests.clear();
        self.requests.shrink_to(KEEP_BYTES);
        self.replies.clear();
        self.replies.bytes.shrink_to(KEEP_BYTES);
        self.ends.clear();
        self.lost = false;
        self.ends.shrink_to(KEEP_BYTES / size_of::<ReplyEnd>());
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
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
    /// Keys have changed that begin with a prefix that clients of the receiver track.
    Changed {
        /// The prefix.
        prefix: SharedKey,
        /// The keys.
        keys: Arc<ChangedKeys>,
    },
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
    /// One client less of a core tracks these prefixes.
    Dropped {
        /// The core.
        core: ShardId,
        /// The prefixes.
        prefixes: Arc<[Box<[u8]>]>,
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
    /// Puts keys into the given states and gives up the transaction's locks.
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
    /// What a core's subscribers want, as far as it has changed.
    Interest {
        /// Who announces.
        from: ShardId,
        /// The changes.
        announcement: Announcement,
    },
    /// The sender has heard an announcement.
    InterestHeard {
        /// The sender.
        from: ShardId,
        /// The announcement's number.
        number: u64,
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

#[cfg(test)]
mod tests {
    use super::{Ahead, Batch, Call, Logged, Ticket};
    use crate::limits::REQUESTS_AHEAD_MAX;
    use crate::resp::Protocol;
    use crate::shard::ShardId;
    use crate::shard::tracking::Tracker;

    #[test]
    fn commands_come_out_as_they_went_in() {
        let mut batch = Batch::new(ShardId(3));
        let count = 2 * REQUESTS_AHEAD_MAX as u32 + 5;
        for number in 0..count {
            let words = [b"echo".to_vec(), number.to_string().into_bytes(), vec![b'x'; number as usize]];
            let call = Call {
                command: number as u16,
                database: 5,
                protocol: if number % 2 == 0 { Protocol::Resp2 } else { Protocol::Resp3 },
                no_touch: number % 3 == 0,
                no_reply: number % 5 == 0,
                part: number % 7 == 0,
                transaction: u64::from(number) << 30,
                may_block: false,
                tracker: Tracker::from_bits(u64::from(number % 4)),
                remember: number % 8 == 1,
                logged: [Logged::Itself, Logged::Part, Logged::Step][number as usize % 3],
            };
            batch.push(Ticket { owner: 9, number }, call, words.iter().map(Vec::as_slice));
        }
        let (mut ahead, mut windows, mut seen) = (Ahead::default(), Vec::new(), 0);
        while batch.read_ahead(&mut ahead) {
            windows.push(batch.commands(&ahead).len());
            batch.run(&ahead, |ticket, call, args, out| {
                assert_eq!((u32::from(call.command), call.database, args.len()), (seen, 5, 3));
                assert_eq!((call.no_touch, call.no_reply, call.part), (seen % 3 == 0, seen % 5 == 0, seen % 7 == 0));
                assert_eq!((args.at(1), args.at(2).len()), (seen.to_string().as_bytes(), seen as usize));
                assert_eq!(call.transaction, u64::from(seen) << 30);
                assert_eq!((call.tracker.to_bits(), call.remember), (u64::from(seen % 4), seen % 8 == 1));
                assert_eq!(call.logged, [Logged::Itself, Logged::Part, Logged::Step][seen as usize % 3]);
                out.bytes.extend_from_slice(args.at(1));
                seen += 1;
                ticket.number % 13 != 0
            });
        }
        assert_eq!((seen, windows), (count, vec![REQUESTS_AHEAD_MAX, REQUESTS_AHEAD_MAX, 5]));
        let mut answered = Vec::new();
        batch.replies(|ticket, bytes, _| {
            let reply = if ticket.number % 5 == 0 { String::new() } else { ticket.number.to_string() };
            assert_eq!(bytes, reply.as_bytes());
            answered.push(ticket.number);
        });
        assert_eq!(answered, (0..count).filter(|number| number % 13 != 0).collect::<Vec<_>>());
        ahead.rewind();
        assert!(batch.read_ahead(&mut ahead), "the next batch begins at its start");
    }
}
