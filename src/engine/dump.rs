//! What a shard holds, as records: a snapshot, written for a base of the log.

use super::Engine;
use crate::persistence::aof::Records;
use crate::persistence::aof::rebuild::rebuild;
use crate::shard::Millis;
use crate::types::ValueRef;

impl Engine {
    /// Begins to dump what the shard holds now; `false` if a dump is under way. No value may be lent out.
    pub fn begin_dump(&mut self) -> bool {
        self.shard.begin_snapshot(encode)
    }

    /// Goes on over about `budget` keys. `take` is given a database and the records of some of its keys, for a reader that
    /// is in that database, and takes them out. Whether all has been taken.
    pub fn step_dump(&mut self, budget: usize, take: impl FnMut(u16, &mut Vec<u8>)) -> bool {
        self.shard.step_snapshot(budget, take)
    }
}

fn encode(key: &[u8], value: ValueRef<'_>, expires: Option<Millis>, bytes: &mut Vec<u8>) {
    let mut records = Records::behind(std::mem::take(bytes));
    rebuild(&mut records, 0, key, value, expires, false);
    *bytes = records.take_piece();
}
