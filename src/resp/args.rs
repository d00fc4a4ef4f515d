//! The arguments of one request: spans into the buffer that holds them, so that reading an argument copies nothing.

use super::CommandError;
use crate::stdx::number;

/// Where one argument stands in its buffer, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

/// The arguments of one request; the command name is argument 0.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buffer: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// Arguments at `spans` of `buffer`. Every span must lie inside the buffer.
    pub fn new(buffer: &'a [u8], spans: &'a [Span]) -> Self {
        Self { buffer, spans }
    }

    /// How many arguments there are, the command name included.
    #[allow(clippy::len_without_is_empty, reason = "a request has at least its name")]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Argument `index`. Panics when there is none: arity has been checked before a handler runs.
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        let Span { start, len } = self.spans[index];
        &self.buffer[start as usize..][..len as usize]
    }

    /// Argument `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.len()).then(|| self.at(index))
    }

    /// The arguments from `first` on.
    pub fn iter_from(&self, first: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let args = *self;
        (first.min(self.len())..self.len()).map(move |index| args.at(index))
    }

    /// The request as its client has sent it, if that is an array of bulk strings to the byte: no inline command, and not
    /// some arguments of a request.
    #[inline]
    pub fn as_array(&self) -> Option<&'a [u8]> {
        let mut end = match *self.buffer {
            [b'*', count @ b'1'..=b'9', b'\r', ..] if usize::from(count - b'0') == self.len() => 2,
            [b'*', ref line @ ..] => 1 + number_at(line, self.len())?,
            _ => return None,
        };
        for span in self.spans {
            let start = span.start as usize;
            if !is_between(self.buffer.get(end..start)?, span.len as usize) {
                return None;
            }
            end = start + span.len as usize;
        }
        let array = self.buffer.get(..end + 2)?;
        array.ends_with(b"\r\n").then_some(array)
    }

    /// The spans of the arguments at `indexes`, for a request made of some of these arguments.
    pub fn select(&self, indexes: impl Iterator<Item = usize>) -> Vec<Span> {
        indexes.map(|index| self.spans[index]).collect()
    }

    /// Arguments at other spans of the same buffer.
    pub fn with_spans<'b>(&self, spans: &'b [Span]) -> Args<'b>
    where
        'a: 'b,
    {
        Args { buffer: self.buffer, spans }
    }

    /// A copy that outlives the buffer: the bytes of all arguments and where each stands in them.
    pub fn to_owned(&self) -> (Vec<u8>, Vec<Span>) {
        let (mut bytes, mut spans) = (Vec::new(), Vec::with_capacity(self.len()));
        for argument in self.iter_from(0) {
            spans.push(Span { start: bytes.len() as u32, len: argument.len() as u32 });
            bytes.extend_from_slice(argument);
        }
        (bytes, spans)
    }

    /// The arguments from `first` on as arguments of their own, as COMMAND GETKEYS looks at the command it is given.
    pub fn skip(&self, first: usize) -> Args<'a> {
        Self { buffer: self.buffer, spans: &self.spans[first.min(self.spans.len())..] }
    }

    /// The arguments but for the last one, and the last one.
    pub fn split_last(&self) -> (Args<'a>, &'a [u8]) {
        let last = self.len() - 1;
        (Self { buffer: self.buffer, spans: &self.spans[..last] }, self.at(last))
    }

    /// A cursor that stands before argument `first`, for reading options.
    pub fn cursor(&self, first: usize) -> Cursor<'a> {
        Cursor { args: *self, next: first }
    }

    /// Argument `index` as a signed 64-bit integer, or "value is not an integer or out of range".
    pub fn integer(&self, index: usize) -> Result<i64, CommandError> {
        integer(self.at(index))
    }
}

/// How many digits of `number` the text begins with, if it begins with all of them.
fn number_at(text: &[u8], number: usize) -> Option<usize> {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number);
    text.starts_with(digits.as_bytes()).then_some(digits.len())
}

/// Whether this is all that stands in an array in front of an argument of `len` bytes, behind the one before it or the
/// number of them. Nearly all lengths have one or two digits.
#[inline]
fn is_between(text: &[u8], len: usize) -> bool {
    match *text {
        [b'\r', b'\n', b'$', ones @ b'0'..=b'9', b'\r', b'\n'] => usize::from(ones - b'0') == len,
        [b'\r', b'\n', b'$', tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n'] => {
            usize::from(tens - b'0') * 10 + usize::from(ones - b'0') == len
        }
        [b'\r', b'\n', b'$', ref line @ .., b'\r', b'\n'] => number_at(line, len) == Some(line.len()),
        _ => false,
    }
}

/// `text` as a signed 64-bit integer, or "value is not an integer or out of range".
pub fn integer(text: &[u8]) -> Result<i64, CommandError> {
    number::parse_i64(text).ok_or(CommandError::NotInteger)
}

/// Reads arguments one after another: options and their values.
pub struct Cursor<'a> {
    args: Args<'a>,
    next: usize,
}

impl<'a> Iterator for Cursor<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let argument = self.args.get(self.next)?;
        self.next += 1;
        Some(argument)
    }
}

impl<'a> Cursor<'a> {
    /// How many arguments are left.
    pub fn remaining(&self) -> usize {
        self.args.len().saturating_sub(self.next)
    }

    /// Index of the argument that `next` will yield.
    pub fn position(&self) -> usize {
        self.next
    }

    /// The next argument without taking it.
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.args.get(self.next)
    }

    /// Takes the next argument if it is `token`, in any case.
    pub fn take_if(&mut self, token: &str) -> bool {
        let hit = self.peek().is_some_and(|argument| is_token(argument, token));
        self.next += usize::from(hit);
        hit
    }

    /// The value behind an option, or a syntax error when there is none.
    pub fn value(&mut self) -> Result<&'a [u8], CommandError> {
        self.next().ok_or(CommandError::Syntax)
    }

    /// The integer behind an option: syntax error when there is none, "not an integer" when it is not one.
    pub fn integer(&mut self) -> Result<i64, CommandError> {
        integer(self.value()?)
    }
}

/// Whether `argument` is the keyword `token`, in any case.
pub fn is_token(argument: &[u8], token: &str) -> bool {
    argument.eq_ignore_ascii_case(token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::parser::{Parsed, ParserLimits, RequestParser, Scratch};
    use proptest::prelude::*;

    const LIMITS: ParserLimits = ParserLimits { bulk_bytes_max: 512 << 20, authenticated: true };

    fn encode(arguments: &[&[u8]]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    /// What [`Args::as_array`] says of a request; what it gives must be the array of the arguments.
    fn as_array(request: &[u8]) -> Option<Vec<u8>> {
        let mut scratch = Scratch::default();
        let parsed = RequestParser::default().parse(request, &mut scratch, LIMITS);
        let args = match parsed {
            Ok(Parsed::Request(_)) => Args::new(request, &scratch.spans),
            Ok(Parsed::Inline(_)) => Args::new(&scratch.inline, &scratch.spans),
            _ => return None,
        };
        let array = args.as_array()?;
        assert_eq!(array, encode(&args.iter_from(0).collect::<Vec<_>>()));
        Some(array.to_vec())
    }

    #[test]
    fn only_what_is_an_array_to_the_byte_is_taken_as_it_is() {
        for request in [
            "*1\r\n$4\r\nPING\r\n",
            "*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n0123456789\r\n",
        ] {
            assert_eq!(as_array(request.as_bytes()).as_deref(), Some(request.as_bytes()));
        }
        // The last byte of these lines and what stands behind an argument is not looked at when it is read, as in Redis.
        for request in ["*1\rX$4\r\nPING\r\n", "*1\r\n$4\rXPING\r\n", "*1\r\n$4\r\nPINGXX", "PING\r\n", "SET k v\r\n"] {
            assert_eq!(as_array(request.as_bytes()), None, "{request:?}");
        }
    }

    #[test]
    fn some_arguments_of_a_request_are_no_array() {
        let buffer = encode(&[b"MSET", b"a", b"1", b"b", b"2"]);
        let mut scratch = Scratch::default();
        RequestParser::default().parse(&buffer, &mut scratch, LIMITS).unwrap();
        let args = Args::new(&buffer, &scratch.spans);
        assert_eq!(args.as_array(), Some(&buffer[..]));
        assert_eq!((args.skip(1).as_array(), args.split_last().0.as_array()), (None, None));
        let some = args.select([0, 3, 4].into_iter());
        assert_eq!(args.with_spans(&some).as_array(), None);
    }

    proptest! {
        #[test]
        fn every_array_is_taken(arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..120)) {
            let arguments: Vec<&[u8]> = arguments.iter().map(|argument| &argument[..]).collect();
            let request = encode(&arguments);
            prop_assert_eq!(as_array(&request), Some(request));
        }

        #[test]
        fn nothing_else_is_taken_for_one(request in "[*][1-3]\r[\r\n]([$]0?[0-3]\r[\r\n][*$0-3\r\n]{0,5}){0,3}") {
            as_array(request.as_bytes());
        }
    }
}
