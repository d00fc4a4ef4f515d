//! Who may do what. There is one user, `default`, who may do everything once it has logged in; a node without a password
//! (directive `requirepass`) takes every new connection for logged in.
//!
//! The engine asks [`check`] before it runs a command of a session, at one place and only for sessions that are not free
//! to do everything, which their flags tell. What a session may do follows from the command's row, as its routing does.

use crate::config::Config;
use crate::resp::CommandError;
use crate::session::{Session, SessionFlags};
use crate::spec::{Flags, Spec};

/// The user that everybody is.
pub const DEFAULT_USER: &[u8] = b"default";

/// The sessions that [`check`] has to be asked about.
pub const CHECKED: SessionFlags = SessionFlags::UNAUTHENTICATED;

/// The state of a new connection, and of one after RESET.
pub fn begin(session: &mut Session, config: &Config) {
    session.flags.set(SessionFlags::UNAUTHENTICATED, !config.requirepass.is_empty());
}

/// Whether a session has to log in before it may do anything else. One that has logged in stays so whatever becomes of
/// the password.
#[inline]
pub fn must_log_in(session: &Session, config: &Config) -> bool {
    session.flags.contains(SessionFlags::UNAUTHENTICATED) && !config.requirepass.is_empty()
}

/// Whether a session may run a command, or the error that it gets instead.
pub fn check(session: &Session, spec: &Spec, config: &Config) -> Result<(), CommandError> {
    if must_log_in(session, config) && !spec.flags.contains(Flags::NO_AUTH) {
        return Err(CommandError::fixed("NOAUTH Authentication required."));
    }
    Ok(())
}

/// Logs a session in as `user`. One that gives a wrong password stays what it was.
pub fn log_in(session: &mut Session, config: &Config, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let known = config.requirepass.is_empty() || config.requirepass.matches(password);
    if user != DEFAULT_USER || !known {
        return Err(CommandError::fixed("WRONGPASS invalid username-password pair or user is disabled."));
    }
    session.flags.remove(SessionFlags::UNAUTHENTICATED);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Identity;
    use crate::spec::Group;
    use crate::stdx::secret::Secret;

    fn config(password: &str) -> Config {
        Config { requirepass: Secret::new(password), ..Config::default() }
    }

    fn session(config: &Config) -> Session {
        let mut session = Session::new(1, Identity::default(), 0);
        begin(&mut session, config);
        session
    }

    #[test]
    fn a_stranger_may_only_log_in() {
        let config = config("pw");
        let mut session = session(&config);
        let (get, mut auth) = (Spec::new("get", 2, Group::String), Spec::new("auth", -2, Group::Connection));
        auth.flags = Flags::NO_AUTH;
        assert!(check(&session, &get, &config).is_err() && check(&session, &auth, &config).is_ok());
        for (user, password) in [(&b"default"[..], &b"x"[..]), (b"default", b""), (b"bob", b"pw"), (b"DEFAULT", b"pw")]
        {
            assert!(log_in(&mut session, &config, user, password).is_err());
            assert!(must_log_in(&session, &config));
        }
        assert!(log_in(&mut session, &config, b"default", b"pw").is_ok() && check(&session, &get, &config).is_ok());
        assert!(log_in(&mut session, &config, b"default", b"wrong").is_err());
        assert!(!must_log_in(&session, &config), "who has logged in stays so");
    }

    #[test]
    fn without_a_password_everybody_is_logged_in() {
        let (none, some) = (config(""), config("pw"));
        let mut early = session(&none);
        assert!(!must_log_in(&early, &none) && !must_log_in(&early, &some));
        let mut late = session(&some);
        assert!(must_log_in(&late, &some) && !must_log_in(&late, &none));
        assert!(log_in(&mut late, &none, b"default", b"anything").is_ok() && !must_log_in(&late, &some));
        begin(&mut early, &some);
        assert!(must_log_in(&early, &some), "RESET logs out");
    }
}
