use crate::service::Served;
use rankforge_encoder::{Batch, Mode, Model, Outputs, Tokens, Workspace};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// One sequence that waits for the model.
pub(crate) struct Job {
    pub(crate) tokens: Tokens,
    /// Leading tokens that belong to a prompt; the jobs of a batch have the same number.
    pub(crate) prompt_tokens: usize,
    pub(crate) reply: oneshot::Sender<Vec<f32>>,
    /// A place in the queue, free again when the job is gone.
    pub(crate) _place: OwnedSemaphorePermit,
}

/// What bounds a batch.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_tokens: usize,
    pub(crate) max_requests: usize,
}

/// The thread that runs the model. It works until every [`crate::Service`] of it is gone and its queue is empty.
pub struct Engine(JoinHandle<()>);

impl Engine {
    pub(crate) fn start(
        model: Arc<Served>,
        limits: Limits,
    ) -> std::io::Result<(Engine, Sender<Job>, Weak<()>)> {
        let (sender, jobs) = channel();
        let pulse = Arc::new(());
        let alive = Arc::downgrade(&pulse);
        let work = move || {
            let _pulse = pulse;
            work(model.model(), &jobs, limits);
        };
        let thread = std::thread::Builder::new().name("rankforge-engine".into()).spawn(work)?;
        Ok((Engine(thread), sender, alive))
    }

    /// Waits until the engine has finished its work.
    pub fn join(self) {
        // A panic of the thread was seen by whoever waited for its answers.
        let _ = self.0.join();
    }
}

fn work(model: &Model, jobs: &Receiver<Job>, limits: Limits) {
    let mut workspace = Workspace::new(model.device());
    let mut waiting = None;
    while let Some(first) = waiting.take().or_else(|| jobs.recv().ok()) {
        let batch = gather(first, jobs, limits, &mut waiting);
        if batch.is_empty() {
            continue;
        }
        // A bug that one request brings out must not stop the others: its batch goes unanswered, and the handlers
        // report that.
        let outputs = catch_unwind(AssertUnwindSafe(|| forward(model, &batch, &mut workspace)));
        match outputs {
            Ok(outputs) => {
                for (row, job) in batch.into_iter().enumerate() {
                    // A client that has gone away needs no answer.
                    let _ = job.reply.send(outputs.row(row).to_vec());
                }
            }
            Err(_) => workspace = Workspace::new(model.device()),
        }
    }
}

/// The first job and those behind it that fit; the one that does not fit goes to `waiting`.
fn gather(first: Job, jobs: &Receiver<Job>, limits: Limits, waiting: &mut Option<Job>) -> Vec<Job> {
    let (mut batch, mut tokens): (Vec<Job>, usize) = (Vec::new(), 0);
    let mut next = Some(first);
    while let Some(job) = next.take() {
        let length = job.tokens.ids.len();
        let fits = batch.first().is_none_or(|first| {
            batch.len() < limits.max_requests
                && tokens + length <= limits.max_tokens
                && first.prompt_tokens == job.prompt_tokens
        });
        if job.reply.is_closed() {
            drop(job);
        } else if fits {
            tokens += length;
            batch.push(job);
        } else {
            *waiting = Some(job);
            break;
        }
        next = jobs.try_recv().ok();
    }
    batch
}

fn forward(model: &Model, jobs: &[Job], workspace: &mut Workspace) -> Outputs {
    let sequences = jobs.iter().map(|job| &job.tokens);
    let mut batch = Batch::new(model.device(), sequences, &model.architecture().encoder);
    batch.prompt_tokens = jobs[0].prompt_tokens;
    model.forward(&batch, Mode::Inference, false, workspace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankforge_encoder::kernels::Device;
    use rankforge_encoder::{DualEncoder, LoadOptions, train_word_piece};
    use tokio::sync::Semaphore;

    /// Batches of jobs given as (tokens, prompt tokens, whether the client still waits).
    fn batches(
        jobs: &[(usize, usize, bool)],
        max_tokens: usize,
        max_requests: usize,
    ) -> Vec<Vec<usize>> {
        let places = Arc::new(Semaphore::new(jobs.len()));
        let (sender, receiver) = channel();
        let mut replies = Vec::new();
        for &(length, prompt_tokens, open) in jobs {
            let (reply, answer) = oneshot::channel();
            replies.extend(open.then_some(answer));
            let tokens = Tokens { ids: vec![0; length], ..Tokens::default() };
            let place = places.clone().try_acquire_owned().unwrap();
            sender.send(Job { tokens, prompt_tokens, reply, _place: place }).unwrap();
        }
        drop(sender);
        let (mut found, mut waiting) = (Vec::new(), None);
        while let Some(first) = waiting.take().or_else(|| receiver.recv().ok()) {
            let batch = gather(first, &receiver, Limits { max_tokens, max_requests }, &mut waiting);
            found.push(batch.iter().map(|job| job.tokens.ids.len()).collect());
        }
        assert_eq!(places.available_permits(), jobs.len(), "a place in the queue was not freed");
        found
    }

    #[test]
    fn batches_keep_the_order_and_both_limits() {
        let jobs = [3, 3, 3, 9, 2, 20, 1, 1].map(|length| (length, 0, true));
        let expected = vec![vec![3, 3, 3], vec![9], vec![2], vec![20], vec![1, 1]];
        assert_eq!(batches(&jobs, 10, 8), expected);
        assert_eq!(batches(&jobs[..5], 100, 2), vec![vec![3, 3], vec![3, 9], vec![2]]);
    }

    #[test]
    fn jobs_of_other_prompts_and_gone_clients_stay_out_of_a_batch() {
        let jobs = [(2, 0, true), (2, 0, false), (3, 4, true), (4, 4, true)];
        assert_eq!(batches(&jobs, 100, 8), vec![vec![2], vec![3, 4]]);
        assert_eq!(batches(&[(2, 0, false)], 100, 8), vec![Vec::<usize>::new()]);
    }

    #[test]
    fn a_batch_that_panics_goes_unanswered_and_the_next_is_served() {
        let tokenizer = train_word_piece(&["a few words"], 100).unwrap();
        let options = LoadOptions::new(&Device::cpu(Some(1)).unwrap());
        let model = Served::from(DualEncoder::new_static(tokenizer, 4, &options));
        let limits = Limits { max_tokens: 8, max_requests: 1 };
        let (engine, jobs, alive) = Engine::start(Arc::new(model), limits).unwrap();
        let places = Arc::new(Semaphore::new(2));
        let ask = |ids: Vec<u32>| {
            let (reply, answer) = oneshot::channel();
            let tokens = Tokens { type_ids: vec![0; ids.len()], ids, truncated: 0 };
            let _place = places.clone().try_acquire_owned().unwrap();
            jobs.send(Job { tokens, prompt_tokens: 0, reply, _place }).unwrap();
            answer.blocking_recv()
        };
        assert!(ask(vec![u32::MAX]).is_err());
        assert_eq!(ask(vec![7]).unwrap().len(), 4);
        assert_eq!(alive.strong_count(), 1);
        drop(jobs);
        engine.join();
        assert_eq!((alive.strong_count(), places.available_permits()), (0, 2));
    }
}
