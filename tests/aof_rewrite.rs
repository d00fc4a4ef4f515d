//! Rewrites of the log, and the start after them, on a simulated disk: the power fails at every moment, the manifest is
//! replaced, the directory is moved or deleted. What the log holds stays whole, and the next start never refuses it.

#[path = "support/disk.rs"]
mod disk;

use crimson::commands::Node;
use crimson::config::Config;
use crimson::limits::AOF_GENERATIONS_MAX;
use crimson::metrics::persistence::{BASE_DONE, BASE_FAILED};
use crimson::persistence::aof::pending::{Area, Head, Pending, WHOLE};
use crimson::persistence::aof::{Catalog, Kind, LogId, Manifest, Sealer, SegmentId};
use crimson::persistence::storage::Storage;
use crimson::server::aof;
use crimson::server::rewrite::{Means, Rewriter};
use disk::{Disk, OpenDir};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering::{Relaxed, Release};

const LOG: &str = "/data/appendonlydir";
const MANIFEST: &str = "/data/appendonlydir/appendonly.aof.manifest";
const SHARDS: u16 = 2;

/// A server whose cores do at once what they are asked to.
struct Server<'a> {
    log: OpenDir<'a>,
    node: Node,
    rewriter: Rewriter<OpenDir<'a>>,
    now: i64,
}

fn config(appendonly: bool) -> Config {
    Config { dir: "/data".into(), appendonly, ..Config::default() }
}

fn disk(seed: u64) -> Disk {
    let disk = Disk::new(seed);
    disk.create_dir(Path::new("/data")).and_then(|()| disk.sync_dir(Path::new("/"))).expect("nothing fails yet");
    disk
}

/// Finds the log and removes what is not needed, as a start does that goes on in the files that are there.
fn start(disk: &Disk, appendonly: bool) -> Result<Server<'_>, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let server = disk.open(Path::new("/data")).map_err(|error| said(&error))?;
    aof::make_dir(&server, "appendonlydir").map_err(|error| said(&error))?;
    let log = disk.open(Path::new(LOG)).map_err(|error| said(&error))?;
    let catalog = if appendonly {
        let (plan, mut catalog) = aof::prepare(&server, &log, &config(true), SHARDS).map_err(|error| said(&error))?;
        if plan.renews {
            aof::begin_generation(&mut catalog, &plan).map_err(|error| said(&error))?;
            for shard in 0..SHARDS {
                for kind in [Kind::Base, Kind::Increment] {
                    let name = name(plan.next_generation(), shard, kind);
                    let made = log.create(Path::new(&name)).and_then(|()| log.sync(Path::new(&name)));
                    made.map_err(|error| said(&error))?;
                }
            }
            aof::commit(&mut catalog, &plan, &[0; SHARDS as usize]).map_err(|error| said(&error))?;
        }
        aof::clean(&catalog, &plan);
        catalog
    } else {
        Catalog::load(log, "appendonly.aof", SHARDS)?
    };
    let node = Node::new(config(appendonly), usize::from(SHARDS), 0, "a".repeat(40), 0);
    node.persistence.on.store(appendonly, Relaxed);
    let open = |_: &OpenDir<'_>, _: &Path| Ok(std::fs::File::open("/dev/null")?.into());
    let rewriter = Rewriter::with(Means { open, find: |_, _, _| Ok(None) }, Some(catalog));
    Ok(Server { log, node, rewriter, now: 0 })
}

fn name(generation: u64, shard: u16, kind: Kind) -> String {
    Manifest::segment_name("appendonly.aof", SegmentId { log: LogId::NONE, generation, shard, kind })
}

impl Server<'_> {
    fn set_appendonly(&self, on: bool) {
        let set = |config: &mut Config| -> Result<(), ()> {
            config.appendonly = on;
            Ok(())
        };
        self.node.change_config(set).expect("it does not fail");
    }

    /// The control thread looks, and the cores do what it wants; whether there was anything.
    fn look(&mut self, bases_fail: bool) -> bool {
        self.now += 1;
        self.rewriter.look(&self.node, self.now, || {});
        let Some(cut) = self.node.take_cut() else { return false };
        for shard in (0..SHARDS).filter(|_| cut.snapshot) {
            let segment = SegmentId { log: cut.log, generation: cut.generation, shard, kind: Kind::Base };
            let (base, increment) =
                (name(cut.generation, shard, Kind::Base), name(cut.generation, shard, Kind::Increment));
            let mut batch = b"*1\r\n$4\r\nPING\r\n".to_vec();
            Sealer::new(segment).seal(&mut batch, 0, 0);
            let base = Path::new(&base);
            let written = self.log.write_at(base, 0, &batch).and_then(|()| self.log.sync(base));
            // Something that is logged.
            let increment = Path::new(&increment);
            let _ = self.log.append(increment, b"x").and_then(|()| self.log.sync(increment));
            let state = &self.node.persistence.shards[usize::from(shard)];
            state.base_bytes.set(batch.len() as u64);
            state.base.store(if written.is_ok() && !bases_fail { BASE_DONE } else { BASE_FAILED }, Release);
        }
        true
    }

    /// Asks for a rewrite; whether it has gone well.
    fn rewrite(&mut self, bases_fail: bool) -> bool {
        let before = self.node.persistence.rewrites.load(Relaxed);
        self.node.request_rewrite();
        self.look(bases_fail);
        self.look(bases_fail);
        self.node.persistence.rewrites.load(Relaxed) > before
    }
}

fn files(disk: &Disk, dir: &str) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list(Path::new(dir)).expect("it is there");
    names
        .into_iter()
        .filter(|name| !name.ends_with(".pending"))
        .map(|name| (name.clone(), disk.read(&Path::new(dir).join(&name), 1 << 20).expect("readable")))
        .collect()
}

/// All files that the manifest lists are there, whole.
fn assert_whole(disk: &Disk) {
    let files = files(disk, LOG);
    let Some(bytes) = files.get("appendonly.aof.manifest") else { return };
    for entry in Manifest::parse(bytes).expect("it is never torn").files {
        let file = files.get(&entry.name).unwrap_or_else(|| panic!("{} is missing", entry.name));
        assert!(entry.bytes.is_none_or(|bytes| bytes == file.len() as u64), "{}", entry.name);
    }
}

/// Files that no manifest listed were all that was there, and the next start refused them.
#[test]
fn the_power_may_fail_at_every_moment_of_rewrites_and_of_switching_the_log_on() {
    for logs_at_start in [true, false] {
        let mut at = 0;
        loop {
            let disk = disk(at);
            let mut server = start(&disk, logs_at_start).expect("nothing fails yet");
            disk.fail_power_after(at);
            server.set_appendonly(true);
            let switched = server.look(false);
            server.look(false);
            let rewritten = server.rewrite(false);
            let failing = server.rewrite(true);
            let last = server.rewrite(false);
            let all = last && rewritten && !failing && (switched || logs_at_start);
            let power = disk.list(Path::new("/")).is_err();
            disk.restart();
            disk.heal();
            if disk.list(Path::new(LOG)).is_ok() {
                assert_whole(&disk);
            }
            for _ in 0..2 {
                let mut server =
                    start(&disk, true).unwrap_or_else(|refused| panic!("after {at} operations: {refused}"));
                assert!(server.rewrite(false));
                assert_whole(&disk);
                assert_eq!(files(&disk, LOG).len(), 5, "two bases, two increments, the manifest");
            }
            if !power {
                assert!(all && at > 30, "{at} operations");
                break;
            }
            at += 1;
        }
    }
}

/// A write or sync fails, once, at every moment; nothing that a manifest may list goes.
#[test]
fn an_error_at_every_moment_of_a_rewrite_loses_no_file() {
    for at in 0..40 {
        for syncs in [false, true] {
            let disk = disk(at);
            let mut server = start(&disk, true).expect("nothing fails yet");
            if syncs {
                disk.fail_sync_after(at)
            } else {
                disk.fail_write_after(at)
            };
            for _ in 0..3 {
                server.rewrite(false);
                assert_whole(&disk);
            }
            disk.heal();
            assert!(server.rewrite(false));
            assert_whole(&disk);
            assert_eq!(files(&disk, LOG).len(), 5, "what the failed ones have left has gone, too");
            disk.restart();
            start(&disk, true).unwrap_or_else(|refused| panic!("{at}: {refused}"));
        }
    }
}

/// The rewrite believed the disk: it began at generation 1 again, and removed live files.
#[test]
fn a_manifest_that_is_replaced_makes_rewrites_fail_and_no_file_goes() {
    for replacement in 0..3 {
        let disk = disk(replacement);
        let mut server = start(&disk, true).expect("nothing fails");
        let first = files(&disk, LOG)["appendonly.aof.manifest"].clone();
        assert!(server.rewrite(false) && server.rewrite(false));
        let foreign = Manifest { begun: 9, ..Manifest::new(LogId(7), 7) }.to_bytes();
        let right = files(&disk, LOG)["appendonly.aof.manifest"].clone();
        let bytes = [None, Some(&first), Some(&foreign)][replacement as usize];
        // Before a rewrite begins, and when its bases are whole.
        for begun in [false, true] {
            if begun {
                server.node.request_rewrite();
                server.look(false);
            }
            disk.put(Path::new(MANIFEST), bytes.map(Vec::as_slice));
            let before = files(&disk, LOG);
            if begun {
                server.look(false);
                assert!(!server.node.persistence.last_rewrite_ok.load(Relaxed));
            } else {
                assert!(!server.rewrite(false));
            }
            assert_eq!(files(&disk, LOG), before, "replacement {replacement}, begun {begun}");
            if !begun {
                disk.put(Path::new(MANIFEST), Some(&right));
            }
        }
        // The files that the server knows are all there, so the right manifest makes it good again.
        let known = server.rewriter.catalog().manifest().to_bytes();
        disk.put(Path::new(MANIFEST), Some(&known));
        assert_whole(&disk);
        assert!(server.rewrite(false));
        assert_eq!(files(&disk, LOG).len(), 5);
        disk.restart();
        start(&disk, true).unwrap_or_else(|refused| panic!("{refused}"));
    }
}

#[test]
fn a_directory_that_is_moved_is_written_to_and_one_that_is_deleted_is_not_made() {
    let disk = disk(1);
    let mut server = start(&disk, true).expect("nothing fails");
    disk.move_dir(Path::new(LOG), Path::new("/data/moved"));
    assert!(server.rewrite(false) && server.rewrite(false));
    assert!(disk.list(Path::new(LOG)).is_err());
    assert_eq!(files(&disk, "/data/moved").len(), 5);
    // Another server has another log there.
    let mut other = start(&disk, true).expect("nothing fails");
    assert!(other.rewrite(false) && server.rewrite(false));
    assert_ne!(files(&disk, LOG), files(&disk, "/data/moved"));
    disk.remove_dir(Path::new("/data/moved"));
    let before = files(&disk, LOG);
    assert!(!server.rewrite(false));
    assert!(disk.list(Path::new("/data/moved")).is_err());
    assert_eq!(files(&disk, LOG), before);
}

/// Failed rewrites that are asked for again and again come to an end, and the manifest can be read whatever happens.
#[test]
fn rewrites_that_fail_are_refused_before_the_manifest_can_be_read_no_more() {
    let disk = disk(1);
    let mut server = start(&disk, true).expect("nothing fails");
    let listed =
        |disk: &Disk| Manifest::parse(&files(disk, LOG)["appendonly.aof.manifest"]).expect("readable").files.len();
    for failures in 1..AOF_GENERATIONS_MAX {
        assert!(!server.rewrite(true));
        if failures % 100 == 0 {
            assert_eq!(listed(&disk), (failures + 1) * usize::from(SHARDS));
        }
    }
    let before = files(&disk, LOG);
    assert!(!server.rewrite(false), "it would have gone well");
    assert_eq!(files(&disk, LOG), before);
    drop(server);
    disk.restart();
    let mut server = start(&disk, true).expect("it can be read");
    assert!(!server.rewrite(false));
    // Off and on again it is a log of one generation.
    server.set_appendonly(false);
    server.look(false);
    server.set_appendonly(true);
    server.now += 1_000_000;
    assert!(server.look(false));
    server.look(false);
    assert!(server.node.persistence.in_force.load(Relaxed));
    assert_eq!((files(&disk, LOG).len(), listed(&disk)), (5, 4));
}

/// A start ended between the rename of the manifest and the sync of its directory, or that failed. The next one found the
/// manifest and went on, the power failed, and files without a manifest were all that was there.
#[test]
fn names_that_a_start_has_left_in_memory_are_durable_behind_the_next() {
    for seed in 0..40 {
        for syncs in 0.. {
            let disk = disk(seed);
            disk.fail_sync_after(syncs);
            let failed = start(&disk, true).is_err();
            disk.heal();
            let server = start(&disk, true).expect("nothing fails any more");
            let increment = name(1, 0, Kind::Increment);
            let increment = Path::new(&increment);
            server.log.append(increment, b"x").and_then(|()| server.log.sync(increment)).expect("nothing fails");
            disk.restart();
            if let Err(refused) = start(&disk, true) {
                panic!("seed {seed}, after {syncs} syncs: {refused}");
            }
            assert_whole(&disk);
            if !failed {
                assert!(syncs > 4, "{syncs} syncs");
                break;
            }
        }
    }
}

struct Mapped(Disk);

const AREA: &str = "/data/appendonlydir/appendonly.aof.0.pending";

impl Area for Mapped {
    fn len(&self) -> usize {
        4096
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0.put_mapped(Path::new(AREA), at, bytes);
    }
}

/// A server whose log could not be written kept it in the pending area. The next start emptied that because the file had
/// the same, but only in memory, and the power failed before it had been written again.
#[test]
fn a_pending_area_is_kept_until_its_batches_are_durable() {
    for seed in 0..40 {
        let disk = disk(seed);
        drop(start(&disk, true).expect("nothing fails yet"));
        let manifest = Manifest::parse(&disk.read(Path::new(MANIFEST), 1 << 20).unwrap()).unwrap();
        let (area, segment) = (Path::new(AREA), manifest.files[0].segment);
        let increment = Path::new(LOG).join(&manifest.files[0].name);
        let mut batch = b"*1\r\n$4\r\nPING\r\n".to_vec();
        Sealer::new(segment).seal(&mut batch, 0, 0);
        disk.create(area).and_then(|()| disk.sync_dir(Path::new(LOG))).unwrap();
        let head = Head { segment, sequence: 1, offset: 0, before: WHOLE };
        Pending::new(Box::new(Mapped(disk.clone()))).put(head, &batch, (0, 1), 0);
        disk.append(&increment, &batch).unwrap();
        disk.fail_sync_after(0);
        assert!(disk.sync(&increment).is_err());
        disk.sync(area).unwrap();
        drop(start(&disk, true).expect("nothing fails any more"));
        disk.restart();
        drop(start(&disk, true).expect("the area has what the file lacks"));
        assert_eq!(disk.read(&increment, 4096).unwrap(), batch, "seed {seed}");
    }
}
