use serde_json::{Map, Value};

/// A line of the log: finite numbers by name, with their step and time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// Number of optimizer steps before it.
    pub(crate) step: u64,
    /// Seconds since 1970, UTC.
    pub(crate) time: f64,
    pub(crate) values: Vec<(String, f64)>,
}

impl Line {
    /// Reads a line with `step` and `time`. Numbers that are not finite, which stand there as
    /// null, are left out.
    pub(crate) fn new(record: &Map<String, Value>) -> Line {
        let number = |name: &str| record.get(name).and_then(Value::as_f64).unwrap_or_default();
        let values = record.iter().filter(|(name, _)| !["step", "time"].contains(&name.as_str()));
        Line {
            step: record.get("step").and_then(Value::as_u64).unwrap_or_default(),
            time: number("time"),
            values: values
                .filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)))
                .collect(),
        }
    }
}
