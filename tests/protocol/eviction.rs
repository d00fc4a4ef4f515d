//! The memory limit on the real binary: it holds, what goes is what the policy says, and refusals are Redis's.

use crate::support::{Client, Server, encode, wait_until};

const MIB: u64 = 1 << 20;

fn start(threads: usize, policy: &str) -> Server {
    Server::crimson(threads, &["--maxmemory-policy", policy])
}

/// A number in INFO.
fn info(server: &Server, field: &str) -> u64 {
    let text = server.client().run("INFO everything").text();
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in INFO")).parse().expect("a number")
}

/// Writes keys of about 1 KiB, `prefix:0` and on, pipelined.
fn fill(server: &Server, prefix: &str, keys: std::ops::Range<usize>) {
    let mut client = server.client();
    let value = vec![b'x'; 1000];
    let all: Vec<usize> = keys.collect();
    for some in all.chunks(100) {
        let set = |number| encode(&[&b"SET"[..], format!("{prefix}:{number}").as_bytes(), &value]);
        let pipeline: Vec<u8> = some.iter().flat_map(set).collect();
        client.try_send(&pipeline).expect("it is sent");
        some.iter().for_each(|_| drop(client.read()));
    }
}

/// By how much it may be exceeded for a moment: one percent, or what is written in a turn where that is more.
fn tolerance(limit: u64) -> u64 {
    (limit / 100).max(MIB)
}

/// Sets a limit so many bytes above what is held now.
fn limit(server: &Server, more: u64) -> u64 {
    let limit = info(server, "used_memory") + more;
    assert_eq!(server.client().show(&format!("CONFIG SET maxmemory {limit}")), "OK");
    limit
}

#[test]
fn the_limit_holds_on_one_core_and_on_several() {
    for threads in [1, 3] {
        let server = start(threads, "allkeys-lru");
        let limit = limit(&server, 40 * MIB);
        for round in 0..4 {
            fill(&server, "key", round * 30_000..(round + 1) * 30_000);
            let used = info(&server, "used_memory");
            assert!(used < limit + tolerance(limit), "{threads} threads: {used} of {limit}");
        }
        let left = || server.client().run("DBSIZE").integer() as u64;
        wait_until("all is counted", || info(&server, "evicted_keys") + left() == 120_000);
        let left = left();
        assert!(left > 25_000, "{threads} threads: only {left} keys are left");
    }
}

/// Keys in use stay while others are written once and go, under the policy that Redis lacks, too.
#[test]
fn keys_in_use_stay_under_lrfu() {
    for threads in [1, 3] {
        let server = start(threads, "allkeys-lrfu");
        fill(&server, "hot", 0..2000);
        let limit = limit(&server, 20 * MIB);
        let mut client = server.client();
        let uses: Vec<u8> = (0..2000).flat_map(|number| encode(&["GET", &format!("hot:{number}")])).collect();
        let mut hits = 0;
        for round in 0..12 {
            client.send(&uses);
            hits = (0..2000).filter(|_| !client.read().is_null()).count();
            fill(&server, "cold", round * 5000..(round + 1) * 5000);
        }
        let used = info(&server, "used_memory");
        assert!(used < limit + tolerance(limit), "{threads} threads: {used} of {limit}");
        assert!(hits > 1900, "{threads} threads: {hits} of 2000 keys in use are there");
        assert!(info(&server, "evicted_keys") > 30_000, "{threads} threads");
        assert!(client.run("OBJECT IDLETIME hot:1").is_error() && client.run("OBJECT FREQ hot:1").is_error());
    }
}

/// Neither pages that are free but still in memory when a limit has been lowered push keys out, nor those that other cores
/// have emptied and not given back yet.
#[test]
fn a_lower_limit_takes_no_more_than_it_must() {
    for threads in [1, 3, 4] {
        let server = start(threads, "allkeys-lru");
        fill(&server, "key", 0..150_000);
        let limit = info(&server, "used_memory") / 3;
        assert_eq!(server.client().show(&format!("CONFIG SET maxmemory {limit}")), "OK");
        wait_until("memory is given back", || info(&server, "used_memory") < limit + tolerance(limit));
        // Long enough for whatever is noticed late.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let used = info(&server, "used_memory");
        assert!(used > limit - limit / 10, "{threads} threads: {used} of {limit}");
    }
}

/// All is written to one shard, while the others hold old keys: those go.
#[test]
fn a_shard_that_gets_all_writes_does_not_keep_the_room_of_one() {
    let server = start(3, "allkeys-lru");
    fill(&server, "old", 0..30_000);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let limit = limit(&server, MIB);
    fill(&server, "{one}", 0..20_000);
    let used = info(&server, "used_memory");
    assert!(used < limit + tolerance(limit), "{used} of {limit}");
    let mut client = server.client();
    let new = client.run("DBSIZE").integer();
    let kept = (0..20_000).filter(|number| client.run(&format!("EXISTS {{one}}:{number}")).integer() == 1).count();
    assert!(kept > 18_000, "{kept} of 20000 new keys are there, among {new}");
}

#[test]
fn without_eviction_what_needs_memory_is_refused() {
    const OOM: &str = "(error) OOM command not allowed when used memory > 'maxmemory'.";
    for threads in [1, 3] {
        let server = start(threads, "noeviction");
        fill(&server, "key", 0..1000);
        let mut client = server.client();
        assert_eq!(client.show("CONFIG SET maxmemory 1mb"), "OK");
        for command in ["SET a 1", "MSET key:1 x key:2 y key:3 z", "LPUSH l x", "INCR n", "COPY key:1 b"] {
            assert_eq!(client.show(command), OOM, "{command}");
        }
        assert_eq!(client.show("GET a"), "(nil)");
        assert_eq!(client.show("STRLEN key:1"), "(integer) 1000");
        assert_eq!(client.show("EXPIRE key:1 100"), "(integer) 1");
        assert_eq!(client.show("DEL key:2 key:3"), "(integer) 2");
        client.run("MULTI");
        assert_eq!(client.show("GET a"), OOM);
        assert_eq!(client.show("EXEC"), "(error) EXECABORT Transaction discarded because of previous errors.");
        assert_eq!(info(&server, "evicted_keys"), 0);
        assert_eq!(client.show("CONFIG SET maxmemory 0"), "OK");
        assert_eq!(client.show("SET a 1"), "OK");
    }
}

#[test]
fn volatile_policies_take_keys_with_a_time_to_live_only() {
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        let server = start(2, policy);
        fill(&server, "stays", 0..5000);
        fill(&server, "goes", 0..5000);
        let mut client = server.client();
        for number in 0..5000 {
            client.run(&format!("EXPIRE goes:{number} {}", 1000 + number));
        }
        let before = info(&server, "used_memory");
        let limit = before - 2 * MIB;
        assert_eq!(client.show(&format!("CONFIG SET maxmemory {limit}")), "OK");
        wait_until("memory is given back", || info(&server, "used_memory") <= limit);
        let there = |client: &mut Client, prefix: &str, range: std::ops::Range<usize>| {
            range.filter(|number| client.run(&format!("EXISTS {prefix}:{number}")).integer() == 1).count()
        };
        assert_eq!(there(&mut client, "stays", 0..5000), 5000, "{policy}");
        let (soon, late) = (there(&mut client, "goes", 0..1000), there(&mut client, "goes", 4000..5000));
        assert!(soon + late < 2000, "{policy}: {} were evicted", info(&server, "evicted_keys"));
        if policy == "volatile-ttl" {
            assert!(soon < 700 && late > 900, "{policy}: {soon} that expire soon are left, {late} that expire late");
        }
    }
}

#[test]
fn evictions_are_told_and_logged() {
    let dir = std::env::temp_dir().join(format!("crimson-eviction-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory for the test");
    let dir_text = dir.to_str().expect("a path that is text").to_string();
    let serve = |more: &[&str]| Server::crimson(2, &[&["--appendonly", "yes", "--dir", &dir_text], more].concat());
    let mut server = serve(&["--maxmemory-policy", "allkeys-random", "--notify-keyspace-events", "Ee"]);
    wait_until("it is loaded", || server.client().show("PING") == "PONG");
    let mut listener = server.client();
    listener.run("SUBSCRIBE __keyevent@0__:evicted");
    limit(&server, 4 * MIB);
    fill(&server, "key", 0..8000);
    let told = listener.read().to_string();
    assert!(told.contains("__keyevent@0__:evicted") && told.contains("key:"), "{told}");
    assert_eq!(server.client().show("CONFIG SET maxmemory 0"), "OK");
    wait_until("nothing goes any more", || {
        info(&server, "evicted_keys") + server.client().run("DBSIZE").integer() as u64 == 8000
    });
    let left = server.client().run("DBSIZE").integer();
    assert!(left < 8000);
    server.stop(libc::SIGTERM);
    let server = serve(&[]);
    wait_until("it is loaded", || server.client().show("PING") == "PONG");
    assert_eq!(server.client().run("DBSIZE").integer(), left, "what was evicted does not come back");
    drop(server);
    // What cannot be removed lies in the temporary directory and harms nobody.
    let _ = std::fs::remove_dir_all(&dir);
}

/// Keys of one size give way to keys of another: pages of the first size are given back.
#[test]
fn memory_moves_from_one_size_to_another() {
    let server = start(1, "allkeys-random");
    let limit = limit(&server, 30 * MIB);
    let mut client = server.client();
    for len in [40, 200, 90, 700, 20] {
        let value = "v".repeat(len);
        for start in (0..400_000 / (len / 20)).step_by(200) {
            let set = |number| encode(&["SET", &format!("{len}:{number}"), &value]);
            let pipeline: Vec<u8> = (start..start + 200).flat_map(set).collect();
            client.try_send(&pipeline).expect("it is sent");
            (0..200).for_each(|_| drop(client.read()));
        }
        let used = info(&server, "used_memory");
        assert!(used < limit + tolerance(limit), "values of {len}: {used} of {limit}");
        let keys = server.client().run("DBSIZE").integer() as u64;
        assert!(keys * (len as u64 + 40) > 15 * MIB, "values of {len}: only {keys} keys are left");
    }
}

/// What the log holds until it is on disk, the evictions themselves included, makes no further key go.
#[test]
fn a_log_pushes_no_keys_out() {
    let server = start(2, "allkeys-lru");
    limit(&server, 40 * MIB);
    let mut client = server.client();
    assert_eq!(client.show("CONFIG SET appendonly yes"), "OK");
    for round in 0..3 {
        fill(&server, "key", round * 30_000..(round + 1) * 30_000);
        let left = client.run("DBSIZE").integer();
        assert!(left > 25_000, "only {left} keys are left");
    }
    assert_eq!(client.show("SET key:0 x"), "OK");
}
