//! The model that made the vectors of an index, opened for its queries.

use rankforge::encoder::{DualEncoder, LoadOptions, Packing, TextModel};
use rankforge_index::{Index, IndexError, Manifest};

/// `load`, so that the model of an index gives the embeddings of the index.
///
/// # Errors
/// If the manifest names an unknown precision.
pub(crate) fn stored_load_options(
    manifest: &Manifest,
    mut load: LoadOptions,
) -> anyhow::Result<LoadOptions> {
    if let Some(entry) = &manifest.vectors {
        load.max_length = entry.model.max_length;
        load.precision = entry.model.precision.parse()?;
    }
    Ok(load)
}

/// Checks that a model is that of an index, and packs it for inference.
///
/// # Errors
/// If it is another model.
pub(crate) fn prepare(index: &Index, mut model: DualEncoder) -> Result<DualEncoder, IndexError> {
    index.check_model(&model)?;
    // Only now, as the check hashes the matrices.
    model.model_mut().pack(Packing::Instead);
    Ok(model)
}
