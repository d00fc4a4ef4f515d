//! Containers that the data types are made of. They know bytes and numbers, nothing of commands or replies.

pub mod intset;
pub mod listpack;
pub mod quicklist;
