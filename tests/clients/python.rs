//! redis-py, in a virtual environment below the target directory; the checks stand in `redis_py.py`.

use crate::SHARDS;
use crate::support::Server;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What pip installs. Pinned, so that a test that fails tomorrow fails because of us.
const PACKAGE: &str = "redis==8.1.0";

fn run(command: &mut Command, what: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{what} cannot be started: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what} fails:\n{out}\n{err}");
    print!("{out}");
}

/// The interpreter of the virtual environment, which is made when it is not there.
fn interpreter() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("redis-py");
    let python = home.join("bin/python");
    let ready = home.join(format!("ready-{PACKAGE}"));
    if !ready.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&home), "python3 -m venv (package python3-venv)");
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", PACKAGE]), "pip install");
        std::fs::write(ready, "").expect("the virtual environment takes a file");
    }
    python
}

#[test]
fn redis_py() {
    let (python, script) = (interpreter(), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/redis_py.py"));
    for shards in SHARDS {
        for protocol in ["2", "3"] {
            let server = Server::subject(shards, &[]);
            let what = format!("redis_py.py with {shards} shards and RESP{protocol}");
            run(Command::new(&python).arg(&script).args([&server.port.to_string(), protocol]), &what);
        }
    }
}
