use indexmap::IndexSet;
use rankforge_encoder::{Embed, EncodeOptions, EncoderError, Outputs, Side};
use rankforge_kernels::Device;
use rankforge_kernels::ops::Similarity;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Embeds each text once, for several evaluations of the same texts at different dimensions.
///
/// Embeddings are kept at the largest dimension, and truncated when they are asked for.
pub struct CachedEmbeddings<'a> {
    model: &'a dyn Embed,
    dimension: usize,
    known: Mutex<HashMap<Input, Known>>,
}

/// What else the embedding of a text depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Input {
    side: Side,
    prompt: Option<String>,
    prompt_name: Option<String>,
}

/// Texts and their embeddings, in the same order.
#[derive(Default)]
struct Known {
    rows: HashMap<String, usize>,
    embeddings: Outputs,
}

impl<'a> CachedEmbeddings<'a> {
    /// In front of a model. No embedding that is asked for may have more than `dimension`
    /// dimensions, unless the model has no more.
    pub fn new(model: &'a dyn Embed, dimension: usize) -> CachedEmbeddings<'a> {
        CachedEmbeddings { model, dimension, known: Mutex::default() }
    }
}

impl Embed for CachedEmbeddings<'_> {
    fn embed(
        &self,
        side: Side,
        texts: &[&str],
        options: &EncodeOptions,
    ) -> Result<Outputs, EncoderError> {
        let dimension = options.truncate_dim.unwrap_or(self.dimension);
        assert!(dimension <= self.dimension, "{dimension} of {} dimensions", self.dimension);
        let (prompt, prompt_name) = (options.prompt.clone(), options.prompt_name.clone());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(Input { side, prompt, prompt_name }).or_default();
        let unknown = texts.iter().copied().filter(|text| !known.rows.contains_key(*text));
        let new: IndexSet<&str> = unknown.collect();
        let new: Vec<&str> = new.into_iter().collect();
        // A call without texts says how many dimensions there are.
        if !new.is_empty() || texts.is_empty() {
            let whole = EncodeOptions {
                truncate_dim: Some(self.dimension),
                normalize_embeddings: false,
                ..options.clone()
            };
            let more = self.model.embed(side, &new, &whole)?;
            let first = known.rows.len();
            known.rows.extend(new.iter().map(|text| (*text).to_owned()).zip(first..));
            known.embeddings.append(more);
        }
        let columns = known.embeddings.columns;
        let width = dimension.min(columns);
        let row = |text: &&str| &known.embeddings.row(known.rows[*text])[..width];
        let values = texts.iter().flat_map(row).copied().collect();
        let mut outputs = Outputs { rows: texts.len(), columns: width, values };
        if options.normalize_embeddings {
            outputs.normalize();
        }
        Ok(outputs)
    }

    fn similarity(&self) -> Similarity {
        self.model.similarity()
    }

    fn device(&self) -> &Device {
        self.model.device()
    }

    fn fingerprint(&self) -> Result<String, EncoderError> {
        self.model.fingerprint()
    }
}
