//! Segments of the log: batches one behind the other, each for a reader that begins with database 0.

use crate::records::each_record;
use crimson::config::Config;
use crimson::engine::replay::Replay;
use crimson::persistence::aof::{Records, TransactionView, rebuild};
use crimson::resp::Args;
use crimson::shard::{Shard, ShardId};
use std::sync::Arc;

/// What one shard has logged, by turns.
pub type Segment = Vec<Vec<u8>>;

/// A segment, replayed into an empty shard.
pub fn replay(segment: &Segment, id: ShardId, shards: u16) -> Result<(Shard, Replay), String> {
    let mut shard = Shard::new(id, Config::default().databases);
    shard.set_timeless(true);
    let mut replay = Replay::new(Arc::new(Config::default()), id, shards, 0);
    for batch in segment {
        replay.rewind();
        let mut outcome = Ok(());
        each_record(batch, |args, _| {
            if outcome.is_ok() {
                outcome = replay.record(&mut shard, args).map_err(|error| format!("{error} in {}", line(args)));
            }
        });
        outcome?;
        assert!(!replay.is_in_transaction(), "a batch holds whole transactions");
    }
    Ok((shard, replay))
}

/// The record of transaction `stamp` in a segment.
pub fn with_transaction(segment: &Segment, stamp: u64, mut found: impl FnMut(&TransactionView<'_>)) {
    for batch in segment {
        each_record(batch, |args, _| {
            if let Some(view) =
                TransactionView::parse(args).filter(|view| TransactionView::is_one(args) && view.stamp == stamp)
            {
                found(&view);
            }
        });
    }
}

/// What makes all that a shard holds, written over other values.
pub fn rebuild(shard: &mut Shard) -> Segment {
    let mut records = Records::new();
    shard.set_timeless(true);
    for (index, db) in shard.databases.iter_mut().enumerate() {
        let (mut cursor, mut keys) = (0, Vec::new());
        loop {
            cursor = db.scan(cursor, 1000, |key, _| keys.push(key.to_vec()));
            if cursor == 0 {
                break;
            }
        }
        keys.sort();
        keys.dedup();
        for key in keys {
            let expires = db.expires_at(&key).flatten();
            let value = db.peek(&key).expect("it has just been there");
            records.append(index as u16, [&b"SADD"[..], &key, b"other"].into_iter());
            rebuild::rebuild(&mut records, index as u16, &key, value, expires, true);
        }
    }
    let mut bytes = Vec::new();
    records.drain(&mut bytes);
    vec![bytes]
}

/// The records, a line each.
pub fn lines(bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    each_record(bytes, |args, _| lines.push(line(args)));
    lines
}

/// Prints the last records that mention `key`.
pub fn show(segment: &Segment, key: &[u8]) {
    let mut lines = Vec::new();
    for batch in segment {
        each_record(batch, |args, _| {
            let mentions = args.iter_from(1).any(|argument| memchr::memmem::find(argument, key).is_some());
            let control = ["SELECT", "SWAPDB", "FLUSHALL", "FLUSHDB", "MOVE", "MULTI", "EXEC"];
            if mentions || control.iter().any(|name| args.at(0).eq_ignore_ascii_case(name.as_bytes())) {
                lines.push(line(args));
            }
        });
        lines.push("--".into());
    }
    lines.dedup();
    let first = lines.len().saturating_sub(60);
    lines[first..].iter().for_each(|line| println!("{line}"));
}

/// A record in words.
pub fn line(args: Args<'_>) -> String {
    args.iter_from(0).map(|argument| argument.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}
