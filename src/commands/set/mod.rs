//! Commands of the group set: single sets in `members`, random members in `random`, several sets in `algebra`.

mod algebra;
mod members;
mod random;

use super::context::EventClass;
use super::{Row, ShardContext};
use crate::spec::{Categories, Flags, Group, KeyFlags, KeySpec};
use algebra::{sdiff, sdiffstore, sinter, sintercard, sinterstore, sunion, sunionstore};
use members::{sadd, scard, sismember, smembers, smismember, smove, srem, sscan};
use random::{spop, srandmember};

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const STORE: Flags = Flags::WRITE.union(Flags::DENYOOM);

const RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const RW_INSERT: KeyFlags = KeyFlags::RW.union(KeyFlags::INSERT);
const RW_TAKE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);
const OW_UPDATE: KeyFlags = KeyFlags::OW.union(KeyFlags::UPDATE);

/// One key whose members are returned or compared.
const ACCESSED: &[KeySpec] = &[KeySpec::one(1, RO_ACCESS)];
/// One key about which only a fact is returned.
const LOOKED_AT: &[KeySpec] = &[KeySpec::one(1, KeyFlags::RO)];
/// Any number of keys that are read.
const SOURCES: &[KeySpec] = &[KeySpec::rest(1, 1, RO_ACCESS)];
/// A key that is overwritten with what is made of the others.
const DESTINATION_AND_SOURCES: &[KeySpec] = &[KeySpec::one(1, OW_UPDATE), KeySpec::rest(2, 1, RO_ACCESS)];

/// The set commands.
pub const ROWS: &[Row] = &[
    Row::shard("sadd", -3, Group::Set, sadd)
        .summary("Adds members to a set, which is made if it does not exist.")
        .syntax("SADD key member [member ...]")
        .flags(WRITE_FAST.union(Flags::DENYOOM))
        .categories(Categories::SET)
        .keys(&[KeySpec::one(1, RW_INSERT)]),
    Row::shard("srem", -3, Group::Set, srem)
        .summary("Removes members from a set; the key goes with the last one.")
        .syntax("SREM key member [member ...]")
        .complexity("O(N)")
        .flags(WRITE_FAST)
        .categories(Categories::SET)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))]),
    Row::shard("smembers", 2, Group::Set, smembers)
        .summary("Returns all members of a set.")
        .syntax("SMEMBERS key")
        .complexity("O(N)")
        .flags(READ)
        .categories(Categories::SET)
        .tips(&["nondeterministic_output_order"])
        .keys(ACCESSED),
    Row::shard("sismember", 3, Group::Set, sismember)
        .summary("Tells whether a value is a member of a set.")
        .syntax("SISMEMBER key member")
        .flags(READ_FAST)
        .categories(Categories::SET)
        .keys(LOOKED_AT),
    Row::shard("smismember", -3, Group::Set, smismember)
        .summary("Tells for each of several values whether it is a member of a set.")
        .syntax("SMISMEMBER key member [member ...]")
        .since("6.2.0")
        .complexity("O(N)")
        .flags(READ_FAST)
        .categories(Categories::SET)
        .keys(ACCESSED),
    Row::shard("scard", 2, Group::Set, scard)
        .summary("Returns how many members a set has.")
        .syntax("SCARD key")
        .flags(READ_FAST)
        .categories(Categories::SET)
        .keys(LOOKED_AT),
    Row::shard("spop", -2, Group::Set, spop)
        .summary("Removes random members from a set and returns them; the key goes with the last one.")
        .syntax("SPOP key [count]")
        .complexity("O(1) without a count, O(N) with a count of N")
        .flags(WRITE_FAST)
        .categories(Categories::SET)
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::one(1, RW_TAKE)]),
    Row::shard("srandmember", -2, Group::Set, srandmember)
        .summary("Returns random members of a set.")
        .syntax("SRANDMEMBER key [count]")
        .complexity("O(1) without a count, O(N) with a count whose magnitude is N")
        .flags(READ)
        .categories(Categories::SET)
        .tips(&["nondeterministic_output"])
        .keys(ACCESSED),
    Row::shard("smove", 4, Group::Set, smove)
        .summary("Moves a member from one set to another.")
        .syntax("SMOVE source destination member")
        .flags(WRITE_FAST)
        .categories(Categories::SET)
        .keys(&[KeySpec::one(1, RW_TAKE), KeySpec::one(2, RW_INSERT)]),
    Row::shard("sinter", -2, Group::Set, sinter)
        .summary("Returns the members that several sets have in common.")
        .syntax("SINTER key [key ...]")
        .complexity("O(N*M)")
        .flags(READ)
        .categories(Categories::SET)
        .tips(&["nondeterministic_output_order"])
        .keys(SOURCES),
    Row::shard("sintercard", -3, Group::Set, sintercard)
        .summary("Returns how many members several sets have in common, counting up to a limit.")
        .syntax("SINTERCARD numkeys key [key ...] [LIMIT limit]")
        .since("7.0.0")
        .complexity("O(N*M)")
        .flags(READ.union(Flags::MOVABLEKEYS))
        .categories(Categories::SET)
        .keys(&[KeySpec::counted(1, RO_ACCESS)]),
    Row::shard("sinterstore", -3, Group::Set, sinterstore)
        .summary("Stores the members that several sets have in common in a key.")
        .syntax("SINTERSTORE destination key [key ...]")
        .complexity("O(N*M)")
        .flags(STORE)
        .categories(Categories::SET)
        .keys(DESTINATION_AND_SOURCES),
    Row::shard("sunion", -2, Group::Set, sunion)
        .summary("Returns the members that are in any of several sets.")
        .syntax("SUNION key [key ...]")
        .complexity("O(N)")
        .flags(READ)
        .categories(Categories::SET)
        .tips(&["nondeterministic_output_order"])
        .keys(SOURCES),
    Row::shard("sunionstore", -3, Group::Set, sunionstore)
        .summary("Stores the members that are in any of several sets in a key.")
        .syntax("SUNIONSTORE destination key [key ...]")
        .complexity("O(N)")
        .flags(STORE)
        .categories(Categories::SET)
        .keys(DESTINATION_AND_SOURCES),
    Row::shard("sdiff", -2, Group::Set, sdiff)
        .summary("Returns the members of the first set that no other of several sets has.")
        .syntax("SDIFF key [key ...]")
        .complexity("O(N)")
        .flags(READ)
        .categories(Categories::SET)
        .tips(&["nondeterministic_output_order"])
        .keys(SOURCES),
    Row::shard("sdiffstore", -3, Group::Set, sdiffstore)
        .summary("Stores the members of the first set that no other of several sets has in a key.")
        .syntax("SDIFFSTORE destination key [key ...]")
        .complexity("O(N)")
        .flags(STORE)
        .categories(Categories::SET)
        .keys(DESTINATION_AND_SOURCES),
    Row::shard("sscan", -3, Group::Set, sscan)
        .summary("Walks the members of a set a few at a time.")
        .syntax("SSCAN key cursor [MATCH pattern] [COUNT count]")
        .since("2.8.0")
        .complexity("O(1) for a call, O(N) for a whole walk")
        .flags(READ)
        .categories(Categories::SET)
        .tips(&["nondeterministic_output"])
        .keys(ACCESSED),
];

/// Tells that the set at `key` lost members by `event`; without any left the key goes too.
fn lost_members(ctx: &mut ShardContext<'_>, key: &[u8], event: &'static str, is_empty: bool) {
    ctx.changed(EventClass::Set, event, key);
    if is_empty {
        ctx.db.remove(key);
        ctx.event(EventClass::Generic, "del", key);
    }
}
