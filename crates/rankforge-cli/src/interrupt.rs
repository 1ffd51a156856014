//! Ctrl-C: a command that can stop cleanly is asked to; the second time, or any other, exits at once.

use crate::failure::INTERRUPTED;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

static GRACEFUL: AtomicBool = AtomicBool::new(false);
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static WHEN_STOPPED: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// Takes over Ctrl-C (and SIGTERM, SIGHUP) for the rest of the process.
///
/// # Errors
/// When the operating system refuses.
pub(crate) fn install() -> anyhow::Result<()> {
    let stop = Arc::clone(STOP.get_or_init(Arc::default));
    ctrlc::set_handler(move || {
        if GRACEFUL.load(Ordering::SeqCst) && !stop.swap(true, Ordering::SeqCst) {
            let mut stderr = std::io::stderr();
            // The terminal may be gone; the flag is what counts.
            let _ = writeln!(stderr, "\nstopping; once more to exit at once");
            if let Some(act) = WHEN_STOPPED.lock().unwrap_or_else(PoisonError::into_inner).take() {
                act();
            }
        } else {
            exit_at_once();
        }
    })?;
    Ok(())
}

#[expect(clippy::exit, reason = "the user asked to leave at once")]
fn exit_at_once() -> ! {
    std::process::exit(i32::from(INTERRUPTED))
}

/// While this lives, the first Ctrl-C sets a flag instead of exiting.
pub(crate) struct Graceful(Arc<AtomicBool>);

impl Graceful {
    /// From now on the command looks at the flag.
    pub(crate) fn begin() -> Graceful {
        GRACEFUL.store(true, Ordering::SeqCst);
        Graceful(Arc::clone(STOP.get_or_init(Arc::default)))
    }

    /// As [`Graceful::begin`]; the first Ctrl-C also does `act`.
    pub(crate) fn begin_with(act: impl FnOnce() + Send + 'static) -> Graceful {
        *WHEN_STOPPED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(act));
        Graceful::begin()
    }

    /// The flag.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Fails when the user has asked to stop.
    ///
    /// # Errors
    /// With exit code 130.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.0.load(Ordering::SeqCst) {
            return Err(
                crate::failure::Mistake::interrupted("interrupted; no output was written").into()
            );
        }
        Ok(())
    }
}

impl Drop for Graceful {
    fn drop(&mut self) {
        GRACEFUL.store(false, Ordering::SeqCst);
    }
}
