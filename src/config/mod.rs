//! The table of directives, a row each: it feeds the configuration file, the flags, `--help`, CONFIG GET, SET and
//! REWRITE, and the sample file under `deploy`.
//!
//! A directive is a field of [`Config`] and a row of [`table::DIRECTIVES`]; nothing else has to know its name.

pub mod check_aof;
pub mod directive;
pub mod eviction;
pub mod file;
pub mod flags;
pub mod fsync;
pub mod loglevel;
pub mod notifications;
pub mod permission;
pub mod rewrite;
pub mod sample;
pub mod supervised;
pub mod table;
pub mod value;

pub use directive::{Change, Directive, Kind, Section};
pub use eviction::{Eviction, EvictionPolicy};
pub use flags::{Invocation, Startup};
pub use fsync::Fsync;
pub use loglevel::LogLevel;
pub use notifications::Notifications;
pub use permission::Permission;
pub use supervised::Supervised;
pub use table::{DIRECTIVES, find};

use crate::limits::{CLIENTS_BYTES_MAX_MIN, OUTPUT_CHECK_BYTES, OUTPUT_UNCOUNTED_BYTES};
use crate::stdx::secret::Secret;

/// The values of all directives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the directive table documents each")]
pub struct Config {
    pub bind: Vec<String>,
    pub port: u16,
    pub unixsocket: String,
    pub unixsocketperm: u32,
    pub tcp_backlog: u32,
    pub tcp_keepalive: u32,
    pub timeout: u64,
    pub maxclients: usize,
    pub databases: usize,
    pub threads: usize,
    pub cpus: Vec<usize>,
    pub dir: String,
    pub loglevel: LogLevel,
    pub logfile: String,
    pub supervised: Supervised,
    pub protected_mode: bool,
    pub requirepass: Secret,
    pub enable_debug_command: Permission,
    pub enable_protected_configs: Permission,
    pub proto_max_bulk_len: u64,
    pub client_query_buffer_limit: u64,
    pub maxmemory_clients: MemoryOrPercent,
    pub client_output_buffer_limits: [OutputLimit; 3],
    pub encoding: EncodingLimits,
    pub hz: u32,
    pub active_expire_effort: u32,
    pub lazy_free: LazyFree,
    pub maxmemory: u64,
    pub eviction: Eviction,
    pub notify_keyspace_events: Notifications,
    pub tracking_table_max_keys: u64,
    pub slowlog_log_slower_than: i64,
    pub slowlog_max_len: u64,
    pub appendonly: bool,
    pub appendfilename: String,
    pub appenddirname: String,
    pub appendfsync: Fsync,
    pub no_appendfsync_on_rewrite: bool,
    pub auto_aof_rewrite_percentage: u64,
    pub auto_aof_rewrite_min_size: u64,
    pub aof_load_truncated: bool,
    pub aof_timestamp_enabled: bool,
}

/// A number of bytes, or so many percent of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the units")]
pub enum MemoryOrPercent {
    Bytes(u64),
    Percent(u8),
}

impl Config {
    /// How much memory all clients together may take; `None`: as much as there is. So little that nobody could be served
    /// is not meant.
    pub fn clients_bytes_max(&self) -> Option<u64> {
        let bytes = match self.maxmemory_clients {
            MemoryOrPercent::Bytes(bytes) => bytes,
            MemoryOrPercent::Percent(percent) => (self.maxmemory as f64 * f64::from(percent) / 100.0) as u64,
        };
        (bytes > 0).then(|| bytes.max(CLIENTS_BYTES_MAX_MIN))
    }

    /// How long a reply can get before its client is closed for it: a command whose reply may be of any length need not go on
    /// then. `usize::MAX` where there is no such limit.
    pub fn reply_bytes_max(&self, class: OutputClass) -> usize {
        let hard = |class: usize| match self.client_output_buffer_limits[class].hard_bytes {
            0 => u64::MAX,
            bytes => bytes.saturating_add(OUTPUT_UNCOUNTED_BYTES),
        };
        let bytes = match class {
            OutputClass::Normal => hard(OutputLimit::NORMAL),
            OutputClass::Subscriber => hard(OutputLimit::PUBSUB),
            OutputClass::Either => hard(OutputLimit::NORMAL).max(hard(OutputLimit::PUBSUB)),
        };
        // From this length on every reply is looked at before its client's next command runs, which may change the class.
        bytes.max(OUTPUT_CHECK_BYTES as u64 + 1) as usize
    }
}

/// Which `client-output-buffer-limit` holds for the reply to a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputClass {
    /// That of clients without subscriptions.
    #[default]
    Normal,
    /// That of subscribers.
    Subscriber,
    /// One of these: the command stands in a transaction, which may subscribe or unsubscribe.
    Either,
}

/// What is freed in the background rather than by the command that removes it; each is a directive of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LazyFree {
    /// `lazyfree-lazy-user-del`: what DEL removes.
    pub user_del: bool,
    /// `lazyfree-lazy-user-flush`: what FLUSHALL and FLUSHDB remove.
    pub user_flush: bool,
    /// `lazyfree-lazy-server-del`: what is overwritten, or removed on the way by other commands.
    pub server_del: bool,
    /// `lazyfree-lazy-eviction`: what is removed because memory is used up.
    pub eviction: bool,
    /// `lazyfree-lazy-expire`: what has expired.
    pub expire: bool,
}

/// Up to where a collection keeps its compact encoding; each is a directive of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodingLimits {
    /// `list-max-listpack-size`: positive: elements in a list node; -1 to -5: 4, 8, 16, 32, 64 KiB.
    pub list_max_listpack_size: i32,
    /// `hash-max-listpack-entries`: fields.
    pub hash_max_listpack_entries: usize,
    /// `hash-max-listpack-value`: bytes of a field or value.
    pub hash_max_listpack_value: usize,
    /// `set-max-intset-entries`: members.
    pub set_max_intset_entries: usize,
    /// `set-max-listpack-entries`: members.
    pub set_max_listpack_entries: usize,
    /// `set-max-listpack-value`: bytes of a member.
    pub set_max_listpack_value: usize,
}

impl Default for EncodingLimits {
    fn default() -> Self {
        Self {
            list_max_listpack_size: -2,
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
        }
    }
}

/// One class of `client-output-buffer-limit`; the classes are normal, replica and pubsub, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes at which the client is closed at once; 0: never.
    pub hard_bytes: u64,
    /// Bytes at which it is closed when it stays above them for `soft_seconds`; 0: never.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_seconds: u64,
}

impl OutputLimit {
    /// The place of the class of clients without a special role.
    pub const NORMAL: usize = 0;
    /// The place of the class of clients with subscriptions.
    pub const PUBSUB: usize = 2;
}

impl Default for Config {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        let limit = |hard, soft, soft_seconds| OutputLimit { hard_bytes: hard, soft_bytes: soft, soft_seconds };
        Self {
            bind: vec!["*".into(), "-::*".into()],
            port: 6379,
            unixsocket: String::new(),
            unixsocketperm: 0,
            tcp_backlog: 511,
            tcp_keepalive: 300,
            timeout: 0,
            maxclients: 10_000,
            databases: 16,
            threads: 0,
            cpus: Vec::new(),
            dir: ".".into(),
            loglevel: LogLevel::Notice,
            logfile: String::new(),
            supervised: Supervised::No,
            protected_mode: true,
            requirepass: Secret::default(),
            enable_debug_command: Permission::No,
            enable_protected_configs: Permission::No,
            proto_max_bulk_len: 512 * MIB,
            client_query_buffer_limit: 1024 * MIB,
            maxmemory_clients: MemoryOrPercent::Bytes(0),
            client_output_buffer_limits: [limit(0, 0, 0), limit(256 * MIB, 64 * MIB, 60), limit(32 * MIB, 8 * MIB, 60)],
            encoding: Default::default(),
            hz: 10,
            active_expire_effort: 1,
            notify_keyspace_events: Notifications::empty(),
            tracking_table_max_keys: 1_000_000,
            slowlog_log_slower_than: 10_000,
            slowlog_max_len: 128,
            lazy_free: LazyFree::default(),
            maxmemory: 0,
            eviction: Eviction::default(),
            appendonly: false,
            appendfilename: "appendonly.aof".into(),
            appenddirname: "appendonlydir".into(),
            appendfsync: Fsync::EverySecond,
            no_appendfsync_on_rewrite: false,
            auto_aof_rewrite_percentage: 100,
            auto_aof_rewrite_min_size: 64 * MIB,
            aof_load_truncated: true,
            aof_timestamp_enabled: false,
        }
    }
}
