//! Keys that were loaded into shards as there were go to the shards of today.

use super::step::{Context, Next};
use crate::engine::message::KeyState;
use crate::limits::ADOPTED_KEYS_PER_MESSAGE_MAX;
use crate::shard::{Router, ShardId};
use std::time::Instant;

/// Keys that are taken out between two looks at the clock.
const KEYS_PER_LOOK: usize = 64;

/// The step.
pub struct Spread {
    router: Router,
    own: ShardId,
    database: usize,
    cursor: u64,
    /// By receiver.
    filling: Vec<Vec<KeyState>>,
}

impl Spread {
    /// From core `own` of so many.
    pub fn new(own: ShardId, cores: u16) -> Self {
        let filling = (0..cores).map(|_| Vec::new()).collect();
        Self { router: Router::new(cores), own, database: 0, cursor: 0, filling }
    }

    /// Goes on for a while.
    pub fn step(&mut self, cx: &mut Context<'_>) -> Result<Next, String> {
        if cx.congested {
            return Ok(Next::Wait);
        }
        while let Some(scratch) = cx.segments.last_mut().and_then(|segment| segment.scratch.as_mut()) {
            let Some(db) = scratch.databases.get_mut(self.database) else {
                // Its tables are empty by now.
                cx.segments.pop();
                self.database = 0;
                continue;
            };
            let mut keys: Vec<Vec<u8>> = Vec::new();
            self.cursor = db.scan(self.cursor, KEYS_PER_LOOK, |key, _| keys.push(key.to_vec()));
            let taken = keys.into_iter().filter_map(|key| Some((db.take(&key)?, key)));
            let states: Vec<KeyState> = taken
                .map(|(state, key)| KeyState { database: self.database as u16, key, state: Some(state) })
                .collect();
            if self.cursor == 0 && db.is_empty() {
                self.database += 1;
            }
            states.into_iter().for_each(|state| self.give(cx, state));
            if Instant::now() >= cx.until {
                return Ok(Next::Again);
            }
        }
        for index in 0..self.filling.len() {
            self.post(cx, index);
        }
        Ok(Next::Done)
    }

    fn give(&mut self, cx: &mut Context<'_>, state: KeyState) {
        let owner = self.router.shard_of(&state.key);
        if owner == self.own {
            return adopt(cx.engine, state);
        }
        self.filling[owner.index()].push(state);
        if self.filling[owner.index()].len() >= ADOPTED_KEYS_PER_MESSAGE_MAX {
            self.post(cx, owner.index());
        }
    }

    fn post(&mut self, cx: &mut Context<'_>, index: usize) {
        let keys = std::mem::take(&mut self.filling[index]);
        if !keys.is_empty() {
            cx.shared.count_sent(index, keys.len() as u64);
            cx.outgoing.push((ShardId(index as u16), keys));
        }
    }
}

/// Takes over a key that was loaded elsewhere.
pub fn adopt(engine: &mut crate::engine::Engine, state: KeyState) {
    if let Some((value, expires)) = state.state {
        engine.adopt(state.database, &state.key, value, expires);
    }
}
