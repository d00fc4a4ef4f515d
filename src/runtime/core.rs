//! One core's loop. A turn: submit and reap, drain the mailbox, run what clients and cores have sent, post and send what
//! came of it.
//!
//! A core with nothing to do sleeps in two steps. First it waits inside its own network ring, for a short while: the
//! cheapest sleep to be woken from. Then it parks in glommio, reading an event descriptor that completions and other
//! cores signal: the sleep for long, which a timer of the ring ends when the regular work is due.

mod load;
mod log;

use super::connection::Connection;
use super::loading::Loader;
use super::log::{Base, Log};
use super::mailbox::{Mail, Mailbox};
use super::patience::Patience;
use super::ring::{Completion, Ring, Token};
use super::{CorePlan, Listener, ListenerKind, socket};
use crate::commands::Node;
use crate::engine::Engine;
use crate::engine::message::Message;
use crate::limits::{ACCEPTS_PER_TURN_MAX, MAIL_PER_TURN_MAX, MAIL_REQUEST_BYTES_PER_TURN_MAX};
use crate::session::{Identity, SessionFlags, SessionKey};
use crate::shard::{Millis, ShardId};
use glommio::io::BufferedFile;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a core waits inside its ring before it parks. Longer than a tick of the kernel's clock: a nearer end would
/// have the clock programmed for every short sleep, which costs more than the sleep.
const WAIT_IN_RING: Duration = Duration::from_millis(10);

/// How long a core that loads and waits for something waits inside its ring. It never parks, and nobody wakes it.
const WAIT_WHILE_LOADING: Duration = Duration::from_millis(1);

/// How long a core that stops goes on sending what its clients have been answered.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// How long a listener rests when accepting has failed, in milliseconds.
const ACCEPT_PAUSE_MS: Millis = 100;

/// A core that has this many connections more than the emptiest one, and a quarter more, hands new ones over.
const HANDOVER_MARGIN: u64 = 8;

/// One core.
pub(super) struct Core {
    engine: Engine,
    ring: Ring,
    mailbox: Mailbox,
    listeners: Vec<Listener>,
    /// By session key.
    connections: Vec<Option<Connection>>,
    completions: VecDeque<Completion>,
    patience: Patience,
    /// The append-only log, if there is one.
    log: Option<Log>,
    /// The base of a rewrite, while one is under way.
    base: Option<Base>,
    /// Whether there is more to do at once: a snapshot or stage goes on, memory is given back, a client has gone.
    walks: bool,
    /// Whether a connection has been given up: the other cores have yet to hear of it.
    gave_up: bool,
    /// Sessions that have been answered, but not sent it, while the log was behind.
    late: Vec<SessionKey>,
    /// The loading of the data, while it goes on.
    loader: Option<Loader>,
    /// Whether it was parked right before.
    woken: bool,
    /// Whether connections are accepted yet.
    accepting: bool,
    /// Whether the server ends: what clients send from then on is not read.
    ending: bool,
    stop: Arc<AtomicBool>,
    config_version: u64,
    /// Listeners whose accepting has failed.
    refused: Vec<u32>,
    /// When they are tried again.
    accept_again_ms: Millis,
    /// When it had something to do last.
    busy_ms: Millis,
    /// When the ring's timer is to wake this core; in the past: there is none.
    timer_ms: Millis,
    keys: Vec<SessionKey>,
    outgoing: Vec<(ShardId, crate::engine::message::Message)>,
}

impl Core {
    /// A core that is ready to run; to be made on its own thread.
    pub fn new(node: Arc<Node>, plan: CorePlan, mailbox: Mailbox, stop: Arc<AtomicBool>) -> io::Result<Self> {
        let ring = Ring::new(mailbox.event().as_fd())?;
        mailbox.announce_ring(ring.descriptor());
        let seed = std::hash::BuildHasher::hash_one(&ahash::RandomState::new(), plan.shard.0);
        let mut engine = Engine::new(plan.shard, node, seed, socket::now_ms());
        engine.count_thread_bytes();
        let loader = plan.loading.map(|part| Loader::new(plan.shard, part));
        if loader.is_some() {
            engine.begin_loading();
        }
        let mut core = Self {
            engine,
            ring,
            mailbox,
            listeners: plan.listeners,
            connections: Vec::new(),
            completions: VecDeque::new(),
            patience: Patience::new(plan.looks),
            log: None,
            base: None,
            walks: false,
            gave_up: false,
            late: Vec::new(),
            loader,
            woken: false,
            accepting: false,
            ending: false,
            stop,
            config_version: 0,
            refused: Vec::new(),
            accept_again_ms: 0,
            busy_ms: 0,
            timer_ms: 0,
            keys: Vec::new(),
            outgoing: Vec::new(),
        };
        if core.loader.is_none() {
            core.accept_all();
        }
        core.ring.turn()?;
        Ok(core)
    }

    /// Serves until it is told to stop.
    pub async fn run(&mut self) -> io::Result<()> {
        let event = self.mailbox.event().try_clone()?;
        let event = as_file(event);
        while !self.stop.load(Ordering::Relaxed) {
            if !self.turn()? {
                self.park(&event).await?;
            }
        }
        let ended = self.finish();
        event.close().await.map_err(|error| io::Error::other(error.to_string()))?;
        ended
    }

    /// One turn; whether there was anything to do. One system call submits, waits a moment where there is nothing to
    /// do, and reaps.
    fn turn(&mut self) -> io::Result<bool> {
        self.enter_ring()?;
        let started = self.engine.clock_raw();
        self.engine.metrics().heartbeats.add(1);
        self.ring.reap(&mut self.completions);
        let now = socket::now_ms();
        self.engine.begin_turn(now);
        self.accept_again(now);
        self.refresh_config();
        if self.mailbox.owner() == ShardId(0)
            && let Some(cut) = self.engine.node().take_cut()
        {
            self.engine.start_cut(cut);
        }
        let mail = self.take_mail();
        let events = self.take_completions();
        let loads = self.load(now);
        self.engine.end_turn();
        // Before anything is answered, so that the client that asked for it waits too.
        let stall = self.engine.take_stall();
        self.make_cuts(now);
        self.keep_log(now);
        self.engine.set_log_goals();
        // Before anybody is told that these clients are gone.
        self.close_marked();
        self.let_out(stall);
        let walks = self.keep_base(now);
        self.close_marked();
        self.ring.buffers.publish();
        let busy = mail || events || loads;
        if busy {
            self.busy_ms = now;
            self.engine.count_turn(started);
        }
        let engine = &self.engine;
        let again = walks || std::mem::take(&mut self.gave_up);
        self.walks = again || engine.gives_memory_back() || engine.has_more_to_write() || engine.has_parked_ready();
        Ok(busy || self.walks)
    }

    /// Submits what the last turn has to send and has completions ready to be reaped; with nothing to do, looks for work
    /// for a moment if that pays, and then waits.
    fn enter_ring(&mut self) -> io::Result<()> {
        let loads = self.loader.as_ref().is_some_and(Loader::is_ready);
        // Whoever has woken a core that was parked has something for it.
        let woken = std::mem::take(&mut self.woken);
        if self.walks || loads || woken || !self.completions.is_empty() {
            return self.ring.turn();
        }
        if self.loader.is_some() {
            return self.ring.turn_and_wait(WAIT_WHILE_LOADING);
        }
        if !self.engine.awaits_replies() && self.patience.pays() {
            self.ring.turn()?;
            let (ring, mailbox) = (&mut self.ring, &self.mailbox);
            if ring.has_news() || self.patience.look(|| ring.has_events() || mailbox.has_mail()) {
                return if self.ring.has_events() { self.ring.turn() } else { Ok(()) };
            }
        }
        if self.mailbox.prepare_sleep() {
            self.ring.turn_and_wait(self.wait_in_ring())?;
        } else {
            self.ring.turn()?;
        }
        self.mailbox.awake();
        Ok(())
    }

    /// How long this core may wait inside its ring: until somebody's wait ends, if that is soon.
    fn wait_in_ring(&self) -> Duration {
        let Some(deadline) = self.engine.next_deadline() else { return WAIT_IN_RING };
        let left_ms = deadline.saturating_sub(socket::now_ms()).max(0);
        WAIT_IN_RING.min(Duration::from_millis(left_ms as u64))
    }

    /// Sees to it that this core is woken for its regular work, or earlier where a client's wait ends earlier.
    fn set_timer(&mut self) -> io::Result<()> {
        let now = socket::now_ms();
        let regular_ms = self.engine.cron_due_ms(now, self.busy_ms);
        let due_ms = self.engine.next_deadline().map_or(regular_ms, |deadline| deadline.clamp(now, regular_ms));
        if self.timer_ms > now && self.timer_ms <= due_ms {
            return Ok(());
        }
        self.timer_ms = due_ms;
        self.ring.set_timer(Duration::from_millis((due_ms - now) as u64))
    }

    /// Sleeps in glommio until a completion, among them that of the ring's timer, or another core signals.
    async fn park(&mut self, event: &BufferedFile) -> io::Result<()> {
        self.set_timer()?;
        // Who parks may sleep for long. What the log has to do is work that keeps from it, once.
        if let Some(log) = &mut self.log {
            log.submit(&mut self.ring, socket::now_ms(), false);
        }
        self.ring.signal_events(true);
        if self.mailbox.prepare_sleep() && !self.ring.has_work() && !self.stop.load(Ordering::SeqCst) {
            event.read_at(0, 8).await.map_err(|error| io::Error::other(error.to_string()))?;
        }
        self.mailbox.awake();
        self.ring.signal_events(false);
        self.woken = true;
        Ok(())
    }

    fn refresh_config(&mut self) {
        let version = self.engine.node().config_version();
        if version == self.config_version {
            return;
        }
        self.config_version = version;
        let seconds = self.engine.config().tcp_keepalive;
        for listener in self.listeners.iter().filter(|listener| listener.kind == ListenerKind::Tcp) {
            if let Err(error) = socket::set_keepalive(&listener.socket, seconds) {
                tracing::warn!(%error, "could not set tcp-keepalive");
            }
        }
    }

    fn take_mail(&mut self) -> bool {
        let (mut taken, mut request_bytes) = (0, 0);
        // Short requests may want long replies: a turn runs no more of them than it would of a client's own.
        while taken < MAIL_PER_TURN_MAX && request_bytes < MAIL_REQUEST_BYTES_PER_TURN_MAX {
            match self.mailbox.take() {
                None => break,
                Some(Mail::Engine(message)) => {
                    if let Message::Requests(batch) = &message {
                        request_bytes += batch.request_bytes();
                    }
                    self.engine.message(message);
                }
                Some(Mail::Keys(keys)) => self.adopt_keys(keys),
                Some(Mail::Connection(socket, kind)) => {
                    self.adopt(socket, kind);
                    self.mailbox.arrived();
                }
            }
            taken += 1;
        }
        taken > 0
    }

    fn take_completions(&mut self) -> bool {
        let mut accepts = 0;
        let congested = self.mailbox.is_congested() || self.engine.node().persistence.is_behind();
        let mut taken = 0;
        for _ in 0..self.completions.len() {
            let Some(completion) = self.completions.pop_front() else { break };
            match completion.token {
                // While other cores or a log cannot keep up, what clients send waits here and then in the kernel.
                Token::Receive(index) if congested || self.has_had_its_turn(index) => {
                    self.completions.push_back(completion);
                    continue;
                }
                Token::Accept(_) if accepts >= ACCEPTS_PER_TURN_MAX => {
                    self.completions.push_back(completion);
                    continue;
                }
                Token::Accept(index) => {
                    accepts += 1;
                    self.accepted(index, completion);
                }
                Token::Receive(index) => self.received(index, completion),
                Token::Send(index) => self.sent(index, completion),
                Token::Log => self.logged(completion.result),
                Token::Base => self.base_written(completion.result),
                Token::Wake => {}
                // It has woken this core, and nothing more.
                Token::Timer => continue,
            }
            taken += 1;
        }
        taken > 0
    }

    /// Whether what else a connection has sent has to wait for the next turn.
    fn has_had_its_turn(&mut self, index: u32) -> bool {
        let turn = self.engine.metrics().heartbeats.get();
        self.connections[index as usize].as_mut().is_some_and(|connection| connection.has_had_its_turn(turn))
    }

    fn accepted(&mut self, index: u32, completion: Completion) {
        let kind = self.listeners[index as usize].kind;
        if completion.result >= 0 {
            self.place(socket::adopt(completion.result), kind);
        } else {
            let error = io::Error::from_raw_os_error(-completion.result);
            tracing::warn!(%error, "could not accept a connection, trying again in a moment");
        }
        if completion.more || self.stop.load(Ordering::Relaxed) {
            return;
        }
        if completion.result >= 0 {
            self.ring.accept(self.listeners[index as usize].socket.as_raw_fd(), index);
        } else {
            // Without descriptors or memory the next try would fail as well, and the one after that.
            self.refused.push(index);
            self.accept_again_ms = socket::now_ms() + ACCEPT_PAUSE_MS;
        }
    }

    /// Listens again where accepting had failed a while ago.
    fn accept_again(&mut self, now: Millis) {
        if !self.refused.is_empty() && now >= self.accept_again_ms {
            for index in std::mem::take(&mut self.refused) {
                self.ring.accept(self.listeners[index as usize].socket.as_raw_fd(), index);
            }
        }
    }

    /// Serves a new connection here, or hands it to a core that has far fewer.
    fn place(&mut self, socket: OwnedFd, kind: ListenerKind) {
        // Those on their way count, or all of a storm would be handed to the same core.
        let clients = |core: usize| self.engine.node().metrics[core].clients.get() + self.mailbox.arriving(core);
        let own = clients(self.mailbox.owner().index());
        let emptiest = (0..self.mailbox.cores()).min_by_key(|&core| clients(core)).unwrap_or(0);
        let fewest = clients(emptiest);
        if own > fewest + HANDOVER_MARGIN.max(fewest / 4) {
            self.mailbox.hand_over(ShardId(emptiest as u16), socket, kind, |ring| self.ring.wake(ring));
        } else {
            self.adopt(socket, kind);
        }
    }

    /// Serves a connection, unless there are too many or it comes from where it must not.
    fn adopt(&mut self, socket: OwnedFd, kind: ListenerKind) {
        let node = self.engine.node().clone();
        let connections: u64 = node.metrics.iter().map(|core| core.connections.get()).sum();
        if connections >= self.engine.config().maxclients as u64 {
            self.engine.metrics().connections_rejected.add(1);
            return socket::send_now(&socket, b"-ERR max number of clients reached\r\n");
        }
        let identity = identify(&socket, kind);
        let config = self.engine.config();
        let protected = config.protected_mode && config.requirepass.is_empty();
        if protected && kind == ListenerKind::Tcp && !is_local(&socket) {
            self.engine.metrics().connections_rejected.add(1);
            return socket::send_now(&socket, PROTECTED);
        }
        let key = self.engine.connect(identity, kind == ListenerKind::Unix);
        let index = key.0 as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        debug_assert!(self.connections[index].is_none(), "a session's place is free when its key is");
        let mut connection = Connection::new(socket);
        connection.receiving = true;
        self.ring.receive(connection.socket.as_raw_fd(), key.0);
        self.connections[index] = Some(connection);
        self.engine.metrics().connections.add(1);
    }

    fn received(&mut self, index: u32, completion: Completion) {
        let Some(connection) = self.connections[index as usize].as_mut() else {
            debug_assert!(false, "a connection stays until its operations are over");
            return;
        };
        connection.receiving = completion.more;
        let closing = connection.closing;
        let key = SessionKey(index);
        if let Some(buffer) = completion.buffer {
            if !closing && !self.ending && completion.result > 0 {
                let bytes = self.ring.buffers.filled(buffer, completion.result as usize);
                self.engine.receive(key, bytes);
            }
            self.ring.buffers.give_back(buffer);
        }
        match completion.result {
            _ if closing => {}
            // The client has said all it had to say; it may still be waiting for replies.
            0 => self.engine.end_of_input(key),
            // All buffers are in use: try again when this turn has given some back.
            error if error == -libc::ENOBUFS => self.rearm(index),
            1.. if !completion.more => self.rearm(index),
            1.. => {}
            _ => self.give_up(index),
        }
        self.release_if_over(index);
    }

    fn rearm(&mut self, index: u32) {
        if let Some(connection) = self.connections[index as usize].as_mut() {
            connection.receiving = true;
            self.ring.receive(connection.socket.as_raw_fd(), index);
        }
    }

    fn sent(&mut self, index: u32, completion: Completion) {
        let Some(connection) = self.connections[index as usize].as_mut() else { return };
        let freed = connection.sent(completion.result, &mut self.ring, index);
        let (unsent, closing) = (connection.unsent_bytes(), connection.closing);
        let key = SessionKey(index);
        self.engine.sent(key, completion.result.max(0) as usize, unsent);
        if let Some(buffer) = freed {
            self.engine.recycle(buffer);
            if closing {
                self.release_if_over(index);
            } else {
                // What the session has been answered meanwhile may tell of changes of this turn, which are not logged yet.
                self.late.push(key);
            }
        }
    }

    /// Sends what sessions have been answered, or has their connections hold it: those are returned.
    fn flush(&mut self, hold: bool) -> Vec<SessionKey> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.append(&mut self.late);
        self.engine.take_dirty(&mut keys);
        for &key in &keys {
            self.flush_session(key, hold);
        }
        if hold {
            return keys;
        }
        keys.clear();
        self.keys = keys;
        Vec::new()
    }

    fn flush_session(&mut self, key: SessionKey, hold: bool) {
        let Some(connection) = self.connections.get_mut(key.0 as usize).and_then(Option::as_mut) else { return };
        let Some(session) = self.engine.session_mut(key) else { return };
        if connection.closing {
            return;
        }
        if connection.sends {
            // What is under way is finished first; until then the session's output grows, up to its limit.
            session.sending_bytes = connection.unsent_bytes();
            self.engine.admit_output(key);
        } else if !session.output.is_empty() {
            let output = std::mem::take(&mut session.output);
            session.sending_bytes = output.len();
            if hold {
                connection.hold(output);
            } else {
                connection.send(output, &mut self.ring, key.0);
            }
            self.engine.admit_output(key);
        } else if session.flags.contains(SessionFlags::CLOSE_AFTER_REPLY) && session.pending.is_empty() {
            self.give_up(key.0);
        }
    }

    fn close_marked(&mut self) {
        let mut keys = std::mem::take(&mut self.keys);
        self.engine.take_closing(&mut keys);
        for key in keys.drain(..) {
            self.give_up(key.0);
        }
        self.keys = keys;
    }

    fn give_up(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index as usize).and_then(Option::as_mut) {
            let session = self.engine.session_mut(SessionKey(index));
            if session.is_some_and(|session| session.flags.contains(SessionFlags::RESET)) {
                socket::reset_on_close(&connection.socket);
            }
            self.engine.hang_up(SessionKey(index));
            self.gave_up = true;
            connection.shut_down();
            self.release_if_over(index);
        }
    }

    /// Frees a connection's place when nothing of it is under way.
    fn release_if_over(&mut self, index: u32) {
        let slot = &mut self.connections[index as usize];
        if slot.as_ref().is_some_and(Connection::is_over) {
            *slot = None;
            let connections = &self.engine.metrics().connections;
            connections.set(connections.get() - 1);
            self.engine.disconnect(SessionKey(index));
        }
    }

    fn post_outgoing(&mut self) {
        self.mailbox.post_backlog(|ring| self.ring.wake(ring));
        let mut outgoing = std::mem::take(&mut self.outgoing);
        self.engine.take_outgoing(&mut outgoing);
        for (to, message) in outgoing.drain(..) {
            self.mailbox.post(to, Mail::Engine(message), |ring| self.ring.wake(ring));
        }
        self.outgoing = outgoing;
    }

    /// Stops: sends what is to be sent, for a moment, and closes every connection. What other cores have this one change
    /// meanwhile is logged, so the end of the log comes last.
    fn finish(&mut self) -> io::Result<()> {
        let started = Instant::now();
        self.ending = true;
        self.end_log()?;
        self.flush(false);
        while started.elapsed() < STOP_GRACE && self.connections.iter().flatten().any(|connection| connection.sends) {
            self.turn()?;
        }
        for index in 0..self.connections.len() {
            self.give_up(index as u32);
        }
        while started.elapsed() < 2 * STOP_GRACE && self.connections.iter().any(Option::is_some) {
            self.turn()?;
        }
        self.end_log()
    }
}

const PROTECTED: &[u8] =
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
is set for the default user. In this mode connections are only accepted from the loopback interface. Set a password \
(requirepass), or turn protected-mode off in a network you trust, to accept others.\r\n";

fn identify(socket: &OwnedFd, kind: ListenerKind) -> Identity {
    let name = |address: io::Result<socket2::SockAddr>| match address.ok() {
        Some(address) => match address.as_socket() {
            Some(address) => address.to_string(),
            None => address.as_pathname().map_or(String::new(), |path| format!("{}:0", path.display())),
        },
        None => String::new(),
    };
    let sock = socket2::SockRef::from(socket);
    let local_address = name(sock.local_addr());
    let address = match kind {
        ListenerKind::Tcp => name(sock.peer_addr()),
        ListenerKind::Unix => local_address.clone(),
    };
    Identity { address, local_address, fd: socket.as_raw_fd(), ..Identity::default() }
}

fn is_local(socket: &OwnedFd) -> bool {
    let peer = socket2::SockRef::from(socket).peer_addr().ok().and_then(|address| address.as_socket());
    peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback())
}

/// The event descriptor as a file that glommio reads.
#[allow(unsafe_code)]
fn as_file(event: OwnedFd) -> BufferedFile {
    // SAFETY: the descriptor is owned and handed over.
    unsafe { BufferedFile::from_raw_fd(event.into_raw_fd()) }
}
