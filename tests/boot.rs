//! Starting and stopping the real binary: what it tells, what it refuses, how signals and SHUTDOWN end it.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Client, Server, process, wait_until};

const CRIMSON: &str = env!("CARGO_BIN_EXE_crimson");

/// A server that listens on this machine only and says that it is ready.
fn ready(threads: usize, arguments: &[&str]) -> Server {
    let server = Server::crimson(threads, &[&["--bind", "127.0.0.1"], arguments].concat());
    wait_until("the server is ready", || server.log().contains("* Ready to accept connections"));
    server
}

/// Runs the binary to its end; for starts that fail and for flags that only print.
fn run(arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(CRIMSON)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A start that fails early may not read it.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    child.wait_with_output().expect("our own child can be waited for")
}

/// Asserts that a start fails with exit code 1 and tells `reason`.
fn assert_refused(arguments: &[&str], stdin: &str, reason: &str) {
    let output = run(arguments, stdin);
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
    assert!(told.contains(reason), "{arguments:?}: {told}");
    assert_eq!(told.matches(reason).count(), 1, "told twice: {told}");
}

#[test]
fn a_signal_ends_it_in_order() {
    for (signal, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT")] {
        let mut server = ready(2, &[]);
        assert_eq!(server.client().show("PING"), "PONG");
        let mut idle = server.client();
        idle.run("PING");
        let asked = Instant::now();
        assert_eq!(server.stop(signal), Some(0), "{}", server.log());
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert!(idle.is_closed());
        let log = server.log();
        for line in [
            "Crimson ",
            "cores: 2 of the ",
            &format!("listening: 127.0.0.1:{}", server.port),
            "* Ready to accept connections",
            &format!("# Received {name} scheduling shutdown..."),
            "# Crimson is now ready to exit, bye bye...",
        ] {
            assert!(log.contains(line), "{line} is missing:\n{log}");
        }
        let pid = format!("{}:M ", server.pid());
        assert!(log.lines().all(|line| line.starts_with(&pid)), "{log}");
    }
}

#[test]
fn shutdown_ends_it_in_order() {
    let mut server = ready(2, &[]);
    let mut client = server.client();
    client.send(b"SHUTDOWN NOSAVE\r\n");
    assert!(client.is_closed());
    wait_until("the server ends", || !server.is_alive());
    assert_eq!(server.stop(libc::SIGKILL), Some(0), "{}", server.log());
    assert!(server.log().contains("# User requested shutdown..."));
}

#[test]
fn hanging_up_does_nothing() {
    let mut server = ready(1, &[]);
    process::signal(server.pid(), libc::SIGHUP);
    std::thread::sleep(Duration::from_millis(100));
    assert!(server.is_alive());
    assert_eq!(server.client().show("PING"), "PONG");
}

#[test]
fn a_port_belongs_to_one_server() {
    let server = ready(2, &[]);
    let port = server.port.to_string();
    let reason = format!("Could not create server TCP listening socket 127.0.0.1:{port}: bind: Address already in use");
    assert_refused(&["--port", &port, "--bind", "127.0.0.1", "--threads", "2"], "", &reason);
    assert_refused(&["--port", &port], "", "bind: Address already in use");
}

#[test]
fn the_unix_socket_has_its_permissions_and_goes_with_the_server() {
    let mut server = ready(2, &["--unixsocket", "{dir}/socket", "--unixsocketperm", "700"]);
    let path = server.dir.join("socket");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
    assert_eq!(Client::unix(&path).show("PING"), "PONG");
    let path_text = path.to_string_lossy().into_owned();
    assert_refused(&["--port", "0", "--unixsocket", &path_text], "", "bind: Address already in use");
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    assert!(!path.exists());
}

#[test]
fn mistakes_in_the_configuration_are_told() {
    assert_refused(
        &["-"],
        "port 1\nfoo \"bar\n",
        "at line 2 of the standard input\n>>> 'foo \"bar'\nUnbalanced quotes",
    );
    assert_refused(&["--port", "abc"], "", ">>> 'port \"abc\"'\nargument couldn't be parsed into an integer");
    assert_refused(&["--daemonize", "yes"], "", "systemd");
    assert_refused(&["--supervised", "upstart"], "", "argument(s) must be one of the following: no, systemd, auto");
    assert_refused(&["--save", "3600", "1"], "", "snapshots are not supported yet");
    assert_refused(&["--nosuch", "1"], "", "unexpected argument '--nosuch'");
    assert_refused(&["--prot", "1"], "", "a similar argument exists: '--port'");
    assert_refused(&["-"], "maxclient 1", "there is no 'maxclient'; did you mean 'maxclients'?");
    assert_refused(&["/nonexistent.conf"], "", "can't open config file '/nonexistent.conf': No such file or directory");
    assert_refused(&["--dir", "/nonexistent"], "", "Can't chdir to '/nonexistent': No such file or directory");
    assert_refused(&["--logfile", "/nonexistent/log"], "", "Can't open the log file '/nonexistent/log'");
    assert_refused(&["--port", "0"], "", "Configured to not listen anywhere, exiting.");
    assert_refused(&["--cpus", "999"], "", "CPU 999 is not among those the process may use");
    assert_refused(&["--bind", "10.99.99.99", "--port", "9"], "", "bind: Cannot assign requested address");
}

#[test]
fn help_and_version_are_printed() {
    for (flag, part) in [("--help", "--hash-max-listpack-entries"), ("-h", "Usage: crimson"), ("--version", "crimson ")]
    {
        let output = run(&[flag], "");
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains(part), "{flag}");
    }
}

#[test]
fn more_clients_than_the_system_allows_are_reduced() {
    let server = ready(1, &["--maxclients", "4294967295"]);
    let log = server.log();
    assert!(log.contains("# You requested maxclients of 4294967295 requiring at least"), "{log}");
    assert!(log.contains("maxclients has been reduced to "), "{log}");
    let reply = server.client().run("CONFIG GET maxclients");
    let clients: u64 = reply.elements()[1].text().parse().expect("a number");
    assert!(clients > 0 && clients < 4_294_967_295);
}

#[test]
fn optional_addresses_may_be_missing() {
    let server = Server::crimson(2, &["--bind", "127.0.0.1", "-10.99.99.99"]);
    assert_eq!(server.client().show("PING"), "PONG");
    assert!(server.log().contains("# Warning: Could not create server TCP listening socket -10.99.99.99"));
}

#[test]
fn cores_are_pinned_and_named() {
    let affinity = fs::read_to_string("/proc/self/status").expect("readable");
    let allowed = affinity.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("listed").trim();
    let cpu = allowed.split([',', '-']).next().expect("one at least");
    let server = ready(1, &["--cpus", cpu]);
    server.client().run("PING");
    let mut pinned = false;
    for task in fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs").flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if read("comm").starts_with("core-0") {
            pinned = read("status").lines().any(|line| line == format!("Cpus_allowed_list:\t{cpu}"));
        }
    }
    assert!(pinned, "no thread core-0 on CPU {cpu}");
}

#[test]
fn the_limits_in_force_are_told() {
    let told = |arguments: &[&str]| {
        let server = ready(1, arguments);
        let log = server.log();
        log.lines().find_map(|line| Some(line.split_once("limits: ")?.1.to_string())).expect("a line")
    };
    assert_eq!(told(&[]), "10000 clients, 16 databases, arguments up to 512mb, memory as much as there is");
    let arguments = ["--maxclients", "50", "--databases", "1", "--proto-max-bulk-len", "1mb", "--maxmemory", "100mb"];
    assert_eq!(
        told(&[&arguments[..], &["--maxmemory-policy", "allkeys-lru"]].concat()),
        "50 clients, 1 databases, arguments up to 1mb, memory up to 100mb, then allkeys-lru"
    );
}

#[test]
fn the_log_goes_to_its_file_at_the_level_in_force() {
    let arguments = ["--bind", "127.0.0.1", "--logfile", "x.log", "--loglevel", "nothing"];
    let mut server = Server::crimson(1, &arguments);
    let file = server.dir.join("x.log");
    assert_eq!(
        server.client().show("CONFIG GET loglevel logfile"),
        "1) \"loglevel\"\n2) \"nothing\"\n3) \"logfile\"\n4) \"x.log\""
    );
    assert_eq!(fs::read_to_string(&file).expect("made at start"), "");
    assert_eq!(server.client().show("CONFIG SET loglevel warning"), "OK");
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    let log = fs::read_to_string(&file).expect("there");
    assert!(log.contains("# Received SIGTERM scheduling shutdown..."), "{log}");
    assert!(!server.log().contains("Received"));
}

#[test]
fn an_idle_server_uses_no_cpu() {
    let server = ready(2, &[]);
    let _idle: Vec<Client> = (0..10).map(|_| server.client()).collect();
    std::thread::sleep(Duration::from_millis(300));
    let before = process::cpu_ns(server.pid());
    std::thread::sleep(Duration::from_secs(1));
    let used_ms = (process::cpu_ns(server.pid()) - before) / 1_000_000;
    assert!(used_ms < 50, "{used_ms} ms of CPU in a second");
}

#[test]
fn a_server_that_was_killed_can_be_started_again_at_once() {
    const SIGKILL: i32 = 9;
    let mut server = ready(2, &[]);
    assert_eq!(server.client().run("PING").text(), "PONG");
    server.stop(SIGKILL);
    let mut again = Command::new(CRIMSON)
        .args(["--bind", "127.0.0.1", "--threads", "2", "--port", &server.port.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary starts");
    wait_until("it listens again, or has given up", || {
        let ended = again.try_wait().expect("our own child can be waited for");
        ended.is_some() || std::net::TcpStream::connect(("127.0.0.1", server.port)).is_ok()
    });
    let ended = again.try_wait().expect("our own child can be waited for");
    again.kill().expect("our own child can be killed");
    again.wait().expect("our own child can be waited for");
    assert_eq!(ended, None, "it does not start again");
}
