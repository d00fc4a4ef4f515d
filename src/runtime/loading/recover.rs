//! Transactions over several shards that some of these have lost with their tails: a core looks its own segments through
//! for those that others lack ([`Find`]), and then completes its own ([`Complete`]).

use super::in_file;
use super::load::Segment;
use super::pass::{Came, Event, Pass};
use super::step::{Context, Next};
use crate::persistence::aof::record::LIMITS;
use crate::persistence::aof::{Sealer, TransactionView};
use crate::resp::Args;
use crate::resp::parser::{Parsed, RequestParser, Scratch};
use ahash::AHashSet;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// The search.
pub struct Find {
    /// Shards as there were whose segments have what others lack, and its stamps.
    waiting: VecDeque<(u16, AHashSet<u64>)>,
    current: Option<Pass>,
}

impl Find {
    /// In the segments that this core has loaded.
    pub fn new(cx: &Context<'_>) -> Self {
        let wanted = |segment: &Segment| {
            let missing = cx.shared.missing().iter().filter(|missing| missing.has == segment.shard);
            (segment.shard, missing.map(|missing| missing.stamp).collect::<AHashSet<_>>())
        };
        let waiting = cx.segments.iter().map(wanted).filter(|(_, stamps)| !stamps.is_empty()).collect();
        Self { waiting, current: None }
    }

    /// Goes on for a while.
    pub fn step(&mut self, cx: &mut Context<'_>) -> Result<Next, String> {
        let Some((shard, stamps)) = self.waiting.front() else { return Ok(Next::Done) };
        let pass = self.current.get_or_insert_with(|| Pass::new(cx.shared.plan(), *shard));
        let shared = cx.shared;
        let came = pass.advance(shared.plan(), cx.disk, cx.until, |event| {
            if let Event::Record(args) = event
                && TransactionView::is_one(args)
                && let Some(view) = TransactionView::parse(args)
                && stamps.contains(&view.stamp)
            {
                shared.found(view.to_transaction());
            }
            Ok::<(), Infallible>(())
        });
        match came? {
            Came::Waits => return Ok(Next::Wait),
            Came::Pauses | Came::File(_) => {}
            Came::Over => {
                self.current = None;
                self.waiting.pop_front();
            }
        }
        Ok(Next::Again)
    }
}

/// The completion.
#[derive(Default)]
pub struct Complete {
    /// The segment that is being completed, and the place in the list of what is missing.
    segment: usize,
    at: usize,
    /// Records for the segment's log.
    batch: Vec<u8>,
    completed: u64,
    /// Commands of them that have failed.
    failed: usize,
    record: Vec<u8>,
}

impl Complete {
    /// Goes on for a while.
    pub fn step(&mut self, cx: &mut Context<'_>) -> Result<Next, String> {
        if cx.disk.jobs().map_err(|error| format!("can't append what a segment had lost: {error}"))? > 0 {
            return Ok(Next::Wait);
        }
        if self.segment == cx.segments.len() {
            return Ok(Next::Done);
        }
        while let Some(missing) = cx.shared.missing().get(self.at) {
            self.at += 1;
            if missing.lack.contains(&cx.segments[self.segment].shard) {
                self.complete(cx, missing.stamp)?;
            }
            if Instant::now() >= cx.until {
                return Ok(Next::Again);
            }
        }
        self.append(cx)?;
        (self.segment, self.at) = (self.segment + 1, 0);
        Ok(Next::Again)
    }

    /// Applies the segment's part of a transaction.
    fn complete(&mut self, cx: &mut Context<'_>, stamp: u64) -> Result<(), String> {
        let segment = &mut cx.segments[self.segment];
        let wrong =
            |reason: &dyn std::fmt::Display| format!("can't complete the transaction with stamp {stamp}: {reason}");
        let transaction = cx.shared.transaction(stamp).ok_or_else(|| wrong(&"its record has gone"))?;
        self.record.clear();
        transaction.write(segment.shard, &mut self.record);
        let mut rest = &self.record[..];
        while !rest.is_empty() {
            let mut scratch = Scratch::default();
            let Ok(Parsed::Request(len)) = RequestParser::default().parse(rest, &mut scratch, LIMITS) else {
                return Err(wrong(&"its record is too large"));
            };
            let view = TransactionView::parse(Args::new(rest, &scratch.spans));
            let view = view.ok_or_else(|| wrong(&"its record is malformed"))?;
            let failed = match &mut segment.scratch {
                None => cx.engine.complete(&mut segment.replay, &view),
                Some(shard) => segment.replay.complete(shard, &view),
            };
            self.failed += failed.map_err(|error| wrong(&error))?;
            rest = &rest[len..];
        }
        self.completed += 1;
        self.batch.extend_from_slice(&self.record);
        Ok(())
    }

    /// Appends the records to the segment's log as one batch: all are there afterwards, or none.
    fn append(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        let segment = &mut cx.segments[self.segment];
        let completed = std::mem::take(&mut self.completed);
        if completed == 0 {
            return Ok(());
        }
        tracing::warn!(
            "shard {}: completed {completed} transactions over several shards that had been lost with the end of its log",
            segment.shard
        );
        let mut batch = std::mem::take(&mut self.batch);
        let failed = std::mem::take(&mut self.failed);
        if failed > 0 {
            tracing::warn!(
                "shard {}: {failed} of their commands have failed, because what they worked on had been lost, too",
                segment.shard
            );
            // They would fail again at the next start: what there is now is written instead.
            cx.shared.renew();
        }
        let Some(tail) = segment.tail.as_mut().filter(|_| failed == 0) else { return Ok(()) };
        let mut sealer = Sealer::resume(tail.segment, tail.sequence);
        sealer.seal(&mut batch, 0, cx.now.max(0) as u64);
        let (file, offset) = (tail.open()?, tail.offset);
        tail.sequence = sealer.sequence();
        tail.offset += batch.len() as u64;
        let write = move || file.write_all_at(&batch, offset).and_then(|()| file.sync_all());
        cx.disk.run(write).map_err(|error| in_file(&tail.path, &error))
    }
}
