//! Containers that the data types are made of. They know bytes and numbers, nothing of commands or replies.

pub mod intset;
pub mod listpack;
pub mod quicklist;
pub mod record;
pub mod records;
pub mod slab;
mod table;

pub use records::{ByteTable, Expiry, NewBody, RecordTable, Written};
pub use slab::{Heap, Slab};

/// The sum of `count` sizes, judged by the first `samples` of them.
fn sampled(count: usize, samples: usize, sizes: impl Iterator<Item = usize>) -> usize {
    let (mut taken, mut sum) = (0, 0);
    for size in sizes.take(samples) {
        taken += 1;
        sum += size;
    }
    // An estimate as Redis makes it, exact when all are looked at.
    if taken < count && taken > 0 { (sum as f64 / taken as f64 * count as f64) as usize } else { sum }
}

#[test]
fn sums_are_estimated_from_samples() {
    let sizes = [10, 20, 60];
    assert_eq!([0, 1, 2, 3, 9].map(|samples| sampled(3, samples, sizes.into_iter())), [0, 30, 45, 90, 90]);
}
