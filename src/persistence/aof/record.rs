//! A record of the log: a RESP array of bulk strings, as in Redis's append-only file.
//!
//! ```text
//! *<arguments>\r\n  $<length>\r\n<bytes>\r\n  ...
//! ```

use crate::limits::AOF_RECORD_BYTES_MAX;
use crate::resp::parser::ParserLimits;

/// Begins a record of so many arguments.
pub fn begin(out: &mut Vec<u8>, arguments: usize) {
    head(out, b'*', arguments);
}

/// Adds the next argument of the record begun last.
#[inline]
pub fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + HEAD_BYTES_MAX + 2);
    head(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Adds a number as the next argument.
pub fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    argument(out, itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a whole record.
#[inline]
pub fn append<'a>(out: &mut Vec<u8>, arguments: impl ExactSizeIterator<Item = &'a [u8]>) {
    begin(out, arguments.len());
    arguments.for_each(|bytes| argument(out, bytes));
}

/// Appends Redis's annotation of the time, which stands in front of the records of a second.
pub fn write_timestamp(out: &mut Vec<u8>, unix_seconds: u64) {
    out.extend_from_slice(b"#TS:");
    out.extend_from_slice(itoa::Buffer::new().format(unix_seconds).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Most bytes in front of an argument: a sign, 20 digits, CR LF.
const HEAD_BYTES_MAX: usize = 23;

/// A number of arguments or bytes with its sign. Nearly all have one or two digits.
#[inline]
fn head(out: &mut Vec<u8>, kind: u8, count: usize) {
    match count {
        0..10 => out.extend_from_slice(&[kind, b'0' + count as u8, b'\r', b'\n']),
        10..100 => {
            let (tens, ones) = (b'0' + (count / 10) as u8, b'0' + (count % 10) as u8);
            out.extend_from_slice(&[kind, tens, ones, b'\r', b'\n']);
        }
        _ => {
            out.push(kind);
            out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A number as records write it: decimal, no sign, no leading zeros. `None` for anything else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'..=b'9'] => Some(u64::from(text[0] - b'0')),
        [b'1'..=b'9', rest @ ..] if rest.len() < 20 => text.iter().try_fold(0u64, |number, digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        }),
        _ => None,
    }
}

/// Arguments as long as a record can be; there is no client to protect from here.
pub const LIMITS: ParserLimits = ParserLimits { bulk_bytes_max: AOF_RECORD_BYTES_MAX as i64, authenticated: true };
