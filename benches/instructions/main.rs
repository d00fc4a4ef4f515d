//! Instructions of one request from bytes in to bytes out through the engine, without sockets, counted by callgrind.
//! Unlike times they do not move with the machine's noise, so a change of a few percent is a fact.
//!
//! ```text
//! cargo bench --bench instructions -- [--json FILE]       needs valgrind
//! ```
//!
//! The program runs itself under `valgrind --tool=callgrind`, which counts only inside `scenarios::send_all`: start and
//! filling are no part of the number. (The clock of the command statistics calibrates itself at start, which takes
//! another number of instructions each time.)

#[path = "../../tests/support/loopback.rs"]
mod loopback;

mod scenarios;

use scenarios::SCENARIOS;
use std::process::Command;

/// Requests that are counted.
const REQUESTS: u64 = 8000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--inner", name, requests] => run_inner(name, requests.parse().expect("a number of requests")),
        [] => drop(count_all()),
        ["--json", path] => {
            let text = serde_json::to_string_pretty(&count_all()).expect("numbers are JSON");
            std::fs::write(path, text + "\n").unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
        }
        other => {
            eprintln!("unknown arguments {other:?}\nusage: instructions [--json FILE]");
            std::process::exit(2);
        }
    }
}

fn run_inner(name: &str, requests: u64) {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).expect("a scenario of this name");
    scenarios::run(scenario, requests);
}

/// Instructions a request, by scenario.
fn count_all() -> serde_json::Map<String, serde_json::Value> {
    println!("{:24} instructions/request", "");
    let mut results = serde_json::Map::new();
    for scenario in SCENARIOS {
        let each = collected(scenario.name, REQUESTS) as f64 / REQUESTS as f64;
        println!("{:24} {each:10.1}", scenario.name);
        results.insert(scenario.name.into(), each.into());
    }
    results
}

/// Instructions of `requests` requests, as callgrind counts them.
fn collected(name: &str, requests: u64) -> u64 {
    let program = std::env::current_exe().expect("a running program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*scenarios::send_all*"])
        .arg(program)
        .args(["--inner", name, &requests.to_string()])
        .output()
        .expect("valgrind is needed and cannot be started");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} fails under valgrind:\n{text}");
    let count = |line: &str| line.split_once("Collected : ")?.1.trim().parse().ok();
    text.lines().find_map(count).unwrap_or_else(|| panic!("callgrind tells no number:\n{text}"))
}
