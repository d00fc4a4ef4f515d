//! Reading: LRANGE, LLEN, LINDEX, LPOS.

use super::{range, write_entry};
use crate::commands::ShardContext;
use crate::commands::row::Outcome;
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError, args};
use crate::stdx::number;
use crate::structures::listpack::Element;
use crate::types::List;
use crate::types::list::Side;

pub(super) fn lrange(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (args.integer(2)?, args.integer(3)?);
    let Some(list) = ctx.db.get::<List>(args.at(1))? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let (start, count) = range(list, start, stop);
    ctx.reply.array(count);
    for entry in list.iter_from(start, Side::Right).take(count) {
        write_entry(&mut ctx.reply, entry);
    }
    Ok(())
}

pub(super) fn llen(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let len = ctx.db.get::<List>(args.at(1))?.map_or(0, List::len);
    ctx.reply.count(len);
    Ok(())
}

pub(super) fn lindex(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let Some(list) = ctx.db.get::<List>(args.at(1))? else {
        ctx.reply.null();
        return Ok(());
    };
    // Only now: without the key Redis does not look at the index.
    let index = args.integer(2)?;
    match list.index(index).and_then(|index| list.iter_from(index, Side::Right).next()) {
        Some(entry) => write_entry(&mut ctx.reply, entry),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// Which matches LPOS reports.
struct Search {
    /// The side it starts from.
    from: Side,
    /// How many matches it passes over.
    skip: u64,
    /// How many it reports, as an array; `usize::MAX` for all. Without COUNT: one, not as an array.
    count: Option<usize>,
    /// How many elements it looks at.
    look_at: usize,
}

impl Search {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut search = Self { from: Side::Left, skip: 0, count: None, look_at: usize::MAX };
        let mut cursor = args.cursor(3);
        while let Some(option) = cursor.next() {
            let value = cursor.value()?;
            if is_token(option, "rank") {
                let rank = rank(value)?;
                search.from = if rank < 0 { Side::Right } else { Side::Left };
                search.skip = rank.unsigned_abs() - 1;
            } else if is_token(option, "count") {
                search.count = Some(all_if_zero(value, "ERR COUNT can't be negative")?);
            } else if is_token(option, "maxlen") {
                search.look_at = all_if_zero(value, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(search)
    }

    /// The indexes of the elements that are found.
    fn matches<'a>(&self, list: &'a List, wanted: &'a [u8]) -> impl Iterator<Item = usize> + use<'a> {
        let (len, from, wanted) = (list.len(), self.from, Element::from(wanted));
        let equal =
            list.iter_from_end(from).take(self.look_at).enumerate().filter(move |(_, entry)| entry.equals(wanted));
        let found = equal.skip(usize::try_from(self.skip).unwrap_or(usize::MAX));
        let found = found.map(move |(number, _)| if from == Side::Left { number } else { len - 1 - number });
        found.take(self.count.unwrap_or(1))
    }
}

fn rank(value: &[u8]) -> Result<i64, CommandError> {
    match args::integer(value)? {
        0 => Err(CommandError::fixed(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
             or use negative to start from the end of the list",
        )),
        i64::MIN => Err(CommandError::fixed(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        rank => Ok(rank),
    }
}

fn all_if_zero(value: &[u8], negative: &'static str) -> Result<usize, CommandError> {
    let number = number::parse_i64(value).and_then(|number| usize::try_from(number).ok());
    Ok(match number.ok_or(CommandError::fixed(negative))? {
        0 => usize::MAX,
        number => number,
    })
}

pub(super) fn lpos(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let search = Search::parse(args)?;
    let list = ctx.db.get::<List>(args.at(1))?;
    let mut matches = list.into_iter().flat_map(|list| search.matches(list, args.at(2)));
    if search.count.is_some() {
        ctx.reply.array_of(|reply| matches.inspect(|&index| reply.count(index)).count());
    } else {
        match matches.next() {
            Some(index) => ctx.reply.count(index),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}
