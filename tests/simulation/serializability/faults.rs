//! Faults that can be planted into the mail between cores. They live here alone: the server knows nothing of them.

use super::super::world::{Mail, Tamper};
use crimson::engine::batch::{Ahead, Batch};
use crimson::engine::message::{Message, Publication, Ticket};
use crimson::shard::locks::LockSet;

/// What can be made to go wrong on the way between cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Transactions ask other shards for no locks.
    NoLocks,
    /// A shard loses what a transaction has changed there.
    HalfStored,
    /// A shard gives up a transaction's locks when it has lent the values.
    EarlyUnlock,
    /// A shard never hears that locks are given up.
    LostUnlock,
    /// A shard runs commands twice.
    Doubled,
    /// A shard runs the parts of a client's commands in the wrong order.
    Backwards,
    /// A message overtakes another one between the same cores.
    Reordered,
    /// A shard never hears that a client watches its keys.
    LostWatch,
    /// A shard never hears that a client waits for its keys.
    LostWait,
    /// A client's core never hears that what its client waits for is there.
    LostWakeUp,
    /// A shard never hears that a client has tried in vain.
    LostTry,
    /// A client's core never hears that its client has been served.
    LostServing,
    /// A shard never hears that a client waits no more.
    LostEndOfWait,
    /// A core loses publications, and says that it has no subscribers.
    LostPublication,
    /// A core gets publications twice.
    DoubledPublication,
}

impl Fault {
    /// What becomes of mail: one in three messages is struck, if it is of the kind; all of a kind that is rare.
    pub fn tamper(self) -> Tamper {
        Box::new(move |mail, random, (from, to), message| {
            let struck = random.below(3) == 0 || self == Self::LostTry;
            if let Some(message) = if struck { self.strike(mail, (from, to), message) } else { Some(message) } {
                mail.between(from, to).push_back(message);
            }
        })
    }

    /// What is left of a message.
    fn strike(self, mail: &mut Mail, (from, to): (usize, usize), mut message: Message) -> Option<Message> {
        match (self, &mut message) {
            (Self::NoLocks, Message::Lend { locks, .. } | Message::Lock { locks, .. }) => *locks = LockSet::default(),
            (Self::HalfStored, Message::Store { states, .. }) => states.clear(),
            (Self::NoLocks, Message::RunParts(parts)) => {
                parts.locks = parts.locks.as_ref().map(|_| LockSet::default());
            }
            (Self::EarlyUnlock, Message::Lend { id, .. }) => {
                let id = *id;
                mail.between(from, to).push_back(message);
                return Some(Message::Unlock { id });
            }
            (Self::Doubled, Message::Requests(batch)) => **batch = doubled(batch),
            (Self::Backwards, Message::RunParts(parts)) => *parts.batch = backwards(&mut parts.batch),
            (Self::Reordered, _) => {
                let letters = mail.between(from, to);
                letters.insert(letters.len().saturating_sub(1), message);
                return None;
            }
            (Self::LostWatch, Message::Watch { keys, .. }) => keys.clear(),
            (Self::LostWait, Message::Store { waiting, .. }) => *waiting = None,
            (Self::LostUnlock, Message::Unlock { .. })
            | (Self::LostWakeUp, Message::Ready(_))
            | (Self::LostTry, Message::Tried { .. })
            | (Self::LostServing, Message::Served { .. })
            | (Self::LostEndOfWait, Message::Forget { .. }) => return None,
            (Self::LostPublication, Message::Publish { publications, .. }) => {
                let counts =
                    publications.iter().filter_map(|publication| publication.awaited).map(|number| (number, 0));
                mail.between(to, from).push_back(Message::Published(counts.collect()));
                return None;
            }
            (Self::DoubledPublication, Message::Publish { publications, .. }) => {
                let again = |one: &Publication| {
                    let Publication { kind, channel, payload, .. } = one;
                    Publication { kind: *kind, channel: channel.clone(), payload: payload.clone(), awaited: None }
                };
                let again: Vec<Publication> = publications.iter().map(again).collect();
                publications.extend(again);
            }
            _ => {}
        }
        Some(message)
    }
}

/// A batch whose commands are run once more, each, for nobody.
fn doubled(batch: &mut Batch) -> Batch {
    let (mut twice, mut ahead) = (Batch::new(batch.from), Ahead::default());
    let nobody = Ticket { owner: Ticket::OPERATION - 1, number: 0 };
    while batch.read_ahead(&mut ahead) {
        batch.run(&ahead, |ticket, call, args, _| {
            let words = || (0..args.len()).map(|index| args.at(index));
            if call.transaction == 0 {
                twice.push(nobody, call, words());
            }
            twice.push(ticket, call, words());
            false
        });
    }
    twice
}

/// A batch with the same commands in the opposite order.
fn backwards(batch: &mut Batch) -> Batch {
    let (mut turned, mut ahead, mut commands) = (Batch::new(batch.from), Ahead::default(), Vec::new());
    while batch.read_ahead(&mut ahead) {
        batch.run(&ahead, |ticket, call, args, _| {
            commands.push((ticket, call, (0..args.len()).map(|index| args.at(index).to_vec()).collect::<Vec<_>>()));
            false
        });
    }
    for (ticket, call, words) in commands.iter().rev() {
        turned.push(*ticket, *call, words.iter().map(Vec::as_slice));
    }
    turned
}
