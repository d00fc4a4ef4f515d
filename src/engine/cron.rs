//! What happens with time: expiry, idle clients, output limits, the end of a pause, published counters.

use super::Engine;
use crate::acl;
use crate::commands::node::Control;
use crate::config::OutputLimit;
use crate::limits::{MONITOR_BYTES_MAX, OUTPUT_UNAUTHENTICATED_BYTES_MAX, OUTPUT_UNCOUNTED_BYTES};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::Millis;
use std::sync::atomic::Ordering::Relaxed;

/// How long the log is not rewritten by itself after a rewrite that has failed.
const REWRITE_REST_MS: Millis = 60_000;

/// The same where the log has a gap and no write is accepted until it is rewritten.
const GAP_REST_MS: Millis = 10_000;

/// Keys with a time to live of a database that are looked at once a second, to estimate how many of all are over.
const EXPIRES_SAMPLED: usize = 100;

/// Milliseconds between two runs of the cron, by the directive `hz`.
pub fn cron_interval_ms(hz: u32) -> Millis {
    (1000 / Millis::from(hz.max(1))).max(1)
}

/// How long a core is not served before it rests, and milliseconds between two runs of its cron then.
const RESTS_AFTER_MS: Millis = 1000;
const REST_INTERVAL_MS: Millis = 400;

/// How hard one cron run looks for keys whose time is over, by the directive `active-expire-effort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ExpireEffort {
    /// Keys of a database that one round looks at.
    budget: usize,
    /// Another round follows when one removes at least this many.
    enough: usize,
    /// Most rounds in one run: the bound on how long the cycle can hold up commands.
    rounds_max: usize,
}

impl ExpireEffort {
    /// At effort 1 another round follows where a tenth of the keys was over, as Redis's rule of thumb. Each step looks at
    /// a quarter more keys and puts up with one percent fewer that are over.
    fn new(effort: u32) -> Self {
        let steps = effort.clamp(1, 10) as usize - 1;
        let budget = 2000 + 500 * steps;
        Self { budget, enough: budget * (10 - steps) / 100, rounds_max: 16 + 4 * steps }
    }
}

impl Engine {
    /// When the regular work is due next, on a core that sleeps and was busy last at `busy_ms`: a while later than by `hz`
    /// where nothing depends on it. Each wake of an idle core costs as much as some hundred commands.
    pub fn cron_due_ms(&self, now: Millis, busy_ms: Millis) -> Millis {
        let regular_ms = cron_interval_ms(self.config.hz);
        let rests = now - busy_ms >= RESTS_AFTER_MS && !self.has_timely_work();
        now + if rests { regular_ms.max(REST_INTERVAL_MS) } else { regular_ms }
    }

    /// Whether something is under way that the cron looks after.
    fn has_timely_work(&self) -> bool {
        let limits = self.config.maxmemory > 0 || self.config.timeout > 0;
        let logs = self.config.appendonly || self.shard.log.wanted;
        let expires = self.shard.databases.iter().any(|db| db.expires_len() > 0);
        limits || logs || expires || self.is_paused() || !self.paused.is_empty() || !self.is_settled() || self.loading
    }

    /// The regular work; `hz` times a second, less often on a core that rests.
    pub(super) fn cron(&mut self) {
        self.next_cron_ms = self.now + cron_interval_ms(self.config.hz);
        if self.node.active_expire.load(Relaxed) && !self.is_paused() {
            self.expire_cycle();
        }
        self.tell_candidates(false);
        if self.core.index() == 0 {
            // What the allocator says is compared with what the cores say.
            self.tell_held_bytes();
            self.node.sample(self.now);
            self.look_after_log();
        }
        if self.now >= self.next_second_ms {
            self.next_second_ms = self.now + 1000;
            self.close_idle();
            self.sweep_trackers();
            self.close_slow();
            self.touched.extend(0..self.shard.databases.len() as u16);
            self.publish_databases();
            self.publish_slow_numbers();
            self.spare_buffers.truncate(self.spare_buffers.len().div_ceil(2));
            self.spare_batches.truncate(self.spare_batches.len().div_ceil(2));
        }
        self.count_some_clients();
        self.end_pause();
    }

    /// Wakes the control thread when something about the log is due.
    fn look_after_log(&mut self) {
        let (state, config) = (&self.node.persistence, &self.config);
        let on = state.on.load(Relaxed);
        let scheduled = state.rewrite_scheduled.load(Relaxed);
        if config.appendonly != on || scheduled {
            return self.node.tell(Control::Log);
        }
        let idle = !state.rewriting.load(Relaxed);
        let gap = state.has_gap();
        let rests = state.rests_after_failure(self.now, if gap { GAP_REST_MS } else { REWRITE_REST_MS });
        if !on || !idle || rests {
            return;
        }
        if gap {
            self.tell_of_rewrite(format_args!("because of its gap"));
            self.node.request_rewrite();
        } else if config.auto_aof_rewrite_percentage > 0 {
            let (bytes, base) = (state.current_bytes(), state.base_bytes.load(Relaxed).max(1));
            let grown = bytes.saturating_sub(base).saturating_mul(100) / base;
            if bytes > config.auto_aof_rewrite_min_size && grown >= config.auto_aof_rewrite_percentage {
                self.tell_of_rewrite(format_args!("on {grown}% growth"));
                self.node.request_rewrite();
            }
        }
    }

    /// Tells why the log is rewritten; not every time that it is tried again after a failure.
    fn tell_of_rewrite(&self, reason: std::fmt::Arguments<'_>) {
        if self.node.persistence.last_rewrite_ok.load(Relaxed) {
            tracing::info!("Starting automatic rewriting of AOF {reason}");
        }
    }

    fn expire_cycle(&mut self) {
        let effort = ExpireEffort::new(self.config.active_expire_effort);
        let (started, mut cut) = (self.clock.raw(), false);
        for index in 0..self.shard.databases.len() {
            let db = &mut self.shard.databases[index];
            if db.expires_len() == 0 {
                continue;
            }
            db.set_now(self.now);
            let (mut removed, mut goes_on) = (0, true);
            for _ in 0..effort.rounds_max {
                let some = db.expire_some(effort.budget);
                removed += some;
                goes_on = some >= effort.enough;
                if !goes_on {
                    break;
                }
            }
            cut |= goes_on;
            if removed > 0 {
                self.touched.push(index as u16);
                self.after_incidents();
            }
        }
        let metrics = self.metrics();
        metrics.expire_nanoseconds.add(self.clock.delta_as_nanos(started, self.clock.raw()));
        metrics.expire_cuts.add(u64::from(cut));
    }

    fn close_idle(&mut self) {
        let limit_ms = self.config.timeout as Millis * 1000;
        if limit_ms == 0 {
            return;
        }
        // Who listens may be silent as long as they like.
        let listens = SessionFlags::SUBSCRIBED | SessionFlags::MONITOR;
        let busy = SessionFlags::ZOMBIE | SessionFlags::CLOSING | SessionFlags::STALLED | listens;
        let since_ms = self.now - limit_ms;
        let idle = |session: &Session| session.active_ms < since_ms && !session.flags.intersects(busy);
        let sessions = self.sessions.iter_mut();
        let keys: Vec<SessionKey> = sessions.filter_map(|(key, session)| idle(session).then_some(key)).collect();
        keys.into_iter().for_each(|key| self.hang_up(key));
    }

    /// Closes clients that have been above their soft output limit for too long and give no other occasion to look.
    fn close_slow(&mut self) {
        let over = |(key, session): (SessionKey, &mut Session)| (session.over_soft_limit_ms > 0).then_some(key);
        let keys: Vec<SessionKey> = self.sessions.iter_mut().filter_map(over).collect();
        for key in keys {
            self.admit_output(key);
        }
    }

    /// Whether clients are paused: then data stays as it is, as in Redis.
    #[inline]
    pub(super) fn is_paused(&self) -> bool {
        self.node.last_pause().until_ms > self.now
    }

    /// Has keys whose time is over stay during a pause: they are gone for all who ask, and nobody is told yet.
    #[inline]
    pub(super) fn follow_pause(&mut self) {
        self.shard.keep_expired(self.is_paused());
    }

    /// Notes whether a pause holds a session back; it counts as blocked then.
    pub(super) fn hold_back(&mut self, session: &mut Session, held: bool) {
        if held != session.flags.contains(SessionFlags::PAUSED) {
            session.flags.set(SessionFlags::PAUSED, held);
            self.held_back = if held { self.held_back + 1 } else { self.held_back - 1 };
            self.publish_waits();
        }
    }

    /// Lets paused sessions go on when the pause is over, or if their commands are not concerned any more.
    pub(super) fn end_pause(&mut self) {
        if self.node.last_pause().until_ms <= self.now {
            // The last one of `resumable` goes on first.
            self.resumable.extend(self.paused.drain(..).rev());
        }
    }

    /// Closes a client whose output has grown past its limit.
    pub(super) fn check_output(&mut self, session: &mut Session, key: SessionKey) {
        if !session.flags.contains(SessionFlags::CLOSE_NOW) && self.exceeds_output_limit(session) {
            self.close_over_limit(session, key);
        }
    }

    /// Closes a client for whom more waits than may.
    pub(super) fn close_over_limit(&mut self, session: &mut Session, key: SessionKey) {
        tracing::warn!(client = session.id, "closing a client that reached its output buffer limit");
        self.metrics().output_limit_disconnections.add(1);
        session.flags.insert(SessionFlags::RESET);
        self.close(session, key);
    }

    fn exceeds_output_limit(&self, session: &mut Session) -> bool {
        let subscribed = session.flags.contains(SessionFlags::SUBSCRIBED);
        let class = if subscribed { OutputLimit::PUBSUB } else { OutputLimit::NORMAL };
        let OutputLimit { mut hard_bytes, soft_bytes, soft_seconds } = self.config.client_output_buffer_limits[class];
        if hard_bytes == 0 && session.flags.contains(SessionFlags::MONITOR) {
            hard_bytes = MONITOR_BYTES_MAX;
        }
        let stranger = acl::must_log_in(session, &self.config);
        if hard_bytes == 0 && soft_bytes == 0 && !stranger {
            return false;
        }
        let waiting = (session.output.bytes.len() + session.waiting_bytes()) as u64;
        if stranger && waiting > OUTPUT_UNAUTHENTICATED_BYTES_MAX {
            return true;
        }
        let waiting = waiting.saturating_sub(OUTPUT_UNCOUNTED_BYTES);
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

    /// Looks at a session whose output the runtime is about to send, or cannot send yet.
    pub fn admit_output(&mut self, key: SessionKey) {
        let Some(mut session) = self.sessions.take(key) else { return };
        self.check_output(&mut session, key);
        self.sessions.put_back(key, session);
    }

    /// Makes the estimated times to live and the sizes of tables and spare buffers visible to all cores.
    fn publish_slow_numbers(&mut self) {
        let metrics = &self.node.metrics[self.core.index()];
        let (mut sampled, mut expired) = (0, 0);
        for (index, db) in self.shard.databases.iter().enumerate() {
            let (some, over) = db.sample_expired(&mut self.random, EXPIRES_SAMPLED);
            (sampled, expired) = (sampled + some, expired + over);
            metrics.average_ttl_ms[index].set(db.average_ttl().max(0) as u64);
            metrics.table_bytes[index].set(db.table_bytes() as u64);
        }
        metrics.sampled_expires.set(sampled);
        metrics.sampled_expired.set(expired);
        let buffers = self.spare_buffers.iter().map(Vec::capacity).sum::<usize>();
        let batches = self.spare_batches.iter().map(|batch| batch.memory_bytes()).sum::<usize>();
        metrics.spare_bytes.set((buffers + batches) as u64);
    }

    /// Makes the counts of the databases used in this turn visible to all cores, and has their garbage freed.
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
            db.departed.take_garbage().into_iter().for_each(|garbage| self.node.reclaimer.free(garbage));
            metrics.expired_keys.add(std::mem::take(&mut db.departed.expired));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ExpireEffort, cron_interval_ms};

    #[test]
    fn directives_steer_the_cron() {
        assert_eq!([1, 10, 100, 500].map(cron_interval_ms), [1000, 100, 10, 2]);
        assert_eq!(ExpireEffort::new(1), ExpireEffort { budget: 2000, enough: 200, rounds_max: 16 });
        assert_eq!(ExpireEffort::new(10), ExpireEffort { budget: 6500, enough: 65, rounds_max: 52 });
    }
}
