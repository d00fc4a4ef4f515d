//! Calls of the operating system that the standard library lacks, behind safe functions.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What the system says about `error`, without the number.
pub fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].into(),
        None => text,
    }
}

/// A random number, the same for nobody else.
pub fn random_u64() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Locks a file or directory for as long as it is open; `false` if another process has done so.
pub fn lock(file: &File) -> io::Result<bool> {
    // SAFETY: no pointer is passed, and the descriptor is open.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

/// From now on a write behind the limit of a file's size (`ulimit -f`) fails, and does not end the process.
pub fn ignore_file_size_signal() {
    // SAFETY: nothing of this process runs when the signal comes. It cannot fail: the signal is known.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// A limit of the process: what is in force, and how far it may be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In force.
    pub soft: u64,
    /// The most `soft` may be raised to.
    pub hard: u64,
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Open files and sockets.
    OpenFiles,
    /// Bytes of memory that is never paged out.
    LockedMemory,
}

impl Resource {
    fn number(self) -> libc::__rlimit_resource_t {
        match self {
            Self::OpenFiles => libc::RLIMIT_NOFILE,
            Self::LockedMemory => libc::RLIMIT_MEMLOCK,
        }
    }

    /// The limit now.
    pub fn limit(self) -> io::Result<Limit> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` outlives the call, which writes nothing else.
        match unsafe { libc::getrlimit(self.number(), &raw mut limit) } {
            0 => Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Sets the limit.
    pub fn set_limit(self, limit: Limit) -> io::Result<()> {
        let limit = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
        // SAFETY: `limit` outlives the call, which only reads it.
        match unsafe { libc::setrlimit(self.number(), &raw const limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Raises what is in force to at least `wanted`, the most allowed too where the process has the right to, and
    /// returns what is in force then: less than `wanted` where the system does not allow as much.
    pub fn raise(self, wanted: u64) -> io::Result<u64> {
        let now = self.limit()?;
        if now.soft >= wanted {
            return Ok(now.soft);
        }
        if self.set_limit(Limit { soft: wanted, hard: now.hard.max(wanted) }).is_ok() {
            return Ok(wanted);
        }
        let best = now.hard.min(wanted);
        match best > now.soft && self.set_limit(Limit { soft: best, hard: now.hard }).is_ok() {
            true => Ok(best),
            false => Ok(now.soft),
        }
    }
}

/// Runs `action` while new files get none of the permissions in `mask`. The mask belongs to the process: this is for
/// the start, before other threads make files.
pub fn with_umask<R>(mask: u32, action: impl FnOnce() -> R) -> R {
    // SAFETY: exchanges a number of the process; it cannot fail.
    let before = unsafe { libc::umask(mask) };
    let result = action();
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    result
}

/// Whether the process may make files in the directory at `path`.
pub fn is_writable(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: `path` is a C string that outlives the call.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK | libc::X_OK, libc::AT_EACCESS) == 0 }
}

/// How many CPUs of the machine are on, whether this process may use them or not.
pub fn cpus_online() -> usize {
    // SAFETY: asks for a number.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    count.max(1) as usize
}

/// A moment on the calendar of the process's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Such as 2026.
    pub year: i32,
    /// From 0.
    pub month: usize,
    /// From 1.
    pub day: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 60.
    pub second: i32,
}

/// The calendar at this many seconds since the epoch.
pub fn local_time(seconds: i64) -> LocalTime {
    // SAFETY: zeroes are a valid `tm`: numbers, and a pointer that is not read.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values that outlive the call; it fails only where the year overflows, and then
    // leaves zeroes.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) };
    LocalTime {
        year: tm.tm_year.saturating_add(1900),
        month: usize::try_from(tm.tm_mon).unwrap_or(0).min(11),
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_no_numbers() {
        assert_eq!(error_text(&io::Error::from_raw_os_error(libc::ENOENT)), "No such file or directory");
        assert_eq!(error_text(&io::Error::other("as it is")), "as it is");
    }

    #[test]
    fn limits_are_read_and_raised() {
        let limit = Resource::OpenFiles.limit().expect("readable");
        assert!(limit.soft <= limit.hard);
        assert_eq!(Resource::OpenFiles.raise(1).expect("readable"), limit.soft);
        assert!(Resource::OpenFiles.raise(limit.hard).expect("readable") >= limit.hard);
    }

    #[test]
    fn directories_are_writable_or_not() {
        assert!(is_writable(&std::env::temp_dir()));
        assert!(!is_writable(Path::new("/nonexistent")));
    }

    #[test]
    fn the_calendar_has_a_year() {
        let noon = local_time(1_795_435_200);
        assert_eq!((noon.year, noon.month), (2026, 10));
    }
}
