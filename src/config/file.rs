//! Reads configuration files: a directive a line with its values as words (see [`words`]), `#` before comments, and
//! `include` with a path or pattern of further files, which are read in its place. A relative path starts at the
//! directory the server was started in.

use super::value::Reason;
use super::{Config, DIRECTIVES, Directive, find};
use crate::limits::{CONFIG_FILE_BYTES_MAX, CONFIG_FILES_MAX, CONFIG_INCLUDE_DEPTH_MAX};
use crate::stdx::os::error_text;
use crate::stdx::{glob, words};
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why a configuration cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum FileError {
    /// The file cannot be read.
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A line is wrong.
    Line {
        /// The file, or what else was read.
        source: String,
        /// The line's number, from 1.
        number: usize,
        /// The line.
        line: String,
        /// What is wrong with it.
        reason: Reason,
    },
}

impl FileError {
    /// The mistake in one line, with where it is in the way of compilers.
    pub fn line(&self) -> String {
        match self {
            Self::Open { path, reason } => format!("{}: can't open the configuration file: {reason}", path.display()),
            Self::Line { source, number, line, reason } => format!("{source}:{number}: '{line}': {reason}"),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, reason } => {
                write!(f, "Fatal error, can't open config file '{}': {reason}", path.display())
            }
            Self::Line { source, number, line, reason } => {
                writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Crimson {}) ***", env!("CARGO_PKG_VERSION"))?;
                writeln!(f, "Reading the configuration file, at line {number} of {source}")?;
                write!(f, ">>> '{line}'\n{reason}")
            }
        }
    }
}

impl std::error::Error for FileError {}

/// Reads files into a [`Config`].
pub struct Reader<'a> {
    config: &'a mut Config,
    base: &'a Path,
    files: usize,
}

impl<'a> Reader<'a> {
    /// A reader that changes `config`; relative paths start at `base`.
    pub fn new(config: &'a mut Config, base: &'a Path) -> Self {
        Self { config, base, files: 0 }
    }

    /// Reads the file at `path`.
    pub fn file(&mut self, path: &Path) -> Result<(), FileError> {
        self.file_at_depth(path, 0)
    }

    /// Reads `text`; errors name it `source`.
    pub fn text(&mut self, text: &[u8], source: &str) -> Result<(), FileError> {
        self.text_at_depth(text, source, 0)
    }

    fn file_at_depth(&mut self, path: &Path, depth: usize) -> Result<(), FileError> {
        let path = self.base.join(path);
        let text =
            read_bounded(&path).map_err(|error| FileError::Open { path: path.clone(), reason: error_text(&error) })?;
        self.text_at_depth(&text, &path.to_string_lossy(), depth)
    }

    fn text_at_depth(&mut self, text: &[u8], source: &str, depth: usize) -> Result<(), FileError> {
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            let result = self.line(line, depth);
            result.map_err(|error| match error {
                LineError::Inner(error) => error,
                LineError::Reason(reason) => {
                    FileError::Line { source: source.into(), number: index + 1, line: without_secrets(line), reason }
                }
            })?;
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], depth: usize) -> Result<(), LineError> {
        let Some(words) = directive_words(line)? else { return Ok(()) };
        let (name, values) = words.split_first().expect("a line with words has a first");
        if name.eq_ignore_ascii_case(b"include") {
            return match values {
                [pattern] => self.include(pattern, depth),
                _ => Err(UNKNOWN.into()),
            };
        }
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let directive = find(name).ok_or_else(|| LineError::Reason(unknown(name).into()))?;
        directive.read(self.config, &values).map_err(LineError::Reason)
    }

    fn include(&mut self, pattern: &[u8], depth: usize) -> Result<(), LineError> {
        if depth + 1 >= CONFIG_INCLUDE_DEPTH_MAX {
            return Err("files are included too deeply; do they include each other?".into());
        }
        for path in expand(self.base, pattern) {
            self.files += 1;
            if self.files > CONFIG_FILES_MAX {
                return Err("too many files are included; do they include each other?".into());
            }
            self.file_at_depth(&path, depth + 1).map_err(|error| match error {
                FileError::Open { .. } => LineError::Reason(error.to_string().into()),
                error => LineError::Inner(error),
            })?;
        }
        Ok(())
    }
}

/// A line as an error shows it: what a directive is set to that must not be seen is left out.
fn without_secrets(line: &[u8]) -> String {
    let name = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let shown = if find(name).is_some_and(|row| row.secret) { name } else { line };
    String::from_utf8_lossy(shown).into_owned()
}

const UNKNOWN: &str = "Bad directive or wrong number of arguments";

/// Why a line of a directive that is not there is refused: Redis's reason, and what to do.
fn unknown(name: &[u8]) -> String {
    /// Below this likeness, from 0 to 1, a name is another name and not a misspelt one.
    const LIKENESS_MIN: f64 = 0.75;
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let likeness = |row: &Directive| strsim::normalized_damerau_levenshtein(&name, row.name);
    let nearest = DIRECTIVES.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|row| likeness(row) >= LIKENESS_MIN) {
        Some(row) => format!("{UNKNOWN}: there is no '{name}'; did you mean '{}'?", row.name),
        None => format!("{UNKNOWN}: there is no '{name}'; `crimson --help` lists all directives"),
    }
}

enum LineError {
    /// This line is wrong.
    Reason(Reason),
    /// A file it includes is wrong.
    Inner(FileError),
}

impl From<&'static str> for LineError {
    fn from(reason: &'static str) -> Self {
        Self::Reason(reason.into())
    }
}

/// The words of a configuration line; none for an empty line or a comment.
pub(super) fn directive_words(line: &[u8]) -> Result<Option<Vec<Vec<u8>>>, &'static str> {
    if line.is_empty() || line[0] == b'#' {
        return Ok(None);
    }
    let words = words::split(line).ok_or("Unbalanced quotes in configuration line")?;
    Ok((!words.is_empty()).then_some(words))
}

/// The whole file, if it is of a size that makes sense.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(CONFIG_FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > CONFIG_FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for a configuration file"));
    }
    Ok(text)
}

/// The paths that `pattern` stands for, sorted; the path itself when it is no pattern.
fn expand(base: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let is_pattern = |part: &[u8]| part.iter().any(|byte| b"*?[".contains(byte));
    let mut paths = vec![base.to_path_buf()];
    if !is_pattern(pattern) {
        return vec![base.join(OsStr::from_bytes(pattern))];
    }
    for part in Path::new(OsStr::from_bytes(pattern)).components().map(|part| part.as_os_str()) {
        let bytes = part.as_bytes();
        if !is_pattern(bytes) {
            paths.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        // As the shell does, a pattern finds a hidden file only when it begins with a dot itself.
        let fits =
            |name: &OsStr| (bytes[0] == b'.' || name.as_bytes()[0] != b'.') && glob::matches(bytes, name.as_bytes());
        paths = paths
            .iter()
            .flat_map(std::fs::read_dir)
            .flatten()
            .flatten()
            .filter(|e| fits(&e.file_name()))
            .map(|e| e.path())
            .collect();
    }
    paths.retain(|path| path.exists());
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory that goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("crimson-config-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("made");
            Self(path)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).expect("written");
        }

        fn read(&self, name: &str) -> Result<Config, FileError> {
            let mut config = Config::default();
            Reader::new(&mut config, &self.0).file(Path::new(name)).map(|()| config)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn read(text: &str) -> Result<Config, FileError> {
        let mut config = Config::default();
        Reader::new(&mut config, Path::new("/nonexistent")).text(text.as_bytes(), "the test").map(|()| config)
    }

    fn reason(text: &str) -> (usize, String, String) {
        match read(text) {
            Err(FileError::Line { number, line, reason, .. }) => (number, line, reason.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn directives_comments_and_quotes_are_understood() {
        let config = read(
            "# comment\r\n\n  PORT 7000\r\nbind 127.0.0.1 -::1\n\tlogfile \"a \\x62\\\"\"\nunixsocket 'it\\'s'\n\
             maxclients 1\nmaxclients 2\nproto-max-bulk-len 3mb\nhash-max-ziplist-entries 4\nunixsocketperm 700\n\
             client-output-buffer-limit normal 1 2 3\nclient-output-buffer-limit pubsub 4 5 6\nsave \"\"\nport 7001",
        )
        .expect("valid");
        assert_eq!((config.port, config.maxclients, config.proto_max_bulk_len), (7001, 2, 3 << 20));
        assert_eq!(config.bind, ["127.0.0.1", "-::1"]);
        assert_eq!((config.logfile.as_str(), config.unixsocket.as_str()), ("a b\"", "it's"));
        assert_eq!((config.encoding.hash_max_listpack_entries, config.unixsocketperm), (4, 0o700));
        let hard = config.client_output_buffer_limits.map(|limit| limit.hard_bytes);
        assert_eq!(hard, [1, 256 << 20, 4]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let unknown = "Bad directive or wrong number of arguments";
        for (text, number, line, why) in [
            ("port 1\nfoo \"bar\n", 2, "foo \"bar", "Unbalanced quotes in configuration line"),
            (
                "\n\n  foo 1 \n",
                3,
                "foo 1",
                "Bad directive or wrong number of arguments: there is no 'foo'; `crimson --help` lists all directives",
            ),
            (
                "MaxClient 5",
                1,
                "MaxClient 5",
                "Bad directive or wrong number of arguments: there is no 'maxclient'; did you mean 'maxclients'?",
            ),
            ("port", 1, "port", "wrong number of arguments"),
            ("port 1 2", 1, "port 1 2", "wrong number of arguments"),
            ("include", 1, "include", unknown),
            ("include a b", 1, "include a b", unknown),
            ("maxclients 0", 1, "maxclients 0", "argument must be between 1 and 4294967295 inclusive"),
            (
                "daemonize yes",
                1,
                "daemonize yes",
                "Crimson stays in the foreground, only 'no' is accepted: systemd does the rest",
            ),
        ] {
            assert_eq!(reason(text), (number, line.into(), why.into()));
        }
        for text in ["requirepass my secret", "RequirePass\t\"my secret", "requirepass \"my\"secret"] {
            assert!(!read(text).expect_err("wrong").to_string().contains("secret"), "{text}");
        }
        let error = read("port x").expect_err("wrong").to_string();
        assert!(error.contains("*** FATAL CONFIG FILE ERROR"), "{error}");
        assert!(error.contains("Reading the configuration file, at line 1"), "{error}");
        assert!(error.ends_with(">>> 'port x'\nargument couldn't be parsed into an integer"), "{error}");
    }

    #[test]
    fn files_are_included_by_path_and_by_pattern() {
        let scratch = Scratch::new("include");
        fs::create_dir(scratch.0.join("conf.d")).expect("made");
        scratch.write("conf.d/1.conf", "port 1\ntimeout 1\n");
        scratch.write("conf.d/2.conf", "port 2\n");
        scratch.write("conf.d/.hidden.conf", "port 9\n");
        scratch.write("conf.d/other", "port 8\n");
        scratch.write("main.conf", "include conf.d/*.conf\ninclude none*.conf\nmaxclients 5\n");
        let config = scratch.read("main.conf").expect("valid");
        assert_eq!((config.port, config.timeout, config.maxclients), (2, 1, 5));
        scratch.write("absolute.conf", &format!("include {}/conf.d/[1]*", scratch.0.display()));
        assert_eq!(scratch.read("absolute.conf").expect("valid").port, 1);
    }

    #[test]
    fn an_include_that_fails_is_named() {
        let scratch = Scratch::new("fails");
        scratch.write("missing.conf", "port 1\ninclude nosuch.conf\n");
        let error = scratch.read("missing.conf").expect_err("missing").to_string();
        assert!(error.contains("at line 2 of") && error.ends_with("No such file or directory"), "{error}");
        scratch.write("inner.conf", "port 1\n\nport x\n");
        scratch.write("outer.conf", "include inner.conf");
        let error = scratch.read("outer.conf").expect_err("wrong").to_string();
        assert!(error.contains("at line 3 of") && error.contains("inner.conf"), "{error}");
        assert!(matches!(scratch.read("nosuch.conf"), Err(FileError::Open { .. })));
    }

    #[test]
    fn files_that_include_each_other_end() {
        let scratch = Scratch::new("cycle");
        scratch.write("a.conf", "include b.conf");
        scratch.write("b.conf", "include a.conf");
        let error = scratch.read("a.conf").expect_err("a cycle").to_string();
        assert!(error.contains("too deeply"), "{error}");
        scratch.write("c.conf", &"include *.txt\n".repeat(40));
        (0..40).for_each(|n| scratch.write(&format!("{n}.txt"), ""));
        let error = scratch.read("c.conf").expect_err("too many").to_string();
        assert!(error.contains("too many files"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let mut config = Config::default();
            let _ = Reader::new(&mut config, Path::new("/nonexistent")).text(&text, "the test");
        }

        #[test]
        fn no_value_panics(row in 0..super::super::DIRECTIVES.len(), values in "[ -~]{0,20}") {
            let mut config = Config::default();
            let line = format!("{} {values}", super::super::DIRECTIVES[row].name);
            let _ = Reader::new(&mut config, Path::new("/nonexistent")).text(line.as_bytes(), "the test");
        }
    }
}
