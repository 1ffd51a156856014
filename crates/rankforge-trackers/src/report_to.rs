use rankforge_base::nearest;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// A program that shows logs of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tracker {
    /// Event files of TensorBoard.
    TensorBoard,
    /// A run of an MLflow server.
    Mlflow,
    /// An offline run of Weights & Biases.
    Wandb,
}

/// The argument `report_to`: what gets the log of a run besides its own folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportTo {
    /// "all": TensorBoard, Weights & Biases, and MLflow if `MLFLOW_TRACKING_URI` is set.
    All,
    /// These. Written "none" if there are none.
    Only(Vec<Tracker>),
}

/// What the argument may be.
const EXPECTED: &str = "\"none\", \"all\", or a list of tensorboard, mlflow and wandb";

/// Trackers that transformers has beside these, with the reason why they are not here.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("azure_ml", NEEDS_PACKAGE),
    ("clearml", NEEDS_PACKAGE),
    ("codecarbon", "nothing here measures energy"),
    ("comet_ml", NEEDS_PACKAGE),
    ("dagshub", "its server takes mlflow, with MLFLOW_TRACKING_URI"),
    ("dvclive", NEEDS_PACKAGE),
    ("flyte", NEEDS_PACKAGE),
    ("kubeflow", NEEDS_PACKAGE),
    ("neptune", NEEDS_PACKAGE),
    ("swanlab", NEEDS_PACKAGE),
    ("trackio", NEEDS_PACKAGE),
];
const NEEDS_PACKAGE: &str = "only its Python package writes to it; log.jsonl has what it would get";

impl Tracker {
    /// All of them.
    pub const ALL: [Tracker; 3] = [Tracker::TensorBoard, Tracker::Mlflow, Tracker::Wandb];

    /// The name that transformers gives it.
    pub fn name(self) -> &'static str {
        match self {
            Tracker::TensorBoard => "tensorboard",
            Tracker::Mlflow => "mlflow",
            Tracker::Wandb => "wandb",
        }
    }

    fn from_name(name: &str) -> Result<Tracker, String> {
        let found = Tracker::ALL.into_iter().find(|tracker| tracker.name() == name);
        found.ok_or_else(|| {
            if let Some((_, reason)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) {
                return format!("{EXPECTED} ({name} is not supported, as {reason})");
            }
            match nearest(name, Tracker::ALL.map(Tracker::name)) {
                Some(nearest) => format!("{EXPECTED} (did you mean {nearest}?)"),
                None => EXPECTED.to_owned(),
            }
        })
    }
}

impl fmt::Display for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Default for ReportTo {
    /// None, as in transformers 5.
    fn default() -> ReportTo {
        ReportTo::Only(Vec::new())
    }
}

impl ReportTo {
    /// Reads the names of trackers, as transformers does: "all" and "none" stand alone.
    ///
    /// # Errors
    /// What would be accepted, for a name that is not.
    pub fn from_names(names: &[&str]) -> Result<ReportTo, String> {
        match names {
            ["all"] => return Ok(ReportTo::All),
            ["none"] => return Ok(ReportTo::default()),
            _ => {}
        }
        let mut trackers = Vec::new();
        for name in names {
            let tracker = Tracker::from_name(name)?;
            if !trackers.contains(&tracker) {
                trackers.push(tracker);
            }
        }
        Ok(ReportTo::Only(trackers))
    }
}

impl Serialize for ReportTo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ReportTo::All => serializer.serialize_str("all"),
            ReportTo::Only(trackers) if trackers.is_empty() => serializer.serialize_str("none"),
            ReportTo::Only(trackers) => {
                serializer.collect_seq(trackers.iter().map(|tracker| tracker.name()))
            }
        }
    }
}

impl<'de> Deserialize<'de> for ReportTo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ReportTo, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let names: Option<Vec<&str>> = match &value {
            serde_json::Value::Null => Some(Vec::new()),
            serde_json::Value::String(name) => Some(vec![name]),
            serde_json::Value::Array(names) => names.iter().map(|name| name.as_str()).collect(),
            _ => None,
        };
        // The words after "expected" are what an error about the argument says.
        let refused = |expected| D::Error::custom(format!("unusable value, expected {expected}"));
        let names = names.ok_or_else(|| refused(EXPECTED.to_owned()))?;
        ReportTo::from_names(&names).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value, json};

    fn read(value: Value) -> Result<ReportTo, String> {
        from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_read_as_transformers_does() {
        let only = |trackers: &[Tracker]| Ok(ReportTo::Only(trackers.to_vec()));
        assert_eq!(read(json!("none")), only(&[]));
        assert_eq!(read(json!([])), only(&[]));
        assert_eq!(read(Value::Null), only(&[]));
        assert_eq!(read(json!(["all"])), Ok(ReportTo::All));
        assert_eq!(read(json!("mlflow")), only(&[Tracker::Mlflow]));
        let two = read(json!(["wandb", "tensorboard", "wandb"]));
        assert_eq!(two, only(&[Tracker::Wandb, Tracker::TensorBoard]));
        for value in [json!("none"), json!("all"), json!(["mlflow", "wandb"])] {
            assert_eq!(json!(read(value.clone()).unwrap()), value);
        }
    }

    #[test]
    fn other_names_are_refused_with_the_reason() {
        for (value, part) in [
            (json!("comet_ml"), "comet_ml is not supported, as only its Python package"),
            (json!(["tensorboard", "dagshub"]), "its server takes mlflow"),
            (json!("tensorbord"), "did you mean tensorboard?"),
            (json!(["wandb", "none"]), "a list of tensorboard, mlflow and wandb"),
            (json!(3), "expected \"none\", \"all\", or a list"),
            (json!([3]), "expected \"none\", \"all\", or a list"),
        ] {
            let message = read(value).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
