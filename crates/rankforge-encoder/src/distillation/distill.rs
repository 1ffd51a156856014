use crate::batch::Batch;
use crate::directory::modules::read_modules;
use crate::directory::write::MODEL_DIRECTORY;
use crate::distillation::principal_components::principal_components;
use crate::distillation::vocabulary::{Origin, Teacher, Token, Vocabulary};
use crate::dual_encoder::{DualEncoder, open_transformer};
use crate::error::EncoderError;
use crate::input::{Input, Tokens};
use crate::json;
use crate::mode::Mode;
use crate::options::LoadOptions;
use crate::roles::TextModel;
use crate::tokenizer::Tokenizer;
use crate::weights;
use crate::workspace::Workspace;
use rankforge_base::{Task, replace_directory};
use regex::Regex;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Options of [`distill_static`]; the defaults are those of model2vec.
#[derive(Clone, Debug)]
pub struct DistillOptions {
    /// Embedding dimension, by principal components; 256 by default. `None` keeps the width of the
    /// teacher and its coordinates.
    pub dimension: Option<usize>,
    /// The factor on the row of a token is `a / (a + p)`, where `a` is this coefficient, 1e-4 by
    /// default, and `p` the probability of the token by Zipf's law: proportional to `1 / (2 + id)`.
    /// `None` leaves the rows as they are.
    pub sif_coefficient: Option<f64>,
    /// A regular expression; tokens that begin with a match are removed. `\[unused\d+\]` by
    /// default.
    pub token_remove_pattern: Option<String>,
    /// Texts that become tokens beside those of the teacher.
    pub vocabulary: Vec<String>,
}

impl Default for DistillOptions {
    fn default() -> DistillOptions {
        DistillOptions {
            dimension: Some(256),
            sif_coefficient: Some(1e-4),
            token_remove_pattern: Some(r"\[unused\d+\]".to_owned()),
            vocabulary: Vec::new(),
        }
    }
}

/// What [`distill_static`] wrote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distilled {
    /// Number of tokens.
    pub tokens: usize,
    /// Embedding dimension.
    pub dimension: usize,
    /// The share of the variance of the teacher's vectors that is left; 1 without reduction.
    pub explained: f64,
}

/// Number of sequences in a forward pass of the teacher.
const TOGETHER: usize = 256;

/// Writes a static embedding model whose table has a row for each token: the mean of the teacher's
/// last hidden states over the sequence of that token and the special tokens, in the coordinates of
/// its principal components, weighed by Zipf's law. The files are those of model2vec, which
/// sentence-transformers opens too; embeddings are normalised.
///
/// `teacher` is the directory of an encoder. Only its transformer counts, not the modules after it.
///
/// # Papers
/// Tulkens and van Dongen 2024, Model2Vec: Fast State-of-the-Art Static Embeddings. Arora et al.
/// 2017, A Simple but Tough-to-Beat Baseline for Sentence Embeddings (the weights).
///
/// # Errors
/// A teacher that cannot be opened, a tokenizer that is not WordPiece, BPE or Unigram, an option
/// out of range, or an `output` that is something other than a model, or cannot be written.
pub fn distill_static(
    teacher: &Path,
    output: &Path,
    options: &DistillOptions,
    load: &LoadOptions,
) -> Result<Distilled, EncoderError> {
    let removed = check(options)?;
    MODEL_DIRECTORY.check_replaceable(output)?;
    let folder = match read_modules(teacher)? {
        Some(modules) if modules[0].class == "Transformer" => modules[0].folder.clone(),
        Some(modules) => {
            let message =
                format!("expected a teacher with a transformer, got {}", modules[0].class);
            return Err(json::file_error(teacher, message));
        }
        None => teacher.to_owned(),
    };
    let model = open_transformer(&folder, load)?;
    let files = model.tokenizer().files()?;
    let read = |name: &str| {
        let file = files.iter().find(|(file, _)| *file == name);
        file.map_or(Ok(Value::Null), |(_, bytes)| json::parse(bytes, &folder.join(name)))
    };
    let (tokenizer, config) = (read("tokenizer.json")?, read("tokenizer_config.json")?);
    let path = &folder.join("tokenizer.json");
    let source = Teacher { tokenizer: &tokenizer, config: &config, path };
    let vocabulary = Vocabulary::new(&source, &options.vocabulary, removed.as_ref())?;
    let sequences = sequences(&vocabulary.tokens, model.tokenizer())?;
    let rows = embed(&model, &sequences, load);
    let width = model.dimension();

    let count = vocabulary.tokens.len();
    let reduced = options.dimension.map(|dimension| dimension.min(width));
    let (mut values, dimension, explained) = match reduced.filter(|dimension| *dimension < count) {
        Some(dimension) => {
            let found = principal_components(&rows, width, dimension);
            (found.rows, dimension, found.explained)
        }
        None => (rows.into_iter().map(f64::from).collect(), width, 1.0),
    };
    if let Some(coefficient) = options.sif_coefficient {
        weigh(&mut values, dimension, coefficient);
    }
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    let files = Files { vocabulary, values, dimension, teacher: teacher.to_owned() };
    replace_directory(output, &MODEL_DIRECTORY, |folder| files.write(folder, options))?;
    Ok(Distilled { tokens: count, dimension, explained })
}

/// Checks the options. Returns the pattern of the tokens that are removed.
fn check(options: &DistillOptions) -> Result<Option<Regex>, EncoderError> {
    if options.dimension == Some(0) {
        return Err(EncoderError::argument("dimension", "a positive number", 0));
    }
    if let Some(coefficient) = options.sif_coefficient
        && !(coefficient > 0.0 && coefficient < 1.0)
    {
        let expected = "a number above 0 and below 1";
        return Err(EncoderError::argument("sif_coefficient", expected, coefficient));
    }
    let pattern = options.token_remove_pattern.as_deref().map(Regex::new).transpose();
    pattern.map_err(|error| {
        EncoderError::argument("token_remove_pattern", "a regular expression", error)
    })
}

/// The sequence of each token: its id between the special tokens of a text, or, where the teacher
/// does not have the token, those that its tokenizer gives.
fn sequences(tokens: &[Token], tokenizer: &Tokenizer) -> Result<Vec<Tokens>, EncoderError> {
    let encode = |text: &str| -> Result<Tokens, EncoderError> {
        let mut encoded = tokenizer.encode(&[Input::single(text)])?;
        Ok(encoded.pop().expect("one input gives one sequence"))
    };
    let (empty, text) = (encode("")?.ids, encode("a")?.ids);
    let before = empty.iter().zip(&text).take_while(|(a, b)| a == b).count();
    let (prefix, suffix) = empty.split_at(before);
    let sequence = |token: &Token| match &token.origin {
        Origin::Text(text) => encode(text),
        Origin::Id(id) => {
            let ids = [prefix, &[*id], suffix].concat();
            Ok(Tokens { type_ids: vec![0; ids.len()], ids, ..Tokens::default() })
        }
    };
    tokens.iter().map(sequence).collect()
}

/// The mean of the last hidden states of each sequence.
fn embed(model: &DualEncoder, sequences: &[Tokens], load: &LoadOptions) -> Vec<f32> {
    let task = Task::begin(&*load.reporter, "Encoding tokens", sequences.len(), "tokens");
    let model = model.model();
    let mut workspace = Workspace::new(model.device());
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|&index| sequences[index].ids.len());
    let width = model.architecture().output_columns();
    let mut rows = vec![0.0; sequences.len() * width];
    for chunk in order.chunks(TOGETHER) {
        let tokens = chunk.iter().map(|&index| &sequences[index]);
        let batch = Batch::new(model.device(), tokens, &model.architecture().encoder);
        let outputs = model.forward(&batch, Mode::Inference, false, &mut workspace);
        for (row, &index) in chunk.iter().enumerate() {
            let target = &mut rows[index * width..(index + 1) * width];
            for (target, &value) in target.iter_mut().zip(outputs.row(row)) {
                *target = if value.is_nan() { 0.0 } else { value };
            }
        }
        task.advance(chunk.len());
    }
    rows
}

/// Multiplies the row of the token `id` by `a / (a + p)`, where `p` is proportional to
/// `1 / (2 + id)`.
fn weigh(values: &mut [f64], dimension: usize, coefficient: f64) {
    let count = values.len() / dimension;
    let inverse_rank = |id: usize| 1.0 / (id + 2) as f64;
    let total: f64 = (0..count).map(inverse_rank).sum();
    for (id, row) in values.chunks_exact_mut(dimension).enumerate() {
        let factor = coefficient / (coefficient + inverse_rank(id) / total);
        row.iter_mut().for_each(|value| *value *= factor);
    }
}

/// What a distilled model consists of.
struct Files {
    vocabulary: Vocabulary,
    values: Vec<f32>,
    dimension: usize,
    teacher: PathBuf,
}

impl Files {
    fn write(&self, folder: &Path, options: &DistillOptions) -> Result<(), EncoderError> {
        let name = self.teacher.file_name().unwrap_or_default().to_string_lossy();
        let config = json!({
            "model_type": "model2vec",
            "architectures": ["StaticModel"],
            "tokenizer_name": name,
            "apply_pca": options.dimension,
            "sif_coefficient": options.sif_coefficient,
            "hidden_dim": self.dimension,
            "seq_length": 1_000_000,
            "normalize": true,
            "pooling": "mean",
            "embedding_dtype": "float32",
        });
        let module = |index: usize, path: &str, class: &str| {
            let class = format!("sentence_transformers.models.{class}");
            json!({"idx": index, "name": index.to_string(), "path": path, "type": class})
        };
        let modules =
            json!([module(0, ".", "StaticEmbedding"), module(1, "1_Normalize", "Normalize")]);
        std::fs::create_dir_all(folder.join("1_Normalize"))
            .map_err(rankforge_base::FileError::io(folder))?;
        json::write_json(&folder.join("config.json"), &config)?;
        json::write_json(&folder.join("modules.json"), &modules)?;
        json::write_json(&folder.join("tokenizer.json"), &self.vocabulary.json)?;
        let shape = vec![self.vocabulary.tokens.len(), self.dimension];
        let tensors = [("embeddings".to_owned(), shape)];
        weights::save(&folder.join("model.safetensors"), &tensors, |_, write| write(&self.values))
    }
}
