//! When two replies to a command count as equal.
//!
//! Byte for byte, unless the command's reply has no order, tells the time, or is chosen at random; and unless the
//! difference stands in the table of [`super::known`].

use crate::generate::Command;
use crate::known;
use crate::support::Reply;

/// How the replies to a command are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Byte for byte.
    Exact,
    /// Elements in any order.
    Unordered,
    /// Field-value pairs in any order.
    Pairs,
    /// A number that goes on while the test runs: at most this far apart where both are positive.
    Near(i64),
    /// Only the kind of reply and its length: ids, clocks, addresses.
    Shape,
    /// Pairs of which the oracle's fields must all be there; a newer server may tell more about itself.
    Fields,
    /// Keys with their flags. Only the keys are compared: the flags of some commands have been corrected since, and the
    /// rows of the table are compared with those elsewhere.
    KeysOfSpecs,
    /// A walk over all pages, the elements in any order.
    Scan,
    /// Members chosen at random and removed.
    Pop,
    /// Members chosen at random.
    RandomMembers,
    /// Fields chosen at random.
    RandomFields,
    /// A key chosen at random.
    RandomKey,
}

impl Rule {
    /// Whether the comparison needs further commands, so that the command cannot stand in a pipeline.
    pub fn needs_more_commands(self) -> bool {
        matches!(self, Self::Scan | Self::Pop | Self::RandomMembers | Self::RandomFields | Self::RandomKey)
    }
}

/// The lower-case name of a command, with its subcommand where it has one.
pub fn name_of(command: &Command) -> String {
    let lower = |word: &Vec<u8>| String::from_utf8_lossy(word).to_ascii_lowercase();
    let name = lower(&command[0]);
    match (&name[..], command.get(1)) {
        (
            "client" | "object" | "command" | "config" | "debug" | "memory" | "latency" | "pubsub" | "slowlog",
            Some(subcommand),
        ) => {
            format!("{name}|{}", lower(subcommand))
        }
        _ => name,
    }
}

/// How the replies to `command` are compared.
pub fn rule_of(command: &Command) -> Rule {
    match &name_of(command)[..] {
        "smembers" | "sinter" | "sunion" | "sdiff" | "keys" | "hkeys" | "hvals" | "command|list" => Rule::Unordered,
        "hgetall" | "config|get" => Rule::Pairs,
        // All times to live in generated commands are at least 100 seconds apart from each other.
        "ttl" | "expiretime" | "object|idletime" => Rule::Near(20),
        "pttl" | "pexpiretime" => Rule::Near(20_000),
        "client|id" | "client|info" | "client|list" | "time" => Rule::Shape,
        "hello" => Rule::Fields,
        "command|getkeysandflags" => Rule::KeysOfSpecs,
        "scan" | "sscan" | "hscan" => Rule::Scan,
        "spop" => Rule::Pop,
        "srandmember" => Rule::RandomMembers,
        "hrandfield" => Rule::RandomFields,
        "randomkey" => Rule::RandomKey,
        _ => Rule::Exact,
    }
}

/// Two replies to one command that are not equal.
#[derive(Clone, Debug)]
pub struct Difference {
    pub command: Command,
    pub oracle: Reply,
    pub subject: Reply,
}

/// Compares replies of both servers; `None` when they are equal or their difference is known.
pub fn compare(command: &Command, oracle: &Reply, subject: &Reply) -> Option<Difference> {
    let equal = match rule_of(command) {
        _ if oracle.is_error() || subject.is_error() => oracle == subject,
        Rule::Unordered => sorted(oracle) == sorted(subject),
        Rule::Pairs => sorted_pairs(oracle) == sorted_pairs(subject),
        Rule::Near(distance) => near(oracle, subject, distance),
        Rule::Shape => same_shape(oracle, subject),
        Rule::Fields => has_fields_of(oracle, subject),
        Rule::KeysOfSpecs => first_of_each(oracle) == first_of_each(subject),
        _ => oracle == subject,
    };
    let difference = Difference { command: command.clone(), oracle: oracle.clone(), subject: subject.clone() };
    (!equal && known::reason(&difference).is_none()).then_some(difference)
}

/// The reply with its elements in ascending order.
pub fn sorted(reply: &Reply) -> Reply {
    let mut sorted = reply.clone();
    if let Reply::Array(elements) | Reply::Set(elements) = &mut sorted {
        elements.sort();
    }
    sorted
}

/// The reply with its pairs in ascending order.
pub fn sorted_pairs(reply: &Reply) -> Reply {
    match reply {
        Reply::Map(pairs) => {
            let mut pairs = pairs.clone();
            pairs.sort();
            Reply::Map(pairs)
        }
        Reply::Array(elements) if elements.len() % 2 == 0 => {
            let mut pairs: Vec<&[Reply]> = elements.chunks(2).collect();
            pairs.sort();
            Reply::Array(pairs.concat())
        }
        other => other.clone(),
    }
}

fn near(oracle: &Reply, subject: &Reply, distance: i64) -> bool {
    match (oracle, subject) {
        (Reply::Integer(a), Reply::Integer(b)) if *a >= 0 && *b >= 0 => a.abs_diff(*b) <= distance.unsigned_abs(),
        _ => oracle == subject,
    }
}

/// Whether both are replies of one kind; arrays also of one length.
pub fn same_shape(oracle: &Reply, subject: &Reply) -> bool {
    match (oracle, subject) {
        (Reply::Array(a), Reply::Array(b)) => a.len() == b.len(),
        _ => std::mem::discriminant(oracle) == std::mem::discriminant(subject),
    }
}

/// Whether both are pairs, of the same kind of reply, and every field of the oracle is one of the subject.
fn has_fields_of(oracle: &Reply, subject: &Reply) -> bool {
    let is_pairs = |reply: &Reply| matches!(reply, Reply::Array(_) | Reply::Map(_));
    let same_kind = std::mem::discriminant(oracle) == std::mem::discriminant(subject);
    let theirs = || subject.pairs().into_iter().map(|(field, _)| field);
    same_kind && is_pairs(oracle) && oracle.pairs().iter().all(|(field, _)| theirs().any(|other| other == *field))
}

fn first_of_each(reply: &Reply) -> Vec<Reply> {
    let first = |element: &Reply| match element {
        Reply::Array(parts) => parts.first().cloned(),
        other => Some(other.clone()),
    };
    match reply {
        Reply::Array(elements) => elements.iter().filter_map(first).collect(),
        other => vec![other.clone()],
    }
}
