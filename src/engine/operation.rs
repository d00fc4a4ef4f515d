//! Requests that are answered by several shards. An operation is one request of its session and one number in the order
//! of its replies; it lives on the session's core until its last part is there.
//!
//! - [`split`](super::split)    MGET, MSET, DEL, DBSIZE ...: each shard runs a part, the replies are joined
//! - [`gather`](super::gather)  RENAME, SINTERSTORE, LMOVE ...: the keys' values come here, the command runs on them as
//!   it would on one shard, and they go home again
//! - [`every`](super::every)    CLIENT LIST, DEBUG SLEEP ...: each core answers with a part
//! - [`cut`](super::cut)        a moment that is the same for all shards
//!
//! All but requests to every core are transactions: [`coordinator`](super::coordinator) makes them atomic and isolated.

use super::Engine;
use super::gather::Gather;
use super::message::{Call, Ticket, not_safe};
use super::split::Split;
use super::transaction::Piece;
use crate::commands::{Entry, EveryCore};
use crate::persistence::aof::Cut;
use crate::resp::{Args, Output, Reply, Span};
use crate::session::{Session, SessionKey};
use crate::shard::locks::{LockSet, Mode, TransactionId};
use crate::shard::{Shard, ShardId};
use crate::spec::Flags;
use std::any::Any;
use std::sync::Arc;

/// The operations a core has under way.
#[derive(Default)]
pub(super) struct Operations {
    slots: Vec<Option<Operation>>,
    free: Vec<u32>,
    /// An empty shard on which gathered keys are worked on.
    pub workbench: Option<Box<Shard>>,
}

/// One operation.
pub(super) struct Operation {
    pub session: SessionKey,
    /// The request's number in its session.
    pub number: u32,
    pub entry: &'static Entry,
    pub call: Call,
    /// Which transaction it is at this try.
    pub id: TransactionId,
    /// Whether some shard has refused it its locks.
    pub refused: bool,
    /// After a refusal, locks are asked for shard by shard: how many shards have been asked.
    pub in_order: Option<usize>,
    /// Whether a shard has not been able to make its part safe.
    pub lost: bool,
    /// Answers that have not come yet.
    pub waiting: usize,
    /// How long the longest of its parts took that has run so far. Commands that are split know that themselves.
    pub longest_nanoseconds: u64,
    pub work: Work,
}

/// What an operation does.
pub(super) enum Work {
    Split(Split),
    Gather(Box<Gather>),
    Every {
        request: Arc<dyn EveryCore>,
        /// The command that asks for it.
        command: Request,
        /// What the cores have answered.
        parts: Vec<Option<Box<dyn Any + Send>>>,
        /// Where the reply belongs in that to a transaction, if the command is one of it.
        piece: Option<Piece>,
    },
    Cut(Arc<Cut>, Vec<ShardId>),
}

/// A request's arguments, kept until it is done.
pub(super) struct Request {
    pub arguments: Vec<u8>,
    pub spans: Vec<Span>,
}

impl Request {
    /// A copy of `args`.
    pub fn of(args: Args<'_>) -> Self {
        let (arguments, spans) = args.to_owned();
        Self { arguments, spans }
    }

    pub fn args(&self) -> Args<'_> {
        Args::new(&self.arguments, &self.spans)
    }
}

impl Operation {
    pub fn new(session: SessionKey, number: u32, entry: &'static Entry, call: Call, work: Work) -> Self {
        let id = TransactionId(0);
        Self {
            session,
            number,
            entry,
            call,
            id,
            refused: false,
            in_order: None,
            lost: false,
            waiting: 0,
            longest_nanoseconds: 0,
            work,
        }
    }

    /// The shards that a transaction concerns, by the numbers of its parts.
    pub fn shards(&self) -> Vec<ShardId> {
        match &self.work {
            Work::Split(split) => split.shards.iter().map(|shard| shard.id).collect(),
            Work::Gather(gather) => gather.shards(),
            Work::Every { .. } => Vec::new(),
            Work::Cut(_, shards) => shards.clone(),
        }
    }

    /// What a transaction locks on `shard`, if it concerns it.
    pub fn locks_on(&self, shard: ShardId) -> Option<LockSet> {
        match &self.work {
            Work::Split(split) => split.locks_on(shard),
            Work::Gather(gather) => gather.locks_on(shard),
            Work::Every { .. } => None,
            Work::Cut(..) => Some(LockSet::whole(Mode::Exclusive)),
        }
    }
}

impl Operations {
    pub fn insert(&mut self, operation: Operation) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[index as usize] = Some(operation);
        index
    }

    pub fn get_mut(&mut self, index: u32) -> &mut Operation {
        self.slots[index as usize].as_mut().expect("an operation stays until its last part is there")
    }

    pub fn remove(&mut self, index: u32) -> Operation {
        self.free.push(index);
        self.slots[index as usize].take().expect("an operation stays until its last part is there")
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }
}

impl Ticket {
    /// The ticket of part `part` of an operation.
    pub(super) fn of_part(index: u32, part: usize) -> Self {
        Self { owner: index | Self::OPERATION, number: part as u32 }
    }

    /// The operation it belongs to; `None`: it belongs to a session.
    pub(super) fn operation(self) -> Option<u32> {
        (self.owner & Self::OPERATION != 0).then_some(self.owner & !Self::OPERATION)
    }
}

impl Engine {
    /// Registers an operation as the session's next request.
    pub(super) fn register(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        work: Work,
    ) -> u32 {
        let call = Self::call(session, entry);
        let number = session.pending.expect();
        self.operations.insert(Operation::new(key, number, entry, call, work))
    }

    /// Answers an operation's request.
    pub(super) fn finish(&mut self, operation: &Operation, out: Output) {
        let &Operation { session, number, entry, call, lost, .. } = operation;
        self.finish_request(session, number, entry, call, lost, out);
    }

    /// Answers a request of a session that was an operation or one of several in it. `lost`: some shard has not been able
    /// to make its part safe.
    pub(super) fn finish_request(
        &mut self,
        session: SessionKey,
        number: u32,
        entry: &Entry,
        call: Call,
        lost: bool,
        mut out: Output,
    ) {
        let writes = entry.row.spec.flags.contains(Flags::WRITE);
        if lost || writes && self.may_have_lost() {
            out = Output::default();
            Reply::new(&mut out, call.protocol).error(&not_safe());
        }
        let out = if call.no_reply { Output::default() } else { out };
        self.deliver(session, number, &out.bytes, out.pins);
    }
}
