//! A core's part in the append-only log: what its engine logs in a turn goes to the file through the core's own ring, so
//! that a core that sleeps there hears when it is done.
//!
//! Nothing leaves a core that tells of changes which are not as safe as the policy promises: on disk with `appendfsync
//! always`, else with the kernel, which keeps them when the process dies. Most often the pending area has them at the end
//! of the turn, and all leaves at once. Otherwise replies and mail of a turn are held as a group until the log has caught
//! up with it. Meanwhile the core goes on running commands; what these have to say is the next group. So there is one
//! write for all that a core does while the disk is busy, and clients wait for two of them at most.

#![allow(unsafe_code)]

use super::ring::{Ring, Token};
use crate::config::Fsync;
use crate::engine::message::Message;
use crate::limits::{
    AOF_BLOCK_BYTES, AOF_CHUNK_BYTES, AOF_DIRECT_BYTES_MIN, AOF_PENDING_BYTES, AOF_PENDING_BYTES_MIN, AOF_PENDING_SHARE,
};
use crate::limits::{AOF_WRITE_BYTES, SNAPSHOT_UNWRITTEN_BYTES_MAX};
use crate::metrics::persistence::ShardLog;
use crate::persistence::aof::pending::{Area, Pending};
use crate::persistence::aof::record::write_timestamp;
use crate::persistence::aof::writer::{Done, Job};
use crate::persistence::aof::{Direct, Sealer, SegmentId, Writer};
use crate::session::SessionKey;
use crate::shard::{Millis, ShardId};
use crate::stdx::mapped::MappedFile;
use crate::stdx::os::error_text;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

/// A core writes its log at least this often, and at once where it has not for so long. To do so whenever it has a moment
/// would be thousands of small writes a second where clients wait for each other.
const WRITE_AFTER_MS: Millis = 10;

/// So often a shard's log says what the next one has on disk.
const VOUCH_AFTER_MS: Millis = 1000;

/// How files are written past the page cache.
const DIRECT: Direct = Direct { block_bytes: AOF_BLOCK_BYTES, least_bytes: AOF_DIRECT_BYTES_MIN };

/// What may leave a core at the end of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Everything.
    Open,
    /// Nothing yet: it is held as a group.
    Hold,
    /// Nothing, and there is a group already: it stays where it is.
    Shut,
    /// Nothing for ever: the changes that it tells of could not be made safe.
    Lost,
}

/// What waits for the log.
#[derive(Default)]
pub struct Group {
    /// Sessions whose connections hold what is to be sent.
    pub sessions: Vec<SessionKey>,
    /// Mail, in order.
    pub mail: Vec<(ShardId, Message)>,
    position: u64,
}

/// One core's log, in files that `F` stands for.
pub struct Log<F = OwnedFd> {
    writer: Writer<F>,
    records: Vec<u8>,
    group: Option<Group>,
    /// The second of the last line with the time.
    stamped_s: Millis,
    /// When something was last submitted.
    written_ms: Millis,
    /// When it was last seen what the next shard has on disk, and what that was.
    vouched_ms: Millis,
    vouched: Option<(u64, u64)>,
    /// Nobody waits for it any more: it is being switched off.
    off: bool,
    /// A write has failed in this turn, or something was appended behind one that has, so all that the turn has to say is lost.
    lost: bool,
    /// Bytes that this core had logged before, while there was a log.
    before: u64,
}

impl<F> Log<F> {
    /// Appends to a file that ends at `offset`. `before` bytes have been logged since the core started.
    pub fn new(file: F, sealer: Sealer, offset: u64, policy: Fsync, now: Millis, before: u64) -> Self {
        let mut writer = Writer::new(policy, file, sealer, offset, now);
        writer.set_direct(Some(DIRECT));
        Self {
            writer,
            records: Vec::new(),
            group: None,
            stamped_s: 0,
            written_ms: now,
            vouched_ms: now,
            vouched: None,
            off: false,
            lost: false,
            before,
        }
    }

    /// What is to be done and known of the log.
    pub fn writer(&mut self) -> &mut Writer<F> {
        &mut self.writer
    }

    /// From now on appends to another, empty file. What it has appended to up to now stays a part of the log.
    pub fn switch(&mut self, file: F, segment: SegmentId, shard: &ShardLog) {
        shard.earlier_bytes.add(self.writer.file_bytes());
        self.writer.switch(file, segment);
        self.tell(shard);
    }

    /// Whether it has been switched off, and is only brought to its end.
    pub fn set_off(&mut self, off: bool) {
        self.off = off;
    }

    /// Once a second, has the next batch say what the next shard has on disk. `shards`: all of them.
    pub fn vouch(&mut self, now: Millis, shards: &[ShardLog]) {
        if now - self.vouched_ms < VOUCH_AFTER_MS || shards.len() < 2 || self.writer.trouble().is_some() {
            return;
        }
        self.vouched_ms = now;
        let (own, _) = self.writer.durable_batch();
        let shard = (usize::from(own.shard) + 1) % shards.len();
        let durable = shards[shard].durable_batch();
        // Of a newer one nobody knows yet whether it will be part of the log.
        let known = durable.filter(|(generation, _)| durable != self.vouched && *generation <= own.generation);
        if let Some((generation, sequence)) = known {
            self.writer.vouch(SegmentId { generation, shard: shard as u16, ..own }, sequence);
        }
        self.vouched = durable;
    }

    /// Appends what `take` gives.
    /// `timestamps`: behind a line with the time, once a second.
    pub fn append(&mut self, now: Millis, timestamps: bool, take: impl FnOnce(&mut Vec<u8>)) {
        let seconds = now / 1000;
        if timestamps && seconds != self.stamped_s {
            self.stamped_s = seconds;
            write_timestamp(&mut self.records, seconds.max(0) as u64);
        }
        take(&mut self.records);
        self.writer.append(&mut self.records, now);
        if self.records.capacity() > AOF_CHUNK_BYTES {
            // Much was logged at once; that need not be so again.
            self.records = Vec::new();
        }
        // What had begun before the log failed, on another core or behind locks, ends like what has failed with it.
        self.lost |= !self.off && self.writer.trouble().is_some() && self.writer.holds_replies();
    }

    /// Whether what is appended should be written now: unless somebody waits for it, few large writes are better than many
    /// small ones.
    pub fn is_due(&self, now: Millis) -> bool {
        let much = self.writer.unwritten_bytes() >= AOF_WRITE_BYTES as u64;
        much || self.writer.holds_replies() || now - self.written_ms >= WRITE_AFTER_MS
    }

    /// Begins the next job, if none is under way; with `flush` a sync is due at once.
    pub fn next(&mut self, now: Millis, flush: bool) -> Option<Job<'_, F>> {
        self.written_ms = now;
        self.writer.next(now, flush)
    }

    /// The job under way is over. A group that is safe now comes out, or one that never will be; which, the gate tells.
    pub fn done(&mut self, result: i32, now: Millis) -> Option<Group> {
        let knew = self.writer.trouble().is_some();
        let failed = self.writer.done(result, now) == Done::Failed;
        // What has left since the first failure, and what leaves now, tells of nothing that another one could lose.
        self.lost |= failed && !knew && !self.off && self.writer.holds_replies();
        let safe = self.writer.positions().1;
        self.group.take_if(|group| failed || group.position <= safe)
    }

    /// What may leave the core now.
    pub fn gate(&self) -> Gate {
        match () {
            () if self.lost => Gate::Lost,
            () if self.group.is_some() => Gate::Shut,
            () if !self.off && self.writer.holds_replies() && self.writer.trouble().is_none() => Gate::Hold,
            () => Gate::Open,
        }
    }

    /// Holds a group until all is safe that has been appended up to now.
    pub fn hold(&mut self, group: Group) {
        debug_assert!(self.group.is_none(), "one group at a time");
        self.group = Some(Group { position: self.writer.positions().0, ..group });
    }

    /// Whether nothing waits for it.
    pub fn is_idle(&self) -> bool {
        self.group.is_none()
    }

    /// Whether so much waits to be written that nothing more should be appended for a while. Where nothing can be written,
    /// changes are refused, and others need not wait.
    pub fn is_behind(&self) -> bool {
        self.writer.is_congested() && self.writer.trouble().is_none()
    }

    /// Makes its numbers known.
    pub fn tell(&self, shard: &ShardLog) {
        let appended = self.writer.positions().0;
        shard.file_bytes.set(self.writer.file_bytes());
        shard.unwritten_bytes.set(self.writer.unwritten_bytes());
        shard.held_bytes.set(self.writer.held_bytes() + self.records.capacity() as u64);
        shard.gap.store(self.writer.gap().unwrap_or(0), Relaxed);
        shard.pending_syncs.set(u64::from(self.writer.is_syncing()));
        shard.appended.set(self.before + appended);
        shard.durable.set(self.before + self.writer.synced());
        let (segment, sequence) = self.writer.durable_batch();
        shard.set_durable_batch(segment.generation, sequence);
    }

    /// Makes known what is left when the core ends. What `always` has not made durable nobody was told of.
    pub fn tell_left(&self, shard: &ShardLog) {
        let left = if self.writer.is_settled() { 0 } else { self.writer.unwritten_bytes().max(1) };
        let (appended, safe) = self.writer.positions();
        if left == 0 {
            let (segment, sequence) = self.writer.last_batch();
            shard.set_durable_batch(segment.generation, sequence);
        }
        shard.left_bytes.set(left);
        shard.lost_bytes.set(if self.writer.is_always() { 0 } else { appended.saturating_sub(safe) });
    }

    /// What was lost is gone: from now on only what is safe is told.
    pub fn forget_lost(&mut self) {
        self.lost = false;
    }
}

impl Area for MappedFile {
    fn len(&self) -> usize {
        self.len()
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.put(at, bytes);
    }
}

impl Log {
    /// From now on what is appended is put into `file`, a new one, so that it outlives the process. Without such a file
    /// replies wait until what they tell of is written.
    pub fn set_pending(&mut self, file: io::Result<File>) {
        match file.and_then(|file| reserve(&file)) {
            Ok(area) => self.writer.set_pending(Pending::new(Box::new(area))),
            // A full disk says so with the first write.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            Err(error) => tracing::warn!(
                "No pending area for the append-only log: {}. Replies to writes wait for the file system",
                error_text(&error)
            ),
        }
    }

    /// Submits the next job, if there is one.
    pub(super) fn submit(&mut self, ring: &mut Ring, now: Millis, flush: bool) {
        // SAFETY: a log lives as long as the ring, or until it is settled.
        let submitted = self.next(now, flush).map(|job| unsafe { submit(job, ring, Token::Log) });
        if let Some(Err(_)) = submitted {
            self.writer.set_direct(None);
        }
    }
}

/// Maps a pending area, smaller where the disk has no room for a large one.
fn reserve(file: &File) -> io::Result<MappedFile> {
    let disk = rustix::fs::fstatvfs(file)?;
    let share = disk.f_bavail.saturating_mul(disk.f_frsize) / AOF_PENDING_SHARE;
    let mut bytes = AOF_PENDING_BYTES.min(share as usize).max(AOF_PENDING_BYTES_MIN);
    loop {
        match file.set_len(0).and_then(|()| MappedFile::reserve(file, bytes)) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && bytes > AOF_PENDING_BYTES_MIN => bytes /= 4,
            reserved => return reserved,
        }
    }
}

/// The base that a core writes while its snapshot goes on.
pub struct Base<F = OwnedFd> {
    writer: Writer<F>,
    records: Vec<u8>,
    /// Whether all records have been appended.
    whole: bool,
}

impl<F> Base<F> {
    /// Writes to an empty file.
    pub fn new(file: F, segment: SegmentId, now: Millis) -> Self {
        // Synced piece by piece: one sync of all at the end would hold up those of the increment.
        let mut writer = Writer::new(Fsync::EverySecond, file, Sealer::new(segment), 0, now);
        writer.set_direct(Some(DIRECT));
        Self { writer, records: Vec::new(), whole: false }
    }

    /// Whether the snapshot may hand out more.
    pub fn has_room(&self) -> bool {
        self.writer.unwritten_bytes() < SNAPSHOT_UNWRITTEN_BYTES_MAX
    }

    /// Appends what `take` gives, which tells whether that is all.
    pub fn append(&mut self, now: Millis, take: impl FnOnce(&mut Vec<u8>) -> bool) {
        if !self.whole {
            self.whole = take(&mut self.records);
            self.writer.append(&mut self.records, now);
        }
    }

    /// Begins the next job, if none is under way and it is worth one.
    pub fn next(&mut self, now: Millis) -> Option<Job<'_, F>> {
        let much = self.writer.unwritten_bytes() >= AOF_WRITE_BYTES as u64;
        if much || self.whole { self.writer.next(now, self.whole) } else { None }
    }

    /// The job under way is over; whether it went well.
    pub fn done(&mut self, result: i32, now: Millis) -> bool {
        self.writer.done(result, now) == Done::Well
    }

    /// Whether it is whole and on disk.
    pub fn is_done(&self) -> bool {
        self.whole && self.writer.is_settled()
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.writer.file_bytes()
    }

    /// Bytes of it in memory.
    pub fn held_bytes(&self) -> u64 {
        self.writer.held_bytes()
    }
}

impl Base {
    /// Submits the next job, if there is one.
    pub(super) fn submit(&mut self, ring: &mut Ring, now: Millis) {
        // SAFETY: a base is given up only when a job is over.
        let submitted = self.next(now).map(|job| unsafe { submit(job, ring, Token::Base) });
        if let Some(Err(_)) = submitted {
            self.writer.set_direct(None);
        }
    }
}

/// Submits a job; its completion comes with `token`. An error: the file cannot be written past the page cache, and the
/// job goes through it.
///
/// # Safety
/// The writer that has named the job, which leaves its bytes alone until it is done, must live until then.
unsafe fn submit(job: Job<'_, OwnedFd>, ring: &mut Ring, token: Token) -> io::Result<()> {
    match job {
        Job::Sync { file } => {
            ring.sync_file(file.as_raw_fd(), token);
            Ok(())
        }
        Job::Write { file, offset, bytes, durable, direct } => {
            // One job at a time: none is under way that it could concern.
            let switched = set_direct(file, direct);
            // SAFETY: the caller sees to it that the bytes stay.
            unsafe { ring.write_file(file.as_raw_fd(), offset, bytes, durable, token) };
            switched
        }
    }
}

/// Has a file written past the kernel's page cache from now on, or through it.
fn set_direct(file: &OwnedFd, direct: bool) -> io::Result<()> {
    // SAFETY: asks for the flags of a file that is open.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    let wanted = if direct { flags | libc::O_DIRECT } else { flags & !libc::O_DIRECT };
    // SAFETY: sets one flag of it.
    let failed =
        flags == -1 || flags != wanted && unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, wanted) } == -1;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever had only read lost the connection each time that a log which had failed was tried again in vain.
    #[test]
    fn who_reads_while_a_log_fails_again_is_answered() {
        let (log, kind) = (crate::persistence::aof::LogId(1), crate::persistence::aof::Kind::Increment);
        let segment = SegmentId { log, generation: 1, shard: 0, kind };
        let mut log = Log::new((), Sealer::new(segment), 0, Fsync::Always, 0, 0);
        let change =
            |log: &mut Log<()>, now| log.append(now, false, |out| out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n"));
        let fail = |log: &mut Log<()>, now| {
            assert!(log.next(now, false).is_some());
            assert!(log.done(-libc::EIO, now).is_none());
        };
        change(&mut log, 0);
        assert_eq!(log.gate(), Gate::Hold);
        fail(&mut log, 0);
        assert_eq!(log.gate(), Gate::Lost);
        log.forget_lost();
        for now in [1000, 2000] {
            fail(&mut log, now);
            assert_eq!(log.gate(), Gate::Open);
        }
        // What had begun before is lost like what had failed first.
        change(&mut log, 2500);
        assert_eq!(log.gate(), Gate::Lost);
        log.forget_lost();
        fail(&mut log, 3000);
        assert_eq!(log.gate(), Gate::Open);
    }
}
