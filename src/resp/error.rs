//! Every error a client can see. The texts are Redis's, byte for byte; the first word is the code that INFO errorstats
//! counts. A new text that only one command uses is [`CommandError::Text`] at its place; shared ones get a variant.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The key holds another type than the command works on.
    WrongType,
    /// The arguments do not fit the command's syntax.
    Syntax,
    /// An argument or a stored value is not a signed 64-bit integer.
    NotInteger,
    /// An argument is not a floating point number.
    NotFloat,
    /// An argument is outside its range.
    OutOfRange,
    /// An argument must not be negative.
    NotPositive,
    /// An index lies outside a container.
    IndexOutOfRange,
    /// The key does not exist where it must.
    NoSuchKey,
    /// A time to live that is not positive or overflows; carries the command's name.
    InvalidExpire(&'static str),
    /// The database index is not one of those configured.
    DbIndexOutOfRange,
    /// Wrong number of arguments; carries the full command name, such as `client|kill`.
    Arity(String),
    /// A whole text without the leading `-`: the code first, as in `ERR no such thing`.
    Text(Cow<'static, str>),
    /// The same with a client's bytes in it, whatever they are.
    Raw(Vec<u8>),
}

impl CommandError {
    /// An error with the code ERR and a fixed text.
    pub const fn fixed(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// An error whose text is made at run time; the code stands first in it.
    pub fn text(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }

    /// An error that shows what the client sent, between two texts, as far as C would print it.
    pub fn quoting(before: &str, foreign: &[u8], after: &str) -> Self {
        Self::Raw([before.as_bytes(), printed(foreign, usize::MAX), after.as_bytes()].concat())
    }

    /// The error line without the leading `-`.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Raw(bytes) => out.extend_from_slice(bytes),
            other => write!(out, "{other}").expect("writing to a Vec does not fail"),
        }
    }

    /// The code, the first word, by which errors are counted.
    pub fn code(&self) -> &str {
        match self {
            Self::WrongType => "WRONGTYPE",
            Self::Text(text) => text.split([' ', '\r', '\n']).next().filter(|code| !code.is_empty()).unwrap_or("ERR"),
            _ => "ERR",
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongType => f.write_str("WRONGTYPE Operation against a key holding the wrong kind of value"),
            Self::Syntax => f.write_str("ERR syntax error"),
            Self::NotInteger => f.write_str("ERR value is not an integer or out of range"),
            Self::NotFloat => f.write_str("ERR value is not a valid float"),
            Self::OutOfRange => f.write_str("ERR value is out of range"),
            Self::NotPositive => f.write_str("ERR value is out of range, must be positive"),
            Self::IndexOutOfRange => f.write_str("ERR index out of range"),
            Self::NoSuchKey => f.write_str("ERR no such key"),
            Self::InvalidExpire(command) => write!(f, "ERR invalid expire time in '{command}' command"),
            Self::DbIndexOutOfRange => f.write_str("ERR DB index is out of range"),
            Self::Arity(command) => write!(f, "ERR wrong number of arguments for '{command}' command"),
            Self::Text(text) => f.write_str(text),
            Self::Raw(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
        }
    }
}

impl std::error::Error for CommandError {}

/// What C's `%.*s` prints of `bytes`: up to a zero byte, and at most `most` bytes.
pub fn printed(bytes: &[u8], most: usize) -> &[u8] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    &bytes[..end.min(most)]
}
