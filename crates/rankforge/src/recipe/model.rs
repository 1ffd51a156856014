//! `[model]`: the model that is trained, of either kind.

use crate::error::Error;
use crate::losses::{CROSS_ENCODER_LOSSES, DUAL_ENCODER_LOSSES, LossEntry};
use crate::recipe::document::Document;
use crate::recipe::freeze::freeze;
use indexmap::IndexMap;
use rankforge_base::quoted_list;
use rankforge_encoder::{
    CrossEncoder, DualEncoder, LoadOptions, OutputActivation, POOLING_MODES, Packing, TextModel,
};
use rankforge_kernels::ops::{Pooling, Similarity};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use toml::{Table, Value};

/// What `[model]` of a recipe says of a model of one kind.
pub(crate) trait ModelSection {
    /// The kind of model.
    type Model: TextModel;

    /// The losses for this kind of model.
    const LOSSES: &'static [LossEntry];

    /// The name of the loss that is used when the recipe names none.
    fn default_loss(&self) -> &'static str;

    /// Opens the model, with `seed` for the parameters that its files lack.
    ///
    /// # Errors
    /// A directory that is not a model.
    fn open(&self, seed: u64, options: &LoadOptions) -> Result<Self::Model, Error>;
}

/// `[model]` of a reranker.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossEncoderSection {
    /// Directory of a cross-encoder, or of a transformer that is to become one.
    pub path: PathBuf,
    /// Labels; 1 for rerankers. By default, as the directory's files say.
    #[serde(default)]
    pub num_labels: Option<usize>,
    /// Longest input in tokens.
    #[serde(default)]
    pub max_length: Option<usize>,
    /// Applied to the logits when the trained model predicts.
    #[serde(default)]
    pub activation_fn: Option<OutputActivation>,
    /// Dropout before the classifier.
    #[serde(default)]
    pub classifier_dropout: Option<f32>,
    /// The layers of the transformer that are kept, from 0 and ascending; all by default.
    #[serde(default)]
    pub layers_to_keep: Option<Vec<usize>>,
    /// Patterns of the names of tensors that are not trained.
    #[serde(default)]
    pub freeze: Vec<String>,
}

impl ModelSection for CrossEncoderSection {
    type Model = CrossEncoder;

    const LOSSES: &'static [LossEntry] = CROSS_ENCODER_LOSSES;

    fn default_loss(&self) -> &'static str {
        let labels = self.num_labels.or_else(|| CrossEncoder::stored_num_labels(&self.path));
        match labels {
            Some(2..) => "CrossEntropyLoss",
            _ => "BinaryCrossEntropyLoss",
        }
    }

    fn open(&self, seed: u64, options: &LoadOptions) -> Result<CrossEncoder, Error> {
        let options = LoadOptions {
            num_labels: self.num_labels,
            max_length: self.max_length,
            activation_fn: self.activation_fn,
            classifier_dropout: self.classifier_dropout,
            seed,
            packing: Packing::None,
            ..options.clone()
        };
        let mut model = CrossEncoder::open_with(&self.path, &options)?;
        prepare(&mut model, self.layers_to_keep.as_deref(), &self.freeze)?;
        Ok(model)
    }
}

/// `[model]` of a dual encoder: a `path`, or `[model.static]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DualEncoderSection {
    /// Directory of a dual encoder, whose modules are kept, or of a transformer, which gets mean
    /// pooling.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// A static embedding model that starts from random vectors.
    #[serde(default, rename = "static")]
    pub new_static: Option<StaticSection>,
    /// Pooling modes, in place of those of the directory's files.
    #[serde(default, deserialize_with = "pooling")]
    pub pooling: Option<Vec<Pooling>>,
    /// Prompts by name, beside those of the directory's files.
    #[serde(default)]
    pub prompts: IndexMap<String, String>,
    /// The prompt that is used where a call names none.
    #[serde(default)]
    pub default_prompt_name: Option<String>,
    /// Similarity of embeddings.
    #[serde(default, deserialize_with = "similarity")]
    pub similarity_fn_name: Option<Similarity>,
    /// Dimensions that the trained model keeps of its embeddings.
    #[serde(default)]
    pub truncate_dim: Option<NonZeroUsize>,
    /// Longest input in tokens.
    #[serde(default)]
    pub max_seq_length: Option<NonZeroUsize>,
    /// The layers of the transformer that are kept, from 0 and ascending; all by default.
    #[serde(default)]
    pub layers_to_keep: Option<Vec<usize>>,
    /// Patterns of the names of tensors that are not trained.
    #[serde(default)]
    pub freeze: Vec<String>,
}

/// `[model.static]`: a static embedding model that starts from random vectors.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticSection {
    /// A `tokenizer.json`, or the directory of a model with a tokenizer.
    pub tokenizer: PathBuf,
    /// Embedding dimension.
    pub embedding_dim: NonZeroUsize,
}

impl ModelSection for DualEncoderSection {
    type Model = DualEncoder;

    const LOSSES: &'static [LossEntry] = DUAL_ENCODER_LOSSES;

    fn default_loss(&self) -> &'static str {
        "CoSENTLoss"
    }

    fn open(&self, seed: u64, options: &LoadOptions) -> Result<DualEncoder, Error> {
        let options = LoadOptions {
            max_length: self.max_seq_length.map(NonZeroUsize::get),
            truncate_dim: self.truncate_dim.map(NonZeroUsize::get),
            pooling: self.pooling.clone(),
            similarity: self.similarity_fn_name,
            seed,
            packing: Packing::None,
            ..options.clone()
        };
        let mut model = match (&self.path, &self.new_static) {
            (Some(path), _) => DualEncoder::open_with(path, &options)?,
            (None, Some(StaticSection { tokenizer, embedding_dim })) => {
                DualEncoder::untrained_static(tokenizer, embedding_dim.get(), &options)?
            }
            (None, None) => {
                let expected = "the directory of a model, or a section [model.static]";
                return Err(Error::argument("model.path", expected, "neither"));
            }
        };
        model.set_prompts(&self.prompts, self.default_prompt_name.as_deref())?;
        prepare(&mut model, self.layers_to_keep.as_deref(), &self.freeze)?;
        Ok(model)
    }
}

/// Drops the layers that are not kept, and freezes the parameters that `frozen` finds.
///
/// # Errors
/// Layers that the model lacks, or a pattern that is invalid or finds nothing.
fn prepare(
    model: &mut dyn TextModel,
    layers: Option<&[usize]>,
    frozen: &[String],
) -> Result<(), Error> {
    if let Some(layers) = layers {
        model.parts_mut().keep_layers(layers)?;
    }
    freeze(model.model_mut(), frozen)
}

/// The names of the kinds.
const KINDS: [&str; 2] = ["cross-encoder", "dual-encoder"];

/// The fields that only one kind has.
const OF_CROSS_ENCODERS: [&str; 4] =
    ["num_labels", "max_length", "activation_fn", "classifier_dropout"];
const OF_DUAL_ENCODERS: [&str; 7] = [
    "static",
    "pooling",
    "prompts",
    "default_prompt_name",
    "similarity_fn_name",
    "truncate_dim",
    "max_seq_length",
];

/// `[model]` of either kind.
pub(super) enum EitherModel {
    /// `kind = "cross-encoder"`, the default.
    CrossEncoder(CrossEncoderSection),
    /// `kind = "dual-encoder"`.
    DualEncoder(DualEncoderSection),
}

/// Reads `[model]`.
///
/// # Errors
/// An unknown kind, fields of the other kind, or values of the wrong type.
pub(super) fn read_model(document: &Document, mut table: Table) -> Result<EitherModel, Error> {
    let kind = match table.remove("kind") {
        None => KINDS[0].to_owned(),
        Some(Value::String(kind)) => kind,
        Some(other) => {
            let message = format!("expected {}, got {other}", KINDS.join(" or "));
            return Err(document.refuse("model.kind", message));
        }
    };
    if kind == KINDS[0] {
        refuse_other_kind(document, &table, &OF_DUAL_ENCODERS, KINDS)?;
        return Ok(EitherModel::CrossEncoder(document.read_as(Value::Table(table), "model")?));
    }
    if kind != KINDS[1] {
        return Err(document.unknown_name("model.kind", &kind, &KINDS));
    }
    refuse_other_kind(document, &table, &OF_CROSS_ENCODERS, [KINDS[1], KINDS[0]])?;
    let section: DualEncoderSection = document.read_as(Value::Table(table), "model")?;
    match (&section.path, &section.new_static) {
        (Some(_), None) | (None, Some(_)) => Ok(EitherModel::DualEncoder(section)),
        (found, _) => {
            let got = if found.is_some() { "both" } else { "neither" };
            let message = format!("expected `path` or a section [model.static], got {got}");
            Err(document.refuse("model", message))
        }
    }
}

/// Refuses fields that only the other kind has; `kinds` are this one and the other one.
fn refuse_other_kind(
    document: &Document,
    table: &Table,
    others: &[&str],
    kinds: [&str; 2],
) -> Result<(), Error> {
    let Some(field) = table.keys().find(|field| others.contains(&field.as_str())) else {
        return Ok(());
    };
    let [kind, other] = kinds;
    let instead = match field.as_str() {
        "max_length" => "; here it is `max_seq_length`",
        "max_seq_length" => "; here it is `max_length`",
        _ => "",
    };
    let message = format!(
        "expected a field of a {kind}, got one that only a {other} has (kind = \"{other}\")\
         {instead}"
    );
    Err(document.refuse(&format!("model.{field}"), message))
}

/// A pooling mode, or a list of them.
fn pooling<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Pooling>>, D::Error> {
    let mode = |value: &Value| {
        let entry = POOLING_MODES.iter().find(|(_, name, _)| value.as_str() == Some(name));
        entry.map(|(mode, ..)| *mode).ok_or_else(|| {
            let names = quoted_list(POOLING_MODES.iter().map(|(_, name, _)| *name));
            D::Error::custom(format!("expected one of {names}, or a list of them, got {value}"))
        })
    };
    match Value::deserialize(deserializer)? {
        Value::Array(values) if !values.is_empty() => values.iter().map(mode).collect(),
        value => mode(&value).map(|mode| vec![mode]),
    }
    .map(Some)
}

fn similarity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Similarity>, D::Error> {
    let name = String::deserialize(deserializer)?;
    Similarity::from_name(&name).map(Some).ok_or_else(|| {
        let names = quoted_list(Similarity::ALL.iter().map(|similarity| similarity.name()));
        D::Error::custom(format!("expected one of {names}, got \"{name}\""))
    })
}
