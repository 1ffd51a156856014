use crate::adapter::{down_name, up_name};
use crate::architecture::{ADAPTER_MODULE, Initializer, ParameterSpec, TensorPart};
use crate::error::EncoderError;
use crate::lora::config::LoraConfig;
use crate::lora::modules::LinearModule;

/// The parameters of an adapter beside a layer.
///
/// # Errors
/// A rank beyond that of the layer's weight.
pub(crate) fn adapter_specs(
    target: &LinearModule,
    config: &LoraConfig,
) -> Result<[ParameterSpec; 2], EncoderError> {
    let LinearModule { name, layer, rows, inputs } = target;
    let (rank, outputs) = (config.r, rows.len());
    let most = outputs.min(*inputs);
    if rank > most {
        let expected = format!("at most {most}, the smaller width of {name}");
        return Err(EncoderError::argument("r", expected, rank));
    }
    // As peft draws them: PyTorch's default for a `Linear`, and zeros.
    let uniform = |inputs: usize| Initializer::Uniform(1.0 / (inputs as f32).sqrt());
    let second = if config.init_lora_weights { Initializer::Zeros } else { uniform(rank) };
    let spec = |arena: String, factor: &str, [rows, columns]: [usize; 2], initializer| {
        let part = TensorPart {
            module: ADAPTER_MODULE.to_owned(),
            name: format!("{name}.{factor}.weight"),
            shape: vec![rows, columns],
            rows: 0..rows,
        };
        ParameterSpec { name: arena, rows, columns, parts: vec![part], initializer }
    };
    Ok([
        spec(down_name(layer, rows.start), "lora_A", [rank, *inputs], uniform(*inputs)),
        spec(up_name(layer, rows.start), "lora_B", [outputs, rank], second),
    ])
}
