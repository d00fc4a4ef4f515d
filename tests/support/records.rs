//! The records of a log, one after another.

use crimson::persistence::aof::record::LIMITS;
use crimson::resp::Args;
use crimson::resp::parser::{Parsed, RequestParser, Scratch};

/// Calls `found` with each record of `bytes`, its arguments and its own bytes.
pub fn each_record(mut bytes: &[u8], mut found: impl FnMut(Args<'_>, &[u8])) {
    let mut scratch = Scratch::default();
    while !bytes.is_empty() {
        scratch.clear();
        let parsed = RequestParser::default().parse(bytes, &mut scratch, LIMITS);
        let Ok(Parsed::Request(len)) = parsed else { panic!("a torn record: {}", bytes.escape_ascii()) };
        found(Args::new(bytes, &scratch.spans), &bytes[..len]);
        bytes = &bytes[len..];
    }
}
