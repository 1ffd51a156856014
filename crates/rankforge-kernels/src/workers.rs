use crate::error::DeviceError;
use std::sync::Arc;

/// A handle on host threads.
///
/// Cloning is cheap, and clones share the threads; they end with the last handle.
#[derive(Clone)]
pub struct Workers(Arc<rayon::ThreadPool>);

impl Workers {
    /// Starts `threads` threads, at least one; `None` is one for each core the process may use.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn new(threads: Option<usize>) -> Result<Workers, DeviceError> {
        let threads = threads
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|index| format!("rankforge-{index}"))
            .build()
            .map_err(|error| DeviceError::Threads { threads, message: error.to_string() })?;
        Ok(Workers(Arc::new(pool)))
    }

    /// Number of threads.
    pub fn count(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Runs `work` on one of the threads and waits for it; rayon calls inside use all of them.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.install(work)
    }

    /// Runs `work` once on each thread, all at the same time.
    pub(crate) fn broadcast<R: Send>(&self, work: impl Fn() -> R + Sync) -> Vec<R> {
        self.0.broadcast(|_| work())
    }
}
