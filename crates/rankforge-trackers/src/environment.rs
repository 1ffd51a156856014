use std::collections::BTreeMap;
use std::fmt;

/// What trackers read of the process that they run in. Empty by default.
#[derive(Clone, Default)]
pub struct Environment {
    /// Environment variables by name, of those for which [`Environment::is_read`].
    pub variables: BTreeMap<String, String>,
    /// Name of the machine.
    pub hostname: String,
    /// Number of the process.
    pub process: u32,
}

/// How the names of the variables begin that trackers read.
const PREFIXES: [&str; 5] = ["MLFLOW_", "WANDB_", "TENSORBOARD_", "HF_MLFLOW_", "DISABLE_MLFLOW_"];

/// Their other names, in capitals.
const OTHERS: [&str; 6] = ["USER", "LOGNAME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

impl Environment {
    /// Whether a variable is one that trackers read.
    pub fn is_read(name: &str) -> bool {
        let capitals = name.to_ascii_uppercase();
        PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || OTHERS.contains(&capitals.as_str())
    }

    /// The value of a variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a variable says yes, as transformers and MLflow read it.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default().to_ascii_lowercase();
        ["1", "true", "yes", "on"].contains(&value.as_str())
    }

    /// The name of the machine, for names of files.
    pub(crate) fn host(&self) -> &str {
        if self.hostname.is_empty() { "localhost" } else { &self.hostname }
    }
}

// Written out, as variables hold passwords.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.variables.keys().collect();
        f.debug_struct("Environment").field("variables", &names).finish_non_exhaustive()
    }
}
