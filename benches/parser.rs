//! Requests from bytes to arguments, and replies from values to bytes.

use crimson::resp::parser::{Parsed, ParserLimits, RequestParser, Scratch};
use crimson::resp::{Output, Protocol, Reply};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const LIMITS: ParserLimits = ParserLimits { bulk_bytes_max: 512 << 20, authenticated: true };

fn request(arguments: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        bytes += &format!("${}\r\n{argument}\r\n", argument.len());
    }
    bytes.into_bytes()
}

/// Parses everything in `input`; how many requests there were.
fn parse_all(input: &[u8], scratch: &mut Scratch) -> usize {
    let mut parser = RequestParser::default();
    let (mut at, mut requests) = (0, 0);
    scratch.clear();
    while at < input.len() {
        match parser.parse(&input[at..], scratch, LIMITS) {
            Ok(Parsed::Request(len) | Parsed::Inline(len)) => {
                at += len;
                requests += 1;
            }
            other => panic!("not a request: {other:?}"),
        }
    }
    requests
}

fn parsing(criterion: &mut Criterion) {
    let mut scratch = Scratch::default();
    let value = "x".repeat(4096);
    let cases = [
        ("get", request(&["GET", "key:000000012345"])),
        ("set_64", request(&["SET", "key:000000012345", &value[..64]])),
        ("set_4096", request(&["SET", "key:000000012345", &value])),
        ("mset_10", request(&[&["MSET"][..], &["key:000000012345", &value[..16]].repeat(10)].concat())),
        ("pipeline_64", request(&["GET", "key:000000012345"]).repeat(64)),
        ("inline", b"GET key:000000012345\r\n".to_vec()),
    ];
    let mut group = criterion.benchmark_group("parse");
    for (name, input) in &cases {
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(*name, |bencher| bencher.iter(|| parse_all(black_box(input), &mut scratch)));
    }
    group.finish();
}

/// A request that comes in packets must cost little more than one that comes at once.
fn parsing_in_pieces(criterion: &mut Criterion) {
    let mut scratch = Scratch::default();
    let input = request(&[&["MSET"][..], &["key:000000012345", "value"].repeat(500)].concat());
    criterion.bench_function("parse/mset_500_in_pieces_of_100", |bencher| {
        bencher.iter(|| {
            let mut parser = RequestParser::default();
            let mut last = Ok(Parsed::Incomplete(0));
            scratch.clear();
            for end in (100..input.len()).step_by(100).chain([input.len()]) {
                last = parser.parse(black_box(&input[..end]), &mut scratch, LIMITS);
            }
            assert!(matches!(last, Ok(Parsed::Request(_))));
        });
    });
}

fn writing(criterion: &mut Criterion) {
    let mut output = Output::default();
    let value = vec![b'x'; 64];
    let mut group = criterion.benchmark_group("reply");
    type Write = fn(&mut Reply<'_>, &[u8]);
    let cases: [(&str, Write); 5] = [
        ("ok", |reply, _| reply.ok()),
        ("integer", |reply, _| reply.integer(1_234_567)),
        ("bulk_64", |reply, value| reply.bulk(value)),
        ("null", |reply, _| reply.null()),
        ("array_100", |reply, value| {
            reply.array(100);
            (0..100).for_each(|_| reply.bulk(value));
        }),
    ];
    for (name, write) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                output.clear();
                write(&mut Reply::new(&mut output, Protocol::Resp2), black_box(&value));
                output.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parsing, parsing_in_pieces, writing);
criterion_main!(benches);
