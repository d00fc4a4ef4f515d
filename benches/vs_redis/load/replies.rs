//! Counts replies as they come, without keeping them.

/// Reads one connection's replies in pieces. What it counts are values: a simple string, an integer, a bulk string, and the
/// head of an array, whose elements count as well. EXEC of five INCRs is six of them.
#[derive(Default)]
pub struct Replies {
    line: Vec<u8>,
    skip: usize,
}

impl Replies {
    /// How many values end in `bytes`, which follow those given before; panics on an error reply.
    pub fn count(&mut self, mut bytes: &[u8]) -> usize {
        let mut values = 0;
        loop {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                bytes = &bytes[skipped..];
                self.skip -= skipped;
                if self.skip > 0 {
                    return values;
                }
                values += 1;
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                return values;
            };
            if self.line.is_empty() {
                self.take(&bytes[..end]);
            } else {
                self.line.extend_from_slice(&bytes[..end]);
                let line = std::mem::take(&mut self.line);
                self.take(&line);
            }
            values += usize::from(self.skip == 0);
            bytes = &bytes[end + 1..];
        }
    }

    fn take(&mut self, line: &[u8]) {
        assert!(line.first() != Some(&b'-'), "an error: {}", String::from_utf8_lossy(line));
        if let Some(len) = line.strip_prefix(b"$") {
            let len = std::str::from_utf8(len).ok().and_then(|text| text.trim().parse::<i64>().ok());
            let len = len.unwrap_or_else(|| panic!("no length: {}", String::from_utf8_lossy(line)));
            // The end of its line is skipped with it; the null string has none.
            self.skip = usize::try_from(len).map_or(0, |len| len + 2);
        }
    }
}
