//! A new generation, where the log cannot go on as it is: a core writes what its shard holds into a base, as when the log
//! is rewritten, and makes the increment in which the log goes on.

use super::in_file;
use super::load::Tail;
use super::step::{Context, Next};
use crate::metrics::persistence::{BASE_DONE, BASE_FAILED, BASE_IDLE, BASE_WRITING, ShardLog};
use crate::persistence::aof::{Kind, Manifest, SegmentId};
use crate::persistence::storage::FileIn;
use std::fs::File;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

/// The step.
pub struct Base {
    path: FileIn,
    /// What the core is to write.
    wanted: Option<(File, SegmentId)>,
    increment: Tail,
    shard: usize,
}

impl Base {
    /// Makes the files.
    pub fn new(cx: &mut Context<'_>, shard: u16) -> Result<Self, String> {
        let plan = cx.shared.plan();
        let segment = |kind| SegmentId { log: plan.log, generation: plan.next_generation(), shard, kind };
        let path = |kind| plan.dir.file(&Manifest::segment_name(&plan.filename, segment(kind)));
        let (base, increment) = (path(Kind::Base), path(Kind::Increment));
        let create = |path: &FileIn| path.create().map_err(|error| in_file(path, &error));
        let file = create(&base)?;
        let empty = create(&increment)?;
        cx.disk.run(move || empty.sync_all()).map_err(|error| in_file(&increment, &error))?;
        let base_step = Self {
            path: base,
            wanted: Some((file, segment(Kind::Base))),
            increment: Tail { path: increment, segment: segment(Kind::Increment), sequence: 0, offset: 0 },
            shard: usize::from(shard),
        };
        base_step.state(cx).base.store(BASE_WRITING, Release);
        Ok(base_step)
    }

    fn state<'c>(&self, cx: &'c Context<'_>) -> &'c ShardLog {
        &cx.engine.node().persistence.shards[self.shard]
    }

    /// Goes on for a while.
    pub fn step(&mut self, cx: &mut Context<'_>) -> Result<Next, String> {
        if cx.disk.jobs().map_err(|error| in_file(&self.increment.path, &error))? > 0 {
            return Ok(Next::Wait);
        }
        match self.state(cx).base.load(Acquire) {
            BASE_DONE => {
                self.state(cx).base.swap(BASE_IDLE, AcqRel);
                Ok(Next::Done)
            }
            BASE_FAILED => Err(format!("{} cannot be written", self.path.shown().display())),
            _ => Ok(Next::Wait),
        }
    }

    /// What the core is to write, once.
    pub fn take_wanted(&mut self) -> Option<(File, SegmentId)> {
        self.wanted.take()
    }

    /// Where the log goes on.
    pub fn increment(&self) -> Tail {
        self.increment.clone()
    }
}
