//! One entry of a listpack as bytes: how an element is encoded, decoded, measured and checked.

use crate::stdx::number;

/// An element where it lies. Text that is a canonical 64-bit integer is always an `Int`, so two elements are equal
/// exactly when their bytes are; `Element::from` of a byte string sees to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'a> {
    /// An integer.
    Int(i64),
    /// Any other bytes.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a [u8]> for Element<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Self {
        match number::parse_i64(bytes) {
            Some(integer) => Self::Int(integer),
            None => Self::Bytes(bytes),
        }
    }
}

impl From<i64> for Element<'_> {
    fn from(integer: i64) -> Self {
        Self::Int(integer)
    }
}

impl<'a> Element<'a> {
    /// Its bytes; `digits` holds them when it is an integer.
    #[inline]
    pub fn bytes<'b>(&self, digits: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Int(integer) => digits.format(integer).as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// A copy of its bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// Whether its bytes are `bytes`.
    pub fn eq_bytes(&self, bytes: &[u8]) -> bool {
        match *self {
            Self::Int(_) => *self == Element::from(bytes),
            Self::Bytes(own) => own == bytes,
        }
    }
}

/// Most bytes that stand before the data of an entry: those of a 64-bit integer.
const HEAD_MAX: usize = 9;

/// An element ready to be written.
pub(super) struct Encoded<'a> {
    head: [u8; HEAD_MAX],
    head_len: usize,
    data: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// Encodes `element` in the shortest way.
    #[inline]
    pub fn new(element: Element<'a>) -> Self {
        match element {
            Element::Int(integer) => Self::integer(integer),
            Element::Bytes(bytes) => Self::string(bytes),
        }
    }

    #[inline]
    fn string(data: &'a [u8]) -> Self {
        let mut head = [0; HEAD_MAX];
        let len = data.len();
        let head_len = if len < 64 {
            head[0] = 0x80 | len as u8;
            1
        } else if len < 4096 {
            head[0] = 0xE0 | (len >> 8) as u8;
            head[1] = len as u8;
            2
        } else {
            head[0] = 0xF0;
            head[1..5].copy_from_slice(&u32::try_from(len).expect("checked by the caller's limit").to_le_bytes());
            5
        };
        Self { head, head_len, data }
    }

    #[inline]
    fn integer(integer: i64) -> Self {
        let mut head = [0; HEAD_MAX];
        let head_len = match integer {
            0..=127 => {
                head[0] = integer as u8;
                1
            }
            -4096..=4095 => {
                head[0] = 0xC0 | (integer >> 8) as u8 & 0x1F;
                head[1] = integer as u8;
                2
            }
            _ => {
                let (kind, width) = match integer {
                    -0x8000..=0x7FFF => (0xF1, 2),
                    -0x80_0000..=0x7F_FFFF => (0xF2, 3),
                    -0x8000_0000..=0x7FFF_FFFF => (0xF3, 4),
                    _ => (0xF4, 8),
                };
                head[0] = kind;
                head[1..=width].copy_from_slice(&integer.to_le_bytes()[..width]);
                1 + width
            }
        };
        Self { head, head_len, data: &[] }
    }

    /// Bytes of the entry without its back length.
    #[inline]
    fn body_len(&self) -> usize {
        self.head_len + self.data.len()
    }

    /// Bytes of the whole entry.
    #[inline]
    pub fn len(&self) -> usize {
        self.body_len() + back_len_size(self.body_len())
    }

    /// Writes the entry to the start of `out`, which is long enough.
    #[inline]
    pub fn write(&self, out: &mut [u8]) {
        let body = self.body_len();
        out[..self.head_len].copy_from_slice(&self.head[..self.head_len]);
        out[self.head_len..body].copy_from_slice(self.data);
        write_back_len(body, &mut out[body..]);
    }
}

/// Bytes that the entry of an element takes.
#[inline]
pub fn entry_size(element: Element<'_>) -> usize {
    Encoded::new(element).len()
}

/// Bytes of the back length of an entry whose body is `body` bytes long. The odd upper bounds are those of the format.
#[inline]
pub(super) fn back_len_size(body: usize) -> usize {
    match body {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// Writes a back length: seven bits a byte, the most significant first, all bytes but the first with the high bit set,
/// so that it can be read backwards.
#[inline]
fn write_back_len(body: usize, out: &mut [u8]) {
    let size = back_len_size(body);
    let mut rest = body;
    for index in (0..size).rev() {
        out[index] = (rest & 0x7F) as u8 | if index == 0 { 0 } else { 0x80 };
        rest >>= 7;
    }
}

/// Reads the back length that ends before `end`: the body length of that entry. `None` when it is longer than five
/// bytes or runs out of `bytes`.
#[inline]
pub(super) fn back_len_before(bytes: &[u8], end: usize) -> Option<usize> {
    let mut body = 0;
    for index in 0..5 {
        let byte = *bytes.get(end.checked_sub(index + 1)?)?;
        body |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(body);
        }
    }
    None
}

/// Body length of the entry at `at`, read from its head. `None` when the head is cut off or unknown.
#[inline]
pub(super) fn body_len(bytes: &[u8], at: usize) -> Option<usize> {
    let first = *bytes.get(at)?;
    Some(match first {
        0x00..=0x7F => 1,
        0x80..=0xBF => 1 + usize::from(first & 0x3F),
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 2 + (usize::from(first & 0x0F) << 8 | usize::from(*bytes.get(at + 1)?)),
        0xF0 => 5 + u32::from_le_bytes(bytes.get(at + 1..at + 5)?.try_into().ok()?) as usize,
        0xF1 => 3,
        0xF2 => 4,
        0xF3 => 5,
        0xF4 => 9,
        _ => return None,
    })
}

/// The element whose body is `body`: exactly as many bytes as [`body_len`] said.
pub(super) fn decode(body: &[u8]) -> Element<'_> {
    let skip = match body[0] {
        0x80..=0xBF => 1,
        0xE0..=0xEF => 2,
        0xF0 => 5,
        _ => return Element::Int(integer(body).0),
    };
    Element::Bytes(&body[skip..])
}

/// The integer whose entry starts `rest`, and the size of its body.
#[inline]
fn integer(rest: &[u8]) -> (i64, usize) {
    match *rest {
        [small @ 0x00..=0x7F, ..] => (i64::from(small), 1),
        // Thirteen bits, the sign on top: shifted up to the sign of 16 bits and back.
        [high @ 0xC0..=0xDF, low, ..] => (i64::from((i16::from_be_bytes([high, low]) << 3) >> 3), 2),
        [0xF1, a, b, ..] => (i64::from(i16::from_le_bytes([a, b])), 3),
        [0xF2, a, b, c, ..] => (i64::from(i32::from_le_bytes([0, a, b, c]) >> 8), 4),
        [0xF3, a, b, c, d, ..] => (i64::from(i32::from_le_bytes([a, b, c, d])), 5),
        [0xF4, a, b, c, d, e, f, g, h, ..] => (i64::from_le_bytes([a, b, c, d, e, f, g, h]), 9),
        _ => unreachable!("a listpack is valid"),
    }
}

/// The element at `at` and the size of its entry, back length included. Panics when it is cut off.
#[inline]
pub(super) fn read(bytes: &[u8], at: usize) -> (Element<'_>, usize) {
    let rest = &bytes[at..];
    let first = rest[0];
    let (start, len) = match first {
        0x80..=0xBF => (1, usize::from(first & 0x3F)),
        0xE0..=0xEF => (2, usize::from(first & 0x0F) << 8 | usize::from(rest[1])),
        0xF0 => (5, u32::from_le_bytes([rest[1], rest[2], rest[3], rest[4]]) as usize),
        _ => {
            let (integer, body) = integer(rest);
            return (Element::Int(integer), body + 1);
        }
    };
    let body = start + len;
    (Element::Bytes(&rest[start..body]), body + back_len_size(body))
}

/// Where the entry that ends before `end` starts.
#[inline]
pub(super) fn start_before(bytes: &[u8], end: usize) -> usize {
    let last = bytes[end - 1];
    let body = if last < 0x80 { usize::from(last) } else { back_len_before(bytes, end).expect("a listpack is valid") };
    end - body - back_len_size(body)
}

/// Checks the entry at `at` of bytes from outside, whose terminator stands at `end`: its body and the size of the whole
/// entry. `None` when it does not fit or its back length does not agree with its head.
pub(super) fn check(bytes: &[u8], at: usize, end: usize) -> Option<(&[u8], usize)> {
    let body_len = body_len(&bytes[..end], at)?;
    let size = body_len.checked_add(back_len_size(body_len))?;
    let next = at.checked_add(size).filter(|&next| next <= end)?;
    let agrees = back_len_before(bytes, next)? == body_len;
    // A back length that is padded to another size would send a reader that goes backwards astray.
    let mut back = [0; 5];
    write_back_len(body_len, &mut back);
    let exact = bytes[at + body_len..next] == back[..back_len_size(body_len)];
    (agrees && exact).then_some((&bytes[at..at + body_len], size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(element: Element<'_>) -> Vec<u8> {
        let encoded = Encoded::new(element);
        let mut out = vec![0; encoded.len()];
        encoded.write(&mut out);
        out
    }

    #[test]
    fn entries_are_laid_out_as_documented() {
        assert_eq!(bytes_of(Element::Int(0)), [0x00, 0x01]);
        assert_eq!(bytes_of(Element::Int(127)), [0x7F, 0x01]);
        assert_eq!(bytes_of(Element::Int(128)), [0xC0, 0x80, 0x02]);
        assert_eq!(bytes_of(Element::Int(-1)), [0xDF, 0xFF, 0x02]);
        assert_eq!(bytes_of(Element::Int(4096)), [0xF1, 0x00, 0x10, 0x03]);
        assert_eq!(bytes_of(Element::Int(-32_769)), [0xF2, 0xFF, 0x7F, 0xFF, 0x04]);
        assert_eq!(bytes_of(Element::Int(8_388_608)), [0xF3, 0x00, 0x00, 0x80, 0x00, 0x05]);
        assert_eq!(bytes_of(Element::Int(i64::MAX)), [0xF4, 255, 255, 255, 255, 255, 255, 255, 0x7F, 0x09]);
        assert_eq!(bytes_of(Element::Bytes(b"")), [0x80, 0x01]);
        assert_eq!(bytes_of(Element::Bytes(b"ab")), [0x82, b'a', b'b', 0x03]);
        let long = bytes_of(Element::Bytes(&[7; 300]));
        assert_eq!((&long[..3], &long[long.len() - 2..]), (&[0xE1, 44, 7][..], &[2, 0x80 | 46][..]));
        let longer = bytes_of(Element::Bytes(&[7; 5000]));
        assert_eq!((&longer[..5], &longer[5005..]), (&[0xF0, 0x88, 0x13, 0, 0][..], &[39, 0x80 | 13][..]));
    }

    #[test]
    fn every_width_comes_back() {
        let mut edges = vec![0, 1, i64::MAX, i64::MIN];
        for bits in [7, 12, 15, 23, 31, 62] {
            let power = 1i64 << bits;
            edges.extend([power - 1, power, power + 1, -power, -power - 1, -power + 1]);
        }
        for integer in edges {
            let bytes = bytes_of(Element::Int(integer));
            let (body, size) = check(&bytes, 0, bytes.len()).expect("whole");
            assert_eq!((decode(body), size), (Element::Int(integer), bytes.len()), "{integer}");
            assert_eq!(Element::Int(integer).to_vec(), integer.to_string().as_bytes());
        }
        for len in [0, 1, 63, 64, 126, 127, 128, 4095, 4096, 16_377, 16_378, 16_379, 2_097_145, 2_097_146, 2_097_150] {
            let text = vec![b'x'; len];
            let bytes = bytes_of(Element::Bytes(&text));
            let (body, size) = check(&bytes, 0, bytes.len()).expect("whole");
            assert_eq!((decode(body), size), (Element::Bytes(&text), bytes.len()), "{len}");
            assert_eq!(back_len_before(&bytes, bytes.len()), Some(body.len()));
        }
    }

    #[test]
    fn only_canonical_text_is_an_integer() {
        assert_eq!(Element::from(&b"12"[..]), Element::Int(12));
        assert_eq!(Element::from(&b"012"[..]), Element::Bytes(b"012"));
        assert!(Element::Int(12).eq_bytes(b"12"));
        assert!(!Element::Int(12).eq_bytes(b"012"));
        assert!(Element::Bytes(b"012").eq_bytes(b"012"));
    }
}
