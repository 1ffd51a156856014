use crate::engine::{Engine, EngineHandle};
use crate::error::{Refusal, ServeError};
use crate::inputs::{Text, TruncationDirection};
use crate::queue::Job;
use crate::served_model::ServedModel;
use crate::settings::Server;
use rankforge_encoder::{BatchBudget, EncoderError, Input, Prompt, TextTokens, Tokens};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

/// Maximum number of characters of a text, for each token of the maximum length, as in
/// text-embeddings-inference. It bounds the time for texts without any place to cut them.
const CHARACTERS_PER_TOKEN: usize = 250;

/// Size in bytes at which a part of a request's texts is full.
const PART_BYTES: usize = 1 << 14;

/// Options of a request that affect tokenisation.
#[derive(Default)]
pub(crate) struct ReadOptions {
    /// Whether to truncate long texts; `None` means [`Server::auto_truncate`].
    pub(crate) truncate: Option<bool>,
    pub(crate) truncation_direction: TruncationDirection,
    pub(crate) prompt_name: Option<String>,
}

/// A model with its queue; request handlers share clones of it.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

struct Shared {
    model: Arc<ServedModel>,
    server: Server,
    engine: EngineHandle,
    /// One permit per text, [`Server::max_concurrent_requests`] in all.
    permits: Arc<Semaphore>,
    /// Number of requests so far, which numbers them in the queue.
    requests: AtomicU64,
}

impl Service {
    /// Starts the engine of a model. Does not listen: [`Server::address`] is ignored.
    ///
    /// # Errors
    /// If a setting is out of range, or the thread cannot be started.
    pub fn start(
        model: impl Into<ServedModel>,
        server: &Server,
    ) -> Result<(Service, Engine), ServeError> {
        server.check()?;
        let model = Arc::new(model.into());
        let budget = BatchBudget {
            max_sequences: server.max_batch_requests.unwrap_or(usize::MAX),
            max_tokens: server.max_batch_tokens,
        };
        let (thread, engine) = Engine::start(model.clone(), budget, server.release_after)?;
        let permits = Arc::new(Semaphore::new(server.max_concurrent_requests));
        let server = server.clone();
        let requests = AtomicU64::new(0);
        let shared = Shared { model, server, engine, permits, requests };
        Ok((Service(Arc::new(shared)), thread))
    }

    pub(crate) fn model(&self) -> &ServedModel {
        &self.0.model
    }

    pub(crate) fn server(&self) -> &Server {
        &self.0.server
    }

    /// Whether the engine thread is running.
    pub(crate) fn is_healthy(&self) -> bool {
        self.0.engine.memory.strong_count() > 0
    }

    /// Bytes that the engine holds to compute batches, besides the model. After a time without
    /// work, [`Server::release_after`], they are 0.
    pub fn working_memory_in_bytes(&self) -> usize {
        self.0.engine.memory.upgrade().map_or(0, |memory| memory.load(Ordering::Relaxed))
    }

    /// The output rows of the model (logits or embeddings), one per text, in order.
    ///
    /// # Errors
    /// With more texts than [`Server::max_client_batch_size`], with more than the queue has room
    /// for, with a text that cannot be tokenised, or if the engine fails.
    pub(crate) async fn outputs(
        &self,
        texts: Vec<Text>,
        options: ReadOptions,
    ) -> Result<Vec<Vec<f32>>, Refusal> {
        let (count, limit) = (texts.len(), self.0.server.max_client_batch_size);
        if count > limit {
            // The wording of text-embeddings-inference.
            return Err(Refusal::too_many(format!(
                "batch size {count} > maximum allowed batch size {limit}"
            )));
        }
        let needed = u32::try_from(count).map_err(|_| Refusal::overloaded())?;
        let permits = self.0.permits.clone().try_acquire_many_owned(needed);
        let mut permits = permits.map_err(|_| Refusal::overloaded())?;
        let tokens = self.tokenise(texts, options).await?;
        let request = self.0.requests.fetch_add(1, Ordering::Relaxed);
        let mut replies = Vec::with_capacity(tokens.len());
        for tokens in tokens {
            let permit = permits.split(1).expect("one permit per text was acquired");
            let (reply, receiver) = oneshot::channel();
            let job = Job { request, tokens, permit, reply };
            self.0.engine.jobs.send(job).map_err(|_| Refusal::unhealthy())?;
            replies.push(receiver);
        }
        let mut rows = Vec::with_capacity(replies.len());
        for receiver in replies {
            rows.push(receiver.await.map_err(|_| Refusal::backend("the model panicked"))?);
        }
        Ok(rows)
    }

    /// The tokens of each text, with the prompt prepended and truncated to the maximum length.
    ///
    /// The blocking threads tokenise one part after the other: those of other requests come in
    /// between, and when the client disconnects and this future is dropped, no further part begins.
    async fn tokenise(
        &self,
        texts: Vec<Text>,
        options: ReadOptions,
    ) -> Result<Vec<Tokens>, Refusal> {
        if options.truncation_direction == TruncationDirection::Left {
            let message = "`truncation_direction`: only `Right` is supported";
            return Err(Refusal::validation(message));
        }
        let prompt = self.model().as_model().parts().prompt(None, options.prompt_name.as_deref());
        let prompt = prompt.map_err(|error| match error {
            EncoderError::Prompt { .. } => Refusal::validation(format!("`prompt_name`: {error}")),
            other => Refusal::tokenizer(other.to_string()),
        })?;
        let truncate = options.truncate.unwrap_or(self.server().auto_truncate);
        let work = Arc::new(Work { service: self.clone(), texts, prompt, truncate });
        let (mut tokens, mut first) = (Vec::with_capacity(work.texts.len()), None);
        while tokens.len() < work.texts.len() {
            let (part, work) = (part_from(&work.texts, tokens.len()), work.clone());
            let mut threads = JoinSet::new();
            threads.spawn_blocking(move || work.tokenise(part, first));
            let done = threads.join_next().await.expect("one task was started");
            let (part, last) = done.map_err(|_| Refusal::backend("the tokenizer panicked"))??;
            tokens.extend(part);
            first = last;
        }
        Ok(tokens)
    }
}

/// The texts at `start` and after it that are tokenised together.
fn part_from(texts: &[Text], start: usize) -> Range<usize> {
    let mut bytes = 0;
    let size = |index: usize| {
        let Text { first, second } = &texts[index];
        let known = index > 0 && texts[index - 1].first == *first;
        (if known { 0 } else { first.len() }) + second.as_ref().map_or(0, String::len)
    };
    let fitting = (start..texts.len()).take_while(|&index| {
        bytes += size(index);
        bytes <= PART_BYTES
    });
    start..start + fitting.count().max(1)
}

/// The texts of a request, to be tokenised.
struct Work {
    service: Service,
    texts: Vec<Text>,
    prompt: Option<Prompt>,
    /// Whether long texts are truncated instead of refused.
    truncate: bool,
}

/// The index of a text, and the tokens of its first text.
type First = Option<(usize, TextTokens)>;

impl Work {
    /// The tokens of a part of the texts. `first` are the tokens of a first text that may be the
    /// one of this part too; returns those of the last first text.
    fn tokenise(
        &self,
        part: Range<usize>,
        mut first: First,
    ) -> Result<(Vec<Tokens>, First), Refusal> {
        let tokenizer = self.service.model().as_model().tokenizer();
        let refusal = |error: EncoderError| Refusal::tokenizer(error.to_string());
        let mut all = Vec::with_capacity(part.len());
        for index in part {
            let Text { first: text, second } = &self.texts[index];
            let text = self.within_limit(index, text)?;
            let text = model_text(text, self.prompt.as_ref());
            let second = second.as_ref().map(|text| self.within_limit(index, text)).transpose()?;
            let input = match second {
                None => Input::single(text),
                Some(second) => Input::pair(text, second),
            };
            let known = first.take_if(|(of, _)| self.texts[*of].first == self.texts[index].first);
            let known = match known {
                Some((_, tokens)) => tokens,
                None => tokenizer.text_tokens(input.first).map_err(refusal)?,
            };
            let tokens = tokenizer.encode_after(&known, input).map_err(refusal)?;
            first = Some((index, known));
            if tokens.truncated && !self.truncate {
                let most = format!("{} tokens", tokens.ids.len());
                return Err(too_long(index, &most));
            }
            all.push(tokens);
        }
        Ok((all, first))
    }

    /// The characters of a text that are tokenised: at most [`CHARACTERS_PER_TOKEN`] for each token
    /// of the maximum length.
    ///
    /// # Errors
    /// If there are more, but texts are not truncated.
    fn within_limit<'t>(&self, index: usize, text: &'t str) -> Result<&'t str, Refusal> {
        let tokenizer = self.service.model().as_model().tokenizer();
        let limit =
            tokenizer.max_length().map(|length| length.max(1).saturating_mul(CHARACTERS_PER_TOKEN));
        let Some(limit) = limit.filter(|&limit| text.len() > limit) else { return Ok(text) };
        let cut = if tokenizer.truncates_left() {
            text.char_indices().rev().nth(limit - 1).filter(|(at, _)| *at > 0)
        } else {
            text.char_indices().nth(limit)
        };
        match cut {
            None => Ok(text),
            Some(_) if !self.truncate => Err(too_long(index, &format!("{limit} characters"))),
            Some((at, _)) if tokenizer.truncates_left() => Ok(&text[at..]),
            Some((at, _)) => Ok(&text[..at]),
        }
    }
}

/// Status 422: the text at `index` is too long.
fn too_long(index: usize, most: &str) -> Refusal {
    Refusal::validation(format!(
        "input {}: expected at most {most}, got more; set `truncate` to true to truncate it",
        index + 1
    ))
}

/// A text with the prompt that is prepended to it.
fn model_text<'a>(text: &'a str, prompt: Option<&'a Prompt>) -> rankforge_encoder::Text<'a> {
    rankforge_encoder::Text { text, prompt }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_limited_sizes_and_a_shared_text_counts_once() {
        let sizes = |pairs: &[(usize, usize)]| {
            let text = |&(first, second): &(usize, usize)| Text {
                first: "a".repeat(first).into(),
                second: (second > 0).then(|| "b".repeat(second)),
            };
            let texts: Vec<Text> = pairs.iter().map(text).collect();
            let mut sizes = Vec::new();
            while sizes.iter().sum::<usize>() < texts.len() {
                sizes.push(part_from(&texts, sizes.iter().sum()).len());
            }
            sizes
        };
        const HALF: usize = PART_BYTES / 2;
        assert_eq!(sizes(&[(1, 1); 32]), [32]);
        assert_eq!(
            sizes(&[(HALF, 0), (HALF - 1, 0), (HALF, 0), (9 * HALF, 1), (1, 1)]),
            [2, 1, 1, 1]
        );
        assert_eq!(
            sizes(&[(9 * HALF, 1), (9 * HALF, 1), (9 * HALF, HALF), (9 * HALF, HALF)]),
            [1, 2, 1]
        );
    }
}
