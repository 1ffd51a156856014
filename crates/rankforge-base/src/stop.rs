use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A flag by which one thread, such as a signal handler, requests that others stop. Clones share
/// the flag.
///
/// Work that can stop cleanly holds a [`StopGuard`] and checks [`Stop::is_requested`] between its
/// steps. While no guard exists, nothing checks the flag: a signal handler should then end the
/// process itself.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<State>);

#[derive(Debug, Default)]
struct State {
    requested: AtomicBool,
    guards: AtomicUsize,
}

/// Marks that its holder checks the stop flag, until it is dropped.
#[derive(Debug)]
pub struct StopGuard(Stop);

impl Stop {
    /// Sets the flag, which cannot be cleared. Returns whether it was already set.
    pub fn request(&self) -> bool {
        self.0.requested.swap(true, Ordering::SeqCst)
    }

    /// Whether [`Stop::request`] has been called.
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Registers the caller as checking the flag until the guard is dropped.
    pub fn guard(&self) -> StopGuard {
        self.0.guards.fetch_add(1, Ordering::SeqCst);
        StopGuard(self.clone())
    }

    /// Whether any [`StopGuard`] exists.
    pub fn is_guarded(&self) -> bool {
        self.0.guards.load(Ordering::SeqCst) > 0
    }
}

impl StopGuard {
    /// Whether [`Stop::request`] has been called.
    pub fn is_requested(&self) -> bool {
        self.0.is_requested()
    }
}

impl Drop for StopGuard {
    fn drop(&mut self) {
        self.0.0.guards.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_request_and_the_number_of_guards() {
        let stop = Stop::default();
        let handler = stop.clone();
        assert!(!handler.is_guarded());
        let outer = stop.guard();
        {
            let _inner = stop.guard();
            assert!(handler.is_guarded());
        }
        assert!(handler.is_guarded() && !outer.is_requested());
        assert!(!handler.request());
        assert!(outer.is_requested() && handler.request());
        drop(outer);
        assert!(!handler.is_guarded() && stop.is_requested());
    }
}
