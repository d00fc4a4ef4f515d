//! Commands on strings, by verb: [`get`] reads whole values, [`set`] replaces them, [`range`] reads and changes parts,
//! [`increment`] computes, [`lcs`] compares; [`lifetime`] reads the EX, PX, EXAT, PXAT family of options.

mod get;
mod increment;
mod lcs;
mod lifetime;
mod range;
mod set;

use super::Row;
use crate::spec::{BeginSearch, Categories, FindKeys, Flags, Group, KeyFlags, KeySpec, RequestPolicy, ResponsePolicy};

/// The string commands.
pub const ROWS: &[Row] = &[
    Row::shard("get", 2, Group::String, get::get)
        .summary("Returns the string value of a key.")
        .syntax("GET key")
        .flags(Flags::READONLY.union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))]),
    Row::shard("getset", 3, Group::String, get::getset)
        .summary("Sets the string value of a key and returns the old one.")
        .syntax("GETSET key value")
        .flags(Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))])
        .deprecated("6.2.0", "`SET` with the `GET` argument"),
    Row::shard("getdel", 2, Group::String, get::getdel)
        .summary("Returns the string value of a key and deletes the key.")
        .syntax("GETDEL key")
        .since("6.2.0")
        .flags(Flags::WRITE.union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))]),
    Row::shard("getex", -2, Group::String, get::getex)
        .summary("Returns the string value of a key and changes its time to live.")
        .syntax("GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]")
        .since("6.2.0")
        .flags(Flags::WRITE.union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))]),
    Row::shard("mget", -2, Group::String, get::mget)
        .summary("Returns the string values of several keys.")
        .syntax("MGET key [key ...]")
        .complexity("O(N)")
        .flags(Flags::READONLY.union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::rest(1, 1, KeyFlags::RO.union(KeyFlags::ACCESS))])
        .policies(RequestPolicy::MultiShard, ResponsePolicy::Default),
    Row::shard("strlen", 2, Group::String, get::strlen)
        .summary("Returns the length of a string value.")
        .syntax("STRLEN key")
        .since("2.2.0")
        .flags(Flags::READONLY.union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RO)]),
    Row::shard("set", -3, Group::String, set::set)
        .summary("Sets the string value of a key, whatever its type.")
        .syntax("SET key value [NX | XX | IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]")
        .flags(Flags::WRITE.union(Flags::DENYOOM))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE).union(KeyFlags::VARIABLE_FLAGS))]),
    Row::shard("setnx", 3, Group::String, set::setnx)
        .summary("Sets the string value of a key that does not exist.")
        .syntax("SETNX key value")
        .flags(Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::INSERT))])
        .deprecated("2.6.12", "`SET` with the `NX` argument"),
    Row::shard("setex", 4, Group::String, set::setex)
        .summary("Sets the string value of a key and its time to live in seconds.")
        .syntax("SETEX key seconds value")
        .since("2.0.0")
        .flags(Flags::WRITE.union(Flags::DENYOOM))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE))])
        .deprecated("2.6.12", "`SET` with the `EX` argument"),
    Row::shard("psetex", 4, Group::String, set::psetex)
        .summary("Sets the string value of a key and its time to live in milliseconds.")
        .syntax("PSETEX key milliseconds value")
        .since("2.6.0")
        .flags(Flags::WRITE.union(Flags::DENYOOM))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE))])
        .deprecated("2.6.12", "`SET` with the `PX` argument"),
    Row::shard("mset", -3, Group::String, set::mset)
        .summary("Sets the string values of several keys.")
        .syntax("MSET key value [key value ...]")
        .since("1.0.1")
        .complexity("O(N)")
        .flags(Flags::WRITE.union(Flags::DENYOOM))
        .categories(Categories::STRING)
        .keys(&[KeySpec::rest(1, 2, KeyFlags::OW.union(KeyFlags::UPDATE))])
        .policies(RequestPolicy::MultiShard, ResponsePolicy::AllSucceeded),
    Row::shard("msetnx", -3, Group::String, set::msetnx)
        .summary("Sets the string values of several keys if none of them exists.")
        .syntax("MSETNX key value [key value ...]")
        .since("1.0.1")
        .complexity("O(N)")
        .flags(Flags::WRITE.union(Flags::DENYOOM))
        .categories(Categories::STRING)
        .keys(&[KeySpec::rest(1, 2, KeyFlags::OW.union(KeyFlags::INSERT))]),
    Row::shard("append", 3, Group::String, range::append)
        .summary("Appends to the string value of a key.")
        .syntax("APPEND key value")
        .since("2.0.0")
        .flags(Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))]),
    Row::shard("setrange", 4, Group::String, range::setrange)
        .summary("Overwrites a part of a string value from an offset on.")
        .syntax("SETRANGE key offset value")
        .since("2.2.0")
        .flags(Flags::WRITE.union(Flags::DENYOOM))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))]),
    Row::shard("getrange", 4, Group::String, range::getrange)
        .summary("Returns a part of a string value.")
        .syntax("GETRANGE key start end")
        .since("2.4.0")
        .complexity("O(N)")
        .flags(Flags::READONLY)
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))]),
    Row::shard("substr", 4, Group::String, range::getrange)
        .summary("Returns a part of a string value.")
        .syntax("SUBSTR key start end")
        .complexity("O(N)")
        .flags(Flags::READONLY)
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))])
        .deprecated("2.0.0", "`GETRANGE`"),
    Row::shard("incr", 2, Group::String, increment::incr)
        .summary("Adds one to the integer value of a key.")
        .syntax("INCR key")
        .flags(Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))]),
    Row::shard("decr", 2, Group::String, increment::decr)
        .summary("Subtracts one from the integer value of a key.")
        .syntax("DECR key")
        .flags(Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))]),
    Row::shard("incrby", 3, Group::String, increment::incrby)
        .summary("Adds a number to the integer value of a key.")
        .syntax("INCRBY key increment")
        .flags(Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))]),
    Row::shard("decrby", 3, Group::String, increment::decrby)
        .summary("Subtracts a number from the integer value of a key.")
        .syntax("DECRBY key decrement")
        .flags(Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))]),
    Row::shard("incrbyfloat", 3, Group::String, increment::incrbyfloat)
        .summary("Adds a floating point number to the value of a key.")
        .syntax("INCRBYFLOAT key increment")
        .since("2.6.0")
        .flags(Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST))
        .categories(Categories::STRING)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))]),
    Row::shard("lcs", -3, Group::String, lcs::lcs)
        .summary("Finds the longest common subsequence of two string values.")
        .syntax("LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]")
        .since("7.0.0")
        .complexity("O(N*M)")
        .flags(Flags::READONLY)
        .categories(Categories::STRING)
        .keys(&[KeySpec { flags: KeyFlags::RO.union(KeyFlags::ACCESS), begin: BeginSearch::Index(1), find: FindKeys::Range { last_key: 1, step: 1, limit: 0 } }]),
];
