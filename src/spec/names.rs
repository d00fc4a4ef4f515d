//! The words COMMAND INFO and COMMAND DOCS use for flags, categories, groups and policies, in Redis's order.

use super::{Categories, Flags, Group, KeyFlags, RequestPolicy, ResponsePolicy, Spec};

const FLAGS: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::ASKING, "asking"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::MOVABLEKEYS, "movablekeys"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

const CATEGORIES: &[(Categories, &str)] = &[
    (Categories::KEYSPACE, "keyspace"),
    (Categories::READ, "read"),
    (Categories::WRITE, "write"),
    (Categories::SET, "set"),
    (Categories::SORTEDSET, "sortedset"),
    (Categories::LIST, "list"),
    (Categories::HASH, "hash"),
    (Categories::STRING, "string"),
    (Categories::BITMAP, "bitmap"),
    (Categories::HYPERLOGLOG, "hyperloglog"),
    (Categories::GEO, "geo"),
    (Categories::STREAM, "stream"),
    (Categories::PUBSUB, "pubsub"),
    (Categories::ADMIN, "admin"),
    (Categories::FAST, "fast"),
    (Categories::SLOW, "slow"),
    (Categories::BLOCKING, "blocking"),
    (Categories::DANGEROUS, "dangerous"),
    (Categories::CONNECTION, "connection"),
    (Categories::TRANSACTION, "transaction"),
    (Categories::SCRIPTING, "scripting"),
];

const KEY_FLAGS: &[(KeyFlags, &str)] = &[
    (KeyFlags::RO, "RO"),
    (KeyFlags::RW, "RW"),
    (KeyFlags::OW, "OW"),
    (KeyFlags::RM, "RM"),
    (KeyFlags::ACCESS, "access"),
    (KeyFlags::UPDATE, "update"),
    (KeyFlags::INSERT, "insert"),
    (KeyFlags::DELETE, "delete"),
    (KeyFlags::NOT_KEY, "not_key"),
    (KeyFlags::INCOMPLETE, "incomplete"),
    (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
];

impl Flags {
    /// Their words.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        FLAGS.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, word)| *word)
    }
}

impl Categories {
    /// Their words, without the `@`.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        CATEGORIES.iter().filter(move |(category, _)| self.contains(*category)).map(|(_, word)| *word)
    }

    /// The category called `word`, in any case.
    pub fn named(word: &[u8]) -> Option<Self> {
        let hit = CATEGORIES.iter().find(|(_, name)| name.as_bytes().eq_ignore_ascii_case(word));
        hit.map(|(category, _)| *category)
    }
}

impl KeyFlags {
    /// Their words.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        KEY_FLAGS.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, word)| *word)
    }
}

impl Group {
    /// COMMAND DOCS's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Hash => "hash",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Scripting => "scripting",
            Self::HyperLogLog => "hyperloglog",
            Self::Cluster => "cluster",
            Self::Geo => "geo",
            Self::Stream => "stream",
            Self::Bitmap => "bitmap",
        }
    }
}

impl Spec {
    /// All tips: the plain ones, then the policies.
    pub fn all_tips(&self) -> impl Iterator<Item = &'static str> {
        let request = match self.request {
            RequestPolicy::Default => None,
            RequestPolicy::AllShards => Some("request_policy:all_shards"),
            RequestPolicy::MultiShard => Some("request_policy:multi_shard"),
            RequestPolicy::Special => Some("request_policy:special"),
        };
        let response = match self.response {
            ResponsePolicy::Default => None,
            ResponsePolicy::AllSucceeded => Some("response_policy:all_succeeded"),
            ResponsePolicy::AggMin => Some("response_policy:agg_min"),
            ResponsePolicy::AggSum => Some("response_policy:agg_sum"),
            ResponsePolicy::Special => Some("response_policy:special"),
        };
        self.tips.iter().copied().chain(request).chain(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_one_word() {
        assert_eq!(Flags::all().words().count(), Flags::all().iter().count());
        assert_eq!(Categories::all().words().count(), Categories::all().iter().count());
        assert_eq!(KeyFlags::all().words().count(), KeyFlags::all().iter().count());
        assert_eq!(Categories::named(b"SortedSet"), Some(Categories::SORTEDSET));
        assert_eq!(Categories::named(b"nosuch"), None);
    }
}
