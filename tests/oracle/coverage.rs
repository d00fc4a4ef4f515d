//! Every row of the command table has a test case: a generator or a written session.

use crate::compare::name_of;
use crate::generate::{FAMILIES, Gen};
use crate::sessions::Session;
use crimson::commands::{Handler, table};
use std::collections::BTreeSet;

/// Rows that are tested elsewhere, because a session cannot show what they do.
const TESTED_ELSEWHERE: &[(&str, &str)] = &[
    ("shutdown", "tests/boot.rs"),
    ("bgrewriteaof", "tests/durability"),
    ("lastsave", "src/commands/persistence.rs"),
    ("waitaof", "tests/durability"),
    ("quit", "tests/protocol"),
    ("monitor", "tests/protocol"),
    ("client|pause", "tests/protocol"),
    ("client|reply", "tests/protocol"),
];

#[test]
fn every_row_has_a_test_case() {
    let mut tested: BTreeSet<String> = TESTED_ELSEWHERE.iter().map(|(name, _)| (*name).into()).collect();
    for family in FAMILIES {
        let mut g = Gen::new(7);
        tested.extend((0..5000).map(|_| name_of(&g.command(family))));
    }
    tested.extend(Session::all().iter().flat_map(Session::commands));
    // DEBUG has no rows for its subcommands.
    tested.extend(tested.clone().iter().filter_map(|name| Some(name.strip_suffix("|sleep")?.to_string())));
    let rows = table().entries().iter().filter(|entry| !matches!(entry.row.handler, Handler::Container));
    let untested: Vec<&str> = rows.map(|entry| entry.row.spec.name).filter(|name| !tested.contains(*name)).collect();
    assert!(untested.is_empty(), "without a generator or a session: {untested:?}");
}
