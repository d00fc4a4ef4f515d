//! Makes a failing sequence short: leaves out commands, in ever smaller pieces, as long as it still fails.

use std::time::{Duration, Instant};

/// The shortest part of `items`, in order, found within `limit` for which `fails` holds. It holds for `items`.
pub fn shrink<T: Clone>(items: &[T], limit: Duration, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let deadline = Instant::now() + limit;
    let mut best = items.to_vec();
    let mut piece = best.len().div_ceil(2).max(1);
    loop {
        let mut start = 0;
        let mut dropped = false;
        while start < best.len() && Instant::now() < deadline {
            let end = (start + piece).min(best.len());
            let candidate = [&best[..start], &best[end..]].concat();
            if fails(&candidate) {
                best = candidate;
                dropped = true;
            } else {
                start = end;
            }
        }
        if Instant::now() >= deadline || (piece == 1 && !dropped) {
            return best;
        }
        piece = (piece / 2).max(1);
    }
}

#[test]
fn leaves_only_what_matters() {
    let items: Vec<u32> = (0..200).collect();
    let fails = |part: &[u32]| [17, 18, 130].iter().all(|needed| part.contains(needed));
    assert_eq!(shrink(&items, Duration::from_secs(5), fails), [17, 18, 130]);
}
