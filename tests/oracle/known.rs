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
];

/// Why the difference is meant to be, if it is.
pub fn reason(difference: &Difference) -> Option<&'static str> {
    KNOWN.iter().find(|known| (known.matches)(difference)).map(|known| known.reason)
}

fn encodings(d: &Difference, oracle: &str, subject: &str) -> bool {
    let is = |reply: &Reply, text: &str| matches!(reply, Reply::Bulk(bytes) if bytes == text.as_bytes());
    name_of(&d.command) == "object|encoding" && is(&d.oracle, oracle) && is(&d.subject, subject)
}
