//! The Debian package: built from the binary of the tests, installed, run as its unit runs it, upgraded, removed and purged.
//!
//! It is installed only as root, on a Debian machine without a running systemd and without Crimson: such as CI has, and
//! nobody's own. Elsewhere it is built and looked into.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::server::{checkout, has_program, make_dir, reserve_port};
use support::{Client, Supervisor, process, wait_until};

/// What is left behind by a package that is removed as it should be: nothing.
const TRACES: &[&str] = &[
    "/usr/bin/crimson",
    "/etc/crimson",
    "/var/lib/crimson",
    "/usr/lib/systemd/system/crimson.service",
    "/usr/lib/systemd/system/crimson@.service",
    "/etc/systemd/system/crimson.service",
    "/etc/systemd/system/multi-user.target.wants/crimson.service",
    "/etc/systemd/system/multi-user.target.wants/crimson@other.service",
    "/usr/lib/sysusers.d/crimson.conf",
    "/usr/lib/tmpfiles.d/crimson.conf",
    "/usr/share/doc/crimson",
    "/var/lib/systemd/deb-systemd-helper-enabled/crimson.service.dsh-also",
    "/var/lib/systemd/deb-systemd-helper-masked/crimson.service",
];

/// What a command tells; it must succeed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let told = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {told}");
    told
}

/// Builds the package around the binary of the tests, which stands where cargo-deb looks for the one of a release.
fn build(dir: &Path) -> PathBuf {
    let release = dir.join("target/release");
    fs::create_dir_all(&release).expect("a new directory takes a directory");
    fs::copy(env!("CARGO_BIN_EXE_crimson"), release.join("crimson")).expect("there is room");
    let package = dir.join("crimson.deb");
    let built = Command::new("cargo")
        .args(["deb", "--no-build", "--strip", "--fast", "--quiet", "--output"])
        .arg(&package)
        .current_dir(checkout())
        .env("CARGO_TARGET_DIR", dir.join("target"))
        .output()
        .expect("cargo starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    package
}

/// Why the package should not be installed here, if it should not.
fn reason_against_installing() -> Option<String> {
    let is_root = run("id", &["-u"]) == "0\n";
    let trace = TRACES.iter().find(|path| Path::new(path).exists());
    match () {
        () if !is_root => Some("this is not the superuser".into()),
        () if Path::new("/run/systemd/system").exists() => {
            Some("systemd runs here, this may be somebody's machine".into())
        }
        () if !has_program("setpriv") => Some("there is no setpriv".into()),
        () => trace.map(|path| format!("{path} is there already")),
    }
}

/// An installed package; it is purged with this value.
struct Installed;

impl Installed {
    fn new(package: &str) -> Self {
        let installed = Self;
        run("dpkg", &["--install", package]);
        installed
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = Command::new("dpkg").args(["--purge", "crimson"]).stdout(Stdio::null()).status();
    }
}

/// A line of the installed unit, without its name.
fn of_unit(name: &str) -> Vec<String> {
    let unit = fs::read_to_string("/usr/lib/systemd/system/crimson.service").expect("it is installed");
    let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).expect("the unit has it");
    line.split_whitespace().map(String::from).collect()
}

/// A command of the unit as the unit's user, without any privilege.
fn as_the_unit_does(name: &str) -> Command {
    let (user, line) = (of_unit("User").concat(), of_unit(name));
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--bounding-set=-all", "--no-new-privs"]);
    command.args(line).env_clear().current_dir("/").stdin(Stdio::null());
    command
}

/// Starts the server as the unit does, on another port; it is ready.
fn start(systemd: &Supervisor, port: u16) -> Child {
    let checked = as_the_unit_does("ExecStartPre").output().expect("it starts");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(told, "/etc/crimson/crimson.conf: the configuration is all right\n");
    let child = as_the_unit_does("ExecStart")
        .args(["--port", &port.to_string()])
        .env("NOTIFY_SOCKET", systemd.path())
        .env("WATCHDOG_USEC", "2000000")
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    systemd.until("READY=1");
    child
}

fn stop(systemd: &Supervisor, mut child: Child) {
    process::signal(child.id(), libc::SIGTERM);
    systemd.until("STOPPING=1");
    assert_eq!(child.wait().expect("our own child").code(), Some(0));
}

#[test]
fn the_package_is_installed_served_from_upgraded_and_removed() {
    if !has_program("cargo-deb") || !has_program("dpkg-deb") {
        return eprintln!("NOT TESTED: there is no cargo-deb (`cargo install cargo-deb --locked`) or no dpkg-deb");
    }
    let dir = make_dir();
    let package = build(&dir);
    let package = package.to_str().expect("a plain path");
    look_into(package);
    match reason_against_installing() {
        Some(reason) => eprintln!("NOT INSTALLED, only built and looked into: {reason}"),
        None => install_and_remove(package),
    }
    let _ = fs::remove_dir_all(dir);
}

fn look_into(package: &str) {
    let files = run("dpkg-deb", &["--contents", package]);
    for path in TRACES.iter().filter(|path| path.starts_with("/usr/") || **path == "/etc/crimson") {
        assert!(files.contains(&format!(" .{path}")), "{path}: {files}");
    }
    // What its README shows.
    assert!(files.contains(" ./usr/share/doc/crimson/docs/hit-ratio.svg"), "{files}");
    let field = |name| run("dpkg-deb", &["--field", package, name]);
    assert_eq!(field("Package"), "crimson\n");
    assert!(field("Version").starts_with(env!("CARGO_PKG_VERSION")), "{}", field("Version"));
    let needed = field("Depends");
    assert!(needed.starts_with("libc6 (") && !needed.contains("libssl"), "{needed}");
    assert!(run("dpkg-deb", &["--info", package, "conffiles"]).contains("/etc/crimson/crimson.conf"));
}

fn install_and_remove(package: &str) {
    let systemd = Supervisor::new();
    let (port, _reservation) = reserve_port();
    let installed = Installed::new(package);
    let mode = |path: &str| fs::metadata(path).expect("installed").permissions().mode() & 0o777;
    assert_eq!((mode("/etc/crimson/crimson.conf"), mode("/var/lib/crimson")), (0o640, 0o750));
    assert!(Path::new("/etc/systemd/system/multi-user.target.wants/crimson.service").is_symlink(), "it is enabled");

    let server = start(&systemd, port);
    let mut client = Client::connect(port);
    assert_eq!(client.show("SET key value"), "OK");
    assert_eq!(client.show("CONFIG SET appendonly yes"), "OK");
    wait_until("the log is in force", || client.run("INFO persistence").text().contains("aof_rewrites:1"));
    assert_eq!(client.show("CONFIG REWRITE"), "OK", "the server may write its configuration");
    systemd.until("WATCHDOG=1");
    stop(&systemd, server);
    let owner = fs::metadata("/var/lib/crimson/appendonlydir").expect("the log is there").uid();
    assert_ne!(owner, 0, "the server is not the superuser");

    // An upgrade keeps what was changed, and the data.
    run("dpkg", &["--install", "--force-confold", package]);
    let server = start(&systemd, port);
    assert_eq!(Client::connect(port).show("GET key"), "\"value\"");
    stop(&systemd, server);

    // As `systemctl enable crimson@other` does.
    symlink(
        "/usr/lib/systemd/system/crimson@.service",
        "/etc/systemd/system/multi-user.target.wants/crimson@other.service",
    )
    .expect("the directory is there");
    run("dpkg", &["--remove", "crimson"]);
    assert!(!Path::new("/usr/bin/crimson").exists());
    assert!(Path::new("/etc/crimson/crimson.conf").exists() && Path::new("/var/lib/crimson/appendonlydir").exists());
    drop(installed);
    let left: Vec<&&str> = TRACES.iter().filter(|path| fs::symlink_metadata(path).is_ok()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let accounts = [fs::read_to_string("/etc/passwd"), fs::read_to_string("/etc/group")];
    assert!(accounts.iter().flatten().all(|text| !text.contains("\ncrimson:")), "the user is left behind");
}
