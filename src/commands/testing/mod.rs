//! What the unit tests of handlers run on: a shell on one shard for commands on keys, a console on one session for
//! commands on the session or the server. Neither needs an engine.

mod session;
mod shard;

pub use session::{Console, spans};
pub use shard::Shell;
