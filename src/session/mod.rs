//! One client's state: what it has chosen (database, protocol, name), what it has sent and not yet been answered, and
//! what waits to be sent to it. No sockets: the runtime moves the bytes.

mod blocked;
mod directory;
mod memory;
pub mod pending;
pub mod registry;
pub mod subscriptions;
pub mod tracking;
pub mod transaction;

pub use blocked::{Blocked, Unblock};
pub use directory::Directory;
pub use pending::Pending;
pub use registry::{SessionKey, Sessions};
pub use subscriptions::Subscriptions;
pub use tracking::Tracking;
pub use transaction::{Queue, Transaction};

use crate::resp::parser::RequestParser;
use crate::resp::{Output, Protocol};
use crate::shard::Millis;
use bitflags::bitflags;

bitflags! {
    /// A session's switches.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SessionFlags: u32 {
        /// Close it once what waits to be sent is sent.
        const CLOSE_AFTER_REPLY = 1 << 0;
        /// Close it now; what waits to be sent is lost.
        const CLOSE_NOW = 1 << 1;
        /// CLIENT REPLY OFF.
        const REPLY_OFF = 1 << 2;
        /// CLIENT REPLY SKIP was this command: the next one has no reply.
        const REPLY_SKIP_NEXT = 1 << 3;
        /// This command has no reply.
        const REPLY_SKIP = 1 << 4;
        /// CLIENT NO-EVICT.
        const NO_EVICT = 1 << 5;
        /// CLIENT NO-TOUCH.
        const NO_TOUCH = 1 << 6;
        /// Came through the unix socket.
        const UNIX_SOCKET = 1 << 7;
        /// Waits for a command that must finish before the next may start.
        const STALLED = 1 << 8;
        /// Stands in its core's list of sessions with something to send.
        const DIRTY = 1 << 9;
        /// Its connection is gone; it stays until the last reply it waits for is there.
        const ZOMBIE = 1 << 10;
        /// Stands in its core's list of sessions to close.
        const CLOSING = 1 << 11;
        /// Its connection is reset rather than closed: the client may be stuck in sending or not reading at all.
        const RESET = 1 << 12;
        /// The client will send nothing more; what it has sent is still run.
        const INPUT_ENDED = 1 << 13;
        /// Between MULTI and the end of its transaction.
        const MULTI = 1 << 14;
        /// Has subscriptions.
        const SUBSCRIBED = 1 << 15;
        /// Pieces of its reply to EXEC are awaited: messages leave behind that.
        const ASSEMBLING = 1 << 16;
        /// Tracks keys.
        const TRACKING = 1 << 20;
        /// The client that should hear what it tracks has gone.
        const TRACKING_BROKEN = 1 << 21;
        /// It tracks keys with certain prefixes.
        const TRACKING_PREFIXES = 1 << 22;
        /// Has not logged in. While there is no password it may do everything nevertheless.
        const UNAUTHENTICATED = 1 << 23;
        /// Sees every command (MONITOR).
        const MONITOR = 1 << 24;
        /// Its next command is held back by CLIENT PAUSE.
        const PAUSED = 1 << 25;
        /// Has left all registries and counters: whoever is told that it is gone does not meet it again.
        const DEPARTED = 1 << 26;

        /// Its connection is gone, or is going at once.
        const GONE = Self::ZOMBIE.bits() | Self::CLOSE_NOW.bits();
        /// Nothing that it sends is run any more, and no message is for it.
        const ENDING = Self::GONE.bits() | Self::CLOSE_AFTER_REPLY.bits();
    }
}

/// What a client told about itself and where it comes from; rarely touched.
#[derive(Debug, Default)]
pub struct Identity {
    /// Its address, `ip:port`, `[ip]:port`, or `path:0` for a unix socket.
    pub address: String,
    /// The address it connected to.
    pub local_address: String,
    /// Its socket.
    pub fd: i32,
    /// CLIENT SETNAME; empty: none.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME; empty: none.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER; empty: none.
    pub lib_version: Vec<u8>,
}

/// One client's state.
pub struct Session {
    /// The client's id, unique on this server and ascending.
    pub id: u64,
    /// The selected database.
    pub database: u16,
    /// The protocol version it speaks.
    pub protocol: Protocol,
    /// Switches.
    pub flags: SessionFlags,
    /// Number of the command it ran last in the command table, plus one; 0: none yet.
    pub last_command: u16,
    /// Bytes received that are not a whole request yet, or wait because the session is stalled.
    pub input: Vec<u8>,
    /// Bytes at the start of `input` that are done with.
    pub input_used: usize,
    /// How far the rest of `input` has been understood.
    pub parser: RequestParser,
    /// Replies that wait to be sent.
    pub output: Output,
    /// Requests whose replies are not there yet, and replies that wait for them.
    pub pending: Pending,
    /// PUBLISH commands among those requests.
    pub publishing: u32,
    /// What it is subscribed to.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// What it waits for in a blocking command.
    pub blocked: Option<Box<Blocked>>,
    /// What it tracks.
    pub tracking: Option<Box<Tracking>>,
    /// Prefixes that it tracks, or tracks no more, since the engine took notice; in order.
    pub prefix_changes: Vec<(Box<[u8]>, bool)>,
    /// When it connected.
    pub connected_ms: Millis,
    /// When it sent something last.
    pub active_ms: Millis,
    /// Since when its output is above the soft limit; 0: it is not.
    pub over_soft_limit_ms: Millis,
    /// Bytes handed to the network that are not sent yet.
    pub sending_bytes: usize,
    /// What it took of memory when that was counted last.
    pub counted_bytes: usize,
    /// Bytes received since it connected.
    pub input_bytes: u64,
    /// Bytes of the requests that `pending` waits for, and of those answered since it was last empty.
    pub away_bytes: usize,
    /// Bytes sent since it connected.
    pub output_bytes: u64,
    /// Commands since it connected.
    pub commands: u64,
    /// Who it is.
    pub identity: Box<Identity>,
    /// What it has begun with MULTI or WATCH.
    pub transaction: Option<Box<Transaction>>,
}

impl Session {
    /// A session that has just connected.
    pub fn new(id: u64, identity: Identity, now: Millis) -> Self {
        Self {
            id,
            database: 0,
            protocol: Protocol::Resp2,
            flags: SessionFlags::empty(),
            last_command: 0,
            input: Vec::new(),
            input_used: 0,
            parser: RequestParser::default(),
            output: Output::default(),
            pending: Pending::default(),
            publishing: 0,
            subscriptions: None,
            blocked: None,
            tracking: None,
            prefix_changes: Vec::new(),
            connected_ms: now,
            active_ms: now,
            over_soft_limit_ms: 0,
            sending_bytes: 0,
            counted_bytes: 0,
            input_bytes: 0,
            away_bytes: 0,
            output_bytes: 0,
            commands: 0,
            identity: Box::new(identity),
            transaction: None,
        }
    }

    /// Ends its tracking of keys.
    pub fn end_tracking(&mut self) {
        if let Some(tracking) = self.tracking.take() {
            self.prefix_changes.extend(tracking.prefixes.into_iter().map(|prefix| (prefix, false)));
        }
        self.flags.remove(SessionFlags::TRACKING | SessionFlags::TRACKING_BROKEN | SessionFlags::TRACKING_PREFIXES);
    }

    /// Whether the client is on this machine: it came through the Unix socket or from one of the loopback addresses that
    /// Redis knows, 127.0.0.1 and ::1.
    pub fn is_local(&self) -> bool {
        let host = self.identity.address.rsplit_once(':').map_or("", |(host, _)| host);
        self.flags.contains(SessionFlags::UNIX_SOCKET) || host == "127.0.0.1" || host == "[::1]"
    }

    /// Ends a transaction without its watches, which shards know of.
    pub fn discard(&mut self) {
        self.flags.remove(SessionFlags::MULTI);
        if let Some(transaction) = &mut self.transaction {
            transaction.queue.clear();
            (transaction.queued, transaction.aborted) = (0, false);
        }
    }

    /// Where messages to it are written.
    pub fn message_output(&mut self) -> &mut Output {
        match self.transaction.as_deref_mut() {
            Some(transaction) if self.flags.contains(SessionFlags::ASSEMBLING) => &mut transaction.later,
            _ => &mut self.output,
        }
    }

    /// The reply to EXEC is complete: the messages that leave behind it.
    pub fn end_assembling(&mut self) -> Output {
        self.flags.remove(SessionFlags::ASSEMBLING);
        self.transaction.as_deref_mut().map(|transaction| std::mem::take(&mut transaction.later)).unwrap_or_default()
    }

    /// Bytes of messages that leave behind a reply to EXEC.
    pub fn later_bytes(&self) -> usize {
        self.transaction.as_deref().map_or(0, |transaction| transaction.later.len())
    }

    /// Whether its replies are dropped.
    pub fn is_silent(&self) -> bool {
        self.flags.intersects(SessionFlags::REPLY_OFF | SessionFlags::REPLY_SKIP)
    }

    /// Adds a reply behind all those that are still awaited.
    pub fn append_reply(&mut self, reply: Output) {
        if self.pending.is_empty() {
            crate::resp::Reply::new(&mut self.output, self.protocol).append(reply);
        } else {
            let number = self.pending.expect();
            self.pending.complete(number, &reply.bytes, reply.pins, &mut self.output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, Session, SessionFlags};

    #[test]
    fn local_clients_are_those_that_redis_takes_for_local() {
        let session = |address: &str| Session::new(1, Identity { address: address.into(), ..Default::default() }, 0);
        for (address, local) in
            [("127.0.0.1:5", true), ("[::1]:5", true), ("127.0.0.2:5", false), ("10.0.0.1:5", false), ("", false)]
        {
            assert_eq!(session(address).is_local(), local, "{address}");
        }
        let mut through_socket = session("/run/crimson.sock:0");
        through_socket.flags.insert(SessionFlags::UNIX_SOCKET);
        assert!(through_socket.is_local());
    }
}
