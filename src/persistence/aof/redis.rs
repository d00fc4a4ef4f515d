//! Redis's manifest, read: a line `file NAME seq NUMBER type LETTER` a file, `b` for the base, `i` for increments in order
//! of their numbers, `h` for what is no longer needed. Pairs may come in any order, lines with `#` are comments. Errors
//! are told as Redis tells them.
//!
//! A comment of ours says which generation of ours is begun that is to take the place of Redis's log.

use super::batch::{Kind, LogId, SegmentId};
use super::manifest::{BEGUN, Entry, Manifest, is_file_name, parse_begun};
use super::record::decimal;
use crate::stdx::words;

/// Most bytes of a line, as Redis (`MANIFEST_MAX_LINE`).
const LINE_BYTES_MAX: usize = 1024;

/// Understands a manifest of Redis.
pub(super) fn parse_manifest(text: &[u8]) -> Result<Manifest, String> {
    if text.is_empty() {
        return Err("Found an empty AOF manifest".into());
    }
    let mut manifest = Manifest::of_redis(Vec::new());
    for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let known = match line {
            [b'#', comment @ ..] => {
                manifest.begun = begun(comment).unwrap_or(manifest.begun);
                continue;
            }
            [line @ .., b'\n'] if line.len() < LINE_BYTES_MAX => add(&mut manifest.files, line),
            _ => Err("The AOF manifest file contains too long line"),
        };
        known.map_err(|reason| {
            let shown = String::from_utf8_lossy(line.trim_ascii_end());
            format!("Reading the manifest file, at line {}\n>>> '{shown}'\n{reason}", index + 1)
        })?;
    }
    Ok(manifest)
}

/// How our comment begins, behind its `#`.
const OURS: &str = "crimson ";

fn begun(comment: &[u8]) -> Option<u64> {
    parse_begun(comment.strip_prefix(OURS.as_bytes())?.trim_ascii_end())
}

/// The same manifest, saying that a generation of ours is begun.
pub(super) fn with_begun(text: &[u8], generation: u64) -> Vec<u8> {
    let comment = format!("#{OURS}{BEGUN}{generation}\n");
    let others = text.split_inclusive(|&byte| byte == b'\n');
    let kept = others.filter(|line| line.strip_prefix(b"#").and_then(begun).is_none());
    let mut text = kept.collect::<Vec<_>>().concat();
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    [&text, comment.as_bytes()].concat()
}

/// Adds the file of one line.
fn add(files: &mut Vec<Entry>, line: &[u8]) -> Result<(), &'static str> {
    const INVALID: &str = "Invalid AOF manifest file format";
    let words = words::split(line.trim_ascii()).ok_or(INVALID)?;
    if words.len() < 6 || words.len() % 2 != 0 {
        return Err(INVALID);
    }
    let (mut name, mut sequence, mut letter) = (None, 0, b"".as_slice());
    for pair in words.chunks_exact(2) {
        let value = &pair[1][..];
        match () {
            () if pair[0].eq_ignore_ascii_case(b"file") => {
                let text = std::str::from_utf8(value).ok().filter(|text| is_file_name(text));
                name = Some(text.ok_or("File can't be a path, just a filename")?);
            }
            () if pair[0].eq_ignore_ascii_case(b"seq") => sequence = decimal(value).unwrap_or(0),
            () if pair[0].eq_ignore_ascii_case(b"type") => letter = value,
            () => {}
        }
    }
    let name = name.filter(|_| sequence > 0 && !letter.is_empty()).ok_or(INVALID)?;
    let of_kind = |kind| files.iter().filter(move |entry: &&Entry| entry.segment.kind == kind);
    let kind = match letter[0] {
        b'b' if of_kind(Kind::Base).next().is_some() => return Err("Found duplicate base file information"),
        b'b' => Kind::Base,
        b'i' if of_kind(Kind::Increment).any(|entry| entry.segment.generation >= sequence) => {
            return Err("Found a non-monotonic sequence number");
        }
        b'i' => Kind::Increment,
        b'h' => return Ok(()),
        _ => return Err("Unknown AOF file type"),
    };
    let segment = SegmentId { log: LogId::NONE, generation: sequence, shard: 0, kind };
    files.push(Entry { name: name.into(), segment, bytes: None });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::aof::Origin;

    #[test]
    fn manifests_of_redis_are_understood() {
        let text = "# made by hand\nfile a.1.base.aof seq 1 type b\nfile old seq 1 type h\n\
                    file \"a b\" seq 2 type i\ntype i SEQ 4 file c extra x\n";
        let manifest = parse_manifest(text.as_bytes()).unwrap();
        let files: Vec<_> = manifest.of_shard(0).iter().map(|entry| entry.name.clone()).collect();
        assert_eq!((manifest.origin, manifest.shards, manifest.files.len()), (Origin::Redis, 1, 3));
        assert_eq!(files, ["a.1.base.aof", "a b", "c"]);
        let torn: Vec<_> = manifest.files.iter().map(|entry| manifest.may_be_torn(entry)).collect();
        assert_eq!(torn, [false, false, true]);
        let lone = parse_manifest(b"file a seq 1 type b\n").unwrap();
        assert!(lone.may_be_torn(&lone.files[0]));
    }

    #[test]
    fn a_comment_says_which_generation_of_ours_is_begun() {
        let text = b"file a seq 1 type b\n# made by hand";
        let once = with_begun(text, 2);
        assert_eq!(once, b"file a seq 1 type b\n# made by hand\n#crimson begun 2\n");
        assert_eq!(parse_manifest(&once).unwrap().newest(), 2);
        let twice = with_begun(&once, 3);
        assert_eq!(twice, b"file a seq 1 type b\n# made by hand\n#crimson begun 3\n");
        assert_eq!(parse_manifest(&twice).unwrap(), Manifest { begun: 3, ..parse_manifest(text).unwrap() });
    }

    #[test]
    fn errors_are_those_of_redis() {
        for (text, reason) in [
            ("file a seq 1 type b\nfile b seq 2 type b\n", "Found duplicate base file information"),
            ("file a seq 2 type i\nfile b seq 2 type i\n", "Found a non-monotonic sequence number"),
            ("\n", "Invalid AOF manifest file format"),
            ("\nfile a seq 1 type i\n", "Invalid AOF manifest file format"),
            ("file a/b seq 1 type b\n", "File can't be a path, just a filename"),
            ("file a seq x type b\n", "Invalid AOF manifest file format"),
            ("file a seq 0 type b\n", "Invalid AOF manifest file format"),
            ("file a type b\n", "Invalid AOF manifest file format"),
            ("foo a seq 1 type b\n", "Invalid AOF manifest file format"),
            ("file a seq 1 type z\n", "Unknown AOF file type"),
            ("file \"a seq 1 type i\n", "Invalid AOF manifest file format"),
            ("file a seq 1 type i foo\n", "Invalid AOF manifest file format"),
            ("file a seq 1 type i", "The AOF manifest file contains too long line"),
        ] {
            let error = parse_manifest(text.as_bytes()).unwrap_err();
            assert!(error.ends_with(reason), "{text}: {error}");
        }
        let error = parse_manifest(b"file a seq 1 type b\nfile b seq 2 type b\n").unwrap_err();
        assert!(error.starts_with("Reading the manifest file, at line 2\n>>> 'file b seq 2 type b'\n"), "{error}");
        assert!(parse_manifest(b"").is_err());
    }
}
