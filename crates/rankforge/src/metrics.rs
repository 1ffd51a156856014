use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};

/// Metrics by name, in the order in which they were computed, with the keys of
/// sentence-transformers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metrics(#[serde(deserialize_with = "with_nan")] pub IndexMap<String, f64>);

/// Reads numbers by name; a null is a NaN, which JSON cannot write.
fn with_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IndexMap<String, f64>, D::Error> {
    let values: IndexMap<String, Option<f64>> = IndexMap::deserialize(deserializer)?;
    Ok(values.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect())
}

impl Metrics {
    /// Without a metric.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// Adds a metric.
    pub fn insert(&mut self, name: impl Into<String>, value: f64) {
        self.0.insert(name.into(), value);
    }

    /// A metric.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// The same metrics with `prefix` and an underscore before each name. An empty prefix changes
    /// nothing.
    pub fn with_prefix(&self, prefix: &str) -> Metrics {
        if prefix.is_empty() {
            return self.clone();
        }
        Metrics(self.0.iter().map(|(name, value)| (format!("{prefix}_{name}"), *value)).collect())
    }
}
