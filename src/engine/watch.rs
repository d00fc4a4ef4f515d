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
        self.watch_here(session.id, here);
        if remote.is_empty() {
            if !session.is_silent() {
                Reply::new(&mut session.output, session.protocol).ok();
            }
            return Step::Done;
        }
        let (number, silent) = (session.pending.expect(), session.is_silent());
        let id = self.next_flight();
        self.watching.insert(id, Watching { session: key, number, silent, waiting: remote.len() });
        session.flags.insert(SessionFlags::STALLED);
        for (shard, keys) in remote {
            self.post_batch(shard);
            self.outgoing.push((shard, Message::Watch { from: self.core, id, client: session.id, keys }));
        }
        Step::Done
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
        let mut told = vec![false; self.router.shards()];
        for watched in transaction.take_watched() {
            let shard = self.router.shard_of(&watched.key);
            if std::mem::replace(&mut told[shard.index()], true) {
                continue;
            }
            if shard == self.core {
                self.unwatch_here(session.id);
            } else {
                self.outgoing.push((shard, Message::Unwatch { client: session.id }));
            }
        }
    }

    /// Forgets what a client watches on this shard.
    pub(super) fn unwatch_here(&mut self, client: u64) {
        self.shard.watch.remove(client);
        self.update_wanted();
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
