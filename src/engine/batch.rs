//! Commands for another core, gathered into one [`Batch`] per destination and turn; the batch travels back with the replies
//! and is used again, so that a crossing allocates nothing.
//!
//! A request in a batch:
//!
//! ```text
//! owner u32 | number u32 | command u16 | database u16 | flags u8 | logged u8 | 2 unused | argument count u32 | transaction u64
//! tracking client u64, if there is one
//! length u32 of each argument | bytes of each argument
//! ```

use super::message::{Call, Logged, Ticket};
use crate::config::OutputClass;
use crate::limits::REQUESTS_AHEAD_MAX;
use crate::resp::reply::Pin;
use crate::resp::{Args, CommandError, Output, Protocol, Reply, Span};
use crate::shard::ShardId;
use crate::shard::tracking::Tracker;
use std::ops::Range;

const HEAD_BYTES: usize = 28;
const TRACKER_BYTES: usize = 8;
const RESP3: u8 = 1;
const NO_TOUCH: u8 = 2;
const NO_REPLY: u8 = 4;
const PART: u8 = 8;
const TRACKED: u8 = 16;
const REMEMBER: u8 = 32;
const SUBSCRIBER: u8 = 64;
const EITHER: u8 = 128;
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
            | if call.remember { REMEMBER } else { 0 }
            | match call.class {
                OutputClass::Normal => 0,
                OutputClass::Subscriber => SUBSCRIBER,
                OutputClass::Either => EITHER,
            };
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
            class: match head[12] & (SUBSCRIBER | EITHER) {
                0 => OutputClass::Normal,
                SUBSCRIBER => OutputClass::Subscriber,
                _ => OutputClass::Either,
            },
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

#[cfg(test)]
mod tests {
    use super::{Ahead, Batch, Call, Logged, Ticket};
    use crate::config::OutputClass;
    use crate::limits::REQUESTS_AHEAD_MAX;
    use crate::resp::Protocol;
    use crate::shard::ShardId;
    use crate::shard::tracking::Tracker;

    const CLASSES: [OutputClass; 3] = [OutputClass::Normal, OutputClass::Subscriber, OutputClass::Either];

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
                class: CLASSES[number as usize % 3],
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
                assert_eq!((call.transaction, call.class), (u64::from(seen) << 30, CLASSES[seen as usize % 3]));
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
