//! The log, looked through without being run: whether each record is one that a server of this version replays. What a
//! command makes of the data is not known here, so it may still fail there.

use super::replay::{Meaning, ReplayError, begin_or_end, meaning, selected};
use crate::commands::{CommandTable, table};
use crate::persistence::aof::record::LIMITS;
use crate::persistence::aof::{StageRecord, Stages, Stamps, TransactionView};
use crate::resp::Args;
use crate::resp::parser::{Parsed, RequestParser, Scratch};

/// The look through one shard's segments.
pub struct Inspection {
    table: &'static CommandTable,
    shard: u16,
    databases: usize,
    multi: bool,
    /// Large values of transactions over several shards.
    stages: Stages<()>,
    /// The transactions over several shards that have been seen.
    pub stamps: Stamps,
}

impl Inspection {
    /// Of the segments of `shard`, for a server with so many databases.
    pub fn new(shard: u16, databases: usize) -> Self {
        Self { table: table(), shard, databases, multi: false, stages: Stages::default(), stamps: Stamps::default() }
    }

    /// A batch or a file begins.
    pub fn boundary(&mut self) -> Result<(), ReplayError> {
        // A stage that could be ended here should have been before.
        if self.stages.note(StageRecord::End, false, || ()).is_ok() {
            return Err(ReplayError::Stage);
        }
        if std::mem::take(&mut self.multi) { Err(ReplayError::Nesting("MULTI")) } else { Ok(()) }
    }

    /// A record.
    pub fn record(&mut self, args: Args<'_>) -> Result<(), ReplayError> {
        match meaning(self.table, args)? {
            Meaning::Write(..) => Ok(()),
            Meaning::Select => selected(args, self.databases).map(drop),
            Meaning::Begin => begin_or_end(&mut self.multi, true),
            Meaning::End => begin_or_end(&mut self.multi, false),
            Meaning::Transaction => self.transaction(args),
            Meaning::Stage(record) => Ok(self.stages.note(record, self.multi, || ()).map(drop)?),
        }
    }

    fn transaction(&mut self, args: Args<'_>) -> Result<(), ReplayError> {
        let view = TransactionView::parse(args).filter(|view| view.own == self.shard && !self.multi);
        let view = view.filter(|_| !self.stages.is_filling());
        let view = view.ok_or(ReplayError::Transaction)?;
        view.payload(self.shard).ok_or(ReplayError::Transaction)?;
        view.parts.iter().try_for_each(|(shard, payload)| self.payload(*shard, payload))?;
        self.stamps.note(&view);
        Ok(())
    }

    /// A payload holds plain commands, each whole.
    fn payload(&mut self, shard: u16, mut payload: &[u8]) -> Result<(), ReplayError> {
        let mut scratch = Scratch::default();
        while !payload.is_empty() {
            scratch.clear();
            let parsed = RequestParser::default().parse(payload, &mut scratch, LIMITS);
            let Ok(Parsed::Request(len)) = parsed else { return Err(ReplayError::Transaction) };
            let args = Args::new(payload, &scratch.spans);
            match meaning(self.table, args)? {
                Meaning::Write(..) => {}
                Meaning::Select => drop(selected(args, self.databases)?),
                // Of those of other shards their own segments know.
                Meaning::Stage(StageRecord::Adopt { .. }) if shard != self.shard => {}
                Meaning::Stage(record @ StageRecord::Adopt { .. }) => drop(self.stages.note(record, true, || ())?),
                Meaning::Stage(_) => return Err(ReplayError::Stage),
                Meaning::Begin | Meaning::End | Meaning::Transaction => return Err(ReplayError::Transaction),
            }
            payload = &payload[len..];
        }
        Ok(())
    }
}
