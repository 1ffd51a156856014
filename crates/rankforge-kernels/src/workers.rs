use crate::error::DeviceError;
use crate::team::Team;
use rayon::prelude::*;
use std::sync::Arc;

/// A handle on host threads: a pool for work that is long or that waits, and as many threads less
/// one that help the calling thread with operations.
///
/// Cloning is cheap, and clones share the threads; they end with the last handle.
#[derive(Clone)]
pub struct Workers(Arc<Threads>);

struct Threads {
    pool: rayon::ThreadPool,
    team: Team,
}

impl Workers {
    /// Starts `threads` threads, at least one; `None` is one for each core the process may use.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn new(threads: Option<usize>) -> Result<Workers, DeviceError> {
        let threads = threads
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1)
            .max(1);
        let failed = |message| DeviceError::Threads { threads, message };
        #[expect(clippy::disallowed_methods, reason = "these are the threads of a device")]
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("rankforge-{index}"))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let team = Team::new(threads - 1).map_err(|error| failed(error.to_string()))?;
        Ok(Workers(Arc::new(Threads { pool, team })))
    }

    /// Number of threads.
    pub fn count(&self) -> usize {
        self.0.pool.current_num_threads()
    }

    /// Runs `work` on a thread of the pool and waits for it; rayon calls inside use all threads.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.pool.install(work)
    }

    /// Calls `work(index, chunk)` for each chunk of `size` elements (the last may be shorter), on
    /// all threads, and returns what it gives in the order of the chunks.
    ///
    /// # Panics
    /// When `size` is 0.
    pub fn map_chunks_mut<T: Send, R: Send>(
        &self,
        elements: &mut [T],
        size: usize,
        work: impl Fn(usize, &mut [T]) -> R + Sync,
    ) -> Vec<R> {
        self.run(|| {
            let chunks = elements.par_chunks_mut(size).enumerate();
            chunks.map(|(index, chunk)| work(index, chunk)).collect()
        })
    }

    /// The threads that help with operations.
    pub(crate) fn team(&self) -> &Team {
        &self.0.team
    }

    /// Runs `work` once on each thread of the pool, all at the same time.
    pub(crate) fn broadcast<R: Send>(&self, work: impl Fn() -> R + Sync) -> Vec<R> {
        self.0.pool.broadcast(|_| work())
    }
}
