//! The benchmarks, so small that they only show that they still work.

mod support;

#[path = "../benches/vs_redis/load/mod.rs"]
mod load;
#[path = "../benches/vs_redis/measure.rs"]
mod measure;
#[path = "../benches/vs_redis/plan.rs"]
mod plan;
#[path = "../benches/vs_redis/report.rs"]
mod report;

#[path = "../benches/hit_ratio/compare/mod.rs"]
mod compare;

#[path = "support/loopback.rs"]
mod loopback;
#[path = "../benches/instructions/scenarios.rs"]
mod scenarios;

use measure::{Machine, Measured};
use plan::Options;

#[test]
fn vs_redis_runs() {
    let machine = match Machine::check() {
        Ok(machine) => machine,
        // On a single CPU there is nothing to compare.
        Err(missing) if missing.contains("CPUs") => return println!("skipped: {missing}"),
        Err(missing) => panic!("{missing}"),
    };
    let options = Options { tiny: true, ..Options::full() };
    let measured = measure::run(&options, &machine, &mut |line| println!("{line}"));
    println!("{}", report::table(&measured));
    assert!(measured.len() > 30, "{} cases", measured.len());
    for one in &measured {
        match one {
            Measured::Load { name, crimson, redis } => {
                assert!(crimson.rate > 0.0 && redis.rate > 0.0 && crimson.p50_ms <= crimson.p999_ms, "{name}");
            }
            Measured::Shards { name, any_keys, one_tag } => {
                assert!(any_keys.rate > 0.0 && one_tag.rate > 0.0 && any_keys.p50_ms <= any_keys.p999_ms, "{name}");
            }
            Measured::Memory { name, crimson, redis } => assert!(*crimson > 0.0 && *redis > 0.0, "{name}"),
        }
    }
    let json: serde_json::Value = serde_json::from_str(&report::json(&measured, &machine, &options)).expect("JSON");
    assert_eq!(json["results"].as_array().map(Vec::len), Some(measured.len()));
}

#[test]
fn the_command_line_is_understood() {
    let parse = |line: &str| Options::parse(line.split_whitespace().map(String::from));
    let options = parse("--bench --quick --tests get,memory --only P=16 --json out.json").expect("sound arguments");
    assert!(plan::cases(&options).iter().all(|case| case.test == "GET" && case.pipeline == 16));
    let options = parse("--only subscribers").expect("sound arguments");
    assert_eq!(plan::cases(&options).len(), 6);
    assert!(parse("--nosuch").is_err() && parse("--json").is_err());
    assert!(plan::USAGE.contains("--quick"));
}

#[test]
fn a_report_of_redis_benchmark_is_understood() {
    let text = "\r====== GET ======\n  1000 requests completed\n\nLatency by percentile distribution:\n\
                0.000% <= 0.103 milliseconds (cumulative count 2)\n50.000% <= 0.207 milliseconds (cumulative count 510)\n\
                99.219% <= 1.5 milliseconds (cumulative count 993)\n99.902% <= 2.5 milliseconds (cumulative count 1000)\n\n\
                Summary:\n  throughput summary: 97847.36 requests per second\n";
    let sample = measure::parse(text).expect("a report");
    assert_eq!((sample.rate, sample.p50_ms, sample.p99_ms, sample.p999_ms), (97847.36, 0.207, 1.5, 2.5));
    assert!(measure::parse("Could not connect").is_none());
}

#[test]
fn replies_are_counted_wherever_they_are_cut() {
    let bytes = b"+OK\r\n+QUEUED\r\n*2\r\n:17\r\n$4\r\na\r\nb\r\n$-1\r\n$0\r\n\r\n:1\r\n";
    for cut in 0..bytes.len() {
        let mut replies = load::replies::Replies::default();
        assert_eq!(replies.count(&bytes[..cut]) + replies.count(&bytes[cut..]), 8, "cut at {cut}");
    }
    let mut replies = load::replies::Replies::default();
    assert_eq!(bytes.iter().map(|byte| replies.count(&[*byte])).sum::<usize>(), 8);
}

#[test]
fn requests_whose_instructions_are_counted_are_answered() {
    for scenario in scenarios::SCENARIOS {
        scenarios::run(scenario, 200);
    }
}

#[test]
fn hit_ratios_are_compared() {
    let options = compare::Options { keys: 20_000, requests: 30_000, redis: false, ..Default::default() };
    let mut cells = compare::run(&options, &mut |_| ());
    assert_eq!(cells.len(), 18);
    let with_redis = compare::Options { redis: true, only: "1.2".into(), ..options };
    cells.extend(compare::run(&with_redis, &mut |line| println!("{line}")));
    println!("{}", compare::report::tables(&cells));
    for cell in &cells {
        let redis = cell.redis.unwrap_or([0.5; 2]);
        let ratios = [&redis[..], &cell.policies, &cell.policies_10, &cell.exact].concat();
        assert!(ratios.iter().all(|ratio| (0.01..1.0).contains(ratio)), "{cell:?}");
        // Even on so short a run, evicting any key is worse than to choose.
        assert!(cell.policies[3] > cell.policies[2] - 0.01, "{cell:?}");
    }
    let svg = compare::plot::svg(&cells[..18]);
    assert_eq!(svg.matches("<title>").count(), 18 * 2);
    let parse = |line: &str| compare::Options::parse(line.split_whitespace().map(String::from));
    assert!(parse("--bench --keys 1000 --only zipf --no-redis --plot a.svg").is_ok_and(|options| !options.redis));
    assert!(parse("--keys 7").is_err() && parse("--keys x").is_err() && compare::USAGE.contains("--plot"));
}
