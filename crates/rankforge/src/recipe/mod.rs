//! Recipes: TOML files that say what is trained, on which rows, with which loss, arguments and
//! evaluators.
//!
//! | step | file |
//! |---|---|
//! | TOML with the line of every field, and overrides | `document` |
//! | the model that is trained, of either kind | `model`, `trained` |
//! | parameters that are not trained | `freeze` |
//! | low-rank adapters | `lora` |
//! | Python's `None` | `nones` |
//! | data, and models for mining | `sections` |
//! | data sets with their losses and prompts | `sets` |
//! | evaluators of either kind of model | `evaluators` |
//! | text to [`Recipe`] | `parse` |
//! | rows that are filtered, shuffled and divided | `steps`, `train_test_split` |
//! | mined rows that outlive a run | `mined_cache` |
//! | [`Recipe`] to a trained model | `run` |
//! | the recipe that a run leaves in its folder | `resolved` |

mod document;
mod evaluators;
mod freeze;
mod lora;
mod mined_cache;
mod model;
mod nones;
mod overrides;
mod parse;
mod resolved;
mod run;
mod sections;
mod sets;
mod steps;
mod train_test_split;
mod trained;

pub use evaluators::{
    BinaryClassificationSection, CrossEncoderEvaluator, Dimensions, DualEncoderEvaluator,
    DualEncoderRerankingSection, EmbeddingSimilaritySection, InformationRetrievalSection,
    LabeledPairsSection, MSESection, Margins, NanoBEIRRerankingSection, NanoBEIRSection,
    ParaphraseMiningSection, RerankingSection, SimilarityName, TranslationSection, TripletSection,
};
pub use model::{CrossEncoderSection, DualEncoderSection, StaticSection};
pub use overrides::Override;
pub use parse::Recipe;
pub use run::RecipeRun;
pub use sections::{DatasetSection, MiningModels, MiningSection, MiningSources};
pub use sets::{LossSection, SetSection};
pub use train_test_split::{Part, TrainTestSplit};
pub use trained::{RecipeTrainer, Trained};
