//! What one shard's log says of another's: its `#DURABLE` lines name batches of other files that were on disk when it was
//! written. A file that ends before such a batch has lost it, or is another one than it was, which the file itself may
//! not show: it is empty, or older. The manifest says the same of what was there at an orderly end.

use super::batch::SegmentId;
use super::manifest::{Entry, Manifest};
use super::{Kind, Missing};
use std::collections::BTreeMap;
use std::fmt;

/// What the files of all shards say, and how they end.
#[derive(Debug, Default)]
pub struct Durability {
    /// By file that has been read, its last good batch.
    ends: BTreeMap<SegmentId, u64>,
    /// By file, the last batch that is called durable, and the name of the file that says so.
    vouched: BTreeMap<SegmentId, (u64, String)>,
}

/// A file without what another one calls durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The file.
    pub segment: SegmentId,
    /// Its name; none where the manifest does not list it.
    pub name: Option<String>,
    /// Its last good batch.
    pub last: u64,
    /// The batch that was durable.
    pub durable: u64,
    /// The name of the file that says so.
    pub by: String,
}

/// Who says what the manifest says.
const MANIFEST: &str = "the manifest";

impl Durability {
    /// What the manifest says; no file has been read yet.
    pub fn of(manifest: &Manifest) -> Self {
        let told = |(segment, sequence): (&SegmentId, &u64)| (*segment, (*sequence, MANIFEST.to_string()));
        Self { ends: BTreeMap::new(), vouched: manifest.durable.iter().map(told).collect() }
    }

    /// By increment that has been read, its last good batch.
    pub fn ends(&self) -> BTreeMap<SegmentId, u64> {
        let increments = self.ends.iter().filter(|(segment, last)| segment.kind == Kind::Increment && **last > 0);
        increments.map(|(segment, last)| (*segment, *last)).collect()
    }

    /// The last batch of a file that another one or the manifest calls durable; 0: none.
    pub fn called_durable(&self, segment: SegmentId) -> u64 {
        self.vouched.get(&segment).map_or(0, |(sequence, _)| *sequence)
    }

    /// A file has been read up to its good batch `last`; it calls these batches of others durable.
    pub fn note(&mut self, entry: &Entry, last: u64, vouched: &BTreeMap<SegmentId, u64>) {
        self.ends.insert(entry.segment, last);
        for (segment, &sequence) in vouched {
            let known = self.vouched.entry(*segment).or_insert_with(|| (0, String::new()));
            if sequence > known.0 {
                *known = (sequence, entry.name.clone());
            }
        }
    }

    /// Adds what another one has been told.
    pub fn append(&mut self, other: Self) {
        self.ends.extend(other.ends);
        for (segment, told) in other.vouched {
            let known = self.vouched.entry(segment).or_default();
            if told.0 > known.0 {
                *known = told;
            }
        }
    }

    /// What files of the log lack. Files older than its oldest generation are no part of it any more.
    pub fn lost(&self, manifest: &Manifest) -> Vec<Lost> {
        let oldest = manifest.files.iter().map(|entry| entry.segment.generation).min().unwrap_or(0);
        let lack = |(segment, (durable, by)): (&SegmentId, &(u64, String))| {
            let last = self.ends.get(segment).copied().unwrap_or(0);
            let known = manifest.lost.get(segment).copied().unwrap_or(0);
            let name = manifest.files.iter().find(|entry| entry.segment == *segment).map(|entry| entry.name.clone());
            let lost = Lost { segment: *segment, name, last, durable: *durable, by: by.clone() };
            (segment.generation >= oldest && *durable > last.max(known)).then_some(lost)
        };
        self.vouched.iter().filter_map(lack).collect()
    }

    /// The last batch of a file that anybody knows of.
    pub fn last_known(&self, segment: SegmentId) -> u64 {
        self.called_durable(segment).max(self.ends.get(&segment).copied().unwrap_or(0))
    }

    /// Where transactions are missing that a torn end cannot have taken: in a file behind which the shard's log goes on,
    /// for nothing is written into the next one before all of a file is on disk. Each with the file that lacks it.
    pub fn proven(&self, manifest: &Manifest, missing: &[Missing]) -> Vec<(SegmentId, u64)> {
        let place = |missing: &Missing, shard| {
            let (log, generation, kind) = (manifest.log, missing.generation, Kind::Increment);
            (SegmentId { log, generation, shard, kind }, missing.stamp)
        };
        let all = missing.iter().flat_map(|missing| missing.lack.iter().map(move |shard| place(missing, *shard)));
        let known = |segment: &SegmentId| manifest.lost.contains_key(segment);
        all.filter(|(segment, _)| self.goes_on_behind(*segment) && !known(segment)).collect()
    }

    /// Whether a newer file of the same shard has anything in it.
    fn goes_on_behind(&self, file: SegmentId) -> bool {
        let newer = |other: &SegmentId| {
            other.shard == file.shard && other.kind == Kind::Increment && other.generation > file.generation
        };
        self.ends.iter().any(|(other, &last)| newer(other) && last > 0)
    }
}

/// What to tell of such a transaction.
pub fn told((segment, stamp): &(SegmentId, u64)) -> String {
    format!(
        "the transaction with stamp {stamp} is missing in the {} of shard {} in generation {}, though that shard's log goes \
         on in a newer file",
        segment.kind.word(),
        segment.shard,
        segment.generation
    )
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, name, last, durable, by } = self;
        let (kind, shard, generation) = (segment.kind.word(), segment.shard, segment.generation);
        match name {
            None => write!(
                f,
                "the manifest does not list the {kind} of shard {shard} in generation {generation}, of which {by} says that \
                 batch {durable} was on disk"
            ),
            Some(name) => write!(
                f,
                "{name} ends with batch {last}, but {by} says that batch {durable} of it was on disk: {} lost",
                batches(last + 1, *durable)
            ),
        }
    }
}

fn batches(first: u64, last: u64) -> String {
    if first == last { format!("batch {first} is") } else { format!("batches {first} to {last} are") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::aof::LogId;

    fn entry(generation: u64, shard: u16) -> Entry {
        let segment = SegmentId { log: LogId(7), generation, shard, kind: Kind::Increment };
        Entry { name: Manifest::segment_name("a", segment), segment, bytes: None }
    }

    #[test]
    fn a_file_that_ends_before_what_another_calls_durable_has_lost_it() {
        let mut manifest = Manifest::new(LogId(7), 2);
        manifest.files = (0..2).map(|shard| entry(3, shard)).collect();
        let says = |of: &Entry, sequence| BTreeMap::from([(of.segment, sequence)]);
        let lost = |ends: [u64; 2], vouched: BTreeMap<SegmentId, u64>, manifest: &Manifest| {
            let (mut all, mut first) = (Durability::default(), Durability::default());
            first.note(&manifest.files[0], ends[0], &BTreeMap::new());
            all.note(&manifest.files[1], ends[1], &vouched);
            all.append(first);
            all.lost(manifest).iter().map(Lost::to_string).collect::<Vec<_>>()
        };
        assert_eq!(lost([5, 9], says(&manifest.files[0], 5), &manifest), [""; 0]);
        assert_eq!(
            lost([5, 9], says(&manifest.files[0], 8), &manifest),
            [
                "a.3.0.incr.aof ends with batch 5, but a.3.1.incr.aof says that batch 8 of it was on disk: batches 6 to 8 are lost"
            ]
        );
        // An older generation is over; a newer one should be listed.
        assert_eq!(lost([5, 9], says(&entry(2, 0), 8), &manifest), [""; 0]);
        assert_eq!(
            lost([5, 9], says(&entry(4, 0), 8), &manifest),
            [
                "the manifest does not list the incr of shard 0 in generation 4, of which a.3.1.incr.aof says that batch 8 was on \
              disk"
            ]
        );
        // What the manifest says counts like what another file does.
        let mut noted = manifest.clone();
        noted.durable.insert(noted.files[0].segment, 6);
        let mut told = Durability::of(&noted);
        told.note(&noted.files[0], 6, &BTreeMap::new());
        assert_eq!(told.lost(&noted), []);
        told.note(&noted.files[0], 5, &BTreeMap::new());
        let lines = told.lost(&noted).iter().map(Lost::to_string).collect::<Vec<_>>();
        let expected =
            "a.3.0.incr.aof ends with batch 5, but the manifest says that batch 6 of it was on disk: batch 6 is lost";
        assert_eq!(lines, [expected]);
        let missing = |generation| Missing { stamp: 4, generation, has: 1, lack: vec![0] };
        let mut newer = Durability::default();
        newer.note(&entry(3, 0), 5, &BTreeMap::new());
        newer.note(&entry(4, 1), 1, &BTreeMap::new());
        assert_eq!(newer.proven(&manifest, &[missing(3)]), [], "its end may be torn off");
        newer.note(&entry(4, 0), 1, &BTreeMap::new());
        assert_eq!(newer.proven(&manifest, &[missing(3), missing(4)]), [(manifest.files[0].segment, 4)]);
        manifest.lost.insert(manifest.files[0].segment, 8);
        assert_eq!(newer.proven(&manifest, &[missing(3)]), []);
        assert_eq!(lost([5, 9], says(&manifest.files[0], 8), &manifest), [""; 0]);
        assert_eq!(lost([5, 9], says(&manifest.files[0], 9), &manifest).len(), 1, "that is not known");
    }
}
