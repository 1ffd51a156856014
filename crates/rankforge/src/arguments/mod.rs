//! Training arguments, with the names, defaults and rules of sentence-transformers.

mod choices;
mod memory;
mod names;
mod optimizer;
mod optimizer_names;
mod prompts;
mod training_arguments;
mod validate;
mod without_field;

pub(crate) use choices::path_text;
pub use choices::{
    BatchSampler, IntervalStrategy, LearningRateScheduler, MultiDatasetBatchSampler, ResumeFrom,
    SaveStrategy, Steps,
};
pub(crate) use memory::bytes;
pub(crate) use optimizer::OptimizerSettings;
pub use optimizer_names::OptimizerNames;
pub use prompts::Prompts;
pub use training_arguments::TrainingArguments;
