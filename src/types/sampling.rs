//! Random choices among elements that pass by one after another.

use crate::stdx::random::Random;

/// Chooses `wanted` of the elements that pass by, every choice being equally likely.
pub(super) struct Selection {
    passing: usize,
    wanted: usize,
}

impl Selection {
    /// A choice of `wanted` of `passing` elements.
    pub fn new(passing: usize, wanted: usize) -> Self {
        Self { passing, wanted: wanted.min(passing) }
    }

    /// Whether no more elements are wanted.
    pub fn is_done(&self) -> bool {
        self.wanted == 0
    }

    /// Whether the next element is chosen. To be asked at most once for each element.
    #[inline]
    pub fn takes(&mut self, random: &mut Random) -> bool {
        let taken = random.below(self.passing) < self.wanted;
        self.passing -= 1;
        self.wanted -= usize::from(taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::Selection;
    use crate::stdx::random::Random;

    #[test]
    fn takes_as_many_as_wanted_and_each_equally_often() {
        let mut random = Random::new(3);
        let mut hits = [0; 10];
        for _ in 0..20_000 {
            let mut selection = Selection::new(hits.len(), 3);
            let taken: Vec<_> = (0..hits.len()).filter(|_| selection.takes(&mut random)).collect();
            assert_eq!(taken.len(), 3);
            assert!(selection.is_done());
            taken.iter().for_each(|&at| hits[at] += 1);
        }
        assert!(hits.iter().all(|count| (5700..6300).contains(count)), "{hits:?}");
        let mut all = Selection::new(2, 7);
        assert!(all.takes(&mut random) && all.takes(&mut random) && all.is_done());
    }
}
