//! Malformed requests: the same bytes to `redis-server` and to Crimson must bring the same bytes back.

use crate::SHARDS;
use crate::support::{Client, Server, encode};
use crimson::stdx::random::Random;
use std::net::Shutdown;

/// Everything a server answers to `bytes` and the end of input.
fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut client = server.client();
    // The server may close before it has read everything.
    let _ = client.try_send(bytes);
    let _ = client.tcp().shutdown(Shutdown::Write);
    client.read_to_end()
}

fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() > 300 { format!("{}... ({} bytes)", &text[..300], bytes.len()) } else { text }
}

/// Asks both servers and lists where their answers differ.
fn differences(inputs: &[Vec<u8>], arguments: &[&str]) -> Vec<String> {
    let oracle = Server::redis(arguments);
    let mut wrong = Vec::new();
    for shards in SHARDS {
        let mut subject = Server::subject(shards, arguments);
        oracle.client().run("FLUSHALL");
        for input in inputs {
            let (theirs, ours) = (answer(&oracle, input), answer(&subject, input));
            if theirs != ours {
                wrong.push(format!(
                    "{shards} shards: {}\n  redis:   {}\n  crimson: {}",
                    shown(input),
                    shown(&theirs),
                    shown(&ours)
                ));
            }
            if !subject.is_alive() {
                wrong.push(format!("{shards} shards: the server ended on {}\n{}", shown(input), subject.log()));
                subject = Server::subject(shards, arguments);
            }
        }
    }
    wrong
}

fn assert_same_answers(inputs: &[Vec<u8>]) {
    let wrong = differences(inputs, &[]);
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn malformed_arrays() {
    let inputs: [&[u8]; 33] = [
        b"*1\r\n$4\r\nPING\r\n",
        b"*0\r\n*1\r\n$4\r\nPING\r\n",
        b"*-1\r\n*1\r\n$4\r\nPING\r\n",
        b"*-10\r\n*1\r\n$4\r\nPING\r\n",
        b"*abc\r\n",
        b"*\r\n",
        b"*1 \r\n",
        b"* 1\r\n",
        b"*+1\r\n",
        b"*01\r\n",
        b"*1.5\r\n",
        b"*2147483648\r\n",
        b"*9223372036854775808\r\n",
        b"*-9223372036854775809\r\n",
        b"*99999999999999999999999999\r\n",
        b"*2147483647\r\n$4\r\nPING\r\n",
        b"*1\r\nPING\r\n",
        b"*1\r\n:4\r\n",
        b"*1\r\n\r\n",
        b"*1\r\n+PING\r\n",
        b"*1\r\n$abc\r\n",
        b"*1\r\n$\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$ 4\r\nPING\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*1\r\n$0\r\n\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$-5\r\n",
        b"*2\r\n$4\r\nECHO\r\n$5\r\nhe",
        b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
        b"*1\r\n$4\r\nPING\r\n*x\r\n*1\r\n$4\r\nPING\r\n",
        b"*1\n$4\nPING\n",
        b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n!3\r\n",
    ];
    assert_same_answers(&inputs.map(<[u8]>::to_vec));
}

#[test]
fn inline_commands() {
    let inputs: [&[u8]; 26] = [
        b"PING\r\n",
        b"PING\n",
        b"ping\r\nPING\r\n",
        b"\r\nPING\r\n",
        b"\nPING\r\n",
        b"   \r\nPING\r\n",
        b"  PING   hello  \r\n",
        b"PING\thello\r\n",
        b"ECHO \"a b\"\r\n",
        b"ECHO \"a\\x41\\x0d\\n\\t\\\"\"\r\n",
        b"ECHO 'a\\'b\\n'\r\n",
        b"ECHO \"\"\r\n",
        b"ECHO ''\r\n",
        b"ECHO \"\\xzz\"\r\n",
        b"ECHO a\"b\"c\r\n",
        b"ECHO \"a\"b\r\n",
        b"ECHO 'a'b\r\n",
        b"ECHO \"a\r\n",
        b"ECHO 'a\r\n",
        b"ECHO a'b\r\n",
        b"SET k \"v\r\nPING\r\n",
        b"GET\r\n",
        b"NOSUCH one two\r\n",
        b"PING\r\r\n",
        b"$4\r\nPING\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    assert_same_answers(&inputs.map(<[u8]>::to_vec));
}

/// Redis sees no end of a line with a zero byte and waits; Crimson refuses it. Neither runs what stands before the zero.
#[test]
fn a_line_with_a_zero_byte_is_not_cut_short() {
    for line in [&b"SET k a\0b\r\nPING\r\n"[..], b"\0SET k a\nPING\r\n", b"\x00\x01\x02\xff\r\n"] {
        let oracle = Server::redis(&[]);
        assert_eq!(answer(&oracle, line), b"", "{}", shown(line));
        assert_eq!(oracle.client().run("EXISTS k").integer(), 0);
        for shards in SHARDS {
            let server = Server::subject(shards, &[]);
            assert_eq!(
                answer(&server, line),
                b"-ERR Protocol error: zero byte in inline request\r\n",
                "{}",
                shown(line)
            );
            assert_eq!(server.client().run("EXISTS k").integer(), 0);
        }
    }
}

#[test]
fn unknown_commands_and_long_arguments() {
    let long = "y".repeat(200);
    let inputs = [
        encode(&["NOSUCH"]),
        encode(&["NO\r\nSUCH", "a\r\nb"]),
        encode(&["NO\nSUCH"]),
        encode(&[&long]),
        encode(&["NOSUCH", &long, &long]),
        encode(&["NOSUCH", "a", "b", "c", "d", "e", "f", "g"]),
        encode(&["NOSUCH", &long[..100], &long[..27], "b"]),
        encode(&[b"NO\0SUCH".as_slice(), b"a\0b"]),
        encode(&[b"\xff\xfe".as_slice(), b"'", b"\""]),
        encode(&["CLIENT", "NO\r\nSUCH"]),
        encode(&["CLIENT", &long]),
        encode(&["OBJECT", "ENCODING"]),
        encode(&["GET", "a", "b"]),
        encode(&["get"]),
        // Ends of lines in a foreign word become spaces, and go at the end of the text.
        encode(&["PEXPIRE", "k", "a", "\r\n"]),
        encode(&["PEXPIRE", "k", "a", "\n\nx\r\n\n"]),
        encode(&["PEXPIRE", "k", "a", "x \r\n"]),
    ];
    assert_same_answers(&inputs);
}

/// A web page must not be able to make a browser send commands: what looks like HTTP ends the connection, and what
/// stands behind it does not run.
#[test]
fn requests_of_browsers_are_refused() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        for head in ["POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n", "PING\r\nhost: a\r\n"] {
            let answered = answer(&server, format!("{head}\r\nSET harm 1\r\nPING\r\nECHO end\r\n").as_bytes());
            assert!(!answered.ends_with(b"end\r\n"), "{head:?} is answered {}", shown(&answered));
            assert_eq!(server.client().run("EXISTS harm").integer(), 0, "{head:?}: a command behind it has run");
        }
    }
}

/// What is too long is refused with its own error. Nothing is sent behind it, so that no reset can overtake the error.
#[test]
fn oversized_lines() {
    let too_long = 64 * 1024 + 1;
    let inputs = [
        "x".repeat(too_long).into_bytes(),
        format!("ECHO {}", "x".repeat(too_long)).into_bytes(),
        format!("*{}", "1".repeat(too_long)).into_bytes(),
        format!("*1\r\n${}", "1".repeat(too_long)).into_bytes(),
        // Just below the bound, and ended: an ordinary request.
        format!("ECHO {}\r\n", "x".repeat(60_000)).into_bytes(),
    ];
    let oracle = Server::redis(&[]);
    for shards in SHARDS {
        let subject = Server::subject(shards, &[]);
        for input in &inputs {
            let ask = |server: &Server| {
                let mut client = server.client();
                client.send(input);
                client.try_read().map(|(_, raw)| raw).unwrap_or_default()
            };
            let (theirs, ours) = (ask(&oracle), ask(&subject));
            assert_eq!(shown(&theirs), shown(&ours), "{shards} shards: {}", shown(input));
        }
    }
}

#[test]
fn a_lower_bulk_limit_is_obeyed() {
    let inputs = [
        format!("*2\r\n$4\r\nECHO\r\n${}\r\n", 2 * 1024 * 1024).into_bytes(),
        encode(&["ECHO", &"x".repeat(1024 * 1024)]),
        encode(&["SETRANGE", "k", "1048577", "x"]),
        encode(&["APPEND", "k", "x"]),
    ];
    let wrong = differences(&inputs, &["--proto-max-bulk-len", "1mb"]);
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Sound requests, damaged at random: cut, doubled, bytes changed.
#[test]
fn damaged_requests() {
    let seed = std::env::var("ORACLE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let sound: Vec<Vec<u8>> = [
        "SET a 1",
        "GET a",
        "ECHO greetings",
        "PING",
        "MGET a b c",
        "SET b \"two words\"",
        "APPEND a 1",
        "STRLEN a",
        "DEL a b",
    ]
    .iter()
    .map(|text| encode(&crate::support::words(text)))
    .collect();
    let inputs: Vec<Vec<u8>> = (0..250)
        .map(|_| {
            let mut bytes: Vec<u8> =
                (0..1 + random.below(4)).flat_map(|_| sound[random.below(sound.len())].clone()).collect();
            for _ in 0..1 + random.below(3) {
                damage(&mut bytes, &mut random);
            }
            // Redis judges a line when its end is there; Crimson may judge it sooner.
            bytes.extend(b"\r\n\r\n");
            bytes
        })
        .collect();
    assert_same_answers(&inputs);
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    // No NUL: it ends a line for Redis's C functions, which then wait for one that never comes.
    const LIKELY: &[u8] = b"*$:+-0123456789\r\n \"'\\x\xff";
    let at = random.below(bytes.len().max(1));
    match random.below(5) {
        0 if !bytes.is_empty() => bytes[at] = LIKELY[random.below(LIKELY.len())],
        1 if !bytes.is_empty() => drop(bytes.remove(at)),
        2 => bytes.insert(at.min(bytes.len()), LIKELY[random.below(LIKELY.len())]),
        3 => bytes.truncate(at + 1),
        _ => {
            let piece = bytes[at.min(bytes.len())..].to_vec();
            bytes.extend(piece.into_iter().take(8));
        }
    }
}

#[test]
fn other_clients_do_not_notice() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut good: Vec<Client> = (0..8).map(|_| server.client()).collect();
        for round in 0..50 {
            let mut bad = server.client();
            let _ = bad.try_send(b"*3\r\n$3\r\nSET\r\n$-7\r\n");
            for (index, client) in good.iter_mut().enumerate() {
                let value = format!("{round}:{index}");
                assert_eq!(client.call(&["ECHO", &value]).text(), value);
            }
            assert!(bad.read().is_error());
            assert!(bad.is_closed());
        }
    }
}
