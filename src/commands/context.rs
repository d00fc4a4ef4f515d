//! What handlers work on.

use super::Node;
use crate::config::{Config, EncodingLimits, OutputClass};
use crate::limits::GENERATED_REPLY_BYTES_MAX;
use crate::metrics::CoreMetrics;
use crate::pubsub::PubSub;
use crate::resp::{CommandError, Protocol, Reply};
use crate::session::{Session, Sessions};
use crate::shard::{Database, Effects, Log, Millis, Shard, ShardId};

pub use crate::shard::EventClass;
use crate::stdx::random::Random;
use crate::types::Kind;
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What a handler on keys works on.
pub struct ShardContext<'a> {
    /// The selected database's slice on this shard.
    pub db: &'a mut Database,
    /// The other databases of the shard.
    pub others: OtherDatabases<'a>,
    /// Index of the selected database.
    pub database_index: u16,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// The encoding limits now.
    pub encoding: &'a EncodingLimits,
    /// All directives.
    pub config: &'a Config,
    /// Random numbers.
    pub random: &'a mut Random,
    /// Changes made by this command, as `rdb_changes_since_last_save` counts them.
    pub dirty: u64,
    /// What this command does to keys, for those who wait for it.
    pub effects: &'a mut Effects,
    /// Where what it changes is logged.
    pub log: &'a mut Log,
    /// Which of how many shards this is, for cursors.
    pub shard: ShardId,
    /// How many shards there are.
    pub shards: u16,
    /// Whether the command may wait, and for what it does.
    pub blocking: Blocking<'a>,
    /// Which limit holds for the reply.
    pub class: OutputClass,
    /// Where the reply begins in its output, in bytes.
    pub reply_start: usize,
}

/// How long a reply may get that can be of any length.
#[derive(Clone, Copy, Debug)]
pub struct ReplyLimit {
    /// Where the reply begins in its output, in bytes.
    start: usize,
    /// At this length the client is closed.
    bytes_max: usize,
}

impl ReplyLimit {
    /// Whether the reply has become so long that its client is closed for it: the rest need not be made. An error where no
    /// limit closes the client.
    pub fn is_passed(self, reply: &Reply<'_>) -> Result<bool, CommandError> {
        let bytes = reply.output_len() - self.start;
        if bytes >= GENERATED_REPLY_BYTES_MAX && bytes < self.bytes_max {
            return Err(CommandError::fixed("ERR the reply would be longer than 512mb"));
        }
        Ok(bytes >= self.bytes_max)
    }
}

impl ShardContext<'_> {
    /// The clock.
    pub fn now(&self) -> Millis {
        self.db.now()
    }

    /// How long a reply may get that can be of any length.
    pub fn reply_limit(&self) -> ReplyLimit {
        ReplyLimit { start: self.reply_start, bytes_max: self.config.reply_bytes_max(self.class) }
    }

    /// Waits, if that is allowed, until one of the keys at the arguments `keys` holds a value of `kind`; then the command
    /// runs again. One that waits writes no reply, and one that may not the same as after its time is over.
    pub fn block(&mut self, keys: Range<usize>, kind: Kind, deadline: Option<Millis>) -> bool {
        if self.blocking.allowed {
            self.blocking.wait = Some(Wait { keys, kind, deadline });
        }
        self.blocking.allowed
    }

    /// Whether the command looks at `key`: at every one the first time, and only at the ready one after it has waited.
    pub fn looks_at(&self, key: &[u8]) -> bool {
        self.blocking.ready.is_none_or(|ready| ready == key)
    }

    /// Tells that `key` of the selected database was changed by event `event` (`set`, `lpush`, `del` ...): every write
    /// calls this once for each key it changed, and only when it changed something. WATCH, client tracking, keyspace
    /// notifications and the log hang on it.
    #[inline]
    pub fn changed(&mut self, class: EventClass, event: &'static str, key: &[u8]) {
        self.changed_in(self.database_index, class, event, key);
    }

    /// The same for a key of any database: COPY and MOVE write to another one than the selected.
    #[inline]
    pub fn changed_in(&mut self, database: u16, class: EventClass, event: &'static str, key: &[u8]) {
        self.dirty += 1;
        if self.effects.wanted {
            self.tell_incidents();
            self.effects.key(database, key, class, event, true);
        }
    }

    /// Tells a further event of a change to `key` that has been told already, such as `expire` behind `set`. Only
    /// keyspace notifications hang on it.
    #[inline]
    pub fn event(&mut self, class: EventClass, event: &'static str, key: &[u8]) {
        if self.effects.wanted {
            self.tell_incidents();
            self.effects.key(self.database_index, key, class, event, false);
        }
    }

    /// Tells what the databases have noted up to now, so that all stands in the order in which it happened.
    pub fn tell_incidents(&mut self) {
        self.effects.incidents(self.database_index, self.db, self.log);
        if self.others.used {
            self.others.tell_incidents(self.effects, self.log);
        }
    }

    /// Says what is logged instead of the command as the client sent it; several calls log several records. A command
    /// that does not do the same when it is replayed later (it reads the clock, or rolls dice) has to say something,
    /// and so has one that may work on keys of several shards: see [`ShardContext::logs_apart`]. Any other need not.
    pub fn log(&mut self, arguments: &[&[u8]]) {
        if self.log.wanted {
            self.tell_incidents();
            self.log.say(self.database_index, arguments);
        }
    }

    /// The same with a time as the last argument.
    pub fn log_until(&mut self, arguments: &[&[u8]], at: Millis) {
        if self.log.wanted {
            let mut digits = itoa::Buffer::new();
            self.log(&[arguments, &[digits.format(at).as_bytes()]].concat());
        }
    }

    /// Whether what the command changes on several keys has to be logged key by key, each record with its key as
    /// argument 1, because they belong to several shards. A command that says nothing then has the whole values logged
    /// of all keys that it has changed.
    pub fn logs_apart(&self) -> bool {
        self.log.is_bench()
    }
}

/// What a command that may block has to know, and what it has decided.
#[derive(Default)]
pub struct Blocking<'a> {
    /// Whether it may wait: not in a transaction or script.
    pub allowed: bool,
    /// The key that has become ready, when a command that has waited runs again: the only one it looks at.
    pub ready: Option<&'a [u8]>,
    /// What it waits for now.
    pub wait: Option<Wait>,
}

/// What a command waits for that has found nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Which of its arguments are the keys it waits for.
    pub keys: Range<usize>,
    /// What one of them has to hold.
    pub kind: Kind,
    /// Until when; `None`: for ever.
    pub deadline: Option<Millis>,
}

/// The databases of a shard beside the selected one.
pub struct OtherDatabases<'a> {
    before: &'a mut [Database],
    after: &'a mut [Database],
    now: Millis,
    used: bool,
}

impl<'a> OtherDatabases<'a> {
    /// Splits `databases` into the one at `selected`, which must be one of them, and the others.
    #[inline]
    pub fn split(databases: &'a mut [Database], selected: u16, now: Millis) -> (&'a mut Database, Self) {
        let (before, rest) = databases.split_at_mut(usize::from(selected));
        let (selected, after) = rest.split_first_mut().expect("the selected database is one of the shard's");
        selected.set_now(now);
        (selected, Self { before, after, now, used: false })
    }

    /// Whether any of them may have been changed.
    pub fn were_used(&self) -> bool {
        self.used
    }

    fn tell_incidents(&mut self, effects: &mut Effects, log: &mut Log) {
        let selected = self.before.len();
        self.before.iter_mut().enumerate().for_each(|(index, db)| effects.incidents(index as u16, db, log));
        let after = self.after.iter_mut().enumerate();
        after.for_each(|(index, db)| effects.incidents((selected + 1 + index) as u16, db, log));
    }

    /// How many databases there are, the selected one included.
    pub fn count(&self) -> usize {
        self.before.len() + 1 + self.after.len()
    }

    /// Database `index`; `None` when it is the selected one or there is none.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Database> {
        self.used = true;
        let selected = self.before.len();
        let database = match index.cmp(&selected) {
            std::cmp::Ordering::Less => self.before.get_mut(index),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => self.after.get_mut(index - selected - 1),
        }?;
        database.set_now(self.now);
        Some(database)
    }

    /// All of them, by ascending index.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Database> {
        self.used = true;
        self.before.iter_mut().chain(self.after.iter_mut())
    }

    /// Two different ones, both not the selected one.
    pub fn pair_mut(&mut self, a: usize, b: usize) -> Option<(&mut Database, &mut Database)> {
        self.used = true;
        let selected = self.before.len();
        if a == b || a == selected || b == selected {
            return None;
        }
        let mut all = self.before.iter_mut().chain(self.after.iter_mut()).enumerate();
        let place = |index: usize| index - usize::from(index > selected);
        let (low, high) = (place(a.min(b)), place(a.max(b)));
        let first = all.find(|(index, _)| *index == low)?.1;
        let second = all.find(|(index, _)| *index == high)?.1;
        Some(if a < b { (first, second) } else { (second, first) })
    }
}

/// What a handler on the session or the server works on.
pub struct SessionContext<'a> {
    /// The client.
    pub session: &'a mut Session,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// What all cores share.
    pub node: &'a Node,
    /// The directives as they are now.
    pub config: &'a Config,
    /// Which core this is.
    pub core: ShardId,
    /// The clock.
    pub now: Millis,
    /// Random numbers.
    pub random: &'a mut Random,
}

impl SessionContext<'_> {
    /// The protocol version the client speaks.
    pub fn protocol(&self) -> Protocol {
        self.session.protocol
    }

    /// Answers with an error where a handler cannot return it any more, and counts it.
    pub fn refuse(&mut self, error: &CommandError) {
        self.node.metrics[self.core.index()].count_error(error.code());
        self.reply.error(error);
    }
}

/// How a session goes on after a session command.
pub enum Flow {
    /// With its next command.
    Done,
    /// It is closed when what it has been answered is sent.
    Close,
    /// With its next command, as if it had just connected: what the engine has noted of it elsewhere is forgotten.
    Reset,
    /// With its next command; what it tracks has changed.
    Tracking,
    /// It waits until every core has run this; the last step writes the reply.
    EveryCore(Arc<dyn EveryCore>),
    /// The engine lets the client watch the keys among the arguments and answers.
    Watch,
    /// The engine forgets what the client watches.
    Unwatch,
    /// The engine runs what is queued and answers.
    Exec,
    /// The engine answers when this is on disk.
    WaitLog(LogWait),
}

/// What WAITAOF and SHUTDOWN wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogWait {
    /// That the append-only log of this server is on disk.
    pub local: bool,
    /// That logs of replicas are: there are none, so only time ends such a wait.
    pub replicas: bool,
    /// Until when; `None`: for ever.
    pub deadline: Option<Millis>,
    /// Whether the server ends then.
    pub ends: bool,
}

/// A request to every core, such as CLIENT LIST: each core answers with a part, the asking core joins them.
pub trait EveryCore: Send + Sync {
    /// One core's part.
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send>;
    /// Writes the reply from all parts, ordered by core.
    fn finish(&self, parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>);
}

/// What a request to every core sees of one core.
pub struct CoreView<'a> {
    /// Which core.
    pub core: ShardId,
    /// Its sessions. The asking session is among them.
    pub sessions: &'a mut Sessions,
    /// Its data.
    pub shard: &'a mut Shard,
    /// Its subscribers.
    pub pubsub: &'a PubSub,
    /// How many monitors each core has.
    pub monitors: &'a mut [u32],
    /// Its counters.
    pub metrics: &'a CoreMetrics,
    /// The clock.
    pub now: Millis,
    /// How long the core stands still when this has run; zero at first.
    pub stall: Duration,
}
