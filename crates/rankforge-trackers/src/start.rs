use serde_json::{Map, Value};

/// What trackers are told of a run when it begins.
#[derive(Clone, Debug, Default)]
pub struct RunStart {
    /// `run_name`.
    pub name: Option<String>,
    /// The training arguments by name.
    pub arguments: Map<String, Value>,
    /// The configuration of the model by name.
    pub model: Map<String, Value>,
    /// The configuration of its adapter.
    pub adapter: Option<Value>,
    /// Number of parameters of the model.
    pub num_parameters: u64,
    /// Number of optimizer steps that were done before, by the run that this one resumes.
    pub step: u64,
    /// Number of records in the log before its first.
    pub records: u64,
    /// When it begins, in seconds since 1970, UTC.
    pub time: f64,
    /// Whether it resumes in the directory of the run that it continues, so that trackers continue
    /// what they have of that.
    pub continues: bool,
}

impl RunStart {
    /// Model, then arguments, which win where both have a name.
    pub(crate) fn settings(&self) -> Map<String, Value> {
        let mut settings = self.model.clone();
        settings.extend(self.arguments.clone());
        settings
    }
}
