//! Commands of the group hash: fields in `fields`, whole hashes in `whole`, arithmetic in `increment`, random
//! fields in `random`.

mod fields;
mod increment;
mod random;
mod whole;

use super::Row;
use crate::spec::{Categories, Flags, Group, KeyFlags, KeySpec};
use fields::{hdel, hexists, hget, hmget, hmset, hset, hsetnx, hstrlen};
use increment::{hincrby, hincrbyfloat};
use random::hrandfield;
use whole::{hgetall, hkeys, hlen, hscan, hvals};

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ADD_FAST: Flags = WRITE_FAST.union(Flags::DENYOOM);

const RW_UPDATE: KeyFlags = KeyFlags::RW.union(KeyFlags::UPDATE);

/// A key whose fields or values are returned.
const ACCESSED: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))];
/// A key about which only a fact is returned.
const LOOKED_AT: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO)];
/// A key whose fields are set.
const UPDATED: &[KeySpec] = &[KeySpec::one(1, RW_UPDATE)];
/// A key whose fields are changed by their values.
const COUNTED_UP: &[KeySpec] = &[KeySpec::one(1, RW_UPDATE.union(KeyFlags::ACCESS))];

/// The hash commands.
pub const ROWS: &[Row] = &[
    Row::shard("hset", -4, Group::Hash, hset)
        .summary("Sets fields of a hash, which is made if it does not exist.")
        .syntax("HSET key field value [field value ...]")
        .since("2.0.0")
        .flags(ADD_FAST)
        .categories(Categories::HASH)
        .keys(UPDATED),
    Row::shard("hmset", -4, Group::Hash, hmset)
        .summary("Sets fields of a hash, which is made if it does not exist.")
        .syntax("HMSET key field value [field value ...]")
        .since("2.0.0")
        .complexity("O(N)")
        .flags(ADD_FAST)
        .categories(Categories::HASH)
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs")
        .keys(UPDATED),
    Row::shard("hsetnx", 4, Group::Hash, hsetnx)
        .summary("Sets a field of a hash if it does not exist.")
        .syntax("HSETNX key field value")
        .since("2.0.0")
        .flags(ADD_FAST)
        .categories(Categories::HASH)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))]),
    Row::shard("hget", 3, Group::Hash, hget)
        .summary("Returns the value of a field of a hash.")
        .syntax("HGET key field")
        .since("2.0.0")
        .flags(READ_FAST)
        .categories(Categories::HASH)
        .keys(ACCESSED),
    Row::shard("hmget", -3, Group::Hash, hmget)
        .summary("Returns the values of several fields of a hash.")
        .syntax("HMGET key field [field ...]")
        .since("2.0.0")
        .complexity("O(N)")
        .flags(READ_FAST)
        .categories(Categories::HASH)
        .keys(ACCESSED),
    Row::shard("hdel", -3, Group::Hash, hdel)
        .summary("Removes fields from a hash; the key goes with the last one.")
        .syntax("HDEL key field [field ...]")
        .since("2.0.0")
        .complexity("O(N)")
        .flags(WRITE_FAST)
        .categories(Categories::HASH)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))]),
    Row::shard("hexists", 3, Group::Hash, hexists)
        .summary("Tells whether a hash has a field.")
        .syntax("HEXISTS key field")
        .since("2.0.0")
        .flags(READ_FAST)
        .categories(Categories::HASH)
        .keys(LOOKED_AT),
    Row::shard("hstrlen", 3, Group::Hash, hstrlen)
        .summary("Returns the length of the value of a field in bytes.")
        .syntax("HSTRLEN key field")
        .since("3.2.0")
        .flags(READ_FAST)
        .categories(Categories::HASH)
        .keys(LOOKED_AT),
    Row::shard("hlen", 2, Group::Hash, hlen)
        .summary("Returns how many fields a hash has.")
        .syntax("HLEN key")
        .since("2.0.0")
        .flags(READ_FAST)
        .categories(Categories::HASH)
        .keys(LOOKED_AT),
    Row::shard("hgetall", 2, Group::Hash, hgetall)
        .summary("Returns all fields of a hash and their values.")
        .syntax("HGETALL key")
        .since("2.0.0")
        .complexity("O(N)")
        .flags(READ)
        .categories(Categories::HASH)
        .tips(&["nondeterministic_output_order"])
        .keys(ACCESSED),
    Row::shard("hkeys", 2, Group::Hash, hkeys)
        .summary("Returns all fields of a hash.")
        .syntax("HKEYS key")
        .since("2.0.0")
        .complexity("O(N)")
        .flags(READ)
        .categories(Categories::HASH)
        .tips(&["nondeterministic_output_order"])
        .keys(ACCESSED),
    Row::shard("hvals", 2, Group::Hash, hvals)
        .summary("Returns all values of a hash.")
        .syntax("HVALS key")
        .since("2.0.0")
        .complexity("O(N)")
        .flags(READ)
        .categories(Categories::HASH)
        .tips(&["nondeterministic_output_order"])
        .keys(ACCESSED),
    Row::shard("hincrby", 4, Group::Hash, hincrby)
        .summary("Adds an integer to the value of a field; a missing field counts as 0.")
        .syntax("HINCRBY key field increment")
        .since("2.0.0")
        .flags(ADD_FAST)
        .categories(Categories::HASH)
        .keys(COUNTED_UP),
    Row::shard("hincrbyfloat", 4, Group::Hash, hincrbyfloat)
        .summary("Adds a floating point number to the value of a field; a missing field counts as 0.")
        .syntax("HINCRBYFLOAT key field increment")
        .since("2.6.0")
        .flags(ADD_FAST)
        .categories(Categories::HASH)
        .keys(COUNTED_UP),
    Row::shard("hrandfield", -2, Group::Hash, hrandfield)
        .summary("Returns random fields of a hash.")
        .syntax("HRANDFIELD key [count [WITHVALUES]]")
        .since("6.2.0")
        .complexity("O(N)")
        .flags(READ)
        .categories(Categories::HASH)
        .tips(&["nondeterministic_output"])
        .keys(ACCESSED),
    Row::shard("hscan", -3, Group::Hash, hscan)
        .summary("Walks the fields of a hash and their values a few at a time.")
        .syntax("HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]")
        .since("2.8.0")
        .complexity("O(1) for a call, O(N) for a whole walk")
        .flags(READ)
        .categories(Categories::HASH)
        .tips(&["nondeterministic_output"])
        .keys(ACCESSED),
];
