//! Commands that shards run in parts: those split by key (MGET, MSET, DEL ...) and those that every shard runs whole
//! (DBSIZE, KEYS, FLUSHALL ...).
//!
//! The own part is locked first. With a single remote shard its part is locked, run and released by one message; with
//! more, all are locked before any of them runs. The own part runs last.

use super::Engine;
use super::coordinator::lock_set;
use super::join;
use super::message::{Call, Logged, Message, Ticket};
use super::operation::{Request, Work};
use super::propagation::take_stamp;
use crate::commands::Entry;
use crate::persistence::aof::{Records, Transaction};
use crate::resp::{Args, Output, Reply, Span};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::ShardId;
use crate::shard::locks::LockSet;
use crate::spec::{FindKeys, Flags, ResponsePolicy};

/// A command in parts.
pub(super) struct Split {
    pub request: Request,
    pub parts: Vec<Part>,
    /// The whole as all shards log it, if they do.
    logged: Option<Transaction>,
}

/// One shard's part.
pub(super) struct Part {
    pub shard: ShardId,
    /// Which of the command's keys it has, in order.
    pub keys: Vec<usize>,
    /// Its arguments, in those of the whole.
    spans: Vec<Span>,
    /// Whether the shard has granted the locks and waits for the word to go on.
    locked: bool,
    /// Its reply, once it is there.
    pub reply: Output,
}

impl Part {
    pub fn new(shard: ShardId, keys: Vec<usize>) -> Self {
        Self { shard, keys, spans: Vec::new(), locked: false, reply: Output::default() }
    }
}

impl Engine {
    /// Sends each shard the part of a command that concerns its keys.
    pub(super) fn start_split(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        call: Call,
        args: Args<'_>,
    ) {
        let [keys] = entry.row.spec.keys else { unreachable!("a command split by key has one key spec") };
        let step = if let FindKeys::Range { step, .. } = keys.find { step as usize } else { 1 };
        let mut positions = Vec::new();
        keys.each(args, |index| positions.push(index)).expect("routing has found its keys");
        if !(args.len() - positions[0]).is_multiple_of(step) {
            // MSET with a key that lacks its value: any shard refuses the whole.
            let mut out = Output::default();
            self.run_here(entry, call, args, &mut out);
            if !call.no_reply {
                session.append_reply(out);
            }
            return;
        }
        let request = Request::of(args);
        let mut parts: Vec<Part> = Vec::new();
        for (order, &index) in positions.iter().enumerate() {
            let shard = self.router.shard_of(args.at(index));
            let found = parts.iter().position(|part| part.shard == shard);
            let part = found.unwrap_or_else(|| {
                parts.push(Part { spans: vec![request.spans[0]], ..Part::new(shard, Vec::new()) });
                parts.len() - 1
            });
            parts[part].keys.push(order);
            parts[part].spans.extend_from_slice(&request.spans[index..index + step]);
        }
        let index = self.register(session, key, entry, Work::Split(Split { request, parts, logged: None }));
        // What the client sends behind it must not overtake it where it has to wait for its locks.
        session.flags.insert(SessionFlags::STALLED);
        self.begin(index);
    }

    /// Sends a command to every shard.
    pub(super) fn start_all_shards(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        args: Args<'_>,
    ) {
        let request = Request::of(args);
        let part = |shard| Part { spans: request.spans.clone(), ..Part::new(shard, Vec::new()) };
        let parts = self.router.all().map(part).collect();
        let index = self.register(session, key, entry, Work::Split(Split { request, parts, logged: None }));
        session.flags.insert(SessionFlags::STALLED);
        self.begin(index);
    }

    /// One shard has granted its locks or refused them.
    pub(super) fn locked(&mut self, ticket: Ticket, granted: bool) {
        let index = ticket.operation().expect("locks belong to operations");
        if let Work::Split(split) = &mut self.operations.get_mut(index).work {
            split.parts[ticket.number as usize].locked = granted;
        }
        self.answered(index, granted);
    }

    /// Gives up the locks that other shards have granted ahead.
    pub(super) fn unlock_parts(&mut self, index: u32) {
        let operation = self.operations.get_mut(index);
        let id = operation.id;
        let Work::Split(split) = &mut operation.work else { unreachable!("the caller has looked") };
        let locked = |part: &mut Part| std::mem::take(&mut part.locked).then_some(part.shard);
        let shards: Vec<_> = split.parts.iter_mut().filter_map(locked).collect();
        shards.into_iter().for_each(|shard| self.post(shard, Message::Unlock { id }));
    }

    /// Sends the remote parts; they end with the release of the transaction's locks there.
    pub(super) fn send_parts(&mut self, index: u32) {
        let own = self.core;
        let operation = self.operations.get_mut(index);
        operation.waiting = operation.shards().iter().filter(|shard| **shard != own).count();
        // A single other shard may still have to grant its locks: its part takes the stamp when it runs.
        let all_locked = operation.waiting > 1 || operation.in_order.is_some();
        let (entry, database) = (operation.entry, operation.call.database);
        let mut call = Call { part: true, no_reply: false, transaction: operation.id.0, ..operation.call };
        let Work::Split(split) = &mut operation.work else { unreachable!("the caller has looked") };
        let mut split = std::mem::replace(split, Split::done());
        // Asked anew at every try: the log may have been switched off meanwhile.
        let logs = self.shard.log.wanted && entry.row.spec.flags.contains(Flags::WRITE);
        split.logged = logs.then(|| {
            let stamp = if all_locked { self.node.next_stamp() } else { 0 };
            split.to_transaction(stamp, database)
        });
        if logs {
            call.logged = Logged::Part;
        }
        let logged = split.logged.as_ref().map(Transaction::to_argument);
        for (number, part) in split.parts.iter().enumerate().filter(|(_, part)| part.shard != own) {
            let args = split.request.args().with_spans(&part.spans);
            let args: Vec<&[u8]> = args.iter_from(0).chain(logged.as_deref()).collect();
            self.post_command(part.shard, Ticket::of_part(index, number), call, args.into_iter());
        }
        self.operations.get_mut(index).work = Work::Split(split);
    }

    /// Takes one shard's reply to its part; an empty one says that it was refused its locks.
    pub(super) fn take_reply_part(&mut self, ticket: Ticket, mut reply: Output) {
        let index = ticket.operation().expect("parts belong to operations");
        let operation = self.operations.get_mut(index);
        let Work::Split(split) = &mut operation.work else { return self.step_answered(index, ticket.number, reply) };
        operation.refused |= reply.is_empty();
        if let Some(logged) = split.logged.as_mut().filter(|_| !reply.is_empty()) {
            logged.stamp = take_stamp(&mut reply);
        }
        let part = &mut split.parts[ticket.number as usize];
        part.locked = false;
        part.reply = reply;
        operation.waiting -= 1;
        if operation.waiting > 0 {
            return;
        }
        if operation.refused {
            return self.retry(index);
        }
        let mut operation = self.operations.remove(index);
        let Work::Split(split) = &mut operation.work else { unreachable!("just seen") };
        let logged = split.logged.take();
        let call = Call { part: true, no_reply: false, ..operation.call };
        if let Some(own) = split.parts.iter_mut().find(|part| part.shard == self.core) {
            let args = split.request.args().with_spans(&own.spans);
            let started = self.clock.raw();
            self.run_and_log_part(operation.entry, call, args, logged, &mut own.reply);
            operation.longest_nanoseconds = operation.longest_nanoseconds.max(self.nanoseconds_since(started));
        }
        let parts = std::mem::take(&mut split.parts);
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, operation.call.protocol);
        self.join_parts(operation.entry, operation.call, parts, &mut reply);
        self.log_if_slow_whole(&operation);
        self.finish(&operation, out);
        self.unlock(operation.id);
    }

    pub(super) fn join_parts(&mut self, entry: &Entry, call: Call, parts: Vec<Part>, reply: &mut Reply<'_>) {
        let failed = parts.iter().position(|part| part.reply.bytes.first() == Some(&b'-'));
        match (failed, entry.row.spec.response) {
            (Some(index), _) => reply.append(parts.into_iter().nth(index).expect("found above").reply),
            (None, ResponsePolicy::AllSucceeded) => reply.ok(),
            (None, ResponsePolicy::AggSum) => {
                reply.integer(parts.iter().map(|part| join::integer_of(&part.reply)).sum());
            }
            (None, ResponsePolicy::AggMin) => {
                let least = parts.iter().map(|part| join::integer_of(&part.reply)).min();
                reply.integer(least.expect("there is a part for every shard"));
            }
            (None, ResponsePolicy::Special) => self.choose_one(call.database, parts, reply),
            // SWAPDB has no policy of its own: every shard answers OK.
            (None, ResponsePolicy::Default) if parts[0].reply.bytes.first() != Some(&b'*') => reply.ok(),
            (None, ResponsePolicy::Default) if entry.row.spec.keys.is_empty() => join::arrays(parts, reply),
            (None, ResponsePolicy::Default) => join::by_key(parts, reply),
        }
    }

    /// RANDOMKEY: one of the shards' replies, each as likely as its share of the keys.
    fn choose_one(&mut self, database: u16, parts: Vec<Part>, reply: &mut Reply<'_>) {
        let weight = |part: &Part| {
            let keys = self.node.metrics[part.shard.index()].keys[usize::from(database)].get();
            if part.reply.bytes.first() == Some(&b'$') && part.reply.bytes.get(1) != Some(&b'-') {
                keys.max(1)
            } else {
                0
            }
        };
        let weights: Vec<u64> = parts.iter().map(weight).collect();
        let total: u64 = weights.iter().sum();
        if total == 0 {
            return reply.null();
        }
        let mut left = self.random.below(total as usize) as u64;
        for (part, weight) in parts.into_iter().zip(weights) {
            if left < weight {
                return reply.append(part.reply);
            }
            left -= weight;
        }
    }
}

impl Split {
    fn done() -> Self {
        Self { request: Request { arguments: Vec::new(), spans: Vec::new() }, parts: Vec::new(), logged: None }
    }

    /// The whole as it is logged: each shard's payload is its part.
    fn to_transaction(&self, stamp: u64, database: u16) -> Transaction {
        let payload = |part: &Part| {
            let mut records = Records::new();
            records.append(database, self.request.args().with_spans(&part.spans).iter_from(0));
            (part.shard.0, records)
        };
        let mut payloads: Vec<(u16, Records)> = self.parts.iter().map(payload).collect();
        payloads.sort_unstable_by_key(|(shard, _)| *shard);
        Transaction::new(stamp, payloads.iter().map(|(shard, records)| (*shard, records.as_bytes())))
    }

    /// The locks of the part on `shard`, if it has one.
    pub fn locks_on(&self, shard: ShardId, entry: &Entry) -> Option<LockSet> {
        let part = self.parts.iter().find(|part| part.shard == shard)?;
        Some(part.locks(entry, &self.request))
    }
}

impl Part {
    fn locks(&self, entry: &Entry, request: &Request) -> LockSet {
        lock_set(entry, request.args().with_spans(&self.spans))
    }
}
