use crate::served_model::ServedModel;
use rankforge_encoder::{Batch, BatchBudget, Mode, Model, Outputs, Tokens, Workspace};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// One tokenised input in the queue of the engine.
pub(crate) struct Job {
    pub(crate) tokens: Tokens,
    /// Occupies one slot of `max_concurrent_requests`. It is before `reply`, so that a job which is
    /// dropped frees its slot before its client receives the error.
    pub(crate) permit: OwnedSemaphorePermit,
    /// Receives the output row of this input.
    pub(crate) reply: oneshot::Sender<Vec<f32>>,
}

/// The thread that runs the model.
///
/// It ends when all clones of its [`crate::Service`] have been dropped and its queue is empty.
pub struct Engine(JoinHandle<()>);

impl Engine {
    /// Starts the thread. Returns it with the sending end of its queue, and a weak reference that
    /// has a strong count of 1 as long as the thread runs and of 0 afterwards.
    pub(crate) fn start(
        model: Arc<ServedModel>,
        budget: BatchBudget,
    ) -> std::io::Result<(Engine, Sender<Job>, Weak<()>)> {
        let (sender, jobs) = channel();
        // Dropped when the thread ends, by a panic too.
        let running = Arc::new(());
        let alive = Arc::downgrade(&running);
        let body = move || {
            let _running = running;
            run(model.as_model().model(), &jobs, budget);
        };
        #[expect(clippy::disallowed_methods, reason = "the thread that runs the model")]
        let thread = std::thread::Builder::new().name("rankforge-engine".into()).spawn(body)?;
        Ok((Engine(thread), sender, alive))
    }

    /// Waits until the thread has ended.
    pub fn join(self) {
        // If the thread panicked, the requests that waited for it have already failed with an
        // error; nobody waits for the answer any more.
        let _ = self.0.join();
    }
}

/// Takes jobs from the queue, batches them, runs the model and sends the output rows.
fn run(model: &Model, jobs: &Receiver<Job>, budget: BatchBudget) {
    let mut workspace = Workspace::new(model.device());
    let mut deferred = None;
    while let Some(first) = deferred.take().or_else(|| jobs.recv().ok()) {
        let batch = next_batch(first, jobs, budget, &mut deferred);
        if batch.is_empty() {
            continue;
        }
        // A panic must not take the server down: the jobs of this batch are dropped without a
        // reply, which their handlers report, and later batches run with a new workspace.
        let outputs = catch_unwind(AssertUnwindSafe(|| forward(model, &batch, &mut workspace)));
        match outputs {
            Ok(outputs) => {
                for (row, Job { permit, reply, .. }) in batch.into_iter().enumerate() {
                    // First, as the client's next request may come with the answer.
                    drop(permit);
                    // Sending fails if the client has disconnected; then the row is not needed.
                    let _ = reply.send(outputs.row(row).to_vec());
                }
            }
            Err(_) => workspace = Workspace::new(model.device()),
        }
    }
}

/// A batch of `first` and the queued jobs after it, in queue order, within the budget.
///
/// Jobs whose client has disconnected are dropped, so the batch may be empty. The first job that
/// exceeds the budget goes to `deferred` and must start the next batch.
fn next_batch(
    first: Job,
    jobs: &Receiver<Job>,
    budget: BatchBudget,
    deferred: &mut Option<Job>,
) -> Vec<Job> {
    let mut batch: Vec<Job> = Vec::new();
    let mut tokens = 0;
    let mut next = Some(first);
    while let Some(job) = next.take() {
        let length = job.tokens.ids.len();
        let fits = budget.admits(batch.len(), tokens, length);
        if job.reply.is_closed() {
            drop(job);
        } else if fits {
            tokens += length;
            batch.push(job);
        } else {
            *deferred = Some(job);
            break;
        }
        next = jobs.try_recv().ok();
    }
    batch
}

fn forward(model: &Model, jobs: &[Job], workspace: &mut Workspace) -> Outputs {
    let sequences = jobs.iter().map(|job| &job.tokens);
    let batch = Batch::new(model.device(), sequences, &model.architecture().encoder);
    model.forward(&batch, Mode::Inference, false, workspace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankforge_encoder::kernels::Device;
    use rankforge_encoder::{DualEncoder, LoadOptions, train_word_piece};
    use tokio::sync::Semaphore;

    /// Token counts of the batches made from jobs given as (tokens, client still connected).
    fn batches(jobs: &[(usize, bool)], max_tokens: usize, max_sequences: usize) -> Vec<Vec<usize>> {
        let permits = Arc::new(Semaphore::new(jobs.len()));
        let (sender, receiver) = channel();
        let mut replies = Vec::new();
        for &(length, connected) in jobs {
            let (reply, receiver) = oneshot::channel();
            replies.extend(connected.then_some(receiver));
            let tokens = Tokens { ids: vec![0; length], ..Tokens::default() };
            let permit = permits.clone().try_acquire_owned().unwrap();
            sender.send(Job { tokens, permit, reply }).unwrap();
        }
        drop(sender);
        let budget = BatchBudget { max_sequences, max_tokens };
        let mut batches = Vec::new();
        let mut deferred = None;
        while let Some(first) = deferred.take().or_else(|| receiver.recv().ok()) {
            let batch = next_batch(first, &receiver, budget, &mut deferred);
            batches.push(batch.iter().map(|job| job.tokens.ids.len()).collect());
        }
        assert_eq!(permits.available_permits(), jobs.len(), "a queue slot was not freed");
        batches
    }

    #[test]
    fn batches_keep_queue_order_and_respect_both_limits() {
        let jobs = [3, 3, 3, 9, 2, 20, 1, 1].map(|length| (length, true));
        let expected = vec![vec![3, 3, 3], vec![9], vec![2], vec![20], vec![1, 1]];
        assert_eq!(batches(&jobs, 10, 8), expected);
        assert_eq!(batches(&jobs[..5], 100, 2), vec![vec![3, 3], vec![3, 9], vec![2]]);
    }

    #[test]
    fn jobs_of_disconnected_clients_are_dropped() {
        let jobs = [(2, true), (2, false), (3, true)];
        assert_eq!(batches(&jobs, 100, 8), vec![vec![2, 3]]);
        assert_eq!(batches(&[(2, false)], 100, 8), vec![Vec::<usize>::new()]);
    }

    #[test]
    fn a_panicking_batch_gets_no_reply_and_the_next_batch_runs() {
        let tokenizer = train_word_piece(&["a few words"], 100).unwrap();
        let options = LoadOptions::new(&Device::cpu(Some(1)).unwrap());
        let model = ServedModel::from(DualEncoder::new_static(tokenizer, 4, &options).unwrap());
        let budget = BatchBudget { max_sequences: 1, max_tokens: 8 };
        let (engine, jobs, alive) = Engine::start(Arc::new(model), budget).unwrap();
        let permits = Arc::new(Semaphore::new(2));
        let output = |ids: Vec<u32>| {
            let (reply, receiver) = oneshot::channel();
            let tokens = Tokens { type_ids: vec![0; ids.len()], ids, ..Tokens::default() };
            let permit = permits.clone().try_acquire_owned().unwrap();
            jobs.send(Job { tokens, permit, reply }).unwrap();
            receiver.blocking_recv()
        };
        assert!(output(vec![u32::MAX]).is_err());
        assert_eq!(output(vec![7]).unwrap().len(), 4);
        assert_eq!(alive.strong_count(), 1);
        drop(jobs);
        engine.join();
        assert_eq!((alive.strong_count(), permits.available_permits()), (0, 2));
    }
}
