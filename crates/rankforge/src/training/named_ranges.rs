//! Where the tensors of checkpoints are in the arenas of a run.

use rankforge_encoder::Model;
use std::ops::Range;

/// The location of a checkpoint tensor's elements in the arenas.
#[derive(Clone, Debug)]
pub(super) struct NamedRange {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// Elements in the arenas of gradients and moments, which contain trained parameters only.
    pub(super) range: Range<usize>,
    /// Index of the first element in the arena of parameters, which contains all parameters.
    pub(super) parameters: usize,
}

/// All trained checkpoint tensors of the model, in arena order.
pub(super) fn named_ranges(model: &Model) -> Vec<NamedRange> {
    let entries = model.parameters().layout().entries();
    let specs = &model.architecture().parameters;
    assert_eq!(entries.len(), specs.len(), "number of arena entries and of parameters");
    let trainable = model.trainable_layout();
    let mut ranges = Vec::new();
    for ((entry, trained), spec) in entries.iter().zip(trainable.entries()).zip(specs) {
        assert!(!spec.parts.is_empty(), "parameter {} belongs to no checkpoint tensor", spec.name);
        let Some(offset) = trained.offset else { continue };
        for part in &spec.parts {
            let (first, last) = (part.rows.start * entry.columns, part.rows.end * entry.columns);
            let in_parameters =
                entry.offset.expect("the arena of parameters contains all parameters");
            ranges.push(NamedRange {
                name: part.full_name(),
                shape: part.shape.clone(),
                range: offset + first..offset + last,
                parameters: in_parameters + first,
            });
        }
    }
    ranges.sort_by_key(|tensor| tensor.range.start);
    let covered: usize = ranges.iter().map(|tensor| tensor.range.len()).sum();
    assert_eq!(covered, trainable.len(), "number of elements in tensors and of trained elements");
    ranges
}
