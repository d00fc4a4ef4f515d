//! What the operating system knows of this process and its machine: processor time, resident memory, names. Nothing here
//! fails: what cannot be read is reported as zero or as an empty text.
#![allow(unsafe_code)]

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;
use std::time::Duration;

/// Processor time used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTimes {
    /// By the process itself.
    pub user: Duration,
    /// By the kernel on behalf of the process.
    pub system: Duration,
}

/// Processor time of this process, all threads together.
pub fn cpu_times() -> CpuTimes {
    usage(libc::RUSAGE_SELF)
}

/// Processor time of child processes that have ended.
pub fn cpu_times_of_children() -> CpuTimes {
    usage(libc::RUSAGE_CHILDREN)
}

fn usage(who: libc::c_int) -> CpuTimes {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is writable and as large as the call expects.
    let failed = unsafe { libc::getrusage(who, usage.as_mut_ptr()) } != 0;
    if failed {
        return CpuTimes::default();
    }
    // SAFETY: zeroed bytes are a valid `rusage`, and the call has filled it.
    let usage = unsafe { usage.assume_init() };
    CpuTimes { user: duration(usage.ru_utime), system: duration(usage.ru_stime) }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_usec).unwrap_or(0).min(999_999) * 1000)
}

/// Bytes of memory that are resident now.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * page_bytes()
}

fn page_bytes() -> u64 {
    // SAFETY: the call takes a number and reads nothing of ours.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// Bytes of memory the machine has.
pub fn system_memory_bytes() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The operating system, its release and the processor family, as `uname -srm` tells them.
pub fn system_name() -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    format!("{} {} {}", read("ostype").trim(), read("osrelease").trim(), std::env::consts::ARCH)
}

/// The start of the number that the linker has given to this build of the executable; zeros where it has given none.
pub fn build_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        // The note stands behind the headers.
        let mut start = Vec::new();
        if let Ok(file) = File::open("/proc/self/exe") {
            let _ = file.take(BUILD_ID_AT_MAX).read_to_end(&mut start);
        }
        let note = memchr::memmem::find(&start, BUILD_ID_NOTE).map(|at| at + BUILD_ID_NOTE.len());
        let id = note.and_then(|at| start.get(at..at + 8)).unwrap_or(&[0; 8]);
        id.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes all");
            text
        })
    })
}

/// The head of an ELF note of GNU with a build's number of 20 bytes: lengths of name and number, kind, name.
const BUILD_ID_NOTE: &[u8] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";

/// The note is not looked for behind this.
const BUILD_ID_AT_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_itself() {
        let before = cpu_times();
        let mut sum = 0u64;
        while cpu_times().user <= before.user {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(resident_bytes() > 100_000);
        assert!(system_memory_bytes() > resident_bytes());
        assert!(system_name().starts_with("Linux "));
        assert!(cpu_times_of_children().user < Duration::from_secs(3600));
        assert!(build_id().len() == 16 && build_id().bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
}
