//! The keyspace beside a plain map of boxed byte strings, with keys in random order: what a lookup, an overwrite and an
//! insertion cost in a table that fits in the cache and in one that does not. And how long a step of a snapshot takes.

use crimson::shard::snapshot::Encode;
use crimson::shard::{Database, Expiry, Shard, ShardId};
use crimson::stdx::random::Random;
use crimson::types::ValueRef;
use criterion::{
    BatchSize, Bencher, BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SIZES: [usize; 2] = [100_000, 2_000_000];

/// Insertions in one round, onto a table that has its keys already.
const INSERTIONS: usize = 10_000;

/// Keys of one step of a snapshot.
const STEP_KEYS: usize = 256;

type Map = HashMap<Box<[u8]>, Box<[u8]>, ahash::RandomState>;

fn key(prefix: &str, index: usize) -> Box<[u8]> {
    format!("{prefix}:{index:012}").into_bytes().into()
}

fn shuffled_keys(count: usize) -> Vec<Box<[u8]>> {
    let mut random = Random::new(1);
    let mut keys: Vec<_> = (0..count).map(|index| key("key", index)).collect();
    for index in (1..count).rev() {
        keys.swap(index, random.below(index + 1));
    }
    keys
}

/// Runs `work` on one key after the other, round and round.
fn each<T>(bencher: &mut Bencher<'_>, keys: &[Box<[u8]>], mut work: impl FnMut(&[u8]) -> T) {
    let mut next = keys.iter().cycle();
    bencher.iter(|| work(next.next().expect("it goes round")));
}

fn database(criterion: &mut Criterion) {
    for count in SIZES {
        let keys = shuffled_keys(count);
        let mut db = Database::new();
        keys.iter().for_each(|key| db.set_string(key, &[b'v'; 16], Expiry::Never));
        let mut group = criterion.benchmark_group(format!("database/{count}"));
        group.bench_function("get", |bencher| {
            each(bencher, &keys, |key| db.string(key).is_ok_and(|found| found.is_some()))
        });
        let missing: Vec<_> = (0..count).map(|index| key("mis", index)).collect();
        group.bench_function("get_missing", |bencher| each(bencher, &missing, |key| db.string(key).is_ok()));
        group.bench_function("overwrite", |bencher| {
            each(bencher, &keys, |key| db.set_string(key, &[b'w'; 16], Expiry::Never));
        });
        group.bench_function("overwrite_other_size", |bencher| {
            let mut long = false;
            each(bencher, &keys, |key| {
                long = !long;
                db.set_string(key, &[b'w'; 64][..if long { 64 } else { 16 }], Expiry::Never);
            });
        });
        group.bench_function("get_prefetched_8", |bencher| {
            let mut batches = keys.chunks_exact(8).cycle();
            bencher.iter(|| {
                let batch = batches.next().expect("it goes round");
                let mut hashes = [0; 8];
                for (hash, key) in hashes.iter_mut().zip(batch) {
                    *hash = db.prefetch(key);
                }
                hashes.into_iter().for_each(|hash| db.prefetch_record(hash));
                batch.iter().filter(|key| db.string(key).is_ok_and(|found| found.is_some())).count()
            });
        });
        insertions(&mut group, |round| {
            for index in 0..INSERTIONS {
                db.set_string(&key("new", round * INSERTIONS + index), &[b'v'; 16], Expiry::Never);
            }
        });
        group.finish();
    }
}

const ENCODE: Encode = Encode {
    whole: |key, value, _, bytes| {
        bytes.extend_from_slice(key);
        if let ValueRef::String(string) = value {
            bytes.extend_from_slice(string.bytes(&mut itoa::Buffer::new()));
        }
    },
    piece: |_, _, _| unreachable!("no value is large"),
};

/// Steps of one snapshot after the other; the longest is told.
fn snapshot(criterion: &mut Criterion) {
    for count in SIZES {
        let mut shard = Shard::new(ShardId(0), 1);
        shuffled_keys(count).iter().for_each(|key| shard.databases[0].set_string(key, &[b'v'; 16], Expiry::Never));
        let mut group = criterion.benchmark_group(format!("snapshot/{count}"));
        let mut longest = Duration::ZERO;
        group.bench_function(format!("step_{STEP_KEYS}"), |bencher| {
            bencher.iter(|| {
                if !shard.has_snapshot() {
                    shard.begin_snapshot(ENCODE);
                }
                let begun = Instant::now();
                shard.step_snapshot(STEP_KEYS, |_, bytes| bytes.clear());
                longest = longest.max(begun.elapsed());
            });
        });
        println!("the longest step: {longest:?}");
        group.finish();
    }
}

fn std_map(criterion: &mut Criterion) {
    for count in SIZES {
        let keys = shuffled_keys(count);
        let mut map = Map::default();
        keys.iter().for_each(|key| drop(map.insert(key.clone(), [b'v'; 16].into())));
        let mut group = criterion.benchmark_group(format!("std_map/{count}"));
        group
            .bench_function("get", |bencher| each(bencher, &keys, |key| map.get(key).map(|value| black_box(value[0]))));
        let missing: Vec<_> = (0..count).map(|index| key("mis", index)).collect();
        group.bench_function("get_missing", |bencher| each(bencher, &missing, |key| map.contains_key(key)));
        group.bench_function("overwrite", |bencher| {
            each(bencher, &keys, |key| map.get_mut(key).map(|value| value.fill(b'w')));
        });
        group.bench_function("overwrite_other_size", |bencher| {
            let mut long = false;
            each(bencher, &keys, |key| {
                long = !long;
                map.get_mut(key).map(|value| *value = [b'w'; 64][..if long { 64 } else { 16 }].into())
            });
        });
        insertions(&mut group, |round| {
            for index in 0..INSERTIONS {
                map.insert(key("new", round * INSERTIONS + index), [b'v'; 16].into());
            }
        });
        group.finish();
    }
}

/// [`INSERTIONS`] at a time, so that growth is in the measurement.
fn insertions(group: &mut BenchmarkGroup<'_, WallTime>, mut insert: impl FnMut(usize)) {
    let mut rounds = 0;
    group.sample_size(10);
    group.bench_function(format!("insert_{INSERTIONS}"), |bencher| {
        bencher.iter_batched(
            || {
                rounds += 1;
                rounds
            },
            &mut insert,
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, database, snapshot, std_map);
criterion_main!(benches);
