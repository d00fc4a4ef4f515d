//! What SCAN, SSCAN and HSCAN share: the cursor, the options MATCH, COUNT, TYPE and NOVALUES, the form of the reply.

use crate::resp::{Args, CommandError, Output, Reply};
use crate::stdx::glob;

/// How many elements a call looks at when it does not say COUNT.
const COUNT_DEFAULT: usize = 10;

/// What is scanned; it decides which options there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// Keys, by SCAN: knows TYPE.
    Keys,
    /// Members of a set, by SSCAN.
    Members,
    /// Fields of a hash, by HSCAN: knows NOVALUES.
    Fields,
}

/// The options of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanOptions<'a> {
    /// About how many elements to look at; at least 1.
    pub count: usize,
    /// The glob that elements must match; `None` when it lets everything through.
    pub pattern: Option<&'a [u8]>,
    /// The type keys must have, as the client wrote it. A name that is no type matches no key.
    pub type_name: Option<&'a [u8]>,
    /// Whether the values of a hash's fields are left out.
    pub no_values: bool,
}

impl<'a> ScanOptions<'a> {
    /// Reads the options from argument `first` to the end.
    pub fn parse(args: Args<'a>, first: usize, scanned: Scanned) -> Result<Self, CommandError> {
        let mut options = Self { count: COUNT_DEFAULT, pattern: None, type_name: None, no_values: false };
        let mut cursor = args.cursor(first);
        while cursor.remaining() > 0 {
            if cursor.take_if("novalues") {
                if scanned != Scanned::Fields {
                    return Err(CommandError::fixed("ERR NOVALUES option can only be used in HSCAN"));
                }
                options.no_values = true;
            } else if cursor.remaining() < 2 {
                return Err(CommandError::Syntax);
            } else if cursor.take_if("count") {
                let count = cursor.integer()?;
                options.count = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(CommandError::Syntax)?;
            } else if cursor.take_if("match") {
                options.pattern = Some(cursor.value()?).filter(|pattern| *pattern != b"*");
            } else if scanned == Scanned::Keys && cursor.take_if("type") {
                options.type_name = Some(cursor.value()?);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether an element of this name passes MATCH.
    #[inline]
    pub fn admits(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }
}

/// Reads a cursor as Redis does, by C's `strtoul`: nothing is 0, a sign is allowed and a negative number wraps.
pub fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    const INVALID: CommandError = CommandError::fixed("ERR invalid cursor");
    let (negative, digits) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(INVALID);
    }
    let magnitude = digits.iter().try_fold(0u64, |sum, &digit| {
        let value = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(value)
    });
    let magnitude = magnitude.ok_or(INVALID)?;
    Ok(if negative { magnitude.wrapping_neg() } else { magnitude })
}

/// Replies the cursor to go on with and the `len` elements that `found` holds.
pub fn reply_page(reply: &mut Reply<'_>, next: u64, len: usize, found: Output) {
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(len);
    reply.append(found);
}

#[cfg(test)]
mod tests {
    use super::{ScanOptions, Scanned, parse_cursor};
    use crate::resp::{Args, CommandError, Span};

    /// Count, pattern, type name, and whether values are left out.
    type Parsed = (usize, Option<Vec<u8>>, Option<Vec<u8>>, bool);

    fn parse(words: &str, scanned: Scanned) -> Result<Parsed, CommandError> {
        let mut spans = Vec::new();
        let mut start = 0;
        for word in words.split(' ').filter(|word| !word.is_empty()) {
            spans.push(Span { start, len: word.len() as u32 });
            start += word.len() as u32 + 1;
        }
        let options = ScanOptions::parse(Args::new(words.as_bytes(), &spans), 0, scanned)?;
        let (pattern, type_name) = (options.pattern.map(<[u8]>::to_vec), options.type_name.map(<[u8]>::to_vec));
        Ok((options.count, pattern, type_name, options.no_values))
    }

    #[test]
    fn reads_the_options_in_any_order_and_case() {
        assert_eq!(parse("", Scanned::Members), Ok((10, None, None, false)));
        assert_eq!(parse("COUNT 5 match a*", Scanned::Members), Ok((5, Some(b"a*".to_vec()), None, false)));
        assert_eq!(parse("MATCH a MATCH *", Scanned::Keys), Ok((10, None, None, false)));
        assert_eq!(parse("type LIST count 1", Scanned::Keys), Ok((1, None, Some(b"LIST".to_vec()), false)));
        assert_eq!(parse("NoValues count 3", Scanned::Fields), Ok((3, None, None, true)));
    }

    #[test]
    fn refuses_what_redis_refuses() {
        for words in ["count", "match", "count 0", "count -5", "type set", "x", "x y", "match a b"] {
            assert_eq!(parse(words, Scanned::Members), Err(CommandError::Syntax), "{words}");
        }
        assert_eq!(parse("count x", Scanned::Keys), Err(CommandError::NotInteger));
        let refused = Err(CommandError::fixed("ERR NOVALUES option can only be used in HSCAN"));
        assert_eq!(parse("novalues", Scanned::Members), refused);
        assert_eq!(parse("novalues", Scanned::Keys), refused);
    }

    #[test]
    fn cursors_are_read_like_strtoul() {
        for (text, cursor) in [("0", 0), ("", 0), ("007", 7), ("+7", 7), ("18446744073709551615", u64::MAX)] {
            assert_eq!(parse_cursor(text.as_bytes()), Ok(cursor), "{text}");
        }
        assert_eq!(parse_cursor(b"-1"), Ok(u64::MAX));
        for text in ["-", "+", " 1", "1 ", "x", "1x", "--1", "18446744073709551616"] {
            assert!(parse_cursor(text.as_bytes()).is_err(), "{text}");
        }
    }
}
