//! Recipes: TOML files that say what is trained, on which rows, with which loss, arguments and
//! evaluators.
//!
//! | step | file |
//! |---|---|
//! | TOML with the line of every field, and overrides | `document` |
//! | the sections that name models and data | `sections`, `evaluators` |
//! | text to [`Recipe`] | `parse` |
//! | mined rows that outlive a run | `mined_cache` |
//! | [`Recipe`] to a trained model | `run` |

mod document;
mod evaluators;
mod mined_cache;
mod parse;
mod run;
mod sections;

pub use document::Override;
pub use evaluators::{CorrelationSection, EvaluatorSection, RerankingSection};
pub use parse::Recipe;
pub use run::RecipeRun;
pub use sections::{DatasetSection, MiningModels, MiningSection, MiningSources, ModelSection};
