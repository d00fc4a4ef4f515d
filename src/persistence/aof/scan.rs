//! The error path: behind a batch that is not good, looks for batches of the same file whose checksum holds. If there are
//! any, the end of the file is not just torn, and nothing may be cut without being asked; if one of them calls the bad
//! batch durable, something in the middle is damaged.
//!
//! Where a batch begins is known only from its line, which may be damaged, so every line is a candidate, and its length
//! says where its records should begin. Contents may look like lines, also like those of another log or of this one from
//! before: only what could stand behind the bad batch counts, with this log's identity, which no client knows.

use super::batch::{LINE_BYTES_MAX, Line, MARK, SegmentId};
use crate::limits::{AOF_HELD_BYTES_MAX, AOF_SCAN_FACTOR_MAX};

/// What is looked for: batches of this file with greater numbers than that of the bad one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The file.
    pub segment: SegmentId,
    /// The number that the bad batch should have.
    pub behind: u64,
}

/// The search, from the start of the bad batch to the end of the file.
#[derive(Debug)]
pub(super) struct Scan {
    /// Nothing in a file without batches: then only its end is looked for.
    wanted: Option<Wanted>,
    /// Start of the bad batch.
    from: u64,
    /// Bytes that are kept behind the search.
    held_max: usize,
    /// Up to here has been searched.
    at: u64,
    /// Bytes that were summed for candidates.
    summed: u64,
    /// Whether that were too many.
    gave_up: bool,
    /// The candidate whose records are no longer there and are being read again.
    candidate: Option<Candidate>,
    /// What has been found.
    pub found: Found,
}

/// Good batches behind a bad one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How many.
    pub batches: u64,
    /// Where the first of them begins.
    pub first: u64,
    /// Number of the last batch that one of them calls durable.
    pub synced: u64,
}

#[derive(Debug)]
struct Candidate {
    line: Line,
    text: Vec<u8>,
    /// Where the line begins.
    end: u64,
    /// Up to here its records are summed.
    at: u64,
    crc: u32,
}

/// What the search needs or has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// More bytes, those from this offset on kept.
    More(u64),
    /// The end of the file has been reached.
    End,
}

impl Scan {
    /// Of what stands from `from` on, where no line begins before `at`.
    pub fn new(wanted: Option<Wanted>, from: u64, at: u64, held_max: usize) -> Self {
        Self { wanted, from, held_max, at, summed: 0, gave_up: false, candidate: None, found: Found::default() }
    }

    /// Goes on with what is there of the file, from `base` on; `ended` if that is all up to its end.
    pub fn step(&mut self, window: &[u8], base: u64, ended: bool) -> Scanned {
        loop {
            if let Some(wanted) = self.sum_candidate(window, base, ended) {
                return Scanned::More(wanted);
            }
            if !(base..=base + window.len() as u64).contains(&self.at) {
                return Scanned::More(self.at);
            }
            let rest = &window[(self.at - base) as usize..];
            let Some(found) = memchr::memmem::find(rest, MARK) else {
                self.at += rest.len().saturating_sub(MARK.len() - 1) as u64;
                return if ended { Scanned::End } else { Scanned::More(self.keep(window, base)) };
            };
            self.at += found as u64;
            let line = &rest[found..];
            let line = &line[..line.len().min(LINE_BYTES_MAX)];
            match memchr::memchr(b'\n', line) {
                Some(end) => self.consider(line[..end].strip_suffix(b"\r"), &window[..(self.at - base) as usize], base),
                None if line.len() < LINE_BYTES_MAX && !ended => return Scanned::More(self.keep(window, base)),
                None => self.at += 1,
            }
        }
    }

    /// What to keep of the window: candidates are mostly near the bytes they are about.
    fn keep(&self, window: &[u8], base: u64) -> u64 {
        if window.len() > self.held_max { base.max(self.at.saturating_sub(self.held_max as u64 / 2)) } else { base }
    }

    /// A line that begins where the search stands, behind `before`, which begins at `base`.
    fn consider(&mut self, text: Option<&[u8]>, before: &[u8], base: u64) {
        let (position, text) = (self.at, text.unwrap_or_default());
        self.at += 1;
        let Some(line) = Line::parse(text) else { return };
        let Some(start) = position.checked_sub(line.length).filter(|&start| start >= self.from) else { return };
        let fits = |wanted: &Wanted| line.segment == wanted.segment && line.sequence > wanted.behind;
        if self.gave_up || !self.wanted.as_ref().is_some_and(fits) {
            return;
        }
        self.summed += line.length;
        if self.summed > AOF_SCAN_FACTOR_MAX * (self.at - self.from + AOF_HELD_BYTES_MAX as u64) {
            // Whoever made this wants it to be read for ever. It counts as good, so nothing is cut.
            self.gave_up = true;
            return self.is_good(start, position + text.len() as u64, u64::MAX);
        }
        if start >= base {
            if line.holds(text, crc32c::crc32c(&before[(start - base) as usize..])) {
                self.is_good(start, position + text.len() as u64, line.synced);
            }
        } else {
            self.candidate = Some(Candidate { line, text: text.to_vec(), end: position, at: start, crc: 0 });
        }
    }

    fn is_good(&mut self, start: u64, end: u64, synced: u64) {
        self.found.synced = self.found.synced.max(synced);
        if self.found.batches == 0 {
            self.found.first = start;
        }
        self.found.batches += 1;
        self.at = end;
    }

    /// Sums up the records of the candidate as far as they are there; from where on bytes are wanted for it.
    fn sum_candidate(&mut self, window: &[u8], base: u64, ended: bool) -> Option<u64> {
        let mut candidate = self.candidate.take()?;
        let there = base + window.len() as u64;
        if (base..there).contains(&candidate.at) {
            let until = candidate.end.min(there);
            let range = (candidate.at - base) as usize..(until - base) as usize;
            candidate.crc = crc32c::crc32c_append(candidate.crc, &window[range]);
            candidate.at = until;
        }
        if candidate.at < candidate.end && !(ended && candidate.at == there) {
            let wanted = candidate.at;
            self.candidate = Some(candidate);
            return Some(wanted);
        }
        if candidate.at == candidate.end && candidate.line.holds(&candidate.text, candidate.crc) {
            let Candidate { line, text, end, .. } = candidate;
            self.is_good(end - line.length, end + text.len() as u64, line.synced);
        }
        None
    }
}
