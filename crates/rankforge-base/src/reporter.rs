use std::fmt;
use std::sync::Arc;

/// Receives progress, log lines and warnings from long-running library calls.
///
/// The libraries never print; the command line implements this trait with progress bars and log
/// lines, and a user of the crates can pass an implementation of their own.
pub trait Reporter: Send + Sync {
    /// Begins a task of `total` units; `None` when the total is unknown. Tasks may nest.
    ///
    /// `task` is its title, such as "Scoring"; `unit` is the plural noun that is counted, such as
    /// "pairs".
    fn begin(&self, task: &str, total: Option<u64>, unit: &str);
    /// Reports `amount` more units of the innermost task as done.
    fn advance(&self, amount: u64);
    /// Ends the innermost task.
    fn end(&self);
    /// Reports one line for the log.
    fn message(&self, text: &str);
    /// Reports one line that must be shown to the user.
    fn warning(&self, text: &str);
}

impl fmt::Debug for dyn Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

/// A reporter that ignores everything.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Reporter for Silent {
    fn begin(&self, _task: &str, _total: Option<u64>, _unit: &str) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn message(&self, _text: &str) {}
    fn warning(&self, _text: &str) {}
}

/// A shared [`Silent`], the default of every `reporter` option.
pub fn silent() -> Arc<dyn Reporter> {
    Arc::new(Silent)
}

/// A task of a [`Reporter`] that ends when this guard is dropped, also on an early return.
pub struct Task<'a> {
    reporter: &'a dyn Reporter,
}

impl<'a> Task<'a> {
    /// Begins a task of `total` units; see [`Reporter::begin`].
    pub fn begin(reporter: &'a dyn Reporter, task: &str, total: usize, unit: &str) -> Task<'a> {
        reporter.begin(task, Some(total as u64), unit);
        Task { reporter }
    }

    /// Reports `amount` more units of the task as done.
    pub fn advance(&self, amount: usize) {
        self.reporter.advance(amount as u64);
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.reporter.end();
    }
}
