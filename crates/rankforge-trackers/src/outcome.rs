/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// After its last step.
    Finished,
    /// With an error.
    Failed,
    /// It was interrupted, and can be resumed.
    Interrupted,
}
