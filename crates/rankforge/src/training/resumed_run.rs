//! Whether a run may resume from a checkpoint.

use crate::arguments::TrainingArguments;
use crate::error::Error;
use crate::training::checkpoint::{Checkpoint, RUN, RunFile};
use crate::training::definition::RunDefinition;
use crate::training::training_set::TrainingSet;
use serde_json::json;

impl Checkpoint {
    /// Compares the run that is about to resume with the one that wrote the checkpoint. Differences
    /// that do not change the order of the data are returned as warnings.
    ///
    /// # Errors
    /// Another loss or optimizer; a difference in the data or their order, unless
    /// `ignore_data_skip` is set.
    pub(crate) fn compare(
        &self,
        arguments: &TrainingArguments,
        sets: &[TrainingSet],
        definition: &RunDefinition,
    ) -> Result<Vec<String>, Error> {
        // Arguments that determine the order of the data.
        const ROWS: &str = "rows of the training data";
        const NAMES: &str = "names of the training sets";
        const ORDER: [&str; 9] = [
            ROWS,
            NAMES,
            "seed",
            "data_seed",
            "per_device_train_batch_size",
            "gradient_accumulation_steps",
            "batch_sampler",
            "multi_dataset_batch_sampler",
            "dataloader_drop_last",
        ];
        // Arguments that do not affect the result of the training.
        const FREE: [&str; 9] = [
            "gradient_checkpointing",
            "output_dir",
            "resume_from_checkpoint",
            "ignore_data_skip",
            "report_to",
            "run_name",
            "logging_dir",
            "save_total_limit",
            "write_report",
        ];
        let (mut now, mut then) = (arguments.to_map(), self.arguments.to_map());
        let rows: Vec<usize> = sets.iter().map(|set| set.rows.len()).collect();
        now.insert(ROWS.to_owned(), json!(rows));
        then.insert(ROWS.to_owned(), json!(self.position.dataset_rows));
        // Older checkpoints lack the names.
        if !self.position.dataset_names.is_empty() {
            let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
            now.insert(NAMES.to_owned(), json!(names));
            then.insert(NAMES.to_owned(), json!(self.position.dataset_names));
        }
        let mut warnings = Vec::new();
        for (name, value) in now {
            if value == then[&name] || FREE.contains(&name.as_str()) {
                continue;
            }
            if name == "optim" {
                let expected = format!(
                    "{} as in {}, which has the state of that optimizer",
                    then[&name],
                    self.path.display()
                );
                return Err(Error::argument(name, expected, value));
            }
            if ORDER.contains(&name.as_str()) && !arguments.ignore_data_skip {
                let expected = format!(
                    "{} as in {}, since another value changes the order of the data (or set \
                     ignore_data_skip)",
                    then[&name],
                    self.path.display()
                );
                return Err(Error::argument(name, expected, value));
            }
            warnings.push(format!(
                "{name} = {value} differs from {} in {}; the run will not end as it would have",
                then[&name],
                self.path.display()
            ));
        }
        match &self.run {
            Some(RunFile { definition: then, .. }) => {
                warnings.extend(then.compare(
                    definition,
                    arguments.ignore_data_skip,
                    &self.path,
                )?);
            }
            None => warnings.push(format!(
                "{} lacks {RUN}, so model, losses and data of this run are not compared with those \
                 of the run that wrote it",
                self.path.display()
            )),
        }
        Ok(warnings)
    }
}
