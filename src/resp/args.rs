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
