//! The results as tables in markdown.

use super::{Cell, references};
use std::fmt::Write;

fn percent(ratio: f64) -> String {
    format!("{:.2}", ratio * 100.0)
}

/// One table of what a server does, and one of what else could be done.
pub fn tables(cells: &[Cell]) -> String {
    let mut text = String::from(
        "| load | size | redis-server lru | redis-server lfu | lru | lfu | random | **lrfu** |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for cell in cells {
        let [lru, lfu] = cell.redis.map_or(["".into(), "".into()], |redis| redis.map(percent));
        let [own_lru, own_lfu, own_random, lrfu] = cell.policies.map(percent);
        let best = cell.redis.is_none_or(|redis| redis.into_iter().all(|ratio| cell.policies[3] > ratio));
        let lrfu = if best { format!("**{lrfu}**") } else { lrfu };
        let Cell { workload, percent, .. } = cell;
        _ = writeln!(
            text,
            "| {workload} | {percent} % | {lru} | {lfu} | {own_lru} | {own_lfu} | {own_random} | {lrfu} |"
        );
    }
    _ = writeln!(text, "\n| load | size | lru, 10 | lfu, 10 | lrfu, 10 | {} |", references::NAMES.join(" | "));
    text.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for cell in cells {
        let [lru, lfu, _, lrfu] = cell.policies_10.map(percent);
        let exact = cell.exact.map(percent).join(" | ");
        _ = writeln!(text, "| {} | {} % | {lru} | {lfu} | {lrfu} | {exact} |", cell.workload, cell.percent);
    }
    let held: Vec<f64> = cells.iter().flat_map(|cell| cell.redis_keys).map(|part| part * 100.0).collect();
    let (least, most) = held.iter().fold((f64::MAX, 0.0f64), |(low, high), &part| (low.min(part), high.max(part)));
    _ = writeln!(
        text,
        "\nredis-server held {least:.1} to {most:.1} % of the keys it should have held, on average of each run."
    );
    text
}
