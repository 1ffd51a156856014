//! Whether there is memory for a model, before it is allocated: the sizes in a file may be wrong.

use crate::architecture::{Architecture, ParameterSpec};
use crate::config::Positions;
use crate::error::EncoderError;

/// Number of elements that is surely wrong: six times the parameters of the largest encoder,
/// XLM-RoBERTa XXL. Some systems promise more memory than they have.
const TOO_MANY: usize = 1 << 36;

/// Checks that the parameters and tables of a model can be allocated.
///
/// # Errors
/// When they cannot; the error names the largest tensor, whose shape is likely the wrong one.
pub(crate) fn check_memory(architecture: &Architecture) -> Result<(), EncoderError> {
    let size = |spec: &ParameterSpec| spec.rows.saturating_mul(spec.columns);
    let parameters = architecture.parameters.iter().map(size);
    let elements = parameters.fold(rotary_elements(architecture), usize::saturating_add);
    if elements < TOO_MANY && can_be_allocated(elements) {
        return Ok(());
    }
    let largest = architecture.parameters.iter().max_by_key(|spec| size(spec));
    let largest = largest.and_then(|spec| spec.parts.first());
    let largest = largest.map(|part| (part.full_name(), part.shape.clone()));
    let (tensor, shape) = largest.unwrap_or_default();
    Err(EncoderError::Memory { elements, tensor, shape })
}

/// Elements of the rotary tables: one for local and one for global attention.
fn rotary_elements(architecture: &Architecture) -> usize {
    let config = &architecture.encoder;
    match config.positions {
        Positions::Rotary => {
            let head_dim = config.hidden_size / config.heads;
            config.max_positions.saturating_mul(head_dim).saturating_mul(2)
        }
        Positions::None | Positions::Learned { .. } | Positions::LearnedWithRelativeBias { .. } => {
            0
        }
    }
}

/// Whether the system gives memory for this number of elements. An allocation that fails elsewhere
/// ends the process.
fn can_be_allocated(elements: usize) -> bool {
    let mut memory = Vec::<f32>::new();
    let given = memory.try_reserve_exact(elements).is_ok();
    // Without this, the compiler may leave out an allocation that nothing uses.
    std::hint::black_box(&mut memory);
    given
}
