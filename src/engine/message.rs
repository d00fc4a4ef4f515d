//! What cores tell each other. Commands for another core are gathered into one [`Batch`] per destination and turn; the
//! batch travels back with the replies and is used again, so that a crossing allocates nothing.
//!
//! A request in a batch:
//!
//! ```text
//! owner u32 | number u32 | command u16 | database u16 | flags u8 | 3 unused | argument count u32 | transaction u64
//! tracking client u64, if there is one
//! length u32 of each argument | bytes of each argument
//! ```

use super::gather::Keys;
use crate::commands::EveryCore;
use crate::pubsub::Announcement;
use crate::resp::reply::Pin;
use crate::resp::{Args, Output, Protocol, Span};
use crate::session::tracking::Target;
use crate::shard::locks::{LockSet, TransactionId};
use crate::shard::tracking::{ChangedKeys, SharedKey, Tracker};
use crate::shard::{Effect, Millis, ShardId};
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
    /// Whether this is a part of a command, which is counted where the whole is.
    pub part: bool,
    /// The transaction that a part belongs to; 0: none.
    pub transaction: u64,
    /// The client, if it tracks keys.
    pub tracker: Tracker,
    /// Whether it tracks the keys that this command reads.
    pub remember: bool,
}

const HEAD_BYTES: usize = 28;
const TRACKER_BYTES: usize = 8;
const RESP3: u8 = 1;
const NO_TOUCH: u8 = 2;
const NO_REPLY: u8 = 4;
const PART: u8 = 8;
const TRACKED: u8 = 16;
const REMEMBER: u8 = 32;

/// Commands of one core's clients for another core, and the replies to them.
#[derive(Debug)]
pub struct Batch {
    /// The core whose clients sent the commands.
    pub from: ShardId,
    requests: Vec<u8>,
    /// The replies, one after another.
    pub replies: Output,
    ends: Vec<ReplyEnd>,
}

#[derive(Debug)]
struct ReplyEnd {
    ticket: Ticket,
    bytes: usize,
    pins: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new(from: ShardId) -> Self {
        Self { from, requests: Vec::new(), replies: Output::default(), ends: Vec::new() }
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

    /// Runs `execute` for every command; what it appends to the output becomes the reply, unless it says `false`: then
    /// the reply comes another way.
    pub fn run(&mut self, spans: &mut Vec<Span>, mut execute: impl FnMut(Ticket, Call, Args<'_>, &mut Output) -> bool) {
        let mut at = 0;
        while at < self.requests.len() {
            let (ticket, call, count) = self.head(at);
            at += HEAD_BYTES + if call.tracker.is_some() { TRACKER_BYTES } else { 0 };
            let mut start = at + 4 * count;
            spans.clear();
            for index in 0..count {
                let len = u32_at(&self.requests, at + 4 * index);
                spans.push(Span { start: start as u32, len });
                start += len as usize;
            }
            at = start;
            let mark = self.replies.mark();
            let replied = execute(ticket, call, Args::new(&self.requests, spans), &mut self.replies);
            if call.no_reply || !replied {
                self.replies.truncate(mark);
            } else {
                let (bytes, pins) = (self.replies.bytes.len(), self.replies.pins.len());
                self.ends.push(ReplyEnd { ticket, bytes, pins });
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

    /// Empties it for the next use; a batch that has grown large gives its memory back.
    pub fn reset(&mut self) {
        const KEEP_BYTES: usize = 256 * 1024;
        self.requests.clear();
        self.requests.shrink_to(KEEP_BYTES);
        self.replies.clear();
        self.replies.bytes.shrink_to(KEEP_BYTES);
        self.ends.clear();
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
        /// The keys.
        keys: Keys,
    },
    /// The values, or that the locks are refused.
    Lent {
        /// For what.
        ticket: Ticket,
        /// What there is; keys that do not exist are left out.
        states: Option<Vec<KeyState>>,
    },
    /// Puts keys into the given states and gives up the transaction's locks.
    Store {
        /// Who asks.
        from: ShardId,
        /// Who waits for the answer; `None`: nobody.
        ticket: Option<Ticket>,
        /// Which transaction.
        id: TransactionId,
        /// The states.
        states: Vec<KeyState>,
        /// What was done to the keys.
        effects: Vec<Effect>,
        /// By whom, if that client tracks keys.
        caller: Tracker,
    },
    /// The keys are stored.
    Stored {
        /// For what.
        ticket: Ticket,
    },
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
    /// How many received publications that somebody waits for: their numbers and the counts.
    Published(Vec<(u32, u32)>),
}
