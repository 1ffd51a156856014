//! What makes a resumed run the run that was interrupted: its model, losses and data.

use crate::error::Error;
use crate::training::batches::Preparer;
use crate::training::dataset::Dataset;
use crate::training::training_set::TrainingSet;
use rankforge_base::hexadecimal;
use rankforge_data::Value;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::path::Path;

/// The model, losses and data of a run. A checkpoint holds those of the run that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDefinition {
    /// Hash of the model before the first step: [`Parts::digest`](rankforge_encoder::Parts).
    pub model: String,
    /// The adapters that are trained, under the names of peft; `None` where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Json>,
    /// Training sets, in order.
    pub train_sets: Vec<SetDefinition>,
    /// Evaluation sets, in order.
    pub eval_sets: Vec<SetDefinition>,
}

/// A training or evaluation set of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDefinition {
    /// Name; empty for a set without a name.
    pub name: String,
    /// Name and settings of its loss.
    pub loss: Json,
    /// Its text columns, in the order in which the loss reads them.
    pub columns: Vec<String>,
    /// The prompt of each text column.
    pub prompts: Vec<Option<String>>,
    /// Hash of its texts and labels.
    pub content: String,
}

impl RunDefinition {
    /// Compares the run that is about to resume with `self`, that of the checkpoint at `path`.
    /// Returns warnings about differences that do not change what is trained; changed data is
    /// among them if `other_data` allows it.
    ///
    /// # Errors
    /// Other adapters, another loss or other training data: then it is not the run of the
    /// checkpoint.
    pub(super) fn compare(
        &self,
        now: &RunDefinition,
        other_data: bool,
        path: &Path,
    ) -> Result<Vec<String>, Error> {
        let adapters =
            [&self.adapter, &now.adapter].map(|adapter| adapter.clone().unwrap_or_default());
        if let Some((field, expected, got)) = changed_field(&adapters[0], &adapters[1]) {
            let expected = format!("{expected} as in {}{NEW_RUN}", path.display());
            return Err(Error::argument(format!("lora.{field}"), expected, got));
        }
        let mut warnings = Vec::new();
        for (then, now) in self.train_sets.iter().zip(&now.train_sets) {
            let of_set = match now.name.as_str() {
                "" => String::new(),
                name => format!(" of `{name}`"),
            };
            if let Some((field, expected, got)) = changed_loss(&then.loss, &now.loss) {
                let expected = format!("{expected} as in {}{NEW_RUN}", path.display());
                return Err(Error::argument(format!("{field}{of_set}"), expected, got));
            }
            let Some(what) = then.changed_data(now) else { continue };
            if !other_data {
                let expected = format!(
                    "the same {what} as in the run of {}{NEW_RUN} (or set ignore_data_skip)",
                    path.display()
                );
                return Err(Error::argument(format!("training data{of_set}"), expected, "others"));
            }
            warnings.push(format!(
                "the {what} of the training data{of_set} are others than in the run of {}",
                path.display()
            ));
        }
        if self.eval_sets != now.eval_sets {
            warnings.push(format!(
                "the evaluation data or their losses are others than in the run of {}, so \
                 evaluation losses before and after are not comparable",
                path.display()
            ));
        }
        Ok(warnings)
    }

    /// Checks that the run began with the same model as `self`, that of the checkpoint at `path`.
    /// `resumed` is the hash of the model with the parameters of the checkpoint, which the run may
    /// begin with too.
    ///
    /// # Errors
    /// Another model.
    pub(super) fn compare_model(
        &self,
        now: &RunDefinition,
        resumed: &str,
        path: &Path,
    ) -> Result<(), Error> {
        if now.model == self.model || now.model == resumed {
            return Ok(());
        }
        let expected = format!(
            "the model that the run of {} began with{NEW_RUN}; to train its parameters further, \
             open the checkpoint as the model of a new run",
            path.display()
        );
        let got = "a model with other parameters, tokenizer, prompts or maximum length";
        Err(Error::argument("model", expected, got))
    }
}

/// What to do about a checkpoint of another run.
const NEW_RUN: &str = ", as a resumed run must not change it; start a new run instead";

impl SetDefinition {
    /// The definition of a set. `preparer` is that of the set.
    ///
    /// # Errors
    /// A row that cannot be read.
    pub(super) fn new(set: &TrainingSet, preparer: &Preparer) -> Result<SetDefinition, Error> {
        let dataset = preparer.dataset();
        Ok(SetDefinition {
            name: set.name.clone(),
            loss: json!({"name": set.loss.name(), "config": set.loss.config()}),
            columns: dataset.text_names(),
            prompts: preparer.prompts(),
            content: content(dataset)?,
        })
    }

    /// What of the data is another in `now`, if something is.
    fn changed_data(&self, now: &SetDefinition) -> Option<&'static str> {
        if self.columns != now.columns {
            Some("text columns")
        } else if self.prompts != now.prompts {
            Some("prompts")
        } else {
            (self.content != now.content).then_some("texts and labels")
        }
    }
}

/// The field of a loss that is another now, its value then, and its value now.
fn changed_loss(then: &Json, now: &Json) -> Option<(String, Json, Json)> {
    if then["name"] != now["name"] {
        return Some(("loss".to_owned(), then["name"].clone(), now["name"].clone()));
    }
    let (field, then, now) = changed_field(&then["config"], &now["config"])?;
    Some((format!("loss.{field}"), then, now))
}

/// The first field of an object that is another now, its value then, and its value now.
fn changed_field(then: &Json, now: &Json) -> Option<(String, Json, Json)> {
    let fields = [then, now].into_iter().filter_map(Json::as_object);
    let mut fields = fields.flat_map(serde_json::Map::keys);
    let field = fields.find(|field| then.get(field) != now.get(field))?;
    let of = |object: &Json| object.get(field).cloned().unwrap_or_default();
    Some((field.clone(), of(then), of(now)))
}

/// The SHA-256 of the texts and labels of a set, in hexadecimal. It does not depend on the format
/// of the file that they come from.
///
/// # Errors
/// A row that cannot be read.
fn content(dataset: &Dataset) -> Result<String, Error> {
    let mut hash = Sha256::new();
    dataset.for_each_piece(|_, rows| {
        for index in dataset.used_columns() {
            let is_label = !dataset.text_columns().contains(&index);
            rows.columns()[index].1.iter().for_each(|value| add(&mut hash, value, is_label));
        }
        Ok(())
    })?;
    Ok(hexadecimal(&hash.finalize()))
}

/// Adds a cell, which has the type of its role, to a hash.
fn add(hash: &mut Sha256, value: &Value, is_label: bool) {
    match value {
        Value::List(values) => {
            hash.update(b"list");
            hash.update((values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| add(hash, value, is_label));
        }
        value if is_label => {
            let number = value.as_number().expect("labels are checked");
            hash.update(number.to_le_bytes());
        }
        value => {
            let text = value.as_text().expect("texts are checked");
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
}
