//! Commands that shards run in parts: those split by key (MGET, MSET, DEL ...) and those that every shard runs whole
//! (DBSIZE, KEYS, FLUSHALL ...).
//!
//! Commands split by key that follow one another in a client's pipeline are one operation, with one set of locks: so what
//! the locks and the way to other cores cost is paid once, and none overtakes another where they have to be asked for
//! again.
//!
//! The own parts are locked first. With a single remote shard its parts are locked, run and released by one message; with
//! more, all are locked before any of them runs. The own parts run last.

use super::Engine;
use super::coordinator::{each_key, whole_shard_mode};
use super::hop::empty_batch;
use super::join;
use super::message::{Call, Logged, Message, Ticket};
use super::operation::{Operation, Request, Work};
use super::parts::Parts;
use crate::commands::Entry;
use crate::persistence::aof::{Records, Transaction};
use crate::resp::{Args, Output, Reply, Span};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::ShardId;
use crate::shard::locks::LockSet;
use crate::spec::{FindKeys, Flags, RequestPolicy, ResponsePolicy};

/// Commands in parts, in the order in which the client has sent them.
pub(super) struct Split {
    pub commands: Vec<Command>,
    /// The shards that have parts.
    pub shards: Vec<PartShard>,
    /// The whole as all shards log it, if they do.
    logged: Option<Transaction>,
}

/// One of the commands.
pub(super) struct Command {
    entry: &'static Entry,
    call: Call,
    /// Its number in its session.
    number: u32,
    request: Request,
    parts: Vec<Part>,
    /// How long the longest of its parts took that has run so far.
    pub longest_nanoseconds: u64,
}

/// A shard that has parts.
pub(super) struct PartShard {
    pub id: ShardId,
    /// Whether it has granted the locks and waits for the word to go on.
    locked: bool,
}

/// One shard's part of a command.
pub(super) struct Part {
    pub shard: ShardId,
    /// Which of the command's keys it has, in order.
    pub keys: Vec<usize>,
    /// Its arguments, in those of the whole.
    spans: Vec<Span>,
    /// Its reply, once it is there.
    pub reply: Output,
}

impl Part {
    pub fn new(shard: ShardId, keys: Vec<usize>) -> Self {
        Self { shard, keys, spans: Vec::new(), reply: Output::default() }
    }
}

/// Whether shards are sent the parts of a command that concern their keys.
pub(super) fn splits(entry: &Entry) -> bool {
    entry.row.spec.request == RequestPolicy::MultiShard
}

impl Engine {
    /// Splits a command by key. It goes on its way with those behind it ([`Engine::send_split`]).
    pub(super) fn split(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        call: Call,
        args: Args<'_>,
    ) {
        let Some(positions) = positions_of_keys(entry, args) else {
            // Any shard refuses the whole.
            let mut out = Output::default();
            self.run_here(entry, call, args, &mut out);
            if !call.no_reply {
                session.append_reply(out);
            }
            return;
        };
        let step = step_of(entry);
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
        match self.open_split {
            Some(index) => {
                let number = session.pending.expect();
                let Work::Split(split) = &mut self.operations.get_mut(index).work else { unreachable!("it is split") };
                split.push(Command { entry, call, number, request, parts, longest_nanoseconds: 0 });
            }
            None => self.open_split = Some(self.register_split(session, key, entry, request, parts)),
        }
    }

    /// Whether the next request in a session's pipeline goes with the split commands before it.
    #[cold]
    pub(super) fn joins(&self, session: &Session, next: Option<&'static Entry>) -> bool {
        self.open_split.is_some() && next.is_some_and(splits) && !session.flags.intersects(SessionFlags::ENDING)
    }

    /// Sends split commands on their way, if there are any.
    #[cold]
    pub(super) fn send_split(&mut self) {
        if let Some(index) = self.open_split.take() {
            self.begin(index);
        }
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
        let index = self.register_split(session, key, entry, request, parts);
        self.begin(index);
    }

    fn register_split(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        request: Request,
        parts: Vec<Part>,
    ) -> u32 {
        let mut split = Split { commands: Vec::new(), shards: Vec::new(), logged: None };
        let call = Self::call(session, entry);
        let number = session.pending.expect();
        split.push(Command { entry, call, number, request, parts, longest_nanoseconds: 0 });
        // What the client sends behind it must not overtake it where it has to wait for its locks.
        session.flags.insert(SessionFlags::STALLED);
        self.operations.insert(Operation::new(key, number, entry, call, Work::Split(split)))
    }

    /// One shard has granted its locks or refused them.
    pub(super) fn locked(&mut self, ticket: Ticket, granted: bool) {
        let index = ticket.operation().expect("locks belong to operations");
        if let Work::Split(split) = &mut self.operations.get_mut(index).work {
            split.shards[ticket.number as usize].locked = granted;
        }
        self.answered(index, granted);
    }

    /// Gives up the locks that other shards have granted ahead.
    pub(super) fn unlock_parts(&mut self, index: u32) {
        let operation = self.operations.get_mut(index);
        let id = operation.id;
        let Work::Split(split) = &mut operation.work else { unreachable!("the caller has looked") };
        let locked = |shard: &mut PartShard| std::mem::take(&mut shard.locked).then_some(shard.id);
        let shards: Vec<_> = split.shards.iter_mut().filter_map(locked).collect();
        shards.into_iter().for_each(|shard| self.post(shard, Message::Unlock { id }));
    }

    /// Sends the remote parts; they end with the release of the transaction's locks there.
    pub(super) fn send_parts(&mut self, index: u32) {
        let own = self.core;
        let Self { operations, router, shard, node, spare_batches, .. } = self;
        let operation = operations.get_mut(index);
        let id = operation.id;
        let in_order = operation.in_order.is_some();
        let Work::Split(split) = &mut operation.work else { unreachable!("the caller has looked") };
        let remote: Vec<ShardId> = split.shards.iter().map(|shard| shard.id).filter(|shard| *shard != own).collect();
        operation.waiting = remote.len();
        // A single other shard may still have to grant its locks: it takes the stamp when it runs its parts.
        let all_locked = remote.len() > 1 || in_order;
        // Asked anew at every try: the log may have been switched off meanwhile.
        let logs = shard.log.wanted && split.shards.iter().any(|shard| split.writes_on(shard.id));
        split.logged = logs.then(|| split.to_transaction(if all_locked { node.next_stamp() } else { 0 }, router.all()));
        let parts: Vec<_> = remote
            .into_iter()
            .map(|shard| {
                let mut batch = empty_batch(spare_batches.pop(), own);
                for (number, command, part) in split.parts_on(shard) {
                    let args = command.request.args().with_spans(&part.spans);
                    batch.push(Ticket::of_part(index, number), command.part_call(logs), args.iter_from(0));
                }
                let locks = if all_locked { None } else { split.locks_on(shard) };
                let logged = split.logged.clone().filter(|_| split.writes_on(shard));
                Box::new(Parts { shard, operation: index, id, locks, batch, logged, refused: false })
            })
            .collect();
        for parts in parts {
            self.batches_away += 1;
            self.metrics().batches_sent.add(1);
            self.post(parts.shard, Message::RunParts(parts));
        }
    }

    /// Takes one shard's replies to its parts.
    pub(super) fn take_parts(&mut self, parts: Parts) {
        let Parts { shard, operation: index, mut batch, logged, refused, .. } = parts;
        self.batches_away -= 1;
        let operation = self.operations.get_mut(index);
        operation.lost |= batch.lost;
        operation.refused |= refused;
        operation.waiting -= 1;
        let (waiting, refused) = (operation.waiting, operation.refused);
        let Work::Split(split) = &mut operation.work else { unreachable!("only split commands have parts") };
        let part_shard = split.shards.iter_mut().find(|part| part.id == shard).expect("it was sent them");
        part_shard.locked = false;
        if logged.is_some() {
            // It has the stamp now.
            split.logged = logged;
        }
        batch.replies(|ticket, bytes, pins| {
            let parts = &mut split.commands[ticket.number as usize].parts;
            let part = parts.iter_mut().find(|part| part.shard == shard).expect("it was sent it");
            part.reply = Output { bytes: bytes.to_vec(), pins };
        });
        self.keep_batch(batch);
        match (waiting, refused) {
            (1.., _) => {}
            (0, true) => self.retry(index),
            (0, false) => self.end_split(index),
        }
    }

    /// Runs the own parts and answers the commands.
    fn end_split(&mut self, index: u32) {
        let Operation { session, id, lost, work, .. } = self.operations.remove(index);
        let Work::Split(mut split) = work else { unreachable!("the caller has looked") };
        let mut logged = split.logged.take().filter(|_| split.writes_on(self.core));
        let mut failed = true;
        for command in &mut split.commands {
            let call = command.part_call(logged.is_some());
            let Command { entry, request, parts, longest_nanoseconds, .. } = command;
            let Some(own) = parts.iter_mut().find(|part| part.shard == self.core) else { continue };
            let started = self.clock.raw();
            self.run_command(entry, call, request.args().with_spans(&own.spans), &mut own.reply);
            failed &= own.reply.bytes.first() == Some(&b'-');
            *longest_nanoseconds = self.nanoseconds_since(started).max(*longest_nanoseconds);
        }
        self.end_parts(&mut logged, failed);
        for Command { entry, call, number, request, parts, longest_nanoseconds } in split.commands {
            let mut out = Output::default();
            self.join_parts(entry, call, parts, &mut Reply::new(&mut out, call.protocol));
            self.log_if_slow_of(session, entry, request.args(), longest_nanoseconds);
            self.finish_request(session, number, entry, call, lost, out);
        }
        self.unlock(id);
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
    fn push(&mut self, command: Command) {
        for part in &command.parts {
            if !self.shards.iter().any(|shard| shard.id == part.shard) {
                self.shards.push(PartShard { id: part.shard, locked: false });
            }
        }
        self.commands.push(command);
    }

    /// Whether any part of `shard` does.
    fn writes_on(&self, shard: ShardId) -> bool {
        self.parts_on(shard).any(|(_, command, _)| command.writes())
    }

    /// The parts of `shard`, with their commands and the numbers of those.
    fn parts_on(&self, shard: ShardId) -> impl Iterator<Item = (usize, &Command, &Part)> {
        let part = move |command: &Command| command.parts.iter().position(|part| part.shard == shard);
        let commands = self.commands.iter().enumerate();
        commands.filter_map(move |(number, command)| Some((number, command, &command.parts[part(command)?])))
    }

    /// The whole as it is logged: each shard's payload is its parts.
    fn to_transaction(&self, stamp: u64, shards: impl Iterator<Item = ShardId>) -> Transaction {
        let payload = |shard| {
            let mut records = Records::new();
            for (_, command, part) in self.parts_on(shard) {
                if command.writes() {
                    let args = command.request.args().with_spans(&part.spans);
                    records.append(command.call.database, args.iter_from(0));
                }
            }
            (shard.0, records)
        };
        let payloads: Vec<(u16, Records)> = shards.filter(|shard| self.writes_on(*shard)).map(payload).collect();
        Transaction::new(stamp, payloads.iter().map(|(shard, records)| (*shard, records.as_bytes())))
    }

    /// The locks of the parts on `shard`, if it has any.
    pub fn locks_on(&self, shard: ShardId) -> Option<LockSet> {
        let (_, first, _) = self.parts_on(shard).next()?;
        if let Some(mode) = whole_shard_mode(first.entry) {
            // It is alone.
            return Some(LockSet::whole(mode));
        }
        Some(LockSet::of_each(|add| {
            for (_, command, part) in self.parts_on(shard) {
                each_key(command.entry, command.request.args().with_spans(&part.spans), &mut *add);
            }
        }))
    }
}

impl Command {
    fn writes(&self) -> bool {
        self.entry.row.spec.flags.contains(Flags::WRITE)
    }

    /// How its parts are run.
    fn part_call(&self, logs: bool) -> Call {
        let logged = if logs { Logged::Part } else { Logged::Itself };
        Call { part: true, no_reply: false, logged, ..self.call }
    }
}

/// How many arguments stand for a key of a command that is split, the key included.
fn step_of(entry: &Entry) -> usize {
    let [keys] = entry.row.spec.keys else { unreachable!("a command split by key has one key spec") };
    if let FindKeys::Range { step, .. } = keys.find { step as usize } else { 1 }
}

/// Where the keys stand among the arguments; `None` where these do not fit, as in MSET with a key that lacks its value.
fn positions_of_keys(entry: &Entry, args: Args<'_>) -> Option<Vec<usize>> {
    let mut positions = Vec::new();
    let fits = entry.row.spec.keys[0].each(args, |index| positions.push(index)).is_ok();
    let fits = fits && positions.first().is_some_and(|first| (args.len() - first).is_multiple_of(step_of(entry)));
    fits.then_some(positions)
}
