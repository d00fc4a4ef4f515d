//! Settings of the machine that cost speed or memory where they are bad. None of them keeps a server from starting.

use super::{Finding, good, setting, warning};
use crate::commands::info::Human;
use crate::config::Config;
use crate::stdx::process;

/// Clocks that are read without a system call.
const FAST_CLOCKS: &[&str] =
    &["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource"];

/// More than this, and the kernel pages out data while there is other memory to take.
const SWAPPINESS_MAX: u32 = 10;

/// Looks at all of them.
pub fn examine(config: &Config) -> Vec<Finding> {
    vec![
        huge_pages(&setting("/sys/kernel/mm/transparent_hugepage/enabled")),
        overcommit(&setting("/proc/sys/vm/overcommit_memory")),
        memory(config.maxmemory, process::system_memory_bytes(), &setting(&control_group_file("memory.max"))),
        swap(&setting("/proc/swaps"), &setting("/proc/sys/vm/swappiness")),
        clock(&setting("/sys/devices/system/clocksource/clocksource0/current_clocksource")),
        backlog(config, &setting("/proc/sys/net/core/somaxconn")),
    ]
}

/// A file of the control group that the process is in.
fn control_group_file(name: &str) -> String {
    let groups = setting("/proc/self/cgroup");
    let path = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    format!("/sys/fs/cgroup{}/{name}", path.trim_end_matches('/'))
}

fn huge_pages(enabled: &str) -> Finding {
    let subject = "huge pages";
    if enabled.contains("[always]") {
        return warning(
            subject,
            "Transparent huge pages are enabled for all memory, which costs latency and memory. Run `echo madvise > \
             /sys/kernel/mm/transparent_hugepage/enabled`.",
        );
    }
    let chosen = enabled.split(['[', ']']).nth(1).unwrap_or("not there");
    good(subject, format!("transparent huge pages: {chosen}"))
}

fn overcommit(mode: &str) -> Finding {
    let subject = "overcommit";
    if mode == "2" {
        return warning(
            subject,
            "vm.overcommit_memory is 2: memory may be refused while there is still some. Run `sysctl \
             vm.overcommit_memory=1`.",
        );
    }
    let mode = if mode.is_empty() { "unknown" } else { mode };
    good(subject, format!("vm.overcommit_memory is {mode}"))
}

/// How much of the memory a server may use: what `maxmemory` does not count, the kernel's part of connections and the page
/// cache of the log, needs some too.
fn memory(maxmemory: u64, total: u64, group_limit: &str) -> Finding {
    let subject = "memory";
    let allowed = group_limit.parse().unwrap_or(total).min(total);
    let whose = if allowed < total { "the control group allows" } else { "the machine has" };
    let all = format!("{whose} {}", Human(allowed));
    match maxmemory {
        0 => good(subject, format!("{all}, and maxmemory is not set: the kernel ends the server when that is used up")),
        most if most > allowed / 10 * 9 => warning(
            subject,
            format!(
                "maxmemory is {}, but {all}: beside data there must be room for the kernel's part. Set `maxmemory` to {}mb or \
                 less, or raise `MemoryMax=` of the service where that is the limit.",
                Human(most),
                (allowed / 10 * 9) >> 20
            ),
        ),
        most => good(subject, format!("{all}, and maxmemory is {}", Human(most))),
    }
}

/// `swaps` has a line for each place to page out to, below its heading.
fn swap(swaps: &str, swappiness: &str) -> Finding {
    let subject = "swap";
    if swaps.lines().count() <= 1 {
        return good(subject, "there is none");
    }
    if swappiness.parse::<u32>().is_ok_and(|value| value > SWAPPINESS_MAX) {
        return warning(
            subject,
            format!(
                "There is swap and vm.swappiness is {swappiness}: data that is paged out answers in milliseconds, and its core \
                 stands still meanwhile. Run `sysctl vm.swappiness=1`, or `swapoff -a`."
            ),
        );
    }
    good(subject, format!("there is some, and vm.swappiness is {swappiness}"))
}

fn clock(source: &str) -> Finding {
    let subject = "clock";
    if source.is_empty() {
        return good(subject, "the kernel does not say which source it has");
    }
    if FAST_CLOCKS.contains(&source) {
        return good(subject, format!("the source is {source}"));
    }
    warning(
        subject,
        format!(
            "The clock source is {source}: each look at the clock is a system call. Run `echo tsc > \
             /sys/devices/system/clocksource/clocksource0/current_clocksource`, if available_clocksource beside it has tsc."
        ),
    )
}

fn backlog(config: &Config, somaxconn: &str) -> Finding {
    let (subject, wanted) = ("backlog", config.tcp_backlog);
    match somaxconn.parse::<u32>() {
        Ok(most) if most < wanted && config.port != 0 => warning(
            subject,
            format!(
                "The TCP backlog setting of {wanted} cannot be enforced because /proc/sys/net/core/somaxconn is set to the \
                 lower value of {most}. Run `sysctl net.core.somaxconn={wanted}`."
            ),
        ),
        _ => good(subject, format!("{wanted} connections may wait to be accepted, as tcp-backlog says")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn assert_warns(finding: &Finding, part: &str) {
        assert!(finding.state == State::Warning && finding.text.contains(part), "{finding:?}");
    }

    #[test]
    fn bad_settings_are_told_with_the_command_that_mends() {
        assert_warns(&huge_pages("[always] madvise never"), "echo madvise >");
        assert_warns(&overcommit("2"), "sysctl vm.overcommit_memory=1");
        assert_warns(&swap("Filename Type\n/dev/vdb partition", "60"), "sysctl vm.swappiness=1");
        assert_warns(&memory(4 << 30, 4 << 30, "max"), "Set `maxmemory` to 3686mb or less");
        assert_warns(&memory(2 << 30, 4 << 30, "1073741824"), "but the control group allows 1.00G");
        assert_warns(&clock("acpi_pm"), "echo tsc >");
        assert_warns(&backlog(&Config::default(), "128"), "sysctl net.core.somaxconn=511");
    }

    #[test]
    fn good_settings_are_told_as_such() {
        for finding in [
            huge_pages("always [madvise] never"),
            huge_pages(""),
            overcommit("0"),
            overcommit(""),
            memory(0, 1 << 30, "max"),
            memory(3 << 30, 4 << 30, "max"),
            swap("Filename Type", "60"),
            swap("Filename Type\n/dev/vdb partition", "1"),
            clock("kvm-clock"),
            clock(""),
            backlog(&Config::default(), "511"),
            backlog(&Config { port: 0, ..Config::default() }, "1"),
        ] {
            assert_eq!(finding.state, State::Good, "{finding:?}");
        }
        assert_eq!(huge_pages("always [madvise] never").text, "transparent huge pages: madvise");
        assert_eq!(
            memory(1 << 29, 4 << 30, "1073741824").text,
            "the control group allows 1.00G, and maxmemory is 512.00M"
        );
    }
}
