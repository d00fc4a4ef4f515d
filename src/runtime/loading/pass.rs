//! One way through the files of a shard, in slices: from the bytes that a [`Disk`] reads to the records in them.

use super::disk::Disk;
use super::{Plan, in_file};
use crate::persistence::aof::{Doubt, Entry, Reader, SegmentId, Step, Verdict};
use crate::persistence::storage::FileIn;
use crate::resp::Args;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Records between two looks at the clock.
const RECORDS_PER_LOOK: usize = 4;

/// What it comes by.
pub enum Event<'a> {
    /// A file begins.
    File(SegmentId),
    /// A record.
    Record(Args<'a>),
    /// The records since the batch before were a batch.
    Batch,
}

/// How far it is.
pub enum Came {
    /// It waits for bytes.
    Waits,
    /// Its time is over.
    Pauses,
    /// A file is through.
    File(Box<FileEnd>),
    /// All files are.
    Over,
}

/// A file that has been read.
pub struct FileEnd {
    /// Which.
    pub entry: Entry,
    /// What its end means.
    pub verdict: Verdict,
    /// Up to here it is good.
    pub good: u64,
    /// Number of its last good batch.
    pub sequence: u64,
    /// What of it may not be on disk.
    pub doubt: Doubt,
    /// By file of other shards, the last batch that it calls durable.
    pub vouched: BTreeMap<SegmentId, u64>,
}

/// The way through the files.
pub struct Pass {
    files: VecDeque<Entry>,
    open: Option<Open>,
    /// Bytes that have been read since somebody took the number.
    pub bytes_read: u64,
}

struct Open {
    entry: Entry,
    path: FileIn,
    reader: Reader,
    /// Up to here it has been read: large batches are read twice.
    read_up_to: u64,
}

impl Pass {
    /// Through the files of a shard as there were when they were written.
    pub fn new(plan: &Plan, shard: u16) -> Self {
        let files = plan.manifest.of_shard(shard).into_iter().cloned().collect();
        Self { files, open: None, bytes_read: 0 }
    }

    /// Goes on until the time is over. The error is what to tell the user.
    pub fn advance<E: std::fmt::Display>(
        &mut self,
        plan: &Plan,
        disk: &mut Disk,
        until: Instant,
        mut visit: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<Came, String> {
        let mut records = 0;
        loop {
            let Some(Open { path, reader, read_up_to, .. }) = &mut self.open else {
                let Some(entry) = self.files.pop_front() else { return Ok(Came::Over) };
                let (path, reader) = (plan.source.file(&entry.name), Reader::new(plan.manifest.format(&entry)));
                visit(Event::File(entry.segment)).map_err(|error| at(&path, 0, &error))?;
                self.open = Some(Open { entry, path, reader, read_up_to: 0 });
                continue;
            };
            let good = reader.good_up_to();
            match reader.step() {
                Step::Read(offset) => {
                    let read = disk.chunk(path, offset).map_err(|error| in_file(path, &error))?;
                    let Some(bytes) = read else { return Ok(Came::Waits) };
                    let end = offset + bytes.len() as u64;
                    self.bytes_read += end.saturating_sub(*read_up_to);
                    *read_up_to = end.max(*read_up_to);
                    reader.feed(&bytes);
                    records = 0;
                }
                Step::Record(record) => {
                    visit(Event::Record(record.args)).map_err(|error| at(path, record.offset, &error))?;
                    records += 1;
                }
                Step::Batch(_) => {
                    visit(Event::Batch).map_err(|error| at(path, good, &error))?;
                    continue;
                }
                Step::End(end) => {
                    let Open { entry, reader, .. } = self.open.take().expect("just seen");
                    let (good, sequence, doubt) = (reader.good_up_to(), reader.sequence(), Doubt::of(&reader));
                    let verdict = plan.manifest.judge(&entry, end, good);
                    let vouched = reader.vouched().clone();
                    return Ok(Came::File(Box::new(FileEnd { entry, verdict, good, sequence, doubt, vouched })));
                }
            }
            if records % RECORDS_PER_LOOK == 0 && Instant::now() >= until {
                return Ok(Came::Pauses);
            }
        }
    }
}

fn at(path: &FileIn, offset: u64, error: &impl std::fmt::Display) -> String {
    format!("{} at offset {offset}: {error}", path.shown().display())
}
