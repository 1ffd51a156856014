use crate::engine::{Engine, Job, Limits};
use crate::error::{Refusal, ServeError};
use crate::inputs::{Text, TruncationDirection};
use crate::server::Server;
use rankforge_encoder::{CrossEncoder, DualEncoder, Input, Model, Tokenizer, Tokens, Trainable};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};
use tokio::sync::{Semaphore, oneshot};

/// A model of either kind.
pub enum Served {
    /// Scores pairs: a reranker, or a classifier when it has several labels.
    CrossEncoder(CrossEncoder),
    /// Embeds texts.
    DualEncoder(DualEncoder),
}

impl From<CrossEncoder> for Served {
    fn from(model: CrossEncoder) -> Served {
        Served::CrossEncoder(model)
    }
}

impl From<DualEncoder> for Served {
    fn from(model: DualEncoder) -> Served {
        Served::DualEncoder(model)
    }
}

impl Served {
    pub(crate) fn model(&self) -> &Model {
        self.trainable().model()
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        self.trainable().tokenizer()
    }

    fn trainable(&self) -> &dyn Trainable {
        match self {
            Served::CrossEncoder(encoder) => encoder,
            Served::DualEncoder(encoder) => encoder,
        }
    }

    /// The text of a prompt: by name, or the model's default.
    fn prompt(&self, name: Option<&str>) -> Result<Option<&str>, Refusal> {
        let Some(name) = name else { return Ok(self.trainable().default_prompt()) };
        let prompts: Vec<(&str, &str)> = match self {
            Served::CrossEncoder(encoder) => encoder.prompts().collect(),
            Served::DualEncoder(encoder) => encoder.prompts().collect(),
        };
        match prompts.iter().find(|(known, _)| *known == name) {
            Some((_, prompt)) => Ok(Some(prompt)),
            None => {
                let names: Vec<&str> = prompts.iter().map(|(known, _)| *known).collect();
                Err(Refusal::validation(format!(
                    "`prompt_name`: the model has no prompt `{name}`; it has {names:?}"
                )))
            }
        }
    }
}

/// How the texts of a request are read.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) truncate: Option<bool>,
    pub(crate) truncation_direction: TruncationDirection,
    pub(crate) prompt_name: Option<String>,
}

/// A model with its queue, as request handlers share it.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

struct Shared {
    model: Arc<Served>,
    server: Server,
    jobs: Sender<Job>,
    places: Arc<Semaphore>,
    engine: Weak<()>,
}

impl Service {
    /// Starts the engine of a model; [`Server::address`] is not looked at.
    ///
    /// # Errors
    /// A setting that cannot be used, or no thread to be had.
    pub fn start(
        model: impl Into<Served>,
        server: &Server,
    ) -> Result<(Service, Engine), ServeError> {
        server.check()?;
        let model = Arc::new(model.into());
        let limits = Limits {
            max_tokens: server.max_batch_tokens,
            max_requests: server.max_batch_requests.unwrap_or(usize::MAX),
        };
        let (thread, jobs, engine) = Engine::start(model.clone(), limits)?;
        let places = Arc::new(Semaphore::new(server.max_concurrent_requests));
        let shared = Shared { model, server: server.clone(), jobs, places, engine };
        Ok((Service(Arc::new(shared)), thread))
    }

    pub(crate) fn model(&self) -> &Served {
        &self.0.model
    }

    pub(crate) fn server(&self) -> &Server {
        &self.0.server
    }

    /// Whether the engine runs.
    pub(crate) fn is_healthy(&self) -> bool {
        self.0.engine.strong_count() > 0
    }

    /// What the model gives for each text, in order.
    pub(crate) async fn outputs(
        &self,
        texts: Vec<Text>,
        reading: Reading,
    ) -> Result<Vec<Vec<f32>>, Refusal> {
        let (count, most) = (texts.len(), self.0.server.max_client_batch_size);
        if count > most {
            return Err(Refusal::too_many(format!(
                "batch size {count} > maximum allowed batch size {most}"
            )));
        }
        let places = u32::try_from(count).map_err(|_| Refusal::overloaded())?;
        let mut places = (self.0.places.clone().try_acquire_many_owned(places))
            .map_err(|_| Refusal::overloaded())?;
        let service = self.clone();
        let read = move || service.tokenise(texts, &reading);
        let (tokens, prompt_tokens) = tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| Refusal::backend("the tokenizer stopped at this request"))??;
        let mut answers = Vec::with_capacity(tokens.len());
        for tokens in tokens {
            let place = places.split(1).expect("there is a place for each text");
            let (reply, answer) = oneshot::channel();
            let job = Job { tokens, prompt_tokens, reply, _place: place };
            self.0.jobs.send(job).map_err(|_| Refusal::unhealthy())?;
            answers.push(answer);
        }
        let mut rows = Vec::with_capacity(answers.len());
        for answer in answers {
            rows.push(answer.await.map_err(|_| Refusal::backend("the model failed"))?);
        }
        Ok(rows)
    }

    /// Tokens of each text, and how many of each belong to the prompt.
    fn tokenise(
        &self,
        mut texts: Vec<Text>,
        reading: &Reading,
    ) -> Result<(Vec<Tokens>, usize), Refusal> {
        if reading.truncation_direction == TruncationDirection::Left {
            let message = "`truncation_direction`: only `Right` is supported";
            return Err(Refusal::validation(message));
        }
        let tokenizer = self.0.model.tokenizer();
        let failed = |error: rankforge_encoder::EncoderError| Refusal::tokenizer(error.to_string());
        let mut prompt_tokens = 0;
        if let Some(prompt) = self.0.model.prompt(reading.prompt_name.as_deref())?
            && !prompt.is_empty()
        {
            prompt_tokens = tokenizer.prompt_length(prompt).map_err(failed)?;
            texts.iter_mut().for_each(|text| text.first.insert_str(0, prompt));
        }
        let inputs: Vec<Input<'_>> = texts
            .iter()
            .map(|text| match &text.second {
                None => Input::Single(&text.first),
                Some(second) => Input::Pair(&text.first, second),
            })
            .collect();
        let tokens = tokenizer.encode(&inputs).map_err(failed)?;
        let truncate = reading.truncate.unwrap_or(self.0.server.auto_truncate);
        let cut = tokens.iter().position(|tokens| tokens.truncated > 0);
        if let (Some(index), false) = (cut, truncate) {
            let length = tokens[index].ids.len();
            return Err(Refusal::validation(format!(
                "input {index} has {} tokens and the model reads at most {length}; with `truncate` it is cut",
                length + tokens[index].truncated
            )));
        }
        Ok((tokens, prompt_tokens))
    }
}
