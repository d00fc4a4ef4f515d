//! Commands that wait for locks of others, in lines: one for each session, and one for each transaction and WATCH. The first
//! of a line waits for one transaction that is in its way, and is looked at again when that has given up its locks; the
//! others of the line wait for the first. So what some wait for costs nobody else anything, however many they are.

use super::Engine;
use super::coordinator::{lock_set, lock_set_of_transaction};
use super::message::{Call, Execution, Ticket};
use super::operation::Request;
use crate::commands::Entry;
use crate::limits::PARKED_COMMANDS_PER_TURN_MAX;
use crate::resp::{Args, Output};
use crate::shard::locks::{LockKey, LockSet, Mode, TransactionId};
use crate::shard::{ShardId, WatchedKey};
use ahash::AHashMap;
use std::collections::VecDeque;

/// What waits for somebody else's locks.
struct Parked {
    from: ShardId,
    locks: LockSet,
    work: Work,
}

enum Work {
    Command { ticket: Ticket, call: Call, request: Request },
    Transaction { id: u64, execution: Box<Execution> },
    Watch { id: u64, client: u64, keys: Vec<WatchedKey> },
}

/// Whose line it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    /// Commands of a session of that core, in their order.
    Session(ShardId, u32),
    /// A transaction, which its session waits for.
    Transaction(ShardId, u64),
    /// A client's WATCH, which it waits for.
    Watch(u64),
}

/// All that is parked on this shard.
pub(super) struct Lines {
    lines: AHashMap<Owner, VecDeque<Parked>>,
    /// The lines whose first waits for this transaction.
    behind: AHashMap<TransactionId, Vec<Owner>>,
    /// The lines whose first has waited for one that is over, in line.
    ready: VecDeque<Owner>,
    /// So many may still run in this turn.
    left: usize,
}

impl Default for Lines {
    fn default() -> Self {
        let (lines, behind, ready) = Default::default();
        Self { lines, behind, ready, left: PARKED_COMMANDS_PER_TURN_MAX }
    }
}

impl Lines {
    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Puts something at the end of its line. `blocker` finds a transaction that is in the way of the first.
    fn push(&mut self, owner: Owner, parked: Parked, blocker: impl FnOnce(&LockSet) -> Option<TransactionId>) {
        let line = self.lines.entry(owner).or_default();
        if line.is_empty() {
            match blocker(&parked.locks) {
                Some(id) => self.behind.entry(id).or_default().push(owner),
                None => self.ready.push_back(owner),
            }
        }
        line.push_back(parked);
    }

    /// A transaction has given up its locks.
    fn released(&mut self, id: TransactionId) {
        self.ready.extend(self.behind.remove(&id).into_iter().flatten());
    }

    /// The next that may run: of each line in turn. `blocker` finds a transaction that is in the way of locks.
    fn next(&mut self, blocker: impl Fn(&LockSet) -> Option<TransactionId>) -> Option<Parked> {
        while self.left > 0 {
            let owner = self.ready.pop_front()?;
            let line = self.lines.get_mut(&owner).expect("a line that is ready has somebody");
            let first = line.front().expect("a line has a first");
            if let Some(id) = blocker(&first.locks) {
                self.behind.entry(id).or_default().push(owner);
                continue;
            }
            self.left -= 1;
            let next = line.pop_front();
            if line.is_empty() {
                self.lines.remove(&owner);
            } else {
                self.ready.push_back(owner);
            }
            return next;
        }
        None
    }
}

impl Engine {
    /// Whether a command of session `owner` of core `from` has to wait for locks here.
    #[inline]
    pub(super) fn is_held_up(&self, from: ShardId, owner: u32, entry: &Entry, args: Args<'_>) -> bool {
        !(self.locks.is_empty() && self.parked.is_empty()) && self.meets_locks(from, owner, entry, args)
    }

    #[cold]
    fn meets_locks(&self, from: ShardId, owner: u32, entry: &Entry, args: Args<'_>) -> bool {
        self.parked.lines.contains_key(&Owner::Session(from, owner)) || self.locks.blocks(&lock_set(entry, args))
    }

    /// Keeps a command until the locks that hold it up are gone.
    #[cold]
    pub(super) fn park(&mut self, from: ShardId, ticket: Ticket, call: Call, args: Args<'_>) {
        let locks = lock_set(self.table.get(call.command), args);
        let work = Work::Command { ticket, call, request: Request::of(args) };
        self.keep_parked(Owner::Session(from, ticket.owner), Parked { from, locks, work });
    }

    /// Runs another core's transaction when no locks hold it up.
    pub(super) fn execute_or_park(&mut self, from: ShardId, id: u64, execution: Box<Execution>) {
        if !self.locks.is_empty() && self.locks.blocks(&lock_set_of_transaction(self.table, &execution)) {
            self.park_transaction(from, id, execution);
        } else {
            self.execute(from, id, execution);
        }
    }

    /// Keeps a transaction until the locks that hold it up are gone.
    pub(super) fn park_transaction(&mut self, from: ShardId, id: u64, execution: Box<Execution>) {
        let locks = lock_set_of_transaction(self.table, &execution);
        let work = Work::Transaction { id, execution };
        self.keep_parked(Owner::Transaction(from, id), Parked { from, locks, work });
    }

    /// Lets a client watch keys, when no locks hold that up: a change that is decided but not stored yet must not count
    /// as one that comes later.
    pub(super) fn watch_or_park(&mut self, from: ShardId, id: u64, client: u64, keys: Vec<WatchedKey>) {
        let watched = keys.iter().map(|watched| (LockKey::of(&watched.key), Mode::Shared));
        let locks = if self.locks.is_empty() { LockSet::default() } else { LockSet::of_keys(watched.collect()) };
        if self.locks.blocks(&locks) {
            let work = Work::Watch { id, client, keys };
            self.keep_parked(Owner::Watch(client), Parked { from, locks, work });
        } else {
            self.watch_for(from, id, client, keys);
        }
    }

    fn keep_parked(&mut self, owner: Owner, parked: Parked) {
        self.metrics().commands_parked.add(1);
        self.parked.push(owner, parked, |locks| self.locks.blocker(locks));
    }

    /// A client has left while locks held up its WATCH: when they are gone it watches nothing.
    pub(super) fn forget_parked_watches(&mut self, client: u64) {
        for Parked { work, .. } in self.parked.lines.get_mut(&Owner::Watch(client)).into_iter().flatten() {
            if let Work::Watch { keys, .. } = work {
                keys.clear();
            }
        }
    }

    /// Whether something may run that was parked, for which this turn had no time.
    pub fn has_parked_ready(&self) -> bool {
        !self.parked.ready.is_empty()
    }

    /// A transaction has given up its locks: those run that have waited for it, as many as a turn has time for.
    pub(super) fn run_behind(&mut self, id: TransactionId) {
        self.parked.released(id);
        self.run_parked();
    }

    /// Goes on with those for which the last turns had no time.
    pub(super) fn end_parked_turn(&mut self) {
        self.run_parked();
        self.parked.left = PARKED_COMMANDS_PER_TURN_MAX;
    }

    fn run_parked(&mut self) {
        while let Some(next) = self.parked.next(|locks| self.locks.blocker(locks)) {
            match next.work {
                Work::Command { ticket, call, request } => self.run_late(next.from, ticket, call, request.args()),
                Work::Transaction { id, execution } => self.execute(next.from, id, execution),
                Work::Watch { id, client, keys } => self.watch_for(next.from, id, client, keys),
            }
        }
    }

    /// Runs a command that was held up.
    fn run_late(&mut self, from: ShardId, ticket: Ticket, call: Call, args: Args<'_>) {
        let entry = self.table.get(call.command);
        let mut started = self.clock.raw();
        let mut out = Output::default();
        self.run_here(entry, call, args, &mut out);
        let nanoseconds = self.count_run(entry, &mut started);
        self.note_if_slow(from, ticket, entry, args, nanoseconds);
        if call.no_reply {
            out.clear();
        }
        self.answer(from, ticket, out);
    }
}
