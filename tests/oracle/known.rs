//! Where Crimson differs from the oracle on purpose. The oracle is Redis 7.0; Crimson promises 7.2.4 with some newer
//! options, so each row is something that changed in between. Exact behaviour of those is in `tests/sessions`.

use crate::compare::{Difference, name_of};
use crate::support::Reply;

/// A difference that is meant to be.
pub struct Known {
    /// Why it is right.
    pub reason: &'static str,
    matches: fn(&Difference) -> bool,
}

/// The table.
pub const KNOWN: &[Known] = &[
    Known {
        reason: "7.2: a list that fits one node is encoded as listpack, not quicklist",
        matches: |d| encodings(d, "quicklist", "listpack"),
    },
    Known {
        reason: "7.2: a small set that is not of integers is encoded as listpack, not hashtable",
        matches: |d| encodings(d, "hashtable", "listpack"),
    },
    Known {
        reason: "7.2: what SINTERSTORE and its relatives make of listpack sets is a listpack, even if it holds integers",
        matches: |d| encodings(d, "intset", "listpack"),
    },
    Known {
        reason: "7.2: COMMAND GETKEYS and GETKEYSANDFLAGS take a single word and say what is wrong with it",
        matches: |d| {
            name_of(&d.command).starts_with("command|getkeys")
                && d.command.len() == 3
                && is_error(&d.oracle, "ERR wrong number of arguments")
                && (is_error(&d.subject, "ERR Invalid command specified")
                    || is_error(&d.subject, "ERR Invalid number of arguments specified for command")
                    || is_error(&d.subject, "ERR The command has no key arguments"))
        },
    },
    Known {
        reason: "Differs: COMMAND GETKEYS of a count that is not an integer. Redis then reads it as C's atoi does, which \
                 finds keys in a command that would be refused; Crimson says that the arguments are wrong",
        matches: |d| {
            name_of(&d.command).starts_with("command|getkeys")
                && matches!(d.oracle, Reply::Array(_))
                && is_error(&d.subject, "ERR Invalid arguments specified for command")
        },
    },
    Known {
        reason: "Differs: a pattern of several stars matches the empty text too; in Redis only a single star does",
        matches: |d| {
            d.command.iter().any(|word| word.len() > 1 && word.iter().all(|&byte| byte == b'*'))
                && matches!((&d.oracle, &d.subject), (Reply::Array(_), Reply::Array(_)))
                && without_empty(&d.oracle) == without_empty(&d.subject)
        },
    },
    Known {
        reason: "Differs: small integers lie in the entry and count as shared always, in Redis not after COPY",
        matches: |d| {
            name_of(&d.command) == "object|refcount"
                && d.oracle == Reply::Integer(1)
                && d.subject == Reply::Integer(i64::from(i32::MAX))
        },
    },
    Known {
        reason: "7.2: the rank -2^63 of LPOS is refused",
        matches: |d| {
            name_of(&d.command) == "lpos" && is_error(&d.subject, "ERR value is out of range, value must between")
        },
    },
];

/// Why the difference is meant to be, if it is.
pub fn reason(difference: &Difference) -> Option<&'static str> {
    KNOWN.iter().find(|known| (known.matches)(difference)).map(|known| known.reason)
}

fn encodings(d: &Difference, oracle: &str, subject: &str) -> bool {
    let is = |reply: &Reply, text: &str| matches!(reply, Reply::Bulk(bytes) if bytes == text.as_bytes());
    name_of(&d.command) == "object|encoding" && is(&d.oracle, oracle) && is(&d.subject, subject)
}

fn is_error(reply: &Reply, start: &str) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with(start.as_bytes()))
}

/// The elements that are not the empty string or a pair that starts with it, in ascending order.
fn without_empty(reply: &Reply) -> Vec<Reply> {
    let is_empty = |element: &Reply| match element {
        Reply::Bulk(bytes) => bytes.is_empty(),
        Reply::Array(pair) => matches!(pair.first(), Some(Reply::Bulk(bytes)) if bytes.is_empty()),
        _ => false,
    };
    let mut rest: Vec<Reply> = reply.elements().iter().filter(|element| !is_empty(element)).cloned().collect();
    rest.sort();
    rest
}
