use rankforge_encoder::{BatchBudget, Tokens};
use std::collections::VecDeque;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// One tokenised input in the queue of the engine.
pub(crate) struct Job {
    /// The request that the input is of.
    pub(crate) request: u64,
    pub(crate) tokens: Tokens,
    /// Occupies one slot of `max_concurrent_requests`. It is before `reply`, so that a job which is
    /// dropped frees its slot before its client receives the error.
    pub(crate) permit: OwnedSemaphorePermit,
    /// Receives the output row of this input.
    pub(crate) reply: oneshot::Sender<Vec<f32>>,
}

/// The jobs that wait, by request. Batches take one of each request in turn, so that a request with
/// many texts does not hold up one with few.
#[derive(Default)]
pub(crate) struct Queue(VecDeque<(u64, VecDeque<Job>)>);

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a job behind the others of its request.
    pub(crate) fn push(&mut self, job: Job) {
        match self.0.iter_mut().rev().find(|(request, _)| *request == job.request) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.0.push_back((job.request, VecDeque::from([job]))),
        }
    }

    /// Takes the next batch within the budget.
    ///
    /// Jobs whose client has disconnected are dropped, so the batch may be empty. The first job
    /// that exceeds the budget ends the batch and begins the next one.
    pub(crate) fn next_batch(&mut self, budget: BatchBudget) -> Vec<Job> {
        let mut batch: Vec<Job> = Vec::new();
        let mut tokens = 0;
        while let Some((request, mut jobs)) = self.0.pop_front() {
            jobs.retain(|job| !job.reply.is_closed());
            let Some(job) = jobs.pop_front() else { continue };
            let length = job.tokens.ids.len();
            if !budget.admits(batch.len(), tokens, length) {
                jobs.push_front(job);
                self.0.push_front((request, jobs));
                break;
            }
            tokens += length;
            batch.push(job);
            if !jobs.is_empty() {
                self.0.push_back((request, jobs));
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    /// Token counts of the batches made from jobs given as (request, tokens, client still
    /// connected).
    fn batches(
        jobs: &[(u64, usize, bool)],
        max_tokens: usize,
        max_sequences: usize,
    ) -> Vec<Vec<usize>> {
        let permits = Arc::new(Semaphore::new(jobs.len()));
        let mut queue = Queue::default();
        let mut replies = Vec::new();
        for &(request, length, connected) in jobs {
            let (reply, receiver) = oneshot::channel();
            replies.extend(connected.then_some(receiver));
            let tokens = Tokens { ids: vec![0; length], ..Tokens::default() };
            let permit = permits.clone().try_acquire_owned().unwrap();
            queue.push(Job { request, tokens, permit, reply });
        }
        let budget = BatchBudget { max_sequences, max_tokens };
        let mut batches = Vec::new();
        while !queue.is_empty() {
            let batch = queue.next_batch(budget);
            batches.push(batch.iter().map(|job| job.tokens.ids.len()).collect());
        }
        assert_eq!(permits.available_permits(), jobs.len(), "a queue slot was not freed");
        batches
    }

    #[test]
    fn batches_keep_the_order_of_requests_and_respect_both_limits() {
        let lengths = [3, 3, 3, 9, 2, 20, 1, 1];
        let expected = vec![vec![3, 3, 3], vec![9], vec![2], vec![20], vec![1, 1]];
        let same: Vec<_> = lengths.iter().map(|&length| (7, length, true)).collect();
        let own: Vec<_> = lengths.iter().zip(0..).map(|(&length, at)| (at, length, true)).collect();
        for jobs in [same, own] {
            assert_eq!(batches(&jobs, 10, 8), expected);
            assert_eq!(batches(&jobs[..5], 100, 2), vec![vec![3, 3], vec![3, 9], vec![2]]);
        }
    }

    #[test]
    fn requests_take_turns() {
        let jobs: Vec<_> =
            [(0, 6), (0, 5), (0, 4), (1, 1), (2, 2), (2, 3)].map(|(a, b)| (a, b, true)).into();
        let expected = vec![vec![6, 1], vec![2, 5], vec![3, 4]];
        assert_eq!(batches(&jobs, 100, 2), expected);
    }

    #[test]
    fn jobs_of_disconnected_clients_are_dropped() {
        let jobs = [(0, 2, true), (1, 2, false), (2, 3, true)];
        assert_eq!(batches(&jobs, 100, 8), vec![vec![2, 3]]);
        assert_eq!(batches(&[(0, 2, false), (0, 2, false)], 100, 8), vec![Vec::<usize>::new()]);
    }
}
