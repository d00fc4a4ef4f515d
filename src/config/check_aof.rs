//! The command line of `crimson check-aof`. The word must come first; a configuration file of that name can be given as
//! `./check-aof`.

use super::Invocation;
use clap::{Arg, ArgAction, Command, builder::PathBufValueParser, error::ErrorKind};
use std::ffi::OsString;
use std::path::PathBuf;

/// The word that asks for it.
pub const WORD: &str = "check-aof";

/// What to look after and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckAof {
    /// The directory of the log, or the server's.
    pub dir: PathBuf,
    /// Whether to cut off torn ends.
    pub fix: bool,
    /// Whether to cut at other damage too.
    pub truncate_at_corruption: bool,
    /// How many databases the server has that is to load it.
    pub databases: usize,
}

/// Understands the arguments behind the word. The error is what to tell the user.
pub(super) fn invocation(args: &[OsString]) -> Result<Invocation, String> {
    let words = std::iter::once(OsString::from("crimson check-aof")).chain(args.iter().cloned());
    let matches = match command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return Ok(Invocation::Print(error.render().to_string()));
        }
        Err(error) => return Err(error.render().to_string()),
    };
    Ok(Invocation::CheckAof(CheckAof {
        dir: matches.get_one::<PathBuf>("dir").cloned().expect("clap requires it"),
        fix: matches.get_flag("fix"),
        truncate_at_corruption: matches.get_flag("truncate-at-corruption"),
        databases: matches.get_one::<u32>("databases").map_or(16, |count| *count as usize),
    }))
}

fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("crimson check-aof")
        .about("Shows the state of every file of an append-only log, and repairs it when asked")
        .override_usage("crimson check-aof [--fix [--truncate-at-corruption]] [--databases NUMBER] DIR")
        .after_help(
            "No server may use the log meanwhile. What is cut off a file is kept beside it as FILE.cut.\n\
             The exit code is 0 if a server of this version loads the log as it is now, else 1.",
        )
        .max_term_width(110)
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .required(true)
                .value_parser(PathBufValueParser::new())
                .help("The directory of the log, or the one the server runs in"),
        )
        .arg(flag("fix").help("Cut off the torn ends of files, where a write was not finished"))
        .arg(
            flag("truncate-at-corruption")
                .requires("fix")
                .help("Cut at other damage too: everything behind it in that file is lost"),
        )
        .arg(
            Arg::new("databases")
                .long("databases")
                .value_name("NUMBER")
                .value_parser(clap::value_parser!(u32).range(1..))
                .help("The directive databases of the server that is to load it, by default 16"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str]) -> Result<Invocation, String> {
        invocation(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn its_flags_are_understood() {
        command().debug_assert();
        let wanted = |fix, truncate_at_corruption| {
            Invocation::CheckAof(CheckAof { dir: "d".into(), fix, truncate_at_corruption, databases: 16 })
        };
        assert_eq!(check(&["d"]), Ok(wanted(false, false)));
        assert_eq!(check(&["--fix", "d"]), Ok(wanted(true, false)));
        assert_eq!(check(&["d", "--truncate-at-corruption", "--fix"]), Ok(wanted(true, true)));
        assert!(matches!(check(&["--help"]), Ok(Invocation::Print(help)) if help.contains("--truncate-at-corruption")));
        for wrong in
            [&[][..], &["a", "b"], &["--truncate-at-corruption", "d"], &["--foo", "d"], &["--databases", "0", "d"]]
        {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
