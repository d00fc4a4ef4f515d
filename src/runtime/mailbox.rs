//! How cores reach and wake each other: a bounded channel per core, and a flag that tells whether its core sleeps.
//!
//! A core that is about to sleep raises its flag, looks at its mailbox once more, and sleeps. A sender posts first and
//! looks at the flag after. Both do so in one total order, so either the sleeper sees the message or the sender sees the
//! flag and wakes it. The sender wakes it with a message to its network ring, submitted with the sender's own next turn.
//!
//! A core never blocks on a full mailbox: mail that does not fit waits in the sender's backlog, in order, and while there
//! is any the sender takes nothing more from its clients. It goes on emptying its own mailbox, so two cores whose
//! mailboxes are both full still make progress.

use super::ListenerKind;
use crate::engine::message::{KeyState, Message};
use crate::limits::MAILBOX_MESSAGES_MAX;
use crate::shard::ShardId;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering, fence};

/// What one core sends another.
pub enum Mail {
    /// From engine to engine.
    Engine(Message),
    /// Keys that the receiver takes over, while data is loaded.
    Keys(Vec<KeyState>),
    /// A connection that the receiver takes over.
    Connection(OwnedFd, ListenerKind),
}

/// The senders' side of one core.
struct Peer {
    sender: Sender<Mail>,
    asleep: AtomicBool,
    /// The core's network ring; -1 until it is there.
    ring: AtomicI32,
    /// Connections handed to the core that it has not taken over yet.
    arriving: AtomicU64,
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
    /// Per core, mail that its mailbox had no room for.
    backlog: Vec<VecDeque<Mail>>,
}

/// A mailbox for each of `cores` cores.
pub fn connect(cores: usize) -> io::Result<(Arc<Hub>, Vec<Mailbox>)> {
    connect_with_capacity(cores, MAILBOX_MESSAGES_MAX)
}

fn connect_with_capacity(cores: usize, capacity: usize) -> io::Result<(Arc<Hub>, Vec<Mailbox>)> {
    let mut peers = Vec::new();
    let mut receivers = Vec::new();
    for _ in 0..cores {
        let (sender, receiver) = bounded(capacity);
        let event = super::socket::eventfd()?;
        let (asleep, ring, arriving) = (AtomicBool::new(false), AtomicI32::new(-1), AtomicU64::new(0));
        peers.push(Peer { sender, asleep, ring, arriving, event });
        receivers.push(receiver);
    }
    let hub = Arc::new(Hub { peers });
    let mailbox = |(index, receiver)| Mailbox {
        owner: ShardId(index as u16),
        receiver,
        hub: hub.clone(),
        backlog: (0..cores).map(|_| VecDeque::new()).collect(),
    };
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

    /// Whether there is a message.
    #[inline]
    pub fn has_mail(&self) -> bool {
        !self.receiver.is_empty()
    }

    /// Posts to another core, behind all that already waits for it; `wake` is given its network ring if it sleeps.
    pub fn post(&mut self, to: ShardId, mail: Mail, wake: impl FnOnce(RawFd)) {
        let waiting = &mut self.backlog[to.index()];
        if !waiting.is_empty() {
            return waiting.push_back(mail);
        }
        if let Err(mail) = self.try_post(to, mail, wake) {
            self.backlog[to.index()].push_back(mail);
        }
    }

    /// Hands a connection to another core.
    pub fn hand_over(&mut self, to: ShardId, socket: OwnedFd, kind: ListenerKind, wake: impl FnOnce(RawFd)) {
        self.hub.peers[to.index()].arriving.fetch_add(1, Ordering::Relaxed);
        self.post(to, Mail::Connection(socket, kind), wake);
    }

    /// A connection that was handed to this core has been taken over or refused.
    pub fn arrived(&self) {
        self.hub.peers[self.owner.index()].arriving.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections on their way to a core.
    pub fn arriving(&self, core: usize) -> u64 {
        self.hub.peers[core].arriving.load(Ordering::Relaxed)
    }

    /// Posts what waits in the backlog, as far as there is room.
    pub fn post_backlog(&mut self, mut wake: impl FnMut(RawFd)) {
        for core in 0..self.backlog.len() {
            while let Some(mail) = self.backlog[core].pop_front() {
                if let Err(mail) = self.try_post(ShardId(core as u16), mail, &mut wake) {
                    self.backlog[core].push_front(mail);
                    break;
                }
            }
        }
    }

    /// Whether mail waits because a mailbox is full.
    #[inline]
    pub fn is_congested(&self) -> bool {
        self.backlog.iter().any(|mail| !mail.is_empty())
    }

    fn try_post(&self, to: ShardId, mail: Mail, wake: impl FnOnce(RawFd)) -> Result<(), Mail> {
        let peer = &self.hub.peers[to.index()];
        match peer.sender.try_send(mail) {
            Ok(()) => {}
            // A receiver that is gone belongs to a core that has stopped: the server is going down.
            Err(TrySendError::Disconnected(_)) => return Ok(()),
            Err(TrySendError::Full(mail)) => return Err(mail),
        }
        // Orders the message before the look at the flag, as the sleeper orders the flag before its look at the mailbox.
        fence(Ordering::SeqCst);
        if peer.asleep.load(Ordering::Relaxed) && peer.asleep.swap(false, Ordering::SeqCst) {
            let ring = peer.ring.load(Ordering::Acquire);
            if ring >= 0 {
                wake(ring);
            }
        }
        Ok(())
    }

    /// Raises the flag that this core is about to sleep; whether the mailbox is still empty after that.
    pub fn prepare_sleep(&self) -> bool {
        if self.hub.peers.len() == 1 {
            return true;
        }
        self.hub.peers[self.owner.index()].asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::message::Ticket;

    /// Each core sends the other far more than its mailbox holds and answers everything it is sent.
    #[test]
    fn two_full_mailboxes_facing_each_other_do_not_deadlock() {
        const MESSAGES: u32 = 20_000;
        let (_hub, mailboxes) = connect_with_capacity(2, 1).unwrap();
        let core = |mut mailbox: Mailbox| {
            let other = ShardId(1 - mailbox.owner().0);
            let stored = |number| Mail::Engine(Message::Stored { ticket: Ticket { owner: 0, number }, lost: false });
            let fetched = |number| Message::Locked { ticket: Ticket { owner: 0, number }, granted: true };
            let (mut sent, mut answered, mut answers) = (0, 0, 0);
            while answered < MESSAGES || answers < MESSAGES || mailbox.is_congested() {
                mailbox.post_backlog(|_| {});
                while let Some(mail) = mailbox.take() {
                    match mail {
                        Mail::Engine(Message::Stored { ticket, .. }) => {
                            assert_eq!(ticket.number, answered, "mail between two cores keeps its order");
                            answered += 1;
                            mailbox.post(other, Mail::Engine(fetched(ticket.number)), |_| {});
                        }
                        _ => answers += 1,
                    }
                }
                if sent < MESSAGES && !mailbox.is_congested() {
                    mailbox.post(other, stored(sent), |_| {});
                    sent += 1;
                }
            }
        };
        let threads: Vec<_> = mailboxes.into_iter().map(|mailbox| std::thread::spawn(move || core(mailbox))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
