//! Threads that help the calling one with short work.
//!
//! An operation on a short text takes microseconds, and waking a thread takes as long. So helpers
//! wait for the next job by spinning for a while before they sleep, and a job does not wait for
//! helpers that are still asleep: whoever comes late finds it closed.

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{Builder, JoinHandle, yield_now};

/// Turns of a spinning helper before it sleeps: 20 to 100 us, longer than the pauses between the
/// operations of a pass.
const SPINS: u32 = 2000;

/// Turns of a spinning caller before it yields its core, which the helper it waits for may need.
const SPINS_BEFORE_YIELD: u32 = 10_000;

/// Helpers that run a job together with the calling thread.
pub(crate) struct Team {
    shared: Arc<Shared>,
    /// Held while there is a job.
    caller: Mutex<()>,
    helpers: Vec<JoinHandle<()>>,
}

/// A job, for as long as it is open or a helper works on it.
type Job = *const (dyn Fn() + Sync);

struct Shared {
    /// Number of the job, twice; plus one while it is open; and in the upper half the helpers that
    /// work on it.
    state: AtomicU64,
    /// Written by the caller alone, while the last job is closed and no helper works on it.
    job: UnsafeCell<Option<Job>>,
    /// What a helper panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleepers: AtomicUsize,
    /// Whether the team ends.
    ended: Mutex<bool>,
    wake: Condvar,
}

// SAFETY: `job` is written only while no helper reads it, as `state` says, and what it points to
// may be called from any thread.
unsafe impl Sync for Shared {}

// SAFETY: as for `Sync`; nothing in it belongs to a thread.
unsafe impl Send for Shared {}

/// Added to the state for each helper at work.
const HELPER: u64 = 1 << 32;

/// The bit of a job that helpers may join.
const OPEN: u64 = 1;

impl Team {
    /// Starts `helpers` threads.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(crate) fn new(helpers: usize) -> std::io::Result<Team> {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            panic: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            ended: Mutex::new(false),
            wake: Condvar::new(),
        });
        let mut team = Team { shared, caller: Mutex::new(()), helpers: Vec::new() };
        for index in 0..helpers {
            let shared = team.shared.clone();
            let builder = Builder::new().name(format!("rankforge-helper-{index}"));
            #[expect(clippy::disallowed_methods, reason = "these are the threads of a device")]
            let helper = builder.spawn(move || shared.help())?;
            team.helpers.push(helper);
        }
        Ok(team)
    }

    /// Calls `job` on the calling thread and at the same time on those helpers that come before it
    /// returns there. When there is another job already, the calling thread does its own alone.
    ///
    /// # Panics
    /// When `job` panics on any thread.
    pub(crate) fn run(&self, job: &(dyn Fn() + Sync)) {
        let _caller = match self.caller.try_lock() {
            Ok(caller) => caller,
            // A job panicked once.
            Err(TryLockError::Poisoned(caller)) => caller.into_inner(),
            Err(TryLockError::WouldBlock) => return job(),
        };
        self.shared.open(job);
        let open = OpenJob(&self.shared);
        job();
        drop(open);
        let panic = lock(&self.shared.panic).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        *lock(&self.shared.ended) = true;
        self.shared.wake.notify_all();
        for helper in self.helpers.drain(..) {
            // Panics of jobs are caught, so that there is nothing to learn here.
            let _ = helper.join();
        }
    }
}

/// Closes the job and waits for the helpers that work on it, also when the caller panics.
struct OpenJob<'a>(&'a Shared);

impl Drop for OpenJob<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while state >= HELPER {
            if spins < SPINS_BEFORE_YIELD {
                spin_loop()
            } else {
                yield_now()
            }
            spins += 1;
            state = self.0.state.load(Ordering::Acquire);
        }
    }
}

impl Shared {
    fn open(&self, job: &(dyn Fn() + Sync)) {
        // SAFETY: the two types differ in their lifetime alone, and `OpenJob` waits until no helper
        // calls the job any more before the reference ends.
        let job: Job = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), Job>(job) };
        // SAFETY: the caller holds the lock of the team and waited for the helpers of the job
        // before.
        unsafe { *self.job.get() = Some(job) };
        // That of a job whose caller panicked as well.
        *lock(&self.panic) = None;
        let number = self.state.load(Ordering::Relaxed) & (HELPER - 1);
        let next = (number + 2) & (HELPER - 1);
        self.state.store(next | OPEN, Ordering::SeqCst);
        // A helper counts itself before it looks at the state for the last time.
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.ended));
            self.wake.notify_all();
        }
    }

    /// What a helper does until the team ends.
    fn help(&self) {
        let mut last = 0;
        while let Some(number) = self.wait(last) {
            last = number;
            // SAFETY: the job is open and this helper is counted, so that its caller waits.
            let job = unsafe { (*self.job.get()).map(|job| &*job) };
            if let Some(Err(panic)) = job.map(|job| catch_unwind(AssertUnwindSafe(job))) {
                *lock(&self.panic) = Some(panic);
            }
            self.state.fetch_sub(HELPER, Ordering::Release);
        }
    }

    /// Waits for a job after `last` and joins it; its number, or `None` when the team ends.
    fn wait(&self, last: u64) -> Option<u64> {
        loop {
            for _ in 0..SPINS {
                if let Some(number) = self.join(last) {
                    return Some(number);
                }
                spin_loop();
            }
            let mut ended = lock(&self.ended);
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            while !*ended && !self.is_new(self.state.load(Ordering::SeqCst), last) {
                ended = self.wake.wait(ended).unwrap_or_else(PoisonError::into_inner);
            }
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
            if *ended {
                return None;
            }
        }
    }

    /// Whether `state` is that of an open job other than `last`.
    fn is_new(&self, state: u64, last: u64) -> bool {
        state & OPEN != 0 && state & (HELPER - 1) != last
    }

    /// Joins an open job other than `last`; its number.
    fn join(&self, last: u64) -> Option<u64> {
        let mut state = self.state.load(Ordering::Relaxed);
        while self.is_new(state, last) {
            let joined = state + HELPER;
            match self.state.compare_exchange_weak(
                state,
                joined,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(state & (HELPER - 1)),
                Err(now) => state = now,
            }
        }
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::panic_any;
    use std::sync::Barrier;
    use std::thread::current;

    /// How often each of `count` pieces is done by a job on `team`.
    fn counts(team: &Team, count: usize) -> Vec<usize> {
        let done: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        let next = AtomicUsize::new(0);
        team.run(&|| {
            while let Some(piece) = done.get(next.fetch_add(1, Ordering::Relaxed)) {
                piece.fetch_add(1, Ordering::Relaxed);
            }
        });
        done.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_piece_is_done_once_in_jobs_that_follow_each_other_closely_or_not() {
        for helpers in 0..4 {
            let team = Team::new(helpers).unwrap();
            for round in 0..2000 {
                assert_eq!(counts(&team, round % 7), vec![1; round % 7]);
                if round % 500 == 0 {
                    // Long enough for the helpers to fall asleep.
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
            }
        }
    }

    #[test]
    fn helpers_work_at_the_same_time_as_the_caller() {
        let team = Team::new(2).unwrap();
        for _ in 0..20 {
            // Nobody passes before all three are there.
            let all = Barrier::new(3);
            team.run(&|| {
                all.wait();
            });
        }
    }

    #[test]
    fn a_panic_of_any_thread_reaches_the_caller_and_the_team_goes_on() {
        let team = Team::new(1).unwrap();
        let caller = current().id();
        for of_caller in [true, false] {
            let both = Barrier::new(2);
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                team.run(&|| {
                    both.wait();
                    if (current().id() == caller) == of_caller {
                        panic_any(of_caller);
                    }
                });
            }));
            assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&of_caller));
        }
        assert_eq!(counts(&team, 100), vec![1; 100]);
    }

    #[test]
    fn a_job_within_a_job_and_one_of_another_thread_are_done_by_their_callers() {
        let team = Team::new(1).unwrap();
        team.run(&|| assert_eq!(counts(&team, 10), vec![1; 10]));
        #[expect(clippy::disallowed_methods, reason = "callers on several threads")]
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..500).for_each(|_| assert_eq!(counts(&team, 10), vec![1; 10]));
                });
            }
        });
    }
}
