//! The list commands at work. `session.txt` is a session with Redis, reply by reply.

use crate::commands::testing::Shell;

const SESSION: &str = include_str!("session.txt");

#[test]
fn answers_as_redis() {
    Shell::new().session(SESSION);
}

#[test]
fn answers_as_redis_in_resp3() {
    Shell::resp3().session(&SESSION.replace("(nil array)", "(null)").replace("(nil)", "(null)"));
}

#[test]
fn answers_as_redis_with_tiny_nodes() {
    for limit in [1, 2, 3] {
        let mut shell = Shell::new();
        shell.config.encoding.list_max_listpack_size = limit;
        shell.session(SESSION);
    }
}

#[test]
fn every_change_is_told_once_and_nothing_else() {
    let mut shell = Shell::new();
    for (line, changes) in [
        ("RPUSH l a b c d", 1),
        ("LPUSHX no a", 0),
        ("LRANGE l 0 -1", 0),
        ("LPOP l 0", 0),
        ("LPOP l 2", 1),
        ("LPOP no", 0),
        ("LREM l 0 zz", 0),
        ("LINSERT l BEFORE zz b", 0),
        ("LINSERT l BEFORE c b", 1),
        ("LSET l 9 x", 0),
        ("LSET l 0 x", 1),
        ("LTRIM no 0 0", 0),
        ("LTRIM l 0 -1", 1),
        ("LMOVE l l LEFT RIGHT", 1),
        ("LMOVE l m LEFT RIGHT", 2),
        ("LMOVE no m LEFT RIGHT", 0),
        ("LPOP m", 1),
        ("LREM l 0 x", 1),
        ("LMPOP 2 no l LEFT", 1),
    ] {
        shell.run(line);
        assert_eq!(shell.dirty, changes, "{line}");
    }
    assert!(shell.database().is_empty());
}

#[test]
fn keys_go_with_their_last_element() {
    let mut shell = Shell::new();
    for line in ["LPOP l", "RPOP l 5", "LREM l 0 x", "LTRIM l 1 0", "LMPOP 1 l LEFT", "LTRIM l 5 9"] {
        shell.run("RPUSH l x");
        shell.run(line);
        assert!(shell.database().is_empty(), "{line}");
    }
    shell.run("RPUSH l x");
    shell.run("RPOPLPUSH l m");
    assert_eq!((shell.run("LLEN l"), shell.run("LLEN m"), shell.database().len()).2, 1);
}

#[test]
fn encodings_follow_the_limit() {
    let mut shell = Shell::new();
    let large = "x".repeat(8190);
    shell.run("RPUSH l a b c");
    assert_eq!(shell.encoding("l"), "listpack");
    shell.run(&format!("RPUSH l {large}"));
    assert_eq!(shell.encoding("l"), "quicklist");
    shell.run("RPOP l");
    assert_eq!(shell.encoding("l"), "listpack");
    shell.run(&format!("LINSERT l AFTER b {large}"));
    assert_eq!(shell.encoding("l"), "quicklist");
    shell.run("LSET l 2 small");
    assert_eq!(shell.encoding("l"), "listpack");
    shell.run(&format!("RPUSH m {large}"));
    shell.run("LMOVE m l LEFT LEFT");
    assert_eq!(shell.encoding("l"), "quicklist");
    assert_eq!(shell.run("LPOP l"), format!("\"{large}\""));
    assert_eq!(shell.encoding("l"), "listpack");
}

#[test]
fn large_elements_leave_without_a_copy_and_whole() {
    let mut shell = Shell::new();
    let large = "y".repeat(100_000);
    shell.run(&format!("RPUSH l a {large} b {large}"));
    assert_eq!(shell.run("LRANGE l 0 -1"), format!("[\"a\", \"{large}\", \"b\", \"{large}\"]"));
    assert_eq!(shell.run(&format!("LPOS l {large} RANK 2")), "(integer) 3");
    assert_eq!(shell.run("LINDEX l -1"), format!("\"{large}\""));
    assert_eq!(shell.run("LMPOP 1 l RIGHT COUNT 2"), format!("[\"l\", [\"{large}\", \"b\"]]"));
    assert_eq!(shell.run(&format!("LREM l 0 {large}")), "(integer) 1");
    assert_eq!(shell.run("LRANGE l 0 -1"), "[\"a\"]");
}
