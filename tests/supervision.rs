//! What systemd hears from the real binary: readiness, status, watchdog, the end.

mod support;

use std::fs;
use std::time::Duration;
use support::server::make_dir;
use support::{Server, Supervisor, encode, wait_until, words};

const SYSTEMD: &[&str] = &["--bind", "127.0.0.1", "--supervised", "systemd"];

fn has_line(messages: &[String], start: &str) -> bool {
    messages.iter().flat_map(|message| message.lines()).any(|line| line.starts_with(start))
}

/// A log in a single file that takes long to load, for its size.
fn write_slow_log(dir: &std::path::Path) {
    let record = |line: &str| encode(&words(line));
    let members: String = (0..1000).map(|number| format!(" member:{number}")).collect();
    let mut bytes = record(&format!("SADD set{members}"));
    let store = record("SUNIONSTORE copy set");
    (0..24_000).for_each(|_| bytes.extend_from_slice(&store));
    fs::write(dir.join("appendonly.aof"), bytes).expect("a new directory takes a file");
}

#[test]
fn ready_comes_when_the_data_is_loaded() {
    let (systemd, dir) = (Supervisor::new(), make_dir());
    write_slow_log(&dir);
    let dir_text = dir.to_string_lossy().into_owned();
    let arguments = [SYSTEMD, &["--appendonly", "yes", "--dir", &dir_text]].concat();
    let mut server = Server::crimson_in(&[("NOTIFY_SOCKET", &systemd.path())], 2, &arguments);
    let before = systemd.until("READY=1");
    assert!(has_line(&before, "STATUS=Loading: ") && has_line(&before, "EXTEND_TIMEOUT_USEC=60000000"), "{before:?}");
    assert!(!has_line(&before, "WATCHDOG"), "there is no watchdog: {before:?}");
    let mut client = server.client();
    assert_eq!(client.show("SCARD copy"), "(integer) 1000");
    assert!(client.run("INFO server").text().contains("process_supervised:systemd"));
    let serving = systemd.until("STATUS=Serving: ").pop().expect("at least one");
    assert!(
        serving.contains(" clients, ") && serving.contains(" of memory") && !serving.contains("EXTEND"),
        "{serving}"
    );
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    systemd.until("STOPPING=1");
    assert_eq!(systemd.during(Duration::from_millis(50)), Vec::<String>::new(), "nothing comes behind it");
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn the_watchdog_hears_nothing_while_cores_are_stuck() {
    let systemd = Supervisor::new();
    let environment = [("NOTIFY_SOCKET", systemd.path()), ("WATCHDOG_USEC", "1000000".into())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let server = Server::crimson_in(&environment, 2, &[SYSTEMD, &["--enable-debug-command", "yes"]].concat());
    systemd.until("READY=1");
    let beats = |messages: &[String]| messages.iter().filter(|message| message.contains("WATCHDOG=1")).count();
    // Idle cores turn too: a message in each quarter of a second, on a machine that is not too busy.
    assert!(beats(&systemd.during(Duration::from_secs(2))) >= 4);

    let mut client = server.client();
    client.send(b"DEBUG SLEEP 5\r\n");
    systemd.during(Duration::from_millis(700));
    let stuck = systemd.during(Duration::from_millis(3500));
    assert_eq!(beats(&stuck), 0, "{stuck:?}");
    assert!(has_line(&stuck, "STATUS=Core "), "{stuck:?}");
    assert_eq!(client.read().text(), "OK");
    systemd.until("WATCHDOG=1");
    systemd.until("STATUS=Serving: ");
    assert!(server.log().contains("has not turned for 2 s"), "{}", server.log());
}

#[test]
fn one_core_that_is_stuck_is_enough() {
    let systemd = Supervisor::new();
    let environment = [("NOTIFY_SOCKET", systemd.path()), ("WATCHDOG_USEC", "1000000".into())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut server = Server::crimson_in(&environment, 2, SYSTEMD);
    systemd.until("WATCHDOG=1");

    // As slow as a command can be made, and many of them at once: they keep a single core busy for a minute or so.
    let mut client = server.client();
    for (key, text) in [("{tag}a", "ab"), ("{tag}b", "ba")] {
        assert_eq!(client.run(&format!("SET {key} {}", text.repeat(5500))).text(), "OK");
    }
    client.send(&b"LCS {tag}a {tag}b LEN\r\n".repeat(200));
    systemd.until("STATUS=Core ");
    let stuck = systemd.during(Duration::from_millis(700));
    assert!(stuck.iter().all(|message| !message.contains("WATCHDOG=1")), "{stuck:?}");
    // It would finish what it has read first.
    server.stop(libc::SIGKILL);
}

#[test]
fn nobody_is_told_who_does_not_want_to_know() {
    let systemd = Supervisor::new();
    let path = systemd.path();
    let server = Server::crimson_in(&[("NOTIFY_SOCKET", &path)], 1, &["--bind", "127.0.0.1"]);
    wait_until("it is ready", || server.log().contains("Ready to accept connections"));
    assert_eq!(systemd.during(Duration::from_millis(200)), Vec::<String>::new());
    assert!(server.client().run("INFO server").text().contains("process_supervised:no"));

    let auto = Server::crimson_in(&[("NOTIFY_SOCKET", &path)], 1, &["--bind", "127.0.0.1", "--supervised", "auto"]);
    systemd.until("READY=1");
    assert!(auto.client().run("INFO server").text().contains("process_supervised:systemd"));

    let alone = Server::crimson_in(&[], 1, SYSTEMD);
    wait_until("it is ready", || alone.log().contains("Ready to accept connections"));
    assert!(alone.log().contains("# systemd supervision requested or auto-detected, but NOTIFY_SOCKET not set!"));
}
