//! What the folder of a run says of it: `run.json`, and beside it the recipe that it came from.

use crate::error::Error;
use crate::training::checkpoint::{read_json, write_json};
use crate::training::definition::{RunDefinition, SetDefinition};
use rankforge_base::{Reporter, write_atomically};
use rankforge_kernels::{Device, Precision};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file in the output directory of a run.
pub(crate) const RUN_RECORD: &str = "run.json";

/// The file beside it.
pub(crate) const RECIPE: &str = "recipe.toml";

/// What a run came from, besides its model, data and arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The text of its recipe, which is written to the output directory.
    pub recipe: Option<String>,
    /// The directory that relative paths of the recipe start from.
    pub working_directory: Option<PathBuf>,
    /// The run that it repeats, with which it is compared.
    pub repeats: Option<RunRecord>,
}

/// The content of `run.json`: what a run is made of, and where it was computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Hashes of model and data, losses, columns and prompts.
    pub definition: RunDefinition,
    /// Where the run was computed; one more each time that it was resumed.
    pub environments: Vec<Environment>,
}

/// Where a run was computed. Its bits depend on the version and on the instruction set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The step before the first that was computed here.
    pub after_step: u64,
    /// Version of rankforge.
    pub version: String,
    /// Instruction set; `None` on a device that is not the CPU.
    pub instruction_set: Option<String>,
    /// How matrix products are computed.
    pub matrix_products: String,
    /// Number of threads, which changes no bit.
    pub threads: usize,
    /// The directory that relative paths of the recipe start from, where that is known.
    pub working_directory: Option<PathBuf>,
}

impl Environment {
    /// That of a device now.
    pub(crate) fn new(
        device: &Device,
        precision: Precision,
        after_step: u64,
        working_directory: Option<PathBuf>,
    ) -> Environment {
        Environment {
            after_step,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instruction_set: device.isa().map(|isa| isa.to_string()),
            matrix_products: device.product_path(precision),
            threads: device.workers().count(),
            working_directory,
        }
    }
}

impl RunRecord {
    /// The record in the folder of a run, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(folder: &Path) -> Result<Option<RunRecord>, Error> {
        let path = folder.join(RUN_RECORD);
        path.is_file().then(|| read_json(&path)).transpose()
    }

    /// Writes the record of a run that begins, with its recipe, or, if `resumed`, adds to the one
    /// that is there.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub(super) fn write(
        folder: &Path,
        definition: &RunDefinition,
        now: Environment,
        origin: &Origin,
        resumed: bool,
    ) -> Result<(), Error> {
        if let Some(recipe) = &origin.recipe {
            write_atomically(&folder.join(RECIPE), recipe.as_bytes())?;
        }
        let earlier = if resumed { RunRecord::read(folder)? } else { None };
        let mut environments = earlier.map_or_else(Vec::new, |record| record.environments);
        // Steps after the checkpoint that a run resumes from are computed again.
        environments.retain(|earlier| earlier.after_step < now.after_step);
        environments.push(now);
        let record = RunRecord { definition: definition.clone(), environments };
        write_json(&folder.join(RUN_RECORD), &record)
    }

    /// Warns about what is another in a run that repeats this one, so that its bits may be others.
    pub(super) fn compare(&self, now: &RunDefinition, here: &Environment, to: &dyn Reporter) {
        let mut others = Vec::new();
        if self.definition.model != now.model {
            others.push("the model that it begins with".to_owned());
        }
        let sets = [
            ("training data", &self.definition.train_sets, &now.train_sets),
            ("evaluation data", &self.definition.eval_sets, &now.eval_sets),
        ];
        for (what, then, now) in sets {
            let changed = |name: &str| {
                let of = |sets: &[SetDefinition]| sets.iter().find(|set| set.name == name).cloned();
                of(then) != of(now)
            };
            let names = then.iter().chain(now).map(|set| set.name.as_str());
            let mut names: Vec<&str> = names.filter(|name| changed(name)).collect();
            names.dedup();
            others.extend(names.into_iter().map(|name| match name {
                "" => format!("the {what}"),
                name => format!("the {what} `{name}`"),
            }));
        }
        if let Some(last) = self.environments.last() {
            if last.version != here.version {
                others.push(format!("the version ({}, then {})", here.version, last.version));
            }
            let set = |place: &Environment| place.instruction_set.clone().unwrap_or_default();
            if set(last) != set(here) {
                others.push(format!("the instruction set ({}, then {})", set(here), set(last)));
            }
        }
        for other in others {
            to.warning(&format!("{other} is not that of the run that is repeated"));
        }
    }
}
