//! What happens with time: expiry, idle clients, output limits, the end of a pause, published counters.

use super::Engine;
use crate::config::OutputLimit;
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::Millis;
use std::sync::atomic::Ordering::Relaxed;

/// Milliseconds between two runs of the cron.
pub const CRON_INTERVAL_MS: Millis = 100;

/// Cron runs between two looks at idle clients.
const RUNS_PER_SECOND: u64 = 10;

/// Keys that one cron run looks at for expiry; the cycle goes on at once while it finds many.
const EXPIRE_BUDGET: usize = 2000;

/// Most rounds of the expiry cycle in one run: the bound on how long it can hold up commands.
const EXPIRE_ROUNDS_MAX: usize = 16;

impl Engine {
    /// The regular work; ten times a second.
    pub(super) fn cron(&mut self) {
        self.next_cron_ms = self.now + CRON_INTERVAL_MS;
        self.cron_runs += 1;
        if self.node.active_expire.load(Relaxed) {
            self.expire_cycle();
        }
        if self.core.index() == 0 {
            self.node.sample(self.now);
        }
        if self.cron_runs.is_multiple_of(RUNS_PER_SECOND) {
            self.close_idle();
            self.touched.extend(0..self.shard.databases.len() as u16);
            self.publish_databases();
            self.spare_buffers.truncate(self.spare_buffers.len().div_ceil(2));
        }
        self.end_pause();
    }

    fn expire_cycle(&mut self) {
        for index in 0..self.shard.databases.len() {
            let db = &mut self.shard.databases[index];
            if db.expires_len() == 0 {
                continue;
            }
            db.set_now(self.now);
            let mut removed = 0;
            for _ in 0..EXPIRE_ROUNDS_MAX {
                let some = db.expire_some(EXPIRE_BUDGET);
                removed += some;
                // A tenth of what was looked at, as Redis's rule of thumb for going on.
                if some < EXPIRE_BUDGET / 10 {
                    break;
                }
            }
            if removed > 0 {
                self.touched.push(index as u16);
            }
        }
    }

    fn close_idle(&mut self) {
        let limit_ms = self.config.timeout as Millis * 1000;
        if limit_ms == 0 {
            return;
        }
        for (key, session) in self.sessions.iter_mut() {
            let busy = SessionFlags::ZOMBIE | SessionFlags::CLOSING | SessionFlags::STALLED;
            if self.now - session.active_ms > limit_ms && !session.flags.intersects(busy) {
                session.flags.insert(SessionFlags::CLOSE_NOW | SessionFlags::CLOSING);
                self.closing.push(key);
            }
        }
    }

    /// Lets paused sessions go on when the pause is over, or if their commands are not concerned any more.
    pub(super) fn end_pause(&mut self) {
        if self.node.pause_until_ms.load(Relaxed) <= self.now {
            self.resumable.append(&mut self.paused);
        }
    }

    /// Closes a client whose output has grown past its limit.
    pub(super) fn check_output(&mut self, session: &mut Session, key: SessionKey) {
        if self.exceeds_output_limit(session) {
            tracing::warn!(client = session.id, "closing a client that reached its output buffer limit");
            self.metrics().output_limit_disconnections.add(1);
            self.close(session, key);
        }
    }

    fn exceeds_output_limit(&self, session: &mut Session) -> bool {
        let OutputLimit { hard_bytes, soft_bytes, soft_seconds } = self.config.client_output_buffer_limits[0];
        let waiting = (session.output.len() + session.sending_bytes + session.pending.held_bytes()) as u64;
        if hard_bytes > 0 && waiting >= hard_bytes {
            return true;
        }
        if soft_bytes == 0 || waiting < soft_bytes {
            session.over_soft_limit_ms = 0;
            return false;
        }
        if session.over_soft_limit_ms == 0 {
            session.over_soft_limit_ms = self.now;
        }
        self.now - session.over_soft_limit_ms > soft_seconds as Millis * 1000
    }

    /// Looks at a session whose output the runtime is about to send; whether it may live on.
    pub fn admit_output(&mut self, key: SessionKey) -> bool {
        let Some(mut session) = self.sessions.take(key) else { return false };
        self.check_output(&mut session, key);
        let lives = !session.flags.contains(SessionFlags::CLOSE_NOW);
        self.sessions.put_back(key, session);
        lives
    }

    /// Makes the counts of the databases used in this turn visible to all cores.
    pub(super) fn publish_databases(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        let metrics = &self.node.metrics[self.core.index()];
        for index in self.touched.drain(..).map(usize::from) {
            let db = &mut self.shard.databases[index];
            metrics.keys[index].set(db.len() as u64);
            metrics.expires[index].set(db.expires_len() as u64);
            metrics.keyspace_hits.add(std::mem::take(&mut db.hits));
            metrics.keyspace_misses.add(std::mem::take(&mut db.misses));
            metrics.expired_keys.add(std::mem::take(&mut db.expired));
        }
    }
}
