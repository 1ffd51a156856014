use crate::report_to::Tracker;

/// A variable of the environment that a tracker cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tracker}: expected {expected}, got {got}")]
pub struct SettingsError {
    /// The tracker.
    pub tracker: Tracker,
    /// The variable, and what it may be.
    pub expected: String,
    /// What it is.
    pub got: String,
}
