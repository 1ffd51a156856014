//! What all evaluators have in common: flags, the context of an evaluation, and a table.

use crate::console::Console;
use crate::failure::CliError;
use crate::inference::{PrecisionArgs, at_least_one};
use crate::table::Table;
use rankforge::Metrics;
use rankforge::encoder::OutputActivation;
use rankforge::evaluation::EvaluationContext;
use std::path::{Path, PathBuf};

/// The flags of all evaluators.
#[derive(Debug, clap::Args)]
pub(super) struct SharedArgs {
    /// Directory of the model that is evaluated (required); of a cascade, of the dual encoder of
    /// hybrid
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) model: Option<PathBuf>,

    /// Name of the data set, the prefix of the metrics' names [default: none]
    #[arg(long, value_name = "NAME", global = true, default_value = "", hide_default_value = true)]
    pub(super) name: String,

    /// Append the metrics to a CSV file in this directory [default: no CSV file]
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) output: Option<PathBuf>,

    /// Maximum number of pairs or texts in a batch [default: as many as fit into 8192 tokens]
    #[arg(long, value_name = "N", global = true, value_parser = at_least_one)]
    pub(super) batch_size: Option<usize>,

    /// Truncate inputs to N tokens [default: the model's max_seq_length]
    #[arg(long, value_name = "N", global = true, value_parser = at_least_one)]
    pub(super) max_length: Option<usize>,

    /// Activation applied to the logits of a reranker [default: the model's activation_fn]
    ///
    /// Its name in torch.nn, in any case: identity, sigmoid, tanh, relu, leakyrelu, elu, gelu,
    /// silu, softplus, logsigmoid, or softmax over several labels.
    #[arg(long, value_name = "NAME", global = true)]
    pub(super) activation_fn: Option<OutputActivation>,

    #[command(flatten)]
    pub(super) precision: PrecisionArgs,
}

impl SharedArgs {
    /// The directory of the model; `what` says which one is missing.
    ///
    /// # Errors
    /// If --model is missing.
    pub(super) fn model(&self, what: &str) -> Result<&Path, CliError> {
        let missing = || CliError::usage(format!("evaluate requires --model DIR, {what}"));
        self.model.as_deref().ok_or_else(missing)
    }

    /// An evaluation outside training that reports to the console.
    pub(super) fn context(&self, console: &Console) -> EvaluationContext<'_> {
        EvaluationContext {
            output_path: self.output.as_deref(),
            reporter: console.progress.clone(),
            ..EvaluationContext::default()
        }
    }
}

/// A table of metrics and their values.
pub(super) fn metrics_table(metrics: &Metrics) -> String {
    let mut table = Table::new(&["metric", "value"]);
    for (name, value) in &metrics.0 {
        table.row([name.clone(), format!("{value:.4}")]);
    }
    table.to_string()
}
