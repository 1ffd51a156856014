use crate::engine::{Engine, Job};
use crate::error::{Refusal, ServeError};
use crate::inputs::{Text, TruncationDirection};
use crate::served_model::ServedModel;
use crate::settings::Server;
use rankforge_encoder::{BatchBudget, EncoderError, Input, Prompt, Tokens};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};
use tokio::sync::{Semaphore, oneshot};

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
    jobs: Sender<Job>,
    /// One permit per text, [`Server::max_concurrent_requests`] in all.
    permits: Arc<Semaphore>,
    /// Has a strong count of 0 when the engine thread has ended.
    engine: Weak<()>,
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
        let (thread, jobs, engine) = Engine::start(model.clone(), budget)?;
        let permits = Arc::new(Semaphore::new(server.max_concurrent_requests));
        let shared = Shared { model, server: server.clone(), jobs, permits, engine };
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
        self.0.engine.strong_count() > 0
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
        let service = self.clone();
        #[expect(clippy::disallowed_methods, reason = "tokenising would hold up other requests")]
        let tokens = tokio::task::spawn_blocking(move || service.tokenise(&texts, &options))
            .await
            .map_err(|_| Refusal::backend("the tokenizer panicked"))??;
        let mut replies = Vec::with_capacity(tokens.len());
        for tokens in tokens {
            let permit = permits.split(1).expect("one permit per text was acquired");
            let (reply, receiver) = oneshot::channel();
            let job = Job { tokens, permit, reply };
            self.0.jobs.send(job).map_err(|_| Refusal::unhealthy())?;
            replies.push(receiver);
        }
        let mut rows = Vec::with_capacity(replies.len());
        for receiver in replies {
            rows.push(receiver.await.map_err(|_| Refusal::backend("the model panicked"))?);
        }
        Ok(rows)
    }

    /// The tokens of each text, with the prompt prepended and truncated to the maximum length.
    fn tokenise(&self, texts: &[Text], options: &ReadOptions) -> Result<Vec<Tokens>, Refusal> {
        if options.truncation_direction == TruncationDirection::Left {
            let message = "`truncation_direction`: only `Right` is supported";
            return Err(Refusal::validation(message));
        }
        let model = self.0.model.as_model();
        let prompt = model.parts().prompt(None, options.prompt_name.as_deref());
        let prompt = prompt.map_err(|error| match error {
            EncoderError::Prompt { .. } => Refusal::validation(format!("`prompt_name`: {error}")),
            other => Refusal::tokenizer(other.to_string()),
        })?;
        let inputs: Vec<Input<'_>> = texts
            .iter()
            .map(|text| {
                let first = model_text(&text.first, prompt.as_ref());
                match &text.second {
                    None => Input::single(first),
                    Some(second) => Input::pair(first, second),
                }
            })
            .collect();
        let tokens = model.tokenizer().encode(&inputs);
        let tokens = tokens.map_err(|error| Refusal::tokenizer(error.to_string()))?;
        let truncate = options.truncate.unwrap_or(self.0.server.auto_truncate);
        let truncated = tokens.iter().position(|tokens| tokens.truncated);
        if let (Some(index), false) = (truncated, truncate) {
            let kept = tokens[index].ids.len();
            return Err(Refusal::validation(format!(
                "input {index}: expected at most {kept} tokens, got more; set `truncate` to \
                 true to truncate it"
            )));
        }
        Ok(tokens)
    }
}

/// A text with the prompt that is prepended to it.
fn model_text<'a>(text: &'a str, prompt: Option<&'a Prompt>) -> rankforge_encoder::Text<'a> {
    rankforge_encoder::Text { text, prompt }
}
