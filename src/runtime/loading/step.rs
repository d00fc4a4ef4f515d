//! What the steps of a core's loading work with.

use super::Loading;
use super::disk::Disk;
use super::load::Segment;
use crate::engine::Engine;
use crate::engine::message::KeyState;
use crate::shard::{Millis, ShardId};
use std::time::Instant;

/// How a step goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// In the core's next turn.
    Again,
    /// When something has come that it waits for.
    Wait,
    /// This core has done its part.
    Done,
}

/// What a step works with in one turn of its core.
pub struct Context<'a> {
    /// What all cores share.
    pub shared: &'a Loading,
    /// Reads and writes files.
    pub disk: &'a mut Disk,
    /// The core's engine.
    pub engine: &'a mut Engine,
    /// What this core has loaded.
    pub segments: &'a mut Vec<Segment>,
    /// Keys for other cores.
    pub outgoing: &'a mut Vec<(ShardId, Vec<KeyState>)>,
    /// Whether other cores cannot keep up with what they are sent.
    pub congested: bool,
    /// The time.
    pub now: Millis,
    /// When its time in this turn is over.
    pub until: Instant,
}
