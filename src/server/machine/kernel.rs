//! What no server starts without: a kernel that is new enough, io_uring with all that cores use of it, locked memory.

use super::{Finding, error, good, setting};
use crate::runtime;
use crate::stdx::os::{Resource, error_text};
use std::io::{Error, ErrorKind};

/// The oldest kernel that has all the io_uring operations in use.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Locked memory that each executor of a core insists on.
const LOCKED_BYTES_MIN: u64 = 512 * 1024;

/// Checks all of it. The try of io_uring comes last, because it fails for the other reasons too.
pub fn examine() -> Vec<Finding> {
    vec![kernel(&setting("/proc/sys/kernel/osrelease")), locked_memory(), uring()]
}

fn kernel(release: &str) -> Finding {
    let subject = "kernel";
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    // A release that is not made of numbers is not judged; the try of io_uring decides.
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        return good(subject, format!("Linux {release}, which does not say how new it is"));
    };
    let (want_major, want_minor) = KERNEL_MIN;
    if (major, minor) < KERNEL_MIN {
        return error(
            subject,
            format!(
                "Linux {release} is too old: Crimson needs {want_major}.{want_minor} or newer for io_uring. On Debian 11, \
                 `apt-get install -t bullseye-backports linux-image-amd64`; else a newer distribution."
            ),
        );
    }
    good(subject, format!("Linux {release}, {want_major}.{want_minor} or newer is needed"))
}

fn locked_memory() -> Finding {
    let subject = "locked memory";
    let locked = Resource::LockedMemory.raise(LOCKED_BYTES_MIN).unwrap_or(u64::MAX);
    if locked < LOCKED_BYTES_MIN {
        return error(
            subject,
            format!(
                "The limit on locked memory is {locked} bytes, io_uring needs {LOCKED_BYTES_MIN}. Raise it: \
                 `LimitMEMLOCK=infinity` for a systemd service, `--ulimit memlock=-1` for a container, or `ulimit -l`."
            ),
        );
    }
    let limit = if locked == u64::MAX { "no limit".into() } else { format!("{locked} bytes allowed") };
    good(subject, format!("{limit}, {LOCKED_BYTES_MIN} needed"))
}

fn uring() -> Finding {
    let subject = "io_uring";
    match runtime::probe() {
        Ok(missing) if missing.is_empty() => good(subject, "allowed, with all operations that cores use"),
        Ok(missing) => error(
            subject,
            format!(
                "io_uring lacks {}: the kernel, or what stands in for one in a sandbox, is not complete. Run it on Linux 6.1 or \
                 newer itself.",
                missing.join(", ")
            ),
        ),
        Err(reason) => error(subject, uring_advice(&reason, &setting("/proc/sys/kernel/io_uring_disabled"))),
    }
}

/// What to do about an io_uring that cannot be set up; `disabled` is the kernel's setting.
fn uring_advice(error: &Error, disabled: &str) -> String {
    let advice = match (error.kind(), disabled) {
        (ErrorKind::PermissionDenied, "1" | "2") => format!(
            "kernel.io_uring_disabled is {disabled}: allow it with `sysctl kernel.io_uring_disabled=0`, or, where that is 1, \
             add the user to the group kernel.io_uring_group."
        ),
        (ErrorKind::PermissionDenied, _) => "A seccomp filter forbids it, as containers have by default: allow \
             io_uring_setup, io_uring_enter and io_uring_register, for example with `--security-opt seccomp=unconfined`."
            .into(),
        (ErrorKind::OutOfMemory, _) => "Locked memory is used up: raise `LimitMEMLOCK=` of the service, `--ulimit memlock` \
             of the container, or `ulimit -l`."
            .into(),
        (ErrorKind::Unsupported, _) => "This kernel is built without it (CONFIG_IO_URING), or hides it.".into(),
        _ => "The kernel does not support what Crimson needs.".into(),
    };
    format!("io_uring is not available: {}. {advice}", error_text(error))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn kernels_are_told_apart() {
        for release in ["6.1.0-18-amd64", "6.10", "7.0.1", "strange"] {
            assert_eq!(kernel(release).state, State::Good, "{release}");
        }
        for release in ["6.0.19", "5.15.0-91-generic", "4.18"] {
            let Finding { state, text, .. } = kernel(release);
            assert!(state == State::Error && text.contains(release) && text.contains("6.1"), "{text}");
        }
    }

    #[test]
    fn advice_fits_the_cause() {
        for (errno, disabled, part) in [
            (libc::EPERM, "2", "sysctl kernel.io_uring_disabled=0"),
            (libc::EPERM, "0", "seccomp"),
            (libc::ENOMEM, "0", "LimitMEMLOCK"),
            (libc::ENOSYS, "", "CONFIG_IO_URING"),
            (libc::EINVAL, "0", "does not support"),
        ] {
            let text = uring_advice(&Error::from_raw_os_error(errno), disabled);
            assert!(text.contains(part), "{text}");
        }
    }
}
