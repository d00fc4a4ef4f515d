//! Bytes to requests: RESP arrays of bulk strings, and inline commands.
//!
//! The parser remembers how far it came, so that a request that arrives a byte at a time costs no more than one that
//! arrives whole, and a request of a million arguments is not read again from its start with every packet. A session
//! between two requests holds one null pointer of parser state. Limits and error texts are Redis's.

use super::Span;
use crate::limits::{
    ARGUMENTS_MAX, ARGUMENTS_UNAUTHENTICATED_MAX, BULK_UNAUTHENTICATED_BYTES_MAX, INLINE_BYTES_MAX, SCRATCH_SPANS_MAX,
};
use crate::stdx::{number, words};
use std::borrow::Cow;

/// What a protocol violation is answered with, behind "ERR Protocol error: "; the connection is closed then.
pub type ProtocolError = Cow<'static, [u8]>;

/// How far the request at the start of the input has been understood.
#[derive(Debug, Default)]
pub struct RequestParser {
    partial: Option<Box<Partial>>,
}

/// A request of which a part is there.
#[derive(Debug, Default)]
struct Partial {
    /// Arguments found so far.
    spans: Vec<Span>,
    progress: Progress,
}

/// Where in a request the parser stands.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Bytes of the request understood so far.
    position: usize,
    /// Arguments still to come; 0 before the head of the array has been read.
    remaining: i64,
    /// Length of the argument that is being received, once its head has been read.
    bulk: Option<usize>,
}

/// Room for the arguments of some requests, used again and again. The caller clears it.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The arguments of each request behind those of the one before: spans that count from the request's first byte, or
    /// into `inline` for an inline command.
    pub spans: Vec<Span>,
    /// The words of inline commands, unquoted.
    pub inline: Vec<u8>,
}

impl Scratch {
    /// Forgets all requests, and gives back the room that large ones have taken.
    #[inline]
    pub fn clear(&mut self) {
        if self.spans.capacity() > SCRATCH_SPANS_MAX {
            self.spans = Vec::new();
        }
        self.spans.clear();
        self.inline.clear();
    }
}

/// What stands at the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request of this many bytes; its arguments are behind the others in the scratch.
    Request(usize),
    /// The same for an inline command, whose arguments are spans into the scratch's `inline`.
    Inline(usize),
    /// Nothing to do in this many bytes: an empty line or an empty array.
    Nothing(usize),
    /// The request is not all there yet; at least this many bytes will be needed from its start.
    Incomplete(usize),
}

/// What a connection may send.
#[derive(Clone, Copy, Debug)]
pub struct ParserLimits {
    /// Most bytes of one argument: `proto-max-bulk-len`.
    pub bulk_bytes_max: i64,
    /// Whether the client has logged in.
    pub authenticated: bool,
}

impl RequestParser {
    /// Reads the request at the start of `input`. After `Incomplete` the next call must bring the same bytes and more.
    #[inline]
    pub fn parse(
        &mut self,
        input: &[u8],
        scratch: &mut Scratch,
        limits: ParserLimits,
    ) -> Result<Parsed, ProtocolError> {
        if let Some(partial) = self.partial.take() {
            return self.go_on(partial, input, scratch, limits);
        }
        if *input.first().unwrap_or(&b'*') != b'*' {
            return inline(input, scratch);
        }
        let (first, mut progress) = (scratch.spans.len(), Progress::default());
        let parsed = array(input, &mut scratch.spans, &mut progress, limits)?;
        if let Parsed::Incomplete(_) = parsed {
            let spans = scratch.spans.split_off(first);
            self.partial = Some(Box::new(Partial { spans, progress }));
        }
        Ok(parsed)
    }

    /// Goes on with a request of which a part was there. Its arguments stay where they are until it is whole: there may be
    /// millions, and as many packets.
    fn go_on(
        &mut self,
        mut partial: Box<Partial>,
        input: &[u8],
        scratch: &mut Scratch,
        limits: ParserLimits,
    ) -> Result<Parsed, ProtocolError> {
        let parsed = array(input, &mut partial.spans, &mut partial.progress, limits)?;
        if let Parsed::Incomplete(_) = parsed {
            self.partial = Some(partial);
        } else if scratch.spans.is_empty() {
            scratch.spans = partial.spans;
        } else {
            scratch.spans.append(&mut partial.spans);
        }
        Ok(parsed)
    }

    /// Forgets what it knows of a request that is not all there: the next call brings that request from its start.
    #[inline]
    pub fn reset(&mut self) {
        self.partial = None;
    }

    /// How many bytes, from its start, a request that is not all there needs at least; `None` between requests.
    pub fn needed_bytes(&self) -> Option<usize> {
        let progress = self.partial.as_ref()?.progress;
        Some(progress.position + progress.bulk.map_or(4, |len| len + 2))
    }

    /// Bytes held for a request that is not all there.
    pub fn held_bytes(&self) -> usize {
        let spans = self.partial.as_ref().map_or(0, |partial| partial.spans.capacity());
        spans * size_of::<Span>()
    }
}

/// `*count`, then count times `$length` and the argument.
#[inline]
fn array(
    input: &[u8],
    spans: &mut Vec<Span>,
    progress: &mut Progress,
    limits: ParserLimits,
) -> Result<Parsed, ProtocolError> {
    if progress.remaining == 0 {
        let Some((count, next)) = length(input, 0, b"too big mbulk count string")? else {
            return Ok(Parsed::Incomplete(4));
        };
        let count = count.filter(|&count| count <= ARGUMENTS_MAX).ok_or(&b"invalid multibulk length"[..])?;
        if !limits.authenticated && count > ARGUMENTS_UNAUTHENTICATED_MAX {
            return Err(b"unauthenticated multibulk length"[..].into());
        }
        if count <= 0 {
            return Ok(Parsed::Nothing(next));
        }
        *progress = Progress { position: next, remaining: count, bulk: None };
    }
    while progress.remaining > 0 {
        let len = match progress.bulk {
            Some(len) => len,
            None => {
                // A line is looked at only when it is whole, even if its first byte is wrong already, as in Redis.
                let Some((len, next)) = length(input, progress.position, b"too big bulk count string")? else {
                    return Ok(Parsed::Incomplete(progress.position + 4));
                };
                if input[progress.position] != b'$' {
                    return Err(expected_bulk(input[progress.position]));
                }
                let len =
                    len.filter(|len| (0..=limits.bulk_bytes_max).contains(len)).ok_or(&b"invalid bulk length"[..])?;
                if !limits.authenticated && len > BULK_UNAUTHENTICATED_BYTES_MAX {
                    return Err(b"unauthenticated bulk length"[..].into());
                }
                progress.position = next;
                len as usize
            }
        };
        let end = progress.position + len + 2;
        if input.len() < end {
            progress.bulk = Some(len);
            return Ok(Parsed::Incomplete(end));
        }
        spans.push(Span { start: progress.position as u32, len: len as u32 });
        *progress = Progress { position: end, remaining: progress.remaining - 1, bulk: None };
    }
    Ok(Parsed::Request(progress.position))
}

/// The number behind the type byte at `at` and the position behind its line; no number where the text is none. `None`
/// while the line is not complete.
#[inline]
fn length(input: &[u8], at: usize, too_long: &'static [u8]) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
    // Nearly all lengths have one or two digits.
    match *input.get(at + 1..).unwrap_or_default() {
        [a @ b'0'..=b'9', b'\r', _, ..] => return Ok(Some((Some(i64::from(a - b'0')), at + 4))),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] => {
            return Ok(Some((Some(i64::from(a - b'0') * 10 + i64::from(b - b'0')), at + 5)));
        }
        _ => {}
    }
    let line = input.get(at..).unwrap_or_default();
    match memchr::memchr(b'\r', line) {
        Some(end) if at + end + 1 < input.len() => {
            let digits = line[..end].get(1..).unwrap_or_default();
            Ok(Some((number::parse_i64(digits), at + end + 2)))
        }
        None if line.len() > INLINE_BYTES_MAX => Err(too_long.into()),
        _ => Ok(None),
    }
}

#[cold]
fn expected_bulk(found: u8) -> ProtocolError {
    [b"expected '$', got '", &[found][..], b"'"].concat().into()
}

/// A line of words, as a person types it.
fn inline(input: &[u8], scratch: &mut Scratch) -> Result<Parsed, ProtocolError> {
    let Some(len) = memchr::memchr(b'\n', input) else {
        if input.len() > INLINE_BYTES_MAX {
            return Err(b"too big inline request"[..].into());
        }
        return Ok(Parsed::Incomplete(input.len() + 1));
    };
    let line = input[..len].strip_suffix(b"\r").unwrap_or(&input[..len]);
    // Differs: Redis sees no end of such a line and waits for more until it is too long. Only its beginning is never run.
    if memchr::memchr(0, line).is_some() {
        return Err(b"zero byte in inline request"[..].into());
    }
    let arguments = words::split(line).ok_or(&b"unbalanced quotes in request"[..])?;
    for argument in &arguments {
        scratch.spans.push(Span { start: scratch.inline.len() as u32, len: argument.len() as u32 });
        scratch.inline.extend_from_slice(argument);
    }
    Ok(if arguments.is_empty() { Parsed::Nothing(len + 1) } else { Parsed::Inline(len + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Args;

    const LIMITS: ParserLimits = ParserLimits { bulk_bytes_max: 512 << 20, authenticated: true };

    /// All requests of `input`, which arrives in pieces of `step` bytes.
    fn requests(input: &[u8], step: usize) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
        let (mut parser, mut scratch, mut found) = (RequestParser::default(), Scratch::default(), Vec::new());
        let (mut start, mut arrived) = (0, 0);
        while arrived < input.len() {
            arrived = (arrived + step).min(input.len());
            loop {
                let pending = &input[start..arrived];
                if pending.is_empty() {
                    break;
                }
                scratch.clear();
                let parsed = parser.parse(pending, &mut scratch, LIMITS)?;
                let (len, buffer) = match parsed {
                    Parsed::Request(len) => (len, pending),
                    Parsed::Inline(len) => (len, &scratch.inline[..]),
                    Parsed::Nothing(len) => {
                        start += len;
                        continue;
                    }
                    Parsed::Incomplete(_) => break,
                };
                let args = Args::new(buffer, &scratch.spans);
                found.push(args.iter_from(0).map(<[u8]>::to_vec).collect());
                start += len;
            }
        }
        Ok(found)
    }

    #[test]
    fn requests_may_be_split_anywhere() {
        let input = b"*2\r\n$3\r\nGET\r\n$11\r\nhello\r\nwor\n\r\n*0\r\nPING 'a b'\r\n\r\n*1\r\n$0\r\n\r\n*-1\r\necho \"\\x41\"\n";
        let expected: Vec<Vec<&[u8]>> =
            vec![vec![b"GET", b"hello\r\nwor\n"], vec![b"PING", b"a b"], vec![b""], vec![b"echo", b"A"]];
        for step in 1..=input.len() {
            assert_eq!(requests(input, step).unwrap(), expected, "in steps of {step}");
        }
    }

    #[test]
    fn violations_are_answered_in_the_words_of_redis() {
        for (input, error) in [
            (&b"*x\r\n"[..], "invalid multibulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"*2147483648\r\n", "invalid multibulk length"),
            (b"*1\r\n:1\r\n", "expected '$', got ':'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$536870913\r\n", "invalid bulk length"),
            (b"*1\r\n$x\r\n", "invalid bulk length"),
            (b"*1\r\n\r\n", "expected '$', got '\r'"),
            (b"get \"a\r\n", "unbalanced quotes in request"),
            // A line is never run without what follows the zero.
            (b"set k a\0b\r\n", "zero byte in inline request"),
            (b"\0\n", "zero byte in inline request"),
        ] {
            for step in [1, 3, 100] {
                assert_eq!(requests(input, step).unwrap_err(), error.as_bytes());
            }
        }
        assert_eq!(requests(&[b'a'; 70_000], 4096).unwrap_err(), &b"too big inline request"[..]);
        assert_eq!(requests(&[b'*'; 70_000], 4096).unwrap_err(), &b"too big mbulk count string"[..]);
    }

    #[test]
    fn strangers_may_send_little() {
        let limits = ParserLimits { authenticated: false, ..LIMITS };
        let parse = |input: &[u8]| RequestParser::default().parse(input, &mut Scratch::default(), limits);
        assert_eq!(parse(b"*11\r\n").unwrap_err(), &b"unauthenticated multibulk length"[..]);
        assert_eq!(parse(b"*1\r\n$16385\r\n").unwrap_err(), &b"unauthenticated bulk length"[..]);
        assert!(parse(b"*10\r\n").is_ok());
    }
}
