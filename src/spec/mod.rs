//! What a command is: name, arity, flags, categories, key specs, channel specs, policies, syntax line. Facts only; handlers are joined
//! to them in `commands`. Dispatch, routing, COMMAND INFO, COMMAND DOCS, ACL and metrics all read these.

pub mod channels;
pub mod keys;
mod names;

pub use channels::{ChannelAction, ChannelKind, ChannelSpec};
pub use keys::{BeginSearch, FindKeys, KeyFlags, KeySpec};

use bitflags::bitflags;

bitflags! {
    /// Command flags, as COMMAND INFO names them.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// May change data.
        const WRITE = 1 << 0;
        /// Only reads data.
        const READONLY = 1 << 1;
        /// Refused when memory is used up.
        const DENYOOM = 1 << 2;
        /// An administrator's command.
        const ADMIN = 1 << 3;
        /// About publish/subscribe.
        const PUBSUB = 1 << 4;
        /// Not allowed in scripts.
        const NOSCRIPT = 1 << 5;
        /// May block the client.
        const BLOCKING = 1 << 6;
        /// Allowed while data loads.
        const LOADING = 1 << 7;
        /// Allowed on a stale replica.
        const STALE = 1 << 8;
        /// Not shown to MONITOR.
        const SKIP_MONITOR = 1 << 9;
        /// Not logged by SLOWLOG.
        const SKIP_SLOWLOG = 1 << 10;
        /// Implies ASKING in cluster mode.
        const ASKING = 1 << 11;
        /// Constant or logarithmic time.
        const FAST = 1 << 12;
        /// Allowed before login.
        const NO_AUTH = 1 << 13;
        /// Keys cannot be told from positions alone; derived from the key specs.
        const MOVABLEKEYS = 1 << 14;
        /// Allowed while a script or module blocks the server.
        const ALLOW_BUSY = 1 << 15;
        /// Not allowed inside MULTI.
        const NO_MULTI = 1 << 16;
        /// Not allowed while a replica loads aside.
        const NO_ASYNC_LOADING = 1 << 17;
        /// Takes keys, but may have none.
        const NO_MANDATORY_KEYS = 1 << 18;
    }
}

bitflags! {
    /// ACL categories that do not follow from flags.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Categories: u32 {
        /// Works on keys of any type.
        const KEYSPACE = 1 << 0;
        /// Reads data.
        const READ = 1 << 1;
        /// Changes data.
        const WRITE = 1 << 2;
        /// Works on sets.
        const SET = 1 << 3;
        /// Works on sorted sets.
        const SORTEDSET = 1 << 4;
        /// Works on lists.
        const LIST = 1 << 5;
        /// Works on hashes.
        const HASH = 1 << 6;
        /// Works on strings.
        const STRING = 1 << 7;
        /// Works on bitmaps.
        const BITMAP = 1 << 8;
        /// Works on HyperLogLogs.
        const HYPERLOGLOG = 1 << 9;
        /// Works on geospatial indexes.
        const GEO = 1 << 10;
        /// Works on streams.
        const STREAM = 1 << 11;
        /// About publish/subscribe.
        const PUBSUB = 1 << 12;
        /// An administrator's command.
        const ADMIN = 1 << 13;
        /// Fast.
        const FAST = 1 << 14;
        /// Not fast.
        const SLOW = 1 << 15;
        /// May block.
        const BLOCKING = 1 << 16;
        /// Can harm a server in use.
        const DANGEROUS = 1 << 17;
        /// About the connection.
        const CONNECTION = 1 << 18;
        /// About transactions.
        const TRANSACTION = 1 << 19;
        /// About scripts.
        const SCRIPTING = 1 << 20;
    }
}

/// The group a command is documented in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the groups")]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    PubSub,
    Transactions,
    Connection,
    Server,
    Scripting,
    HyperLogLog,
    Cluster,
    Geo,
    Stream,
    Bitmap,
}

/// How a command that concerns several shards is sent to them: Redis's request_policy words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPolicy {
    /// By its keys; with keys on several shards the values are gathered and the command runs where they meet.
    Default,
    /// To every shard (`all_shards`).
    AllShards,
    /// Split by key, each shard gets the part with its own keys (`multi_shard`).
    MultiShard,
    /// To one shard that the arguments tell, such as SCAN's cursor (`special`).
    Special,
}

/// How the replies of several shards become one: Redis's response_policy words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponsePolicy {
    /// Arrays are joined: in key order for a command split by key, in any order otherwise.
    Default,
    /// OK if all succeeded, else the first error (`all_succeeded`).
    AllSucceeded,
    /// The smallest of the integers (`agg_min`).
    AggMin,
    /// The sum of the integers (`agg_sum`).
    AggSum,
    /// The command's own way (`special`).
    Special,
}

/// The facts of one command or subcommand.
#[derive(Debug)]
pub struct Spec {
    /// Lower-case name; `client|kill` for a subcommand.
    pub name: &'static str,
    /// One sentence for COMMAND DOCS.
    pub summary: &'static str,
    /// The arguments as the documentation writes them, the name first.
    pub syntax: &'static str,
    /// The Redis version that brought it.
    pub since: &'static str,
    /// Time complexity for COMMAND DOCS.
    pub complexity: &'static str,
    /// The group it is documented in.
    pub group: Group,
    /// Number of arguments with the name; negative: at least that many.
    pub arity: i16,
    /// Command flags.
    pub flags: Flags,
    /// ACL categories that do not follow from the flags.
    pub categories: Categories,
    /// Where the keys are.
    pub keys: &'static [KeySpec],
    /// How it is sent to several shards.
    pub request: RequestPolicy,
    /// How their replies are joined.
    pub response: ResponsePolicy,
    /// Further tips, such as `nondeterministic_output`.
    pub tips: &'static [&'static str],
    /// Since when it is deprecated, and what replaces it.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Whether it is only for clients that `enable-debug-command` permits it.
    pub protected: bool,
}

impl Spec {
    /// A command with no flags, no keys and the default policies; the `const` setters below fill in the rest.
    pub const fn new(name: &'static str, arity: i16, group: Group) -> Self {
        Self {
            name,
            summary: "",
            syntax: "",
            since: "1.0.0",
            complexity: "O(1)",
            group,
            arity,
            flags: Flags::empty(),
            categories: Categories::empty(),
            keys: &[],
            request: RequestPolicy::Default,
            response: ResponsePolicy::Default,
            tips: &[],
            deprecated: None,
            protected: false,
        }
    }

    /// Whether `count` arguments, the name included, fit the arity.
    #[inline]
    pub fn accepts(&self, count: usize) -> bool {
        if self.arity >= 0 { count == self.arity as usize } else { count >= self.arity.unsigned_abs() as usize }
    }

    /// All ACL categories: the explicit ones and those that follow from the flags, by Redis's rules.
    pub fn all_categories(&self) -> Categories {
        let mut all = self.categories;
        let scripting = all.contains(Categories::SCRIPTING);
        all.set(Categories::WRITE, self.flags.contains(Flags::WRITE));
        all.set(Categories::READ, self.flags.contains(Flags::READONLY) && !scripting);
        if self.flags.contains(Flags::ADMIN) {
            all |= Categories::ADMIN | Categories::DANGEROUS;
        }
        all.set(Categories::PUBSUB, self.flags.contains(Flags::PUBSUB) || all.contains(Categories::PUBSUB));
        all.set(Categories::BLOCKING, self.flags.contains(Flags::BLOCKING) || all.contains(Categories::BLOCKING));
        let fast = self.flags.contains(Flags::FAST);
        all | if fast { Categories::FAST } else { Categories::SLOW }
    }
}
