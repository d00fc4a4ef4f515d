//! The log of commands that took long, one for all cores. Entries are rare, so that they stand behind a lock; whoever adds
//! one has measured the command anyway.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most arguments that an entry shows, as Redis.
const ARGUMENTS_MAX: usize = 32;

/// Most bytes of an argument that an entry shows, as Redis.
const ARGUMENT_BYTES_MAX: usize = 128;

/// A command that took long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlowCommand {
    /// Its number, ascending and never given twice; the log gives it.
    pub id: u64,
    /// When it ended, in seconds since the epoch.
    pub at_seconds: i64,
    /// How long it held up its core.
    pub microseconds: u64,
    /// The command and its arguments, as [`shown`].
    pub arguments: Vec<Vec<u8>>,
    /// The client's address.
    pub address: String,
    /// The client's name.
    pub name: Vec<u8>,
}

/// The log.
#[derive(Debug, Default)]
pub struct SlowLog(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next_id: u64,
    /// The latest first.
    commands: VecDeque<Arc<SlowCommand>>,
}

impl SlowLog {
    /// Adds a command. All these calls are told how many the log may hold at most: a directive.
    pub fn push(&self, mut command: SlowCommand, len_max: u64) {
        let mut inner = self.trimmed(len_max);
        command.id = inner.next_id;
        inner.next_id += 1;
        inner.commands.push_front(Arc::new(command));
        inner.trim(len_max);
    }

    /// The latest `count` commands, the latest first.
    pub fn latest(&self, count: usize, len_max: u64) -> Vec<Arc<SlowCommand>> {
        self.trimmed(len_max).commands.iter().take(count).cloned().collect()
    }

    /// How many there are.
    pub fn len(&self, len_max: u64) -> usize {
        self.trimmed(len_max).commands.len()
    }

    /// Forgets all of them, but not their numbers.
    pub fn reset(&self) {
        drop(self.trimmed(0));
    }

    fn trimmed(&self, len_max: u64) -> MutexGuard<'_, Inner> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.trim(len_max);
        inner
    }
}

impl Inner {
    fn trim(&mut self, len_max: u64) {
        self.commands.truncate(usize::try_from(len_max).unwrap_or(usize::MAX));
    }
}

/// Arguments as an entry shows them: not too many, and none too long.
pub fn shown<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let count = arguments.len();
    let whole = if count > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { count };
    let mut shown: Vec<Vec<u8>> = arguments.take(whole).map(shortened).collect();
    if count > whole {
        shown.push(format!("... ({} more arguments)", count - whole).into_bytes());
    }
    shown
}

fn shortened(argument: &[u8]) -> Vec<u8> {
    match argument.split_at_checked(ARGUMENT_BYTES_MAX) {
        Some((start, rest)) if !rest.is_empty() => {
            [start, format!("... ({} more bytes)", rest.len()).as_bytes()].concat()
        }
        _ => argument.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(log: &SlowLog, count: usize, len_max: u64) -> Vec<u64> {
        log.latest(count, len_max).iter().map(|command| command.id).collect()
    }

    #[test]
    fn the_latest_stand_first_and_the_oldest_go() {
        let log = SlowLog::default();
        (0..5).for_each(|_| log.push(SlowCommand::default(), 3));
        assert_eq!((ids(&log, 10, 3), ids(&log, 1, 3), log.len(3)), (vec![4, 3, 2], vec![4], 3));
        assert_eq!((log.len(2), log.len(9)), (2, 2), "a lower bound holds at once");
        log.reset();
        log.push(SlowCommand::default(), 3);
        assert_eq!(ids(&log, 10, 3), [5], "numbers go on");
        log.push(SlowCommand::default(), 0);
        assert_eq!(log.len(9), 0);
    }

    #[test]
    fn arguments_are_cut() {
        let words = vec![&b"w"[..]; 100];
        for (count, len, last) in
            [(31, 31, "w"), (32, 32, "w"), (33, 32, "... (2 more arguments)"), (100, 32, "... (69 more arguments)")]
        {
            let shown = shown(words[..count].iter().copied());
            assert_eq!((shown.len(), &shown[len - 1][..]), (len, last.as_bytes()));
        }
        let long = [b'x'; 500];
        let one = |len: usize| shown([&long[..len]].into_iter()).remove(0);
        assert_eq!(one(128), long[..128]);
        assert_eq!(one(129), [&long[..128], b"... (1 more bytes)"].concat());
        assert_eq!(one(500).len(), 128 + "... (372 more bytes)".len());
    }
}
