use crate::architecture::{Architecture, Initializer, TransformerTask, WORD_EMBEDDINGS};
use crate::config::{BlockConfig, EncoderConfig, Mlp, NormPlace, Positions};
use crate::error::EncoderError;
use crate::families::bert::dense;
use crate::families::builder::{Builder, LinearShape};
use crate::families::fields::Fields;
use crate::stages::HeadStage;
use rankforge_kernels::ops::{Activation, Gate, Pooling};
use serde_json::Value;

/// ModernBERT: pre-norm blocks with rotary positions and a gated MLP. Every third block has global
/// attention, the others attend to a local window.
///
/// # Paper
/// Warner et al. 2024, arXiv:2412.13663.
pub(super) fn modernbert(
    fields: &Fields<'_>,
    task: &TransformerTask,
    mut builder: Builder,
) -> Result<Architecture, EncoderError> {
    let config = config(fields)?;
    let initializers = Initializers::read(fields, &config)?;
    backbone(&mut builder, &config, &initializers);
    if let TransformerTask::SequenceClassification { num_labels } = *task {
        head(fields, &config, &initializers, num_labels, &mut builder)?;
    }
    Ok(builder.finish(config))
}

fn config(fields: &Fields<'_>) -> Result<EncoderConfig, EncoderError> {
    let hidden_size = fields.size("hidden_size", 768)?;
    let attention_dropout = fields.probability("attention_dropout", 0.0)?;
    let heads = fields.heads("num_attention_heads", 12, hidden_size)?;
    if !(hidden_size / heads).is_multiple_of(2) {
        // Rotary positions rotate pairs of dimensions.
        let expected = format!("a number of heads whose width, {hidden_size} / heads, is even");
        let got = format!("{heads} heads of width {}", hidden_size / heads);
        return Err(fields.error_got("num_attention_heads", &expected, got));
    }
    Ok(EncoderConfig {
        model_type: "modernbert".to_owned(),
        vocab_size: fields.size("vocab_size", 50368)?,
        embedding_size: hidden_size,
        hidden_size,
        heads,
        intermediate_size: fields.size("intermediate_size", 1152)?,
        type_vocab_size: 0,
        positions: Positions::Rotary,
        embedding_norm: true,
        final_norm: true,
        norm_epsilon: fields.not_negative("norm_eps", 1e-5)? as f32,
        norm_bias: fields.flag("norm_bias", false)?,
        attention_bias: fields.flag("attention_bias", false)?,
        mlp_bias: fields.flag("mlp_bias", false)?,
        norm_place: NormPlace::Pre,
        mlp: Mlp::Gated(match fields.activation("hidden_activation")? {
            Activation::Gelu => Gate::GeGlu,
            Activation::GeluTanh => Gate::GeGluTanh,
            Activation::Silu => Gate::SwiGlu,
            _ => return Err(fields.error("hidden_activation", "a variant of gelu, or silu")),
        }),
        blocks: blocks(fields)?,
        embedding_dropout: fields.probability("embedding_dropout", 0.0)?,
        attention_dropout,
        attention_output_dropout: attention_dropout,
        mlp_dropout: fields.probability("mlp_dropout", 0.0)?,
        mlp_output_dropout: 0.0,
        max_positions: fields.positions("max_position_embeddings", 8192)?,
    })
}

/// Attention window and rotary base of each block.
///
/// Configs of transformers 5 have the fields `layer_types` and `rope_parameters`; older ones have
/// `global_attn_every_n_layers`, `global_rope_theta` and `local_rope_theta`.
fn blocks(fields: &Fields<'_>) -> Result<Vec<BlockConfig>, EncoderError> {
    let count = fields.blocks("num_hidden_layers", 22)?;
    // `local_attention` is the width of the whole window; transformers rounds its half down.
    // `sliding_window` is that half.
    let window = match fields.either("local_attention", "sliding_window") {
        "sliding_window" => fields.index("sliding_window", 0)?,
        name => fields.index(name, 128)? / 2,
    };
    let global_theta = theta(fields, "full_attention", "global_rope_theta", 160_000.0)?;
    let local_theta = theta(fields, "sliding_attention", "local_rope_theta", 10_000.0)?;
    let local = local_blocks(fields, count)?;
    let block = |(index, local): (usize, bool)| BlockConfig {
        window: local.then_some(window),
        rotary_theta: Some(if local { local_theta } else { global_theta }),
        attention_norm: index > 0,
    };
    Ok(local.into_iter().enumerate().map(block).collect())
}

/// Whether each of `count` blocks has local attention.
fn local_blocks(fields: &Fields<'_>, count: usize) -> Result<Vec<bool>, EncoderError> {
    let Some(types) = fields.get("layer_types") else {
        let period = fields.size("global_attn_every_n_layers", 3)?;
        return Ok((0..count).map(|index| index % period != 0).collect());
    };
    let expected =
        format!("{count} strings, each either \"full_attention\" or \"sliding_attention\"");
    let error = || fields.error("layer_types", &expected);
    let types = types.as_array().filter(|types| types.len() == count).ok_or_else(error)?;
    let is_local = |value: &Value| match value.as_str() {
        Some("full_attention") => Ok(false),
        Some("sliding_attention") => Ok(true),
        _ => Err(error()),
    };
    types.iter().map(is_local).collect()
}

/// The rotary base of the blocks of `layer_type`: in `rope_parameters`, or else in the field
/// `old_name` of older configs.
fn theta(
    fields: &Fields<'_>,
    layer_type: &str,
    old_name: &str,
    default: f64,
) -> Result<f64, EncoderError> {
    if fields.get("rope_scaling").is_some_and(|scaling| !is_default(scaling)) {
        return Err(fields.error("rope_scaling", "null (no scaling is supported)"));
    }
    let old = || fields.positive(old_name, default);
    let Some(parameters) = fields.get("rope_parameters") else { return old() };
    let parameters = match parameters.get(layer_type) {
        None | Some(Value::Null) => return old(),
        Some(parameters) => parameters,
    };
    let error = |expected: &str| {
        let got = parameters.to_string();
        fields.error_got(&format!("rope_parameters.{layer_type}"), expected, got)
    };
    if parameters.get("rope_type").is_some_and(|kind| kind != "default") {
        return Err(error("rope_type \"default\" (no other type is supported)"));
    }
    match parameters.get("rope_theta") {
        None => old(),
        Some(theta) => theta
            .as_f64()
            .filter(|theta| theta.is_finite() && *theta > 0.0)
            .ok_or_else(|| error("a rope_theta > 0")),
    }
}

/// Whether a `rope_scaling` says only that there is none.
fn is_default(scaling: &Value) -> bool {
    let fields = scaling.as_object();
    fields.is_some_and(|fields| {
        fields.iter().all(|(name, value)| name.ends_with("type") && value == "default")
    })
}

/// Smallest `initializer_cutoff_factor`. Samples beyond the cutoff are drawn again; with this one
/// that takes 13 draws for each weight, and with a factor near 0 it would never end.
const SMALLEST_CUTOFF: f32 = 0.1;

/// Initial values of the weights: truncated normal distributions with different deviations.
struct Initializers {
    /// Embeddings, and the linear layers that read the hidden states.
    input: Initializer,
    /// The linear layers whose output is added to the hidden states, and the dense layer of the
    /// classification head.
    output: Initializer,
    /// The last linear layer of the classification head.
    classifier: Initializer,
}

impl Initializers {
    fn read(fields: &Fields<'_>, config: &EncoderConfig) -> Result<Initializers, EncoderError> {
        let range = fields.not_negative("initializer_range", 0.02)?;
        let cutoff = fields.positive("initializer_cutoff_factor", 2.0)? as f32;
        if cutoff < SMALLEST_CUTOFF {
            let expected = format!("at least {SMALLEST_CUTOFF}");
            return Err(fields.error("initializer_cutoff_factor", &expected));
        }
        let normal =
            |deviation: f64| Initializer::TruncatedNormal { deviation: deviation as f32, cutoff };
        Ok(Initializers {
            input: normal(range),
            output: normal(range / (2.0 * config.blocks.len() as f64).sqrt()),
            classifier: normal(1.0 / (config.hidden_size as f64).sqrt()),
        })
    }
}

/// Adds the parameters of the embeddings and blocks.
fn backbone(builder: &mut Builder, config: &EncoderConfig, initializers: &Initializers) {
    let (h, f) = (config.hidden_size, config.intermediate_size);
    let norm_bias = config.norm_bias;
    let shape = |[outputs, inputs]: [usize; 2], bias| LinearShape { outputs, inputs, bias };
    let attention = |widths| shape(widths, config.attention_bias);
    let mlp = |widths| shape(widths, config.mlp_bias);
    let Initializers { input, output, .. } = *initializers;
    let table = "embeddings.tok_embeddings.weight";
    builder.matrix(WORD_EMBEDDINGS, table, [config.vocab_size, h], input);
    builder.norm("embeddings.norm", "embeddings.norm", h, norm_bias);
    for (index, block) in config.blocks.iter().enumerate() {
        let name = |part: &str| format!("blocks.{index}.{part}");
        let file = |part: &str| format!("layers.{index}.{part}");
        if block.attention_norm {
            builder.norm(&name("attention_norm"), &file("attn_norm"), h, norm_bias);
        }
        builder.linear(&name("qkv"), &file("attn.Wqkv"), attention([3 * h, h]), input);
        let attention_output = name("attention_output");
        builder.linear(&attention_output, &file("attn.Wo"), attention([h, h]), output);
        builder.norm(&name("mlp_norm"), &file("mlp_norm"), h, norm_bias);
        builder.linear(&name("mlp_input"), &file("mlp.Wi"), mlp([2 * f, h]), input);
        builder.linear(&name("mlp_output"), &file("mlp.Wo"), mlp([h, f]), output);
    }
    builder.norm("final_norm", "final_norm", h, norm_bias);
}

/// Adds the classification head: pooling, a dense layer with activation, layer norm, dropout and a
/// linear layer.
fn head(
    fields: &Fields<'_>,
    config: &EncoderConfig,
    initializers: &Initializers,
    num_labels: usize,
    builder: &mut Builder,
) -> Result<(), EncoderError> {
    let h = config.hidden_size;
    let pooling = match fields.string("classifier_pooling", "cls", "cls or mean")? {
        "cls" => Pooling::Cls,
        "mean" => Pooling::Mean,
        _ => return Err(fields.error("classifier_pooling", "cls or mean")),
    };
    builder.bare_stage(HeadStage::Pool { modes: vec![pooling], skip_prompt: false });
    let hidden = HeadStage::Dense {
        inputs: h,
        outputs: h,
        bias: fields.flag("classifier_bias", false)?,
        activation: fields.activation("classifier_activation")?,
        residual: false,
    };
    builder.stage(hidden, "head.dense", initializers.output, Initializer::Zeros);
    let norm =
        HeadStage::LayerNorm { width: h, epsilon: config.norm_epsilon, bias: config.norm_bias };
    builder.stage(norm, "head.norm", Initializer::Ones, Initializer::Zeros);
    builder.bare_stage(HeadStage::Dropout(fields.probability("classifier_dropout", 0.0)?));
    let classifier = dense(h, num_labels, Activation::Identity);
    builder.stage(classifier, "classifier", initializers.classifier, Initializer::Zeros);
    Ok(())
}
