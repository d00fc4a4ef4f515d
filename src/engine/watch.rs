//! WATCH over all shards: each shard notes who watches its keys, and the client is answered when all of them have. What
//! is watched is forgotten with one message to each shard that has some of it; nobody waits for that.

use super::Engine;
use super::dispatch::Step;
use super::message::Message;
use crate::resp::{Args, Output, Protocol, Reply};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::{ShardId, WatchedKey};

/// A WATCH whose keys are on other shards.
pub(super) struct Watching {
    session: SessionKey,
    /// The request's number in its session.
    number: u32,
    silent: bool,
    /// Shards that have not answered yet.
    waiting: usize,
}

impl Engine {
    /// Lets a session watch the keys among `args`.
    pub(super) fn watch(&mut self, session: &mut Session, key: SessionKey, args: Args<'_>) -> Step {
        let mut remote: Vec<(ShardId, Vec<WatchedKey>)> = Vec::new();
        let mut here = Vec::new();
        let transaction = session.transaction.get_or_insert_default();
        for name in args.iter_from(1) {
            let watched = WatchedKey { database: session.database, key: name.into() };
            if !transaction.watch(watched.clone()) {
                continue;
            }
            let shard = self.router.shard_of(name);
            if shard == self.core {
                here.push(watched);
            } else if let Some((_, keys)) = remote.iter_mut().find(|(other, _)| *other == shard) {
                keys.push(watched);
            } else {
                remote.push((shard, vec![watched]));
            }
        }
        if remote.is_empty() && self.locks.is_empty() {
            self.watch_here(session.id, here);
            if !session.is_silent() {
                Reply::new(&mut session.output, session.protocol).ok();
            }
            return Step::Done;
        }
        let (number, silent) = (session.pending.expect(), session.is_silent());
        let id = self.next_flight();
        // One more than the other shards: this one answers as they do.
        self.watching.insert(id, Watching { session: key, number, silent, waiting: remote.len() + 1 });
        session.flags.insert(SessionFlags::STALLED);
        for (shard, keys) in remote {
            self.post(shard, Message::Watch { from: self.core, id, client: session.id, keys });
        }
        self.own_watches.push((id, session.id, here));
        Step::Done
    }

    /// Runs this shard's part of WATCH requests. Their sessions are in the registry again.
    pub(super) fn run_own_watches(&mut self) {
        while let Some((id, client, keys)) = self.own_watches.pop() {
            self.watch_or_park(self.core, id, client, keys);
        }
    }

    /// Lets a client watch keys of this shard, and tells its core.
    pub(super) fn watch_for(&mut self, from: ShardId, id: u64, client: u64, keys: Vec<WatchedKey>) {
        self.watch_here(client, keys);
        if from == self.core {
            self.watching(id);
        } else {
            self.post(from, Message::Watching { id });
        }
    }

    /// Notes that a client watches keys of this shard.
    pub(super) fn watch_here(&mut self, client: u64, keys: Vec<WatchedKey>) {
        for watched in keys {
            let exists = self.exists(&watched);
            self.shard.watch.add(client, watched, exists);
        }
        self.update_wanted();
    }

    fn exists(&mut self, watched: &WatchedKey) -> bool {
        let db = &mut self.shard.databases[usize::from(watched.database)];
        db.set_now(self.now);
        db.contains(&watched.key)
    }

    /// One shard has noted its keys; with the last of them the client is answered.
    pub(super) fn watching(&mut self, id: u64) {
        let Some(watching) = self.watching.get_mut(&id) else { return };
        watching.waiting -= 1;
        if watching.waiting > 0 {
            return;
        }
        let watching = self.watching.remove(&id).expect("just seen");
        let mut out = Output::default();
        if !watching.silent {
            Reply::new(&mut out, Protocol::Resp2).ok();
        }
        self.deliver(watching.session, watching.number, &out.bytes, out.pins);
    }

    /// Forgets what a session watches, on every shard that knows.
    pub(super) fn unwatch(&mut self, session: &mut Session) {
        let Some(transaction) = &mut session.transaction else { return };
        if transaction.watched.is_empty() {
            return;
        }
        let watched: Vec<WatchedKey> = transaction.take_watched().into_iter().collect();
        self.forget_watched(session.id, &watched);
    }

    /// Forgets what a client watches on this shard, or is about to.
    pub(super) fn unwatch_here(&mut self, client: u64) {
        self.forget_parked_watches(client);
        self.shard.watch.remove(client);
        self.update_wanted();
    }

    /// Whether all that a client watches on this shard is as it was; it goes on watching.
    pub(super) fn is_intact(&mut self, client: u64) -> bool {
        let (databases, now) = (&mut self.shard.databases, self.now);
        self.shard.watch.is_intact(client, |watched| {
            let db = &mut databases[usize::from(watched.database)];
            db.set_now(now);
            db.contains(&watched.key)
        })
    }

    /// Forgets what a client watches on the shards of these keys.
    pub(super) fn forget_watched(&mut self, client: u64, watched: &[WatchedKey]) {
        let mut told = vec![false; self.router.shards()];
        for key in watched {
            let shard = self.router.shard_of(&key.key);
            if std::mem::replace(&mut told[shard.index()], true) {
                continue;
            }
            if shard == self.core {
                self.unwatch_here(client);
            } else {
                self.post(shard, Message::Unwatch { client });
            }
        }
    }

    /// Whether all that a client watches on this shard is as it was; it watches nothing from here on.
    pub(super) fn end_watch_here(&mut self, client: u64) -> bool {
        let databases = &mut self.shard.databases;
        let now = self.now;
        let intact = self.shard.watch.finish(client, |watched| {
            let db = &mut databases[usize::from(watched.database)];
            db.set_now(now);
            db.contains(&watched.key)
        });
        self.update_wanted();
        intact
    }
}
