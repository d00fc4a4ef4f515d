//! Logs that `redis-server` has written.

use crate::logs::{Dir, FILENAME, contents};
use crate::support::{Client, Server};
use std::fs;
use std::path::Path;

/// Has `redis-server` write a log with a base and an increment into `dir`; what it holds.
fn write_with_redis(dir: &Path, preamble: &str) -> String {
    let arguments = ["--save", "", "--appendonly", "yes", "--aof-use-rdb-preamble", preamble, "--dir"];
    let path = dir.to_str().expect("a path that is text");
    let mut server = Server::start("redis-server", "redis-server", &[&arguments[..], &[path]].concat());
    let mut client = server.client();
    fill(&mut client, "base");
    client.run("BGREWRITEAOF");
    crate::support::wait_until("the base is written", || {
        let info = client.show("INFO persistence");
        info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrites:1")
    });
    fill(&mut client, "incr");
    client.run("SPOP incr:set");
    for line in ["MULTI", "INCR counter", "RPUSH queue a b", "EXEC", "GETEX incr:1 PXAT 4102444800000"] {
        client.run(line);
    }
    let held = contents(&mut client);
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    held
}

fn fill(client: &mut Client, prefix: &str) {
    for number in 0..100 {
        client.run(&format!("SET {prefix}:{number} {number}"));
        client.run(&format!("RPUSH {prefix}:list {number}"));
        client.run(&format!("SADD {prefix}:set {number} x{number}"));
    }
    client.run("SELECT 2");
    client.run(&format!("HSET {prefix}:hash f 1 g 2"));
    client.run(&format!("EXPIRE {prefix}:hash 100000"));
    client.run("SELECT 0");
}

#[test]
fn a_directory_of_redis_is_loaded_and_becomes_ours() {
    for threads in [1, 2, 4] {
        let dir = Dir::new();
        let held = write_with_redis(&dir.0, "no");
        let mut server = dir.serve(threads, &[]);
        assert_eq!(contents(&mut server.client()), held, "{threads} threads");
        let ours = |name: &String| name.ends_with(".manifest") || name.split('.').count() == 6;
        assert!(dir.names().iter().all(ours), "{:?}", dir.names());
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
        let server = dir.serve(threads, &[]);
        assert_eq!(contents(&mut server.client()), held, "{threads} threads, again");
    }
}

#[test]
fn a_single_file_of_redis_is_loaded_and_stays() {
    for threads in [1, 2] {
        let dir = Dir::new();
        let held = write_with_redis(&dir.0, "no");
        let pieces = dir.names().into_iter().filter(|name| !name.ends_with("manifest"));
        let single: Vec<u8> = pieces.flat_map(|name| dir.bytes(&name)).collect();
        fs::remove_dir_all(dir.path("")).unwrap();
        // Whatever was cut off in the middle is lost with its transaction.
        let torn = [&single[..], b"*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$7\r\ncounter\r\n"].concat();
        fs::write(dir.0.join(FILENAME), &torn).unwrap();
        for _ in 0..2 {
            let mut server = dir.serve(threads, &[]);
            assert_eq!(contents(&mut server.client()), held, "{threads} threads");
            assert_eq!(fs::read(dir.0.join(FILENAME)).unwrap(), torn);
            assert_eq!(server.stop(libc::SIGTERM), Some(0));
        }
    }
}

#[test]
fn an_rdb_base_is_refused() {
    let dir = Dir::new();
    write_with_redis(&dir.0, "yes");
    let before = dir.names();
    let told = dir.refused(2, &[]);
    assert!(told.contains("it is an RDB file of Redis (version 10), which cannot be loaded yet"), "{told}");
    assert_eq!(dir.names(), before);
}

/// It was taken for no log at all: the server began anew.
#[test]
fn a_directory_of_redis_without_its_manifest_is_refused() {
    for preamble in ["no", "yes"] {
        let dir = Dir::new();
        write_with_redis(&dir.0, preamble);
        fs::remove_file(dir.path("appendonly.aof.manifest")).unwrap();
        let before = dir.names();
        let told = dir.refused(2, &[]);
        assert!(told.contains("holds files of an append-only log, but not its manifest"), "{told}");
        assert_eq!(dir.names(), before);
    }
}
