//! The collections that evaluators of both kinds of model read.

use crate::error::Error;
use crate::evaluation::NANO_BEIR_NAMES;
use crate::recipe::evaluators::fields::count;
use rankforge_data::{Beir, load_nano_beir, nano_beir_names};
use rankforge_encoder::LoadOptions;
use std::num::NonZeroUsize;
use std::path::Path;

/// The collection with its first queries only, after warnings about what is not in it.
pub(super) fn first_queries(
    mut beir: Beir,
    limit: Option<NonZeroUsize>,
    place: &str,
    options: &LoadOptions,
) -> Beir {
    for warning in beir.warnings() {
        options.reporter.warning(&format!("{place}: {warning}"));
    }
    beir.queries.truncate(count(limit, usize::MAX));
    beir
}

/// A collection of NanoBEIR.
pub(super) struct NanoBeirCollection {
    /// Its name, as it was given or as the folder has it.
    pub(super) name: String,
    /// The split that has it, such as `NanoMSMARCO`.
    pub(super) split: String,
    /// Its first queries, with the documents.
    pub(super) beir: Beir,
}

/// The collections of these names in a folder; where there are none, those of the `known` readable
/// names that the folder has.
///
/// # Errors
/// A folder without collections, or one that is malformed.
pub(super) fn nano_beir_collections(
    path: &Path,
    names: Option<&[String]>,
    known: &[&str],
    limit: Option<NonZeroUsize>,
    options: &LoadOptions,
) -> Result<Vec<NanoBeirCollection>, Error> {
    let names = match names {
        Some(names) => names.to_vec(),
        None => nano_beir_names(path, known)?,
    };
    let collection = |name: String| {
        let known = NANO_BEIR_NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        let split = format!("Nano{}", known.map_or(name.as_str(), |(_, readable)| *readable));
        let place = format!("{}, {split}", path.display());
        let beir = first_queries(load_nano_beir(path, &split)?, limit, &place, options);
        Ok(NanoBeirCollection { name, split, beir })
    };
    names.into_iter().map(collection).collect()
}
