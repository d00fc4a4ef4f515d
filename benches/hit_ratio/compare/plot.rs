//! The results as a picture: a panel for each load, a group of bars for each size.

use super::{Cell, SIZES_PERCENT};
use std::fmt::Write;

const COLOURS: [(&str, &str); 4] = [
    ("redis-server allkeys-lru", "#b9c4d0"),
    ("redis-server allkeys-lfu", "#7f93a8"),
    ("Crimson allkeys-lru", "#e8b4b0"),
    ("Crimson allkeys-lrfu", "#b3232f"),
];
const PANEL: [f64; 2] = [250.0, 170.0];
const COLUMNS: usize = 3;
const BAR: f64 = 14.0;
const CHART_HEIGHT: f64 = 110.0;
const MARGIN: f64 = 8.0;
const CAPTION: &str = "Hit ratio, where 1, 10 and 50 % of the keys have room";

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: u32, content: &str) {
    _ = writeln!(svg, r#"<text x="{x:.0}" y="{y:.0}" text-anchor="{anchor}" font-size="{size}">{content}</text>"#);
}

fn bars(cell: &Cell) -> [Option<f64>; 4] {
    let [lru, .., lrfu] = cell.policies;
    [cell.redis.map(|redis| redis[0]), cell.redis.map(|redis| redis[1]), Some(lru), Some(lrfu)]
}

/// One load's panel with its corner at `x`, `y`.
fn panel(svg: &mut String, cells: &[&Cell], x: f64, y: f64) {
    let floor = y + 24.0 + CHART_HEIGHT;
    text(svg, x + PANEL[0] / 2.0, y + 12.0, "middle", 12, cells[0].workload);
    for level in [0, 50, 100] {
        let at = floor - CHART_HEIGHT * f64::from(level) / 100.0;
        _ = writeln!(svg, r##"<path d="M{:.0} {at:.1}H{:.0}" stroke="#ccc"/>"##, x + 30.0, x + PANEL[0] - 10.0);
        text(svg, x + 26.0, at + 3.0, "end", 9, &format!("{level} %"));
    }
    for cell in cells {
        let group = SIZES_PERCENT.iter().position(|&percent| percent == cell.percent).unwrap_or(0) as f64;
        let left = x + 38.0 + group * 68.0;
        for (index, ratio) in bars(cell).into_iter().enumerate() {
            let Some(ratio) = ratio else { continue };
            let (height, at) = (ratio * CHART_HEIGHT, left + index as f64 * BAR);
            let (name, colour) = COLOURS[index];
            let place = format!(r#"x="{at:.1}" y="{:.1}" width="{}" height="{height:.1}""#, floor - height, BAR - 1.0);
            _ = writeln!(svg, r#"<rect {place} fill="{colour}"><title>{name}: {:.2} %</title></rect>"#, ratio * 100.0);
        }
        text(svg, left + 2.0 * BAR, floor + 12.0, "middle", 9, &format!("{} %", cell.percent));
    }
}

/// The picture.
pub fn svg(cells: &[Cell]) -> String {
    let mut loads: Vec<&str> = cells.iter().map(|cell| cell.workload).collect();
    loads.dedup();
    let (width, rows) = (PANEL[0] * COLUMNS as f64, loads.len().div_ceil(COLUMNS));
    let height = 44.0 + rows as f64 * PANEL[1];
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="-{MARGIN} 0 {:.0} {height:.0}" font-family="sans-serif" fill="#333">
<rect x="-{MARGIN}" width="100%" height="100%" fill="#fff"/>
"##,
        width + MARGIN
    );
    for (index, (name, colour)) in COLOURS.into_iter().enumerate() {
        let x = 30.0 + index as f64 * 180.0;
        _ = writeln!(svg, r#"<rect x="{x:.0}" y="8" width="11" height="11" fill="{colour}"/>"#);
        text(&mut svg, x + 16.0, 17.0, "start", 11, name);
    }
    for (index, load) in loads.iter().enumerate() {
        let of_load: Vec<&Cell> = cells.iter().filter(|cell| cell.workload == *load).collect();
        let (x, y) = ((index % COLUMNS) as f64 * PANEL[0], 30.0 + (index / COLUMNS) as f64 * PANEL[1]);
        panel(&mut svg, &of_load, x, y);
    }
    text(&mut svg, width / 2.0, height - 10.0, "middle", 11, CAPTION);
    svg + "</svg>\n"
}
