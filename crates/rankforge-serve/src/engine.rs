use crate::queue::{Job, Queue};
use crate::served_model::ServedModel;
use rankforge_encoder::{Batch, BatchBudget, Mode, Model, Outputs, Workspace};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// The thread that runs the model.
///
/// It ends when all clones of its [`crate::Service`] have been dropped and its queue is empty.
pub struct Engine {
    thread: JoinHandle<()>,
    /// Its sender is dropped when the thread ends.
    ended: oneshot::Receiver<()>,
}

/// What the request handlers have of the engine.
pub(crate) struct EngineHandle {
    /// The sending end of its queue.
    pub(crate) jobs: Sender<Job>,
    /// Bytes that the thread holds for computing. It ends with the thread.
    pub(crate) memory: Weak<AtomicUsize>,
}

impl Engine {
    /// Starts the thread. `release_after` so much time without a job, it gives back the memory that
    /// it computes with.
    pub(crate) fn start(
        model: Arc<ServedModel>,
        budget: BatchBudget,
        release_after: Duration,
    ) -> std::io::Result<(Engine, EngineHandle)> {
        let (sender, jobs) = channel();
        let (end, ended) = oneshot::channel::<()>();
        // Both are dropped when the thread ends, by a panic too.
        let running = (Arc::new(AtomicUsize::new(0)), end);
        let memory = Arc::downgrade(&running.0);
        let body = move || {
            let running = running;
            run(model.as_model().model(), &jobs, budget, release_after, &running.0);
        };
        #[expect(clippy::disallowed_methods, reason = "the thread that runs the model")]
        let thread = std::thread::Builder::new().name("rankforge-engine".into()).spawn(body)?;
        Ok((Engine { thread, ended }, EngineHandle { jobs: sender, memory }))
    }

    /// Waits until the thread has ended.
    pub fn join(self) {
        // If the thread panicked, the requests that waited for it have already failed with an
        // error; nobody waits for the answer any more.
        let _ = self.thread.join();
    }

    /// Completes when the thread has ended.
    pub(crate) async fn ended(self) {
        // Nothing is ever sent: the result says that the sender is gone.
        let _ = self.ended.await;
    }
}

/// Takes jobs from the queue, batches them, runs the model and sends the output rows. `memory` is
/// kept at the bytes held for this.
fn run(
    model: &Model,
    jobs: &Receiver<Job>,
    budget: BatchBudget,
    release_after: Duration,
    memory: &AtomicUsize,
) {
    let device = model.device();
    let mut workspace = Workspace::new(device);
    let mut queue = Queue::default();
    let count = |workspace: &Workspace| {
        let bytes = workspace.capacity_in_bytes() + device.working_memory_in_bytes();
        memory.store(bytes, Ordering::Relaxed);
    };
    loop {
        if queue.is_empty() {
            let job = match jobs.recv_timeout(release_after) {
                Err(RecvTimeoutError::Timeout) => {
                    workspace = Workspace::new(device);
                    device.release_working_memory();
                    count(&workspace);
                    jobs.recv().ok()
                }
                job => job.ok(),
            };
            let Some(job) = job else { break };
            queue.push(job);
        }
        jobs.try_iter().for_each(|job| queue.push(job));
        let batch = queue.next_batch(budget);
        if batch.is_empty() {
            continue;
        }
        // A panic must not take the server down: the jobs of this batch are dropped without a
        // reply, which their handlers report, and later batches run with a new workspace.
        let outputs = catch_unwind(AssertUnwindSafe(|| forward(model, &batch, &mut workspace)));
        count(&workspace);
        match outputs {
            Ok(outputs) => {
                for (row, Job { permit, reply, .. }) in batch.into_iter().enumerate() {
                    // First, as the client's next request may come with the answer.
                    drop(permit);
                    // Sending fails if the client has disconnected; then the row is not needed.
                    let _ = reply.send(outputs.row(row).to_vec());
                }
            }
            Err(_) => workspace = Workspace::new(device),
        }
    }
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
    use rankforge_encoder::{DualEncoder, LoadOptions, Tokens, train_word_piece};
    use tokio::sync::Semaphore;

    #[test]
    fn a_panicking_batch_gets_no_reply_and_the_next_batch_runs() {
        let tokenizer = train_word_piece(&["a few words"], 100).unwrap();
        let options = LoadOptions::new(&Device::cpu(Some(1)).unwrap());
        let model = ServedModel::from(DualEncoder::new_static(tokenizer, 4, &options).unwrap());
        let budget = BatchBudget { max_sequences: 1, max_tokens: 8 };
        let (engine, handle) = Engine::start(Arc::new(model), budget, Duration::MAX).unwrap();
        let EngineHandle { jobs, memory: alive } = handle;
        let permits = Arc::new(Semaphore::new(2));
        let output = |ids: Vec<u32>| {
            let (reply, receiver) = oneshot::channel();
            let tokens = Tokens { type_ids: vec![0; ids.len()], ids, ..Tokens::default() };
            let permit = permits.clone().try_acquire_owned().unwrap();
            jobs.send(Job { request: 0, tokens, permit, reply }).unwrap();
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
