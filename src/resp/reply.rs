//! Values to reply bytes, in RESP2 and RESP3. This is the only place that writes CR LF, and no value or error text can
//! bring its own into a line: a client never sees a reply that another client's data has split.

use super::CommandError;
use crate::limits::SHARED_VALUE_BYTES_MIN;
use bytes::Bytes;

/// The protocol version a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, the default.
    #[default]
    Resp2,
    /// RESP3, chosen with HELLO 3.
    Resp3,
}

/// A large value that stands in the output at `at`, sent from where it is.
#[derive(Debug)]
pub struct Pin {
    /// Offset in [`Output::bytes`] before which the value is sent.
    pub at: usize,
    /// The value.
    pub value: Bytes,
}

/// Reply bytes that wait to be sent: plain bytes, and large values pinned between them.
#[derive(Debug, Default)]
pub struct Output {
    /// The bytes, without the pinned values.
    pub bytes: Vec<u8>,
    /// Pinned values, by ascending offset.
    pub pins: Vec<Pin>,
}

impl Output {
    /// How many bytes will be sent.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.pins.iter().map(|pin| pin.value.len()).sum::<usize>()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.pins.is_empty()
    }

    /// Forgets everything, keeping the capacity.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pins.clear();
    }

    /// Forgets what was written after `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.pins.truncate(mark.pins);
    }

    /// Takes away what was written after `mark`.
    pub fn split_off(&mut self, mark: Mark) -> Output {
        let bytes = self.bytes.split_off(mark.bytes);
        let pins = self.pins.split_off(mark.pins);
        let pins = pins.into_iter().map(|pin| Pin { at: pin.at - mark.bytes, ..pin }).collect();
        Output { bytes, pins }
    }

    /// The place where the next byte will stand.
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), pins: self.pins.len() }
    }
}

/// A place in an [`Output`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    pins: usize,
}

impl Mark {
    /// How many bytes stand before it.
    pub fn bytes(self) -> usize {
        self.bytes
    }
}

/// Writes replies of one connection's protocol version into an [`Output`].
pub struct Reply<'a> {
    out: &'a mut Output,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Output, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The protocol version replies are written in.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// From here on replies are written in `protocol`: HELLO answers in the version it switches to.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Bytes in the output that is written to.
    pub fn output_len(&self) -> usize {
        self.out.bytes.len()
    }

    /// The output that is written to.
    pub fn output(&mut self) -> &mut Output {
        self.out
    }

    fn header(&mut self, kind: u8, number: i64) {
        let out = &mut self.out.bytes;
        out.push(kind);
        if (0..10).contains(&number) {
            out.push(b'0' + number as u8);
        } else {
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A status line. `text` is the server's own and holds no CR or LF.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.out.bytes.push(b'+');
        self.out.bytes.extend_from_slice(text.as_bytes());
        self.out.bytes.extend_from_slice(b"\r\n");
    }

    /// An error line; CR and LF in its text become spaces, and go at its end.
    pub fn error(&mut self, error: &CommandError) {
        let start = self.out.bytes.len();
        self.out.bytes.push(b'-');
        error.write(&mut self.out.bytes);
        while let Some(b'\r' | b'\n') = self.out.bytes.last() {
            self.out.bytes.pop();
        }
        for byte in &mut self.out.bytes[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.out.bytes.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, number: i64) {
        self.header(b':', number);
    }

    /// A count or length as an integer.
    pub fn count(&mut self, count: usize) {
        self.integer(count as i64);
    }

    /// A bulk string, copied.
    #[inline]
    pub fn bulk(&mut self, value: &[u8]) {
        self.header(b'$', value.len() as i64);
        self.out.bytes.extend_from_slice(value);
        self.out.bytes.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string.
    pub fn bulk_integer(&mut self, number: i64) {
        self.bulk(itoa::Buffer::new().format(number).as_bytes());
    }

    /// A bulk string that is sent from where it is when it is large.
    pub fn bulk_shared(&mut self, value: &Bytes) {
        if value.len() < SHARED_VALUE_BYTES_MIN {
            return self.bulk(value);
        }
        self.header(b'$', value.len() as i64);
        self.out.pins.push(Pin { at: self.out.bytes.len(), value: value.clone() });
        self.out.bytes.extend_from_slice(b"\r\n");
    }

    /// The null value, in a place where a bulk string could stand.
    pub fn null(&mut self) {
        let text: &[u8] = match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        };
        self.out.bytes.extend_from_slice(text);
    }

    /// The null value, in a place where an array could stand.
    pub fn null_array(&mut self) {
        let text: &[u8] = match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        };
        self.out.bytes.extend_from_slice(text);
    }

    /// A bulk string or null.
    pub fn bulk_or_null(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bulk(value),
            None => self.null(),
        }
    }

    /// The head of an array; `len` elements follow.
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// The head of a map; `len` pairs follow. An array of twice as many elements in RESP2.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', 2 * len as i64),
            Protocol::Resp3 => self.header(b'%', len as i64),
        }
    }

    /// The head of a set; `len` elements follow. An array in RESP2.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64),
            Protocol::Resp3 => self.header(b'~', len as i64),
        }
    }

    /// The head of a push message; `len` elements follow. An array in RESP2.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64),
            Protocol::Resp3 => self.header(b'>', len as i64),
        }
    }

    /// Writes an array whose length is known only after `fill` has written the elements; `fill` returns it.
    pub fn array_of(&mut self, fill: impl FnOnce(&mut Reply<'_>) -> usize) {
        let mut body = Output::default();
        let len = fill(&mut Reply::new(&mut body, self.protocol));
        self.array(len);
        self.append(body);
    }

    /// Appends replies that were written elsewhere.
    pub fn append(&mut self, other: Output) {
        let base = self.out.bytes.len();
        self.out.bytes.extend_from_slice(&other.bytes);
        self.out.pins.extend(other.pins.into_iter().map(|pin| Pin { at: base + pin.at, value: pin.value }));
    }

    /// Appends what was written into `other` between two places.
    pub fn append_between(&mut self, other: &Output, start: Mark, end: Mark) {
        let base = self.out.bytes.len();
        self.out.bytes.extend_from_slice(&other.bytes[start.bytes..end.bytes]);
        let pins = &other.pins[start.pins..end.pins];
        self.out.pins.extend(pins.iter().map(|pin| Pin { at: base + pin.at - start.bytes, value: pin.value.clone() }));
    }

    /// Appends the bytes of `other` from `start` to `end`, with the values pinned there.
    pub fn append_from(&mut self, other: &Output, start: usize, end: usize) {
        let base = self.out.bytes.len();
        self.out.bytes.extend_from_slice(&other.bytes[start..end]);
        // Pins ascend.
        let first = other.pins.partition_point(|pin| pin.at < start);
        let pins = other.pins[first..].iter().take_while(|pin| pin.at < end);
        self.out.pins.extend(pins.map(|pin| Pin { at: base + pin.at - start, value: pin.value.clone() }));
    }

    /// A truth value; 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        match self.protocol {
            Protocol::Resp2 => self.integer(i64::from(value)),
            Protocol::Resp3 => self.out.bytes.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// A floating-point number, in as few digits as tell it from all others. A bulk string in RESP2.
    pub fn double(&mut self, number: f64) {
        let text = match number {
            _ if number.is_nan() => "nan".into(),
            _ if number.is_infinite() => if number > 0.0 { "inf" } else { "-inf" }.into(),
            _ => number.to_string(),
        };
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.out.bytes.push(b',');
                self.out.bytes.extend_from_slice(text.as_bytes());
                self.out.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A text that a person reads, such as INFO's; `format` is three letters (`txt`, `mkd`). A bulk string in RESP2.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() as i64 + 4);
                self.out.bytes.extend_from_slice(format.as_bytes());
                self.out.bytes.push(b':');
                self.out.bytes.extend_from_slice(text);
                self.out.bytes.extend_from_slice(b"\r\n");
            }
        }
    }
}
