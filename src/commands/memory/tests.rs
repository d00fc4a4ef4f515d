//! MEMORY's subcommands, as far as one core shows them.

use super::report::{CoreBytes, Report};
use crate::commands::testing::{Console, Shell};
use crate::shard::Expiry;

#[test]
fn usage_checks_its_options() {
    let mut shell = Shell::new();
    shell.session(
        r#"
        > MEMORY USAGE none
        (nil)
        > SET k v
        > MEMORY USAGE k SAMPLES
        (error) ERR syntax error
        > MEMORY USAGE k SAMPLES -1
        (error) ERR syntax error
        > MEMORY USAGE k SAMPLES x
        (error) ERR value is not an integer or out of range
        > MEMORY USAGE k SAMPLED 1
        (error) ERR syntax error
        > MEMORY USAGE none SAMPLES 1 SAMPLES 0
        (nil)
        > MEMORY USAGE
        (error) ERR wrong number of arguments for 'memory|usage' command
        "#,
    );
    assert_eq!(Shell::resp3().run("MEMORY USAGE none"), "(null)");
}

fn usage(shell: &mut Shell, rest: &str) -> usize {
    let reply = shell.run(&format!("MEMORY USAGE {rest}"));
    reply.strip_prefix("(integer) ").and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("{rest}: {reply}"))
}

#[test]
fn usage_counts_what_a_value_takes() {
    let mut shell = Shell::new();
    shell.run("SET other 1");
    shell.run("SET short v");
    let table = shell.database().table_bytes();
    assert_eq!(usage(&mut shell, "short"), 16 + table / 2, "6 + 5 + 1 bytes, and half of the table");
    let hits = (shell.database().hits, shell.database().misses);
    let text = "x".repeat(100_000);
    shell.run(&format!("SET short {text}"));
    let long = usage(&mut shell, "short");
    assert!((100_000..120_000).contains(&long), "{long}");
    shell.run("SADD numbers 1 2 3");
    let share = shell.database().table_bytes().div_ceil(3);
    assert_eq!(usage(&mut shell, "numbers"), 40 + 8 + 16 + share, "the record with its key; 8 + 3 * 2 bytes");
    assert_eq!((shell.database().hits, shell.database().misses), hits);
}

#[test]
fn usage_samples_large_collections() {
    let mut shell = Shell::new();
    for number in 0..1000 {
        let text = "v".repeat(if number % 2 == 0 { 100 } else { 300 });
        shell.run(&format!("HSET hash field{number} {text}"));
        shell.run(&format!("SADD set {number}-{text}"));
        shell.run(&format!("RPUSH list {text}"));
    }
    for key in ["hash", "set", "list"] {
        let all = usage(&mut shell, &format!("{key} SAMPLES 0"));
        // In unit tests even small tables have pools, of 64 KiB a page.
        assert!((200_000..700_000).contains(&all), "{key}: {all}");
        assert_eq!(usage(&mut shell, &format!("{key} SAMPLES 1000000")), all);
        let some = usage(&mut shell, &format!("{key} SAMPLES 200"));
        assert!(some.abs_diff(all) < all / 4, "{key}: {some} of {all}");
        assert_eq!(usage(&mut shell, key), usage(&mut shell, &format!("{key} SAMPLES 5")));
    }
    shell.config.encoding.list_max_listpack_size = 10;
    shell.run(&format!("RPUSH large {} {}", "x".repeat(20_000), "y".repeat(20_000)));
    let large = usage(&mut shell, "large");
    assert!((40_000..60_000).contains(&large), "{large}");
}

#[test]
fn stats_have_the_fields_of_redis_in_its_order() {
    let mut console = Console::new();
    let database = &mut console.shard.databases[3];
    database.set_now(console.now);
    database.set_string(b"a", b"12", Expiry::Never);
    database.set_string(b"b", b"12", Expiry::At(console.now + 1000));
    let table = database.table_bytes();
    let reply = console.run("MEMORY STATS");
    let lines: Vec<&str> = reply.split("\r\n").collect();
    assert_eq!(lines[0], "*56");
    let names: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with(char::is_alphabetic)).collect();
    let expected = "peak.allocated total.allocated startup.allocated replication.backlog clients.slaves clients.normal \
                    cluster.links aof.buffer lua.caches functions.caches db.3 overhead.hashtable.main \
                    overhead.hashtable.expires overhead.hashtable.slot-to-keys overhead.total keys.count \
                    keys.bytes-per-key dataset.bytes dataset.percentage peak.percentage allocator.allocated \
                    allocator.active allocator.resident allocator-fragmentation.ratio allocator-fragmentation.bytes \
                    allocator-rss.ratio allocator-rss.bytes rss-overhead.ratio rss-overhead.bytes fragmentation \
                    fragmentation.bytes";
    assert_eq!(names.join(" "), expected);
    let of_database = format!("overhead.hashtable.main\r\n:{table}\r\n$26\r\noverhead.hashtable.expires\r\n:8\r\n");
    assert!(reply.contains(&of_database), "{reply}");
    assert!(reply.contains("keys.count\r\n:2\r\n"), "{reply}");
    console.run("HELLO 3");
    let reply = console.run("MEMORY STATS");
    assert!(reply.starts_with("%28\r\n") && reply.contains("$4\r\ndb.3\r\n%3\r\n"), "{reply}");
    assert!(reply.contains("fragmentation\r\n,"), "{reply}");
}

#[test]
fn overhead_and_data_make_up_all() {
    let console = Console::new();
    let core = CoreBytes { clients: 100, clients_len: 2, ..CoreBytes::default() };
    let report = Report::new(&console.node, vec![core.clone(), core]);
    assert_eq!((report.clients, report.clients_len), (200, 4));
    assert_eq!(report.overhead(), report.startup + 200);
    assert!(report.used() <= report.peak);
    assert_eq!(report.dataset(), report.used().saturating_sub(report.overhead()));
}

#[test]
fn the_allocator_is_asked() {
    let mut console = Console::new();
    assert_eq!(console.run("MEMORY PURGE"), "+OK\r\n");
    assert!(console.run("MEMORY MALLOC-STATS").contains("Begin jemalloc statistics"));
    assert!(console.run("MEMORY DOCTOR").contains("no data"));
    assert!(console.run("MEMORY HELP").starts_with("*14\r\n+MEMORY <subcommand>"));
    console.run("HELLO 3");
    assert!(console.run("MEMORY MALLOC-STATS").starts_with('='));
    assert!(console.run("MEMORY DOCTOR").starts_with('='));
}
