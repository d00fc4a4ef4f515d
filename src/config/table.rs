//! The directives, a row each. Adding one is a field of [`Config`], its default, and a row here.

use super::directive::{Change, Directive, Kind, Section};
use super::{EvictionPolicy, Fsync, LogLevel, Notifications, Permission, Supervised, value};
use crate::limits::{AOF_FILENAME_BYTES_MAX, NAME_BYTES_MAX, QUERY_BUFFER_BYTES_MAX};
use crate::stdx::secret::Secret;
use std::collections::HashMap;
use std::sync::LazyLock;

/// A number in a field of [`Config`].
macro_rules! integer {
    ($($field:ident).+, $min:expr, $max:expr) => {
        Kind::Integer {
            min: $min,
            max: $max,
            get: |config| config.$($field).+ as i64,
            set: |config, value| config.$($field).+ = value as _,
        }
    };
}

/// A memory size in a field of [`Config`].
macro_rules! memory {
    ($($field:ident).+, $min:expr, $max:expr) => {
        Kind::Memory {
            min: $min,
            max: $max,
            get: |config| config.$($field).+ as u64,
            set: |config, value| config.$($field).+ = value as _,
        }
    };
}

/// A text in a field of [`Config`] that may be anything.
macro_rules! text {
    ($field:ident, $form:expr) => {
        Kind::Text {
            form: $form,
            get: |config| config.$field.clone(),
            set: |config, value| {
                config.$field = value.into();
                Ok(())
            },
        }
    };
}

/// Who is permitted something, in a field of [`Config`].
macro_rules! permission {
    ($field:ident) => {
        Kind::Enum {
            names: Permission::NAMES,
            get: |config| config.$field as usize,
            set: |config, value| config.$field = Permission::from_index(value),
        }
    };
}

/// A switch among those of [`LazyFree`](super::LazyFree).
macro_rules! lazy_free {
    ($field:ident) => {
        Kind::Bool { get: |config| config.lazy_free.$field, set: |config, value| config.lazy_free.$field = value }
    };
}

/// A name without a path, or why `value` is none.
fn file_name(value: &str, bytes_max: usize, reason: &'static str) -> Result<String, value::Reason> {
    let plain = !value.is_empty() && !value.contains('/') && value != "." && value != "..";
    if value.len() > bytes_max {
        return Err(format!("a name of at most {bytes_max} bytes, so that the system takes those made from it").into());
    }
    plain.then(|| value.to_owned()).ok_or(reason.into())
}

const I32: i64 = i32::MAX as i64;
const MIB: u64 = 1 << 20;
const SIGNED_MAX: u64 = i64::MAX as u64;

/// All directives, in the order of the documentation.
pub static DIRECTIVES: &[Directive] = &[
    Directive::new(
        "bind",
        Section::Network,
        Kind::List { form: "addresses", get: |config| &config.bind, set: |config, value| config.bind = value },
        "The addresses to listen on. * stands for every IPv4 address, ::* for every IPv6 address; an address with a - in \
         front is skipped where the machine does not have it. \"\" listens on no TCP address.",
    )
    .change(Change::Start),
    Directive::new(
        "port",
        Section::Network,
        integer!(port, 0, 65535),
        "The TCP port to listen on. 0 listens on none.",
    )
    .change(Change::Start),
    Directive::new(
        "unixsocket",
        Section::Network,
        text!(unixsocket, "a path"),
        "Where to listen on a Unix socket. \"\" listens on none.",
    )
    .change(Change::Start),
    Directive::new(
        "unixsocketperm",
        Section::Network,
        Kind::Octal {
            max: 0o777,
            get: |config| config.unixsocketperm,
            set: |config, value| config.unixsocketperm = value,
        },
        "The permissions of the Unix socket. 0 leaves them to the umask.",
    )
    .change(Change::Start),
    Directive::new(
        "tcp-backlog",
        Section::Network,
        integer!(tcp_backlog, 0, I32),
        "Connections that may wait to be accepted, for each core. The kernel caps it at net.core.somaxconn.",
    )
    .change(Change::Start),
    Directive::new(
        "tcp-keepalive",
        Section::Network,
        integer!(tcp_keepalive, 0, I32),
        "After this many seconds of silence the kernel asks whether the client is still there. 0 never asks.",
    ),
    Directive::new(
        "protected-mode",
        Section::Network,
        Kind::Bool { get: |config| config.protected_mode, set: |config, value| config.protected_mode = value },
        "While there is no password (requirepass), serve only clients on this machine. Turn it off only in a network you \
         trust.",
    ),
    Directive::new(
        "requirepass",
        Section::Network,
        Kind::Text {
            form: "a password",
            get: |config| config.requirepass.reveal().into(),
            set: |config, value| {
                config.requirepass = Secret::new(value);
                Ok(())
            },
        },
        "The password that clients have to give (AUTH, HELLO) before anything else. \"\" asks for none. A change concerns \
         those who connect or give a password after it. Take a long one: guesses are answered fast.",
    )
    .secret(),
    Directive::new(
        "enable-debug-command",
        Section::Network,
        permission!(enable_debug_command),
        "Who may use DEBUG, which can make the server stand still: no client, every client, or those on this machine.",
    )
    .change(Change::Start),
    Directive::new(
        "enable-protected-configs",
        Section::Network,
        permission!(enable_protected_configs),
        "Who may change protected directives (dir) at run time: no client, every client, or those on this machine.",
    )
    .change(Change::Start),
    Directive::new(
        "timeout",
        Section::Clients,
        integer!(timeout, 0, I32),
        "Close a client that has been idle for this many seconds. 0 never does.",
    ),
    Directive::new(
        "maxclients",
        Section::Clients,
        integer!(maxclients, 1, u32::MAX as i64),
        "Clients that may be connected at once. Lowered at start where the limit on open files does not allow as many.",
    ),
    Directive::new(
        "proto-max-bulk-len",
        Section::Clients,
        memory!(proto_max_bulk_len, MIB, u32::MAX as u64),
        "The longest argument of a command, which is also the longest string.",
    ),
    Directive::new(
        "client-query-buffer-limit",
        Section::Clients,
        memory!(client_query_buffer_limit, MIB, QUERY_BUFFER_BYTES_MAX),
        "Close a client whose unfinished commands take more than this.",
    ),
    Directive::new(
        "maxmemory-clients",
        Section::Clients,
        Kind::MemoryOrPercent {
            get: |config| config.maxmemory_clients,
            set: |config, value| config.maxmemory_clients = value,
        },
        "How much memory all clients together may take with what they have sent and are to be sent, or such a part of \
         maxmemory; the largest are closed when it is more, but those that said CLIENT NO-EVICT on. At least 128kb; 0 is \
         no limit.",
    ),
    Directive::new(
        "client-output-buffer-limit",
        Section::Clients,
        Kind::OutputLimits {
            get: |config| &config.client_output_buffer_limits,
            get_mut: |config| &mut config.client_output_buffer_limits,
        },
        "Close a client that leaves more replies unread than the hard limit, or more than the soft limit for so many \
         seconds. 0 is no limit. Classes that are not named stay as they are.",
    ),
    Directive::new(
        "threads",
        Section::Cores,
        integer!(threads, 0, crate::limits::SHARDS_MAX as i64),
        "Threads that serve, each with its own part of the keys. 0 takes a CPU for each, all that the process may use, \
         less one where there are 2 to 8, so that the kernel and other programs have a place.",
    )
    .change(Change::Start),
    Directive::new(
        "cpus",
        Section::Cores,
        Kind::Text {
            form: "CPU numbers such as 0-3,6",
            get: |config| value::cpus_text(&config.cpus),
            set: |config, text| {
                config.cpus = value::cpus(text)?;
                Ok(())
            },
        },
        "The CPUs the threads are pinned to, a thread each. \"\" takes the first ones the process may use.",
    )
    .change(Change::Start),
    Directive::new(
        "databases",
        Section::General,
        integer!(databases, 1, 1 << 15),
        "How many databases SELECT can choose from.",
    )
    .change(Change::Start),
    Directive::new("dir", Section::General, text!(dir, "a path"), "The working directory; relative paths start here.")
        .change(Change::Protected),
    Directive::new(
        "loglevel",
        Section::General,
        Kind::Enum {
            names: LogLevel::NAMES,
            get: |config| config.loglevel as usize,
            set: |config, value| config.loglevel = LogLevel::from_index(value),
        },
        "How much is logged.",
    ),
    Directive::new(
        "logfile",
        Section::General,
        text!(logfile, "a path"),
        "Where the log is appended to. \"\" logs to the standard output.",
    )
    .change(Change::Start),
    Directive::new(
        "supervised",
        Section::General,
        Kind::Enum {
            names: Supervised::NAMES,
            get: |config| config.supervised as usize,
            set: |config, value| config.supervised = Supervised::from_index(value),
        },
        "Who is told when the server is ready, what it does, and that its cores are not stuck: systemd, through a service \
         with Type=notify; auto, systemd where it wants to know; no, nobody.",
    )
    .change(Change::Start),
    Directive::new(
        "list-max-listpack-size",
        Section::Encodings,
        integer!(encoding.list_max_listpack_size, i32::MIN as i64, I32),
        "What a node of a list holds at most: so many elements, or with -1 to -5: 4, 8, 16, 32 or 64 KiB.",
    )
    .alias("list-max-ziplist-size"),
    Directive::new(
        "hash-max-listpack-entries",
        Section::Encodings,
        integer!(encoding.hash_max_listpack_entries, 0, i64::MAX),
        "Up to so many fields a hash is stored in one piece.",
    )
    .alias("hash-max-ziplist-entries"),
    Directive::new(
        "hash-max-listpack-value",
        Section::Encodings,
        memory!(encoding.hash_max_listpack_value, 0, SIGNED_MAX),
        "Up to so many bytes in each field and value a hash is stored in one piece.",
    )
    .alias("hash-max-ziplist-value"),
    Directive::new(
        "set-max-intset-entries",
        Section::Encodings,
        integer!(encoding.set_max_intset_entries, 0, i64::MAX),
        "Up to so many members a set of integers is stored as a sorted array.",
    ),
    Directive::new(
        "set-max-listpack-entries",
        Section::Encodings,
        integer!(encoding.set_max_listpack_entries, 0, i64::MAX),
        "Up to so many members any other set is stored in one piece.",
    ),
    Directive::new(
        "set-max-listpack-value",
        Section::Encodings,
        integer!(encoding.set_max_listpack_value, 0, i64::MAX),
        "Up to so many bytes in each member such a set is stored in one piece.",
    ),
    Directive::new(
        "hz",
        Section::Expiry,
        Kind::Integer {
            min: 0,
            max: I32,
            get: |config| i64::from(config.hz),
            set: |config, value| config.hz = value.clamp(1, 500) as u32,
        },
        "How often a second each core looks after clients and keys whose time is over; at least 1 and at most 500.",
    ),
    Directive::new(
        "active-expire-effort",
        Section::Expiry,
        integer!(active_expire_effort, 1, 10),
        "How hard each core looks for keys whose time is over, from 1 to 10: less memory for more CPU.",
    ),
    Directive::new(
        "maxmemory",
        Section::Memory,
        memory!(maxmemory, 0, SIGNED_MAX),
        "How much memory the process may use, client buffers and all; 0: as much as there is. Beyond it keys are removed as \
         maxmemory-policy says, or commands that need memory are refused.",
    ),
    Directive::new(
        "maxmemory-policy",
        Section::Memory,
        Kind::Enum {
            names: EvictionPolicy::NAMES,
            get: |config| config.eviction.policy as usize,
            set: |config, value| config.eviction.policy = EvictionPolicy::from_index(value),
        },
        "Which keys to remove when memory is used up: the least recently used, the least frequently used, any, or those \
         that expire first; of all keys, or of those with a time to live (volatile). noeviction: none, and commands that \
         need memory are refused. allkeys-lrfu, which Redis lacks, weighs recency against frequency as the load requires.",
    ),
    Directive::new(
        "maxmemory-samples",
        Section::Memory,
        integer!(eviction.samples, 1, I32),
        "So many keys are looked at for each that is removed, 256 at most: more choose better and cost more CPU.",
    ),
    Directive::new(
        "maxmemory-eviction-tenacity",
        Section::Memory,
        integer!(eviction.tenacity, 0, 100),
        "How long one command may be held up to make room, from 0 to 100: with 10 half a millisecond, with 100 as long as it \
         takes. What is not done then is done between commands.",
    ),
    Directive::new(
        "lfu-log-factor",
        Section::Memory,
        integer!(eviction.lfu_log_factor, 0, I32),
        "How slowly the counter of a key's uses grows: with 10 it is full at about a million uses, with 0 at 250.",
    ),
    Directive::new(
        "lfu-decay-time",
        Section::Memory,
        integer!(eviction.lfu_decay_time, 0, I32),
        "After so many minutes without use that counter loses one. 0: never.",
    ),
    Directive::new(
        "lazyfree-lazy-user-del",
        Section::Freeing,
        lazy_free!(user_del),
        "Free large values that DEL removes in the background, as UNLINK does.",
    ),
    Directive::new(
        "lazyfree-lazy-user-flush",
        Section::Freeing,
        lazy_free!(user_flush),
        "Free what FLUSHALL and FLUSHDB remove in the background unless they say SYNC.",
    ),
    Directive::new(
        "lazyfree-lazy-server-del",
        Section::Freeing,
        lazy_free!(server_del),
        "Free large values in the background that a command overwrites or removes on its way, such as RENAME.",
    ),
    Directive::new(
        "lazyfree-lazy-eviction",
        Section::Freeing,
        lazy_free!(eviction),
        "Free large values in the background that are removed because memory is used up.",
    ),
    Directive::new(
        "lazyfree-lazy-expire",
        Section::Freeing,
        lazy_free!(expire),
        "Free large values in the background whose time is over.",
    ),
    Directive::new(
        "notify-keyspace-events",
        Section::Events,
        Kind::Text {
            form: "letters",
            get: |config| config.notify_keyspace_events.text(),
            set: |config, value| {
                const REASON: &str = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
                config.notify_keyspace_events = Notifications::parse(value).ok_or(REASON)?;
                Ok(())
            },
        },
        "Publish what happens to keys: K on the key's channel __keyspace@db__:key, E on the event's channel \
         __keyevent@db__:event; g for commands on keys of any type, $ strings, l lists, s sets, h hashes, z sorted sets, \
         t streams, x expired keys, e evicted keys, d types of modules, A for all these; n for new keys, m for keys that \
         were looked for in vain.",
    ),
    Directive::new(
        "tracking-table-max-keys",
        Section::Events,
        integer!(tracking_table_max_keys, 0, i64::MAX),
        "So many keys are remembered for clients that track what they read (CLIENT TRACKING), over all cores; beyond that \
         their clients drop random ones. 0: as many as there are.",
    ),
    Directive::new(
        "slowlog-log-slower-than",
        Section::Watching,
        integer!(slowlog_log_slower_than, -1, i64::MAX),
        "Commands that hold up their core for so many microseconds get into the slow log (SLOWLOG). 0: all; -1: none.",
    ),
    Directive::new(
        "slowlog-max-len",
        Section::Watching,
        integer!(slowlog_max_len, 0, i64::MAX),
        "So many commands the slow log holds; the oldest go first.",
    ),
    Directive::new(
        "appendonly",
        Section::Durability,
        Kind::Bool { get: |config| config.appendonly, set: |config, value| config.appendonly = value },
        "Log every change to files, from which the next start has the data again.",
    ),
    Directive::new(
        "appendfilename",
        Section::Durability,
        Kind::Text {
            form: "a file name",
            get: |config| config.appendfilename.clone(),
            set: |config, value| {
                config.appendfilename = file_name(value, AOF_FILENAME_BYTES_MAX, "appendfilename can't be a path, just a filename")?;
                Ok(())
            },
        },
        "What the names of these files begin with.",
    )
    .change(Change::Start),
    Directive::new(
        "appenddirname",
        Section::Durability,
        Kind::Text {
            form: "a directory name",
            get: |config| config.appenddirname.clone(),
            set: |config, value| {
                config.appenddirname = file_name(value, NAME_BYTES_MAX, "appenddirname can't be a path, just a dirname")?;
                Ok(())
            },
        },
        "The directory below dir in which they are.",
    )
    .change(Change::Start),
    Directive::new(
        "appendfsync",
        Section::Durability,
        Kind::Enum {
            names: Fsync::NAMES,
            get: |config| config.appendfsync as usize,
            set: |config, value| config.appendfsync = Fsync::from_index(value),
        },
        "When changes are forced to disk: always, before their clients are answered; everysec, once a second; no, when \
         the kernel likes.",
    ),
    Directive::new(
        "no-appendfsync-on-rewrite",
        Section::Durability,
        Kind::Bool {
            get: |config| config.no_appendfsync_on_rewrite,
            set: |config, value| config.no_appendfsync_on_rewrite = value,
        },
        "Force nothing to disk while the log is rewritten, as with appendfsync no: less latency for less safety.",
    ),
    Directive::new(
        "auto-aof-rewrite-percentage",
        Section::Durability,
        integer!(auto_aof_rewrite_percentage, 0, I32),
        "Rewrite the log when it has grown by so many percent since the last time. 0 never does.",
    ),
    Directive::new(
        "auto-aof-rewrite-min-size",
        Section::Durability,
        memory!(auto_aof_rewrite_min_size, 0, SIGNED_MAX),
        "A smaller log is not rewritten by itself.",
    ),
    Directive::new(
        "aof-load-truncated",
        Section::Durability,
        Kind::Bool { get: |config| config.aof_load_truncated, set: |config, value| config.aof_load_truncated = value },
        "Start with a log whose end was cut off in a crash, without what was not whole; no refuses to start.",
    ),
    Directive::new(
        "aof-timestamp-enabled",
        Section::Durability,
        Kind::Bool {
            get: |config| config.aof_timestamp_enabled,
            set: |config, value| config.aof_timestamp_enabled = value,
        },
        "Write lines with the time (#TS:) into the log, as Redis does.",
    ),
    Directive::new(
        "aof-use-rdb-preamble",
        Section::Absent,
        Kind::Only { value: "no", reason: "the log has no part in RDB format, only 'no' is accepted" },
        "Begin a rewritten log with a snapshot: there are none, a base has records like the rest.",
    ),
    Directive::new(
        "aof-rewrite-incremental-fsync",
        Section::Absent,
        Kind::Only { value: "yes", reason: "a base is forced to disk piece by piece, only 'yes' is accepted" },
        "Force a rewritten log to disk while it is written, not all of it at its end.",
    ),
    Directive::new(
        "save",
        Section::Absent,
        Kind::Only { value: "", reason: "snapshots are not supported yet, only \"\" is accepted" },
        "When to write snapshots: there are none, data lives in memory only.",
    ),
    Directive::new(
        "daemonize",
        Section::Absent,
        Kind::Only { value: "no", reason: "Crimson stays in the foreground, only 'no' is accepted: systemd does the rest" },
        "Go to the background: let systemd do it.",
    )
    .change(Change::Start),
];

/// The directive called `name`, in any case, by its name or its alias.
pub fn find(name: &[u8]) -> Option<&'static Directive> {
    static BY_NAME: LazyLock<HashMap<&[u8], &Directive>> = LazyLock::new(|| {
        let names =
            |row: &'static Directive| [Some(row.name), row.alias].into_iter().flatten().map(move |name| (name, row));
        DIRECTIVES.iter().flat_map(names).map(|(name, row)| (name.as_bytes(), row)).collect()
    });
    BY_NAME.get(name.to_ascii_lowercase().as_slice()).copied()
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::{DIRECTIVES, Kind, find};

    #[test]
    fn rows_are_whole() {
        let mut names: Vec<&str> = DIRECTIVES.iter().flat_map(|row| [Some(row.name), row.alias]).flatten().collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a name is used twice");
        for row in DIRECTIVES {
            assert!(row.doc.ends_with('.'), "{}", row.name);
            assert!(row.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", row.name);
            assert!(std::ptr::eq(find(row.name.to_uppercase().as_bytes()).expect("there"), row));
        }
        assert!(find(b"nosuch").is_none());
    }

    #[test]
    fn every_default_is_a_value_the_row_accepts_and_shows_again() {
        for row in DIRECTIVES {
            let mut config = Config::default();
            let text = row.show(&Config::default());
            row.read(&mut config, &[text.as_bytes()]).unwrap_or_else(|reason| panic!("{} {text}: {reason}", row.name));
            assert_eq!(config, Config::default(), "{}", row.name);
        }
    }

    #[test]
    fn every_number_reaches_its_own_field() {
        let mut config = Config::default();
        for (row, number) in DIRECTIVES.iter().zip(2i64..) {
            let number = if row.name == "active-expire-effort" { 7 } else { number };
            match row.kind {
                Kind::Integer { .. } => row.read(&mut config, &[number.to_string().as_bytes()]).expect("in range"),
                Kind::Memory { .. } => row.read(&mut config, &[format!("{number}mb").as_bytes()]).expect("in range"),
                _ => {}
            }
        }
        for (row, number) in DIRECTIVES.iter().zip(2i64..) {
            let number = if row.name == "active-expire-effort" { 7 } else { number };
            match row.kind {
                Kind::Integer { .. } => assert_eq!(row.show(&config), number.to_string(), "{}", row.name),
                Kind::Memory { .. } => assert_eq!(row.show(&config), (number << 20).to_string(), "{}", row.name),
                _ => {}
            }
        }
    }

    #[test]
    fn values_outside_are_refused_with_redis_reasons() {
        for (name, value, reason) in [
            ("port", "abc", "argument couldn't be parsed into an integer"),
            ("port", "65536", "argument must be between 0 and 65535 inclusive"),
            ("maxclients", "0", "argument must be between 1 and 4294967295 inclusive"),
            ("proto-max-bulk-len", "1000", "argument must be between 1048576 and 4294967295 inclusive"),
            ("proto-max-bulk-len", "2mbx", "argument must be a memory value"),
            ("protected-mode", "maybe", "argument must be 'yes' or 'no'"),
            ("loglevel", "x", "argument(s) must be one of the following: debug, verbose, notice, warning, nothing"),
            ("client-output-buffer-limit", "normal 1", "Wrong number of arguments in buffer limit configuration."),
            ("appenddirname", "a/b", "appenddirname can't be a path, just a dirname"),
            ("aof-use-rdb-preamble", "yes", "the log has no part in RDB format, only 'no' is accepted"),
            ("aof-rewrite-incremental-fsync", "no", "a base is forced to disk piece by piece, only 'yes' is accepted"),
            ("save", "3600 1", "snapshots are not supported yet, only \"\" is accepted"),
        ] {
            let mut config = Config::default();
            let result = find(name.as_bytes()).expect("there").read(&mut config, &[value.as_bytes()]);
            assert_eq!(result, Err(reason.into()), "{name} {value}");
            assert_eq!(config, Config::default());
        }
        let port = find(b"port").expect("there");
        assert_eq!(port.read(&mut Config::default(), &[]), Err("wrong number of arguments".into()));
        assert_eq!(port.read(&mut Config::default(), &[b"1", b"2"]), Err("wrong number of arguments".into()));
    }

    #[test]
    fn hz_is_clamped() {
        let (mut config, hz) = (Config::default(), find(b"hz").expect("there"));
        hz.read(&mut config, &[b"0"]).expect("in range");
        assert_eq!(config.hz, 1);
        hz.read(&mut config, &[b"9999"]).expect("in range");
        assert_eq!(config.hz, 500);
    }
}
