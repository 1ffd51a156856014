use indexmap::IndexMap;

/// Metrics by name, in the order in which they were computed, with the keys of
/// sentence-transformers.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Metrics(pub IndexMap<String, f64>);

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
