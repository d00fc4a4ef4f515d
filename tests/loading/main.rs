//! Loading the append-only log, on the real binary: logs made by hand and by Redis, whole, torn and damaged.

#[path = "../support/area.rs"]
mod area;
#[path = "../support/mod.rs"]
mod support;

mod areas;
mod bytes;
mod damage;
mod directory;
mod identity;
mod logs;
mod meanwhile;
mod redis;
mod shards;
