//! The per-core state machine, without I/O.
//!
//! An [`Engine`] is given bytes from clients, messages from other cores and the time; it gives back reply bytes, messages
//! and sessions to close. It opens no file, reads no clock and knows no socket, so that several engines, their mailboxes
//! and a clock can run in one thread from a seed.
//!
//! - `intake`     what a client sent: requests read ahead, so that memory is fetched while others are parsed
//! - `dispatch`   one request: its row, its checks, the shard that runs it
//! - `hop`        commands for other cores and the replies to them, in `batch`es
//! - `operation`  requests that several shards answer: `split`, `gather`, `every`; `join` makes one reply of several
//! - `coordinator` their locks; `parked`: the commands that these hold up
//! - `blocking`   clients that wait in a blocking command: how they are served, and how waiting ends
//! - `notifications` events of keys, published
//! - `tracking`   client tracking: who is told that a key has changed
//! - `transaction` MULTI and EXEC: the queue, where it runs, its reply
//! - `lending`    values that a snapshot writes before they are lent
//! - `staging`    large values that are logged before the transaction that brings them
//! - `stepwise`   transactions over all shards, command by command
//! - `watch`      WATCH: who watches which keys of which shard
//! - `effects`    what follows from changed keys
//! - `propagation` what is logged of commands and transactions
//! - `replay`     the log, run again
//! - `pubsub`     subscriptions and publications: between cores, and to the sessions
//! - `departure`  how a client's end is made known: it leaves everything before it can know
//! - `clients`    the memory that clients take, and its limit
//! - `slowlog`    which commands took long
//! - `monitors`   MONITOR: a line for every command
//! - `cron`       what happens with time: expiry, idle clients, limits, statistics

pub mod batch;
mod blocking;
mod clients;
mod coordinator;
mod cron;
pub mod cut;
mod departure;
mod dispatch;
mod effects;
mod every;
mod gather;
mod hop;
pub mod inspection;
mod intake;
mod join;
mod lending;
mod memory;
pub mod message;
mod monitors;
mod notifications;
mod operation;
mod parked;
mod parts;
mod propagation;
mod pubsub;
pub mod replay;
pub mod slowlog;
mod split;
mod staging;
mod stepwise;
mod tracking;
mod transaction;
mod watch;

use crate::acl;
use crate::commands::{CommandTable, CoreView, EveryCore, Node, table};
use crate::config::Config;
use crate::limits;
use crate::metrics::CoreMetrics;
use crate::metrics::persistence::ShardLog;
use crate::session::{Identity, Queue, Session, SessionFlags, SessionKey, Sessions};
use crate::shard::locks::{Locks, TransactionId};
use crate::shard::{Millis, Router, Shard, ShardId, WatchedKey};
use crate::stdx::random::Random;
use ahash::AHashMap;
use batch::Batch;
use blocking::Blocking;
use clients::ClientMemory;
use coordinator::Waiter;
use cut::CutHere;
use message::{Message, Ticket};
use monitors::Monitors;
use operation::Operations;
use parked::Lines;
use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;
use transaction::{Assembly, Executing};
use watch::Watching;

/// One core's state machine.
pub struct Engine {
    core: ShardId,
    router: Router,
    node: Arc<Node>,
    config: Arc<Config>,
    config_version: u64,
    table: &'static CommandTable,
    shard: Shard,
    sessions: Sessions,
    clients: ClientMemory,
    /// How much memory all clients together may take.
    clients_bytes_max: Option<u64>,
    operations: Operations,
    locks: Locks<Waiter>,
    /// Commands that wait for locks.
    parked: Lines,
    /// Transactions that are giving up their locks, and whether that is going on.
    released: VecDeque<TransactionId>,
    unlocking: bool,
    blocking: Blocking,
    stages: staging::Stages,
    /// Transactions that have their locks and wait for the snapshot of what they want to borrow.
    lending: VecDeque<Waiter>,
    /// Per core, replies to commands that had to wait for locks.
    late: Vec<Option<Box<Batch>>>,
    exchange: pubsub::Exchange,
    trackers: tracking::Trackers,
    random: Random,
    now: Millis,
    memory: memory::Memory,
    /// Whether the log is being replayed.
    loading: bool,
    /// Whether clients are told so, because on some core it is.
    refuses: bool,
    /// Error number of the log where it cannot be written, on whichever core; 0: it can.
    log_errno: i32,
    /// From how many nanoseconds on a command is slow, and from when on anybody wants to know of it.
    slow_nanoseconds: u64,
    attention_nanoseconds: u64,
    monitors: Monitors,
    /// The cuts of this turn.
    cuts: Vec<CutHere>,
    next_cron_ms: Millis,
    /// When what is done once a second is due.
    next_second_ms: Millis,
    clock: quanta::Clock,
    ahead: intake::Ahead,
    batch_ahead: batch::Ahead,
    /// Per shard, the batch that this turn's commands for it go into.
    filling: Vec<Option<Box<Batch>>>,
    #[allow(clippy::vec_box, reason = "batches travel in their boxes")]
    spare_batches: Vec<Box<Batch>>,
    /// Messages to post, in order, with their receivers.
    outgoing: Vec<(ShardId, Message)>,
    /// Batches of this core that have not come back.
    batches_away: usize,
    /// Commands of the client whose requests are being read that are split and not sent yet.
    open_split: Option<u32>,
    /// Sessions with output to send, each once.
    dirty: Vec<SessionKey>,
    /// Those among them that only hear of what others have done, and are sent it behind the others: whoever publishes can
    /// go on while its subscribers are told, and what it publishes meanwhile reaches them together.
    told: Vec<SessionKey>,
    closing: Vec<SessionKey>,
    /// Sessions that are closed when they have their replies, and depart before the last of these is sent.
    departing: Vec<SessionKey>,
    /// Sessions whose next command waits for the end of a pause.
    paused: Vec<SessionKey>,
    /// How many sessions a pause holds back.
    held_back: usize,
    /// Requests to every core whose own part is still to be run here.
    own_parts: VecDeque<(Ticket, Arc<dyn EveryCore>)>,
    /// Sessions that may go on with what they have sent.
    resumable: Vec<SessionKey>,
    /// Output buffers to use again.
    spare_buffers: Vec<Vec<u8>>,
    /// The databases used since their counters were published.
    touched: Vec<u16>,
    stall: Option<Duration>,
    /// The last number given to something that is under way to other shards.
    flights: u64,
    watching: AHashMap<u64, Watching>,
    /// This shard's parts of WATCH requests: their numbers, clients and keys.
    own_watches: Vec<(u64, u64, Vec<WatchedKey>)>,
    executing: AHashMap<u64, Executing>,
    assemblies: AHashMap<u64, Assembly>,
    /// Queues of transactions to use again.
    spare_queues: Vec<Queue>,
}

impl Engine {
    /// The engine of core `core` of a node; `seed` decides its random numbers.
    pub fn new(core: ShardId, node: Arc<Node>, seed: u64, now: Millis) -> Self {
        let config = node.config();
        let shards = node.metrics.len();
        let shard = Shard::new(core, config.databases);
        let clients_bytes_max = config.clients_bytes_max();
        let mut engine = Self {
            core,
            router: Router::new(u16::try_from(shards).expect("at most SHARDS_MAX shards")),
            config_version: node.config_version(),
            shard,
            config,
            table: table(),
            sessions: Sessions::default(),
            clients: ClientMemory::default(),
            clients_bytes_max,
            operations: Operations::default(),
            locks: Locks::default(),
            parked: Lines::default(),
            released: VecDeque::new(),
            unlocking: false,
            blocking: Blocking::default(),
            stages: staging::Stages::default(),
            lending: VecDeque::new(),
            late: (0..shards).map(|_| None).collect(),
            exchange: pubsub::Exchange::new(core, shards, node.interest.clone()),
            node,
            trackers: tracking::Trackers::new(shards),
            random: Random::new(seed),
            now,
            memory: memory::Memory::new(shards),
            loading: false,
            refuses: false,
            log_errno: 0,
            slow_nanoseconds: u64::MAX,
            attention_nanoseconds: u64::MAX,
            monitors: Monitors::new(shards),
            cuts: Vec::new(),
            next_cron_ms: now,
            next_second_ms: now + 1000,
            clock: quanta::Clock::new(),
            ahead: intake::Ahead::default(),
            batch_ahead: batch::Ahead::default(),
            filling: (0..shards).map(|_| None).collect(),
            spare_batches: Vec::new(),
            outgoing: Vec::new(),
            batches_away: 0,
            open_split: None,
            dirty: Vec::new(),
            told: Vec::new(),
            closing: Vec::new(),
            departing: Vec::new(),
            paused: Vec::new(),
            held_back: 0,
            own_parts: VecDeque::new(),
            resumable: Vec::new(),
            spare_buffers: Vec::new(),
            touched: Vec::new(),
            stall: None,
            flights: 0,
            watching: AHashMap::new(),
            own_watches: Vec::new(),
            executing: AHashMap::new(),
            assemblies: AHashMap::new(),
            spare_queues: Vec::new(),
        };
        engine.apply_to_shard();
        engine.update_wanted();
        engine.update_attention();
        engine
    }

    /// Makes the shard work by the configuration.
    fn apply_to_shard(&mut self) {
        self.shard.set_lazy_free(self.config.lazy_free);
        self.shard.databases.iter_mut().for_each(|db| db.set_eviction(&self.config.eviction));
    }

    /// This core's counters.
    pub fn metrics(&self) -> &CoreMetrics {
        &self.node.metrics[self.core.index()]
    }

    /// What this shard's log makes known to everybody.
    pub fn shard_log(&self) -> &ShardLog {
        &self.node.persistence.shards[self.core.index()]
    }

    /// All shards but this one.
    fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let own = self.core;
        self.router.all().filter(move |shard| *shard != own)
    }

    /// What all cores share.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The directives as this core knows them.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Which core this is.
    pub fn core(&self) -> ShardId {
        self.core
    }

    /// Whether a monitor on some core sees what this core's clients do.
    pub fn is_monitored(&self) -> bool {
        self.monitors.any()
    }

    /// How many clients watch keys of this core's shard.
    pub fn watching_clients(&self) -> usize {
        self.shard.watch.clients()
    }

    /// Begins a turn at `now`: all that follows until the next turn happens at that time.
    pub fn begin_turn(&mut self, now: Millis) {
        self.now = now;
        self.refresh_config();
        self.follow_pause();
        self.follow_broadcasts();
        self.begin_memory_turn();
        if self.shard.log.wanted {
            self.look_at_log();
        }
        if self.refuses {
            self.refuses = self.node.persistence.loading.active.load(Acquire);
        }
        if now >= self.next_cron_ms {
            self.cron();
        }
        if !self.paused.is_empty() {
            self.end_pause();
        }
        self.end_overdue_waits();
    }

    /// Fetches the directives if they have changed; whether they have.
    #[inline]
    fn refresh_config(&mut self) -> bool {
        let changed = self.node.config_version() != self.config_version;
        if changed {
            self.config_version = self.node.config_version();
            self.config = self.node.config();
            self.take_clients_limit();
            self.update_wanted();
            self.update_attention();
            self.apply_to_shard();
        }
        changed
    }

    /// Adds a client.
    pub fn connect(&mut self, identity: Identity, unix_socket: bool) -> SessionKey {
        let mut session = Session::new(self.node.next_client_id(), identity, self.now);
        session.flags.set(SessionFlags::UNIX_SOCKET, unix_socket);
        acl::begin(&mut session, &self.config);
        let id = session.id;
        let key = self.sessions.insert(session);
        self.metrics().connections_received.add(1);
        self.arrive(id, key);
        key
    }

    /// A client's connection is closed.
    pub fn disconnect(&mut self, key: SessionKey) {
        let Some(mut session) = self.sessions.take(key) else { return };
        self.depart(&mut session, key);
        session.output.clear();
        let done = session.pending.is_empty();
        session.flags.insert(SessionFlags::ZOMBIE);
        self.recount_client(&mut session);
        (session.input, session.input_used) = (Vec::new(), 0);
        self.sessions.put_back(key, session);
        if done {
            self.sessions.remove(key);
        }
    }

    /// A client will send nothing more, but may still be waiting for replies: it is closed when it has them.
    pub fn end_of_input(&mut self, key: SessionKey) {
        let Some(mut session) = self.sessions.take(key) else { return };
        session.flags.insert(SessionFlags::INPUT_ENDED);
        // As in Redis, a client that waits in a blocking command is gone when it closes its side.
        self.leave(&mut session, key);
        self.close_at_end_of_input(&mut session);
        self.mark_dirty(&mut session, key);
        self.sessions.put_back(key, session);
    }

    /// Takes a message from another core.
    pub fn message(&mut self, message: Message) {
        // What came behind the answer to CLIENT TRACKING may run in a turn that began before it.
        self.follow_broadcasts();
        match message {
            Message::Requests(batch) => self.run_batch(batch),
            Message::Replies(batch) => self.take_replies(batch),
            Message::Late(batch) => self.take_late_replies(batch),
            Message::RunParts(parts) => self.run_parts(parts),
            Message::PartsRun(parts) => self.take_parts(*parts),
            Message::Lock { from, ticket, id, locks, patient } => {
                self.ask(id, locks, patient, Waiter::Lock { from, ticket });
            }
            Message::Locked { ticket, granted } => self.locked(ticket, granted),
            Message::Unlock { id } => self.unlock(id),
            Message::Cut { from, ticket, cut } => {
                self.cut(cut);
                self.post(from, Message::HasCut { ticket });
            }
            Message::HasCut { ticket } => self.has_cut(ticket),
            Message::Lend { from, ticket, id, locks, patient, keys, watcher } => {
                self.ask(id, locks, patient, Waiter::Lend { from, ticket, keys, watcher });
            }
            Message::Lent { ticket, loan } => self.lent(ticket, loan),
            Message::Borrow { from, ticket, logged, keys } => {
                logged.into_iter().for_each(|id| self.shard.log.collect(id));
                let loan = self.lend(&keys, None);
                self.post(from, Message::Lent { ticket, loan: Some(loan) });
            }
            Message::Stage { from, ticket, id, stamp, states } => self.begin_stage(from, ticket, id, stamp, states),
            Message::Staged { ticket, payload } => self.staged(ticket, &payload),
            Message::Store { from, ticket, id, keep, mut states, effects, transaction, caller, waiting } => {
                states.append(&mut self.take_stage(id));
                self.store(states, effects, transaction.as_deref(), caller, waiting);
                if let Some(ticket) = ticket {
                    self.post(from, Message::Stored { ticket, lost: false });
                }
                if !keep {
                    self.unlock(id);
                }
            }
            Message::Stored { ticket, lost } => {
                let index = ticket.operation().expect("only operations store");
                self.operations.get_mut(index).lost |= lost;
                self.stored(index);
            }
            Message::Served { by, ticket, reply } => self.served(by, ticket, reply),
            Message::Ready(registration) => self.try_again(*registration),
            Message::Tried { id } => self.after_try(id),
            Message::Forget { id } => self.forget(id),
            Message::GiveBack { from, bytes } => self.give_back(from, bytes),
            Message::GivenBack { by } => self.given_back(by),
            Message::EvictClients => self.look_at_clients(),
            Message::ConfigChanged => self.hear_of_config(),
            Message::Every { from, ticket, request } => {
                let part = self.run_part(&*request);
                self.post(from, Message::Part { ticket, part });
            }
            Message::Part { ticket, part } => self.take_part(ticket, part),
            Message::Notes(notes) => self.take_notes(notes),
            Message::Watch { from, id, client, keys } => self.watch_or_park(from, id, client, keys),
            Message::Watching { id } => self.watching(id),
            Message::Unwatch { client } => self.unwatch_here(client),
            Message::Execute { from, id, execution } => self.execute_or_park(from, id, execution),
            Message::Executed { id, execution } => self.executed(id, execution),
            Message::Publish { from, publications } => self.take_publications(from, publications),
            Message::Published(counts) => self.published(&counts),
            Message::Slow(list) => list.into_iter().for_each(|slow| self.take_slow(slow)),
            Message::Monitored { lines } => self.take_lines(lines.as_deref()),
            Message::MonitorLeft { from } => self.monitor_left(from),
        }
        self.run_own_parts();
    }

    /// Ends a turn: closes the batches that were filled, publishes counters.
    pub fn end_turn(&mut self) {
        self.end_log_waits();
        self.step_stages();
        self.step_lending();
        self.end_parked_turn();
        self.resume_sessions();
        self.try_asked();
        self.end_departing();
        for index in 0..self.filling.len() {
            if let Some(batch) = self.filling[index].take() {
                self.batches_away += 1;
                self.metrics().batches_sent.add(1);
                self.outgoing.push((ShardId(index as u16), Message::Requests(batch)));
            }
            if let Some(batch) = self.late[index].take() {
                self.outgoing.push((ShardId(index as u16), Message::Late(batch)));
            }
        }
        self.end_memory_turn();
        self.post_exchange();
        self.post_notes();
        self.pass_on_lines();
        self.publish_databases();
        self.count_dirty_clients();
        self.evict_clients();
    }

    /// The messages to post since the last call, in order, into `messages`.
    pub fn take_outgoing(&mut self, messages: &mut impl Extend<(ShardId, Message)>) {
        messages.extend(self.outgoing.drain(..));
    }

    /// Whether replies from other cores are on their way.
    pub fn awaits_replies(&self) -> bool {
        self.batches_away > 0 || self.exchange.awaits_others()
    }

    /// Whether no transaction is under way that this core coordinates or takes part in, and nothing waits for one.
    pub fn is_settled(&self) -> bool {
        self.operations.is_empty() && self.locks.is_empty() && self.parked.is_empty()
    }

    /// Sessions with output to send, each once, in the order in which they should be sent it.
    pub fn take_dirty(&mut self, keys: &mut Vec<SessionKey>) {
        for key in self.dirty.drain(..).chain(self.told.drain(..)) {
            if let Some(session) = self.sessions.get_mut(key) {
                session.flags.remove(SessionFlags::DIRTY);
                keys.push(key);
            }
        }
    }

    /// Sessions whose connections are to be closed at once.
    pub fn take_closing(&mut self, keys: &mut Vec<SessionKey>) {
        for key in self.closing.drain(..) {
            // The key may have found a new owner in the same turn.
            let session = self.sessions.get_mut(key);
            if session.is_some_and(|session| session.flags.contains(SessionFlags::CLOSING)) {
                keys.push(key);
            }
        }
    }

    /// The clock of the command statistics, raw.
    pub fn clock_raw(&self) -> u64 {
        self.clock.raw()
    }

    /// Counts a turn that began at `started` and had something to do.
    pub fn count_turn(&self, started: u64) {
        let busy = self.clock.delta_as_nanos(started, self.clock.raw());
        self.metrics().turns.add(1);
        self.metrics().busy_nanoseconds.add(busy);
    }

    /// How long the whole core has to stand still now, if it has to.
    pub fn take_stall(&mut self) -> Option<Duration> {
        self.stall.take()
    }

    /// A session, for the runtime to move its output.
    pub fn session_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.sessions.get_mut(key)
    }

    /// All sessions' keys.
    pub fn session_keys(&mut self) -> Vec<SessionKey> {
        self.sessions.iter_mut().map(|(key, _)| key).collect()
    }

    /// Sessions with replies that are there and wait for others before them.
    pub fn sessions_with_held_replies(&mut self) -> Vec<SessionKey> {
        let held = |session: &Session| session.pending.len() > session.pending.waiting();
        self.sessions.iter_mut().filter(|(_, session)| held(session)).map(|(key, _)| key).collect()
    }

    /// Gives back the memory of output that has been sent.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        let small = buffer.capacity() <= limits::SPARE_BUFFER_BYTES_MAX;
        if small && buffer.capacity() > 0 && self.spare_buffers.len() < limits::SPARE_BUFFERS_MAX {
            buffer.clear();
            self.spare_buffers.push(buffer);
        }
    }

    fn mark_dirty(&mut self, session: &mut Session, key: SessionKey) {
        self.release_held(session, key);
        if session.output.is_empty() && session.output.bytes.capacity() > 0 {
            let buffer = std::mem::take(&mut session.output.bytes);
            self.recycle(buffer);
        }
        let ends = session.flags.contains(SessionFlags::CLOSE_AFTER_REPLY);
        if ends {
            self.departing.push(key);
        }
        if (ends || !session.output.is_empty()) && !session.flags.intersects(SessionFlags::DIRTY | SessionFlags::ZOMBIE)
        {
            session.flags.insert(SessionFlags::DIRTY);
            self.dirty.push(key);
        }
    }

    /// Lets sessions go on whose wait is over.
    fn resume_sessions(&mut self) {
        while let Some(key) = self.resumable.pop() {
            let Some(mut session) = self.sessions.take(key) else { continue };
            // A key may stand here twice, or have found a new owner: only a session that waits for nothing goes on.
            let gone = session.flags.intersects(SessionFlags::GONE);
            if !gone && session.flags.contains(SessionFlags::STALLED) && session.pending.is_empty() {
                session.flags.remove(SessionFlags::STALLED);
                self.hold_back(&mut session, false);
                self.continue_session(&mut session, key);
            }
            self.sessions.put_back(key, session);
            self.run_own_parts();
        }
    }

    /// Runs this core's part of requests to every core. Their sessions are in the registry again.
    fn run_own_parts(&mut self) {
        self.run_own_watches();
        while let Some((ticket, request)) = self.own_parts.pop_front() {
            let started = self.clock.raw();
            let part = self.run_part(&*request);
            // The core will stand still for them, too.
            let stall = self.stall.map_or(0, |stall| stall.as_nanos() as u64);
            self.note_slow_part(self.core, ticket, self.nanoseconds_since(started) + stall);
            self.take_part(ticket, part);
        }
    }

    fn run_part(&mut self, request: &dyn EveryCore) -> Box<dyn Any + Send> {
        let mut view = CoreView {
            core: self.core,
            sessions: &mut self.sessions,
            shard: &mut self.shard,
            pubsub: &self.exchange.registry,
            monitors: &mut self.monitors.on,
            metrics: &self.node.metrics[self.core.index()],
            now: self.now,
            stall: Duration::ZERO,
        };
        let part = request.run(&mut view);
        if !view.stall.is_zero() {
            self.stall = Some(view.stall);
        }
        self.sweep_closed();
        self.update_wanted();
        self.update_attention();
        part
    }

    /// Finds the sessions that a request to every core wants closed or wait no more.
    fn sweep_closed(&mut self) {
        let (mut unblocked, mut closed) = (Vec::new(), Vec::new());
        for (key, session) in self.sessions.iter_mut() {
            if session.blocked.is_some() {
                unblocked.push(key);
            }
            let is_over = session.flags.intersects(SessionFlags::ZOMBIE | SessionFlags::CLOSING);
            if session.flags.contains(SessionFlags::CLOSE_NOW) && !is_over {
                closed.push(key);
            }
        }
        closed.into_iter().for_each(|key| self.hang_up(key));
        unblocked.into_iter().for_each(|key| self.end_unblocked(key));
    }
}
