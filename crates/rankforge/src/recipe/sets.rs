//! `[dataset]`, or `[datasets.NAME]` for each of several; their losses, prompts and mining.

use crate::arguments::Prompts;
use crate::error::Error;
use crate::losses::{Loss, SETTINGS, Settings, check_available, names, why_unavailable};
use crate::recipe::document::Document;
use crate::recipe::model::ModelSection;
use crate::recipe::sections::{DatasetSection, MiningSection};
use serde::Deserialize;
use toml::{Table, Value};

/// A data set of a recipe, to train on or to compute the evaluation loss on.
#[derive(Clone, Debug, PartialEq)]
pub struct SetSection {
    /// `NAME` of `[datasets.NAME]`; empty for `[dataset]`.
    pub name: String,
    /// The section, as errors call it.
    pub section: String,
    /// Its rows.
    pub rows: DatasetSection,
    /// Index of its loss in [`Recipe::losses`](crate::recipe::Recipe).
    pub loss: usize,
    /// Prepended to its texts; `None` leaves that to the arguments and the model.
    pub prompts: Option<Prompts>,
    /// Whether its rows are pairs that `[mining]` makes training rows of.
    pub mined: bool,
}

/// A loss of a recipe.
pub struct LossSection {
    /// Its place in the recipe: `loss`, or `datasets.NAME.loss`.
    pub section: String,
    /// The loss.
    pub loss: Box<dyn Loss>,
}

/// The sections about data and losses as they stand in the file.
pub(super) struct SetTables {
    pub(super) dataset: Option<DatasetSection>,
    pub(super) eval_dataset: Option<DatasetSection>,
    pub(super) datasets: Table,
    pub(super) eval_datasets: Table,
    pub(super) loss: Table,
}

/// Training sets, evaluation sets, and the losses of both.
#[derive(Default)]
pub(super) struct Sets {
    pub(super) train: Vec<SetSection>,
    pub(super) eval: Vec<SetSection>,
    pub(super) losses: Vec<LossSection>,
}

/// The fields of `[datasets.NAME]` and `[eval_datasets.NAME]` beside those of [`DatasetSection`].
#[derive(Default, Deserialize)]
struct OwnFields {
    loss: Option<Table>,
    prompts: Option<Value>,
    #[serde(default)]
    mine: bool,
}

/// Their names.
const OWN_FIELDS: [&str; 3] = ["loss", "prompts", "mine"];

/// The losses of one kind of model, and the sets that are read so far.
struct Reader<'a, S> {
    document: &'a Document,
    mining: Option<&'a MiningSection>,
    /// `[loss]`, until the first set takes it.
    shared: Table,
    /// Index of the loss of `[loss]`, or of the default.
    shared_index: Option<usize>,
    sets: Sets,
    model: &'a S,
}

/// Reads the sets and losses of a recipe for a kind of model.
///
/// A training set without a loss has that of `[loss]`. An evaluation set has its own, or else that
/// of the training set of its name, or else that of `[loss]`.
///
/// # Errors
/// `[dataset]` beside `[datasets.NAME]` or neither of them, unknown fields and losses, settings out
/// of range, mining that no set asks for or that is missing; all with file and line.
pub(super) fn read_sets<S: ModelSection>(
    document: &Document,
    tables: SetTables,
    mining: Option<&MiningSection>,
    model: &S,
) -> Result<Sets, Error> {
    let SetTables { dataset, eval_dataset, datasets, eval_datasets, loss } = tables;
    for (one, several, plain) in [
        (dataset.is_some(), !datasets.is_empty(), "dataset"),
        (eval_dataset.is_some(), !eval_datasets.is_empty(), "eval_dataset"),
    ] {
        let expected = format!("expected [{plain}], or [{plain}s.NAME] for each of several");
        if one && several {
            return Err(document.refuse(&format!("{plain}s"), format!("{expected}, got both")));
        }
        if plain == "dataset" && !one && !several {
            return Err(Error::recipe(document.whole_place(), format!("{expected}, got neither")));
        }
    }
    let given = !loss.is_empty();
    let sets = Sets::default();
    let mut reader = Reader { document, mining, shared: loss, shared_index: None, sets, model };
    if let Some(rows) = dataset {
        let set = reader.plain("dataset", rows, mining.is_some())?;
        reader.sets.train.push(set);
    }
    for (name, table) in datasets {
        let set = reader.named("datasets", name, table)?;
        reader.sets.train.push(set);
    }
    if let Some(rows) = eval_dataset {
        let mined = mining.is_some_and(|mining| mining.mine_eval_dataset);
        let set = reader.plain("eval_dataset", rows, mined)?;
        reader.sets.eval.push(set);
    } else if mining.is_some_and(|mining| mining.mine_eval_dataset) {
        let message = "expected false, as there is no [eval_dataset]; got true";
        return Err(document.refuse("mining.mine_eval_dataset", message));
    }
    for (name, table) in eval_datasets {
        let set = reader.named("eval_datasets", name, table)?;
        reader.sets.eval.push(set);
    }
    if given && reader.shared_index.is_none() {
        let message = "has no effect, as every data set has a loss of its own";
        return Err(document.refuse("loss", message));
    }
    let mut sets = reader.sets.train.iter().chain(&reader.sets.eval);
    if mining.is_some() && !sets.any(|set| set.mined) {
        let message = "has no effect, as no data set has mine = true";
        return Err(document.refuse("mining", message));
    }
    Ok(reader.sets)
}

impl<S: ModelSection> Reader<'_, S> {
    /// `[dataset]` or `[eval_dataset]`.
    fn plain(
        &mut self,
        section: &str,
        rows: DatasetSection,
        mined: bool,
    ) -> Result<SetSection, Error> {
        self.check_streaming(section, &rows, mined)?;
        let (name, section) = (String::new(), format!("[{section}]"));
        Ok(SetSection { name, section, rows, loss: self.shared()?, prompts: None, mined })
    }

    /// `[datasets.NAME]` or `[eval_datasets.NAME]`, both called `sections`.
    fn named(
        &mut self,
        sections: &str,
        name: String,
        mut table: Value,
    ) -> Result<SetSection, Error> {
        let at = format!("{sections}.{name}");
        if name.is_empty() || name.contains(['/', '\\']) {
            let message = "expected a name that can be part of a file's, got another";
            return Err(self.document.refuse(&at, message));
        }
        let mut own = Table::new();
        if let Value::Table(fields) = &mut table {
            let taken = OWN_FIELDS.map(|field| fields.remove_entry(field));
            own.extend(taken.into_iter().flatten());
        }
        let OwnFields { loss, prompts, mine } = self.document.read_as(Value::Table(own), &at)?;
        let rows: DatasetSection = self.document.read_as(table, &at)?;
        if mine && self.mining.is_none() {
            let message = "expected false, as there is no [mining]; got true";
            return Err(self.document.refuse(&format!("{at}.mine"), message));
        }
        let same_name = self.sets.train.iter().find(|set| set.name == name);
        let loss = match (loss, same_name.map(|set| set.loss)) {
            (Some(table), _) => self.add(&format!("{at}.loss"), table)?,
            (None, Some(index)) => index,
            (None, None) => self.shared()?,
        };
        let read = |value: Value| {
            let prompts = value.clone().try_into::<Prompts>();
            // serde's message says only what was expected, as there are two kinds of prompts.
            prompts.map_err(|error| {
                let message = format!("expected {}, got {value}", error.message());
                self.document.refuse(&format!("{at}.prompts"), message)
            })
        };
        let prompts = prompts.map(read).transpose()?;
        self.check_streaming(&at, &rows, mine)?;
        Ok(SetSection { name, section: format!("[{at}]"), rows, loss, prompts, mined: mine })
    }

    /// Checks that `streaming` of the set at `at` is possible, and that its buffer has a use.
    fn check_streaming(&self, at: &str, rows: &DatasetSection, mined: bool) -> Result<(), Error> {
        if rows.streaming && mined {
            let message = "expected false, as mined rows are in memory; got true";
            return Err(self.document.refuse(&format!("{at}.streaming"), message));
        }
        if let Some(step) = rows.first_step().filter(|_| rows.streaming) {
            let message = "expected streaming = false beside it, as it needs the rows in memory";
            return Err(self.document.refuse(&format!("{at}.{step}"), message));
        }
        if rows.shuffle_buffer.is_some() && !rows.streaming {
            let message = "expected streaming = true beside it, as nothing else reads it";
            return Err(self.document.refuse(&format!("{at}.shuffle_buffer"), message));
        }
        Ok(())
    }

    /// Index of the loss of `[loss]`.
    fn shared(&mut self) -> Result<usize, Error> {
        if let Some(index) = self.shared_index {
            return Ok(index);
        }
        let table = std::mem::take(&mut self.shared);
        let index = self.add("loss", table)?;
        self.shared_index = Some(index);
        Ok(index)
    }

    /// Index of the loss that is described at `section`.
    fn add(&mut self, section: &str, table: Table) -> Result<usize, Error> {
        let loss = read_loss(self.document, section, table, self.model)?;
        self.sets.losses.push(LossSection { section: section.to_owned(), loss });
        Ok(self.sets.losses.len() - 1)
    }
}

/// A loss at `section`: a name, and the settings of the loss. The losses are those for the kind of
/// the model.
fn read_loss<S: ModelSection>(
    document: &Document,
    section: &str,
    mut table: Table,
    model: &S,
) -> Result<Box<dyn Loss>, Error> {
    let losses = S::LOSSES;
    let at_name = format!("{section}.name");
    let name = match table.remove("name") {
        None => model.default_loss().to_owned(),
        Some(Value::String(name)) => name,
        Some(other) => {
            let message = format!("expected the name of a loss, got {other}");
            return Err(document.refuse(&at_name, message));
        }
    };
    if let Some(why) = why_unavailable(losses, &name) {
        return Err(document.refuse(&at_name, why));
    }
    let Some(entry) = losses.iter().find(|entry| entry.name == name) else {
        let known = names(losses);
        return Err(document.unknown_name(&at_name, &name, &known));
    };
    let settings = to_json(document, section, table)?;
    let available = check_available(losses, ("loss", &name), &name, &settings);
    available.and_then(|()| entry.build(&settings)).map_err(|error| match error {
        Error::Argument { field, expected, got } => {
            // A loss says whose setting it is.
            let setting = field.strip_prefix(&name).unwrap_or(&field).trim_start_matches('.');
            let at = match setting {
                "" => section.to_owned(),
                setting => format!("{section}.{setting}"),
            };
            match expected == SETTINGS {
                // A message of serde.
                true => document.explain(&at, &got),
                false => document.refuse(&at, format!("expected {expected}, got {got}")),
            }
        }
        other => other,
    })
}

/// A section as JSON.
///
/// # Errors
/// A number that JSON lacks: it would become null, which means no value.
pub(super) fn to_json(document: &Document, section: &str, table: Table) -> Result<Settings, Error> {
    if let Some((at, number)) = not_finite(&Value::Table(table.clone()), section) {
        return Err(document.refuse(&at, format!("expected a finite number, got {number}")));
    }
    match serde_json::to_value(table).expect("TOML values are JSON values") {
        serde_json::Value::Object(map) => Ok(map),
        _ => unreachable!("a table is an object"),
    }
}

/// The first number that is not finite, and its path.
fn not_finite(value: &Value, at: &str) -> Option<(String, f64)> {
    match value {
        Value::Float(number) if !number.is_finite() => Some((at.to_owned(), *number)),
        Value::Table(table) => {
            table.iter().find_map(|(name, value)| not_finite(value, &format!("{at}.{name}")))
        }
        Value::Array(values) => {
            let mut values = values.iter().enumerate();
            values.find_map(|(index, value)| not_finite(value, &format!("{at}[{index}]")))
        }
        _ => None,
    }
}
