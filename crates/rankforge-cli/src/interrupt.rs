//! Ctrl-C.
//!
//! The first Ctrl-C requests a command that can end cleanly to stop. If the command cannot, and at
//! the second Ctrl-C, the process exits immediately.

use crate::failure::{CliError, INTERRUPTED};
use rankforge::base::{Stop, StopGuard};
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};

static STOP: OnceLock<Stop> = OnceLock::new();
/// Runs once, at the first Ctrl-C.
static ON_STOP: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// Installs the handler of SIGINT (Ctrl-C), SIGTERM and SIGHUP for the rest of the process.
///
/// # Errors
/// If the operating system refuses the handler.
pub(crate) fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        let stop = stop();
        if !stop.is_guarded() || stop.request() {
            exit_immediately();
        }
        // Fails if the terminal has been closed; the request remains.
        let _ = writeln!(std::io::stderr(), "\nstopping; press Ctrl-C again to exit immediately");
        if let Some(action) = ON_STOP.lock().unwrap_or_else(PoisonError::into_inner).take() {
            action();
        }
    })?;
    Ok(())
}

#[expect(clippy::exit, reason = "the user requested an immediate exit")]
fn exit_immediately() -> ! {
    std::process::exit(i32::from(INTERRUPTED))
}

/// The stop request that Ctrl-C sets.
pub(crate) fn stop() -> Stop {
    STOP.get_or_init(Stop::default).clone()
}

/// While this value exists, the first Ctrl-C is a request to stop instead of an immediate exit.
pub(crate) struct Graceful(StopGuard);

impl Graceful {
    /// Announces that the command will check for the request.
    pub(crate) fn begin() -> Graceful {
        Graceful(stop().guard())
    }

    /// As [`Graceful::begin`]; the first Ctrl-C also runs `action`.
    pub(crate) fn begin_with(action: impl FnOnce() + Send + 'static) -> Graceful {
        *ON_STOP.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(action));
        Graceful::begin()
    }

    /// Checks for the request.
    ///
    /// # Errors
    /// With exit code 130 if the user has pressed Ctrl-C.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.0.is_requested() {
            return Err(CliError::interrupted("interrupted; no output was written").into());
        }
        Ok(())
    }
}
