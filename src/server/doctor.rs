//! `crimson --doctor` tells what is wrong with the machine for a server with this configuration, a line for each thing
//! that was looked at, and `crimson --test-config` whether a server could start with the configuration at all.

use super::machine::{self, Finding, State};
use super::{BootError, cpus, enter_directory, listen};
use crate::config::{Config, Startup};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Examines the machine. The exit code is 1 if a server could not start.
pub fn run(mut startup: Startup) -> ExitCode {
    let unusable = check(&mut startup.config).err();
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(unusable.map(|reason| Finding {
        subject: "configuration",
        state: State::Error,
        text: reason.to_string(),
    }));
    findings.extend(machine::examine_all(&startup.config, &cpus::Usable::of_this_process()));
    let lines: String = findings.iter().map(line).collect();
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    let (errors, warnings) = (count(State::Error), count(State::Warning));
    let verdict = match (errors, warnings) {
        (0, 0) => "All is well.".into(),
        (0, _) => format!("Crimson runs here; {warnings} of these could be better."),
        (_, 0) => format!("Crimson cannot run here: {errors} of these must change."),
        _ => format!("Crimson cannot run here: {errors} of these must change, {warnings} could be better."),
    };
    print(&format!("{lines}{verdict}"));
    if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn line(finding: &Finding) -> String {
    let state = match finding.state {
        State::Good => "ok",
        State::Warning => "warning",
        State::Error => "error",
    };
    format!("{state:<8} {:<14} {}\n", finding.subject, finding.text)
}

/// A line on the standard output. Who no longer reads it still wants the exit code.
fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Tests a configuration that could be read: what a start would refuse, as far as that can be known without starting.
pub fn test_config(mut startup: Startup) -> ExitCode {
    let name = startup.file.as_deref().map_or_else(|| "the command line".into(), Path::to_string_lossy).into_owned();
    let usable = cpus::Usable::of_this_process();
    let tested = check(&mut startup.config)
        .and_then(|()| cpus::choose(&startup.config, &usable))
        .and_then(|_| listen::examine(&startup.config));
    match tested {
        Ok(_) => {
            print(&format!("{name}: the configuration is all right"));
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{name}: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Whether what `config` names is there, whatever CPUs there are. Opens and makes nothing, but enters `dir` as a start does.
/// Addresses are another matter.
fn check(config: &mut Config) -> Result<(), BootError> {
    enter_directory(config)?;
    if (config.port == 0 || config.bind.is_empty()) && config.unixsocket.is_empty() {
        return Err(BootError("Configured to not listen anywhere".into()));
    }
    for (directive, path) in [("logfile", &config.logfile), ("unixsocket", &config.unixsocket)] {
        let parent = Path::new(path).parent().unwrap_or(Path::new(""));
        if !parent.as_os_str().is_empty() && !parent.is_dir() {
            return Err(BootError(format!("{directive} '{path}': there is no directory {}", parent.display())));
        }
    }
    Ok(())
}
