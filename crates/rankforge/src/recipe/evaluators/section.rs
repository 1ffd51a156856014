use crate::error::Error;
use crate::evaluation::Evaluator;
use crate::recipe::document::Document;
use rankforge_encoder::{LoadOptions, TextModel};
use toml::{Table, Value};

/// One of `[[evaluators]]` in a recipe that trains a model of one kind.
pub(crate) trait EvaluatorSection: Sized {
    /// The kind of model.
    type Model: TextModel;

    /// What `type` can be: the names of the classes in sentence-transformers.
    const TYPES: &'static [&'static str];

    /// Reads the fields of the evaluator `name`, one of [`EvaluatorSection::TYPES`], which is at
    /// `at` in the recipe.
    ///
    /// # Errors
    /// Fields that this type lacks.
    fn read(document: &Document, name: &str, fields: Value, at: &str) -> Result<Self, Error>;

    /// Reads the data and builds the evaluator.
    ///
    /// # Errors
    /// Data or a first stage that cannot be used.
    fn build(&self, options: &LoadOptions) -> Result<Box<dyn Evaluator<Self::Model>>, Error>;
}

/// Reads `[[evaluators]]`. Not by serde's tagged enum, which forgets the field that an error is
/// about.
///
/// # Errors
/// A `type` that models of this kind do not have, or fields that the type lacks.
pub(crate) fn read_evaluators<S: EvaluatorSection>(
    document: &Document,
    tables: Vec<Table>,
) -> Result<Vec<S>, Error> {
    let sections = tables.into_iter().enumerate();
    sections.map(|(index, table)| read(document, table, &format!("evaluators[{index}]"))).collect()
}

fn read<S: EvaluatorSection>(document: &Document, mut table: Table, at: &str) -> Result<S, Error> {
    match table.remove("type") {
        Some(Value::String(name)) if S::TYPES.contains(&name.as_str()) => {
            S::read(document, &name, Value::Table(table), at)
        }
        Some(Value::String(name)) => {
            Err(document.unknown_name(&format!("{at}.type"), &name, S::TYPES))
        }
        other => {
            let got = other.map_or("nothing".to_owned(), |value| value.to_string());
            let message = format!("`type`: expected {}, got {got}", S::TYPES.join(" or "));
            Err(document.refuse(at, message))
        }
    }
}

/// Builds the evaluators of `[[evaluators]]`.
///
/// # Errors
/// Data or a first stage that cannot be used; says which section names it.
pub(crate) fn build_evaluators<S: EvaluatorSection>(
    sections: &[S],
    options: &LoadOptions,
) -> Result<Vec<Box<dyn Evaluator<S::Model>>>, Error> {
    let number = |index: usize| format!("[[evaluators]] number {}", index + 1);
    let sections = sections.iter().enumerate();
    sections
        .map(|(index, section)| {
            section.build(options).map_err(|error| Error::unusable(number(index), error))
        })
        .collect()
}
