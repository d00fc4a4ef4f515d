//! Transactions over several shards: their locks, here and on other cores.
//!
//! A transaction is coordinated by the core of its client. It asks for its locks on its own shard first and then for
//! those on others, and works when it has them all. A shard that refuses has granted a younger transaction the same keys
//! before: then all locks are given up and asked for again, patiently this time: one shard after another, in their order,
//! and refused by nobody. See `shard::locks` for why nobody waits in a circle.
//!
//! Commands on a single shard take no locks and cost nothing more while nothing is locked. One that meets the locks of a
//! granted transaction is parked ([`super::parked`]), with all that its client sends to the same shard behind it, until they
//! are gone.

use super::Engine;
use super::gather::Keys;
use super::message::{Call, Execution, Message, Ticket};
use super::operation::Work;
use super::parts::Parts;
use crate::commands::{CommandTable, Entry};
use crate::resp::Args;
use crate::session::Queue;
use crate::shard::locks::{Asked, LockSet, Mode, TransactionId};
use crate::shard::{ShardId, WatchedKey};
use crate::spec::{Flags, KeyFlags, RequestPolicy};

/// What a transaction does on a shard when it is granted its locks.
pub(super) enum Waiter {
    /// This core coordinates it: it goes on with other shards.
    Own(u32),
    /// Runs parts of commands and gives up its locks.
    Parts(Box<Parts>),
    /// Tells its coordinator, and keeps its locks.
    Lock { from: ShardId, ticket: Ticket },
    /// Lends its coordinator the values of keys.
    Lend { from: ShardId, ticket: Ticket, keys: Keys, watcher: Option<u64> },
}

/// The locks that a command needs on the shard that owns all keys of `args`.
pub(super) fn lock_set(entry: &Entry, args: Args<'_>) -> LockSet {
    if let Some(mode) = whole_shard_mode(entry) {
        return LockSet::whole(mode);
    }
    LockSet::of_each(|add| each_key(entry, args, add))
}

/// The locks that a transaction needs on the shard that owns all its keys.
pub(super) fn lock_set_of_transaction(table: &CommandTable, execution: &Execution) -> LockSet {
    LockSet::of_each(|add| execution.each_key(table, add))
}

/// How a command locks the whole shard that works on whole databases.
pub(super) fn whole_shard_mode(entry: &Entry) -> Option<Mode> {
    let spec = &entry.row.spec;
    let whole = spec.keys.is_empty() && spec.request != RequestPolicy::Special;
    let writes = spec.flags.contains(Flags::WRITE);
    whole.then_some(if writes { Mode::Exclusive } else { Mode::Shared })
}

/// Calls `found` with each key of a command and how it is locked.
pub(super) fn each_key<'a>(entry: &Entry, args: Args<'a>, mut found: impl FnMut(&'a [u8], Mode)) {
    for keys in entry.row.spec.keys {
        let mode = mode_of(keys.flags);
        // Arguments that do not fit are refused by the command itself, without a look at any key.
        let _ = keys.each(args, |index| found(args.at(index), mode));
    }
}

/// The same for all keys of a transaction, those of queued commands that run on shards and the watched ones.
pub(super) fn each_key_of_transaction<'a>(
    table: &CommandTable,
    queue: &Queue,
    calls: &[Option<Call>],
    watched: impl IntoIterator<Item = &'a WatchedKey>,
    mut found: impl FnMut(&[u8], Mode),
) {
    for ((command, args), _) in queue.iter().zip(calls).filter(|(_, call)| call.is_some()) {
        each_key(table.get(command), args, &mut found);
    }
    watched.into_iter().for_each(|watched| found(&watched.key, Mode::Shared));
}

/// How a key with these flags is locked.
fn mode_of(flags: KeyFlags) -> Mode {
    if flags.contains(KeyFlags::RO) { Mode::Shared } else { Mode::Exclusive }
}

/// The coordinator's side.
impl Engine {
    /// Begins a transaction, for the first time or once more: its locks on this shard come first.
    pub(super) fn begin(&mut self, index: u32) {
        loop {
            let id = TransactionId(self.node.next_transaction());
            let core = self.core;
            let operation = self.operations.get_mut(index);
            (operation.id, operation.refused) = (id, false);
            if let Some(asked) = &mut operation.in_order {
                *asked = 0;
                return self.ask_next(index);
            }
            let Some(locks) = operation.locks_on(core) else { return self.locked_here(index) };
            match self.locks.ask(id, locks, false) {
                Asked::Granted => return self.locked_here(index),
                Asked::Waits => return self.locks.wait(id, Waiter::Own(index)),
                Asked::Refused => self.operations.get_mut(index).in_order = Some(0),
            }
        }
    }

    /// Asks the next shard in order for its locks, or goes to work when all have been asked.
    pub(super) fn ask_next(&mut self, index: u32) {
        let operation = self.operations.get_mut(index);
        let mut shards = operation.shards();
        shards.sort_unstable();
        let id = operation.id;
        let asked = operation.in_order.get_or_insert(0);
        let Some(&shard) = shards.get(*asked) else { return self.all_locked(index) };
        *asked += 1;
        if shard != self.core {
            return self.ask_remote(index, |other| other == shard);
        }
        let locks = operation.locks_on(shard).expect("it is one of the operation's shards");
        match self.locks.ask(id, locks, true) {
            Asked::Granted => self.locked_here(index),
            Asked::Waits => self.locks.wait(id, Waiter::Own(index)),
            Asked::Refused => unreachable!("who asks in order is patient"),
        }
    }

    /// The locks on this shard are there.
    fn locked_here(&mut self, index: u32) {
        let core = self.core;
        let operation = self.operations.get_mut(index);
        let in_order = operation.in_order.is_some();
        let remote = operation.shards().into_iter().filter(|shard| *shard != core).count();
        match &operation.work {
            Work::Gather(gather) => {
                if self.shard.has_snapshot() {
                    let keys = gather.keys_on(core);
                    if !self.may_lend(&keys) {
                        return self.lend_later(Waiter::Own(index));
                    }
                }
                self.lend_own(index);
            }
            // A single other shard locks, runs and unlocks its part in one go.
            Work::Split(_) if !in_order && remote == 1 => return self.all_locked(index),
            _ => {}
        }
        if in_order {
            self.ask_next(index);
        } else if remote == 0 {
            // What may wait is gathered wherever it cannot run at once.
            self.all_locked(index);
        } else {
            self.ask_remote(index, |shard| shard != core);
        }
    }

    /// Asks other shards for their locks.
    fn ask_remote(&mut self, index: u32, wanted: impl Fn(ShardId) -> bool) {
        let operation = self.operations.get_mut(index);
        let (id, patient) = (operation.id, operation.in_order.is_some());
        let shards: Vec<_> = operation.shards().into_iter().enumerate().filter(|(_, shard)| wanted(*shard)).collect();
        operation.waiting = shards.len();
        for (part, shard) in shards {
            let operation = self.operations.get_mut(index);
            let locks = operation.locks_on(shard).expect("it is one of the operation's shards");
            let (from, ticket) = (self.core, Ticket::of_part(index, part));
            let message = match &operation.work {
                Work::Gather(gather) => {
                    let (keys, watcher) = (gather.keys_on(shard), gather.watcher());
                    Message::Lend { from, ticket, id, locks, patient, keys, watcher }
                }
                _ => Message::Lock { from, ticket, id, locks, patient },
            };
            self.post(shard, message);
        }
    }

    /// One shard has answered. When all have, the transaction goes on, or begins anew if one has refused.
    pub(super) fn answered(&mut self, index: u32, granted: bool) {
        let operation = self.operations.get_mut(index);
        operation.refused |= !granted;
        operation.waiting -= 1;
        match (operation.waiting, operation.refused, operation.in_order) {
            (1.., ..) => {}
            (0, true, _) => self.retry(index),
            (0, false, Some(_)) => self.ask_next(index),
            (0, false, None) => self.all_locked(index),
        }
    }

    /// All locks are there.
    fn all_locked(&mut self, index: u32) {
        match self.operations.get_mut(index).work {
            Work::Split(_) => self.send_parts(index),
            Work::Gather(ref gather) if gather.steps.is_some() => self.go_on_stepwise(index),
            Work::Gather(_) => self.work_and_store(index),
            Work::Cut(..) => self.cut_all(index),
            Work::Every { .. } => unreachable!("requests to every core take no locks"),
        }
    }

    /// Some shard has refused: all locks are given up, and asked for again.
    pub(super) fn retry(&mut self, index: u32) {
        self.metrics().transactions_retried.add(1);
        let operation = self.operations.get_mut(index);
        let id = operation.id;
        operation.in_order = Some(0);
        match operation.work {
            Work::Split(_) => self.unlock_parts(index),
            Work::Gather(_) => self.give_all_back(index),
            Work::Cut(..) => unreachable!("who asks in order is patient"),
            Work::Every { .. } => unreachable!("requests to every core take no locks"),
        }
        self.unlock(id);
        self.begin(index);
    }
}

/// The shard's side.
impl Engine {
    /// A transaction of another core asks for locks and keeps them.
    pub(super) fn ask(&mut self, id: TransactionId, locks: LockSet, patient: bool, waiter: Waiter) {
        match self.locks.ask(id, locks, patient) {
            Asked::Granted => self.granted(waiter),
            Asked::Waits => self.locks.wait(id, waiter),
            Asked::Refused => match waiter {
                Waiter::Lock { from, ticket } => self.post(from, Message::Locked { ticket, granted: false }),
                Waiter::Lend { from, ticket, .. } => self.post(from, Message::Lent { ticket, loan: None }),
                Waiter::Parts(parts) => self.refuse_parts(parts),
                Waiter::Own(_) => unreachable!("a core asks itself in `begin`"),
            },
        }
    }

    pub(super) fn granted(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Lend { ref keys, .. } if !self.may_lend(keys) => self.lend_later(waiter),
            Waiter::Own(index) => self.locked_here(index),
            Waiter::Lock { from, ticket } => self.post(from, Message::Locked { ticket, granted: true }),
            Waiter::Lend { from, ticket, keys, watcher } => {
                let loan = self.lend(&keys, watcher);
                self.post(from, Message::Lent { ticket, loan: Some(loan) });
            }
            Waiter::Parts(parts) => self.run_granted_parts(parts),
        }
    }

    /// Gives up a transaction's locks. First those run who were held up by them, then those who waited get theirs.
    pub(super) fn unlock(&mut self, id: TransactionId) {
        self.released.push_back(id);
        if std::mem::replace(&mut self.unlocking, true) {
            return;
        }
        while let Some(id) = self.released.pop_front() {
            let Some(locks) = self.locks.release(id) else { continue };
            self.shard.log.end_collecting(id);
            self.run_behind(id);
            self.serve_held_up();
            for (_, waiter) in self.locks.grant(&locks) {
                self.granted(waiter);
            }
        }
        self.unlocking = false;
    }
}
