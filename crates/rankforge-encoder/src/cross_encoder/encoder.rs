use crate::directory::write::MODEL_DIRECTORY;
use crate::error::EncoderError;
use crate::inference::Inference;
use crate::input::Input;
use crate::options::PredictOptions;
use crate::output_activation::{OutputActivation, softmax};
use crate::outputs::Outputs;
use crate::parts::Parts;
use crate::roles::{ModelKind, Score, TextModel};
use rankforge_base::replace_directory;
use serde_json::{Value, json};
use std::path::Path;

/// A document of a ranking.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Index of the document among the ranked ones; named as in sentence-transformers.
    pub corpus_id: usize,
    /// Score of the document, after the output activation.
    pub score: f32,
}

/// A model that reads two texts together and gives one score per label: a reranker or a classifier
/// of pairs.
#[derive(Clone)]
pub struct CrossEncoder {
    pub(crate) parts: Parts,
    /// Default output activation.
    pub(crate) activation: OutputActivation,
    /// Names of the labels, one per score of a pair.
    pub(crate) labels: Vec<String>,
}

impl CrossEncoder {
    /// Writes a model directory in the newest layout of sentence-transformers. An earlier model
    /// directory at `path` is replaced as a whole. `card` becomes `README.md`.
    ///
    /// # Errors
    /// When `path` exists and is not a model directory, or a file cannot be written. What was at
    /// `path` is then left unchanged.
    pub fn save(&self, path: &Path, card: Option<&str>) -> Result<(), EncoderError> {
        replace_directory(path, &MODEL_DIRECTORY, |directory| self.save_files(directory, card))
    }

    /// Scores pairs with the default options.
    ///
    /// # Shapes
    /// `B` pairs give `B x num_labels`, in the order of the pairs.
    ///
    /// # Errors
    /// A text that the tokenizer fails on, or a logit that is not finite.
    pub fn predict(&self, pairs: &[(&str, &str)]) -> Result<Outputs, EncoderError> {
        self.predict_with(pairs, &PredictOptions::default())
    }

    /// Scores pairs: `softmax?(activation(logits))`, with the softmax when
    /// [`PredictOptions::apply_softmax`] is set and the model has several labels.
    ///
    /// Pairs are sorted by length and batched by tokens, so that a batch has sequences of similar
    /// length.
    ///
    /// # Shapes
    /// `B` pairs give `B x num_labels`, in the order of the pairs.
    ///
    /// # Errors
    /// The errors of [`CrossEncoder::predict`], an unknown prompt name, or a `batch_size` or
    /// `max_tokens` of 0.
    pub fn predict_with(
        &self,
        pairs: &[(&str, &str)],
        options: &PredictOptions,
    ) -> Result<Outputs, EncoderError> {
        let inputs: Vec<Input<'_>> =
            pairs.iter().map(|&(first, second)| Input::pair(first, second)).collect();
        let inference = Inference {
            parts: &self.parts,
            batch_size: options.batch_size,
            max_tokens: options.max_tokens,
            prompt: self.parts.prompt(options.prompt.as_deref(), options.prompt_name.as_deref())?,
            task: "Scoring",
            unit: "pairs",
            reporter: &*options.reporter,
        };
        let mut outputs = inference.run(&inputs)?;
        let activation = options.activation_fn.unwrap_or(self.activation);
        let labels = self.num_labels();
        outputs.values.chunks_mut(labels).for_each(|logits| activation.apply(logits));
        if options.apply_softmax && labels > 1 {
            outputs.values.chunks_mut(labels).for_each(softmax);
        }
        Ok(outputs)
    }

    /// Ranks all documents for a query by descending score. Equal scores keep the order of the
    /// documents.
    ///
    /// # Errors
    /// A model with several labels, or the errors of [`CrossEncoder::predict`].
    ///
    /// # Examples
    /// ```no_run
    /// # use rankforge_encoder::CrossEncoder;
    /// let reranker = CrossEncoder::open("models/reranker")?;
    /// let documents = ["A kiln fires clay.", "The Danube flows into the Black Sea."];
    /// let ranking = reranker.rank("Where does the Danube end?", &documents)?;
    /// assert_eq!(ranking[0].corpus_id, 1);
    /// # Ok::<(), rankforge_encoder::EncoderError>(())
    /// ```
    pub fn rank(
        &self,
        query: &str,
        documents: &[impl AsRef<str>],
    ) -> Result<Vec<Ranked>, EncoderError> {
        self.rank_with(query, documents, None, &PredictOptions::default())
    }

    /// The `top_k` best documents for a query, or all of them, with options; see
    /// [`CrossEncoder::rank`].
    ///
    /// # Errors
    /// A model with several labels, or the errors of [`CrossEncoder::predict_with`].
    pub fn rank_with(
        &self,
        query: &str,
        documents: &[impl AsRef<str>],
        top_k: Option<usize>,
        options: &PredictOptions,
    ) -> Result<Vec<Ranked>, EncoderError> {
        let pairs: Vec<(&str, &str)> =
            documents.iter().map(|document| (query, document.as_ref())).collect();
        let scores = self.score(&pairs, options)?.into_iter().enumerate();
        let mut ranking: Vec<Ranked> =
            scores.map(|(corpus_id, score)| Ranked { corpus_id, score }).collect();
        ranking.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranking.truncate(top_k.unwrap_or(usize::MAX));
        Ok(ranking)
    }

    /// Number of labels, and so of scores per pair.
    pub fn num_labels(&self) -> usize {
        self.labels.len()
    }

    /// Names of the labels, in the order of the scores (`id2label`).
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The output activation that [`CrossEncoder::predict`] applies by default.
    pub fn activation_fn(&self) -> OutputActivation {
        self.activation
    }
}

impl TextModel for CrossEncoder {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn parts_mut(&mut self) -> &mut Parts {
        &mut self.parts
    }

    fn kind(&self) -> ModelKind {
        ModelKind::CrossEncoder
    }

    fn config_fields(&self) -> Vec<(&'static str, Value)> {
        vec![("activation_fn", json!(self.activation.python_name()))]
    }

    fn as_score(&self) -> Option<&dyn Score> {
        (self.num_labels() == 1).then_some(self)
    }
}

impl Score for CrossEncoder {
    fn score(
        &self,
        pairs: &[(&str, &str)],
        options: &PredictOptions,
    ) -> Result<Vec<f32>, EncoderError> {
        if self.num_labels() != 1 {
            let expected = "1, as a ranking needs one score per pair (predict returns all scores)";
            return Err(EncoderError::argument("num_labels", expected, self.num_labels()));
        }
        Ok(self.predict_with(pairs, options)?.values)
    }
}
