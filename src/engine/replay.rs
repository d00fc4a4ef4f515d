//! The log, run again: records become what they were written for, on this core's shard or on a scratch one.
//!
//! Meanwhile nothing expires (the log itself says when a key's time was over), and nothing is logged, told or counted. The
//! commands run as on a single shard: a segment is replayed on a shard as it was when it was written.

use super::Engine;
use super::staging::{put_all, take_all};
use crate::commands::context::OtherDatabases;
use crate::commands::row::Outcome;
use crate::commands::{Blocking, CommandTable, Entry, Handler, ShardContext, table};
use crate::config::Config;
use crate::config::OutputClass;
use crate::persistence::aof::record::LIMITS;
use crate::persistence::aof::stage::Misplaced;
use crate::persistence::aof::{StageRecord, Stages, Stamps, TransactionView};
use crate::resp::error::printed;
use crate::resp::parser::{Parsed, RequestParser, Scratch};
use crate::resp::{Args, CommandError, Output, Protocol, Reply};
use crate::shard::{Effects, Expiry, Log, Millis, Shard, ShardId};
use crate::spec::Flags;
use crate::stdx::number;
use crate::stdx::random::Random;
use crate::types::Value;
use std::fmt;
use std::sync::Arc;

/// Bytes of an argument that an error shows.
const SHOWN_BYTES_MAX: usize = 128;

/// Why a record cannot be replayed.
#[derive(Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// There is no such command.
    Unknown(String),
    /// The command is known but changes nothing.
    NotLogged(String),
    /// The command has too few arguments or too many.
    Arity(String),
    /// The command has answered with an error.
    Failed {
        /// The command.
        command: String,
        /// What it has answered.
        error: String,
    },
    /// SELECT of a database that there is not.
    NoDatabase(String),
    /// MULTI inside a transaction, or EXEC outside.
    Nesting(&'static str),
    /// A transaction over several shards that cannot be read, or is not of this segment.
    Transaction,
    /// Values of such a transaction that should have come before it, or a piece of them where none belongs.
    Stage,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "unknown command '{name}'"),
            Self::NotLogged(name) => write!(f, "'{name}' is not a command that a log can hold"),
            Self::Arity(name) => write!(f, "wrong number of arguments for '{name}'"),
            Self::Failed { command, error } => write!(f, "'{command}' has failed: {error}"),
            Self::NoDatabase(index) => {
                write!(f, "there is no database '{index}': is the directive databases smaller than it was?")
            }
            Self::Nesting(word) => write!(f, "{word} where none belongs"),
            Self::Transaction => write!(f, "a malformed record of a transaction over several shards"),
            Self::Stage => write!(f, "pieces of a large value are missing or out of order"),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<Misplaced> for ReplayError {
    fn from(Misplaced: Misplaced) -> Self {
        Self::Stage
    }
}

/// The replay of one shard's segments.
pub struct Replay {
    table: &'static CommandTable,
    config: Arc<Config>,
    random: Random,
    /// The shard whose segments they are, of how many.
    segment: ShardId,
    shards: u16,
    now: Millis,
    database: u16,
    multi: bool,
    /// Large values of transactions over several shards, each on a shard of its own.
    stages: Stages<Box<Shard>>,
    replies: Output,
    scratch: Scratch,
    effects: Effects,
    log: Log,
    /// The transactions over several shards that have been replayed.
    pub stamps: Stamps,
}

impl Replay {
    /// Begins to replay the segments of shard `segment` of `shards`, as there were when they were written. Keys count as
    /// accessed at `now`.
    pub fn new(config: Arc<Config>, segment: ShardId, shards: u16, now: Millis) -> Self {
        // What was once allowed to become so long stays, whatever clients may send now.
        let config = Config { proto_max_bulk_len: u64::MAX, ..(*config).clone() };
        Self {
            table: table(),
            config: Arc::new(config),
            random: Random::new(u64::from(segment.0)),
            segment,
            shards,
            now,
            database: 0,
            multi: false,
            stages: Stages::default(),
            replies: Output::default(),
            scratch: Scratch::default(),
            effects: Effects::default(),
            log: Log::default(),
            stamps: Stamps::default(),
        }
    }

    /// Begins a batch or a file: it is written for a reader in database 0.
    pub fn rewind(&mut self) {
        self.database = 0;
    }

    /// Whether a MULTI has not been followed by its EXEC, or a stage not by its end.
    pub fn is_in_transaction(&self) -> bool {
        self.multi || self.stages.is_filling()
    }

    /// Replays one record on `shard`, which must be timeless.
    #[inline]
    pub fn record(&mut self, shard: &mut Shard, args: Args<'_>) -> Result<(), ReplayError> {
        match meaning(self.table, args)? {
            Meaning::Write(name, handler) if self.stages.is_filling() => {
                let mut stages = std::mem::take(&mut self.stages);
                let aside = stages.filling().ok_or(ReplayError::Stage);
                let outcome = aside.and_then(|aside| self.write(aside, name, handler, args));
                self.stages = stages;
                outcome
            }
            Meaning::Write(name, handler) => self.write(shard, name, handler, args),
            Meaning::Select => {
                self.database = selected(args, shard.databases.len())?;
                Ok(())
            }
            // What stands in a transaction is run as it comes: whoever reads the log has seen its end.
            Meaning::Begin => begin_or_end(&mut self.multi, true),
            Meaning::End => begin_or_end(&mut self.multi, false),
            Meaning::Transaction => self.transaction(shard, args),
            Meaning::Stage(record) => self.stage(shard, record),
        }
    }

    fn write(
        &mut self,
        shard: &mut Shard,
        name: &str,
        handler: ShardHandler,
        args: Args<'_>,
    ) -> Result<(), ReplayError> {
        let (db, others) = OtherDatabases::split(&mut shard.databases, self.database, self.now);
        db.set_touch(true);
        let outcome = handler(
            &mut ShardContext {
                db,
                others,
                database_index: self.database,
                reply: Reply::new(&mut self.replies, Protocol::Resp2),
                encoding: &self.config.encoding,
                config: &self.config,
                random: &mut self.random,
                dirty: 0,
                effects: &mut self.effects,
                log: &mut self.log,
                shard: self.segment,
                shards: self.shards,
                blocking: Blocking::default(),
                class: OutputClass::Either,
                reply_start: 0,
            },
            args,
        );
        self.replies.clear();
        outcome.map_err(|error| ReplayError::Failed { command: name.into(), error: error.to_string() })
    }

    fn stage(&mut self, shard: &mut Shard, record: StageRecord) -> Result<(), ReplayError> {
        let databases = shard.databases.len();
        let new = || {
            let mut aside = Box::new(Shard::new(self.segment, databases));
            aside.set_timeless(true);
            aside
        };
        let taken_over = self.stages.note(record, self.multi, new)?;
        if let Some(mut aside) = taken_over {
            put_all(shard, take_all(&mut aside), self.now);
        }
        Ok(())
    }

    fn transaction(&mut self, shard: &mut Shard, args: Args<'_>) -> Result<(), ReplayError> {
        let view = TransactionView::parse(args).filter(|view| view.own == self.segment.0 && !self.is_in_transaction());
        self.apply(shard, &view.ok_or(ReplayError::Transaction)?)
    }

    fn apply(&mut self, shard: &mut Shard, transaction: &TransactionView<'_>) -> Result<(), ReplayError> {
        let payload = transaction.payload(self.segment.0).ok_or(ReplayError::Transaction)?;
        self.payload(shard, payload, |outcome| outcome)?;
        self.stamps.note(transaction);
        Ok(())
    }

    /// Applies this shard's part of a transaction that its segments have lost, found in those of another shard; how many
    /// of its commands have failed. What was lost with it may be what they would have worked on: the others still count.
    pub fn complete(&mut self, shard: &mut Shard, transaction: &TransactionView<'_>) -> Result<usize, ReplayError> {
        let payload = transaction.payload(self.segment.0).ok_or(ReplayError::Transaction)?;
        let mut failed = 0;
        self.payload(shard, payload, |outcome| match outcome {
            Err(ReplayError::Failed { .. } | ReplayError::Stage) => {
                failed += 1;
                Ok(())
            }
            outcome => outcome,
        })?;
        self.stamps.note(transaction);
        Ok(failed)
    }

    /// Replays the records of a payload; `judge` decides which outcomes end it.
    fn payload(
        &mut self,
        shard: &mut Shard,
        payload: &[u8],
        judge: impl FnMut(Result<(), ReplayError>) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        let outside = std::mem::take(&mut self.database);
        // A payload holds no transaction.
        self.multi = true;
        let outcome = self.records(shard, payload, judge);
        self.multi = false;
        self.database = outside;
        outcome
    }

    fn records(
        &mut self,
        shard: &mut Shard,
        mut payload: &[u8],
        mut judge: impl FnMut(Result<(), ReplayError>) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        while !payload.is_empty() {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            let parsed = RequestParser::default().parse(payload, &mut scratch, LIMITS);
            let Ok(Parsed::Request(len)) = parsed else { return Err(ReplayError::Transaction) };
            let args = Args::new(payload, &scratch.spans);
            if args.at(0).eq_ignore_ascii_case(b"exec") {
                return Err(ReplayError::Transaction);
            }
            let outcome = self.record(shard, args);
            self.scratch = scratch;
            judge(outcome)?;
            payload = &payload[len..];
        }
        Ok(())
    }
}

/// A command's handler.
type ShardHandler = fn(&mut ShardContext<'_>, Args<'_>) -> Outcome;

/// What a record of a log can be.
pub(super) enum Meaning {
    /// A command that changes something, with its name.
    Write(&'static str, ShardHandler),
    /// SELECT.
    Select,
    /// MULTI.
    Begin,
    /// EXEC.
    End,
    /// A transaction over several shards.
    Transaction,
    /// What it has logged before, or takes over of that.
    Stage(StageRecord),
}

/// Finds out what a record is.
#[inline]
pub(super) fn meaning(table: &'static CommandTable, args: Args<'_>) -> Result<Meaning, ReplayError> {
    let Some(entry) = table.find(args.at(0)) else {
        return match StageRecord::parse(args) {
            Some(record) => Ok(Meaning::Stage(record)),
            None if TransactionView::is_one(args) => Ok(Meaning::Transaction),
            None => Err(unknown(args)),
        };
    };
    let spec = &entry.row.spec;
    if !spec.accepts(args.len()) {
        return Err(ReplayError::Arity(spec.name.into()));
    }
    match (entry.row.handler, spec.name) {
        (Handler::Shard(handler), name) if spec.flags.contains(Flags::WRITE) => Ok(Meaning::Write(name, handler)),
        (_, "select") => Ok(Meaning::Select),
        (_, "multi") => Ok(Meaning::Begin),
        (_, "exec") => Ok(Meaning::End),
        (_, name) => Err(ReplayError::NotLogged(name.into())),
    }
}

/// The database that a SELECT names, of so many.
pub(super) fn selected(args: Args<'_>, databases: usize) -> Result<u16, ReplayError> {
    let index = number::parse_i64(args.at(1)).and_then(|index| u16::try_from(index).ok());
    let index = index.filter(|index| usize::from(*index) < databases);
    index.ok_or_else(|| ReplayError::NoDatabase(shown(args.at(1))))
}

/// MULTI begins what EXEC ends.
pub(super) fn begin_or_end(multi: &mut bool, begin: bool) -> Result<(), ReplayError> {
    if *multi == begin {
        return Err(ReplayError::Nesting(if begin { "MULTI" } else { "EXEC" }));
    }
    *multi = begin;
    Ok(())
}

#[cold]
fn unknown(args: Args<'_>) -> ReplayError {
    ReplayError::Unknown(shown(args.at(0)))
}

fn shown(argument: &[u8]) -> String {
    String::from_utf8_lossy(printed(argument, SHOWN_BYTES_MAX)).into_owned()
}

impl Engine {
    /// Why a command is refused while data is loaded.
    #[cold]
    pub(super) fn refused_while_loading(&self, entry: &Entry) -> Option<CommandError> {
        let refused = !entry.row.spec.flags.contains(Flags::LOADING);
        refused.then(|| CommandError::fixed("LOADING Redis is loading the dataset in memory"))
    }

    /// Begins to load: until the end nothing expires on this core's shard, and nothing is noted of what happens there.
    /// Clients are refused what does not go while loading.
    pub fn begin_loading(&mut self) {
        (self.loading, self.refuses) = (true, true);
        self.update_wanted();
        self.shard.set_timeless(true);
    }

    /// Replays one record on this core's shard.
    pub fn replay(&mut self, replay: &mut Replay, args: Args<'_>) -> Result<(), ReplayError> {
        replay.record(&mut self.shard, args)
    }

    /// Applies this shard's part of a transaction that its segments have lost; how many of its commands have failed.
    pub fn complete(&mut self, replay: &mut Replay, transaction: &TransactionView<'_>) -> Result<usize, ReplayError> {
        replay.complete(&mut self.shard, transaction)
    }

    /// Takes a key over that was loaded elsewhere.
    pub fn adopt(&mut self, database: u16, key: &[u8], value: Value, expires: Option<Millis>) {
        let db = &mut self.shard.databases[usize::from(database)];
        db.set_now(self.now);
        db.replace(key, value, expires.map_or(Expiry::Never, Expiry::At));
    }

    /// How many keys there are on this core's shard.
    pub fn keys(&self) -> u64 {
        self.shard.databases.iter().map(|db| db.len() as u64).sum()
    }

    /// Ends to load on this core. Clients are refused until all cores have.
    pub fn end_loading(&mut self) {
        self.loading = false;
        self.shard.set_timeless(false);
        for db in &mut self.shard.databases {
            (db.hits, db.misses, db.departed.expired) = (0, 0, 0);
        }
        self.update_wanted();
        self.touched.extend(0..self.shard.databases.len() as u16);
    }
}
