//! Exact algorithms, for comparison: they look at all keys, or keep them in lists, as a sampling server cannot.

use crimson::stdx::random::Random;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// What they are.
pub const NAMES: [&str; 4] = ["exact LRU", "S3-FIFO", "SIEVE", "W-TinyLFU"];

/// What fraction of a trace's requests finds its key, given how many different keys there are and how many fit.
type Run = fn(&[u32], usize, usize) -> f64;

/// The algorithms.
pub const RUN: [Run; 4] = [lru, s3_fifo, sieve, w_tiny_lfu];

/// The fraction of requests for which `request` says that they hit.
fn ratio(trace: &[u32], mut request: impl FnMut(usize, u32) -> bool) -> f64 {
    let hits = trace.iter().enumerate().filter(|&(time, &key)| request(time, key)).count();
    hits as f64 / trace.len() as f64
}

/// Keys by their last use.
#[derive(Default)]
struct ByUse(BTreeSet<(usize, u32)>);

impl ByUse {
    fn pop_oldest(&mut self) -> Option<u32> {
        self.0.pop_first().map(|(_, key)| key)
    }
}

fn lru(trace: &[u32], keys: usize, size: usize) -> f64 {
    let (mut order, mut used) = (ByUse::default(), vec![None; keys]);
    ratio(trace, |time, key| {
        let before = used[key as usize].replace(time);
        if let Some(before) = before {
            order.0.remove(&(before, key));
        } else if order.0.len() == size {
            let oldest = order.pop_oldest().expect("it is full");
            used[oldest as usize] = None;
        }
        order.0.insert((time, key));
        before.is_some()
    })
}

/// Two queues and a queue of ghosts: new keys wait in the small one, a tenth, and those used more than once there stay.
fn s3_fifo(trace: &[u32], keys: usize, size: usize) -> f64 {
    let small_size = (size / 10).max(1);
    let main_size = size - small_size;
    let (mut small, mut main, mut ghosts) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
    let (mut uses, mut present, mut haunted) = (vec![0u8; keys], vec![false; keys], HashMap::new());
    ratio(trace, |time, key| {
        let index = key as usize;
        if present[index] {
            uses[index] = (uses[index] + 1).min(3);
            return true;
        }
        while small.len() + main.len() >= size {
            let from_small = small.len() >= small_size || main.is_empty();
            let queue = if from_small { &mut small } else { &mut main };
            let victim: u32 = queue.pop_front().expect("one of them has keys");
            let count = &mut uses[victim as usize];
            if from_small && *count > 1 {
                *count = 0;
                main.push_back(victim);
            } else if !from_small && *count > 0 {
                *count -= 1;
                main.push_back(victim);
            } else {
                present[victim as usize] = false;
                if from_small {
                    ghosts.push_back((victim, time));
                    haunted.insert(victim, time);
                }
            }
            while ghosts.len() > main_size {
                let (ghost, since) = ghosts.pop_front().expect("there are some");
                if haunted.get(&ghost) == Some(&since) {
                    haunted.remove(&ghost);
                }
            }
        }
        let queue = if haunted.remove(&key).is_some() { &mut main } else { &mut small };
        queue.push_back(key);
        (uses[index], present[index]) = (0, true);
        false
    })
}

/// One queue and a hand that goes from old to new and takes the first key that was not used since it last came by.
fn sieve(trace: &[u32], keys: usize, size: usize) -> f64 {
    const NONE: u32 = u32::MAX;
    let (mut newer, mut older) = (vec![NONE; keys], vec![NONE; keys]);
    let (mut present, mut used) = (vec![false; keys], vec![false; keys]);
    let (mut newest, mut oldest, mut hand, mut len) = (NONE, NONE, NONE, 0);
    ratio(trace, |_, key| {
        let index = key as usize;
        if present[index] {
            used[index] = true;
            return true;
        }
        if len == size {
            let mut at = if hand == NONE { oldest } else { hand };
            while std::mem::take(&mut used[at as usize]) {
                at = if newer[at as usize] == NONE { oldest } else { newer[at as usize] };
            }
            let (before, after) = (older[at as usize], newer[at as usize]);
            hand = after;
            *(if before == NONE { &mut oldest } else { &mut newer[before as usize] }) = after;
            *(if after == NONE { &mut newest } else { &mut older[after as usize] }) = before;
            present[at as usize] = false;
            len -= 1;
        }
        (older[index], newer[index]) = (newest, NONE);
        *(if newest == NONE { &mut oldest } else { &mut newer[newest as usize] }) = key;
        newest = key;
        (present[index], used[index]) = (true, false);
        len += 1;
        false
    })
}

/// Counts of uses up to 15 in four rows, halved after ten times as many uses as there are keys in the cache.
struct Sketch {
    counts: Vec<u8>,
    added: usize,
    halve_at: usize,
}

impl Sketch {
    fn new(size: usize) -> Self {
        Self { counts: vec![0; (8 * size).next_power_of_two()], added: 0, halve_at: 10 * size }
    }

    fn places(&self, key: u32) -> [usize; 4] {
        let mut random = Random::new(u64::from(key));
        [(); 4].map(|()| random.below(self.counts.len()))
    }

    fn count(&self, key: u32) -> u8 {
        self.places(key).map(|place| self.counts[place]).into_iter().min().unwrap_or(0)
    }

    fn add(&mut self, key: u32) {
        let (count, places) = (self.count(key), self.places(key));
        if count == 15 {
            return;
        }
        places.into_iter().for_each(|place| self.counts[place] = self.counts[place].max(count + 1));
        self.added += 1;
        if self.added == self.halve_at {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.added /= 2;
        }
    }
}

/// A window of a hundredth, LRU; what falls out of it must have been used more often than what it replaces in the rest,
/// which is a probation segment and a protected one of four fifths.
fn w_tiny_lfu(trace: &[u32], keys: usize, size: usize) -> f64 {
    const WINDOW: usize = 0;
    const PROBATION: usize = 1;
    const PROTECTED: usize = 2;
    let window_size = (size / 100).max(1);
    let protected_size = (size - window_size) * 4 / 5;
    let mut segments: [ByUse; 3] = Default::default();
    let mut segment_of: Vec<Option<usize>> = vec![None; keys];
    let (mut used, mut sketch) = (vec![0; keys], Sketch::new(size));
    ratio(trace, |time, key| {
        sketch.add(key);
        let index = key as usize;
        let before = std::mem::replace(&mut used[index], time);
        if let Some(segment) = segment_of[index] {
            segments[segment].0.remove(&(before, key));
            let segment = if segment == WINDOW { WINDOW } else { PROTECTED };
            segments[segment].0.insert((time, key));
            segment_of[index] = Some(segment);
            if segments[PROTECTED].0.len() > protected_size {
                let demoted = segments[PROTECTED].pop_oldest().expect("it has keys");
                segments[PROBATION].0.insert((used[demoted as usize], demoted));
                segment_of[demoted as usize] = Some(PROBATION);
            }
            return true;
        }
        segments[WINDOW].0.insert((time, key));
        segment_of[index] = Some(WINDOW);
        if segments[WINDOW].0.len() > window_size {
            let candidate = segments[WINDOW].pop_oldest().expect("it has keys");
            let rest = segments[PROBATION].0.len() + segments[PROTECTED].0.len();
            let from = if segments[PROBATION].0.is_empty() { PROTECTED } else { PROBATION };
            let victim = segments[from].0.first().map(|&(_, victim)| victim);
            let admitted = match victim {
                Some(victim) if rest + window_size >= size => {
                    let admitted = sketch.count(candidate) > sketch.count(victim);
                    if admitted {
                        segments[from].pop_oldest();
                        segment_of[victim as usize] = None;
                    }
                    admitted
                }
                _ => rest + window_size < size,
            };
            segment_of[candidate as usize] = admitted.then_some(PROBATION);
            if admitted {
                segments[PROBATION].0.insert((used[candidate as usize], candidate));
            }
        }
        false
    })
}
