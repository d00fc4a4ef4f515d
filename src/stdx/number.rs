//! Numbers as text, in exactly the forms Redis reads and writes.

/// Reads a signed 64-bit integer in canonical decimal form: no sign but a leading `-`, no leading zeros, no spaces.
/// `None` for anything else, as Redis's `string2ll`.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // 19 digits stay below 10^19, which fits in 64 unsigned bits.
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

#[cfg(test)]
mod tests {
    use super::parse_i64;

    #[test]
    fn only_canonical_text_is_a_number() {
        for text in ["", "-", "+1", " 1", "1 ", "01", "-0", "1e3", "9223372036854775808", "-9223372036854775809", "0x1"]
        {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        for number in [0, 1, -1, 10, i64::MAX, i64::MIN, i64::MAX - 1] {
            assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
        }
    }
}
