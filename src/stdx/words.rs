//! Splits a line into words with quotes, as the configuration file and inline commands write them.
//!
//! Words stand between spaces. `"..."` may hold spaces and the escapes `\n \r \t \b \a \xHH`, any other escaped byte
//! stands for itself. `'...'` knows only `\'`. A quote may open inside a word, but what follows a closing quote must
//! be a space or the end. A NUL byte ends the line.

/// The words of `line`; `None` where a quote is not closed, or is closed in the middle of a word.
pub fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let end = memchr::memchr(0, line).unwrap_or(line.len());
    let mut rest = &line[..end];
    let mut words = Vec::new();
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        rest = take_word(rest, &mut word)?;
        words.push(word);
    }
}

/// Whether C's `isspace` says so.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Reads one word from the start of `rest` into `word`; what follows it.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return Some(rest),
            [b' ' | b'\n' | b'\r' | b'\t', tail @ ..] => return Some(tail),
            [b'"', tail @ ..] => return double_quoted(tail, word),
            [b'\'', tail @ ..] => return single_quoted(tail, word),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [b'"', tail @ ..] => return closed(tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                rest = tail;
            }
            [b'\'', tail @ ..] => return closed(tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// What follows a closing quote, if the quote may close there.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|&byte| is_space(byte)).then_some(rest)
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Writes `word` in double quotes, so that [`split`] reads it back: printable ASCII as it is, the rest escaped.
pub fn quote(word: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(word.len() + 2);
    text.push('"');
    for &byte in word {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x08 => text.push_str("\\b"),
            0x07 => text.push_str("\\a"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("writing to a String does not fail"),
        }
    }
    text.push('"');
    text
}

/// Whether `word` must be quoted for [`split`] to read it back.
pub fn needs_quotes(word: &[u8]) -> bool {
    word.is_empty() || word.iter().any(|byte| !matches!(byte, b'!'..=b'~') || matches!(byte, b'"' | b'\'' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::{needs_quotes, quote, split};
    use proptest::prelude::*;

    fn words(line: &str) -> Option<Vec<String>> {
        split(line.as_bytes()).map(|words| words.into_iter().map(|w| String::from_utf8(w).expect("UTF-8")).collect())
    }

    #[test]
    fn follows_the_rules_of_redis() {
        for (line, expected) in [
            ("", vec![]),
            ("   \t\r\n", vec![]),
            ("set foo bar", vec!["set", "foo", "bar"]),
            ("  set\tfoo \x0b bar\r", vec!["set", "foo", "bar"]),
            ("\"a b\" c", vec!["a b", "c"]),
            (r#""a\n\r\t\b\a\x41\"\\\q""#, vec!["a\n\r\t\x08\x07A\"\\q"]),
            (r#""\xZZ""#, vec!["xZZ"]),
            (r"'it\'s' '\n' ''", vec!["it's", "\\n", ""]),
            (r#"pre"fix ed""#, vec!["prefix ed"]),
            ("a\\b", vec!["a\\b"]),
            ("a\0 b", vec!["a"]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(String::from).collect();
            assert_eq!(words(line), Some(expected), "{line:?}");
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in ["\"foo", "'foo", "\"foo\"bar", "'foo'bar", "\"foo\\", "\"foo\\\"", "foo\"", "\"a\0\""] {
            assert_eq!(words(line), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(list in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let line: Vec<String> = list.iter().map(|word| quote(word)).collect();
            prop_assert_eq!(split(line.join(" ").as_bytes()), Some(list));
        }

        #[test]
        fn what_needs_no_quotes_is_read_back(word in prop::collection::vec(b'!'..=b'~', 1..4)) {
            prop_assume!(!needs_quotes(&word));
            prop_assert_eq!(split(&word), Some(vec![word]));
        }

        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..60)) {
            split(&line);
        }
    }
}
