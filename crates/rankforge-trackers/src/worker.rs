//! A thread that hands lines to a sink, and the queue before it.

use crate::line::Line;
use crate::outcome::Outcome;
use crate::report_to::Tracker;
use crate::sink::{Failure, Sink};
use rankforge_base::Reporter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The first pause before something is tried again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A wait that nobody needs to be told of.
const SHORT: Duration = Duration::from_secs(2);

/// Lines that a sink gets at once, at most.
const BATCH: usize = 64;

/// The side of the run. Its methods but `wait` return at once.
pub(crate) struct Worker {
    tracker: Tracker,
    /// `None` once the run has ended.
    queue: Option<SyncSender<Line>>,
    shared: Arc<Shared>,
    reporter: Arc<dyn Reporter>,
    /// Lines that were given, of which some may have been dropped.
    given: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Lines that the sink has taken.
    taken: AtomicU64,
}

#[derive(Default)]
struct State {
    outcome: Option<Outcome>,
    /// Whether the thread is done.
    done: bool,
    /// Whether nobody waits for the thread any more.
    left: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits until something is so, or until the time is over.
    fn wait(&self, limit: Duration, so: impl Fn(&State) -> bool) {
        let waited = self.changed.wait_timeout_while(self.state(), limit, |state| !so(state));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Worker {
    /// Starts the thread, with a queue of `length` lines before it.
    pub(crate) fn start(
        tracker: Tracker,
        sink: Box<dyn Sink>,
        length: usize,
        reporter: &Arc<dyn Reporter>,
    ) -> Worker {
        let (queue, lines) = sync_channel(length);
        let shared = Arc::new(Shared::default());
        let thread = Thread {
            tracker,
            sink,
            shared: Arc::clone(&shared),
            reporter: Arc::clone(reporter),
            warned: false,
        };
        #[expect(clippy::disallowed_methods, reason = "a tracker must not make a run wait")]
        let started = std::thread::Builder::new()
            .name(tracker.name().to_owned())
            .spawn(move || thread.run(&lines));
        if let Err(error) = started {
            reporter.warning(&format!("{tracker}: no thread for it: {error}; it gets nothing"));
            shared.change(|state| state.done = true);
        }
        let reporter = Arc::clone(reporter);
        Worker { tracker, queue: Some(queue), shared, reporter, given: 0 }
    }

    /// Puts a line into the queue, or drops it if that is full.
    pub(crate) fn give(&mut self, line: &Line) {
        self.given += 1;
        if let Some(queue) = &self.queue {
            // A line that is dropped is missing in the count of those that were taken.
            let _ = queue.try_send(line.clone());
        }
    }

    /// Tells the thread how the run ended.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        self.shared.change(|state| state.outcome = Some(outcome));
        self.queue = None;
    }

    /// Waits until the thread is done or the time is over, and warns if lines are lost.
    fn wait(&self, limit: Duration) {
        self.shared.wait(limit.min(SHORT), |state| state.done);
        if limit > SHORT && !self.shared.state().done {
            let (tracker, seconds) = (self.tracker, limit.as_secs());
            self.reporter.message(&format!("waiting for {tracker}, at most {seconds} s"));
            self.shared.wait(limit - SHORT, |state| state.done);
        }
        self.shared.change(|state| state.left = true);
        let taken = self.shared.taken.load(Ordering::SeqCst);
        let done = self.shared.state().done;
        let (tracker, given, lost) = (self.tracker, self.given, self.given - taken);
        let in_time = if done { "" } else { " in time" };
        if lost > 0 {
            let text = format!("{tracker}: {lost} of {given} log records did not get there");
            self.reporter.warning(&format!("{text}{in_time}"));
        } else if !done {
            self.reporter.warning(&format!("{tracker}: the end of the run did not get there"));
        }
    }
}

/// The side of the sink.
struct Thread {
    tracker: Tracker,
    sink: Box<dyn Sink>,
    shared: Arc<Shared>,
    reporter: Arc<dyn Reporter>,
    warned: bool,
}

impl Thread {
    /// Hands over lines until the run ends or the sink fails for good.
    fn run(mut self, lines: &Receiver<Line>) {
        self.hand_over(lines);
        self.shared.change(|state| state.done = true);
    }

    fn hand_over(&mut self, lines: &Receiver<Line>) -> Option<()> {
        if let Some(place) = self.attempt(|sink| sink.begin())? {
            self.reporter.message(&format!("{}: {place}", self.tracker));
        }
        while let Ok(first) = lines.recv() {
            let mut batch = vec![first];
            batch.extend(lines.try_iter().take(BATCH - 1));
            self.attempt(|sink| sink.write(&batch))?;
            self.shared.taken.fetch_add(batch.len() as u64, Ordering::SeqCst);
        }
        let outcome = self.shared.state().outcome.unwrap_or(Outcome::Failed);
        self.attempt(|sink| sink.end(outcome))
    }

    /// Tries until it goes well; `None` if it fails for good, or once more after the run has ended.
    fn attempt<T>(&mut self, act: impl Fn(&mut dyn Sink) -> Result<T, Failure>) -> Option<T> {
        let mut pause = FIRST_PAUSE;
        loop {
            let ending = self.shared.state().outcome.is_some();
            let failure = match act(&mut *self.sink) {
                Ok(value) => return Some(value),
                Err(failure) => failure,
            };
            if !std::mem::replace(&mut self.warned, true) && !self.shared.state().left {
                let then = if failure.may_pass { "it is tried again" } else { "it gets no more" };
                let text =
                    format!("{}: {}; the run goes on, {then}", self.tracker, failure.message);
                self.reporter.warning(&text);
            }
            if ending || !failure.may_pass {
                return None;
            }
            self.shared.wait(pause, |state| state.outcome.is_some());
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Waits for all together, no longer than `limit`.
pub(crate) fn wait_for(workers: &[Worker], limit: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the end of a run waits no longer than it may")]
    let begun = Instant::now();
    for worker in workers {
        worker.wait(limit.saturating_sub(begun.elapsed()));
    }
}
