//! Least recently and frequently used: a key's weight doubles with the uses it has had and halves with the time since the
//! last one, and the lightest key goes.
//!
//! ```text
//! 23       18 17                0
//! [ weight   | time of last use  ]
//! ```
//!
//! - The **weight** is a logarithm, in 1/32 of a doubling. It ends at nearly 4 uses: a key that was hot and is dead must not
//!   stay for long, and what is used more often than that is used again in time.
//! - The **time** is counted in uses, 1/256 of as many uses as there are keys: it stands still when nothing happens, and means
//!   the same in a small cache as in a large one.
//! - The **half-life** decides between recency and frequency: a short one makes this LRU, a long one LFU. Which is better
//!   depends on the load, so it is found out: some of the victims are chosen with a half-life three times as short or as long,
//!   in equal numbers ([`Trial`]), and remembered as such. Each that is wanted again moves the half-life away from what
//!   chose it, the less the longer that took. It only says what weights are worth against time when keys are compared;
//!   from one use to the next they never fade faster than in [`FADING_LOG_MIN`], or little would be left to compare.
//! - **Ghosts** remember the weights of as many keys as there are that were evicted, so that one that returns does not begin
//!   anew. They are where trials are judged, too.

use super::ghosts::{Ghost, Ghosts, Trial};
use super::pool::{Candidate, Pool};
use crate::stdx::random::Random;
use std::sync::LazyLock;

/// Steps of the weight for a doubling.
const STEPS: u32 = 32;
const WEIGHT_MAX: u32 = 63;
const TIME_BITS: u32 = 18;
const TIME_MASK: u32 = (1 << TIME_BITS) - 1;

/// Ticks in as many uses as there are keys.
const TICKS_PER_ROUND: u32 = 256;

/// The logarithm of the half-life in ticks: from an eighth of a round, where hardly anything counts but the last use, to 32
/// rounds. As weights end at nearly 4 uses, longer ones choose no better, and it is a long way back from them.
const HALF_LIFE_LOG: std::ops::RangeInclusive<f32> = 5.0..=13.0;
/// 16 rounds: a good one where loads do not change, and not far from those that are good where they do.
const HALF_LIFE_LOG_INITIAL: f32 = 12.0;
/// The least logarithm of the half-life by which weights fade from use to use: 11 rounds.
const FADING_LOG_MIN: f32 = 11.5;

/// One in so many victims is a trial.
const TRIAL_EVERY: usize = 4;
/// How much shorter or longer the half-life is in a trial.
const TRIAL_FACTOR: u32 = 3;
/// How far a judged trial moves the half-life's logarithm, divided by the number of keys, and at most.
const JUDGEMENT: f32 = 384.0;
const JUDGEMENT_MAX: f32 = 0.25;
/// How much less a trial counts for each round until the key is wanted again, as a power of two.
const JUDGEMENT_FADES: f32 = -0.04;

/// Weights below this, in steps, are as good as none.
const FAINT: i32 = -256;

/// The weight after one more use, in 1/256 of a step, by the weight before it from [`FAINT`] on.
static ONE_MORE: LazyLock<Box<[u16]>> = LazyLock::new(|| {
    let steps = f64::from(STEPS);
    let after = |before: i32| ((f64::from(before) / steps).exp2() + 1.0).log2() * steps;
    (FAINT..=WEIGHT_MAX as i32).map(|before| (after(before).min(f64::from(WEIGHT_MAX)) * 256.0) as u16).collect()
});

/// The clock, the half-life and the ghosts.
#[derive(Clone, Debug)]
pub(super) struct Lrfu {
    /// How many keys there are.
    keys: u32,
    /// What is there of the next tick, in parts of as many as there are keys.
    part: u32,
    /// Modulo 2^18.
    time: u32,
    half_life_log: f32,
    /// In ticks.
    half_life: u32,
    /// How many steps a weight loses in a tick.
    fading: f32,
    ghosts: Ghosts,
    /// Why the latest victim was chosen.
    trial: Option<Trial>,
    one_more: &'static [u16],
}

impl Lrfu {
    pub(super) fn new() -> Self {
        let mut new = Self {
            keys: 1,
            part: 0,
            time: 0,
            half_life_log: 0.0,
            half_life: 0,
            fading: 0.0,
            ghosts: Ghosts::default(),
            trial: None,
            one_more: &ONE_MORE,
        };
        new.set_half_life(HALF_LIFE_LOG_INITIAL);
        new
    }

    #[inline]
    pub(super) fn set_keys(&mut self, keys: usize) {
        self.keys = keys.clamp(1, u32::MAX as usize / 2) as u32;
    }

    fn set_half_life(&mut self, log: f32) {
        self.half_life_log = log.clamp(*HALF_LIFE_LOG.start(), *HALF_LIFE_LOG.end());
        self.half_life = self.half_life_log.exp2() as u32;
        self.fading = STEPS as f32 / self.half_life_log.max(FADING_LOG_MIN).exp2();
    }

    #[inline]
    fn pass_time(&mut self) {
        self.part += TICKS_PER_ROUND;
        if self.part >= self.keys {
            self.time = (self.time + self.part / self.keys) & TIME_MASK;
            self.part %= self.keys;
        }
    }

    /// Ticks since `time`.
    #[inline]
    fn age(&self, time: u32) -> u32 {
        self.time.wrapping_sub(time) & TIME_MASK
    }

    /// The weight after one more use, of a key with this weight at `time`.
    #[inline]
    fn one_more(&self, weight: u32, time: u32, random: &mut Random) -> u32 {
        let now = weight as i32 - (self.age(time) as f32 * self.fading) as i32;
        let after = u32::from(self.one_more[(now.max(FAINT) - FAINT) as usize]);
        // What is less than a step counts on average.
        (after + (random.next_u64() >> 56) as u32) >> 8
    }

    #[inline]
    fn pack(&self, weight: u32) -> u32 {
        weight << TIME_BITS | self.time
    }

    #[inline]
    pub(super) fn fresh(&mut self, hash: u64, random: &mut Random) -> u32 {
        self.pass_time();
        let Some(ghost) = self.ghosts.take(hash) else { return self.pack(0) };
        let weight = self.one_more(ghost.weight, ghost.time, random);
        self.judge(ghost);
        self.pack(weight.min(WEIGHT_MAX))
    }

    #[inline]
    pub(super) fn used(&mut self, bits: u32, random: &mut Random) -> u32 {
        self.pass_time();
        let weight = self.one_more(bits >> TIME_BITS & WEIGHT_MAX, bits & TIME_MASK, random);
        self.pack(weight.min(WEIGHT_MAX))
    }

    /// Ticks since the last use, and so many more as the weight lacks half-lives.
    #[inline]
    fn rank_with(&self, bits: u32, half_life: u32) -> u64 {
        let lacking = WEIGHT_MAX - (bits >> TIME_BITS & WEIGHT_MAX);
        u64::from(self.age(bits)) + u64::from(lacking) * u64::from(half_life) / u64::from(STEPS)
    }

    #[inline]
    pub(super) fn rank(&self, bits: u32) -> u64 {
        self.rank_with(bits, self.half_life)
    }

    /// Learns from the return of a key that was a trial's victim.
    fn judge(&mut self, ghost: Ghost) {
        let Some(trial) = ghost.trial else { return };
        let rounds = self.age(ghost.time) as f32 / TICKS_PER_ROUND as f32;
        let step = (JUDGEMENT / self.keys as f32).min(JUDGEMENT_MAX) * (JUDGEMENT_FADES * rounds).exp2();
        match trial {
            Trial::Short => self.set_half_life(self.half_life_log + step),
            Trial::Long => self.set_half_life(self.half_life_log - step),
        }
    }

    /// Chooses the victim among the candidates.
    pub(super) fn choose<K: PartialEq>(&mut self, pool: &mut Pool<K>, random: &mut Random) -> Option<Candidate<K>> {
        self.trial = None;
        if random.below(TRIAL_EVERY) != 0 {
            return pool.take();
        }
        let with = |half_life| pool.place_of_max(|candidate| self.rank_with(candidate.bits, half_life));
        let short = with(self.half_life / TRIAL_FACTOR)?;
        let long = with(self.half_life * TRIAL_FACTOR)?;
        if short == long {
            return pool.take();
        }
        let (place, trial) = if random.below(2) == 0 { (short, Trial::Short) } else { (long, Trial::Long) };
        self.trial = Some(trial);
        Some(pool.take_at(place))
    }

    pub(super) fn evicted(&mut self, hash: u64, bits: u32) {
        self.ghosts.fit(self.keys as usize);
        let trial = self.trial.take();
        let ghost = Ghost { weight: bits >> TIME_BITS & WEIGHT_MAX, time: bits & TIME_MASK, trial };
        let (now, half_life) = (self.time, i64::from(self.half_life));
        self.ghosts.put(hash, ghost, |ghost| {
            let age = now.wrapping_sub(ghost.time) & TIME_MASK;
            i64::from(ghost.weight) * half_life / i64::from(STEPS) - i64::from(age)
        });
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.ghosts.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_life_flees_from_what_chose_badly_and_keeps_to_its_range() {
        let mut lrfu = Lrfu::new();
        lrfu.set_keys(10_000);
        let ghost = |trial| Ghost { weight: 0, time: 0, trial };
        lrfu.judge(ghost(None));
        assert_eq!(lrfu.half_life_log, HALF_LIFE_LOG_INITIAL);
        lrfu.judge(ghost(Some(Trial::Short)));
        assert!(lrfu.half_life_log > HALF_LIFE_LOG_INITIAL);
        for (trial, end) in [(Trial::Long, HALF_LIFE_LOG.start()), (Trial::Short, HALF_LIFE_LOG.end())] {
            (0..1000).for_each(|_| lrfu.judge(ghost(Some(trial))));
            assert_eq!(lrfu.half_life_log, *end);
        }
    }

    #[test]
    fn weights_outlast_a_short_half_life() {
        let mut random = Random::new(1);
        let mut after_a_round = |log| {
            let mut lrfu = Lrfu::new();
            lrfu.set_half_life(log);
            lrfu.time = TICKS_PER_ROUND;
            lrfu.one_more(WEIGHT_MAX, 0, &mut random)
        };
        assert_eq!(after_a_round(*HALF_LIFE_LOG.start()), after_a_round(FADING_LOG_MIN));
        assert!(after_a_round(*HALF_LIFE_LOG.start()) > WEIGHT_MAX - STEPS / 2);
    }
}
