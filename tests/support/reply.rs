//! A reply as a tree. Nothing that distinguishes two replies on the wire is lost in it, except the spelling of numbers
//! in headers. Shown as redis-cli shows it.

use std::fmt;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// RESP2's `$-1`.
    NullBulk,
    /// RESP2's `*-1`.
    NullArray,
    /// RESP3's `_`.
    Null,
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    Double(Vec<u8>),
    Boolean(bool),
    Verbatim(Vec<u8>),
    BigNumber(Vec<u8>),
}

/// Why bytes are not a reply.
#[derive(Debug)]
pub enum Malformed {
    /// More bytes must come.
    Incomplete,
    /// No bytes that may come make a reply of it.
    Garbage(String),
}

impl Reply {
    /// The reply at the start of `bytes`, and how many bytes it takes.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), Malformed> {
        let mut at = 0;
        let reply = parse(bytes, &mut at)?;
        Ok((reply, at))
    }

    /// The replies that `bytes` are, one after another; panics on anything else.
    pub fn all(bytes: &[u8]) -> Vec<Self> {
        let (mut at, mut replies) = (0, Vec::new());
        while at < bytes.len() {
            let (reply, len) = Self::parse(&bytes[at..]).expect("whole replies are sent");
            replies.push(reply);
            at += len;
        }
        replies
    }

    /// Whether it is one of the three nulls.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::NullBulk | Self::NullArray | Self::Null)
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The number of an integer reply; panics on any other.
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            other => panic!("not an integer: {other}"),
        }
    }

    /// The bytes of a string of any kind; panics on any other reply.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bulk(bytes) | Self::Simple(bytes) | Self::Error(bytes) | Self::Verbatim(bytes) => bytes,
            other => panic!("not a string: {other}"),
        }
    }

    /// The bytes of a string as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The elements of an array, set or push; panics on any other reply.
    pub fn elements(&self) -> &[Reply] {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => elements,
            other => panic!("not an array: {other}"),
        }
    }

    /// Pairs of a map, or of an array that stands for one in RESP2.
    pub fn pairs(&self) -> Vec<(Reply, Reply)> {
        match self {
            Self::Map(pairs) => pairs.clone(),
            other => other.elements().chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
        }
    }
}

fn parse(bytes: &[u8], at: &mut usize) -> Result<Reply, Malformed> {
    let end = bytes[*at..].windows(2).position(|pair| pair == b"\r\n").ok_or(Malformed::Incomplete)? + *at;
    let (kind, line) = (bytes[*at], &bytes[(*at + 1).min(end)..end]);
    *at = end + 2;
    Ok(match kind {
        b'+' => Reply::Simple(line.to_vec()),
        b'-' => Reply::Error(line.to_vec()),
        b':' => Reply::Integer(number(line)?),
        b',' => Reply::Double(line.to_vec()),
        b'(' => Reply::BigNumber(line.to_vec()),
        b'#' => Reply::Boolean(line == b"t"),
        b'_' => Reply::Null,
        b'$' if line == b"-1" => Reply::NullBulk,
        b'*' if line == b"-1" => Reply::NullArray,
        b'$' => Reply::Bulk(blob(bytes, at, number(line)?)?),
        b'=' => Reply::Verbatim(blob(bytes, at, number(line)?)?),
        b'!' => Reply::Error(blob(bytes, at, number(line)?)?),
        b'*' => Reply::Array(several(bytes, at, number(line)?)?),
        b'~' => Reply::Set(several(bytes, at, number(line)?)?),
        b'>' => Reply::Push(several(bytes, at, number(line)?)?),
        b'%' => {
            let flat = several(bytes, at, number(line)? * 2)?;
            let mut flat = flat.into_iter();
            Reply::Map(std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect())
        }
        other => return Err(Malformed::Garbage(format!("a reply starts with byte {other:#x}: {:?}", lossy(line)))),
    })
}

fn several(bytes: &[u8], at: &mut usize, count: i64) -> Result<Vec<Reply>, Malformed> {
    (0..count).map(|_| parse(bytes, at)).collect()
}

fn blob(bytes: &[u8], at: &mut usize, len: i64) -> Result<Vec<u8>, Malformed> {
    let len = usize::try_from(len).map_err(|_| Malformed::Garbage(format!("length {len}")))?;
    let body = bytes.get(*at..*at + len + 2).ok_or(Malformed::Incomplete)?;
    if &body[len..] != b"\r\n" {
        return Err(Malformed::Garbage(format!("no CR LF behind {len} bytes")));
    }
    *at += len + 2;
    Ok(body[..len].to_vec())
}

fn number(line: &[u8]) -> Result<i64, Malformed> {
    let text = lossy(line);
    text.parse().map_err(|_| Malformed::Garbage(format!("{text:?} is not a number")))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `bytes` in double quotes, with redis-cli's escapes.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', byte as char]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x07 => text.push_str("\\a"),
            0x08 => text.push_str("\\b"),
            b' '..=b'~' => text.push(byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self, 0))
    }
}

/// The reply as redis-cli shows it; lines after the first are indented by `indent`.
fn shown(reply: &Reply, indent: usize) -> String {
    match reply {
        Reply::Simple(text) => lossy(text),
        Reply::Error(text) => format!("(error) {}", lossy(text)),
        Reply::Integer(number) => format!("(integer) {number}"),
        Reply::Bulk(bytes) => quoted(bytes),
        Reply::NullBulk | Reply::NullArray | Reply::Null => "(nil)".into(),
        Reply::Double(text) => format!("(double) {}", lossy(text)),
        Reply::BigNumber(text) => format!("(big number) {}", lossy(text)),
        Reply::Boolean(value) => format!("({value})"),
        Reply::Verbatim(text) => quoted(text.get(4..).unwrap_or_default()),
        Reply::Array(elements) => rows(elements, ')', "(empty array)", indent),
        Reply::Push(elements) => rows(elements, ')', "(empty push)", indent),
        Reply::Set(elements) => rows(elements, '~', "(empty set)", indent),
        Reply::Map(pairs) if pairs.is_empty() => "(empty hash)".into(),
        Reply::Map(pairs) => {
            let width = pairs.len().to_string().len();
            let row = |(index, (key, value)): (usize, &(Reply, Reply))| {
                let key = shown(key, indent + width + 2);
                let value = shown(value, indent + width + 2 + key.len() + 4);
                format!("{:>width$}# {key} => {value}", index + 1)
            };
            pairs.iter().enumerate().map(row).collect::<Vec<_>>().join(&format!("\n{:indent$}", ""))
        }
    }
}

fn rows(elements: &[Reply], mark: char, empty: &str, indent: usize) -> String {
    if elements.is_empty() {
        return empty.into();
    }
    let width = elements.len().to_string().len();
    let row = |(index, element): (usize, &Reply)| {
        format!("{:>width$}{mark} {}", index + 1, shown(element, indent + width + 2))
    };
    elements.iter().enumerate().map(row).collect::<Vec<_>>().join(&format!("\n{:indent$}", ""))
}
