//! What systemd says of the units in `deploy`, without starting them.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use support::server::{checkout, has_program, make_dir};

/// What `systemd-analyze security` may say at most, in tenths: below 2 is what it calls OK for a service with a network.
const EXPOSURE_TENTHS_MAX: u32 = 20;

fn unit(name: &str) -> String {
    fs::read_to_string(checkout().join("deploy").join(name)).expect("it is there")
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !has_program("systemd-analyze") {
        return eprintln!("NOT TESTED: there is no systemd-analyze");
    }
    let dir = make_dir();
    for name in ["crimson.service", "crimson@.service"] {
        // The program must be there.
        let text = unit(name).replace("/usr/bin/crimson", env!("CARGO_BIN_EXE_crimson"));
        fs::write(dir.join(name), text).expect("a new directory takes a file");
    }
    for name in ["crimson.service", "crimson@one.service"] {
        let checked = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(dir.join(name)).output();
        let checked = checked.expect("it starts");
        let told = [checked.stdout, checked.stderr].concat();
        assert!(checked.status.success() && told.is_empty(), "{name}: {}", String::from_utf8_lossy(&told));
    }
    for name in ["crimson.service", "crimson@.service"] {
        let threshold = format!("--threshold={EXPOSURE_TENTHS_MAX}");
        let judged = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", &threshold])
            .arg(dir.join(name))
            .output()
            .expect("it starts");
        assert!(judged.status.success(), "{name}: {}", String::from_utf8_lossy(&judged.stdout));
    }
    let _ = fs::remove_dir_all(dir);
}

/// What a unit says, without its comments.
fn settings(text: &str) -> Vec<String> {
    let is_setting = |line: &&str| !line.is_empty() && !line.starts_with('#');
    text.lines().filter(is_setting).map(String::from).collect()
}

#[test]
fn the_two_units_differ_only_in_what_belongs_to_an_instance() {
    let single = unit("crimson.service")
        .replace("data store\n", "data store, %i\n")
        .replace("/etc/crimson/crimson.conf", "/etc/crimson/%i.conf")
        .replace("--dir /var/lib/crimson", "--dir /var/lib/crimson/%i")
        .replace("StateDirectory=crimson\n", "StateDirectory=crimson/%i\n")
        .replace("RuntimeDirectory=crimson\n", "RuntimeDirectory=crimson-%i\n");
    assert_eq!(settings(&single), settings(&unit("crimson@.service")));
}

#[test]
fn users_and_directories_are_understood() {
    if !has_program("systemd-sysusers") || !has_program("systemd-tmpfiles") {
        return eprintln!("NOT TESTED: there is no systemd-sysusers or systemd-tmpfiles");
    }
    let root = make_dir();
    let conf = |name: &str| checkout().join("deploy").join(name);
    let run = |program: &str, arguments: &[&str], file: &str| {
        let made =
            Command::new(program).arg(format!("--root={}", root.display())).args(arguments).arg(conf(file)).output();
        let made = made.expect("it starts");
        assert!(made.status.success(), "{program}: {}", String::from_utf8_lossy(&made.stderr));
    };
    fs::create_dir(root.join("etc")).expect("a new directory takes a directory");
    run("systemd-sysusers", &[], "crimson.sysusers.conf");
    let users = fs::read_to_string(root.join("etc/passwd")).expect("made");
    assert!(users.contains(":/var/lib/crimson:/usr/sbin/nologin"), "{users}");
    if Command::new("id").arg("-u").output().expect("there is an id").stdout == b"0\n" {
        run("systemd-tmpfiles", &["--create"], "crimson.tmpfiles.conf");
        assert!(root.join("var/lib/crimson").is_dir());
        // A configuration that the administrator puts there can be read by the server.
        let mode = fs::metadata(root.join("etc/crimson")).expect("made").permissions().mode();
        assert_eq!(mode & 0o7777, 0o2770);
    }
    let _ = fs::remove_dir_all(root);
}
