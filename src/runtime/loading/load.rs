//! The first step: a core replays the segments that are its to load.

use super::pass::{Came, Event, FileEnd, Pass};
use super::step::{Context, Next};
use super::{Plan, in_file};
use crate::engine::replay::{Replay, ReplayError};
use crate::persistence::aof::durable::Durability;
use crate::persistence::aof::{Damage, Doubt, Entry, Kind, SegmentId, Verdict};
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
    /// How its files end, where something is to be done about that.
    pub ends: Vec<FileTail>,
}

/// The end of a file of the log.
pub struct FileTail {
    /// Which.
    pub entry: Entry,
    /// Where it is torn, if it is.
    pub torn: Option<Damage>,
    /// What of it may not be on disk.
    pub doubt: Doubt,
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
    /// The end of what is good in it: its length, but for room that was written ahead.
    pub offset: u64,
}

/// The step.
pub struct Load {
    waiting: VecDeque<u16>,
    current: Option<(Pass, Segment)>,
    /// What the files say of each other.
    pub durability: Durability,
}

impl Load {
    /// Of every so many segments each core loads one.
    pub fn new(plan: &Plan, core: u16, cores: u16) -> Self {
        let waiting = (0..plan.manifest.shards).filter(|shard| shard % cores == core).collect();
        Self { waiting, current: None, durability: Durability::default() }
    }

    /// Keys on the scratch shard that is being filled.
    pub fn keys(&self) -> u64 {
        self.current.as_ref().map_or(0, |(_, segment)| segment.keys())
    }

    /// Goes on for a while.
    pub fn step(&mut self, cx: &mut Context<'_>) -> Result<Next, String> {
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
            Event::File(_) | Event::Batch if segment.replay.is_in_transaction() => Err(ReplayError::Nesting("MULTI")),
            Event::File(file) => {
                segment.replay.stamps.generation = file.generation;
                segment.replay.rewind();
                Ok(())
            }
            Event::Batch => {
                segment.replay.rewind();
                Ok(())
            }
        });
        cx.shared.count_bytes(std::mem::take(&mut pass.bytes_read));
        match came? {
            Came::Waits => return Ok(Next::Wait),
            Came::Pauses => {}
            Came::File(end) => {
                self.durability.note(&end.entry, end.sequence, &end.vouched);
                segment.end_file(cx.shared.plan(), *end)?;
            }
            Came::Over => cx.segments.extend(self.current.take().map(|(_, segment)| segment)),
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
        Self { shard, scratch, replay, tail: None, ends: Vec::new() }
    }

    /// Keys on its scratch shard.
    pub fn keys(&self) -> u64 {
        self.scratch.iter().flat_map(|shard| &shard.databases).map(|db| db.len() as u64).sum()
    }

    /// Looks at how a file ends. Nothing is changed before all logs have been found to fit together.
    fn end_file(&mut self, plan: &Plan, end: FileEnd) -> Result<(), String> {
        let FileEnd { entry, verdict, good, sequence, doubt, .. } = end;
        let path = plan.source.file(&entry.name);
        let torn = match verdict {
            Verdict::Good => None,
            Verdict::Refuse(damage) => return Err(refused(&path, &damage, plan)),
            Verdict::OutOfOrder(damage) => return Err(out_of_order(&path, &damage, plan)),
            Verdict::Cut(damage) if !plan.cuts => return Err(torn(&path, &damage, plan)),
            Verdict::Cut(damage) => Some(damage),
        };
        if !plan.renews && plan.manifest.of_shard(self.shard).last().is_some_and(|last| **last == entry) {
            self.tail = Some(Tail { path, segment: entry.segment, sequence, offset: good });
        }
        if sequence > 0 {
            // Nothing is written to a file before all of those in front of it is on disk.
            self.ends.iter_mut().for_each(|end| end.doubt.settle());
        }
        if torn.is_some() || entry.segment.kind == Kind::Increment {
            self.ends.push(FileTail { entry, torn, doubt });
        }
        Ok(())
    }
}

impl Tail {
    /// The file, to be appended to.
    pub fn open(&self) -> Result<File, String> {
        self.path.open_to_write().map_err(|error| in_file(&self.path, &error))
    }
}

fn refused(path: &FileIn, damage: &Damage, plan: &Plan) -> String {
    let Damage { at, noticed_at, reason, .. } = damage;
    let seen = if noticed_at == at { String::new() } else { format!(" (seen at {noticed_at})") };
    let advice = match damage.may_be_cut() {
        true => format!(". `crimson check-aof {}` tells more, and can cut it there", plan.source.path().display()),
        false => ". Put the right file back".into(),
    };
    let behind = behind(damage);
    format!("the append-only file {} is damaged at offset {at}{seen}: {reason}{behind}{advice}", path.shown().display())
}

fn out_of_order(path: &FileIn, damage: &Damage, plan: &Plan) -> String {
    let Damage { at, reason, .. } = damage;
    let advice = match damage.may_be_cut() {
        true => format!("`crimson check-aof --fix {}` cuts it there", plan.source.path().display()),
        false if damage.may_be_emptied() => format!(
            "Nothing in front of it is good. Where it cannot be restored, `crimson check-aof --fix \
             --truncate-at-corruption {}` cuts all of it, if nothing else says that it was on disk",
            plan.source.path().display()
        ),
        false => "Nothing in front of it is good, so it is not cut".into(),
    };
    format!(
        "the append-only file {} is out of order at offset {at}: {reason}{}. A power failure may leave that of what was not \
         synced; otherwise the file is damaged and should be restored. {advice}",
        path.shown().display(),
        behind(damage)
    )
}

/// What is good behind the damage.
fn behind(damage: &Damage) -> String {
    match damage.found.batches {
        0 => String::new(),
        batches => format!("; {batches} good batches behind it, the first at {}", damage.found.first),
    }
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
