//! The 80-bit floating point numbers of the x87 (64 bits of mantissa, 15 of exponent), which Redis on x86-64 calls
//! `long double` and computes INCRBYFLOAT and HINCRBYFLOAT in. Rust has none, so the arithmetic is done in software;
//! text is read as C's `strtold` reads it and written as `printf("%.17Lf")` writes it, every digit exact.

use rustc_apfloat::ieee::X87DoubleExtended;
use rustc_apfloat::{Float, Round, Status};

/// Longest text that is read as a number, in bytes, as in Redis.
pub const LONG_DOUBLE_TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Digits behind the decimal point that are written.
const FRACTION_DIGITS: usize = 17;

/// 10 to the power of [`FRACTION_DIGITS`].
const FRACTION_SCALE: u128 = 100_000_000_000_000_000;

/// A long double; never NaN when it was read from text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongDouble(X87DoubleExtended);

impl LongDouble {
    /// 0.
    pub const ZERO: Self = Self(X87DoubleExtended::ZERO);

    /// Reads decimal or hexadecimal digits with an optional exponent, or `inf`; the whole of `text` must be the number.
    /// `None` for anything else, for NaN, and for digits too large or, unless they are all 0, too small for the type.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > LONG_DOUBLE_TEXT_BYTES_MAX {
            return None;
        }
        let (negative, magnitude) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let number = if is_infinity(magnitude) { X87DoubleExtended::INFINITY } else { parse_digits(magnitude)? };
        Some(Self(if negative { -number } else { number }))
    }

    /// Whether it is neither infinite nor NaN.
    pub fn is_finite(self) -> bool {
        self.0.is_finite()
    }

    /// The product with `factor`, rounded up to an integer; the least one for what lies below all, `None` above all.
    pub fn times_rounded_up(self, factor: i64) -> Option<i64> {
        let product = (self.0 * X87DoubleExtended::from_i128(i128::from(factor)).value).value;
        let rounded = product.to_i128_r(64, Round::TowardPositive, &mut true);
        let above = rounded.status.contains(Status::INVALID_OP) && !product.is_negative();
        (!above).then(|| i64::try_from(rounded.value).unwrap_or(i64::MIN))
    }

    /// The decimal text with 17 digits behind the point, without the zeros at its end. The number must be finite.
    pub fn to_text(self) -> String {
        debug_assert!(self.is_finite());
        let bits = self.0.to_bits();
        let mantissa = bits as u64;
        let negative = bits >> 79 != 0;
        // A number is mantissa * 2^exponent; the biased exponent 0 of the smallest numbers counts as 1.
        let exponent = ((bits >> 64) as i32 & 0x7FFF).max(1) - 16383 - 63;
        let mut text = String::from(if negative { "-" } else { "" });
        match exponent {
            0.. => push_integer(&mut text, mantissa, exponent as u32),
            _ => push_rounded(&mut text, mantissa, exponent.unsigned_abs()),
        }
        if text == "-0" { String::from("0") } else { text }
    }
}

impl std::ops::Add for LongDouble {
    type Output = Self;

    /// The sum, rounded to the nearest long double, to the even one of two.
    fn add(self, other: Self) -> Self {
        Self((self.0 + other.0).value)
    }
}

fn is_infinity(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity")
}

/// Reads unsigned digits by the grammar of `strtold`, which is checked here, whatever the arithmetic would accept.
fn parse_digits(text: &[u8]) -> Option<X87DoubleExtended> {
    let (hexadecimal, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let is_digit = |byte: &u8| if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let marks: &[u8] = if hexadecimal { b"pP" } else { b"eE" };
    let significand_len = digits.iter().position(|byte| marks.contains(byte)).unwrap_or(digits.len());
    let (significand, exponent) = digits.split_at(significand_len);
    let point = significand.iter().position(|&byte| byte == b'.').unwrap_or(significand.len());
    let (integer, fraction) = (&significand[..point], significand.get(point + 1..).unwrap_or_default());
    if integer.len() + fraction.len() == 0 || !integer.iter().chain(fraction).all(is_digit) {
        return None;
    }
    let exponent = match exponent {
        [] => 0,
        [_, rest @ ..] => parse_exponent(rest)?,
    };
    if integer.iter().chain(fraction).all(|&byte| byte == b'0') {
        return Some(X87DoubleExtended::ZERO);
    }
    let text = |bytes| std::str::from_utf8(bytes).expect("digits are ASCII");
    let (prefix, mark) = if hexadecimal { ("0x", "p") } else { ("", "e") };
    let plain = format!("{prefix}0{}.{}0{mark}{exponent}", text(integer), text(fraction));
    let read = X87DoubleExtended::from_str_r(&plain, Round::NearestTiesToEven).ok()?;
    let in_range = !read.status.contains(Status::OVERFLOW) && !read.value.is_zero();
    in_range.then_some(read.value)
}

/// An exponent: an optional sign and digits. Values that are out of range with any significand are cut to a bound.
fn parse_exponent(text: &[u8]) -> Option<i32> {
    const BOUND: i32 = 60_000;
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0, |sum: i32, digit| (sum * 10 + i32::from(digit - b'0')).min(BOUND));
    Some(if negative { -magnitude } else { magnitude })
}

/// Writes mantissa * 2^exponent.
fn push_integer(text: &mut String, mantissa: u64, exponent: u32) {
    /// The largest power of ten in 64 bits: a limb is divided by it to get 19 digits at once.
    const CHUNK: u64 = 10_000_000_000_000_000_000;
    let shifted = u128::from(mantissa) << (exponent % 64);
    let mut limbs = vec![0; exponent as usize / 64];
    limbs.extend([shifted as u64, (shifted >> 64) as u64]);
    let mut chunks = Vec::new();
    while let Some(&top) = limbs.last() {
        if top == 0 {
            limbs.pop();
            continue;
        }
        let mut remainder = 0;
        for limb in limbs.iter_mut().rev() {
            let part = u128::from(remainder) << 64 | u128::from(*limb);
            *limb = (part / u128::from(CHUNK)) as u64;
            remainder = (part % u128::from(CHUNK)) as u64;
        }
        chunks.push(remainder);
    }
    let mut chunks = chunks.iter().rev();
    text.push_str(&chunks.next().unwrap_or(&0).to_string());
    for chunk in chunks {
        text.push_str(&format!("{chunk:019}"));
    }
}

/// Writes mantissa / 2^shift, rounded to 17 digits behind the point, to the even one of two; zeros at the end are left
/// out, and the point where nothing follows it.
fn push_rounded(text: &mut String, mantissa: u64, shift: u32) {
    // Below 2^64 * 10^17 < 2^121, so that shifts of 122 and more leave less than a half.
    let scaled = u128::from(mantissa) * FRACTION_SCALE;
    let rounded = if shift >= 122 {
        0
    } else {
        let (quotient, rest) = (scaled >> shift, scaled & ((1 << shift) - 1));
        let half = 1 << (shift - 1);
        quotient + u128::from(rest > half || (rest == half && quotient & 1 == 1))
    };
    let (integer, fraction) = (rounded / FRACTION_SCALE, rounded % FRACTION_SCALE);
    text.push_str(&integer.to_string());
    if fraction != 0 {
        let digits = format!("{fraction:0FRACTION_DIGITS$}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::LongDouble;

    fn sum(a: &str, b: &str) -> String {
        let parse = |text: &str| LongDouble::parse(text.as_bytes()).expect("a number");
        (parse(a) + parse(b)).to_text()
    }

    #[test]
    fn adds_as_the_x87_does() {
        for (a, b, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "1.000000000000000004", "4"),
            ("-0.1", "0.1", "0"),
            ("-0", "-0", "0"),
            ("-1e-30", "0", "0"),
            ("0x1p4", "0xA.8", "26.5"),
            ("1e19", "1", "10000000000000000001"),
            ("17179869184", "17179869184.5", "34359738368.5"),
            ("9007199254740993", "0.25", "9007199254740993.25"),
            ("1234567890123456789", "0.0000001", "1234567890123456789"),
            ("1e40", "0", "9999999999999999999783686092270256259072"),
            ("0.00000000000000001", "0", "0.00000000000000001"),
            ("0.000000000000000004", "0", "0"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
        let largest = "1.18973149535723176502e4932";
        assert_eq!(sum(largest, "0").len(), 4933);
        let doubled = LongDouble::parse(largest.as_bytes()).map(|number| number + number);
        assert_eq!(doubled.map(LongDouble::is_finite), Some(false));
    }

    #[test]
    fn reads_what_strtold_reads_and_nothing_else() {
        for text in ["1", "+1", "-1", "1.", ".5", "1e5", "1E+5", "1e-5", "0x1", "0X.8P-3", "0x1.", "inf", "-INFINITY"] {
            assert!(LongDouble::parse(text.as_bytes()).is_some(), "{text}");
        }
        for text in
            ["", " 1", "1 ", "1\n", "+", "-", ".", "e5", "1e", "1e+", "1e5.", "1.2.3", "--1", "+-1", "0x", "0x."]
        {
            assert!(LongDouble::parse(text.as_bytes()).is_none(), "{text}");
        }
        for text in ["0x1p", "0xg", "1x", "nan", "nan(1)", "in", "infinit", "1e4933", "1e-4952", "1e99999999999", "1\0"]
        {
            assert!(LongDouble::parse(text.as_bytes()).is_none(), "{text}");
        }
        for text in ["0e99999999999", "0x0p-99999999", "4e-4951", "1e-4940"] {
            assert!(LongDouble::parse(text.as_bytes()).is_some(), "{text}");
        }
        assert!(LongDouble::parse(&[b'1'; 4932]).is_some());
        assert!(LongDouble::parse(&[b'0'; 5119]).is_some());
        assert!(LongDouble::parse(&[b'0'; 5120]).is_none());
    }
}
