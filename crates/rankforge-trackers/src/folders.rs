use std::path::Path;

/// The directories of a run.
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    /// `output_dir`.
    pub output_dir: &'a Path,
    /// `logging_dir`, where TensorBoard's files go.
    pub logging_dir: Option<&'a Path>,
}
