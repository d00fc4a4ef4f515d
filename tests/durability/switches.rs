//! Switching the log on and off at run time, rewriting it, and what INFO says of it.

use crate::{Home, info, wait_until};

fn rewritten(server: &crate::Server, times: &str) {
    wait_until("the log is rewritten", || {
        info(server, "aof_rewrites") == times && info(server, "aof_rewrite_in_progress") == "0"
    });
}

#[test]
fn a_log_that_is_switched_on_has_what_was_there_before() {
    for threads in [1, 3] {
        let home = Home::new();
        let mut server = home.serve(threads, &[]);
        let mut client = server.client();
        for number in 0..500 {
            client.run(&format!("SET before:{number} {number}"));
        }
        client.run("RPUSH list a b c");
        client.run("SET timed x EX 1000");
        assert_eq!(info(&server, "aof_enabled"), "0");
        assert_eq!(client.show("CONFIG SET appendonly yes"), "OK");
        assert_eq!(info(&server, "aof_enabled"), "1");
        for number in 0..500 {
            client.run(&format!("SET after:{number} {number}"));
        }
        rewritten(&server, "1");
        client.run("RPUSH list d");
        server.stop(libc::SIGTERM);
        let server = home.serve(threads, &["--appendonly", "yes"]);
        let mut client = server.client();
        assert_eq!(client.show("DBSIZE"), "(integer) 1002");
        assert_eq!(client.show("LRANGE list 0 -1"), "1) \"a\"\n2) \"b\"\n3) \"c\"\n4) \"d\"");
        assert!(client.run("TTL timed").integer() > 900);
    }
}

#[test]
fn what_happens_while_it_is_off_is_not_logged() {
    let home = Home::new();
    let mut server = home.serve(2, &["--appendonly", "yes"]);
    let mut client = server.client();
    client.run("MSET a 1 b 2 c 3");
    assert_eq!(client.show("CONFIG SET appendonly no"), "OK");
    assert_eq!(info(&server, "aof_enabled"), "0");
    wait_until("no shard logs any more", || info(&server, "aof_in_force") == "0");
    client.run("MSET a x b x c x");
    server.stop(libc::SIGTERM);
    let server = home.serve(2, &["--appendonly", "yes"]);
    assert_eq!(server.client().show("MGET a b c"), "1) \"1\"\n2) \"2\"\n3) \"3\"");
}

#[test]
fn a_rewrite_makes_the_log_as_small_as_the_data() {
    let home = Home::new();
    let mut server = home.serve(2, &["--appendonly", "yes"]);
    let mut client = server.client();
    for number in 0..2000 {
        client.run(&format!("SET key:{} {number}", number % 10));
    }
    let before: u64 = info(&server, "aof_current_size").parse().unwrap();
    assert_eq!(client.show("BGREWRITEAOF"), "Background append only file rewriting started");
    rewritten(&server, "1");
    let after: u64 = info(&server, "aof_current_size").parse().unwrap();
    assert!(after * 20 < before, "{before} bytes before, {after} after");
    client.run("INCR key:0");
    server.stop(libc::SIGTERM);
    let server = home.serve(2, &["--appendonly", "yes"]);
    assert_eq!(server.client().show("MGET key:0 key:9"), "1) \"1991\"\n2) \"1999\"");
    let files = std::fs::read_dir(home.0.join("appendonlydir")).unwrap().count();
    assert_eq!(files, 7, "two bases, two increments, two pending areas, the manifest");
}

#[test]
fn a_log_that_has_grown_is_rewritten_by_itself() {
    let home = Home::new();
    let server = home.serve(1, &["--appendonly", "yes", "--auto-aof-rewrite-min-size", "64kb"]);
    let mut client = server.client();
    let value = "x".repeat(1000);
    wait_until("it is rewritten", || {
        (0..50).for_each(|_| drop(client.run(&format!("SET key {value}"))));
        info(&server, "aof_rewrites") != "0"
    });
}

/// Two servers would write the same files.
#[test]
fn a_directory_that_another_server_logs_in_is_left_alone() {
    let home = Home::new();
    let mut first = home.serve(1, &["--appendonly", "yes"]);
    assert_eq!(first.client().show("SET key first"), "OK");
    let second = home.serve(2, &[]);
    let mut client = second.client();
    client.run("SET key second");
    assert_eq!(client.show("CONFIG SET appendonly yes"), "OK");
    wait_until("it is refused", || info(&second, "aof_last_bgrewrite_status") == "err");
    assert_eq!((info(&second, "aof_rewrites").as_str(), client.show("SET other x").as_str()), ("0", "OK"));

    let fix = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_crimson"));
        let output = command.args(["check-aof", "--fix"]).arg(home.0.join("appendonlydir")).output();
        output.expect("the binary runs")
    };
    let refused = fix();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the log is in use by a server"), "{refused:?}");
    first.stop(libc::SIGTERM);
    assert!(fix().status.success());
    let first = home.serve(1, &["--appendonly", "yes"]);
    assert_eq!(first.client().show("GET key"), "\"first\"");
}

#[test]
fn the_time_is_noted_in_the_log_while_that_is_wanted() {
    let home = Home::new();
    let log = home.0.join("appendonlydir").join("appendonly.aof.1.0.incr.aof");
    let mut server = home.serve(1, &["--appendonly", "yes", "--appendfsync", "always"]);
    let mut client = server.client();
    client.run("SET a 1");
    let times = || -> Vec<u64> {
        let text = String::from_utf8(std::fs::read(&log).unwrap()).unwrap();
        text.lines().filter_map(|line| line.strip_prefix("#TS:")).map(|time| time.parse().unwrap()).collect()
    };
    assert_eq!(times(), Vec::<u64>::new());
    client.run("CONFIG SET aof-timestamp-enabled yes");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    client.run("SET a 2");
    client.run("SET a 3");
    let noted = times();
    assert!(!noted.is_empty() && noted.iter().all(|time| (now..now + 60).contains(time)), "{noted:?} at {now}");
    server.stop(libc::SIGTERM);
    let server = home.serve(2, &["--appendonly", "yes"]);
    assert_eq!(server.client().show("GET a"), "\"3\"");
}

/// The pending area of a log that was still being finished was emptied under it, and the next write ended the process.
#[test]
fn a_log_that_is_switched_off_and_on_under_load_goes_on() {
    let home = Home::new();
    let mut server = home.serve(2, &["--appendonly", "yes", "--appendfsync", "everysec"]);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let mut client = server.client();
            scope.spawn(move || {
                let value = "v".repeat(3000);
                for round in 0..400 {
                    client.call(&["SET", &format!("key:{number}:{round}"), &value]);
                }
            });
        }
        let mut client = server.client();
        for _ in 0..6 {
            client.run("CONFIG SET appendonly no");
            client.run("CONFIG SET appendonly yes");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    assert!(server.is_alive(), "{}", server.log());
    wait_until("it is in force", || info(&server, "aof_in_force") == "1");
    server.client().run("SET last 1");
    server.stop(libc::SIGKILL);
    let server = home.serve(2, &["--appendonly", "yes"]);
    assert_eq!(server.client().run("DBSIZE").integer(), 1601);
}
