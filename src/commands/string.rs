//! Commands on strings.

use super::context::EventClass;
use super::row::Outcome;
use super::{Row, ShardContext};
use crate::resp::Args;
use crate::shard::Expiry;
use crate::spec::{Flags, Group, KeyFlags, KeySpec};

/// The string commands.
pub const ROWS: &[Row] = &[
    Row::shard("get", 2, Group::String, get)
        .summary("Returns the string value of a key.")
        .syntax("GET key")
        .flags(Flags::READONLY.union(Flags::FAST))
        .keys(&[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))]),
    Row::shard("set", -3, Group::String, set)
        .summary("Sets the string value of a key, whatever its type.")
        .syntax("SET key value")
        .flags(Flags::WRITE.union(Flags::DENYOOM))
        .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS))]),
];

fn get(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    match ctx.db.string(args.at(1))? {
        None => ctx.reply.null(),
        Some(crate::types::StringRef::Large(large)) => ctx.reply.bulk_shared(large.shared()),
        Some(string) => ctx.reply.bulk(string.bytes(&mut itoa::Buffer::new())),
    }
    Ok(())
}

fn set(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    ctx.db.set_string(args.at(1), args.at(2), Expiry::Never);
    ctx.changed(EventClass::String, "set", args.at(1));
    ctx.reply.ok();
    Ok(())
}
