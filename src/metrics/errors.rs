//! Error replies by their code, the first word of an error, for INFO errorstats. Written only when a command fails, so a
//! lock that nobody else holds but INFO is cheap enough.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Most codes that are told apart, as in Redis; errors with further codes are counted together.
const CODES_MAX: usize = 128;

/// The name under which errors beyond [`CODES_MAX`] codes are counted.
const OVERFLOW: &str = "ERRORSTATS_OVERFLOW";

/// Counts of error replies by code.
#[derive(Debug, Default)]
pub struct ErrorCounts(Mutex<BTreeMap<Box<str>, u64>>);

impl ErrorCounts {
    /// Counts an error reply with this code.
    pub fn count(&self, code: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let code = if counts.contains_key(code) || counts.len() < CODES_MAX { code } else { OVERFLOW };
        match counts.get_mut(code) {
            Some(count) => *count += 1,
            None => _ = counts.insert(code.into(), 1),
        }
    }

    /// Adds all counts to `totals`.
    pub fn add_to(&self, totals: &mut BTreeMap<Box<str>, u64>) {
        for (code, count) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *totals.entry(code.clone()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(counts: &ErrorCounts) -> BTreeMap<Box<str>, u64> {
        let mut totals = BTreeMap::new();
        counts.add_to(&mut totals);
        totals
    }

    #[test]
    fn codes_are_counted_apart() {
        let counts = ErrorCounts::default();
        for code in ["ERR", "WRONGTYPE", "ERR"] {
            counts.count(code);
        }
        let totals = totals(&counts);
        let pairs: Vec<(&str, u64)> = totals.iter().map(|(code, count)| (&**code, *count)).collect();
        assert_eq!(pairs, [("ERR", 2), ("WRONGTYPE", 1)]);
    }

    #[test]
    fn codes_are_bounded() {
        let counts = ErrorCounts::default();
        for number in 0..1000 {
            counts.count(&format!("CODE{number}"));
        }
        let totals = totals(&counts);
        assert_eq!(totals.len(), CODES_MAX + 1);
        assert_eq!(totals[OVERFLOW], 1000 - CODES_MAX as u64);
    }
}
