//! The log, looked through without being run: whether each record is one that a server of this version replays. What a
//! command makes of the data is not known here, so it may still fail there.

use super::replay::{Meaning, ReplayError, begin_or_end, meaning, selected};
use crate::commands::{CommandTable, table};
use crate::persistence::aof::record::LIMITS;
use crate::persistence::aof::{Stamps, TransactionView};
use crate::resp::Args;
use crate::resp::parser::{Parsed, RequestParser, Scratch};

/// The look through one shard's segments.
pub struct Inspection {
    table: &'static CommandTable,
    shard: u16,
    databases: usize,
    multi: bool,
    /// The transactions over several shards that have been seen.
    pub stamps: Stamps,
}

impl Inspection {
    /// Of the segments of `shard`, for a server with so many databases.
    pub fn new(shard: u16, databases: usize) -> Self {
        Self { table: table(), shard, databases, multi: false, stamps: Stamps::default() }
    }

    /// A batch or a file begins.
    pub fn boundary(&mut self) -> Result<(), ReplayError> {
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
        }
    }

    fn transaction(&mut self, args: Args<'_>) -> Result<(), ReplayError> {
        let view = TransactionView::parse(args).filter(|view| view.own == self.shard && !self.multi);
        let view = view.ok_or(ReplayError::Transaction)?;
        view.payload(self.shard).ok_or(ReplayError::Transaction)?;
        view.parts.iter().try_for_each(|(_, payload)| self.payload(payload))?;
        self.stamps.note(&view);
        Ok(())
    }

    /// A payload holds plain commands, each whole.
    fn payload(&self, mut payload: &[u8]) -> Result<(), ReplayError> {
        let mut scratch = Scratch::default();
        while !payload.is_empty() {
            scratch.clear();
            let parsed = RequestParser::default().parse(payload, &mut scratch, LIMITS);
            let Ok(Parsed::Request(len)) = parsed else { return Err(ReplayError::Transaction) };
            let args = Args::new(payload, &scratch.spans);
            match meaning(self.table, args)? {
                Meaning::Write(..) => {}
                Meaning::Select => drop(selected(args, self.databases)?),
                Meaning::Begin | Meaning::End | Meaning::Transaction => return Err(ReplayError::Transaction),
            }
            payload = &payload[len..];
        }
        Ok(())
    }
}
