//! Values that a transaction over several shards puts on a shard and that are too large for its record. The shard logs them
//! before, in pieces over many turns, while the transaction has their keys locked:
//!
//! ```text
//! CRIMSON.STAGE <stamp> <number>   records of pieces   CRIMSON.STAGED
//! ```
//!
//! The reader sets aside what these records make. The payload of the transaction takes it over, or there never is one and
//! the reader drops what was set aside:
//!
//! ```text
//! CRIMSON.ADOPT <stamp> <count>
//! ```
//!
//! The numbers of a stage count from 0, and `count` says how many there were. Number 0 begins anew: a process that has died
//! may have used the same stamp. Whoever logs the transaction first has its stages on disk, so that no other shard's log
//! can tell of what is not there.

use super::{Records, record};
use crate::resp::Args;
use crate::stdx::number;
use std::collections::BTreeMap;

const STAGE: &[u8] = b"CRIMSON.STAGE";
const STAGED: &[u8] = b"CRIMSON.STAGED";
const ADOPT: &[u8] = b"CRIMSON.ADOPT";

/// One of these records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageRecord {
    /// What follows is set aside.
    Begin {
        /// Of the transaction.
        stamp: u64,
        /// Which stage of it, from 0.
        number: u64,
    },
    /// What follows is not.
    End,
    /// What has been set aside is taken over.
    Adopt {
        /// Of the transaction.
        stamp: u64,
        /// How many stages it had.
        count: u64,
    },
}

impl StageRecord {
    /// Reads one; `None` if it is no such record, or malformed.
    pub fn parse(args: Args<'_>) -> Option<Self> {
        let number = |index| args.get(index).and_then(number::parse_i64).and_then(|number| u64::try_from(number).ok());
        match (args.at(0), args.len()) {
            (STAGED, 1) => Some(Self::End),
            (STAGE, 3) => Some(Self::Begin { stamp: number(1)?, number: number(2)? }),
            (ADOPT, 3) => Some(Self::Adopt { stamp: number(1)?, count: number(2)? }),
            _ => None,
        }
    }

    /// Appends it.
    pub fn write(self, records: &mut Records) {
        records.write(|out| match self {
            Self::Begin { stamp, number } => three(out, STAGE, stamp, number),
            Self::End => record::append(out, [STAGED].into_iter()),
            Self::Adopt { stamp, count } => three(out, ADOPT, stamp, count),
        });
    }
}

/// The stages that a shard's segments have and no transaction has taken over yet, each with what is made of it.
#[derive(Debug)]
pub struct Stages<T> {
    /// By their stamps, how many there were of a transaction.
    aside: BTreeMap<u64, (u64, T)>,
    /// The stage that the records at hand belong to.
    filling: Option<u64>,
}

impl<T> Default for Stages<T> {
    fn default() -> Self {
        Self { aside: BTreeMap::new(), filling: None }
    }
}

impl<T> Stages<T> {
    /// Whether the records at hand belong to a stage.
    #[inline]
    pub fn is_filling(&self) -> bool {
        self.filling.is_some()
    }

    /// What is made of the stage that the records at hand belong to.
    pub fn filling(&mut self) -> Option<&mut T> {
        self.aside.get_mut(&self.filling?).map(|(_, made)| made)
    }

    /// Follows a record, which stands in a transaction or not; what is taken over by it comes out. `new` begins a stage. The
    /// error: it does not belong there.
    pub fn note(&mut self, record: StageRecord, inside: bool, new: impl FnOnce() -> T) -> Result<Option<T>, Misplaced> {
        match record {
            StageRecord::Begin { stamp, number } if !inside && self.filling.is_none() => {
                if number == 0 {
                    self.aside.insert(stamp, (0, new()));
                }
                let aside = self.aside.get_mut(&stamp).filter(|(count, _)| *count == number);
                aside.ok_or(Misplaced)?.0 += 1;
                self.filling = Some(stamp);
                Ok(None)
            }
            StageRecord::End => self.filling.take().map(|_| None).ok_or(Misplaced),
            StageRecord::Adopt { stamp, count } if inside => {
                let aside = self.aside.remove(&stamp).filter(|(there, _)| *there == count);
                aside.map(|(_, made)| Some(made)).ok_or(Misplaced)
            }
            StageRecord::Begin { .. } | StageRecord::Adopt { .. } => Err(Misplaced),
        }
    }
}

/// A record of a stage that does not belong where it stands, or whose stages are not all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misplaced;

fn three(out: &mut Vec<u8>, name: &[u8], stamp: u64, number: u64) {
    record::begin(out, 3);
    record::argument(out, name);
    record::number(out, stamp);
    record::number(out, number);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::parser::{Parsed, RequestParser, Scratch};

    #[test]
    fn what_is_written_can_be_read() {
        let all = [
            StageRecord::Begin { stamp: u64::MAX >> 1, number: 0 },
            StageRecord::End,
            StageRecord::Adopt { stamp: 7, count: 12 },
        ];
        for one in all {
            let mut records = Records::new();
            one.write(&mut records);
            let mut scratch = Scratch::default();
            let bytes = records.as_bytes();
            let parsed = RequestParser::default().parse(bytes, &mut scratch, record::LIMITS);
            assert!(matches!(parsed, Ok(Parsed::Request(len)) if len == bytes.len()));
            assert_eq!(StageRecord::parse(Args::new(bytes, &scratch.spans)), Some(one));
        }
    }
}
