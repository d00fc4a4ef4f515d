//! `crimson --doctor` and `crimson --test-config`.

mod support;

use std::fs;
use std::process::{Command, Output};
use support::server::make_dir;

const CRIMSON: &str = env!("CARGO_BIN_EXE_crimson");

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    told(&Command::new(CRIMSON).args(arguments).output().expect("the binary starts"))
}

fn told(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

/// The doctor's words with at most so many open files. A superuser's own right to more is taken away.
fn with_open_files(limit: u32, arguments: &str) -> (Option<i32>, String) {
    let uid = Command::new("id").arg("-u").output().expect("there is an id");
    let mut command = Command::new(if uid.stdout == b"0\n" { "setpriv" } else { "sh" });
    if uid.stdout == b"0\n" {
        command.args(["--bounding-set", "-sys_resource", "sh"]);
    }
    let script = format!("ulimit -n {limit} && exec {CRIMSON} --doctor {arguments}");
    told(&command.args(["-c", &script]).output().expect("a shell starts"))
}

#[test]
fn the_doctor_tells_a_line_for_each_thing() {
    let (code, text) = run(&["--doctor"]);
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let (verdict, findings) = lines.split_last().expect("a verdict");
    assert!(verdict.starts_with("All is well.") || verdict.starts_with("Crimson runs here"), "{text}");
    for subject in [
        "kernel",
        "locked memory",
        "io_uring",
        "cores",
        "huge pages",
        "overcommit",
        "memory",
        "swap",
        "clock",
        "backlog",
        "directory",
        "open files",
        "addresses",
    ] {
        let found = findings.iter().filter(|line| line[9..].starts_with(&format!("{subject:<14} "))).count();
        assert_eq!(found, 1, "{subject}: {text}");
    }
    assert!(findings.iter().all(|line| ["ok", "warning"].contains(&line[..8].trim_end())), "{text}");
}

#[test]
fn too_few_open_files_are_told() {
    let (code, text) = with_open_files(100, "--threads 1");
    let line = text.lines().find(|line| line.contains("open files")).unwrap_or_default();
    assert!(
        line.starts_with("warning") && line.contains("only 20 clients fit") && line.contains("LimitNOFILE="),
        "{text}"
    );
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = with_open_files(80, "--threads 1");
    assert!(text.contains("error    open files     Your current 'ulimit -n' of 80 is not enough"), "{text}");
    assert!(text.ends_with("of these must change.\n") || text.contains("must change, "), "{text}");
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn a_configuration_that_does_not_suit_the_machine_is_told() {
    for (arguments, part) in [
        (&["--doctor", "--cpus", "999"][..], "error    cores          cpus: CPU 999 is not among"),
        (
            &["--doctor", "--bind", "300.1.1.1"],
            "error    addresses      Could not create server TCP listening socket 300.1.1.1:6379: getaddrinfo: ",
        ),
        (&["--doctor", "--dir", "/nonexistent"], "error    configuration  Can't chdir to '/nonexistent'"),
        (&["--doctor", "/nonexistent.conf"], "/nonexistent.conf: can't open the configuration file: No such file"),
        (&["--doctor", "--port", "x"], "the command line:1: 'port \"x\"': argument couldn't be parsed into an integer"),
    ] {
        let (code, text) = run(arguments);
        assert!(code == Some(1) && text.contains(part), "{arguments:?}: {text}");
    }
}

/// A server that runs already does not keep its configuration from being tested.
#[test]
fn a_port_in_use_is_a_warning() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = socket.local_addr().expect("bound").port().to_string();
    let arguments = ["--bind", "127.0.0.1", "--port", &port];
    let (code, text) = run(&[&["--doctor"][..], &arguments].concat());
    let line = text.lines().find(|line| line.contains("addresses")).unwrap_or_default();
    assert!(line.starts_with("warning") && line.contains("bind: Address already in use"), "{text}");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(run(&[&["--test-config"][..], &arguments].concat()).0, Some(0));
}

#[test]
fn a_configuration_is_tested_without_a_start() {
    let dir = make_dir();
    let file = dir.join("test.conf");
    let path = file.canonicalize().unwrap_or(file.clone()).to_string_lossy().into_owned();
    fs::write(&file, "port 0\nunixsocket s\nloglevel debug\n").expect("written");
    let good = (Some(0), format!("{path}: the configuration is all right\n"));
    assert_eq!(run(&["--test-config", &path, "--dir", &dir.to_string_lossy()]), good);
    assert_eq!(run(&[&path, "--test-config"]), good);
    assert!(!dir.join("s").exists() && fs::read_dir(&dir).expect("there").count() == 1, "nothing is made");

    fs::write(&file, "# first\n\nmaxclient 5\n").expect("written");
    let wrong = format!(
        "{path}:3: 'maxclient 5': Bad directive or wrong number of arguments: there is no 'maxclient'; did you mean \
         'maxclients'?\n"
    );
    assert_eq!(run(&["--test-config", &path]), (Some(1), wrong));

    fs::write(&file, "port 7000\n").expect("written");
    for (arguments, part) in [
        (&["--port", "0"][..], "Configured to not listen anywhere"),
        (&["--dir", "/nonexistent"], "Can't chdir to '/nonexistent': No such file or directory"),
        (&["--logfile", "/nonexistent/log"], "logfile '/nonexistent/log': there is no directory /nonexistent"),
        (
            &["--bind", "127.0.0.1", "300.1.1.1"],
            "Could not create server TCP listening socket 300.1.1.1:7000: getaddrinfo: ",
        ),
        (&["--bind", "10.99.99.99"], "socket 10.99.99.99:7000: bind: Cannot assign requested address"),
        (&["--cpus", "999"], "CPU 999 is not among those the process may use"),
    ] {
        let (code, text) = run(&[&["--test-config", &path], arguments].concat());
        assert_eq!(code, Some(1), "{text}");
        assert!(text.starts_with(&format!("{path}: ")) && text.contains(part), "{text}");
    }
    let _ = fs::remove_dir_all(dir);
}
