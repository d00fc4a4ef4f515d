//! Transactions over several shards: their locks, here and on other cores, and the commands that locks hold up.
//!
//! A transaction is coordinated by the core of its client. It asks for its locks on its own shard first and then for
//! those on others, and works when it has them all. A shard that refuses has seen a younger transaction on the same keys
//! before: then all locks are given up and asked for again with a new, greater id. See `shard::locks` for why nobody
//! waits in a circle.
//!
//! Commands on a single shard take no locks and cost nothing more while nothing is locked. One that meets the locks of a
//! granted transaction is parked, with all that its client sends to the same shard behind it, until they are gone.

use super::Engine;
use super::gather::Keys;
use super::message::{Call, Message, Ticket};
use super::operation::{Request, Work};
use crate::commands::Entry;
use crate::resp::{Args, Output};
use crate::shard::ShardId;
use crate::shard::locks::{Asked, LockKey, LockSet, Mode, TransactionId};
use crate::spec::{Flags, KeyFlags, RequestPolicy};
use std::collections::VecDeque;

/// What a transaction does on a shard when it is granted its locks.
pub(super) enum Waiter {
    /// This core coordinates it: it goes on with other shards.
    Own(u32),
    /// Runs a part and gives up its locks.
    Part { from: ShardId, ticket: Ticket, call: Call, request: Request },
    /// Tells its coordinator, and keeps its locks.
    Lock { from: ShardId, ticket: Ticket },
    /// Lends its coordinator the values of keys.
    Lend { from: ShardId, ticket: Ticket, keys: Keys },
}

/// A command that waits for somebody else's locks.
pub(super) struct Parked {
    from: ShardId,
    ticket: Ticket,
    call: Call,
    request: Request,
    locks: LockSet,
}

/// The locks that a command needs on the shard that owns all keys of `args`.
pub(super) fn lock_set(entry: &Entry, args: Args<'_>) -> LockSet {
    let spec = &entry.row.spec;
    if spec.keys.is_empty() && spec.request != RequestPolicy::Special {
        let writes = spec.flags.contains(Flags::WRITE);
        return LockSet::whole(if writes { Mode::Exclusive } else { Mode::Shared });
    }
    let mut locks = Vec::new();
    for keys in spec.keys {
        let mode = mode_of(keys.flags);
        // Arguments that do not fit are refused by the command itself, without a look at any key.
        let _ = keys.each(args, |index| locks.push((LockKey::of(args.at(index)), mode)));
    }
    LockSet::of_keys(locks)
}

/// How a key with these flags is locked.
pub(super) fn mode_of(flags: KeyFlags) -> Mode {
    if flags.contains(KeyFlags::RO) { Mode::Shared } else { Mode::Exclusive }
}

/// The coordinator's side.
impl Engine {
    /// Begins a transaction, for the first time or once more: its locks on this shard come first.
    pub(super) fn begin(&mut self, index: u32) {
        loop {
            let id = TransactionId(self.node.next_transaction());
            let operation = self.operations.get_mut(index);
            (operation.id, operation.refused) = (id, false);
            let locks = match &operation.work {
                Work::Split(split) => split.locks_on(self.core, operation.entry),
                Work::Gather(gather) => gather.locks_on(self.core),
                Work::Every(..) => unreachable!("requests to every core take no locks"),
            };
            let Some(locks) = locks else { return self.locked_here(index) };
            match self.locks.ask(id, locks) {
                Asked::Granted => return self.locked_here(index),
                Asked::Waits => return self.locks.wait(id, Waiter::Own(index)),
                // A transaction of another core has taken its id later and come here sooner; the next id is greater.
                Asked::Refused => {}
            }
        }
    }

    /// The locks on this shard are there.
    fn locked_here(&mut self, index: u32) {
        match self.operations.get_mut(index).work {
            Work::Split(_) => self.split_locked_here(index),
            Work::Gather(_) => self.gather_locked_here(index),
            Work::Every(..) => unreachable!("requests to every core take no locks"),
        }
    }

    /// Some shard has refused: all locks are given up, and asked for again.
    pub(super) fn retry(&mut self, index: u32) {
        self.metrics().transactions_retried.add(1);
        let operation = self.operations.get_mut(index);
        let id = operation.id;
        match operation.work {
            Work::Split(_) => self.unlock_parts(index),
            Work::Gather(_) => self.give_all_back(index),
            Work::Every(..) => unreachable!("requests to every core take no locks"),
        }
        self.unlock(id);
        self.begin(index);
    }
}

/// The shard's side.
impl Engine {
    /// A transaction of another core asks for locks and keeps them.
    pub(super) fn ask(&mut self, id: TransactionId, locks: LockSet, waiter: Waiter) {
        match self.locks.ask(id, locks) {
            Asked::Granted => self.granted(id, waiter),
            Asked::Waits => self.locks.wait(id, waiter),
            Asked::Refused => match waiter {
                Waiter::Lock { from, ticket } => self.post(from, Message::Locked { ticket, granted: false }),
                Waiter::Lend { from, ticket, .. } => self.post(from, Message::Lent { ticket, states: None }),
                Waiter::Part { from, ticket, .. } => self.answer(from, ticket, Output::default()),
                Waiter::Own(_) => unreachable!("a core asks itself in `begin`"),
            },
        }
    }

    fn granted(&mut self, id: TransactionId, waiter: Waiter) {
        match waiter {
            Waiter::Own(index) => self.locked_here(index),
            Waiter::Lock { from, ticket } => self.post(from, Message::Locked { ticket, granted: true }),
            Waiter::Lend { from, ticket, keys } => {
                let states = self.lend(&keys);
                self.post(from, Message::Lent { ticket, states: Some(states) });
            }
            Waiter::Part { from, ticket, call, request } => {
                let mut out = Output::default();
                self.run_here(self.table.get(call.command), call, request.args(), &mut out);
                self.after_effects();
                self.answer(from, ticket, out);
                self.unlock(id);
            }
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
            self.run_parked();
            self.serve_held_up();
            for (id, waiter) in self.locks.grant(&locks) {
                self.granted(id, waiter);
            }
        }
        self.unlocking = false;
    }

    /// Whether a command of session `owner` of core `from` has to wait for locks here.
    #[inline]
    pub(super) fn is_held_up(&self, from: ShardId, owner: u32, entry: &Entry, args: Args<'_>) -> bool {
        !(self.locks.is_empty() && self.parked.is_empty()) && self.meets_locks(from, owner, entry, args)
    }

    #[cold]
    fn meets_locks(&self, from: ShardId, owner: u32, entry: &Entry, args: Args<'_>) -> bool {
        let behind = self.parked.iter().any(|parked| parked.from == from && parked.ticket.owner == owner);
        behind || self.locks.blocks(&lock_set(entry, args))
    }

    /// Keeps a command until the locks that hold it up are gone.
    #[cold]
    pub(super) fn park(&mut self, from: ShardId, ticket: Ticket, call: Call, args: Args<'_>) {
        let locks = lock_set(self.table.get(call.command), args);
        self.metrics().commands_parked.add(1);
        self.parked.push_back(Parked { from, ticket, call, request: Request::of(args), locks });
    }

    /// Runs those that nothing holds up any more, in the order in which they came.
    fn run_parked(&mut self) {
        let mut parked = std::mem::take(&mut self.parked);
        let mut left: VecDeque<Parked> = VecDeque::new();
        while let Some(command) = parked.pop_front() {
            let behind = |other: &Parked| other.from == command.from && other.ticket.owner == command.ticket.owner;
            if left.iter().any(behind) || self.locks.blocks(&command.locks) {
                left.push_back(command);
                continue;
            }
            let entry = self.table.get(command.call.command);
            let mut started = self.clock.raw();
            let mut out = Output::default();
            self.run_here(entry, command.call, command.request.args(), &mut out);
            self.count_run(entry, &mut started);
            self.after_effects();
            if !command.call.no_reply {
                self.answer(command.from, command.ticket, out);
            }
        }
        debug_assert!(self.parked.is_empty(), "what runs here parks nothing");
        self.parked = left;
    }

    /// Runs a part of another core's transaction that comes with its locks or finds them granted. `None`: it waits.
    pub(super) fn run_transaction_part(
        &mut self,
        from: ShardId,
        ticket: Ticket,
        call: Call,
        args: Args<'_>,
        out: &mut Output,
    ) -> bool {
        let id = TransactionId(call.transaction);
        let entry = self.table.get(call.command);
        if !self.locks.holds(id) {
            match self.locks.ask(id, lock_set(entry, args)) {
                Asked::Granted => {}
                Asked::Refused => return true,
                Asked::Waits => {
                    self.locks.wait(id, Waiter::Part { from, ticket, call, request: Request::of(args) });
                    return false;
                }
            }
        }
        self.run_here(entry, call, args, out);
        self.after_effects();
        self.unlock(id);
        true
    }
}
