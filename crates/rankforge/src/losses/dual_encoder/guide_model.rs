use crate::error::Error;
use crate::losses::nesting::{LEAST_LENGTH, length};
use rankforge_encoder::{DualEncoder, Embed, EncodeOptions, Input, LoadOptions, Outputs, Side};
use serde::{Deserialize, Deserializer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A dual encoder whose similarities say which candidates may be wrong negatives.
#[derive(Clone, Default)]
pub struct GuideModel {
    path: PathBuf,
    opened: Option<Opened>,
}

#[derive(Clone)]
struct Opened {
    model: Arc<dyn Embed>,
    fingerprint: String,
}

impl GuideModel {
    /// The model in a directory, which [`Loss::open`](crate::losses::Loss::open) opens.
    pub fn at(path: impl Into<PathBuf>) -> GuideModel {
        GuideModel { path: path.into(), opened: None }
    }

    /// A model that is open, with the name that model cards give it.
    ///
    /// # Errors
    /// When its fingerprint cannot be computed.
    pub fn new(name: &str, model: Arc<dyn Embed>) -> Result<GuideModel, Error> {
        let fingerprint = model.fingerprint()?;
        Ok(GuideModel { path: name.into(), opened: Some(Opened { model, fingerprint }) })
    }

    /// Opens the model, unless it is open.
    ///
    /// # Errors
    /// A directory that is not a dual encoder.
    pub(super) fn open(&mut self, options: &LoadOptions) -> Result<(), Error> {
        if self.opened.is_none() {
            let model = DualEncoder::open_with(&self.path, options)?;
            *self = GuideModel { path: self.path.clone(), ..GuideModel::new("", Arc::new(model))? };
        }
        Ok(())
    }

    /// The directory or the name of the model.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Last part of the path, for model cards.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A hash of the model; `None` until it is open.
    pub(super) fn fingerprint(&self) -> Option<&str> {
        self.opened.as_ref().map(|opened| opened.fingerprint.as_str())
    }

    /// Embeddings of texts, with the prompts that they have and none of the guide's own, divided by
    /// their lengths.
    ///
    /// # Errors
    /// A text that the guide cannot embed.
    ///
    /// # Panics
    /// When the guide is not open.
    pub(super) fn embed(&self, inputs: &[Input<'_>]) -> Result<Outputs, Error> {
        let opened = self.opened.as_ref().expect("the guide is open, as check_model checks");
        let whole = |input: &Input<'_>| match input.first.prompt {
            Some(prompt) => format!("{}{}", prompt.text(), input.first.text),
            None => input.first.text.to_owned(),
        };
        let texts: Vec<String> = inputs.iter().map(whole).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let options = EncodeOptions { prompt: Some(String::new()), ..EncodeOptions::default() };
        let mut embeddings = opened.model.embed(Side::Text, &texts, &options)?;
        for row in embeddings.values.chunks_mut(embeddings.columns.max(1)) {
            let length = length(row).max(LEAST_LENGTH);
            row.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
        }
        Ok(embeddings)
    }
}

impl<'de> Deserialize<'de> for GuideModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<GuideModel, D::Error> {
        Ok(GuideModel::at(String::deserialize(deserializer)?))
    }
}
