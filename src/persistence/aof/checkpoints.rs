//! Where the batches of a file end that none behind them calls durable yet, so that a reader at the end of the file knows
//! from where on it may be in memory alone. There are a bounded number of such places: where there would be more, every
//! second one goes, and what is told then is too early, never too late.

use crate::limits::AOF_CHECKPOINTS_MAX;
use std::collections::VecDeque;

/// The end of a batch in its file; at the start of the file there is none before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The number of the batch.
    pub sequence: u64,
    /// Where the next one begins.
    pub offset: u64,
}

/// The places.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// The last one that is known to be durable.
    durable: Place,
    /// Those behind it, in order.
    doubtful: VecDeque<Place>,
    /// From one place to the next there are so many batches at least.
    stride: u64,
}

impl Checkpoints {
    /// Of a file that is durable up to `start`.
    pub(super) fn new(start: Place) -> Self {
        Self { durable: start, doubtful: VecDeque::new(), stride: 1 }
    }

    /// A good batch ends at `place`, and says that the batch with the number `synced` is durable.
    pub(super) fn note(&mut self, place: Place, synced: u64) {
        while let Some(first) = self.doubtful.front().filter(|first| first.sequence <= synced) {
            self.durable = *first;
            self.doubtful.pop_front();
        }
        let last = match self.doubtful.back() {
            Some(last) => *last,
            None => {
                self.stride = 1;
                self.durable
            }
        };
        if place.sequence - last.sequence >= self.stride {
            self.doubtful.push_back(place);
        }
        if self.doubtful.len() > AOF_CHECKPOINTS_MAX {
            let mut keeps = false;
            self.doubtful.retain(|_| {
                keeps = !keeps;
                keeps
            });
            self.stride *= 2;
        }
    }

    /// The last place of which it is known that all in front of it is durable.
    pub(super) fn durable(&self) -> Place {
        self.durable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH_BYTES: u64 = 10;

    fn place(sequence: u64) -> Place {
        Place { sequence, offset: sequence * BATCH_BYTES }
    }

    /// What is told to be durable after `count` batches, each of which says that of the batch so many before it.
    fn durable(count: u64, behind: u64) -> Place {
        let mut checkpoints = Checkpoints::new(Place::default());
        for sequence in 1..=count {
            checkpoints.note(place(sequence), sequence.saturating_sub(behind));
            assert!(checkpoints.doubtful.len() <= AOF_CHECKPOINTS_MAX);
        }
        checkpoints.durable()
    }

    #[test]
    fn few_batches_are_all_known() {
        assert_eq!(durable(0, 1), place(0));
        for behind in 1..AOF_CHECKPOINTS_MAX as u64 {
            assert_eq!(durable(3000, behind), place(3000 - behind), "{behind} behind");
        }
    }

    #[test]
    fn of_many_none_is_told_too_late_and_none_much_too_early() {
        for behind in [1024, 1025, 3000, 10_000, 50_000] {
            for count in [60_000, 61_234] {
                let (told, right) = (durable(count, behind), count - behind);
                assert_eq!(told, place(told.sequence));
                let stride = behind / (AOF_CHECKPOINTS_MAX as u64 / 4);
                assert!((right - stride..=right).contains(&told.sequence), "{told:?} of {right}, {behind} behind");
            }
        }
    }

    #[test]
    fn what_nobody_calls_durable_begins_at_the_start() {
        let mut checkpoints = Checkpoints::new(place(7));
        (8..100_000).for_each(|sequence| checkpoints.note(place(sequence), 0));
        assert_eq!(checkpoints.durable(), place(7));
        // A mark tells of all.
        checkpoints.note(place(100_000), 99_999);
        assert!(checkpoints.durable().sequence > 99_000);
    }
}
