//! Commands of the group list. Here stand the rows and what the handlers share: the words for
//! sides, the limits now, and how an element is written. Handlers: `push`, `pop`, `moves`, `blocking`, `read`, `edit`.

mod blocking;
mod edit;
mod moves;
mod pop;
mod push;
mod read;
#[cfg(test)]
mod tests;

use super::context::EventClass;
use super::{Row, ShardContext};
use crate::resp::args::is_token;
use crate::resp::{CommandError, Reply};
use crate::spec::{Categories, Flags, Group, KeyFlags, KeySpec};
use crate::types::List;
use crate::types::list::{Entry, NodeLimit, Side};

const INSERT: KeyFlags = KeyFlags::RW.union(KeyFlags::INSERT);
const DELETE: KeyFlags = KeyFlags::RW.union(KeyFlags::DELETE);
const ACCESS_DELETE: KeyFlags = DELETE.union(KeyFlags::ACCESS);
const READ: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const GROWS: Flags = Flags::WRITE.union(Flags::DENYOOM);
const GROWS_FAST: Flags = GROWS.union(Flags::FAST);
const BLOCKS: Flags = Flags::WRITE.union(Flags::BLOCKING);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);

/// The rows.
pub const ROWS: &[Row] = &[
    Row::shard("lpush", -3, Group::List, push::lpush)
        .summary("Adds elements at the left end of a list, which is made if there is none.")
        .syntax("LPUSH key element [element ...]")
        .categories(Categories::LIST)
        .flags(GROWS_FAST)
        .keys(&[KeySpec::one(1, INSERT)]),
    Row::shard("rpush", -3, Group::List, push::rpush)
        .summary("Adds elements at the right end of a list, which is made if there is none.")
        .syntax("RPUSH key element [element ...]")
        .categories(Categories::LIST)
        .flags(GROWS_FAST)
        .keys(&[KeySpec::one(1, INSERT)]),
    Row::shard("lpushx", -3, Group::List, push::lpushx)
        .summary("Adds elements at the left end of a list if it exists.")
        .syntax("LPUSHX key element [element ...]")
        .since("2.2.0")
        .categories(Categories::LIST)
        .flags(GROWS_FAST)
        .keys(&[KeySpec::one(1, INSERT)]),
    Row::shard("rpushx", -3, Group::List, push::rpushx)
        .summary("Adds elements at the right end of a list if it exists.")
        .syntax("RPUSHX key element [element ...]")
        .since("2.2.0")
        .categories(Categories::LIST)
        .flags(GROWS_FAST)
        .keys(&[KeySpec::one(1, INSERT)]),
    Row::shard("lpop", -2, Group::List, pop::lpop)
        .summary("Removes elements from the left end of a list and returns them.")
        .syntax("LPOP key [count]")
        .complexity("O(N)")
        .categories(Categories::LIST)
        .flags(WRITE_FAST)
        .keys(&[KeySpec::one(1, ACCESS_DELETE)]),
    Row::shard("rpop", -2, Group::List, pop::rpop)
        .summary("Removes elements from the right end of a list and returns them.")
        .syntax("RPOP key [count]")
        .complexity("O(N)")
        .categories(Categories::LIST)
        .flags(WRITE_FAST)
        .keys(&[KeySpec::one(1, ACCESS_DELETE)]),
    Row::shard("lmpop", -4, Group::List, pop::lmpop)
        .summary("Removes elements from one end of the first list that has any and returns them.")
        .syntax("LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]")
        .since("7.0.0")
        .complexity("O(N+M)")
        .categories(Categories::LIST)
        .flags(Flags::WRITE.union(Flags::MOVABLEKEYS))
        .keys(&[KeySpec::counted(1, ACCESS_DELETE)]),
    Row::shard("lmove", 5, Group::List, moves::lmove)
        .summary("Moves an element from one end of a list to one end of another and returns it.")
        .syntax("LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>")
        .since("6.2.0")
        .categories(Categories::LIST)
        .flags(GROWS)
        .keys(&[KeySpec::one(1, ACCESS_DELETE), KeySpec::one(2, INSERT)]),
    Row::shard("rpoplpush", 3, Group::List, moves::rpoplpush)
        .summary("Moves the last element of a list to the left end of another and returns it.")
        .syntax("RPOPLPUSH source destination")
        .since("1.2.0")
        .categories(Categories::LIST)
        .flags(GROWS)
        .keys(&[KeySpec::one(1, ACCESS_DELETE), KeySpec::one(2, INSERT)])
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    Row::shard("blpop", -3, Group::List, blocking::blpop)
        .summary("Removes the first element of the first list that has any and returns it, or waits for one.")
        .syntax("BLPOP key [key ...] timeout")
        .since("2.0.0")
        .complexity("O(N)")
        .categories(Categories::LIST)
        .flags(BLOCKS)
        .keys(&[KeySpec::but_last(1, ACCESS_DELETE)]),
    Row::shard("brpop", -3, Group::List, blocking::brpop)
        .summary("Removes the last element of the first list that has any and returns it, or waits for one.")
        .syntax("BRPOP key [key ...] timeout")
        .since("2.0.0")
        .complexity("O(N)")
        .categories(Categories::LIST)
        .flags(BLOCKS)
        .keys(&[KeySpec::but_last(1, ACCESS_DELETE)]),
    Row::shard("blmpop", -5, Group::List, blocking::blmpop)
        .summary("Removes elements from one end of the first list that has any and returns them, or waits for some.")
        .syntax("BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]")
        .since("7.0.0")
        .complexity("O(N+M)")
        .categories(Categories::LIST)
        .flags(BLOCKS.union(Flags::MOVABLEKEYS))
        .keys(&[KeySpec::counted(2, ACCESS_DELETE)]),
    Row::shard("blmove", 6, Group::List, blocking::blmove)
        .summary("Moves an element from one end of a list to one end of another and returns it, or waits for one.")
        .syntax("BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout")
        .since("6.2.0")
        .categories(Categories::LIST)
        .flags(BLOCKS.union(Flags::DENYOOM))
        .keys(&[KeySpec::one(1, ACCESS_DELETE), KeySpec::one(2, INSERT)]),
    Row::shard("brpoplpush", 4, Group::List, blocking::brpoplpush)
        .summary("Moves the last element of a list to the left end of another and returns it, or waits for one.")
        .syntax("BRPOPLPUSH source destination timeout")
        .since("2.2.0")
        .categories(Categories::LIST)
        .flags(BLOCKS.union(Flags::DENYOOM))
        .keys(&[KeySpec::one(1, ACCESS_DELETE), KeySpec::one(2, INSERT)])
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
    Row::shard("lrange", 4, Group::List, read::lrange)
        .summary("Returns a range of elements.")
        .syntax("LRANGE key start stop")
        .complexity("O(S+N)")
        .categories(Categories::LIST)
        .flags(Flags::READONLY)
        .keys(&[KeySpec::one(1, READ)]),
    Row::shard("llen", 2, Group::List, read::llen)
        .summary("Returns the number of elements.")
        .syntax("LLEN key")
        .categories(Categories::LIST)
        .flags(Flags::READONLY.union(Flags::FAST))
        .keys(&[KeySpec::one(1, KeyFlags::RO)]),
    Row::shard("lindex", 3, Group::List, read::lindex)
        .summary("Returns the element at an index.")
        .syntax("LINDEX key index")
        .complexity("O(N)")
        .categories(Categories::LIST)
        .flags(Flags::READONLY)
        .keys(&[KeySpec::one(1, READ)]),
    Row::shard("lpos", -3, Group::List, read::lpos)
        .summary("Returns the indexes of elements that equal a value.")
        .syntax("LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]")
        .since("6.0.6")
        .complexity("O(N)")
        .categories(Categories::LIST)
        .flags(Flags::READONLY)
        .keys(&[KeySpec::one(1, READ)]),
    Row::shard("lset", 4, Group::List, edit::lset)
        .summary("Replaces the element at an index.")
        .syntax("LSET key index element")
        .complexity("O(N)")
        .categories(Categories::LIST)
        .flags(GROWS)
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))]),
    Row::shard("linsert", 5, Group::List, edit::linsert)
        .summary("Adds an element before or behind the first that equals a pivot.")
        .syntax("LINSERT key <BEFORE | AFTER> pivot element")
        .since("2.2.0")
        .complexity("O(N)")
        .categories(Categories::LIST)
        .flags(GROWS)
        .keys(&[KeySpec::one(1, INSERT)]),
    Row::shard("lrem", 4, Group::List, edit::lrem)
        .summary("Removes elements that equal a value, counted from either end.")
        .syntax("LREM key count element")
        .complexity("O(N+M)")
        .categories(Categories::LIST)
        .flags(Flags::WRITE)
        .keys(&[KeySpec::one(1, DELETE)]),
    Row::shard("ltrim", 4, Group::List, edit::ltrim)
        .summary("Keeps a range of elements and removes the others.")
        .syntax("LTRIM key start stop")
        .complexity("O(N)")
        .categories(Categories::LIST)
        .flags(Flags::WRITE)
        .keys(&[KeySpec::one(1, DELETE)]),
];

/// How large a node may grow now.
#[inline]
fn limit(ctx: &ShardContext<'_>) -> NodeLimit {
    NodeLimit::new(ctx.encoding.list_max_listpack_size)
}

/// LEFT or RIGHT.
fn side(argument: &[u8]) -> Result<Side, CommandError> {
    match argument {
        _ if is_token(argument, "left") => Ok(Side::Left),
        _ if is_token(argument, "right") => Ok(Side::Right),
        _ => Err(CommandError::Syntax),
    }
}

/// Writes an element as a bulk string.
#[inline]
fn write_entry(reply: &mut Reply<'_>, entry: Entry<'_>) {
    match entry {
        Entry::Int(integer) => reply.bulk_integer(integer),
        Entry::Bytes(bytes) => reply.bulk(bytes),
        Entry::Large(large) => reply.bulk_shared(large),
    }
}

/// The elements that `start` to `stop` name, both included and negative ones counted from the end: the number of the
/// first and how many there are.
fn range(list: &List, start: i64, stop: i64) -> (usize, usize) {
    let len = list.len() as i64;
    let from_first = |index: i64| if index < 0 { index + len } else { index };
    let (start, stop) = (from_first(start).max(0), from_first(stop).min(len - 1));
    if start > stop { (0, 0) } else { (start as usize, (stop - start + 1) as usize) }
}

/// Tells that elements were removed from the list at `key`, and removes the key if there are none left.
fn removed(ctx: &mut ShardContext<'_>, event: &'static str, key: &[u8], empty: bool) {
    if empty {
        ctx.db.remove(key);
    }
    ctx.changed(EventClass::List, event, key);
    if empty {
        ctx.event(EventClass::Generic, "del", key);
    }
}
