//! LCS: the longest common subsequence of two strings, by a table of `(m + 1) * (n + 1)` lengths. The table's size is
//! bounded by `proto-max-bulk-len`, as in Redis, so that a client cannot take all memory with two keys.

use crate::commands::ShardContext;
use crate::commands::row::Outcome;
use crate::resp::{Args, CommandError, Reply};
use crate::shard::Database;
use crate::types::{StringValue, ValueRef};

#[derive(Debug, Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: u64,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut cursor = args.cursor(3);
        while cursor.remaining() > 0 {
            if cursor.take_if("idx") {
                options.idx = true;
            } else if cursor.take_if("len") {
                options.len = true;
            } else if cursor.take_if("withmatchlen") {
                options.with_match_len = true;
            } else if cursor.take_if("minmatchlen") {
                options.min_match_len = cursor.integer()?.max(0).unsigned_abs();
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.idx && options.len {
            return Err(CommandError::fixed("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }
}

pub(super) fn lcs(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    // Redis looks at both keys before it looks at the options.
    let (a, b) = (string(ctx.db, args.at(1)), string(ctx.db, args.at(2)));
    let (a, b) = (a?, b?);
    let options = Options::parse(args)?;
    let mut digits = [itoa::Buffer::new(), itoa::Buffer::new()];
    let [digits_a, digits_b] = &mut digits;
    let (a, b) = (a.as_ref().bytes(digits_a), b.as_ref().bytes(digits_b));
    let table = Table::build(a, b, ctx.config.proto_max_bulk_len)?;
    if options.idx {
        reply_matches(&mut ctx.reply, &table, &options);
    } else if options.len {
        ctx.reply.count(table.len());
    } else {
        ctx.reply.bulk(&table.subsequence());
    }
    Ok(())
}

/// The string at `key`, empty where there is no key; a large one is shared, not copied.
fn string(db: &mut Database, key: &[u8]) -> Result<StringValue, CommandError> {
    match db.value(key) {
        None => Ok(StringValue::text(Vec::new())),
        Some(ValueRef::String(string)) => Ok(string.to_value()),
        Some(_) => Err(CommandError::fixed("ERR The specified keys must contain string values")),
    }
}

/// Lengths of the longest common subsequences of all prefixes of two strings.
struct Table<'a> {
    a: &'a [u8],
    b: &'a [u8],
    lengths: Vec<u32>,
}

/// A stretch that lies in both strings: its first bytes, and its length.
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

impl<'a> Table<'a> {
    fn build(a: &'a [u8], b: &'a [u8], bytes_max: u64) -> Result<Self, CommandError> {
        if a.len().max(b.len()) >= u32::MAX as usize - 1 {
            return Err(CommandError::fixed("ERR String too long for LCS"));
        }
        // Both factors are below 2^32: no overflow.
        let cells = (a.len() + 1) * (b.len() + 1);
        if cells as u128 * size_of::<u32>() as u128 > u128::from(bytes_max) {
            return Err(CommandError::fixed(
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ));
        }
        let mut lengths = Vec::new();
        lengths
            .try_reserve_exact(cells)
            .map_err(|_| CommandError::fixed("ERR Insufficient memory, failed allocating transient memory for LCS"))?;
        lengths.resize(cells, 0);
        let width = b.len() + 1;
        for (row, &byte) in a.iter().enumerate() {
            let (above, below) = lengths[row * width..].split_at_mut(width);
            for (column, &other) in b.iter().enumerate() {
                below[column + 1] =
                    if byte == other { above[column] + 1 } else { above[column + 1].max(below[column]) };
            }
        }
        Ok(Self { a, b, lengths })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.lengths[i * (self.b.len() + 1) + j]
    }

    fn len(&self) -> usize {
        self.at(self.a.len(), self.b.len()) as usize
    }

    /// Visits the bytes of the subsequence with their places in both strings, the last one first. Where two ways are
    /// equally long it goes the way Redis goes, because the answer shows which one it was.
    fn walk(&self, mut visit: impl FnMut(usize, usize)) {
        let (mut i, mut j) = (self.a.len(), self.b.len());
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                (i, j) = (i - 1, j - 1);
                visit(i, j);
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
    }

    fn subsequence(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        self.walk(|i, _| bytes.push(self.a[i]));
        bytes.reverse();
        bytes
    }

    /// The stretches of the subsequence that are unbroken in both strings, the last one first.
    fn matches(&self) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        self.walk(|i, j| match matches.last_mut() {
            Some(last) if (last.a, last.b) == (i + 1, j + 1) => *last = Match { a: i, b: j, len: last.len + 1 },
            _ => matches.push(Match { a: i, b: j, len: 1 }),
        });
        matches
    }
}

fn reply_matches(reply: &mut Reply<'_>, table: &Table<'_>, options: &Options) {
    let mut matches = table.matches();
    matches.retain(|found| found.len as u64 >= options.min_match_len);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches.len());
    for Match { a, b, len } in matches {
        reply.array(2 + usize::from(options.with_match_len));
        for start in [a, b] {
            reply.array(2);
            reply.count(start);
            reply.count(start + len - 1);
        }
        if options.with_match_len {
            reply.count(len);
        }
    }
    reply.bulk(b"len");
    reply.count(table.len());
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn finds_the_subsequence() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > MSET a ohmytext b mynewtext
            > LCS a b
            "mytext"
            > LCS a b LEN
            (integer) 6
            > LCS a b IDX
            ["matches", [[[(integer) 4, (integer) 7], [(integer) 5, (integer) 8]], [[(integer) 2, (integer) 3], [(integer) 0, (integer) 1]]], "len", (integer) 6]
            > LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN
            ["matches", [[[(integer) 4, (integer) 7], [(integer) 5, (integer) 8], (integer) 4]], "len", (integer) 6]
            > LCS a b IDX MINMATCHLEN -1
            ["matches", [[[(integer) 4, (integer) 7], [(integer) 5, (integer) 8]], [[(integer) 2, (integer) 3], [(integer) 0, (integer) 1]]], "len", (integer) 6]
            > LCS a missing
            ""
            > LCS a missing IDX
            ["matches", [], "len", (integer) 0]
            > SET n 12345
            > SET m 10305
            > LCS n m
            "135"
            "#,
        );
        shell.protocol = crate::resp::Protocol::Resp3;
        assert_eq!(shell.run("LCS a missing IDX"), r#"{"matches": [], "len": (integer) 0}"#);
    }

    #[test]
    fn refuses() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > MSET a ohmytext b mynewtext
            > LCS a b LEN IDX
            (error) ERR If you want both the length and indexes, please just use IDX.
            > LCS a b FOO
            (error) ERR syntax error
            > LCS a b MINMATCHLEN
            (error) ERR syntax error
            > LCS a b MINMATCHLEN x
            (error) ERR value is not an integer or out of range
            "#,
        );
        shell.config.proto_max_bulk_len = 9 * 10 * 4;
        assert_eq!(shell.run("LCS a b LEN"), "(integer) 6");
        shell.config.proto_max_bulk_len -= 1;
        let refused = "(error) ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
        assert_eq!(shell.run("LCS a b LEN"), refused);
    }
}
