use crate::error::EncoderError;
use serde_json::{Value, json};

/// Low-rank adapters, with the names and defaults of peft's `LoraConfig`: a linear layer with the
/// weight `W`, `N x K`, also has `lora_A`, `r x K`, and `lora_B`, `N x r`, and computes
/// `W x + scale * lora_B (lora_A dropout(x))`. Everything else of the transformer is frozen.
///
/// # Paper
/// Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Rank of the update.
    pub r: usize,
    /// The scale is `lora_alpha / r`.
    pub lora_alpha: f64,
    /// Probability of dropout of an adapter's input.
    pub lora_dropout: f64,
    /// The linear layers that get an adapter. `None`: query and value in the families for which
    /// peft has this default; an error in others.
    pub target_modules: Option<TargetModules>,
    /// Modules that are trained and saved as a whole beside the adapters: every module whose path
    /// ends in one of the names. A classification head is always among them.
    pub modules_to_save: Vec<String>,
    /// Whether the scale is `lora_alpha / sqrt(r)` (Kalajdzievski 2023, A Rank Stabilization
    /// Scaling Factor for Fine-Tuning with LoRA, arXiv:2312.03732).
    pub use_rslora: bool,
    /// Whether `lora_B` starts at zero, so that new adapters change nothing. Otherwise it is drawn
    /// as `lora_A` is, which is of use in tests only.
    pub init_lora_weights: bool,
}

/// Which linear layers get an adapter. Names are those of the checkpoint, such as
/// `encoder.layer.0.attention.self.query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetModules {
    /// All of the transformer and of a classification head that is not saved as a whole:
    /// `"all-linear"` of peft.
    AllLinear,
    /// Those whose name is one of these, or ends in one of these after a point.
    Names(Vec<String>),
    /// Those whose whole name matches a regular expression.
    Pattern(String),
}

impl Default for LoraConfig {
    fn default() -> LoraConfig {
        LoraConfig {
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: None,
            modules_to_save: Vec::new(),
            use_rslora: false,
            init_lora_weights: true,
        }
    }
}

impl LoraConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// A rank of 0, an alpha that is not a finite number, a dropout outside `[0, 1)`.
    pub fn validate(&self) -> Result<(), EncoderError> {
        let LoraConfig { r, lora_alpha, lora_dropout, .. } = *self;
        if r == 0 {
            return Err(EncoderError::argument("r", "at least 1", r));
        }
        if !lora_alpha.is_finite() {
            return Err(EncoderError::argument("lora_alpha", "a finite number", lora_alpha));
        }
        if !(0.0..1.0).contains(&lora_dropout) {
            return Err(EncoderError::argument("lora_dropout", "a number in [0, 1)", lora_dropout));
        }
        Ok(())
    }

    /// The values by their names in peft. What is not set is null.
    pub fn to_json(&self) -> Value {
        let targets = match &self.target_modules {
            None => Value::Null,
            Some(TargetModules::AllLinear) => json!("all-linear"),
            Some(TargetModules::Names(names)) => json!(names),
            Some(TargetModules::Pattern(pattern)) => json!(pattern),
        };
        let saved = (!self.modules_to_save.is_empty()).then_some(&self.modules_to_save);
        json!({
            "init_lora_weights": self.init_lora_weights,
            "lora_alpha": self.lora_alpha,
            "lora_dropout": self.lora_dropout,
            "modules_to_save": saved,
            "r": self.r,
            "target_modules": targets,
            "use_rslora": self.use_rslora,
        })
    }

    /// Factor of the outputs of the adapters.
    pub fn scale(&self) -> f32 {
        scale(self.lora_alpha, self.r, self.use_rslora)
    }
}

/// Factor of the output of an adapter.
pub(super) fn scale(alpha: f64, rank: usize, use_rslora: bool) -> f32 {
    let rank = rank as f64;
    (alpha / if use_rslora { rank.sqrt() } else { rank }) as f32
}
