//! From the replies of several shards to one.

use super::split::Part;
use crate::resp::{Output, Reply};

/// The number in an integer reply.
pub(super) fn integer_of(reply: &Output) -> i64 {
    let text = reply.bytes.strip_prefix(b":").and_then(|text| text.strip_suffix(b"\r\n"));
    text.and_then(crate::stdx::number::parse_i64).unwrap_or(0)
}

/// The length in an array's head, and where its first element starts.
fn array_head(reply: &Output) -> (usize, usize) {
    let end = memchr::memchr(b'\r', &reply.bytes).unwrap_or(0);
    let len = reply.bytes.get(1..end).and_then(crate::stdx::number::parse_i64).unwrap_or(0);
    (usize::try_from(len).unwrap_or(0), end + 2)
}

/// One array of the elements of all.
pub(super) fn arrays(parts: Vec<Part>, reply: &mut Reply<'_>) {
    reply.array(parts.iter().map(|part| array_head(&part.reply).0).sum());
    for part in parts {
        let (_, start) = array_head(&part.reply);
        reply.append_from(&part.reply, start, part.reply.bytes.len());
    }
}

/// One array of bulk strings and nulls, in the order of the command's keys.
pub(super) fn by_key(parts: Vec<Part>, reply: &mut Reply<'_>) {
    let total = parts.iter().map(|part| part.keys.len()).sum();
    let mut places: Vec<(usize, usize, usize)> = vec![(0, 0, 0); total];
    for (index, part) in parts.iter().enumerate() {
        let (_, mut at) = array_head(&part.reply);
        for &order in &part.keys {
            let end = element_end(&part.reply, at);
            places[order] = (index, at, end);
            at = end;
        }
    }
    reply.array(total);
    for (index, start, end) in places {
        reply.append_from(&parts[index].reply, start, end);
    }
}

/// Where the bulk string, null or other plain element at `at` ends. A pinned value does not stand in the bytes.
fn element_end(reply: &Output, at: usize) -> usize {
    let line = at + memchr::memchr(b'\n', &reply.bytes[at..]).map_or(0, |len| len + 1);
    if reply.bytes[at] != b'$' || reply.bytes[at + 1] == b'-' {
        return line;
    }
    if reply.pins.binary_search_by_key(&line, |pin| pin.at).is_ok() {
        return line + 2;
    }
    let len = crate::stdx::number::parse_i64(&reply.bytes[at + 1..line - 2]).unwrap_or(0);
    line + len as usize + 2
}
