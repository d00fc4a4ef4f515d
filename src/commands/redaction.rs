//! Which arguments of a command nobody but its handler may see: passwords. MONITOR and SLOWLOG show others in their place.

use super::Entry;
use crate::config::find;
use crate::resp::Args;
use crate::resp::args::is_token;

/// What stands in the place of what is not shown, as in Redis.
pub const REDACTED: &[u8] = b"(redacted)";

/// The arguments of a command with what is secret replaced.
///
/// Differs: Redis finds the secrets where the command parses them; here also those of a request that is written wrongly
/// are kept back.
pub fn redacted<'a>(entry: &Entry, args: Args<'a>) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
    let secrets = secrets(entry.row.spec.name, args);
    args.iter_from(0)
        .enumerate()
        .map(move |(index, argument)| if secrets.contains(&index) { REDACTED } else { argument })
}

/// The places of secret arguments.
fn secrets(name: &str, args: Args<'_>) -> Vec<usize> {
    let end = args.len();
    match name {
        "auth" => (1..end).collect(),
        "hello" => {
            let options = (1..end).filter(|&index| is_token(args.at(index), "AUTH"));
            options.flat_map(|option| option + 1..end.min(option + 3)).collect()
        }
        "config|set" => {
            let secret = |name: &usize| find(args.at(*name)).is_some_and(|row| row.secret);
            let names = (2..end).step_by(2).filter(secret);
            // With a value too many it may be a password with a space in it.
            let whole = end.is_multiple_of(2);
            names.flat_map(|name| name + 1..if whole { end.min(name + 2) } else { end }).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;
    use crate::commands::testing::spans;

    fn shown(line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let (buffer, spans) = (words.concat(), spans(&words));
        let args = Args::new(&buffer, &spans);
        let top = table().find(words[0]).expect("a known command");
        let entry = words.get(1).and_then(|word| table().find_subcommand(top, word)).unwrap_or(top);
        let shown: Vec<&[u8]> = redacted(entry, args).collect();
        String::from_utf8(shown.join(&b' ')).expect("text")
    }

    #[test]
    fn secrets_are_not_shown() {
        const R: &str = "(redacted)";
        for (line, expected) in [
            ("auth pw", format!("auth {R}")),
            ("AUTH default pw", format!("AUTH {R} {R}")),
            ("AUTH my pass word", format!("AUTH {R} {R} {R}")),
            ("HELLO 3", "HELLO 3".into()),
            ("HELLO 3 auth default pw SETNAME me", format!("HELLO 3 auth {R} {R} SETNAME me")),
            ("HELLO AUTH default pw", format!("HELLO AUTH {R} {R}")),
            ("HELLO 3 AUTH default", format!("HELLO 3 AUTH {R}")),
            ("CONFIG SET hz 5 requirepass pw timeout 1", format!("CONFIG SET hz 5 requirepass {R} timeout 1")),
            ("CONFIG SET REQUIREPASS pass word", format!("CONFIG SET REQUIREPASS {R} {R}")),
            ("CONFIG GET requirepass", "CONFIG GET requirepass".into()),
            ("GET requirepass", "GET requirepass".into()),
        ] {
            assert_eq!(shown(line), expected);
        }
    }
}
