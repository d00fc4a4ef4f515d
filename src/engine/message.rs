//! What cores tell each other. Commands for another core are gathered into one [`Batch`] per destination and turn; the
//! batch travels back with the replies and is used again, so that a crossing allocates nothing.
//!
//! A request in a batch:
//!
//! ```text
//! owner u32 | number u32 | command u16 | database u16 | flags u8 | 3 unused | argument count u32
//! length u32 of each argument | bytes of each argument
//! ```

use crate::commands::EveryCore;
use crate::limits::REQUESTS_AHEAD_MAX;
use crate::resp::reply::Pin;
use crate::resp::{Args, Output, Protocol, Span};
use crate::shard::{Millis, ShardId};
use crate::types::Value;
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
}

const HEAD_BYTES: usize = 20;
const RESP3: u8 = 1;
const NO_TOUCH: u8 = 2;
const NO_REPLY: u8 = 4;
const PART: u8 = 8;

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
            | if call.part { PART } else { 0 };
        let mut head = [0; HEAD_BYTES];
        head[0..4].copy_from_slice(&ticket.owner.to_le_bytes());
        head[4..8].copy_from_slice(&ticket.number.to_le_bytes());
        head[8..10].copy_from_slice(&call.command.to_le_bytes());
        head[10..12].copy_from_slice(&call.database.to_le_bytes());
        head[12] = flags;
        head[16..20].copy_from_slice(&(args.len() as u32).to_le_bytes());
        self.requests.extend_from_slice(&head);
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
            let lengths = ahead.at + HEAD_BYTES;
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

    /// Runs `execute` for every command that has been read; what it appends to the output becomes the reply.
    pub fn run(&mut self, ahead: &Ahead, mut execute: impl FnMut(Call, Args<'_>, &mut Output)) {
        for Request { ticket, call, spans } in &ahead.requests {
            let mark = self.replies.mark();
            execute(*call, Args::new(&self.requests, &ahead.spans[spans.clone()]), &mut self.replies);
            if call.no_reply {
                self.replies.truncate(mark);
            } else {
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
        };
        (ticket, call, u32_at(head, 16) as usize)
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

/// What one core tells another.
pub enum Message {
    /// Commands to run.
    Requests(Box<Batch>),
    /// The same batch with their replies.
    Replies(Box<Batch>),
    /// Asks for copies of keys in all databases.
    Fetch {
        /// Who asks.
        from: ShardId,
        /// For what.
        ticket: Ticket,
        /// The keys.
        keys: Vec<Vec<u8>>,
    },
    /// The copies.
    Fetched {
        /// For what.
        ticket: Ticket,
        /// What there is; keys that do not exist are left out.
        states: Vec<KeyState>,
    },
    /// Puts keys into the given states.
    Store {
        /// Who asks.
        from: ShardId,
        /// For what.
        ticket: Ticket,
        /// The states.
        states: Vec<KeyState>,
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
}

#[cfg(test)]
mod tests {
    use super::{Ahead, Batch, Call, Ticket};
    use crate::limits::REQUESTS_AHEAD_MAX;
    use crate::resp::Protocol;
    use crate::shard::ShardId;

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
            };
            batch.push(Ticket { owner: 9, number }, call, words.iter().map(Vec::as_slice));
        }
        let (mut ahead, mut windows, mut seen) = (Ahead::default(), Vec::new(), 0);
        while batch.read_ahead(&mut ahead) {
            windows.push(batch.commands(&ahead).len());
            batch.run(&ahead, |call, args, out| {
                assert_eq!((u32::from(call.command), call.database, args.len()), (seen, 5, 3));
                assert_eq!((call.no_touch, call.no_reply, call.part), (seen % 3 == 0, seen % 5 == 0, seen % 7 == 0));
                assert_eq!((args.at(1), args.at(2).len()), (seen.to_string().as_bytes(), seen as usize));
                out.bytes.extend_from_slice(args.at(1));
                seen += 1;
            });
        }
        assert_eq!((seen, windows), (count, vec![REQUESTS_AHEAD_MAX, REQUESTS_AHEAD_MAX, 5]));
        let mut answered = Vec::new();
        batch.replies(|ticket, bytes, _| {
            assert_eq!(bytes, ticket.number.to_string().as_bytes());
            answered.push(ticket.number);
        });
        assert_eq!(answered, (0..count).filter(|number| number % 5 != 0).collect::<Vec<_>>());
        ahead.rewind();
        assert!(batch.read_ahead(&mut ahead), "the next batch begins at its start");
    }
}
