//! A record of the log: a RESP array of bulk strings, as in Redis's append-only file.
//!
//! ```text
//! *<arguments>\r\n  $<length>\r\n<bytes>\r\n  ...
//! ```

/// Begins a record of so many arguments.
pub fn begin(out: &mut Vec<u8>, arguments: usize) {
    head(out, b'*', arguments);
}

/// Adds the next argument of the record begun last.
#[inline]
pub fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
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

#[inline]
fn head(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
}
