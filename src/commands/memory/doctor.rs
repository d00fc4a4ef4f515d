//! What MEMORY DOCTOR says. It looks at the same ratios as Redis's and draws the line at the same places.

use super::report::{Report, ratio};
use std::fmt::Write;

const MIB: u64 = 1 << 20;

/// With less than this, ratios mean nothing.
const LOOKS_FROM_BYTES: u64 = 5 * MIB;

/// Less than this is not worth a word, however bad a ratio it makes.
const MATTERS_FROM_BYTES: u64 = 10 * MIB;

/// A client takes much when the mean is above this.
const CLIENT_BYTES_MAX: u64 = 200 << 10;

/// A finding: its name, what it means and what to do.
struct Finding {
    name: &'static str,
    text: String,
}

/// What is to be said about a server's memory, for people.
pub fn advice(report: &Report) -> String {
    if report.net() < LOOKS_FROM_BYTES {
        return "There is next to no data, so there is nothing to judge yet. Ask again when this server is filled.\n"
            .into();
    }
    let found = findings(report);
    if found.is_empty() {
        return "All is well: nothing about the use of memory of this server calls for a change.\n".into();
    }
    let mut text = String::from("This is what the use of memory of this server shows:\n\n");
    for Finding { name, text: advice } in found {
        write!(text, " * {name}: {advice}\n\n").expect("a String takes all");
    }
    text
}

fn findings(report: &Report) -> Vec<Finding> {
    let allocator = &report.allocator;
    let exceeds = |bytes: u64, base: u64, limit: f64| {
        ratio(bytes, base) > limit && bytes.saturating_sub(base) > MATTERS_FROM_BYTES
    };
    let share = |bytes: u64, base: u64| format!("{:.2} times", ratio(bytes, base));
    let mut found = Vec::new();
    let mut note = |is_so: bool, name, text: String| {
        if is_so {
            found.push(Finding { name, text });
        }
    };
    note(
        ratio(report.peak, report.used()) > 1.5,
        "Peak memory",
        format!(
            "at its peak this server used {} what it uses now. The allocator gives pages back when they are empty, \
             but what is left is spread over many, so resident memory may stay near that of the peak. If the data will \
             not grow again, MEMORY PURGE helps where pages are free, and a restart where they are not.",
            share(report.peak, report.used())
        ),
    );
    note(
        exceeds(report.resident, report.used(), 1.4),
        "High total fragmentation",
        format!(
            "the process has {} as much memory resident as it has allocated. The findings below, if there are any, tell \
             whose it is.",
            share(report.resident, report.used())
        ),
    );
    note(
        exceeds(allocator.active, allocator.allocated, 1.1),
        "High allocator fragmentation",
        format!(
            "the pages in use hold {} what is allocated in them. This follows from values that change their sizes or go \
             between others that stay. It shrinks when new data of the same sizes comes in; a restart lays the data out \
             anew.",
            share(allocator.active, allocator.allocated)
        ),
    );
    note(
        exceeds(allocator.resident, allocator.active, 1.1),
        "High allocator RSS overhead",
        format!(
            "the allocator keeps {} the pages that are in use, because much has been freed lately. It returns them by \
             and by; MEMORY PURGE returns them now.",
            share(allocator.resident, allocator.active)
        ),
    );
    note(
        exceeds(report.resident, allocator.resident, 1.1),
        "High process RSS overhead",
        format!(
            "the process has {} the memory resident that its allocator has. Look for large mappings of other kinds \
             (/proc/PID/smaps), transparent huge pages among them.",
            share(report.resident, allocator.resident)
        ),
    );
    let each = report.clients / report.clients_len.max(1);
    note(
        each > CLIENT_BYTES_MAX,
        "Big client buffers",
        format!(
            "a client takes {} KiB on the average. CLIENT LIST shows which of them (tot-mem): they send or read large \
             values, or read slower than they are answered. maxmemory-clients and client-output-buffer-limit set bounds.",
            each >> 10
        ),
    );
    found
}

#[cfg(test)]
mod tests {
    use super::super::report::Report;
    use super::{MIB, advice};
    use crate::metrics::memory::AllocatorBytes;

    fn healthy() -> Report {
        let allocator = AllocatorBytes { allocated: 100 * MIB, active: 102 * MIB, resident: 105 * MIB };
        Report { allocator, resident: 110 * MIB, peak: 101 * MIB, startup: 4 * MIB, ..Report::default() }
    }

    /// The names of the findings.
    fn found(report: &Report) -> Vec<String> {
        let names = advice(report);
        let names = names.lines().filter_map(|line| line.strip_prefix(" * ")?.split_once(':'));
        names.map(|(name, _)| name.to_string()).collect()
    }

    #[test]
    fn each_threshold_has_its_finding() {
        assert!(advice(&healthy()).starts_with("All is well"));
        assert!(advice(&Report { startup: 98 * MIB, ..healthy() }).starts_with("There is next to no data"));
        assert_eq!(found(&Report { peak: 151 * MIB, ..healthy() }), ["Peak memory"]);
        assert_eq!(found(&Report { peak: 149 * MIB, ..healthy() }), [""; 0]);
        let both = ["High total fragmentation", "High process RSS overhead"];
        assert_eq!(found(&Report { resident: 141 * MIB, ..healthy() }), both);
        let allocator = |allocated, active, resident| AllocatorBytes { allocated, active, resident };
        let sparse = allocator(100 * MIB, 112 * MIB, 113 * MIB);
        assert_eq!(found(&Report { allocator: sparse, ..healthy() }), ["High allocator fragmentation"]);
        let dirty = allocator(100 * MIB, 101 * MIB, 112 * MIB);
        assert_eq!(found(&Report { allocator: dirty, ..healthy() }), ["High allocator RSS overhead"]);
        let few = allocator(20 * MIB, 23 * MIB, 24 * MIB);
        let small = Report { allocator: few, resident: 25 * MIB, peak: 20 * MIB, ..healthy() };
        assert_eq!(found(&small), [""; 0], "a few megabytes do not matter");
        assert_eq!(found(&Report { clients: 3 * MIB, clients_len: 10, ..healthy() }), ["Big client buffers"]);
        assert_eq!(found(&Report { clients: MIB, clients_len: 10, ..healthy() }), [""; 0]);
    }
}
