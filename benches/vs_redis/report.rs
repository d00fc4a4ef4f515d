//! The results as a table for people and as JSON for programs.

use crate::measure::{Machine, Measured, Sample};
use crate::plan::Options;
use serde_json::{Value, json};
use std::fmt::Write;

/// `crimson / redis`; 0 where Redis shows nothing.
fn ratio(crimson: f64, redis: f64) -> f64 {
    if redis > 0.0 { crimson / redis } else { 0.0 }
}

/// The results as a table. Ratios are Crimson's number through Redis's: above 1 is better for requests/s, below 1 for
/// all others. Two loads on Crimson stand in the same columns: keys anywhere, keys of one tag.
pub fn table(measured: &[Measured]) -> String {
    let width = measured.iter().map(|one| name(one).len()).max().unwrap_or(0);
    let mut text = format!(
        "{:width$}  {:>21} {:>5}  {:>15} {:>5}  {:>13} {:>13} {:>15}\n",
        "crimson | redis", "requests/s", "x", "CPU us/request", "x", "p50 ms", "p99 ms", "p99.9 ms"
    );
    for one in measured {
        let line = match one {
            Measured::Load { name, crimson: c, redis: r } | Measured::Shards { name, any_keys: c, one_tag: r } => {
                format!(
                    "{name:width$}  {:>9.0} | {:>9.0} {:>5.2}  {:>6.3} | {:>6.3} {:>5.2}  {:>5.2} | {:>5.2} {:>5.2} | {:>5.2} {:>6.2} | {:>6.2}",
                    c.rate,
                    r.rate,
                    ratio(c.rate, r.rate),
                    c.cpu_us,
                    r.cpu_us,
                    ratio(c.cpu_us, r.cpu_us),
                    c.p50_ms,
                    r.p50_ms,
                    c.p99_ms,
                    r.p99_ms,
                    c.p999_ms,
                    r.p999_ms
                )
            }
            Measured::Memory { name, crimson, redis } => {
                format!("{name:width$}  {crimson:>9.1} | {redis:>9.1} {:>5.2}  bytes", ratio(*crimson, *redis))
            }
        };
        writeln!(text, "{line}").expect("a String takes text");
    }
    text
}

fn name(measured: &Measured) -> &str {
    match measured {
        Measured::Load { name, .. } | Measured::Shards { name, .. } | Measured::Memory { name, .. } => name,
    }
}

fn sample(s: &Sample) -> Value {
    json!({
        "requests_per_second": s.rate,
        "p50_ms": s.p50_ms,
        "p99_ms": s.p99_ms,
        "p999_ms": s.p999_ms,
        "cpu_us_per_request": s.cpu_us,
    })
}

fn ratios(one: &Sample, other: &Sample) -> Value {
    json!({
        "requests_per_second": ratio(one.rate, other.rate),
        "cpu_us_per_request": ratio(one.cpu_us, other.cpu_us),
        "p99_ms": ratio(one.p99_ms, other.p99_ms),
    })
}

/// The results as JSON.
pub fn json(measured: &[Measured], machine: &Machine, options: &Options) -> String {
    let results: Vec<Value> = measured
        .iter()
        .map(|one| match one {
            Measured::Load { name, crimson, redis } => json!({
                "case": name,
                "crimson": sample(crimson),
                "redis": sample(redis),
                "ratio": ratios(crimson, redis),
            }),
            Measured::Shards { name, any_keys, one_tag } => json!({
                "case": name,
                "any_keys": sample(any_keys),
                "one_tag": sample(one_tag),
                "ratio": ratios(any_keys, one_tag),
            }),
            Measured::Memory { name, crimson, redis } => json!({
                "case": name,
                "crimson": {"bytes_per_key": crimson},
                "redis": {"bytes_per_key": redis},
                "ratio": {"bytes_per_key": ratio(*crimson, *redis)},
            }),
        })
        .collect();
    let whole = json!({
        "machine": {"processor": machine.processor, "cpus": machine.cpus, "kernel": machine.kernel},
        "redis": machine.redis,
        "crimson": env!("CARGO_PKG_VERSION"),
        "quick": options.quick,
        "rounds": options.rounds(),
        "results": results,
    });
    format!("{whole:#}\n")
}
