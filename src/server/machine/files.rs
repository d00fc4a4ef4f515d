//! The limit on open files: a descriptor for each client, and some that the server needs itself.

use super::{Finding, error, good, warning};
use crate::config::Config;
use crate::limits::descriptors_reserved;
use crate::server::BootError;
use crate::stdx::os::Resource;
use tracing::warn;

/// How many descriptors there may be.
struct Files {
    /// For all clients and the server itself.
    wanted: u64,
    /// For the server itself.
    reserved: u64,
    /// What the system allows.
    granted: u64,
}

impl Files {
    /// Raises the limit as far as it is needed and allowed.
    fn raise(config: &Config, cores: usize) -> Self {
        let reserved = descriptors_reserved(cores);
        let wanted = config.maxclients as u64 + reserved;
        // A limit that cannot be read is not judged; clients that do not fit are refused then.
        let granted = Resource::OpenFiles.raise(wanted).unwrap_or(wanted);
        Self { wanted, reserved, granted }
    }

    /// How many clients fit, if that is fewer than wanted; an error if none does.
    fn fit(&self) -> Result<Option<usize>, String> {
        let &Self { wanted, reserved, granted } = self;
        if granted >= wanted {
            return Ok(None);
        }
        if granted > reserved {
            return Ok(Some((granted - reserved) as usize));
        }
        Err(format!(
            "Your current 'ulimit -n' of {granted} is not enough for the server to start. Please increase your open file \
             limit to at least {wanted}."
        ))
    }
}

/// Raises the limit on open files so that `maxclients` fit, or lowers `maxclients` to what fits.
pub fn fit_open_files(config: &mut Config, cores: usize) -> Result<(), BootError> {
    let files = Files::raise(config, cores);
    let Some(fit) = files.fit().map_err(|reason| BootError(format!("{reason} Exiting.")))? else { return Ok(()) };
    let Files { wanted, granted, .. } = files;
    warn!("You requested maxclients of {} requiring at least {wanted} max file descriptors.", config.maxclients);
    warn!(
        "Current maximum open files is {granted}. maxclients has been reduced to {fit} to compensate for low ulimit. If \
         you need higher maxclients increase 'ulimit -n'."
    );
    config.maxclients = fit;
    Ok(())
}

/// Whether `maxclients` fit.
pub fn examine(config: &Config, cores: usize) -> Finding {
    let subject = "open files";
    let (files, maxclients) = (Files::raise(config, cores), config.maxclients);
    match files.fit() {
        Ok(None) => {
            good(subject, format!("{} allowed, {} wanted for {maxclients} clients", files.granted, files.wanted))
        }
        Ok(Some(fit)) => warning(
            subject,
            format!(
                "{} allowed, {} wanted for maxclients {maxclients}: only {fit} clients fit. Allow more: \
                 `LimitNOFILE={}` for a systemd service, `--ulimit nofile` for a container, or `ulimit -n`; or lower \
                 `maxclients`.",
                files.granted, files.wanted, files.wanted
            ),
        ),
        Err(reason) => error(subject, format!("{reason} `LimitNOFILE=` for a systemd service, or `ulimit -n`.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_fit_are_not_reduced() {
        let mut config = Config { maxclients: 1, ..Config::default() };
        fit_open_files(&mut config, 1).expect("fits");
        assert_eq!(config.maxclients, 1);
    }

    #[test]
    fn as_many_clients_as_fit_are_left() {
        let fit = |granted| Files { wanted: 180, reserved: 80, granted }.fit();
        assert_eq!((fit(180), fit(200), fit(100), fit(81)), (Ok(None), Ok(None), Ok(Some(20)), Ok(Some(1))));
        assert!(fit(80).expect_err("none fits").contains("at least 180"));
    }
}
