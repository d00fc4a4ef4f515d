//! A new generation, where the log cannot go on as it is: a core writes what its shard holds into a base, and makes the
//! increment in which the log goes on.

use super::load::Tail;
use super::step::{Context, Next};
use super::{Plan, in_file};
use crate::limits::{AOF_BASE_BATCH_BYTES, AOF_LOAD_CHUNKS_MAX};
use crate::persistence::aof::{Kind, Manifest, Sealer, SegmentId, record};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Keys between two looks at the clock.
const KEYS_PER_LOOK: usize = 128;

/// The step.
pub struct Base {
    path: PathBuf,
    file: Arc<File>,
    sealer: Sealer,
    increment: Tail,
    /// The batch that is being filled, and the database in which it is.
    batch: Vec<u8>,
    database: u16,
    written: u64,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Walk,
    Sync,
}

impl Base {
    /// Makes the files.
    pub fn new(cx: &mut Context<'_>, plan: &Plan, shard: u16) -> Result<Self, String> {
        let generation = plan.renewal.expect("only a renewal comes here");
        let segment = |kind| SegmentId { generation, shard, kind };
        let path = |kind| plan.dir.join(Manifest::segment_name(&plan.filename, segment(kind)));
        let (base, increment) = (path(Kind::Base), path(Kind::Increment));
        let create = |path: &PathBuf| File::create(path).map_err(|error| in_file(path, &error));
        let file = Arc::new(create(&base)?);
        let empty = create(&increment)?;
        cx.disk.run(move || empty.sync_all()).map_err(|error| in_file(&increment, &error))?;
        cx.engine.begin_dump();
        Ok(Self {
            path: base,
            file,
            sealer: Sealer::new(segment(Kind::Base)),
            increment: Tail { path: increment, segment: segment(Kind::Increment), sequence: 0, offset: 0 },
            batch: Vec::new(),
            database: 0,
            written: 0,
            phase: Phase::Walk,
        })
    }

    /// Goes on for a while.
    pub fn step(&mut self, cx: &mut Context<'_>) -> Result<Next, String> {
        self.go_on(cx).map_err(|error| in_file(&self.path, &error))
    }

    fn go_on(&mut self, cx: &mut Context<'_>) -> io::Result<Next> {
        loop {
            let jobs = cx.disk.jobs()?;
            if self.phase == Phase::Sync {
                return Ok(if jobs > 0 { Next::Wait } else { Next::Done });
            }
            if jobs >= AOF_LOAD_CHUNKS_MAX - 1 {
                return Ok(Next::Wait);
            }
            let over = cx.engine.step_dump(KEYS_PER_LOOK, |database, records| {
                if self.database != database {
                    self.database = database;
                    record::begin(&mut self.batch, 2);
                    record::argument(&mut self.batch, b"SELECT");
                    record::number(&mut self.batch, database);
                }
                self.batch.append(records);
            });
            if over || self.batch.len() >= AOF_BASE_BATCH_BYTES {
                self.write(cx)?;
            }
            if over {
                let file = self.file.clone();
                cx.disk.run(move || file.sync_all())?;
                self.phase = Phase::Sync;
            } else if Instant::now() >= cx.until {
                return Ok(Next::Again);
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        self.database = 0;
        if !self.sealer.seal(&mut batch, 0, cx.now.max(0) as u64) {
            return Ok(());
        }
        let (file, offset) = (self.file.clone(), self.written);
        self.written += batch.len() as u64;
        cx.disk.run(move || file.write_all_at(&batch, offset))
    }

    /// Where the log goes on, and the length of the base.
    pub fn result(&self) -> (Tail, u64) {
        (self.increment.clone(), self.written)
    }
}
