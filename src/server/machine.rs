//! What the machine must offer, with what to do where it does not, and what to warn of.

use super::BootError;
use crate::config::Config;
use crate::limits::descriptors_reserved;
use crate::runtime;
use crate::stdx::os::{Resource, error_text};
use std::io::ErrorKind;
use std::path::Path;
use tracing::warn;

/// The oldest kernel that has all the io_uring operations in use.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Locked memory that each executor of a core insists on.
const LOCKED_BYTES_MIN: u64 = 512 * 1024;

/// Checks the kernel, io_uring and the limit on locked memory.
pub fn check() -> Result<(), BootError> {
    let release = setting("/proc/sys/kernel/osrelease");
    check_kernel(&release)?;
    let locked = Resource::LockedMemory.raise(LOCKED_BYTES_MIN).unwrap_or(u64::MAX);
    if locked < LOCKED_BYTES_MIN {
        return Err(BootError(format!(
            "The limit on locked memory is {locked} bytes, io_uring needs {LOCKED_BYTES_MIN}. Raise it: \
             LimitMEMLOCK=infinity for a systemd service, --ulimit memlock=-1 for a container, or `ulimit -l` in the shell."
        )));
    }
    runtime::probe().map_err(|error| BootError(uring_advice(&error, &setting("/proc/sys/kernel/io_uring_disabled"))))
}

fn check_kernel(release: &str) -> Result<(), BootError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    // A release that is not made of numbers is not judged; the try of io_uring decides.
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { return Ok(()) };
    if (major, minor) >= KERNEL_MIN {
        return Ok(());
    }
    let (want_major, want_minor) = KERNEL_MIN;
    Err(BootError(format!(
        "Linux {release} is too old: Crimson needs {want_major}.{want_minor} or newer for io_uring."
    )))
}

/// What to do about an io_uring that cannot be set up; `disabled` is the kernel's setting.
fn uring_advice(error: &std::io::Error, disabled: &str) -> String {
    let advice = match (error.kind(), disabled) {
        (ErrorKind::PermissionDenied, "1" | "2") => format!(
            "kernel.io_uring_disabled is {disabled}: allow it with `sysctl kernel.io_uring_disabled=0`, or, where that is 1, \
             add the user to the group kernel.io_uring_group."
        ),
        (ErrorKind::PermissionDenied, _) => "A seccomp filter forbids it, as containers have by default: allow \
             io_uring_setup, io_uring_enter and io_uring_register, for example with --security-opt seccomp=unconfined."
            .into(),
        (ErrorKind::OutOfMemory, _) => {
            "Locked memory is used up: raise LimitMEMLOCK of the service, --ulimit memlock of \
             the container, or `ulimit -l`."
                .into()
        }
        (ErrorKind::Unsupported, _) => "This kernel is built without it (CONFIG_IO_URING), or hides it.".into(),
        _ => "The kernel does not support what Crimson needs.".into(),
    };
    format!("io_uring is not available: {}. {advice}", error_text(error))
}

/// Raises the limit on open files so that `maxclients` fit, or lowers `maxclients` to what fits.
pub fn fit_open_files(config: &mut Config, cores: usize) -> Result<(), BootError> {
    let reserved = descriptors_reserved(cores);
    let wanted = config.maxclients as u64 + reserved;
    let Ok(granted) = Resource::OpenFiles.raise(wanted) else { return Ok(()) };
    if granted >= wanted {
        return Ok(());
    }
    if granted <= reserved {
        return Err(BootError(format!(
            "Your current 'ulimit -n' of {granted} is not enough for the server to start. Please increase your open file \
             limit to at least {wanted}. Exiting."
        )));
    }
    let fit = (granted - reserved) as usize;
    warn!("You requested maxclients of {} requiring at least {wanted} max file descriptors.", config.maxclients);
    warn!(
        "Current maximum open files is {granted}. maxclients has been reduced to {fit} to compensate for low ulimit. If \
         you need higher maxclients increase 'ulimit -n'."
    );
    config.maxclients = fit;
    Ok(())
}

/// What is allowed but unwise on this machine.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Ok(somaxconn) = setting("/proc/sys/net/core/somaxconn").parse::<u32>()
        && somaxconn < config.tcp_backlog
        && config.port != 0
    {
        warnings.push(format!(
            "The TCP backlog setting of {} cannot be enforced because /proc/sys/net/core/somaxconn is set to the lower \
             value of {somaxconn}.",
            config.tcp_backlog
        ));
    }
    if setting("/proc/sys/vm/overcommit_memory") == "2" {
        warnings.push(
            "vm.overcommit_memory is 2: memory may be refused while there is still some. Allow it with `sysctl \
             vm.overcommit_memory=1`."
                .into(),
        );
    }
    if setting("/sys/kernel/mm/transparent_hugepage/enabled").contains("[always]") {
        warnings.push(
            "Transparent huge pages are enabled for all memory, which costs latency and memory. Prefer `echo madvise > \
             /sys/kernel/mm/transparent_hugepage/enabled`."
                .into(),
        );
    }
    if !crate::stdx::os::is_writable(Path::new(&config.dir)) {
        warnings.push(format!("The working directory {} is not writable.", config.dir));
    }
    warnings
}

/// What a file of the kernel says; empty where there is none.
fn setting(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[test]
    fn kernels_are_told_apart() {
        for release in ["6.1.0-18-amd64", "6.10", "7.0.1", "strange"] {
            assert_eq!(check_kernel(release), Ok(()), "{release}");
        }
        for release in ["6.0.19", "5.15.0-91-generic", "4.18"] {
            let error = check_kernel(release).expect_err("too old").to_string();
            assert!(error.contains(release) && error.contains("6.1"), "{error}");
        }
    }

    #[test]
    fn this_machine_is_good_enough() {
        check().expect("io_uring works here");
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

    #[test]
    fn clients_that_fit_are_not_reduced() {
        let mut config = Config { maxclients: 1, ..Config::default() };
        fit_open_files(&mut config, 1).expect("fits");
        assert_eq!(config.maxclients, 1);
    }
}
