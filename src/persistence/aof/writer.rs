//! The writer of one shard's log: what is appended, what is written, what is known to be on disk. It does no I/O: it
//! names the next job, and is told how it went. There is one job at a time.
//!
//! What is not known to be on disk stays in memory. After a write or sync that failed nobody can say what of it the disk
//! has; then it is written again from the last place that is known, once a second until it works. So a log that has
//! failed and recovered has no gap. While nothing is synced (`no`), only what is not written stays in memory; a sync that
//! fails after that, of a file that ends or under another policy, may leave one. No later sync tells, for the kernel may
//! have given up what it could not write. Nothing is written then, in that file or a newer one: so it is torn at the gap, as
//! a file is that a crash has cut off. That ends when a generation is in force that does without it ([`Writer::mend`]).
//!
//! With `always` replies wait until what they tell of is on disk. Each write is one batch, so that a power failure in the
//! middle of it leaves no good batch behind a bad one. With the other policies replies wait until the kernel has it: the
//! batch of a turn is put into the pending area ([`Pending`]) before they leave, and written later, much at a time. Where
//! there is no room, or no such area, they wait until it is written.
//!
//! What a file has on disk its next batch says, so that damage to it is told from a write that was cut off. Where no batch
//! follows for a second, or the log ends, a mark does: a batch without records. The first batch of a new file says what is
//! on disk of the one before it, and now and then a batch says what another shard has ([`Writer::vouch`]).
//!
//! The first batch of an increment is written alone, and is on disk before anything else is written there, whatever the
//! policy. What follows may reach the disk in any order until it is synced; so a power failure may leave a hole further
//! on, which can be cut off, but no file that begins with one, where nothing in front of it would be left.
//!
//! With `everysec`, whole blocks are written past the kernel's page cache where many wait: to copy them there and to find
//! them again at the sync costs several times what the disk does. The rest of the last block goes with what follows, or
//! by an ordinary write if nothing does.

#[cfg(test)]
mod tests;

use super::batch::{self, Kind, Sealer, SegmentId};
use super::chunk::{BatchEnd, Chunk};
use super::pending::{self, Pending};
use crate::config::Fsync;
use crate::limits::{
    AOF_AHEAD_BYTES, AOF_CHUNK_BYTES, AOF_SPARE_CHUNKS_MAX, AOF_UNSYNCED_BYTES_MAX, AOF_UNWRITTEN_BYTES_MAX,
    AOF_WRITE_BYTES, HUGE_PAGE_BYTES,
};
use crate::stdx::buffer::Buffer;
use std::collections::VecDeque;

/// How long a failed write rests before it is tried again, and the time between syncs, in milliseconds.
const SECOND_MS: i64 = 1000;

/// How long after a sync another one is made for a write that goes past the page cache. Until then it goes through it.
const ORDER_MS: i64 = 100;

/// A file that is being written, by whatever stands for it outside.
struct Segment<F> {
    file: F,
    sealer: Sealer,
    /// The length of the file before it, as the pending area wants to know it.
    before: u64,
    /// The last batch that need not be kept any more.
    settled: u64,
    /// The last batch with records, and the one that the last batch calls durable.
    last_records: u64,
    called_durable: u64,
    /// Up to here the file is on disk. What follows are the chunks, one behind the other.
    synced: u64,
    chunks: VecDeque<Chunk>,
    /// So many of the chunks are written.
    written: usize,
    /// So many bytes of the next one are: one operation need not write all of it.
    begun: usize,
    /// Whether the page cache has some of it that may not be on disk. What goes past the cache would come before that, and a
    /// power failure leave it behind a hole.
    cached: bool,
    /// Up to here the file has zero bytes at least, on disk.
    ahead: u64,
    /// Whether more than its first batch may be written: that one is on disk, or nobody loads the file before all of it is.
    /// Until then that batch is the first chunk.
    has_head: bool,
    /// Whether something was written since the last sync.
    dirty: bool,
    /// Whether some of that is not kept in a chunk.
    unkept: bool,
    /// Whether a sync of such has failed.
    gap: bool,
}

/// How bytes are written past the kernel's page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direct {
    /// Places in the file and in memory, and lengths, are multiples of this; a power of two.
    pub block_bytes: usize,
    /// Fewer are written through the cache.
    pub least_bytes: usize,
}

impl<F> Segment<F> {
    fn offset(&self) -> u64 {
        self.synced + self.chunks.iter().take(self.written).map(|chunk| chunk.len() as u64).sum::<u64>()
    }

    fn generation(&self) -> u64 {
        self.sealer.segment().generation
    }

    /// The last batch that the file has been given.
    fn written_batch(&self) -> u64 {
        let last = self.written.checked_sub(1).and_then(|last| self.chunks.get(last));
        last.map_or(0, |chunk| chunk.end().sequence).max(self.settled)
    }

    /// Bytes of the chunks from `from` on.
    fn bytes_from(&self, from: usize) -> usize {
        self.chunks.iter().skip(from).map(Chunk::len).sum()
    }

    /// Begins a chunk for so many bytes at least, behind what has this position. `ends`: the last one may end where a block
    /// does from now on.
    fn begin_chunk(&mut self, spares: &mut Spares, bytes: usize, direct: Option<Direct>, ends: bool, position: u64) {
        let end = self.synced + self.bytes_from(0) as u64;
        let begun = if self.written + 1 == self.chunks.len() { self.begun } else { 0 };
        let before = self.chunks.back_mut();
        // What came last tells best how much is to come.
        let capacity = bytes.max(before.as_ref().map_or(0, |chunk| chunk.len() / 4 * 5)).min(AOF_CHUNK_BYTES);
        let block = direct.filter(|direct| capacity >= direct.least_bytes).map_or(1, |direct| direct.block_bytes);
        let cut = |last: &&mut Chunk| ends && last.has_blocks(block, 0) && begun + last.behind_blocks() < last.len();
        let mut chunk = Chunk::new(spares.take(block, capacity), end, block, capacity, position);
        if let Some(last) = before.filter(cut) {
            last.cut(&mut chunk);
        }
        self.chunks.push_back(chunk);
    }

    /// What the next write takes of the next chunk, from `begun` on: so many bytes, and whether past the cache.
    fn plan(&mut self, direct: Option<Direct>, spares: &mut Spares) -> (usize, bool) {
        let start = self.offset() + self.begun as u64;
        let left = self.chunks[self.written].len() - self.begun;
        let Some(direct) = direct.filter(|_| self.has_head) else { return (left, false) };
        let block = direct.block_bytes as u64;
        let (end, first) = (start + left as u64, start.next_multiple_of(block));
        let last = end - end % block;
        let lies_well = self.chunks[self.written].has_blocks(direct.block_bytes, self.begun);
        if !lies_well || last < first + direct.least_bytes as u64 {
            return (left, false);
        }
        if last < end && self.written + 1 == self.chunks.len() {
            let position = self.chunks[self.written].end().position;
            self.begin_chunk(spares, left, Some(direct), true, position);
        } else if last < end && self.chunks[self.written + 1].has_blocks(direct.block_bytes, 0) {
            let (chunks, next) = self.chunks.make_contiguous().split_at_mut(self.written + 1);
            chunks[self.written].cut(&mut next[0]);
        }
        if start < first { ((first - start) as usize, false) } else { ((last - start) as usize, true) }
    }

    /// Bytes that are left of the chunk that is written next.
    fn next_bytes(&self) -> usize {
        self.chunks.get(self.written).map_or(0, |chunk| chunk.len() - self.begun)
    }

    /// The first chunks need not be kept any longer; the position of the last of them.
    /// `durable`: they are on disk.
    fn settle(&mut self, count: usize, durable: bool, spares: &mut Spares) -> Option<u64> {
        let mut settled = None;
        for chunk in self.chunks.drain(..count) {
            self.synced += chunk.len() as u64;
            let end = chunk.end();
            self.settled = self.settled.max(end.sequence);
            if durable {
                self.sealer.synced(end.sequence);
            }
            settled = Some(end.position);
            spares.put(chunk.into_buffer());
        }
        self.written -= count;
        settled
    }

    /// Nobody needs it any more. The position of the last of what it had, if there was any.
    fn give_up(&mut self) -> Option<u64> {
        (self.written, self.begun) = (self.chunks.len(), 0);
        (self.dirty, self.unkept, self.gap) = (false, false, false);
        self.settle(self.written, false, &mut Spares::default())
    }
}

/// Memory of chunks that are not needed any more, for new ones.
#[derive(Default)]
struct Spares {
    heap: Buffer,
    huge: Vec<Buffer>,
}

impl Spares {
    /// Memory for a chunk with blocks of this size and so many bytes. Where so much is logged that a huge page will nearly be
    /// filled, it gets one.
    fn take(&mut self, block: usize, capacity: usize) -> Buffer {
        if block > 1 && (AOF_WRITE_BYTES / 2..=AOF_CHUNK_BYTES).contains(&capacity) {
            self.huge.pop().unwrap_or_else(|| Buffer::huge(HUGE_PAGE_BYTES))
        } else {
            std::mem::take(&mut self.heap)
        }
    }

    fn put(&mut self, buffer: Buffer) {
        if !buffer.is_huge() {
            if buffer.capacity() <= 2 * AOF_CHUNK_BYTES {
                self.heap = buffer;
            }
        } else if self.huge.len() < AOF_SPARE_CHUNKS_MAX {
            self.huge.push(buffer);
        }
    }

    fn held_bytes(&self) -> usize {
        self.heap.capacity() + self.huge.iter().map(Buffer::capacity).sum::<usize>()
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Job<'a, F> {
    /// Write these bytes, which stay where they are until [`Writer::done`].
    Write {
        /// To which file.
        file: &'a F,
        /// Where.
        offset: u64,
        /// What.
        bytes: &'a [u8],
        /// Whether it is done only when it is on disk.
        durable: bool,
        /// Whether it goes past the kernel's page cache: the place, the length and the bytes' own place are whole blocks.
        direct: bool,
    },
    /// Force to disk what is written.
    Sync {
        /// Of which file.
        file: &'a F,
    },
}

#[derive(Clone, Copy, Debug)]
enum Flight {
    Write {
        durable: bool,
        direct: bool,
        /// Whether zero bytes are written behind the chunk.
        ahead: bool,
    },
    /// Covers so many written chunks, and all that was written before them.
    Sync {
        chunks: usize,
        /// What had been written when it began, as [`Writer::positions`] counts, and its last batch.
        position: u64,
        sequence: u64,
    },
}

/// Why nothing is written for a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    errno: i32,
    again_ms: i64,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It went well.
    Well,
    /// It failed, and will be tried again.
    Failed,
}

/// The writer of one shard's log.
pub struct Writer<F> {
    policy: Fsync,
    /// The last one takes what is appended; those before it are finished first.
    segments: VecDeque<Segment<F>>,
    flight: Option<Flight>,
    trouble: Option<Trouble>,
    synced_ms: i64,
    /// What is no batch of the newest file yet, whether there are records in it, and when they were appended.
    unsealed: Vec<u8>,
    has_records: bool,
    appended_ms: i64,
    /// Positions: bytes of records since the beginning that were appended, that are in batches, that a file has, that need
    /// not be kept any more (they are on disk; with `no`: written), and that are on disk whatever the policy.
    appended: u64,
    /// The position of the last records: nobody waits for marks.
    wanted: u64,
    sealed: u64,
    handed: u64,
    durable: u64,
    synced: u64,
    pending: Option<Pending>,
    spares: Spares,
    /// Whether and how the page cache is gone past.
    direct: Option<Direct>,
    /// Whether the disk has no room for zero bytes.
    is_narrow: bool,
}

impl<F> Writer<F> {
    /// Appends to a file that ends at `offset`.
    pub fn new(policy: Fsync, file: F, sealer: Sealer, offset: u64, now_ms: i64) -> Self {
        let mut writer = Self {
            policy,
            segments: VecDeque::new(),
            flight: None,
            trouble: None,
            synced_ms: now_ms,
            unsealed: Vec::new(),
            has_records: false,
            appended_ms: now_ms,
            appended: 0,
            wanted: 0,
            sealed: 0,
            handed: 0,
            durable: 0,
            synced: 0,
            pending: None,
            spares: Spares::default(),
            direct: None,
            is_narrow: false,
        };
        writer.push(file, sealer, offset, pending::WHOLE);
        writer
    }

    fn push(&mut self, file: F, sealer: Sealer, synced: u64, before: u64) {
        let (chunks, written, begun) = Default::default();
        let (dirty, unkept, gap) = Default::default();
        let (last_records, called_durable) = (sealer.sequence(), 0);
        let has_head = sealer.sequence() > 0 || sealer.segment().kind == Kind::Base;
        self.segments.push_back(Segment {
            file,
            sealer,
            before,
            settled: sealer.sequence(),
            last_records,
            called_durable,
            synced,
            chunks,
            written,
            begun,
            cached: false,
            ahead: synced,
            has_head,
            dirty,
            unkept,
            gap,
        });
    }

    /// From now on what is appended outlives the process in this area, where the policy does not make it durable.
    pub fn set_pending(&mut self, pending: Pending) {
        self.pending = Some(pending);
    }

    /// From now on appends to an empty file. What was appended before is written and synced first, so that the old file
    /// has no gap whenever the new one has anything, or is not a part of the log any more.
    pub fn switch(&mut self, file: F, segment: SegmentId) {
        self.seal();
        let before = self.file_bytes();
        let old = self.segments.back().expect("there is always a file to append to").sealer;
        self.push(file, Sealer::new(segment), 0, before);
        self.is_narrow = false;
        if old.sequence() > 0 && old.segment().log == segment.log {
            self.vouch(old.segment(), old.sequence());
        }
    }

    /// Has the next batch say that a batch of another file is on disk, before which nothing is written to this one.
    pub fn vouch(&mut self, segment: SegmentId, sequence: u64) {
        let before = self.unsealed.len();
        batch::write_durable(&mut self.unsealed, segment, sequence);
        self.appended += (self.unsealed.len() - before) as u64;
    }

    /// The file that is appended to, and its last batch that is known to be on disk; none behind the last with records, so
    /// that shards that vouch for each other come to rest.
    pub fn durable_batch(&self) -> (SegmentId, u64) {
        let segment = self.segments.back().expect("there is always a file to append to");
        (segment.sealer.segment(), segment.sealer.durable().min(segment.last_records))
    }

    /// The file that is appended to, and its last batch: on disk if all is settled.
    pub fn last_batch(&self) -> (SegmentId, u64) {
        let segment = self.segments.back().expect("there is always a file to append to");
        (segment.sealer.segment(), segment.sealer.sequence())
    }

    /// Follows another policy from now on.
    pub fn set_policy(&mut self, policy: Fsync) {
        self.policy = policy;
        if policy != Fsync::Always {
            self.seal();
        }
    }

    /// Whether replies wait until what they tell of is on disk.
    pub fn is_always(&self) -> bool {
        self.policy == Fsync::Always
    }

    /// From now on goes past the page cache where it pays, or no longer.
    pub fn set_direct(&mut self, direct: Option<Direct>) {
        self.direct = direct;
    }

    /// How the next write may go past the page cache. Without syncs the cache is what is asked for, and with one after
    /// each write there is never much.
    fn direct(&self) -> Option<Direct> {
        self.direct.filter(|_| self.policy == Fsync::EverySecond)
    }

    /// Appends the records of a turn, and empties `records`.
    pub fn append(&mut self, records: &mut Vec<u8>, now_ms: i64) {
        if records.is_empty() {
            return;
        }
        self.appended += records.len() as u64;
        self.wanted = self.appended;
        self.appended_ms = now_ms;
        self.has_records = true;
        if self.unsealed.is_empty() {
            std::mem::swap(&mut self.unsealed, records);
        } else {
            self.unsealed.append(records);
        }
        if self.policy != Fsync::Always {
            self.seal();
        }
    }

    /// Makes a batch of what was appended.
    fn seal(&mut self) {
        if self.unsealed.is_empty() {
            return;
        }
        self.end_batch();
        let segment = self.segments.back_mut().expect("there is always a file to append to");
        if std::mem::take(&mut self.has_records) {
            segment.last_records = segment.sealer.sequence();
        }
        if self.unsealed.capacity() > AOF_CHUNK_BYTES {
            // Much was logged at once; that need not be so again.
            self.unsealed = Vec::new();
        }
    }

    /// Ends a batch of what is not sealed, if there is anything, and puts it into the pending area.
    fn end_batch(&mut self) {
        let (start, end) = (self.sealed, self.appended);
        let offset = self.file_bytes() - self.unsealed.len() as u64;
        let segment = self.segments.back_mut().expect("there is always a file to append to");
        segment.called_durable = segment.sealer.durable();
        let unix_ms = self.appended_ms.max(0) as u64;
        if !segment.sealer.seal(&mut self.unsealed, 0, unix_ms) {
            segment.sealer.mark(&mut self.unsealed, unix_ms);
        }
        let (id, before, sequence) = (segment.sealer.segment(), segment.before, segment.sealer.sequence());
        let mut batch = std::mem::take(&mut self.unsealed);
        self.open_chunk(batch.len()).append(&batch, BatchEnd { sequence, position: end });
        self.sealed = end;
        if let Some(pending) = self.pending.as_mut().filter(|_| self.policy != Fsync::Always) {
            let head = pending::Head { segment: id, sequence, offset, before };
            pending.put(head, &batch, (start, end), self.handed);
        }
        batch.clear();
        self.unsealed = batch;
    }

    /// Says which batch is durable, if none has said so and none is on its way.
    fn mark(&mut self) {
        let segment = &self.segments[0];
        let whole = segment.sealer.durable() == segment.sealer.sequence();
        let is_base = segment.sealer.segment().kind == Kind::Base;
        if whole && !is_base && segment.last_records > segment.called_durable {
            // It has a position of its own.
            self.appended += 1;
            self.end_batch();
        }
    }

    /// The chunk of the newest file that takes so many bytes more.
    fn open_chunk(&mut self, len: usize) -> &mut Chunk {
        let in_flight = matches!(self.flight, Some(Flight::Write { .. })) && self.segments.len() == 1;
        let (direct, position) = (self.direct(), self.sealed);
        let segment = self.segments.back_mut().expect("there is always a file to append to");
        let taken = segment.written + usize::from(in_flight);
        let open = segment.chunks.len() > taken;
        let fits = |chunk: &Chunk| chunk.len() + len <= AOF_CHUNK_BYTES;
        let is_head = !segment.has_head && segment.chunks.len() == 1;
        if !open || is_head || !segment.chunks.back().is_some_and(fits) {
            segment.begin_chunk(&mut self.spares, len, direct, open && !is_head, position);
        }
        segment.chunks.back_mut().expect("just opened")
    }

    /// The position of the records that were appended last, and the one up to which replies need not wait.
    pub fn positions(&self) -> (u64, u64) {
        let safe = match (self.policy, &self.pending) {
            (Fsync::Always, _) => self.durable,
            (_, Some(pending)) => pending.covers(self.handed),
            (_, None) => self.handed,
        };
        (self.wanted, safe)
    }

    /// The position up to which everything is known to be on disk, whatever the policy.
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// Whether replies have to wait, because what they tell of is not as safe as the policy wants it.
    pub fn holds_replies(&self) -> bool {
        let (appended, safe) = self.positions();
        safe < appended
    }

    /// Whether a job is under way.
    pub fn is_busy(&self) -> bool {
        self.flight.is_some()
    }

    /// Whether something is being forced to disk.
    pub fn is_syncing(&self) -> bool {
        matches!(self.flight, Some(Flight::Sync { .. } | Flight::Write { durable: true, .. }))
    }

    /// Whether everything appended is on disk.
    pub fn is_settled(&self) -> bool {
        let settled = |segment: &Segment<F>| segment.chunks.is_empty() && !segment.dirty;
        self.flight.is_none() && self.segments.len() == 1 && settled(&self.segments[0]) && self.unsealed.is_empty()
    }

    /// Whether so much waits to be written that nothing more should be appended for a while.
    pub fn is_congested(&self) -> bool {
        self.unwritten_bytes() > AOF_UNWRITTEN_BYTES_MAX as u64
    }

    /// The error number of what failed last, while it has not succeeded since.
    pub fn trouble(&self) -> Option<i32> {
        self.trouble.as_ref().map(|trouble| trouble.errno)
    }

    /// The generation of the file in which something may be missing that cannot be written again, if there is one. Until
    /// it is mended, there is trouble.
    pub fn gap(&self) -> Option<u64> {
        self.segments.front().filter(|segment| segment.gap).map(Segment::generation)
    }

    /// `generation` is in force: nobody loads older files any more, and all that was to be in them is on disk without them.
    /// Whether that has ended a gap.
    pub fn mend(&mut self, generation: u64) -> bool {
        if self.gap().is_none_or(|gap| gap >= generation) {
            return false;
        }
        for segment in self.segments.iter_mut().filter(|segment| segment.generation() < generation) {
            self.durable = segment.give_up().unwrap_or(self.durable);
        }
        self.unsealed.shrink_to_fit();
        // Newer files have had to wait.
        self.synced = self.durable;
        self.handed = self.handed.max(self.durable);
        self.trouble = None;
        true
    }

    /// Length of the file that is appended to, with what is not written yet.
    pub fn file_bytes(&self) -> u64 {
        let sealed = self.segments.back().map_or(0, |segment| segment.synced + segment.bytes_from(0) as u64);
        sealed + self.unsealed.len() as u64
    }

    /// Bytes of memory for what is not written or, where it may have to be written again, not synced yet.
    pub fn held_bytes(&self) -> u64 {
        let chunks = self.segments.iter().flat_map(|segment| &segment.chunks);
        (chunks.map(Chunk::held_bytes).sum::<usize>() + self.spares.held_bytes() + self.unsealed.capacity()) as u64
    }

    /// Bytes that are not written yet.
    pub fn unwritten_bytes(&self) -> u64 {
        let sealed: usize = self.segments.iter().map(|segment| segment.bytes_from(segment.written)).sum();
        (sealed + self.unsealed.len()) as u64
    }

    /// The position of what the oldest file has been given last.
    fn written(&self) -> u64 {
        let segment = self.segments.front().expect("there is always a file to append to");
        let last = segment.written.checked_sub(1).and_then(|last| segment.chunks.get(last));
        last.map_or(self.durable, |chunk| chunk.end().position)
    }

    /// Begins the next job, if there is one and none is under way. `flush` asks for a sync without waiting for its time.
    pub fn next(&mut self, now_ms: i64, flush: bool) -> Option<Job<'_, F>> {
        let gap = self.gap().is_some();
        if self.flight.is_some() || gap || self.trouble.as_ref().is_some_and(|trouble| now_ms < trouble.again_ms) {
            return None;
        }
        // A file that is over and on disk is let go.
        while self.segments.len() > 1 && self.segments[0].chunks.is_empty() && !self.segments[0].dirty {
            self.segments.pop_front();
        }
        let closing = self.segments.len() > 1;
        if !closing && self.segments[0].written == self.segments[0].chunks.len() {
            self.seal();
            let idle = now_ms - self.appended_ms >= SECOND_MS;
            if idle {
                self.spares = Spares::default();
            }
            if (flush || idle) && !self.segments[0].dirty && self.segments[0].written == self.segments[0].chunks.len() {
                self.mark();
            }
        }
        let segment = self.segments.front().expect("there is always a file to append to");
        let unsynced = segment.bytes_from(0) - segment.bytes_from(segment.written);
        let overdue = self.policy == Fsync::EverySecond
            && (now_ms - self.synced_ms >= SECOND_MS || unsynced >= AOF_UNSYNCED_BYTES_MAX);
        let writes = segment.written < segment.chunks.len();
        let asked = flush || !writes && closing;
        // What is to go past the cache comes after what is in it.
        let orders = self.direct().is_some_and(|direct| segment.cached && segment.next_bytes() >= direct.least_bytes)
            && now_ms - self.synced_ms >= ORDER_MS;
        let must = orders || asked || self.policy == Fsync::Always || overdue || !segment.has_head && writes;
        if (segment.dirty || orders) && must {
            let (chunks, position, sequence) = (segment.written, self.written(), segment.written_batch());
            self.flight = Some(Flight::Sync { chunks, position, sequence });
            return Some(Job::Sync { file: &self.segments[0].file });
        }
        if !writes {
            return None;
        }
        // A durable write is durable for its own bytes only, not for those that another one has written before it.
        let durable = self.policy == Fsync::Always && segment.begun == 0;
        let how = self.direct().filter(|_| !segment.cached);
        let segment = self.segments.front_mut().expect("just seen");
        let (len, direct) = segment.plan(how, &mut self.spares);
        let offset = segment.offset() + segment.begun as u64;
        let ahead = durable && !closing && !self.is_narrow && offset + len as u64 > segment.ahead;
        // What stands in front of whole blocks has to be on disk before them.
        let durable = durable || how.is_some() && !direct && len < segment.next_bytes();
        self.flight = Some(Flight::Write { durable, direct, ahead });
        let chunk = &mut segment.chunks[segment.written];
        chunk.set_room(if ahead { AOF_AHEAD_BYTES } else { 0 });
        let bytes = match ahead {
            true => chunk.bytes_and_room(),
            false => &chunk.bytes()[segment.begun..][..len],
        };
        Some(Job::Write { file: &segment.file, offset, bytes, durable, direct })
    }

    /// The job under way is over: `result` is the bytes written or synced, or a negative error number.
    pub fn done(&mut self, result: i32, now_ms: i64) -> Done {
        let flight = self.flight.take().expect("a job was under way");
        if matches!(flight, Flight::Write { direct: true, .. }) && result == -libc::EINVAL {
            // This file system wants something else of such writes, or has none.
            self.direct = None;
            return Done::Well;
        }
        let closing = self.segments.len() > 1;
        let segment = self.segments.front_mut().expect("there is always a file to append to");
        if let Flight::Write { ahead: true, .. } = flight {
            segment.ahead = segment.offset() + result.max(0) as u64;
            segment.chunks[segment.written].set_room(0);
            if matches!(-result, libc::ENOSPC | libc::EDQUOT | libc::EFBIG) {
                // There may be room for the batch alone.
                self.is_narrow = true;
                return Done::Well;
            }
        }
        let failed = match flight {
            Flight::Write { .. } if result == 0 => Some(libc::ENOSPC),
            _ if result < 0 => Some(-result),
            _ => None,
        };
        if let Some(errno) = failed {
            (segment.written, segment.begun) = (0, 0);
            // After a sync that has failed, what is kept is written again, and what is not cannot be.
            let writes = matches!(flight, Flight::Write { .. });
            segment.gap = segment.unkept && !writes;
            segment.dirty &= writes || segment.gap;
            segment.cached &= segment.dirty;
            self.trouble = Some(Trouble { errno, again_ms: now_ms + SECOND_MS });
            return Done::Failed;
        }
        if let Flight::Write { .. } = flight {
            let left = segment.chunks[segment.written].len() - segment.begun;
            segment.begun += left.min(result as usize);
            segment.cached |= matches!(flight, Flight::Write { durable: false, direct: false, .. });
            if segment.begun < segment.chunks[segment.written].len() {
                // A full disk says so with the rest: until then nothing is known to be better.
                return Done::Well;
            }
            segment.begun = 0;
        }
        self.trouble = None;
        let settled = match flight {
            Flight::Write { durable, .. } => {
                self.handed = self.handed.max(segment.chunks[segment.written].end().position);
                segment.written += 1;
                segment.dirty |= !durable;
                let keeps = !durable && (self.policy != Fsync::No || closing || !segment.has_head);
                segment.has_head |= durable;
                segment.unkept |= !durable && !keeps;
                if keeps { None } else { segment.settle(segment.written, durable, &mut self.spares) }
            }
            Flight::Sync { chunks, position, sequence } => {
                self.synced = position;
                segment.sealer.synced(sequence);
                segment.has_head |= sequence > 0;
                self.synced_ms = now_ms;
                segment.cached = false;
                (segment.dirty, segment.unkept) = (segment.written > chunks, false);
                segment.settle(chunks, true, &mut self.spares)
            }
        };
        if let Some(position) = settled {
            self.durable = position;
        }
        if matches!(flight, Flight::Write { durable: true, .. }) {
            self.synced = self.durable;
        }
        Done::Well
    }
}
