//! Commands on keys of any type and on whole databases: [`exists`] asks for keys and deletes them, [`copy`]
//! renames, copies and moves, [`expire`] sets times to live and [`ttl`] reads them, [`scan`] lists keys, [`database`]
//! counts and empties, [`object`] looks inside values.

mod copy;
mod database;
mod exists;
mod expire;
mod object;
mod scan;
mod ttl;

use super::Row;
use crate::shard::Database;
use crate::spec::{Categories, Flags, Group, KeyFlags, KeySpec, RequestPolicy, ResponsePolicy};

/// The generic commands, and those of the group server that work on keys.
pub const ROWS: &[Row] = &[
    Row::shard("del", -2, Group::Generic, exists::del)
        .summary("Deletes keys.")
        .syntax("DEL key [key ...]")
        .complexity("O(N)")
        .flags(Flags::WRITE)
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::rest(1, 1, KeyFlags::RM.union(KeyFlags::DELETE))])
        .policies(RequestPolicy::MultiShard, ResponsePolicy::AggSum),
    Row::shard("unlink", -2, Group::Generic, exists::unlink)
        .summary("Deletes keys; large values are freed in the background.")
        .syntax("UNLINK key [key ...]")
        .since("4.0.0")
        .flags(Flags::WRITE.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::rest(1, 1, KeyFlags::RM.union(KeyFlags::DELETE))])
        .policies(RequestPolicy::MultiShard, ResponsePolicy::AggSum),
    Row::shard("exists", -2, Group::Generic, exists::exists)
        .summary("Counts the given keys that exist.")
        .syntax("EXISTS key [key ...]")
        .complexity("O(N)")
        .flags(Flags::READONLY.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::rest(1, 1, KeyFlags::RO)])
        .policies(RequestPolicy::MultiShard, ResponsePolicy::AggSum),
    Row::shard("touch", -2, Group::Generic, exists::touch)
        .summary("Sets the access time of keys and counts those that exist.")
        .syntax("TOUCH key [key ...]")
        .since("3.2.1")
        .complexity("O(N)")
        .flags(Flags::READONLY.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::rest(1, 1, KeyFlags::RO)])
        .policies(RequestPolicy::MultiShard, ResponsePolicy::AggSum),
    Row::shard("type", 2, Group::Generic, exists::type_name)
        .summary("Returns the type of the value of a key.")
        .syntax("TYPE key")
        .flags(Flags::READONLY.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(1, KeyFlags::RO)]),
    Row::shard("rename", 3, Group::Generic, copy::rename)
        .summary("Renames a key; a key of the new name is overwritten.")
        .syntax("RENAME key newkey")
        .flags(Flags::WRITE)
        .categories(Categories::KEYSPACE)
        .keys(&[
            KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::OW.union(KeyFlags::UPDATE)),
        ]),
    Row::shard("renamenx", 3, Group::Generic, copy::renamenx)
        .summary("Renames a key if no key has the new name.")
        .syntax("RENAMENX key newkey")
        .flags(Flags::WRITE.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[
            KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::OW.union(KeyFlags::INSERT)),
        ]),
    Row::shard("copy", -3, Group::Generic, copy::copy)
        .summary("Copies the value of a key to another key.")
        .syntax("COPY source destination [DB destination-db] [REPLACE]")
        .since("6.2.0")
        .complexity("O(N)")
        .flags(Flags::WRITE.union(Flags::DENYOOM))
        .categories(Categories::KEYSPACE)
        .keys(&[
            KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS)),
            KeySpec::one(2, KeyFlags::OW.union(KeyFlags::UPDATE)),
        ]),
    Row::shard("move", 3, Group::Generic, copy::r#move)
        .summary("Moves a key to another database.")
        .syntax("MOVE key db")
        .flags(Flags::WRITE.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))]),
    Row::shard("expire", -3, Group::Generic, expire::expire)
        .summary("Sets the time to live of a key in seconds.")
        .syntax("EXPIRE key seconds [NX | XX | GT | LT]")
        .flags(Flags::WRITE.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))]),
    Row::shard("pexpire", -3, Group::Generic, expire::pexpire)
        .summary("Sets the time to live of a key in milliseconds.")
        .syntax("PEXPIRE key milliseconds [NX | XX | GT | LT]")
        .since("2.6.0")
        .flags(Flags::WRITE.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))]),
    Row::shard("expireat", -3, Group::Generic, expire::expireat)
        .summary("Sets the Unix time in seconds at which a key expires.")
        .syntax("EXPIREAT key unix-time-seconds [NX | XX | GT | LT]")
        .since("1.2.0")
        .flags(Flags::WRITE.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))]),
    Row::shard("pexpireat", -3, Group::Generic, expire::pexpireat)
        .summary("Sets the Unix time in milliseconds at which a key expires.")
        .syntax("PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]")
        .since("2.6.0")
        .flags(Flags::WRITE.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))]),
    Row::shard("ttl", 2, Group::Generic, ttl::ttl)
        .summary("Returns the time to live of a key in seconds.")
        .syntax("TTL key")
        .flags(Flags::READONLY.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))])
        .tips(&["nondeterministic_output"]),
    Row::shard("pttl", 2, Group::Generic, ttl::pttl)
        .summary("Returns the time to live of a key in milliseconds.")
        .syntax("PTTL key")
        .since("2.6.0")
        .flags(Flags::READONLY.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))])
        .tips(&["nondeterministic_output"]),
    Row::shard("expiretime", 2, Group::Generic, ttl::expiretime)
        .summary("Returns the Unix time in seconds at which a key expires.")
        .syntax("EXPIRETIME key")
        .since("7.0.0")
        .flags(Flags::READONLY.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))]),
    Row::shard("pexpiretime", 2, Group::Generic, ttl::pexpiretime)
        .summary("Returns the Unix time in milliseconds at which a key expires.")
        .syntax("PEXPIRETIME key")
        .since("7.0.0")
        .flags(Flags::READONLY.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))]),
    Row::shard("persist", 2, Group::Generic, ttl::persist)
        .summary("Removes the time to live of a key.")
        .syntax("PERSIST key")
        .since("2.2.0")
        .flags(Flags::WRITE.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))]),
    Row::shard("randomkey", 1, Group::Generic, scan::randomkey)
        .summary("Returns the name of a random key.")
        .syntax("RANDOMKEY")
        .flags(Flags::READONLY)
        .categories(Categories::KEYSPACE)
        .policies(RequestPolicy::AllShards, ResponsePolicy::Special)
        .tips(&["nondeterministic_output"]),
    Row::shard("keys", 2, Group::Generic, scan::keys)
        .summary("Returns the names of all keys that match a pattern.")
        .syntax("KEYS pattern")
        .complexity("O(N)")
        .flags(Flags::READONLY)
        .categories(Categories::DANGEROUS.union(Categories::KEYSPACE))
        .policies(RequestPolicy::AllShards, ResponsePolicy::Default)
        .tips(&["nondeterministic_output_order"]),
    Row::shard("scan", -2, Group::Generic, scan::scan)
        .summary("Walks over the names of the keys, some at a time.")
        .syntax("SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]")
        .since("2.8.0")
        .flags(Flags::READONLY)
        .categories(Categories::KEYSPACE)
        .policies(RequestPolicy::Special, ResponsePolicy::Special)
        .tips(&["nondeterministic_output"]),
    Row::shard("dbsize", 1, Group::Server, database::dbsize)
        .summary("Returns the number of keys in the database.")
        .syntax("DBSIZE")
        .flags(Flags::READONLY.union(Flags::FAST))
        .categories(Categories::KEYSPACE)
        .policies(RequestPolicy::AllShards, ResponsePolicy::AggSum),
    Row::shard("flushdb", -1, Group::Server, database::flushdb)
        .summary("Removes all keys of the database.")
        .syntax("FLUSHDB [ASYNC | SYNC]")
        .complexity("O(N)")
        .flags(Flags::WRITE)
        .categories(Categories::DANGEROUS.union(Categories::KEYSPACE))
        .policies(RequestPolicy::AllShards, ResponsePolicy::AllSucceeded),
    Row::shard("flushall", -1, Group::Server, database::flushall)
        .summary("Removes all keys of all databases.")
        .syntax("FLUSHALL [ASYNC | SYNC]")
        .complexity("O(N)")
        .flags(Flags::WRITE)
        .categories(Categories::DANGEROUS.union(Categories::KEYSPACE))
        .policies(RequestPolicy::AllShards, ResponsePolicy::AllSucceeded),
    Row::shard("swapdb", 3, Group::Server, database::swapdb)
        .summary("Exchanges the contents of two databases.")
        .syntax("SWAPDB index1 index2")
        .since("4.0.0")
        .complexity("O(N)")
        .flags(Flags::WRITE.union(Flags::FAST))
        .categories(Categories::DANGEROUS.union(Categories::KEYSPACE)),
    Row::container("object", Group::Generic, OBJECT)
        .summary("A container for commands that look inside values.")
        .syntax("OBJECT")
        .since("2.2.3"),
];

const OBJECT: &[Row] = &[
    Row::shard("object|encoding", 3, Group::Generic, object::encoding)
        .summary("Returns the name of the internal encoding of a value.")
        .syntax("OBJECT ENCODING key")
        .since("2.2.3")
        .flags(Flags::READONLY)
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(2, KeyFlags::RO)])
        .tips(&["nondeterministic_output"]),
    Row::shard("object|freq", 3, Group::Generic, object::freq)
        .summary("Returns how often a key was accessed, on a logarithmic scale.")
        .syntax("OBJECT FREQ key")
        .since("4.0.0")
        .flags(Flags::READONLY)
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(2, KeyFlags::RO)])
        .tips(&["nondeterministic_output"]),
    Row::session("object|help", 2, Group::Generic, object::help)
        .summary("Describes the subcommands.")
        .syntax("OBJECT HELP")
        .since("6.2.0")
        .flags(Flags::LOADING.union(Flags::STALE))
        .categories(Categories::KEYSPACE),
    Row::shard("object|idletime", 3, Group::Generic, object::idletime)
        .summary("Returns the time in seconds since the last access to a key.")
        .syntax("OBJECT IDLETIME key")
        .since("2.2.3")
        .flags(Flags::READONLY)
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(2, KeyFlags::RO)])
        .tips(&["nondeterministic_output"]),
    Row::shard("object|refcount", 3, Group::Generic, object::refcount)
        .summary("Returns the number of references to a value.")
        .syntax("OBJECT REFCOUNT key")
        .since("2.2.3")
        .flags(Flags::READONLY)
        .categories(Categories::KEYSPACE)
        .keys(&[KeySpec::one(2, KeyFlags::RO)])
        .tips(&["nondeterministic_output"]),
];

/// Whether `key` exists. Counts a hit or a miss and tells a miss, as reading commands do, but leaves the access time alone.
fn exists_for_reading(db: &mut Database, key: &[u8]) -> bool {
    let found = exists_for_looking(db, key);
    if !found {
        db.tell_miss(key);
    }
    found
}

/// The same without telling a miss, as OBJECT does.
fn exists_for_looking(db: &mut Database, key: &[u8]) -> bool {
    let found = db.contains(key);
    *(if found { &mut db.hits } else { &mut db.misses }) += 1;
    found
}
