//! The wire protocol, without I/O: bytes to requests ([`parser`]), the arguments of one request ([`args`]), values to
//! reply bytes in RESP2 and RESP3 ([`reply`]), and every error text a client can see ([`error`]).

pub mod args;
pub mod error;
pub mod parser;
pub mod reply;

pub use args::{Args, Cursor, Span};
pub use error::CommandError;
pub use reply::{Output, Protocol, Reply};
