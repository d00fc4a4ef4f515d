//! Values as text: integers, octal numbers, memory sizes, lists of CPUs. The reasons for refusing one are Redis's.

use super::{MemoryOrPercent, OutputLimit};
use crate::stdx::number::parse_i64;
use std::borrow::Cow;

/// Why a value is refused.
pub type Reason = Cow<'static, str>;

/// The names of the client classes of `client-output-buffer-limit`, as CONFIG GET writes them.
const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

fn between(min: impl std::fmt::Display, max: impl std::fmt::Display) -> Reason {
    format!("argument must be between {min} and {max} inclusive").into()
}

/// An integer from `min` to `max`.
pub fn integer(text: &[u8], min: i64, max: i64) -> Result<i64, Reason> {
    let value = parse_i64(text).ok_or("argument couldn't be parsed into an integer")?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(between(min, max)) }
}

/// An octal number from 0 to `max`.
pub fn octal(text: &[u8], max: u32) -> Result<u32, Reason> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let value = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
    let value = value.ok_or("argument couldn't be parsed as an octal number")?;
    if value <= max { Ok(value) } else { Err(between(0, format_args!("{max:o}"))) }
}

/// A number of bytes with an optional unit: `b`; `k`, `m`, `g` as powers of 1000; `kb`, `mb`, `gb` as powers of 1024.
/// What is too large for 64 bits counts as the largest number.
pub fn memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unit: u64 = match text[digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number =
        text[..digits].iter().fold(0u64, |sum, &digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(number.saturating_mul(unit))
}

/// A memory size from `min` to `max`.
pub fn memory_between(text: &[u8], min: u64, max: u64) -> Result<u64, Reason> {
    let value = memory(text).ok_or("argument must be a memory value")?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(between(min, max)) }
}

/// A memory size, or a percentage up to 100 without a fraction. None of either is no bytes.
pub fn memory_or_percent(text: &[u8]) -> Result<MemoryOrPercent, Reason> {
    const REASON: &str = "argument must be a memory or percent value";
    // Redis keeps percentages as negative numbers, which is what it takes a number of bytes for that is too large.
    const TOO_LARGE: &str = "percentage argument must be less or equal to 100";
    match text.strip_suffix(b"%") {
        None => match memory(text).ok_or(REASON)? {
            bytes if bytes <= i64::MAX as u64 => Ok(MemoryOrPercent::Bytes(bytes)),
            _ => Err(TOO_LARGE.into()),
        },
        Some(digits) => match parse_i64(digits).filter(|percent| *percent >= 0).ok_or(REASON)? {
            0 => Ok(MemoryOrPercent::Bytes(0)),
            percent @ 1..=100 => Ok(MemoryOrPercent::Percent(percent as u8)),
            _ => Err(TOO_LARGE.into()),
        },
    }
}

/// A memory size in the largest unit that divides it, as the configuration file writes it.
pub fn memory_text(bytes: u64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// `yes` or `no`.
pub fn yes_or_no(text: &[u8]) -> Result<bool, Reason> {
    match text {
        _ if text.eq_ignore_ascii_case(b"yes") => Ok(true),
        _ if text.eq_ignore_ascii_case(b"no") => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".into()),
    }
}

/// The place of `text` among `names`, in any case.
pub fn one_of(text: &[u8], names: &[&str]) -> Result<usize, Reason> {
    let place = names.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(text));
    place.ok_or_else(|| format!("argument(s) must be one of the following: {}", names.join(", ")).into())
}

/// Text: paths and names.
pub fn text(value: &[u8]) -> Result<String, Reason> {
    String::from_utf8(value.to_vec()).map_err(|_| "argument must be UTF-8 text".into())
}

/// CPU numbers such as `0-3,6`, each at most once; none for an empty text.
pub fn cpus(text: &str) -> Result<Vec<usize>, Reason> {
    const REASON: &str = "argument must be a list of CPU numbers such as 0-3,6, each below 1024 and named once";
    let number = |text: &str| text.parse::<usize>().ok().filter(|&cpu| cpu < 1024).ok_or(REASON);
    let mut cpus = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = number(first)?..=number(last)?;
        if range.is_empty() || range.clone().any(|cpu| cpus.contains(&cpu)) {
            return Err(REASON.into());
        }
        cpus.extend(range);
    }
    Ok(cpus)
}

/// CPU numbers as [`cpus`] reads them.
pub fn cpus_text(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|a, b| *b == *a + 1);
    let run = |run: &[usize]| match run {
        [] => String::new(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
    };
    runs.map(run).collect::<Vec<_>>().join(",")
}

/// Changes the classes that `words` names: class, hard limit, soft limit and soft seconds for each.
pub fn change_output_limits(limits: &mut [OutputLimit; 3], words: &[&[u8]]) -> Result<(), Reason> {
    if words == [b""] {
        return Ok(());
    }
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut changed = *limits;
    for group in words.chunks_exact(4) {
        let class = if group[0].eq_ignore_ascii_case(b"replica") { b"slave" } else { group[0] };
        let class = one_of(class, &CLASSES)
            .map_err(|_| Reason::from("Invalid client class specified in buffer limit configuration."))?;
        let seconds = parse_i64(group[3]).and_then(|seconds| u64::try_from(seconds).ok());
        let (Some(hard_bytes), Some(soft_bytes), Some(soft_seconds)) = (memory(group[1]), memory(group[2]), seconds)
        else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".into());
        };
        changed[class] = OutputLimit { hard_bytes, soft_bytes, soft_seconds };
    }
    *limits = changed;
    Ok(())
}

/// All classes in one line, as CONFIG GET answers.
pub fn output_limits_text(limits: &[OutputLimit; 3]) -> String {
    let class = |(class, limit): (&str, &OutputLimit)| {
        format!("{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
    };
    CLASSES.into_iter().zip(limits).map(class).collect::<Vec<_>>().join(" ")
}

/// A line for each class, as the configuration file has it.
pub fn output_limits_lines(limits: &[OutputLimit; 3]) -> Vec<String> {
    let line = |(class, limit): (&str, &OutputLimit)| {
        let (hard, soft) = (memory_text(limit.hard_bytes), memory_text(limit.soft_bytes));
        format!("{class} {hard} {soft} {}", limit.soft_seconds)
    };
    ["normal", "replica", "pubsub"].into_iter().zip(limits).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_sizes_have_units() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("", Some(0)),
            ("100", Some(100)),
            ("1b", Some(1)),
            ("2k", Some(2000)),
            ("2Kb", Some(2048)),
            ("3m", Some(3_000_000)),
            ("3MB", Some(3 << 20)),
            ("4g", Some(4_000_000_000)),
            ("4gb", Some(4 << 30)),
            ("99999999999999999999gb", Some(u64::MAX)),
            ("1.5mb", None),
            ("-1", None),
            ("1tb", None),
            (" 1", None),
        ] {
            assert_eq!(memory(text.as_bytes()), bytes, "{text}");
        }
        for (bytes, text) in [(0, "0"), (1, "1"), (1024, "1kb"), (1025, "1025"), (1 << 20, "1mb"), (3 << 30, "3gb")] {
            assert_eq!(memory_text(bytes), text);
            assert_eq!(memory(text.as_bytes()), Some(bytes));
        }
    }

    #[test]
    fn memory_may_be_a_percentage() {
        for (text, value) in [
            ("0", MemoryOrPercent::Bytes(0)),
            ("1mb", MemoryOrPercent::Bytes(1 << 20)),
            ("0%", MemoryOrPercent::Bytes(0)),
            ("5%", MemoryOrPercent::Percent(5)),
            ("100%", MemoryOrPercent::Percent(100)),
        ] {
            assert_eq!(memory_or_percent(text.as_bytes()), Ok(value), "{text}");
        }
        for text in ["-1", "abc", "%", "5.5%", "-5%", "1kb%"] {
            let reason = Err("argument must be a memory or percent value".into());
            assert_eq!(memory_or_percent(text.as_bytes()), reason, "{text}");
        }
        let reason = Err("percentage argument must be less or equal to 100".into());
        assert_eq!([&b"101%"[..], b"99999999999gb"].map(memory_or_percent), [reason.clone(), reason]);
    }

    #[test]
    fn cpu_lists_are_read_and_written() {
        for (text, list) in [("", vec![]), ("5", vec![5]), ("0-3,6", vec![0, 1, 2, 3, 6]), ("3,1", vec![3, 1])] {
            assert_eq!(cpus(text).as_ref(), Ok(&list));
            assert_eq!(cpus_text(&list), text);
        }
        for text in ["a", "1-", "-1", "3-1", "0,0", "0-2,1", "1024", "0-99999999999999999999", ",", "1,,2", "1 2"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn output_limits_change_together_or_not_at_all() {
        let mut limits = super::super::Config::default().client_output_buffer_limits;
        let before = limits;
        assert!(change_output_limits(&mut limits, &[b"normal", b"1", b"2", b"3", b"foo", b"1", b"2", b"3"]).is_err());
        assert_eq!(limits, before);
        change_output_limits(&mut limits, &[b"normal", b"1kb", b"2", b"3", b"Replica", b"1", b"2", b"3"])
            .expect("fits");
        assert_eq!(output_limits_text(&limits), "normal 1024 2 3 slave 1 2 3 pubsub 33554432 8388608 60");
        assert_eq!(output_limits_lines(&limits), ["normal 1kb 2 3", "replica 1 2 3", "pubsub 32mb 8mb 60"]);
    }

    #[test]
    fn octal_numbers() {
        assert_eq!(octal(b"700", 0o777), Ok(0o700));
        assert_eq!(octal(b"7777", 0o777), Err("argument must be between 0 and 777 inclusive".into()));
        for text in ["", "8", "+7", "-1", "0x1", "77777777777777"] {
            assert_eq!(octal(text.as_bytes(), 0o777), Err("argument couldn't be parsed as an octal number".into()));
        }
    }
}
