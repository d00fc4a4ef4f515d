//! The rules of the code base that a compiler does not check: layers, names, sizes, headers, where `unsafe` and foreign
//! crates may stand.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file, split into its code and its unit tests.
struct Source {
    path: String,
    text: String,
    /// Everything before the unit tests.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = ["src", "tests", "benches", "fuzz"].iter().map(|dir| root.join(dir)).collect();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" {
                open.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default().to_string();
                let path = path.strip_prefix(root).expect("below the checkout").to_string_lossy().into_owned();
                found.push(Source { path, text, code });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

impl Source {
    /// The room of a file in `src`: its folder or its own name. `None` elsewhere and for `lib.rs` and `main.rs`.
    fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let room = inside.split('/').next()?.trim_end_matches(".rs");
        (!matches!(room, "lib" | "main")).then_some(room)
    }

    /// Whether the whole file is unit tests.
    fn is_tests(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    /// Lines of code without comments, with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// The rooms in the order in which `src/lib.rs` lists them.
fn rooms() -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("the map is there");
    let of_line = |line: &str| Some(line.strip_prefix("//! - [`")?.split('`').next()?.to_string());
    text.lines().filter_map(of_line).collect()
}

/// Names of the rooms that `line` mentions by a `crate::` path, also inside braces.
fn rooms_used(line: &str) -> Vec<&str> {
    let mut used = Vec::new();
    for rest in line.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let inside = list.split('}').next().unwrap_or(list);
            used.extend(inside.split(',').filter_map(|item| item.trim().split("::").next()));
        } else {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            used.push(&rest[..end]);
        }
    }
    used
}

fn assert_none(wrong: Vec<String>, what: &str) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

#[test]
fn rooms_use_only_rooms_below() {
    let rooms = rooms();
    assert!(rooms.len() > 10, "the list of rooms in src/lib.rs was not understood");
    let height = |room: &str| rooms.iter().position(|name| name == room);
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_tests()) {
        let Some(room) = source.room() else { continue };
        let Some(own) = height(room) else {
            wrong.push(format!("{}: the room {room} is not in the list of src/lib.rs", source.path));
            continue;
        };
        for (number, line) in source.lines() {
            for used in rooms_used(line) {
                if height(used).is_some_and(|other| other > own) {
                    wrong.push(format!("{}:{number}: {room} uses {used}, which is above it", source.path));
                }
            }
        }
    }
    assert_none(wrong, "uses go downward only, in the order of src/lib.rs");
}

#[test]
fn only_the_runtime_knows_glommio_and_io_uring() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/") && source.room() != Some("runtime"))
    {
        for (number, line) in source.lines() {
            if ["glommio::", "io_uring::", "use glommio;", "use io_uring;"].iter().any(|name| line.contains(name)) {
                wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(wrong, "glommio and io_uring belong to the runtime");
}

#[test]
fn unsafe_code_stands_only_where_it_may() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/")) {
        let allowed = matches!(source.room(), Some("structures" | "stdx" | "runtime"));
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let block = code.contains("unsafe {");
            let other =
                ["unsafe fn", "unsafe impl", "unsafe trait", "unsafe extern"].iter().any(|word| code.contains(word));
            if (block || other) && !allowed {
                wrong.push(format!("{}:{}: unsafe", source.path, index + 1));
            }
            // The note may stand some lines above when the statement is long.
            let noted = lines[index.saturating_sub(8)..index].iter().any(|above| above.contains("SAFETY:"));
            if block && !noted {
                wrong.push(format!("{}:{}: an unsafe block without its SAFETY note", source.path, index + 1));
            }
        }
    }
    assert_none(wrong, "unsafe stands in structures, stdx and runtime, each block with its note");
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("src/") && !source.is_tests()) {
        for (number, line) in source.lines() {
            if line.contains(".unwrap()") {
                wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(wrong, "unwrap says nothing; expect says why it holds");
}

#[test]
fn files_have_a_header_and_a_size_to_read() {
    const LINES_MAX: usize = 800;
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//!") {
            wrong.push(format!("{}: does not open with what it is for (//!)", source.path));
        }
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines; split it", source.path));
        }
    }
    assert_none(wrong, "a file opens with //! and stays below 800 lines");
}

#[test]
fn names_say_what_a_file_holds() {
    const BANNED: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "misc", "manager", "stuff"];
    let is_banned =
        |source: &&Source| source.path.split('/').any(|part| BANNED.contains(&part.trim_end_matches(".rs")));
    let wrong = sources().iter().filter(is_banned).map(|source| source.path.clone()).collect();
    assert_none(wrong, "names that say nothing");
}

#[test]
fn no_bare_todo_is_left() {
    // Put together here, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("to", "do!("),
        concat!("un", "implemented!("),
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    assert_none(wrong, "work that is announced instead of done");
}
