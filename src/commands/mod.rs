//! The commands: one file a group, each with its rows and handlers. Adding a command is a row and a function here.
//!
//! A handler is a plain synchronous function named after its command. It reads its arguments, works on the context it is
//! given and writes one reply; an error it returns becomes the reply, and whatever it had written is taken back.

pub mod client;
pub mod command;
pub mod config;
pub mod connection;
pub mod context;
pub mod debug;
pub mod generic;
pub mod hash;
pub mod info;
pub mod list;
pub mod memory;
pub mod monitor;
pub mod node;
pub mod persistence;
pub mod pubsub;
pub mod reclaimer;
pub mod redaction;
pub mod row;
pub mod scan_options;
pub mod server;
pub mod set;
pub mod slowlog;
pub mod string;
pub mod table;
#[cfg(test)]
mod testing;
pub mod transactions;

pub use context::{Blocking, CoreView, EveryCore, Flow, SessionContext, ShardContext, Wait};
pub use node::Node;
pub use row::{Handler, Row};
pub use table::{CommandTable, Entry, table};

/// All rows, family by family.
pub const FAMILIES: &[&[Row]] = &[
    string::ROWS,
    list::ROWS,
    set::ROWS,
    hash::ROWS,
    generic::ROWS,
    transactions::ROWS,
    pubsub::ROWS,
    connection::ROWS,
    client::ROWS,
    command::ROWS,
    info::ROWS,
    memory::ROWS,
    server::ROWS,
    persistence::ROWS,
    slowlog::ROWS,
    monitor::ROWS,
    config::ROWS,
    debug::ROWS,
];
