//! How cores reach and wake each other: a bounded channel per core, and a flag that tells whether its core sleeps.
//!
//! A core that is about to sleep raises its flag, looks at its mailbox once more, and sleeps. A sender posts first and
//! looks at the flag after. Both do so in one total order, so either the sleeper sees the message or the sender sees the
//! flag and wakes it. The sender wakes it with a message to its network ring, submitted with the sender's own next turn.

use super::ListenerKind;
use crate::engine::message::Message;
use crate::limits::MAILBOX_MESSAGES_MAX;
use crate::shard::ShardId;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// What one core sends another.
pub enum Mail {
    /// From engine to engine.
    Engine(Message),
    /// A connection that the receiver takes over.
    Connection(OwnedFd, ListenerKind),
}

/// The senders' side of one core.
struct Peer {
    sender: Sender<Mail>,
    asleep: AtomicBool,
    /// The core's network ring; -1 until it is there.
    ring: AtomicI32,
    /// Wakes the core when it is parked.
    event: OwnedFd,
}

/// Every core's mailbox, as its senders see it.
pub struct Hub {
    peers: Vec<Peer>,
}

/// One core's mailbox, as its owner sees it.
pub struct Mailbox {
    owner: ShardId,
    receiver: Receiver<Mail>,
    hub: Arc<Hub>,
}

/// A mailbox for each of `cores` cores.
pub fn connect(cores: usize) -> io::Result<(Arc<Hub>, Vec<Mailbox>)> {
    let mut peers = Vec::new();
    let mut receivers = Vec::new();
    for _ in 0..cores {
        let (sender, receiver) = bounded(MAILBOX_MESSAGES_MAX);
        let event = super::socket::eventfd()?;
        peers.push(Peer { sender, asleep: AtomicBool::new(false), ring: AtomicI32::new(-1), event });
        receivers.push(receiver);
    }
    let hub = Arc::new(Hub { peers });
    let mailbox = |(index, receiver)| Mailbox { owner: ShardId(index as u16), receiver, hub: hub.clone() };
    Ok((hub.clone(), receivers.into_iter().enumerate().map(mailbox).collect()))
}

impl Hub {
    /// Wakes every core, wherever it sleeps. For threads that are not cores.
    pub fn wake_all(&self) {
        for peer in &self.peers {
            super::socket::signal(&peer.event);
        }
    }
}

impl Mailbox {
    /// The descriptor that wakes this core when it is parked.
    pub fn event(&self) -> &OwnedFd {
        &self.hub.peers[self.owner.index()].event
    }

    /// Tells the others where this core's network ring is.
    pub fn announce_ring(&self, ring: RawFd) {
        self.hub.peers[self.owner.index()].ring.store(ring, Ordering::Release);
    }

    /// The next message.
    #[inline]
    pub fn take(&self) -> Option<Mail> {
        self.receiver.try_recv().ok()
    }

    /// Whether there is no message.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Posts to another core; its network ring if it has to be woken. The message comes back when its mailbox is full.
    pub fn post(&self, to: ShardId, mail: Mail) -> Result<Option<RawFd>, Mail> {
        let peer = &self.hub.peers[to.index()];
        match peer.sender.try_send(mail) {
            Ok(()) => {
                // Orders the message before the look at the flag, as the sleeper orders the flag before its look at the
                // mailbox.
                std::sync::atomic::fence(Ordering::SeqCst);
                if peer.asleep.load(Ordering::Relaxed) && peer.asleep.swap(false, Ordering::SeqCst) {
                    let ring = peer.ring.load(Ordering::Acquire);
                    return Ok((ring >= 0).then_some(ring));
                }
                Ok(None)
            }
            // A receiver that is gone belongs to a core that has stopped: the server is going down.
            Err(TrySendError::Disconnected(_)) => Ok(None),
            Err(TrySendError::Full(mail)) => Err(mail),
        }
    }

    /// Raises the flag that this core is about to sleep; whether the mailbox is still empty after that.
    pub fn prepare_sleep(&self) -> bool {
        if self.hub.peers.len() == 1 {
            return true;
        }
        self.hub.peers[self.owner.index()].asleep.store(true, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
        self.receiver.is_empty()
    }

    /// Lowers the flag.
    pub fn awake(&self) {
        self.hub.peers[self.owner.index()].asleep.store(false, Ordering::Relaxed);
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.hub.peers.len()
    }

    /// Which core's mailbox this is.
    pub fn owner(&self) -> ShardId {
        self.owner
    }
}
