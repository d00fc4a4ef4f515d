//! The first step: a core replays the segments that are its to load.

use super::disk::Disk;
use super::pass::{Came, Event, FileEnd, Pass};
use super::step::{Context, Next};
use super::{Plan, in_file};
use crate::engine::replay::{Replay, ReplayError};
use crate::persistence::aof::{Damage, Kind, SegmentId, Verdict};
use crate::persistence::storage::FileIn;
use crate::shard::{Shard, ShardId};
use std::collections::VecDeque;
use std::fs::File;

/// A shard as there was when the log was written.
pub struct Segment {
    /// Which.
    pub shard: u16,
    /// Where it is, if it is not one of today.
    pub scratch: Option<Box<Shard>>,
    /// What replays it.
    pub replay: Replay,
    /// Its last increment.
    pub tail: Option<Tail>,
}

/// The end of a file, where the log goes on.
#[derive(Clone, Debug)]
pub struct Tail {
    /// The file.
    pub path: FileIn,
    /// Which it is.
    pub segment: SegmentId,
    /// Number of its last batch.
    pub sequence: u64,
    /// Its length.
    pub offset: u64,
}

/// The step.
pub struct Load {
    waiting: VecDeque<u16>,
    current: Option<(Pass, Segment)>,
    /// A segment is replayed whose last file is being made durable.
    settling: Option<Segment>,
}

impl Load {
    /// Of every so many segments each core loads one.
    pub fn new(plan: &Plan, core: u16, cores: u16) -> Self {
        let waiting = (0..plan.manifest.shards).filter(|shard| shard % cores == core).collect();
        Self { waiting, current: None, settling: None }
    }

    /// Keys on the scratch shard that is being filled.
    pub fn keys(&self) -> u64 {
        let loading = self.current.as_ref().map(|(_, segment)| segment);
        loading.into_iter().chain(&self.settling).map(Segment::keys).sum()
    }

    /// Goes on for a while.
    pub fn step(&mut self, cx: &mut Context<'_>) -> Result<Next, String> {
        if let Some(segment) = self.settling.take() {
            let jobs = cx.disk.jobs().map_err(|error| segment.failed(&error))?;
            if jobs > 0 {
                self.settling = Some(segment);
                return Ok(Next::Wait);
            }
            cx.segments.push(segment);
        }
        let Some((pass, segment)) = &mut self.current else {
            let Some(shard) = self.waiting.pop_front() else { return Ok(Next::Done) };
            self.current = Some((Pass::new(cx.shared.plan(), shard), Segment::new(cx, shard)));
            return Ok(Next::Again);
        };
        let engine = &mut *cx.engine;
        let came = pass.advance(cx.shared.plan(), cx.disk, cx.until, |event| match event {
            Event::Record(args) => match &mut segment.scratch {
                None => engine.replay(&mut segment.replay, args),
                Some(shard) => segment.replay.record(shard, args),
            },
            Event::File | Event::Batch if segment.replay.is_in_transaction() => Err(ReplayError::Nesting("MULTI")),
            Event::File | Event::Batch => {
                segment.replay.rewind();
                Ok(())
            }
        });
        cx.shared.count_bytes(std::mem::take(&mut pass.bytes_read));
        match came? {
            Came::Waits => return Ok(Next::Wait),
            Came::Pauses => {}
            Came::File(end) => segment.end_file(cx.shared.plan(), cx.disk, end)?,
            Came::Over => self.settling = self.current.take().map(|(_, segment)| segment),
        }
        Ok(Next::Again)
    }
}

impl Segment {
    fn new(cx: &Context<'_>, shard: u16) -> Self {
        let config = cx.engine.config();
        let id = ShardId(shard);
        let shards = cx.shared.plan().manifest.shards;
        let scratch = cx.shared.is_scattered().then(|| {
            let mut scratch = Box::new(Shard::new(id, config.databases));
            scratch.set_timeless(true);
            scratch
        });
        let replay = Replay::new(cx.engine.node().config(), id, shards, cx.now);
        Self { shard, scratch, replay, tail: None }
    }

    /// Keys on its scratch shard.
    pub fn keys(&self) -> u64 {
        self.scratch.iter().flat_map(|shard| &shard.databases).map(|db| db.len() as u64).sum()
    }

    /// Looks at how a file ends, and cuts it where it is torn.
    fn end_file(&mut self, plan: &Plan, disk: &mut Disk, end: FileEnd) -> Result<(), String> {
        let path = plan.source.file(&end.entry.name);
        let cut = match end.verdict {
            Verdict::Good => false,
            Verdict::Refuse(damage) => return Err(refused(&path, &damage, plan)),
            Verdict::Cut(damage) if !plan.cuts => return Err(torn(&path, &damage, plan)),
            Verdict::Cut(Damage { at, bytes, reason, .. }) => {
                tracing::warn!(
                    "the append-only file {} is torn at offset {at}: {reason}; its last {bytes} bytes are dropped",
                    path.shown().display()
                );
                true
            }
        };
        if plan.renews {
            return Ok(());
        }
        let last = plan.manifest.of_shard(self.shard).last().is_some_and(|last| **last == end.entry);
        if end.entry.segment.kind == Kind::Increment {
            // What is logged from here on says that what is there is durable; also in an increment that is not the last,
            // when the server was killed before that was synced.
            let (file, len) = (path.clone(), end.good);
            disk.run(move || {
                let file = file.open_to_write()?;
                if cut {
                    file.set_len(len)?;
                }
                file.sync_all()
            })
            .map_err(|error| in_file(&path, &error))?;
        }
        if last {
            self.tail = Some(Tail { path, segment: end.entry.segment, sequence: end.sequence, offset: end.good });
        }
        Ok(())
    }

    /// What to tell when its last file cannot be changed.
    pub fn failed(&self, error: &std::io::Error) -> String {
        self.tail.as_ref().map_or_else(|| error.to_string(), |tail| in_file(&tail.path, error))
    }
}

impl Tail {
    /// The file, to be appended to.
    pub fn open(&self) -> Result<File, String> {
        self.path.open_to_write().map_err(|error| in_file(&self.path, &error))
    }
}

fn refused(path: &FileIn, damage: &Damage, plan: &Plan) -> String {
    let Damage { at, noticed_at, reason, found, .. } = damage;
    let seen = if noticed_at == at { String::new() } else { format!(" (seen at {noticed_at})") };
    let behind = match found.batches {
        0 => String::new(),
        batches => format!("; {batches} good batches behind it, the first at {}", found.first),
    };
    let advice = if reason.is_mended_by_cutting() {
        format!(". `crimson check-aof {}` tells more, and can cut it there", plan.source.path().display())
    } else {
        String::new()
    };
    format!("the append-only file {} is damaged at offset {at}{seen}: {reason}{behind}{advice}", path.shown().display())
}

fn torn(path: &FileIn, damage: &Damage, plan: &Plan) -> String {
    let Damage { at, bytes, reason, .. } = damage;
    format!(
        "the append-only file {} is torn at offset {at}: {reason}. aof-load-truncated is 'no': \
         `crimson check-aof --fix {}` cuts its last {bytes} bytes off",
        path.shown().display(),
        plan.source.path().display()
    )
}
