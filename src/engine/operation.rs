//! Commands over several shards: sent to each, answered as one.
//!
//! - split:   MGET, MSET, DEL ... each shard gets the part with its own keys, the replies are joined by the row's policy
//! - all:     DBSIZE, KEYS, FLUSHALL ... every shard runs the whole command
//! - gather:  RENAME, SINTERSTORE, LMOVE ... copies of the keys come here, the command runs on them as it would on one
//!   shard, and the keys it changed are stored where they belong
//! - every:   CLIENT LIST, DEBUG SLEEP ... a request that each core answers with a part
//!
//! An operation is one request of its session and one number in the order of its replies. Today the parts of an
//! operation are not isolated from other clients' commands; the coordinator's locks will be taken before the first
//! message of an operation leaves and released after its last one has arrived, both of which happen in this file.

use super::Engine;
use super::message::{Call, KeyState, Message, Ticket};
use super::transaction::Piece;
use crate::commands::context::OtherDatabases;
use crate::commands::{Entry, EveryCore, Handler, SessionContext, ShardContext};
use crate::resp::{Args, Output, Reply, Span};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::{Act, Effect, Expiry, Shard, ShardId};
use crate::spec::{FindKeys, ResponsePolicy};
use std::any::Any;
use std::sync::Arc;

/// The operations a core has under way.
#[derive(Default)]
pub(super) struct Operations {
    slots: Vec<Option<Operation>>,
    free: Vec<u32>,
    /// An empty shard on which gathered keys are worked on.
    workbench: Option<Box<Shard>>,
}

struct Operation {
    session: SessionKey,
    /// The request's number in its session.
    number: u32,
    entry: &'static Entry,
    call: Call,
    /// Parts that have not come yet.
    waiting: usize,
    work: Work,
}

enum Work {
    /// Replies of shards, by part.
    Join(Vec<Part>),
    Gather(Box<Gather>),
    Every(Arc<dyn EveryCore>, Vec<Option<Box<dyn Any + Send>>>, Option<Piece>),
}

/// One shard's part of a command, and its reply once it is there.
struct Part {
    shard: ShardId,
    /// Which of the command's keys it has, in order.
    keys: Vec<usize>,
    reply: Output,
}

struct Gather {
    arguments: Vec<u8>,
    spans: Vec<Span>,
    states: Vec<KeyState>,
    /// The reply, once the command has run; what is waited for then is that changed keys are stored.
    reply: Option<Output>,
}

impl Operations {
    fn insert(&mut self, operation: Operation) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[index as usize] = Some(operation);
        index
    }

    fn get_mut(&mut self, ticket: Ticket) -> &mut Operation {
        let slot = &mut self.slots[(ticket.owner & !Ticket::OPERATION) as usize];
        slot.as_mut().expect("an operation stays until its last part is there")
    }

    fn remove(&mut self, ticket: Ticket) -> Operation {
        let index = ticket.owner & !Ticket::OPERATION;
        self.free.push(index);
        self.slots[index as usize].take().expect("an operation stays until its last part is there")
    }
}

impl Engine {
    /// Registers an operation as the session's next request. Its ticket names part 0.
    fn start(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        waiting: usize,
        work: Work,
    ) -> (Ticket, Call) {
        let call = Self::call(session, entry);
        let number = session.pending.expect();
        let operation = Operation { session: key, number, entry, call, waiting, work };
        let index = self.operations.insert(operation);
        (Ticket { owner: index | Ticket::OPERATION, number: 0 }, Call { part: true, no_reply: false, ..call })
    }

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
        let mut parts: Vec<Part> = Vec::new();
        for (order, &index) in positions.iter().enumerate() {
            let shard = self.router.shard_of(args.at(index));
            match parts.iter_mut().find(|part| part.shard == shard) {
                Some(part) => part.keys.push(order),
                None => parts.push(Part { shard, keys: vec![order], reply: Output::default() }),
            }
        }
        let spans: Vec<Vec<Span>> = parts
            .iter()
            .map(|part| {
                let values = part.keys.iter().flat_map(|&order| positions[order]..positions[order] + step);
                args.select(std::iter::once(0).chain(values))
            })
            .collect();
        let requests = parts.iter().map(|part| part.shard).zip(spans).collect::<Vec<_>>();
        let (ticket, call) = self.start(session, key, entry, parts.len(), Work::Join(parts));
        self.send_parts(ticket, entry, call, requests.iter().map(|(shard, spans)| (*shard, args.with_spans(spans))));
    }

    /// Sends a command to every shard.
    pub(super) fn start_all_shards(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        args: Args<'_>,
    ) {
        let shards = (0..self.router.shards() as u16).map(ShardId);
        let parts: Vec<Part> =
            shards.clone().map(|shard| Part { shard, keys: Vec::new(), reply: Output::default() }).collect();
        let (ticket, call) = self.start(session, key, entry, parts.len(), Work::Join(parts));
        session.flags.insert(SessionFlags::STALLED);
        self.send_parts(ticket, entry, call, shards.map(|shard| (shard, args)));
    }

    /// Posts the remote parts of an operation and runs the local one. The last part can be this core's own only when all
    /// are, and then the command would not have become an operation: its session is not touched here.
    fn send_parts<'a>(
        &mut self,
        ticket: Ticket,
        entry: &'static Entry,
        call: Call,
        parts: impl Iterator<Item = (ShardId, Args<'a>)>,
    ) {
        let mut own = None;
        for (number, (shard, args)) in parts.enumerate() {
            let ticket = Ticket { number: number as u32, ..ticket };
            if shard == self.core {
                own = Some((ticket, args));
            } else {
                self.post_command(shard, ticket, call, args);
            }
        }
        if let Some((ticket, args)) = own {
            let mut out = Output::default();
            self.run_here(entry, call, args, &mut out);
            self.take_reply_part(ticket, out);
        }
    }

    /// Takes one shard's reply to its part.
    pub(super) fn take_reply_part(&mut self, ticket: Ticket, reply: Output) {
        let operation = self.operations.get_mut(ticket);
        let Work::Join(parts) = &mut operation.work else { unreachable!("only joined operations have replies") };
        parts[ticket.number as usize].reply = reply;
        operation.waiting -= 1;
        if operation.waiting > 0 {
            return;
        }
        let operation = self.operations.remove(ticket);
        let Work::Join(parts) = operation.work else { unreachable!("just seen") };
        let mut out = Output::default();
        let mut reply = Reply::new(&mut out, operation.call.protocol);
        let failed = parts.iter().position(|part| part.reply.bytes.first() == Some(&b'-'));
        match (failed, operation.entry.row.spec.response) {
            (Some(index), _) => reply.append(parts.into_iter().nth(index).expect("found above").reply),
            (None, ResponsePolicy::AllSucceeded) => reply.ok(),
            (None, ResponsePolicy::AggSum) => reply.integer(parts.iter().map(|part| integer_of(&part.reply)).sum()),
            (None, ResponsePolicy::Special) => self.choose_one(operation.call.database, parts, &mut reply),
            // SWAPDB has no policy of its own: every shard answers OK.
            (None, ResponsePolicy::Default) if parts[0].reply.bytes.first() != Some(&b'*') => reply.ok(),
            (None, ResponsePolicy::Default) if operation.entry.row.spec.keys.is_empty() => {
                join_arrays(parts, &mut reply)
            }
            (None, ResponsePolicy::Default) => join_by_key(parts, &mut reply),
        }
        self.finish(operation.session, operation.number, operation.call, out);
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

    fn finish(&mut self, session: SessionKey, number: u32, call: Call, out: Output) {
        let out = if call.no_reply { Output::default() } else { out };
        self.deliver(session, number, &out.bytes, out.pins);
    }
}

/// Keys gathered from their shards, worked on here, and stored again.
impl Engine {
    /// Asks the owners of a command's keys for copies of them.
    pub(super) fn start_gather(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        args: Args<'_>,
    ) {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for spec in entry.row.spec.keys {
            let found = spec.each(args, |index| {
                if !keys.iter().any(|key| key == args.at(index)) {
                    keys.push(args.at(index).to_vec());
                }
            });
            found.expect("routing has found its keys");
        }
        let mut wanted: Vec<Vec<Vec<u8>>> = vec![Vec::new(); self.router.shards()];
        for key in keys {
            wanted[self.router.shard_of(&key).index()].push(key);
        }
        let (arguments, spans) = args.to_owned();
        let own = std::mem::take(&mut wanted[self.core.index()]);
        let states = self.copy_keys(&own);
        let waiting = wanted.iter().filter(|keys| !keys.is_empty()).count();
        let work = Work::Gather(Box::new(Gather { arguments, spans, states, reply: None }));
        let (ticket, _) = self.start(session, key, entry, waiting, work);
        session.flags.insert(SessionFlags::STALLED);
        for (index, keys) in wanted.into_iter().enumerate().filter(|(_, keys)| !keys.is_empty()) {
            let shard = ShardId(index as u16);
            self.post_batch(shard);
            self.outgoing.push((shard, Message::Fetch { from: self.core, ticket, keys }));
        }
    }

    /// Copies of `keys` in every database of this shard: a command may name another database than the selected one.
    pub(super) fn copy_keys(&mut self, keys: &[Vec<u8>]) -> Vec<KeyState> {
        let mut states = Vec::new();
        for (database, db) in self.shard.databases.iter_mut().enumerate() {
            db.set_now(self.now);
            for key in keys {
                let Some(value) = db.peek(key).map(|value| value.to_value()) else { continue };
                let expires = db.expires_at(key).flatten();
                states.push(KeyState { database: database as u16, key: key.clone(), state: Some((value, expires)) });
            }
        }
        states
    }

    /// Puts keys of this shard into the given states.
    pub(super) fn store_keys(&mut self, states: Vec<KeyState>) {
        for KeyState { database, key, state } in states {
            let db = &mut self.shard.databases[usize::from(database)];
            db.set_now(self.now);
            match state {
                None => {
                    db.remove(&key);
                }
                Some((value, expires)) => db.replace(&key, value, expires.map_or(Expiry::Never, Expiry::At)),
            }
            if self.touched.last() != Some(&database) {
                self.touched.push(database);
            }
        }
    }

    /// Takes one shard's copies; with the last of them the command runs.
    pub(super) fn fetched(&mut self, ticket: Ticket, states: Vec<KeyState>) {
        let operation = self.operations.get_mut(ticket);
        let Work::Gather(gather) = &mut operation.work else { unreachable!("only gathering operations fetch") };
        gather.states.extend(states);
        operation.waiting -= 1;
        if operation.waiting > 0 {
            return;
        }
        let mut gather = std::mem::replace(gather, Box::new(Gather::done()));
        let (entry, call) = (operation.entry, operation.call);
        let mut out = Output::default();
        let changed = self.work_on(&mut gather, entry, call, &mut out);
        let mut by_shard: Vec<Vec<KeyState>> = (0..self.router.shards()).map(|_| Vec::new()).collect();
        for state in changed {
            by_shard[self.router.shard_of(&state.key).index()].push(state);
        }
        self.store_keys(std::mem::take(&mut by_shard[self.core.index()]));
        let waiting = by_shard.iter().filter(|states| !states.is_empty()).count();
        for (index, states) in by_shard.into_iter().enumerate().filter(|(_, states)| !states.is_empty()) {
            self.outgoing.push((ShardId(index as u16), Message::Store { from: self.core, ticket, states }));
        }
        let operation = self.operations.get_mut(ticket);
        let Work::Gather(gather) = &mut operation.work else { unreachable!("just seen") };
        gather.reply = Some(out);
        // One more than the stores: this step itself ends like a store.
        operation.waiting = waiting + 1;
        self.stored(ticket);
    }

    /// Runs the command on the gathered keys; the keys it changed, in their new states.
    fn work_on(&mut self, gather: &mut Gather, entry: &Entry, call: Call, out: &mut Output) -> Vec<KeyState> {
        let Handler::Shard(handler) = entry.row.handler else { unreachable!("only commands on keys gather them") };
        let databases = self.shard.databases.len();
        let mut bench = self.operations.workbench.take().unwrap_or_else(|| Box::new(Shard::new(self.core, databases)));
        bench.effects.wanted = true;
        for KeyState { database, key, state } in gather.states.drain(..) {
            let db = &mut bench.databases[usize::from(database)];
            db.set_now(self.now);
            if let Some((value, expires)) = state {
                db.replace(&key, value, expires.map_or(Expiry::Never, Expiry::At));
            }
        }
        let (db, others) = OtherDatabases::split(&mut bench.databases, call.database, self.now);
        let mut context = ShardContext {
            db,
            others,
            database_index: call.database,
            reply: Reply::new(out, call.protocol),
            encoding: &self.config.encoding,
            config: &self.config,
            random: &mut self.random,
            dirty: 0,
            effects: &mut bench.effects,
            shard: self.core,
            shards: self.router.shards() as u16,
        };
        let outcome = handler(&mut context, Args::new(&gather.arguments, &gather.spans));
        let dirty = context.dirty;
        self.metrics().dirty.add(dirty);
        if let Err(error) = outcome {
            let start = Output::default().mark();
            self.fail(entry, &error, call.protocol, out, start);
        }
        let changed = |effect: Effect| match effect.act {
            Act::Key { key, changed: true, .. } => Some((effect.database, key.into_vec())),
            _ => None,
        };
        let mut changes: Vec<_> = bench.effects.list.drain(..).filter_map(changed).collect();
        changes.sort_unstable();
        changes.dedup();
        let take = |(database, key): (u16, Vec<u8>)| {
            let state = bench.databases[usize::from(database)].take(&key);
            KeyState { database, state, key }
        };
        let states = changes.into_iter().map(take).collect();
        for db in &mut bench.databases {
            self.metrics().keyspace_hits.add(std::mem::take(&mut db.hits));
            self.metrics().keyspace_misses.add(std::mem::take(&mut db.misses));
            db.clear();
        }
        self.operations.workbench = Some(bench);
        states
    }

    /// One shard has stored what it was sent; with the last of them the reply leaves.
    pub(super) fn stored(&mut self, ticket: Ticket) {
        let operation = self.operations.get_mut(ticket);
        operation.waiting -= 1;
        if operation.waiting > 0 {
            return;
        }
        let operation = self.operations.remove(ticket);
        let Work::Gather(gather) = operation.work else { unreachable!("only gathering operations store") };
        let out = gather.reply.expect("the command ran before its keys were stored");
        self.finish(operation.session, operation.number, operation.call, out);
    }
}

impl Gather {
    fn done() -> Self {
        Self { arguments: Vec::new(), spans: Vec::new(), states: Vec::new(), reply: None }
    }
}

/// Requests to every core.
impl Engine {
    /// Sends a request to every core; its own part runs when the session is back in the registry.
    pub(super) fn start_every_core(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        request: Arc<dyn EveryCore>,
    ) {
        let (number, call) = (session.pending.expect(), Self::call(session, entry));
        session.flags.insert(SessionFlags::STALLED);
        self.ask_every_core(key, entry, call, request, Ok(number));
    }

    /// Sends a request to every core. Its reply is that to the session's request of a number, or a piece of the reply to
    /// a transaction.
    pub(super) fn ask_every_core(
        &mut self,
        key: SessionKey,
        entry: &'static Entry,
        call: Call,
        request: Arc<dyn EveryCore>,
        place: Result<u32, Piece>,
    ) {
        let cores = self.router.shards();
        let parts = (0..cores).map(|_| None).collect();
        let work = Work::Every(request.clone(), parts, place.err());
        let number = place.unwrap_or(0);
        let index = self.operations.insert(Operation { session: key, number, entry, call, waiting: cores, work });
        for core in 0..cores {
            let ticket = Ticket { owner: index | Ticket::OPERATION, number: core as u32 };
            if core == self.core.index() {
                self.own_parts.push_back((ticket, request.clone()));
            } else {
                let message = Message::Every { from: self.core, ticket, request: request.clone() };
                self.outgoing.push((ShardId(core as u16), message));
            }
        }
    }

    /// Takes one core's part; with the last of them the request writes its reply.
    pub(super) fn take_part(&mut self, ticket: Ticket, part: Box<dyn Any + Send>) {
        let operation = self.operations.get_mut(ticket);
        let Work::Every(_, parts, _) = &mut operation.work else {
            unreachable!("only requests to every core have parts")
        };
        parts[ticket.number as usize] = Some(part);
        operation.waiting -= 1;
        if operation.waiting > 0 {
            return;
        }
        let operation = self.operations.remove(ticket);
        let Work::Every(request, parts, piece) = operation.work else { unreachable!("just seen") };
        let parts = parts.into_iter().map(|part| part.expect("all parts are there")).collect();
        let mut out = Output::default();
        if let Some(mut session) = self.sessions.take(operation.session) {
            request.finish(
                parts,
                &mut SessionContext {
                    reply: Reply::new(&mut out, session.protocol),
                    session: &mut session,
                    node: &self.node,
                    config: &self.config,
                    core: self.core,
                    now: self.now,
                    random: &mut self.random,
                },
            );
            self.sessions.put_back(operation.session, session);
        }
        let out = if operation.call.no_reply { Output::default() } else { out };
        match piece {
            Some(piece) => self.take_piece(piece, out),
            None => self.finish(operation.session, operation.number, operation.call, out),
        }
    }
}

fn integer_of(reply: &Output) -> i64 {
    let text = reply.bytes.strip_prefix(b":").and_then(|text| text.strip_suffix(b"\r\n"));
    text.and_then(crate::stdx::number::parse_i64).unwrap_or(0)
}

/// The length in an array's head, and where its first element starts.
fn array_head(reply: &Output) -> (usize, usize) {
    let end = memchr::memchr(b'\r', &reply.bytes).unwrap_or(0);
    let len = reply.bytes.get(1..end).and_then(crate::stdx::number::parse_i64).unwrap_or(0);
    (usize::try_from(len).unwrap_or(0), end + 2)
}

/// One array of the elements of all.
fn join_arrays(parts: Vec<Part>, reply: &mut Reply<'_>) {
    reply.array(parts.iter().map(|part| array_head(&part.reply).0).sum());
    for part in parts {
        let (_, start) = array_head(&part.reply);
        reply.append_from(&part.reply, start, part.reply.bytes.len());
    }
}

/// One array of bulk strings and nulls, in the order of the command's keys.
fn join_by_key(parts: Vec<Part>, reply: &mut Reply<'_>) {
    let total = parts.iter().map(|part| part.keys.len()).sum();
    let mut places: Vec<(usize, usize, usize)> = vec![(0, 0, 0); total];
    for (index, part) in parts.iter().enumerate() {
        let (_, mut at) = array_head(&part.reply);
        for &order in &part.keys {
            let end = element_end(&part.reply, at);
            places[order] = (index, at, end);
            at = end;
        }
    }
    reply.array(total);
    for (index, start, end) in places {
        reply.append_from(&parts[index].reply, start, end);
    }
}

/// Where the bulk string, null or other plain element at `at` ends. A pinned value does not stand in the bytes.
fn element_end(reply: &Output, at: usize) -> usize {
    let line = at + memchr::memchr(b'\n', &reply.bytes[at..]).map_or(0, |len| len + 1);
    if reply.bytes[at] != b'$' || reply.bytes[at + 1] == b'-' {
        return line;
    }
    if reply.pins.binary_search_by_key(&line, |pin| pin.at).is_ok() {
        return line + 2;
    }
    let len = crate::stdx::number::parse_i64(&reply.bytes[at + 1..line - 2]).unwrap_or(0);
    line + len as usize + 2
}
