//! Finds where records and annotation lines end without keeping them: only as much as a line must be there at a time.
//!
//! Nothing is ever allocated for what a length announces. Numbers must be written as `record` writes them.

use crate::limits::{AOF_LINE_BYTES_MAX, AOF_RECORD_BYTES_MAX, ARGUMENTS_MAX};

/// How far a file has been understood.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walker {
    /// All bytes before this offset are understood.
    pub at: u64,
    /// Where the record begins that is being read.
    record: u64,
    /// Arguments of it still to come; 0 between records.
    remaining: u64,
    /// Bytes of the argument that is being skipped still to come, its CR LF not counted.
    bulk: Option<u64>,
}

/// What stands next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walked {
    /// More bytes are needed to tell.
    More,
    /// A record, which ends where the walker stands now.
    Record(Word),
    /// An annotation line at this offset, which ends with its CR LF where the walker stands now.
    Annotation(u64),
    /// No bytes that may come make anything of it; what is wrong with it.
    Malformed(&'static str),
}

/// What matters to the reader about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// MULTI without arguments.
    Multi,
    /// EXEC without arguments.
    Exec,
    /// Anything else.
    Other,
}

impl Walker {
    /// Stands at `offset`, between records.
    pub fn new(offset: u64) -> Self {
        Self { at: offset, ..Self::default() }
    }

    /// Looks at what stands next. `window` is what is there of the file from `base` on, which is at or before the place
    /// where the walker stands.
    pub fn walk(&mut self, window: &[u8], base: u64) -> Walked {
        loop {
            let rest = &window[(self.at - base) as usize..];
            let step = match (self.bulk, self.remaining) {
                (Some(left), _) => self.skip(left, rest),
                (None, 0) => self.begin(rest),
                (None, _) => self.argument(rest),
            };
            if let Some(walked) = step {
                return walked;
            }
        }
    }

    /// Between records.
    fn begin(&mut self, rest: &[u8]) -> Option<Walked> {
        match rest.first() {
            None => Some(Walked::More),
            Some(b'*') => match number_line(rest) {
                Ok(Some((count, len))) if (1..=ARGUMENTS_MAX as u64).contains(&count) => {
                    self.record = self.at;
                    if count == 1 {
                        return self.single(rest, len);
                    }
                    self.remaining = count;
                    self.at += len as u64;
                    None
                }
                Ok(None) => Some(Walked::More),
                _ => Some(Walked::Malformed("the number of arguments is none")),
            },
            Some(b'#') => Some(self.annotation(rest)),
            Some(_) => Some(Walked::Malformed("neither a record nor an annotation begins here")),
        }
    }

    /// A record of one argument, whose head takes `len` bytes: it may be MULTI or EXEC, which is looked at whole.
    fn single(&mut self, rest: &[u8], len: usize) -> Option<Walked> {
        let word = match rest[len..] {
            [b'$', b'5', b'\r', b'\n', ref word @ ..] => word.get(..5),
            [b'$', b'4', b'\r', b'\n', ref word @ ..] => word.get(..4),
            [_, _, _, _, ..] => Some(&[][..]),
            _ => None,
        };
        let Some(word) = word else { return Some(Walked::More) };
        let word = match () {
            () if word.eq_ignore_ascii_case(b"MULTI") => Word::Multi,
            () if word.eq_ignore_ascii_case(b"EXEC") => Word::Exec,
            () => {
                self.remaining = 1;
                self.at += len as u64;
                return None;
            }
        };
        let len = len + 4 + if word == Word::Multi { 5 } else { 4 };
        match rest.get(len..len + 2) {
            None => Some(Walked::More),
            Some(b"\r\n") => {
                self.at += len as u64 + 2;
                Some(Walked::Record(word))
            }
            Some(_) => Some(Walked::Malformed(UNENDED)),
        }
    }

    /// An annotation line.
    fn annotation(&mut self, rest: &[u8]) -> Walked {
        let seen = &rest[..rest.len().min(AOF_LINE_BYTES_MAX)];
        match memchr::memchr(b'\n', seen) {
            Some(end) if seen[end - 1] == b'\r' => {
                let start = self.at;
                self.at += end as u64 + 1;
                Walked::Annotation(start)
            }
            None if seen.len() < AOF_LINE_BYTES_MAX => Walked::More,
            _ => Walked::Malformed("an annotation does not end"),
        }
    }

    /// The head of an argument.
    fn argument(&mut self, rest: &[u8]) -> Option<Walked> {
        match rest.first() {
            None => return Some(Walked::More),
            Some(b'$') => {}
            Some(_) => return Some(Walked::Malformed("an argument does not begin with its length")),
        }
        match number_line(rest) {
            Ok(Some((bytes, len))) => {
                let end = self.at - self.record + len as u64 + bytes + 2;
                if end > AOF_RECORD_BYTES_MAX {
                    return Some(Walked::Malformed("a record is too long"));
                }
                self.bulk = Some(bytes);
                self.at += len as u64;
                None
            }
            Ok(None) => Some(Walked::More),
            Err(()) => Some(Walked::Malformed("the length of an argument is no number")),
        }
    }

    /// The bytes of an argument, of which `left` are still to come, and its end.
    fn skip(&mut self, left: u64, rest: &[u8]) -> Option<Walked> {
        let there = left.min(rest.len() as u64);
        self.at += there;
        self.bulk = Some(left - there);
        match rest[there as usize..] {
            [b'\r', b'\n', ..] if there == left => {
                self.at += 2;
                self.bulk = None;
                self.remaining -= 1;
                (self.remaining == 0).then_some(Walked::Record(Word::Other))
            }
            [] | [b'\r'] => Some(Walked::More),
            _ => Some(Walked::Malformed(UNENDED)),
        }
    }
}

const UNENDED: &str = "an argument does not end where its length says";

/// The number behind the type byte and the length of the line with its CR LF; `None` while the line is not complete.
fn number_line(rest: &[u8]) -> Result<Option<(u64, usize)>, ()> {
    // Ten digits are more than any length or count may have.
    let seen = &rest[1..rest.len().min(13)];
    let digits = seen.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (text, end) = seen.split_at(digits);
    match end {
        [b'\r', b'\n', ..] => super::record::decimal(text).map(|number| Some((number, digits + 3))).ok_or(()),
        [] | [b'\r'] if seen.len() < 12 => Ok(None),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything up to the first that is not understood, the bytes coming in pieces.
    fn walk(input: &[u8], piece: usize) -> (Vec<Walked>, u64) {
        let (mut walker, mut found, mut there) = (Walker::new(0), Vec::new(), 0);
        loop {
            match walker.walk(&input[..there], 0) {
                Walked::More if there == input.len() => return (found, walker.at),
                Walked::More => there = (there + piece).min(input.len()),
                bad @ Walked::Malformed(_) => {
                    found.push(bad);
                    return (found, walker.at);
                }
                other => found.push(other),
            }
        }
    }

    #[test]
    fn pieces_of_any_size_are_understood_alike() {
        let input = b"#TS:1\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nEXEC\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nexec\r\n#x\r\n*1\r\n$12\r\n0123456789\r\n\r\n";
        let expected = vec![
            Walked::Annotation(0),
            Walked::Record(Word::Multi),
            Walked::Record(Word::Other),
            Walked::Record(Word::Other),
            Walked::Record(Word::Exec),
            Walked::Annotation(70),
            Walked::Record(Word::Other),
        ];
        for piece in 1..=input.len() {
            assert_eq!(walk(input, piece), (expected.clone(), input.len() as u64), "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_not_written_so_is_refused() {
        for input in [
            &b"SET"[..],
            b"*0\r\n",
            b"*01\r\n",
            b"*-1\r\n",
            b"*2147483648\r\n",
            b"*99999999999999999999",
            b"*1\n$",
            b"*2\r\n:1\r\n",
            b"*2\r\n$4294967296\r\n",
            b"*2\r\n$4294967290\r\n",
            b"*2\r\n$1\r\nab",
            b"*2\r\n$1\r\na\rb",
            b"*1\r\n$5\r\nMULTI\n\n",
            b"#TS:1\n",
            b"\0\0",
        ] {
            for piece in [1, 100] {
                let (found, _) = walk(input, piece);
                assert!(matches!(found[..], [Walked::Malformed(_)]), "{}: {found:?}", input.escape_ascii());
            }
        }
        assert!(matches!(walk(&[b'#'; 2000], 7).0[..], [Walked::Malformed(_)]));
    }
}
