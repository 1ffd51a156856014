//! Ctrl-C, and the signals by which a cluster ends a process.
//!
//! The first signal requests a command that can end cleanly to stop. If the command cannot, and at
//! the second signal, the process exits immediately. A run of training that SIGTERM ended is no
//! failure: clusters send it before they take a machine away, and start the run again later.

use crate::failure::CliError;
use crate::signal;
use rankforge::base::{Stop, StopGuard};
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};

static STOP: OnceLock<Stop> = OnceLock::new();
/// Runs once, at the first signal.
static ON_STOP: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// Handles SIGINT (Ctrl-C), SIGTERM and SIGHUP from now on, on a thread of its own. Call it before
/// any other thread exists: only threads that are started later leave these signals to it.
///
/// # Errors
/// If the operating system refuses.
#[cfg(unix)]
pub(crate) fn install() -> anyhow::Result<()> {
    use nix::sys::signal::{SigSet, Signal};

    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    let wait = move || {
        while let Ok(signal) = signals.wait() {
            handle(signal as u8);
        }
    };
    #[expect(clippy::disallowed_methods, reason = "the thread that waits for signals")]
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(())
}

/// Handles Ctrl-C from now on.
///
/// # Errors
/// If the operating system refuses.
#[cfg(not(unix))]
pub(crate) fn install() -> anyhow::Result<()> {
    Ok(ctrlc::set_handler(|| handle(signal::SIGINT))?)
}

fn handle(number: u8) {
    let stop = stop();
    if stop.is_requested() {
        exit_immediately();
    }
    signal::keep(number);
    if !stop.is_guarded() {
        exit_immediately();
    }
    stop.request();
    let again =
        if signal::is_sigterm() { "a second signal exits" } else { "press Ctrl-C again to exit" };
    // Fails if the terminal has been closed; the request remains.
    let _ = writeln!(std::io::stderr(), "\nstopping; {again} immediately");
    if let Some(action) = ON_STOP.lock().unwrap_or_else(PoisonError::into_inner).take() {
        action();
    }
}

#[expect(clippy::exit, reason = "the user requested an immediate exit")]
fn exit_immediately() -> ! {
    std::process::exit(i32::from(signal::exit_code()))
}

/// The stop request that a signal sets.
pub(crate) fn stop() -> Stop {
    STOP.get_or_init(Stop::default).clone()
}

/// While this value exists, the first signal is a request to stop instead of an immediate exit.
pub(crate) struct Graceful(StopGuard);

impl Graceful {
    /// Announces that the command will check for the request.
    pub(crate) fn begin() -> Graceful {
        Graceful(stop().guard())
    }

    /// As [`Graceful::begin`]; the first signal also runs `action`.
    pub(crate) fn begin_with(action: impl FnOnce() + Send + 'static) -> Graceful {
        *ON_STOP.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(action));
        Graceful::begin()
    }

    /// Checks for the request.
    ///
    /// # Errors
    /// With the exit code of a signal if there was one.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.0.is_requested() {
            return Err(CliError::interrupted("interrupted; no output was written").into());
        }
        Ok(())
    }
}
