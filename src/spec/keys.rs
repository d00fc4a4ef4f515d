//! Key specs: where in the arguments a command's keys stand. One declaration drives routing, COMMAND GETKEYS and ACL.

use crate::resp::{Args, CommandError};
use crate::stdx::number;
use bitflags::bitflags;

bitflags! {
    /// What a command does with the keys of one spec.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct KeyFlags: u16 {
        /// Read only.
        const RO = 1 << 0;
        /// Read and written.
        const RW = 1 << 1;
        /// Overwritten without being read.
        const OW = 1 << 2;
        /// Removed.
        const RM = 1 << 3;
        /// The value is returned, copied or compared.
        const ACCESS = 1 << 4;
        /// The value is changed.
        const UPDATE = 1 << 5;
        /// Data is added, nothing else touched.
        const INSERT = 1 << 6;
        /// Content is deleted.
        const DELETE = 1 << 7;
        /// Not really a key.
        const NOT_KEY = 1 << 8;
        /// The spec may not find all keys.
        const INCOMPLETE = 1 << 9;
        /// The flags depend on the arguments.
        const VARIABLE_FLAGS = 1 << 10;
    }
}

/// Where to start looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginSearch {
    /// At this argument.
    Index(i32),
    /// Behind this keyword, looked for from this argument on; negative: backwards from the end.
    Keyword(&'static str, i32),
    /// Only the command knows.
    Unknown,
}

/// Which arguments from there are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindKeys {
    /// Up to `last_key` (relative to the start; negative: from the end), every `step`-th; `limit` as in Redis.
    Range {
        /// Last key, relative to the first; negative: relative to the end.
        last_key: i32,
        /// Distance between keys.
        step: i32,
        /// With `last_key` -1: only the first 1/limit of the arguments are keys, where it is above 1.
        limit: i32,
    },
    /// An argument tells how many keys there are.
    KeyNum {
        /// Where the count stands, relative to the start.
        index: i32,
        /// Where the first key stands, relative to the start.
        first: i32,
        /// Distance between keys.
        step: i32,
    },
    /// Only the command knows.
    Unknown,
}

/// One place where keys stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// What is done with them.
    pub flags: KeyFlags,
    /// Where to start.
    pub begin: BeginSearch,
    /// How to go on.
    pub find: FindKeys,
}

impl KeySpec {
    /// One key at argument `index`.
    pub const fn one(index: i32, flags: KeyFlags) -> Self {
        Self { flags, begin: BeginSearch::Index(index), find: FindKeys::Range { last_key: 0, step: 1, limit: 0 } }
    }

    /// Every `step`-th argument from `index` to the end.
    pub const fn rest(index: i32, step: i32, flags: KeyFlags) -> Self {
        Self { flags, begin: BeginSearch::Index(index), find: FindKeys::Range { last_key: -1, step, limit: 0 } }
    }

    /// Every argument from `index` to the last but one.
    pub const fn but_last(index: i32, flags: KeyFlags) -> Self {
        Self { flags, begin: BeginSearch::Index(index), find: FindKeys::Range { last_key: -2, step: 1, limit: 0 } }
    }

    /// A count at argument `index`, the keys right behind it.
    pub const fn counted(index: i32, flags: KeyFlags) -> Self {
        Self { flags, begin: BeginSearch::Index(index), find: FindKeys::KeyNum { index: 0, first: 1, step: 1 } }
    }

    /// Calls `found` with the argument index of each key. An error when the arguments do not fit the spec, as
    /// COMMAND GETKEYS reports it.
    pub fn each(&self, args: Args<'_>, mut found: impl FnMut(usize)) -> Result<(), CommandError> {
        const INVALID: CommandError = CommandError::fixed("ERR Invalid arguments specified for command");
        let argc = args.len() as i64;
        let first = match self.begin {
            BeginSearch::Index(index) => i64::from(index),
            BeginSearch::Keyword(keyword, from) => match find_keyword(args, keyword, from) {
                Some(index) => index + 1,
                None => return Ok(()),
            },
            BeginSearch::Unknown => return Ok(()),
        };
        let (first, last, step) = match self.find {
            FindKeys::Range { last_key, step, limit } => {
                let last = match last_key {
                    0.. => first + i64::from(last_key),
                    -1 if limit > 1 => first + (argc - first) / i64::from(limit) - 1,
                    _ => argc + i64::from(last_key),
                };
                (first, last, step)
            }
            FindKeys::KeyNum { index, first: behind, step } => {
                let count = usize::try_from(first + i64::from(index)).ok().and_then(|at| args.get(at));
                let count = count.and_then(number::parse_i64).filter(|count| *count >= 0 && *count < argc);
                let count = count.ok_or(INVALID)?;
                let first = first + i64::from(behind);
                (first, first + (count - 1) * i64::from(step), step)
            }
            FindKeys::Unknown => return Ok(()),
        };
        if last >= argc {
            return Err(INVALID);
        }
        let mut at = first;
        while at <= last {
            found(at as usize);
            at += i64::from(step);
        }
        Ok(())
    }
}

fn find_keyword(args: Args<'_>, keyword: &str, from: i32) -> Option<i64> {
    let matches = |index: &i64| args.at(*index as usize).eq_ignore_ascii_case(keyword.as_bytes());
    let argc = args.len() as i64;
    if from >= 0 { (i64::from(from)..argc).find(matches) } else { (1..=argc + i64::from(from)).rev().find(matches) }
}
