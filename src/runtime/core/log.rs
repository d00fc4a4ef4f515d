//! A core's part in the append-only log: what its turns have changed is written, bases of rewrites are, and nothing leaves
//! the core that tells of a change which is not as safe as the policy wants it.

use super::Core;
use crate::commands::node::Control;
use crate::config::Fsync;
use crate::engine::cut::CutHere;
use crate::metrics::persistence::{BASE_DONE, BASE_FAILED};
use crate::persistence::aof::{CutFiles, Kind, Sealer, SegmentId};
use crate::runtime::log::{Base, Gate, Group, Log};
use crate::runtime::mailbox::Mail;
use crate::runtime::socket;
use crate::shard::Millis;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Core {
    /// Appends what the turn has changed to the log, and has it written.
    pub(super) fn keep_log(&mut self, now: Millis) {
        let Some(log) = &mut self.log else { return };
        let config = self.engine.config();
        let persistence = &self.engine.node().persistence;
        let rests = config.no_appendfsync_on_rewrite && persistence.rewriting.load(Ordering::Relaxed);
        let generation = persistence.generation.load(Ordering::Acquire);
        // Nobody waits for a log that has been switched off, from when that was answered.
        log.set_off(!config.appendonly);
        log.writer().set_policy(if rests || !config.appendonly { Fsync::No } else { config.appendfsync });
        if config.appendonly && !self.ending {
            log.vouch(now, &persistence.shards);
        }
        if self.engine.has_log() {
            let timestamps = config.aof_timestamp_enabled;
            log.append(now, timestamps, |records| self.engine.take_log(records));
        }
        // Switched off at run time: what is there is finished.
        let ends = !self.engine.is_logging();
        if ends && log.writer().trouble().is_some() && !log.writer().is_busy() {
            return self.give_log_up();
        }
        // A log that is off has no use for any generation.
        let mended = log.writer().mend(if ends { u64::MAX } else { generation });
        let wanted = self.engine.node().persistence.flushes.load(Ordering::Acquire) > 0;
        let flush = ends || wanted || self.engine.awaits_sync();
        if flush || log.is_due(now) {
            log.submit(&mut self.ring, now, flush);
        }
        log.tell(self.engine.shard_log());
        self.engine.node().persistence.note_behind(self.mailbox.owner().index(), log.is_behind());
        if ends && log.writer().is_settled() && log.is_idle() {
            self.engine.shard_log().held_bytes.set(0);
            self.engine.shard_log().set_durable_batch(0, 0);
            self.log = None;
        }
        if mended && !ends {
            self.tell_trouble(None, false);
        }
    }

    /// The log has been switched off and cannot be written: what was to be written is not tried again.
    fn give_log_up(&mut self) {
        let shard = self.engine.shard_log();
        let unwritten = shard.unwritten_bytes.get();
        tracing::warn!("the append-only log is off; {unwritten} bytes that could not be written are not in it");
        shard.errno.store(0, Ordering::Relaxed);
        shard.gap.store(0, Ordering::Relaxed);
        [&shard.unwritten_bytes, &shard.held_bytes, &shard.pending_syncs].iter().for_each(|bytes| bytes.set(0));
        self.engine.node().persistence.note_behind(self.mailbox.owner().index(), false);
        self.log = None;
    }

    /// Goes on with new files where a cut has been made in this turn.
    pub(super) fn make_cuts(&mut self, now: Millis) {
        for CutHere { cut, before } in self.engine.take_cuts() {
            let shard = self.mailbox.owner();
            let files = cut.files.get(shard.index());
            let files = files.and_then(|files| files.lock().unwrap_or_else(PoisonError::into_inner).take());
            let segment = |kind| SegmentId { log: cut.log, generation: cut.generation, shard: shard.0, kind };
            if let Some(log) = self.log.as_mut().filter(|_| !before.is_empty()) {
                let timestamps = self.engine.config().aof_timestamp_enabled;
                log.append(now, timestamps, |records| records.extend_from_slice(&before));
            }
            let Some(CutFiles { increment, base, pending }) = files else { continue };
            if cut.logs {
                match &mut self.log {
                    Some(log) => log.switch(increment, segment(Kind::Increment), self.engine.shard_log()),
                    None => {
                        let policy = self.engine.config().appendfsync;
                        let sealer = Sealer::new(segment(Kind::Increment));
                        let before = self.engine.shard_log().appended.get();
                        self.log = Some(Log::new(increment, sealer, 0, policy, now, before));
                    }
                }
                if let (Some(log), Some(pending)) = (&mut self.log, pending) {
                    log.set_pending(Ok(pending));
                }
            }
            self.base = base.map(|file| Base::new(file, segment(Kind::Base), now));
        }
    }

    /// Goes on with the base, if one is being written; whether there is more to do at once.
    pub(super) fn keep_base(&mut self, now: Millis) -> bool {
        let walks = self.engine.has_snapshot();
        let Some(base) = &mut self.base else {
            return walks && !self.heal_snapshot();
        };
        let room = base.has_room();
        base.append(now, |records| self.engine.step_snapshot(room, records));
        base.submit(&mut self.ring, now);
        let state = self.engine.shard_log();
        state.base_bytes.set(base.bytes());
        state.base_held_bytes.set(base.held_bytes());
        if base.is_done() {
            self.end_base(BASE_DONE);
        }
        walks && room && self.engine.has_snapshot()
    }

    pub(super) fn base_written(&mut self, result: i32) {
        let Some(base) = &mut self.base else { return };
        if !base.done(result, socket::now_ms()) {
            // The control thread tells, for it knows what has been told already.
            self.engine.shard_log().base_errno.store(-result.min(-1), Ordering::Relaxed);
            self.engine.abandon_snapshot();
            self.base = None;
            if !self.engine.has_snapshot() {
                self.end_base(BASE_FAILED);
            }
        }
    }

    /// Goes on through a snapshot whose base could not be written; whether it is over. Only then has the base failed for
    /// others, for they may begin the next snapshot.
    fn heal_snapshot(&mut self) -> bool {
        let over = self.engine.step_snapshot(true, &mut Vec::new());
        if over {
            self.end_base(BASE_FAILED);
        }
        over
    }

    /// The base is written, or cannot be: the control thread does the rest.
    fn end_base(&mut self, state: u8) {
        self.base = None;
        let node = self.engine.node();
        let shard = self.engine.shard_log();
        shard.base_held_bytes.set(0);
        shard.base.store(state, Ordering::Release);
        node.tell(Control::Log);
    }

    /// A write or sync of the log is over.
    pub(super) fn logged(&mut self, result: i32) {
        let now = socket::now_ms();
        let Some(log) = &mut self.log else { return };
        let before = log.writer().trouble();
        let group = log.done(result, now);
        // Before anybody hears that it is safe.
        log.tell(self.engine.shard_log());
        self.engine.node().persistence.note_behind(self.mailbox.owner().index(), log.is_behind());
        let (after, gap) = (log.writer().trouble(), log.writer().gap().is_some());
        if before != after || gap {
            self.tell_trouble(after, gap);
        }
        match group {
            Some(group) if self.gate() == Gate::Lost => self.drop_group(group),
            Some(group) => self.release_group(group),
            None => {}
        }
    }

    /// Tells all cores whether the log can be written; `None`: it can. `gap`: not before it is rewritten.
    fn tell_trouble(&mut self, errno: Option<i32>, gap: bool) {
        let shard = self.engine.shard_log();
        shard.errno.store(errno.unwrap_or(0), Ordering::Relaxed);
        self.engine.look_at_log();
        match errno {
            Some(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                let until = if gap {
                    "the log, which may have a gap now, is rewritten"
                } else {
                    "it works, trying again every second"
                };
                tracing::error!(%error, "can't write the append-only log; writes are refused until {until}");
            }
            None => tracing::warn!("the append-only log is written again, writes are accepted"),
        }
    }

    /// What may leave this core.
    pub(super) fn gate(&self) -> Gate {
        self.log.as_ref().map_or(Gate::Open, Log::gate)
    }

    /// Sends and posts what the turn has to say, as far as the log lets it.
    pub(super) fn let_out(&mut self, stall: Option<Duration>) {
        let gate = self.gate();
        if gate == Gate::Open {
            self.post_outgoing();
        }
        if let Some(duration) = stall {
            std::thread::sleep(duration);
        }
        match gate {
            Gate::Open => drop(self.flush(false)),
            Gate::Shut => self.mailbox.post_backlog(|ring| self.ring.wake(ring)),
            Gate::Hold | Gate::Lost => {
                let group = self.gather_group();
                let log = self.log.as_mut().expect("only a log closes the gate");
                if gate == Gate::Hold {
                    log.hold(group);
                } else {
                    log.forget_lost();
                    self.drop_group(group);
                }
            }
        }
    }

    /// Takes all that waits to be sent and posted.
    fn gather_group(&mut self) -> Group {
        let mut group = Group::default();
        self.engine.take_outgoing(&mut group.mail);
        group.sessions = self.flush(true);
        group
    }

    /// The changes that a group tells of are safe.
    fn release_group(&mut self, group: Group) {
        for (to, message) in group.mail {
            self.mailbox.post(to, Mail::Engine(message), |ring| self.ring.wake(ring));
        }
        for key in group.sessions {
            if let Some(connection) = self.connections.get_mut(key.0 as usize).and_then(Option::as_mut) {
                connection.release(&mut self.ring, key.0);
            }
        }
    }

    /// The changes that a group tells of may be lost: its clients must not hear of them, and lose their connections
    /// instead, as they would in a crash. So do those for whom such a reply waits behind that of another core. Other cores
    /// hear that they have failed.
    fn drop_group(&mut self, group: Group) {
        for (to, mut message) in group.mail {
            message.disown();
            self.mailbox.post(to, Mail::Engine(message), |ring| self.ring.wake(ring));
        }
        let held = self.engine.sessions_with_held_replies();
        group.sessions.into_iter().chain(held).for_each(|key| self.give_up(key.0));
    }

    /// Writes and syncs the rest of the log, unless that fails; then the control thread tells what is left.
    pub(super) fn end_log(&mut self) -> io::Result<()> {
        while let Some(log) = &mut self.log {
            log.submit(&mut self.ring, socket::now_ms(), true);
            if log.writer().is_settled() || log.writer().trouble().is_some() {
                break;
            }
            self.turn()?;
        }
        if let Some(log) = &mut self.log {
            log.tell_left(self.engine.shard_log());
        }
        Ok(())
    }
}
