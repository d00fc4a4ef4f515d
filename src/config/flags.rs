//! The command line: `crimson [FILE] [--DIRECTIVE VALUE ...] [-]`. Every directive is a flag; flags override the file.
//! As in Redis, FILE comes first, and `-` in the first or last place reads more configuration from the standard input.
//! `--test-config` and `--doctor` may stand before FILE too, or behind all. `crimson check-aof ...` is understood by [`check_aof`].

use super::check_aof::{self, CheckAof};
use super::file::{FileError, Reader};
use super::{Change, Config, DIRECTIVES, Kind, sample};
use crate::stdx::words;
use clap::{Arg, ArgAction, ArgMatches, Command, builder::OsStringValueParser, error::ErrorKind};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What a server starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// The directives.
    pub config: Config,
    /// The configuration file, absolute, if there is one.
    pub file: Option<PathBuf>,
    /// The directory the server was started in, where relative paths of `include` begin.
    pub base: PathBuf,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// To serve.
    Run(Box<Startup>),
    /// To print this and end.
    Print(String),
    /// To tell what is wrong with the machine for a server that starts like this.
    Doctor(Box<Startup>),
    /// To tell whether a server could start like this.
    TestConfig(Box<Startup>),
    /// To look after the files of an append-only log.
    CheckAof(CheckAof),
}

/// Understands the arguments of the process, its name not among them, with the files they name. The error is what to
/// tell the user.
pub fn invocation(args: Vec<OsString>, base: &Path, stdin: &mut dyn Read) -> Result<Invocation, String> {
    if args.first().is_some_and(|first| first == check_aof::WORD) {
        return check_aof::invocation(&args[1..]);
    }
    let line = Line::new(args);
    let lone = [ESCAPE, b'-'];
    let stray = line.flags.iter().any(|flag| flag.as_bytes() == lone);
    let matches = match command().try_get_matches_from(line.flags) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Invocation::Print(error.render().to_string()));
        }
        Err(_) if stray => return Err("error: - must stand in the first or last place".into()),
        Err(error) => return Err(error.render().to_string().replace(char::from(ESCAPE), "")),
    };
    let (tests, examines) = (matches.get_flag(TEST_CONFIG), matches.get_flag(DOCTOR));
    // For who tests a configuration, a mistake is a line; for who starts a server, it looks as in Redis.
    let tell = |error: FileError| if tests || examines { error.line() } else { error.to_string() };
    let mut config = Config::default();
    let mut reader = Reader::new(&mut config, base);
    let mut file = None;
    if let Some(path) = line.file {
        reader.file(Path::new(&path)).map_err(tell)?;
        let path = base.join(path);
        file = Some(path.canonicalize().unwrap_or(path));
    }
    if line.stdin {
        let mut text = Vec::new();
        stdin.read_to_end(&mut text).map_err(|error| format!("can't read the standard input: {error}"))?;
        reader.text(&text, "the standard input").map_err(tell)?;
    }
    apply(&matches, &mut config).map_err(tell)?;
    if matches.get_flag("print-config") {
        return Ok(Invocation::Print(sample::text(&config)));
    }
    let startup = Box::new(Startup { config, file, base: base.into() });
    Ok(match () {
        () if tests => Invocation::TestConfig(startup),
        () if examines => Invocation::Doctor(startup),
        () => Invocation::Run(startup),
    })
}

/// Flags that ask for something else than a server.
const TEST_CONFIG: &str = "test-config";
const DOCTOR: &str = "doctor";

/// The command line, taken apart where clap's rules are not Redis's.
struct Line {
    file: Option<OsString>,
    stdin: bool,
    flags: Vec<OsString>,
}

/// Stands before values that begin with a `-`, as in `--bind 127.0.0.1 -::1`, so that clap does not take them for
/// flags. No argument of a process can hold this byte.
const ESCAPE: u8 = 0;

impl Line {
    fn new(mut args: Vec<OsString>) -> Self {
        let is_mode =
            |flag: &&OsString| flag.to_str().is_some_and(|text| text == "--test-config" || text == "--doctor");
        let last_mode = args.last().filter(is_mode).is_some().then(|| args.pop()).flatten();
        let mut stdin = false;
        if args.last().is_some_and(|last| last == "-") {
            args.pop();
            stdin = true;
        }
        if args.first().is_some_and(|first| first == "-") {
            args.remove(0);
            stdin = true;
        }
        let mode = args.first().filter(is_mode).is_some().then(|| args.remove(0));
        let is_file = args.first().is_some_and(|first| !first.as_bytes().starts_with(b"-"));
        let file = is_file.then(|| args.remove(0));
        let mut flags = vec![OsString::from("crimson")];
        for argument in args {
            let is_value = flags.len() > 1 && argument.as_bytes().first() == Some(&b'-');
            flags.push(if is_value && !argument.as_bytes().starts_with(b"--") {
                OsString::from_vec([&[ESCAPE], argument.as_bytes()].concat())
            } else {
                argument
            });
        }
        flags.extend(mode.into_iter().chain(last_mode));
        Self { file, stdin, flags }
    }
}

/// Reads the flags into `config`.
fn apply(matches: &ArgMatches, config: &mut Config) -> Result<(), FileError> {
    for row in DIRECTIVES {
        for occurrence in matches.get_occurrences::<OsString>(row.name).into_iter().flatten() {
            let values: Vec<&[u8]> = occurrence.map(|value| unescape(value)).collect();
            row.read(config, &values).map_err(|reason| {
                let values: Vec<String> = values.iter().map(|value| words::quote(value)).collect();
                let line = format!("{} {}", row.name, values.join(" "));
                FileError::Line { source: "the command line".into(), number: 1, line, reason }
            })?;
        }
    }
    Ok(())
}

fn unescape(value: &OsStr) -> &[u8] {
    let bytes = value.as_bytes();
    bytes.strip_prefix(&[ESCAPE]).unwrap_or(bytes)
}

/// The command line as clap knows it, made from the directive table.
fn command() -> Command {
    let version = Arg::new("version").short('v').long("version").action(ArgAction::Version).help("Print the version");
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print this help");
    let print = Arg::new("print-config")
        .long("print-config")
        .action(ArgAction::SetTrue)
        .help("Print the configuration, with comments, as a file to start from");
    let test = Arg::new(TEST_CONFIG)
        .long(TEST_CONFIG)
        .action(ArgAction::SetTrue)
        .conflicts_with(DOCTOR)
        .help("Tell whether a server could start with this configuration; the exit code is 0 if so, else 1");
    let doctor = Arg::new(DOCTOR).long(DOCTOR).action(ArgAction::SetTrue).help(
        "Tell what is wrong with this machine for a server, and how to mend it; the exit code is 1 if none could start",
    );
    let mut command = Command::new("crimson")
        .about("A Redis-compatible in-memory data store with a thread for each core")
        .version(concat!(env!("CARGO_PKG_VERSION"), ", 64 bit, jemalloc"))
        .override_usage(
            "crimson [FILE] [--DIRECTIVE VALUE ...] [-]\n       crimson --test-config|--doctor [FILE] [--DIRECTIVE VALUE ...] \
             [-]\n       crimson check-aof [--fix [--truncate-at-corruption]] DIR",
        )
        .after_help(
            "FILE is a configuration file; flags override it. - reads more configuration from the standard input.\n\
             Memory sizes may have a unit: b; k, m, g for powers of 1000; kb, mb, gb for powers of 1024.",
        )
        .disable_help_flag(true)
        .disable_version_flag(true)
        .max_term_width(110)
        .args([help, version, print, test, doctor]);
    let defaults = Config::default();
    for row in DIRECTIVES {
        let when = if row.change == Change::Runtime { String::new() } else { format!(", {}", row.change.text()) };
        let lines = row.lines(&defaults);
        let values: Vec<&str> = lines.iter().map(|line| line[row.name.len()..].trim_start()).collect();
        let help = format!("{} [{}{when}] [default: {}]", row.doc, row.form(), values.join(", "));
        let mut flag = Arg::new(row.name)
            .long(row.name)
            .action(ArgAction::Append)
            .value_parser(OsStringValueParser::new())
            .value_name(value_name(&row.kind))
            .help_heading(row.section.title())
            .help(help);
        if row.takes_several() {
            flag = flag.num_args(1..);
        }
        if let Some(alias) = row.alias {
            flag = flag.alias(alias);
        }
        command = command.arg(flag);
    }
    command
}

fn value_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Integer { .. } => "NUMBER",
        Kind::Octal { .. } => "MODE",
        Kind::Memory { .. } | Kind::MemoryOrPercent { .. } => "SIZE",
        Kind::Bool { .. } => "YES|NO",
        Kind::Enum { .. } => "NAME",
        Kind::Text { .. } => "TEXT",
        Kind::List { .. } => "ADDRESS",
        Kind::OutputLimits { .. } | Kind::Only { .. } => "VALUE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(args: &[&str], stdin: &str) -> Result<Invocation, String> {
        let args = args.iter().map(OsString::from).collect();
        invocation(args, Path::new("/nonexistent"), &mut stdin.as_bytes())
    }

    fn config(args: &[&str], stdin: &str) -> Config {
        match start(args, stdin) {
            Ok(Invocation::Run(startup)) => startup.config,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    #[test]
    fn clap_accepts_the_definition() {
        command().debug_assert();
    }

    #[test]
    fn check_aof_is_a_word_and_may_still_be_a_file() {
        assert!(matches!(start(&["check-aof", "dir"], ""), Ok(Invocation::CheckAof(_))));
        let error = start(&["./check-aof"], "").expect_err("there is no such file");
        assert!(error.contains("can't open config file"), "{error}");
    }

    #[test]
    fn who_tests_a_configuration_does_not_start_it() {
        for args in [&["--test-config", "--port", "1"][..], &["--port", "1", "--test-config"]] {
            let Ok(Invocation::TestConfig(startup)) = start(args, "") else { panic!("{args:?}") };
            assert_eq!(startup.config.port, 1);
        }
        let Ok(Invocation::Doctor(startup)) = start(&["--doctor", "-"], "maxclients 5") else { panic!() };
        assert_eq!(startup.config.maxclients, 5);
        for args in [["--hz", "3", "-", "--doctor"], ["--doctor", "--hz", "3", "-"]] {
            let Ok(Invocation::Doctor(startup)) = start(&args, "maxclients 5") else { panic!("{args:?}") };
            assert_eq!((startup.config.maxclients, startup.config.hz), (5, 3));
        }
        let line = start(&["--test-config", "-"], "hz 10\nport x").expect_err("a mistake");
        assert_eq!(line, "the standard input:2: 'port x': argument couldn't be parsed into an integer");
        let file = start(&["--test-config", "nosuch.conf"], "").expect_err("not there");
        assert_eq!(file, "/nonexistent/nosuch.conf: can't open the configuration file: No such file or directory");
        assert!(start(&["--doctor", "--test-config"], "").is_err());
    }

    #[test]
    fn every_directive_is_a_flag() {
        let config = config(
            &[
                "--port",
                "7000",
                "--bind",
                "127.0.0.1",
                "-::1",
                "--list-max-listpack-size",
                "-1",
                "--save",
                "",
                "--hash-max-ziplist-entries",
                "3",
                "--client-output-buffer-limit",
                "normal",
                "1",
                "2",
                "3",
                "--client-output-buffer-limit",
                "pubsub 4 5 6",
                "--port",
                "7001",
                "--loglevel",
                "VERBOSE",
            ],
            "",
        );
        assert_eq!((config.port, config.encoding.hash_max_listpack_entries), (7001, 3));
        assert_eq!((config.bind.join(" ").as_str(), config.encoding.list_max_listpack_size), ("127.0.0.1 -::1", -1));
        assert_eq!(config.client_output_buffer_limits.map(|limit| limit.hard_bytes), [1, 256 << 20, 4]);
    }

    #[test]
    fn flags_override_the_standard_input() {
        assert_eq!(config(&["-"], "port 1\n").port, 1);
        let both = config(&["--port", "2", "-"], "port 1\nhz 5");
        assert_eq!((both.port, both.hz), (2, 5));
    }

    #[test]
    fn mistakes_are_named() {
        for (args, part) in [
            (&["--port", "abc"][..], "argument couldn't be parsed into an integer"),
            (&["--port", "abc"], ">>> 'port \"abc\"'"),
            (&["--foo", "1"], "--foo"),
            (&["--port"], "a value is required"),
            (&["--port", "1", "2"], "unexpected argument '2'"),
            (&["-x"], "-x"),
            (&["--port", "1", "-x"], "unexpected argument '-x'"),
            (&["--port", "1", "-", "--hz", "3"], "- must stand in the first or last place"),
            (&["--save", "3600 1"], "snapshots are not supported yet"),
            (&["nosuch.conf"], "can't open config file '/nonexistent/nosuch.conf': No such file or directory"),
        ] {
            let error = start(args, "").expect_err("a mistake");
            assert!(error.contains(part), "{args:?}: {error}");
        }
    }

    #[test]
    fn help_version_and_sample_are_printed() {
        for flag in ["--help", "-h"] {
            let Ok(Invocation::Print(help)) = start(&[flag], "") else { panic!("{flag}") };
            for row in DIRECTIVES {
                assert!(help.contains(&format!("--{}", row.name)), "{}", row.name);
            }
        }
        for flag in ["--version", "-v"] {
            let Ok(Invocation::Print(version)) = start(&[flag], "") else { panic!("{flag}") };
            assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
        }
        let Ok(Invocation::Print(sample)) = start(&["--port", "7000", "--print-config"], "") else { panic!() };
        assert!(sample.contains("\nport 7000\n"));
    }
}
