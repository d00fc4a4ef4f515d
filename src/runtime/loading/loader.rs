//! One core's loading: which step it is in, and what it tells of its progress.

use super::base::Base;
use super::disk::Disk;
use super::load::{Load, Segment, Tail};
use super::recover::{Complete, Find};
use super::spread::Spread;
use super::step::{Context, Next};
use super::trim::Trim;
use super::{Loading, LoadingPart, Stage, set_aside};
use crate::engine::Engine;
use crate::engine::message::KeyState;
use crate::persistence::aof::{SegmentId, pending};
use crate::shard::{Millis, ShardId};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long a core loads in one turn before it looks at its clients.
const SLICE: Duration = Duration::from_millis(2);

/// How often the log tells how far the loading is.
const PROGRESS: Duration = Duration::from_secs(1);

enum Work {
    Load(Box<Load>),
    Trim(Trim),
    Find(Box<Find>),
    Complete(Complete),
    Spread(Spread),
    Settle,
    Base(Base),
    /// The log is to be opened by the core.
    Open,
}

/// What has come of a turn.
pub enum Turn {
    /// It goes on.
    Loads,
    /// The core is to write what its shard holds into this file.
    Writes(File, SegmentId),
    /// The core is to begin to log, at the end of this file, and to say that it has.
    Opens(Tail),
    /// All serve.
    Over,
}

/// One core's loading.
pub struct Loader {
    core: u16,
    shared: Arc<Loading>,
    disk: Disk,
    segments: Vec<Segment>,
    stage: Option<Stage>,
    work: Option<Work>,
    tail: Option<Tail>,
    /// Whether there is nothing to do until something comes.
    idle: bool,
    /// Keys that other cores have sent.
    pub received: u64,
    /// Keys that have been counted.
    keys: u64,
    started: Instant,
    told: Instant,
}

impl Loader {
    /// Of core `core`.
    pub fn new(core: ShardId, part: LoadingPart) -> Self {
        let LoadingPart { shared, disk } = part;
        let now = Instant::now();
        Self {
            core: core.0,
            shared,
            disk,
            segments: Vec::new(),
            stage: None,
            work: None,
            tail: None,
            idle: false,
            received: 0,
            keys: 0,
            started: now,
            told: now,
        }
    }

    /// Whether the next turn has something to do.
    pub fn is_ready(&self) -> bool {
        !self.idle || self.disk.has_news()
    }

    /// How long it has gone on.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Does its part of a turn.
    pub fn turn(
        &mut self,
        engine: &mut Engine,
        now: Millis,
        congested: bool,
        outgoing: &mut Vec<(ShardId, Vec<KeyState>)>,
    ) -> Turn {
        if self.shared.stage() == Stage::Serve {
            return Turn::Over;
        }
        match self.go_on(engine, now, congested, outgoing) {
            Ok(next) => self.idle = next == Next::Wait,
            Err(failure) => {
                self.shared.fail(failure);
                (self.work, self.idle) = (None, true);
            }
        }
        self.count_keys(engine);
        if self.core == 0 && self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            self.tell();
        }
        match &mut self.work {
            Some(Work::Open) => self.tail.take().map_or(Turn::Loads, Turn::Opens),
            Some(Work::Base(base)) => {
                base.take_wanted().map_or(Turn::Loads, |(file, segment)| Turn::Writes(file, segment))
            }
            _ => Turn::Loads,
        }
    }

    /// Makes the file of the core's pending area. All is loaded: the one that is there is needed no more, or kept.
    pub fn create_pending(&self) -> io::Result<File> {
        let plan = self.shared.plan();
        let name = pending::name(&plan.filename, self.core);
        if plan.kept.contains(&name) {
            set_aside(&plan.dir, &name)?;
        }
        plan.dir.file(&name).create()
    }

    /// The core logs.
    pub fn opened(&mut self) {
        self.work = None;
        self.shared.arrive(Stage::Open);
    }

    /// The core cannot log.
    pub fn fail(&mut self, failure: String) {
        self.work = None;
        self.shared.fail(failure);
    }

    fn go_on(
        &mut self,
        engine: &mut Engine,
        now: Millis,
        congested: bool,
        outgoing: &mut Vec<(ShardId, Vec<KeyState>)>,
    ) -> Result<Next, String> {
        let stage = self.shared.stage();
        let begins = self.stage != Some(stage);
        let mut cx = Context {
            shared: &self.shared,
            disk: &mut self.disk,
            engine,
            segments: &mut self.segments,
            outgoing,
            congested,
            now,
            until: Instant::now() + SLICE,
        };
        if begins {
            self.stage = Some(stage);
            self.work = begin(stage, self.core, &mut cx)?;
            if stage == Stage::Open {
                self.tail = self.tail.take().or_else(|| self.segments.first().and_then(|segment| segment.tail.clone()));
                return Ok(Next::Wait);
            }
        }
        let next = match &mut self.work {
            None | Some(Work::Open) => return Ok(Next::Wait),
            Some(Work::Load(load)) => load.step(&mut cx)?,
            Some(Work::Trim(trim)) => trim.step(&mut cx)?,
            Some(Work::Find(find)) => find.step(&mut cx)?,
            Some(Work::Complete(complete)) => complete.step(&mut cx)?,
            Some(Work::Spread(spread)) => spread.step(&mut cx)?,
            Some(Work::Settle) if self.received < cx.shared.sent_to(self.core) => Next::Wait,
            Some(Work::Settle) => Next::Done,
            Some(Work::Base(base)) => base.step(&mut cx)?,
        };
        if next == Next::Done {
            self.end(stage);
        }
        Ok(next)
    }

    /// This core is through with a stage.
    fn end(&mut self, stage: Stage) {
        match self.work.take() {
            Some(Work::Load(load)) => {
                self.shared.note_durability(load.durability);
                for segment in &mut self.segments {
                    self.shared.note_stamps(segment.shard, std::mem::take(&mut segment.replay.stamps));
                }
            }
            Some(Work::Base(base)) => {
                self.shared.note_base(self.core);
                self.tail = Some(base.increment());
            }
            _ => {}
        }
        self.shared.arrive(stage);
    }

    /// Makes the number of keys known.
    fn count_keys(&mut self, engine: &Engine) {
        let loaded: u64 = self.segments.iter().map(Segment::keys).sum();
        let loading = if let Some(Work::Load(load)) = &self.work { load.keys() } else { 0 };
        let keys = engine.keys() + loaded + loading;
        let more = keys.wrapping_sub(self.keys);
        self.shared.progress().keys.fetch_add(more, Relaxed);
        self.keys = keys;
    }

    fn tell(&self) {
        const MIB: f64 = 1024.0 * 1024.0;
        let progress = self.shared.progress();
        let (total, loaded) = (progress.total_bytes.load(Relaxed), progress.loaded_bytes.load(Relaxed));
        let keys = progress.keys.load(Relaxed);
        let rate = loaded as f64 / self.elapsed().as_secs_f64();
        match self.stage {
            Some(Stage::Load) => tracing::info!(
                "loading: {:.0}% of {:.0} MiB, {keys} keys, {:.0} MiB/s, {:.0} seconds left",
                percent(loaded, total),
                total as f64 / MIB,
                rate / MIB,
                total.saturating_sub(loaded) as f64 / rate.max(1.0)
            ),
            Some(Stage::Trim | Stage::Find | Stage::Complete) => {
                tracing::info!("loading: completing transactions, {keys} keys")
            }
            Some(Stage::Spread | Stage::Settle) => tracing::info!("loading: giving {keys} keys to their shards"),
            _ => tracing::info!("loading: writing {keys} keys to a new generation of the log"),
        }
    }
}

/// How much of a whole, in percent.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 100.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// What a core has to do in a stage.
fn begin(stage: Stage, core: u16, cx: &mut Context<'_>) -> Result<Option<Work>, String> {
    let plan = cx.shared.plan();
    Ok(Some(match stage {
        Stage::Load => Work::Load(Box::new(Load::new(plan, core, cx.shared.cores))),
        Stage::Trim => Work::Trim(Trim::new(cx)),
        Stage::Find => Work::Find(Box::new(Find::new(cx))),
        Stage::Complete => Work::Complete(Complete::default()),
        Stage::Spread => Work::Spread(Spread::new(ShardId(core), cx.shared.cores)),
        Stage::Settle => Work::Settle,
        Stage::Base => Work::Base(Base::new(cx, core)?),
        Stage::Open => Work::Open,
        Stage::Begin | Stage::Commit | Stage::Serve => return Ok(None),
    }))
}
