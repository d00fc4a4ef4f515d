//! What the machine must offer and what it should: one list of checks, for the start of a server and for `--doctor`. Each
//! says what it has found and, where that is not good, what to do about it.
//!
//! - `kernel`    what no server starts without: kernel, io_uring, locked memory
//! - `settings`  what costs speed or memory where it is set badly
//! - `files`     the limit on open files, and how many clients it leaves room for

mod files;
mod kernel;
mod settings;

use super::cpus::{self, Usable};
use super::listen;
use crate::config::Config;
use crate::stdx::os::is_writable;
use std::path::Path;

pub use files::fit_open_files;

/// How good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// A server starts, but it could be better.
    Warning,
    /// A server cannot start.
    Error,
}

/// What one check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How good it is.
    pub state: State,
    /// What it is like, and what to do where that is not good.
    pub text: String,
}

fn good(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { subject, state: State::Good, text: text.into() }
}

fn warning(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { subject, state: State::Warning, text: text.into() }
}

fn error(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { subject, state: State::Error, text: text.into() }
}

/// What a start looks at. Raises the limit on locked memory where that is needed and possible.
pub fn examine(config: &Config, usable: &Usable) -> Vec<Finding> {
    let mut findings = kernel::examine();
    findings.push(cores(config, usable));
    findings.extend(settings::examine(config));
    findings.push(directory(config));
    findings
}

/// What a doctor looks at: also what the start changes by itself or tells in Redis's words. Raises limits as the start does.
pub fn examine_all(config: &Config, usable: &Usable) -> Vec<Finding> {
    let mut findings = examine(config, usable);
    if let Ok(cpus) = cpus::choose(config, usable) {
        findings.push(files::examine(config, cpus.len()));
    }
    findings.push(addresses(config));
    findings
}

/// Whether there are the addresses to listen at, and nobody else does.
fn addresses(config: &Config) -> Finding {
    let (subject, port) = ("addresses", config.port);
    match listen::examine(config) {
        Err(reason) => error(subject, format!("{reason}. Set `bind` to addresses of this machine.")),
        Ok(_) if port == 0 || config.bind.is_empty() => good(subject, "nothing is listened at by TCP"),
        Ok(hindered) if hindered.is_empty() => good(subject, format!("port {port} is free where `bind` says")),
        Ok(hindered) => {
            warning(subject, format!("{}. A server that is to start now needs another `port`.", hindered.join("; ")))
        }
    }
}

/// Whether the cores have CPUs of their own.
fn cores(config: &Config, usable: &Usable) -> Finding {
    let subject = "cores";
    let threads = match cpus::choose(config, usable) {
        Ok(cpus) => cpus.len(),
        Err(reason) => return error(subject, reason.to_string()),
    };
    let Usable { cpus, count } = usable;
    if threads > *count {
        return warning(
            subject,
            format!(
                "{threads} threads on {count} CPUs: they take turns, which costs throughput and latency. Set `threads` to \
                 {count} or fewer."
            ),
        );
    }
    if *count < cpus.len() {
        return warning(
            subject,
            format!(
                "A control group gives the process the time of {count} of its {} CPUs: cores are not pinned, and stand still \
                 when that time is used up. Give it whole CPUs: `AllowedCPUs=` for a systemd service, `--cpuset-cpus` for a \
                 container.",
                cpus.len()
            ),
        );
    }
    good(subject, format!("{threads} of the {count} CPUs that the process may use"))
}

/// Whether the working directory can be written to, and the log's where changes are logged.
fn directory(config: &Config) -> Finding {
    let (subject, dir) = ("directory", &config.dir);
    let log = Path::new(dir).join(&config.appenddirname);
    let needed = if config.appendonly && log.is_dir() { &log } else { Path::new(dir) };
    if config.appendonly && !is_writable(needed) {
        let log = log.display();
        return error(
            subject,
            format!(
                "The append-only log, {log}, is not writable. Set `dir` to where it is, or `chown` it to the server's user."
            ),
        );
    }
    if is_writable(Path::new(dir)) {
        return good(subject, format!("{dir} is writable"));
    }
    let path = Path::new(dir);
    let path = path.canonicalize().unwrap_or_else(|_| path.into());
    let path = path.display();
    warning(
        subject,
        format!(
            "The working directory {path} is not writable. Set `dir` to one that is, or `chown` it to the server's user."
        ),
    )
}

/// What a file of the kernel says; empty where there is none.
fn setting(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_cores(threads: usize, cpus: &[usize], count: usize) -> (State, String) {
        let usable = Usable { cpus: (0..4).collect(), count };
        let finding = cores(&Config { threads, cpus: cpus.to_vec(), ..Config::default() }, &usable);
        (finding.state, finding.text)
    }

    #[test]
    fn cores_should_have_cpus_of_their_own() {
        assert_eq!(of_cores(0, &[], 4), (State::Good, "3 of the 4 CPUs that the process may use".into()));
        for (threads, cpus, count, state, part) in [
            (5, &[][..], 4, State::Warning, "5 threads on 4 CPUs: they take turns"),
            (1, &[], 2, State::Warning, "the time of 2 of its 4 CPUs"),
            (0, &[9], 4, State::Error, "CPU 9 is not among those"),
        ] {
            let found = of_cores(threads, cpus, count);
            assert!(found.0 == state && found.1.contains(part), "{found:?}");
        }
    }

    #[test]
    fn this_machine_is_good_enough_and_every_subject_is_looked_at_once() {
        let findings = examine_all(&Config::default(), &Usable::of_this_process());
        assert!(findings.iter().all(|finding| finding.state != State::Error), "{findings:?}");
        let mut subjects: Vec<&str> = findings.iter().map(|finding| finding.subject).collect();
        assert!(subjects.len() >= 12, "{subjects:?}");
        subjects.sort_unstable();
        assert!(subjects.windows(2).all(|pair| pair[0] != pair[1]), "{subjects:?}");
    }

    #[test]
    fn a_directory_should_be_writable() {
        let of = |dir: &str| directory(&Config { dir: dir.into(), ..Config::default() }).state;
        assert_eq!((of("/tmp"), of("/nonexistent")), (State::Good, State::Warning));
    }

    #[test]
    fn the_log_must_be_writable() {
        let of = |dir: &str, appenddirname: &str| {
            let appenddirname = appenddirname.into();
            directory(&Config { dir: dir.into(), appendonly: true, appenddirname, ..Config::default() }).state
        };
        assert_eq!((of("/tmp", "none"), of("/nonexistent", "none")), (State::Good, State::Error));
        // What counts is the log's own directory, if it is there.
        assert_ne!(of("/", "tmp"), State::Error);
    }
}
