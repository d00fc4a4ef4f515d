//! The configuration as a file with comments: `deploy/crimson.conf`, and what `--print-config` prints.

use super::{Config, DIRECTIVES};
use std::fmt::Write;

/// Columns that the comments fill at most.
const WIDTH: usize = 100;

const HEAD: &str = "\
# The configuration of Crimson, with every directive at its default. Made by `crimson --print-config`.
#
# Start with it: crimson /etc/crimson/crimson.conf
# Flags override it: crimson /etc/crimson/crimson.conf --port 7000
#
# Memory sizes may have a unit, in any case: b; k, m, g for powers of 1000; kb, mb, gb for powers of 1024.
# Values with spaces stand in quotes: \"a b\" with the escapes \\n \\r \\t \\b \\a \\xHH, or 'a b' with none but \\'.
# `include PATH` reads another file in its place; the path may be a pattern such as conf.d/*.conf.
# CONFIG SET changes a running server, and CONFIG REWRITE writes what has changed to this file.
";

/// A file that leads to `config`.
pub fn text(config: &Config) -> String {
    let mut text = String::from(HEAD);
    let mut section = None;
    for row in DIRECTIVES {
        if section != Some(row.section) {
            section = Some(row.section);
            let title = row.section.title();
            write!(text, "\n# {title}\n# {}\n", "-".repeat(title.len())).expect(INFALLIBLE);
        }
        text.push('\n');
        comment(&mut text, row.doc);
        comment(&mut text, &format!("({}; {})", row.form(), row.change.text()));
        for line in row.lines(config) {
            writeln!(text, "{line}").expect(INFALLIBLE);
        }
    }
    text
}

const INFALLIBLE: &str = "writing to a String does not fail";

/// Appends `sentence` as comment lines.
fn comment(text: &mut String, sentence: &str) {
    text.push('#');
    let mut width = 1;
    for word in sentence.split(' ') {
        if width > 1 && width + 1 + word.len() > WIDTH {
            text.push_str("\n#");
            width = 1;
        }
        text.push(' ');
        text.push_str(word);
        width += 1 + word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::file::Reader;
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut config = Config { port: 7000, unixsocket: "a b".into(), bind: Vec::new(), ..Config::default() };
        config.cpus = vec![1, 2, 3];
        config.client_output_buffer_limits[1].soft_seconds = 7;
        for config in [config, Config::default()] {
            let mut read = Config::default();
            Reader::new(&mut read, std::path::Path::new("/")).text(text(&config).as_bytes(), "sample").expect("valid");
            assert_eq!(read, config);
        }
    }

    #[test]
    fn no_line_is_too_long() {
        for line in text(&Config::default()).lines() {
            assert!(line.len() <= 112 && !line.ends_with(' '), "{line}");
        }
    }
}
