//! The signal that asked the process to end, and the exit code after it.

use std::sync::atomic::{AtomicU8, Ordering};

/// Ctrl-C.
pub(crate) const SIGINT: u8 = 2;
/// What clusters and service managers send to end a process.
pub(crate) const SIGTERM: u8 = 15;

/// The first signal; SIGINT before there is one.
static FIRST: AtomicU8 = AtomicU8::new(SIGINT);

/// Keeps the number of the first signal.
pub(crate) fn keep(signal: u8) {
    FIRST.store(signal, Ordering::SeqCst);
}

/// Whether SIGTERM asked the process to end.
pub(crate) fn is_sigterm() -> bool {
    FIRST.load(Ordering::SeqCst) == SIGTERM
}

/// The exit code of work that a signal stopped: 128 and its number, the convention of shells.
pub(crate) fn exit_code() -> u8 {
    128 + FIRST.load(Ordering::SeqCst)
}
