//! Static embedding models: one row for each token, averaged.

use super::DualEncoder;
use super::load::{check_embeds, files};
use crate::directory::json;
use crate::directory::modules::{Module, ModuleEntry};
use crate::directory::transformer::check_vocabulary;
use crate::directory::{load_model, push_modules};
use crate::{
    Architecture, EncoderError, HeadStage, LoadOptions, Model, Reporter, Tokenizer, Weights,
};
use rankforge_kernels::ParameterId;
use rankforge_kernels::ops::{Pooling, Similarity};
use std::path::{Path, PathBuf};

/// The name of the table in files of sentence-transformers, and in those of model2vec.
const TENSORS: [&str; 2] = ["embedding.weight", "embeddings"];

/// A fresh table over a tokenizer.
pub(super) fn fresh(tokenizer: Tokenizer, width: usize, options: &LoadOptions) -> DualEncoder {
    let architecture = table(tokenizer.vocab_size(), width);
    let mut model = Model::new(&options.device, architecture, options.seed);
    model.set_precision(options.precision);
    let mut tokenizer = tokenizer.into_static();
    if options.max_length.is_some() {
        tokenizer.set_max_length(options.max_length);
    }
    encoder(model, tokenizer, Vec::new(), "StaticEmbedding".to_owned(), options)
}

/// Reads a StaticEmbedding module and what follows it.
pub(super) fn load(
    path: &Path,
    entries: &[ModuleEntry],
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<DualEncoder, EncoderError> {
    load_table(path, &entries[0].folder, &entries[1..], options, reporter)
}

/// Whether a directory without `modules.json` is one of model2vec.
pub(super) fn is_model2vec(path: &Path) -> Result<bool, EncoderError> {
    let config = json::read_optional_object(&path.join("config.json"))?;
    Ok(config.is_some_and(|config| config.get("model_type") == Some(&"model2vec".into())))
}

/// Reads a directory of model2vec; its config says whether embeddings are normalised.
pub(super) fn load_model2vec(
    path: &Path,
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<DualEncoder, EncoderError> {
    let config_path = path.join("config.json");
    let config = json::read_object(&config_path)?;
    let normalize = json::optional_bool(&config, "normalize", &config_path)?.unwrap_or(false);
    let folder = path.to_owned();
    let entries = [ModuleEntry { class: "Normalize".to_owned(), folder }];
    load_table(path, path, if normalize { &entries } else { &[] }, options, reporter)
}

fn load_table(
    path: &Path,
    folder: &Path,
    entries: &[ModuleEntry],
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<DualEncoder, EncoderError> {
    let weights = Weights::open(folder)?;
    let shape = |name: &str| match weights.shape(name) {
        Some(&[rows, width]) => Ok((rows, width)),
        Some(shape) => Err(json::file_error(
            weights.path(name),
            format!("tensor {name}: expected two dimensions, got {shape:?}"),
        )),
        None => unreachable!("only names that are there are asked for"),
    };
    let Some(tensor) = TENSORS.into_iter().find(|name| weights.shape(name).is_some()) else {
        return Err(json::file_error(
            folder,
            format!(
                "expected a tensor {:?} or {:?}, got {:?}",
                TENSORS[0],
                TENSORS[1],
                weights.names()
            ),
        ));
    };
    let (rows, width) = shape(tensor)?;
    let folded = ["mapping", "weights"].iter().any(|name| weights.shape(name).is_some());
    let numbers =
        if tensor == TENSORS[1] && folded { Some(fold(&weights, rows, width)?) } else { None };
    let rows = numbers.as_ref().map_or(rows, |numbers| numbers.len() / width);
    let mut tokenizer = Tokenizer::load(folder)?.into_static();
    check_vocabulary(&tokenizer, rows, weights.path(tensor))?;
    if options.max_length == Some(0) {
        return Err(EncoderError::Input("the maximum length must be positive".to_owned()));
    }
    if options.max_length.is_some() {
        tokenizer.set_max_length(options.max_length);
    }
    let mut architecture = table(rows, width);
    let mut folders: Vec<(String, PathBuf)> = Vec::new();
    if numbers.is_none() {
        folders.push((String::new(), folder.to_owned()));
    }
    let modules = push_modules(&mut architecture, entries, &mut folders, reporter)?;
    check_embeds(&modules, path)?;
    let mut model = load_model(architecture, &folders, options, reporter)?;
    if let Some(numbers) = numbers {
        model.parameters_mut().view_mut(ParameterId(0)).write(&numbers);
    }
    Ok(encoder(model, tokenizer, modules, path.display().to_string(), options))
}

/// One row for each token id: `embeddings[mapping[id]] * weights[id]`, as model2vec has it.
fn fold(weights: &Weights, rows: usize, width: usize) -> Result<Vec<f32>, EncoderError> {
    let table = weights.read(TENSORS[1])?;
    let mapping = match weights.shape("mapping") {
        Some(_) => Some(weights.read_indices("mapping")?),
        None => None,
    };
    let ids = mapping.as_ref().map_or(rows, Vec::len);
    let scales = match weights.shape("weights") {
        Some(_) => weights.read("weights")?,
        None => vec![1.0; ids],
    };
    if scales.len() != ids {
        return Err(json::file_error(
            weights.path("weights"),
            format!("tensor weights: expected {ids} numbers, got {}", scales.len()),
        ));
    }
    let mut folded = Vec::with_capacity(ids * width);
    for (id, scale) in scales.into_iter().enumerate() {
        let row = mapping.as_ref().map_or(id, |mapping| mapping[id]);
        if row >= rows {
            return Err(json::file_error(
                weights.path("mapping"),
                format!("tensor mapping: token {id} maps to row {row} of {rows}"),
            ));
        }
        folded.extend(table[row * width..(row + 1) * width].iter().map(|number| number * scale));
    }
    Ok(folded)
}

fn table(rows: usize, width: usize) -> Architecture {
    let mut architecture = Architecture::static_embedding(rows, width, "", TENSORS[0]);
    let mean = HeadStage::Pool { modes: vec![Pooling::Mean], skip_prompt: false };
    architecture.push_stage(mean, "");
    architecture
}

fn encoder(
    model: Model,
    tokenizer: Tokenizer,
    modules: Vec<Module>,
    base_model: String,
    options: &LoadOptions,
) -> DualEncoder {
    DualEncoder {
        model,
        tokenizer,
        similarity: Similarity::Cosine,
        truncate_dim: options.truncate_dim,
        files: files(None, modules, base_model),
    }
}
