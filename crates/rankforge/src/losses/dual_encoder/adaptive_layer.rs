use crate::error::Error;
use crate::losses::columns;
use crate::losses::dual_encoder::divergence::{add_divergence, softmax};
use crate::losses::dual_encoder::matryoshka::{
    MatryoshkaLoss, described, expect_one_model, per_step,
};
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, LossParameter, Plan};
use crate::losses::settings::{Settings, settings};
use rand::seq::index;
use rankforge_encoder::{LoadOptions, ModelKind, Outputs};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How much the loss of a layer below the last counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerWeighting {
    /// All the same (Zhuang et al. 2024, Starbucks, arXiv:2410.13230).
    #[default]
    Uniform,
    /// `1 / (1 + ln(1 + n))` for layer `n`, counted from 0, the output of the embeddings.
    Log,
    /// `1 / (1 + n)`.
    Linear,
}

/// The inner loss of the embeddings that a model gives with fewer of its layers, so that layers may
/// be left out in use:
/// `last_layer_weight * loss(last) + mean over n of prior_layers_weight * weight(n) * loss(n)`,
/// plus for each layer `n` that is used, with the temperature `t`,
/// `kl_div_weight * t * KL(softmax(last / t) ‖ softmax(n / t))`, where the last layer is a teacher
/// without gradient.
///
/// Data: that of the inner loss.
///
/// # Shapes
/// Outputs: those of the last layer, then those of each layer that [`Loss::layers`] names, side by
/// side.
///
/// # Paper
/// Li et al. 2024, 2D Matryoshka Sentence Embeddings, arXiv:2402.14776.
pub struct AdaptiveLayerLoss {
    /// The inner loss.
    pub loss: Box<dyn Loss>,
    /// How many layers below the last are drawn for each step; 1 by default, `None` takes all (-1
    /// in sentence-transformers).
    pub n_layers_per_step: Option<usize>,
    /// Weight of the last layer; 1 by default.
    pub last_layer_weight: f64,
    /// Weight of the layers below it; 1 by default.
    pub prior_layers_weight: f64,
    /// Weight of the divergence from the last layer; 1 by default.
    pub kl_div_weight: f64,
    /// Temperature of the divergence; 0.3 by default, 0 leaves it out.
    pub kl_temperature: f64,
    /// Weights among the layers; uniform by default.
    pub layer_weighting: LayerWeighting,
    name: &'static str,
}

pub(super) const NAME: &str = "AdaptiveLayerLoss";

/// The name of [`AdaptiveLayerLoss`] around [`MatryoshkaLoss`].
pub(super) const IN_TWO_DIMENSIONS: &str = "Matryoshka2dLoss";

pub(super) const CITATION: &str = "@misc{li20242d,
    title={2D Matryoshka Sentence Embeddings},
    author={Xianming Li and Zongxi Li and Jing Li and Haoran Xie and Qing Li},
    year={2024},
    eprint={2402.14776},
    archivePrefix={arXiv},
    primaryClass={cs.CL}
}";

/// The settings beside those of the inner loss.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    loss: Settings,
    n_layers_per_step: i64,
    last_layer_weight: f64,
    prior_layers_weight: f64,
    kl_div_weight: f64,
    kl_temperature: f64,
    layer_weighting: LayerWeighting,
}

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            loss: Settings::default(),
            n_layers_per_step: 1,
            last_layer_weight: 1.0,
            prior_layers_weight: 1.0,
            kl_div_weight: 1.0,
            kl_temperature: 0.3,
            layer_weighting: LayerWeighting::Uniform,
        }
    }
}

/// The settings of Matryoshka2dLoss that are those of MatryoshkaLoss.
const OF_DIMENSIONS: [&str; 4] =
    ["loss", "matryoshka_dims", "matryoshka_weights", "n_dims_per_step"];

impl AdaptiveLayerLoss {
    /// The loss with its default settings.
    pub fn new(loss: impl Loss + 'static) -> AdaptiveLayerLoss {
        let n_layers_per_step = Some(1);
        AdaptiveLayerLoss::of(NAME, Box::new(loss), Fields::default(), n_layers_per_step)
    }

    /// The loss called Matryoshka2dLoss in sentence-transformers, with its default settings for
    /// layers: 2D Matryoshka embeddings may be shortened, and computed with fewer layers.
    pub fn in_two_dimensions(loss: MatryoshkaLoss) -> AdaptiveLayerLoss {
        AdaptiveLayerLoss { name: IN_TWO_DIMENSIONS, ..AdaptiveLayerLoss::new(loss) }
    }

    fn of(
        name: &'static str,
        loss: Box<dyn Loss>,
        fields: Fields,
        n_layers_per_step: Option<usize>,
    ) -> AdaptiveLayerLoss {
        AdaptiveLayerLoss {
            loss,
            n_layers_per_step,
            last_layer_weight: fields.last_layer_weight,
            prior_layers_weight: fields.prior_layers_weight,
            kl_div_weight: fields.kl_div_weight,
            kl_temperature: fields.kl_temperature,
            layer_weighting: fields.layer_weighting,
            name,
        }
    }

    /// The loss with these settings. `build` makes the inner loss; its first argument is the name
    /// of this one.
    ///
    /// # Errors
    /// An unknown setting or an invalid value, also of the inner loss.
    pub(super) fn from_settings(
        options: &Settings,
        build: impl FnOnce(&str, Settings) -> Result<Box<dyn Loss>, Error>,
    ) -> Result<AdaptiveLayerLoss, Error> {
        let mut fields: Fields = settings(NAME, options)?;
        let loss = build(NAME, std::mem::take(&mut fields.loss))?;
        AdaptiveLayerLoss::checked(NAME, loss, fields)
    }

    /// Matryoshka2dLoss, whose settings are those of both losses.
    ///
    /// # Errors
    /// As [`AdaptiveLayerLoss::from_settings`].
    pub(super) fn from_settings_in_two_dimensions(
        options: &Settings,
        build: impl FnOnce(&str, Settings) -> Result<Box<dyn Loss>, Error>,
    ) -> Result<AdaptiveLayerLoss, Error> {
        let name = IN_TWO_DIMENSIONS;
        let is_dimension = |(name, _): &(&String, &Value)| OF_DIMENSIONS.contains(&name.as_str());
        let own = |(name, value): (&String, &Value)| (name.clone(), value.clone());
        let (dimensions, layers): (Vec<_>, Vec<_>) = options.iter().partition(is_dimension);
        let mut dimensions: Settings = dimensions.into_iter().map(own).collect();
        dimensions.entry("n_dims_per_step").or_insert(json!(1));
        let layers: Settings = layers.into_iter().map(own).collect();
        let fields: Fields = settings(name, &layers).map_err(|error| match error {
            // serde lists the settings of the layers only.
            Error::Argument { field, expected, got } if got.starts_with("unknown field") => {
                let more = OF_DIMENSIONS[1..].join("`, `");
                Error::Argument { field, expected, got: format!("{got}, `{more}`") }
            }
            error => error,
        })?;
        let build = |_: &str, options| build(name, options);
        let loss = MatryoshkaLoss::from_settings(&dimensions, build)
            .map_err(|error| error.renamed("MatryoshkaLoss", name))?;
        AdaptiveLayerLoss::checked(name, Box::new(loss), fields)
    }

    fn checked(
        name: &'static str,
        loss: Box<dyn Loss>,
        fields: Fields,
    ) -> Result<AdaptiveLayerLoss, Error> {
        let count = per_step(name, "n_layers_per_step", fields.n_layers_per_step)?;
        let loss = AdaptiveLayerLoss::of(name, loss, fields, count);
        loss.check()?;
        Ok(loss)
    }

    /// Weight of the inner loss of one of `count` layers.
    fn weight(&self, layer: usize, count: usize) -> f64 {
        let layer = layer as f64;
        let weight = match self.layer_weighting {
            LayerWeighting::Uniform => 1.0,
            LayerWeighting::Log => 1.0 / (1.0 + layer.ln_1p()),
            LayerWeighting::Linear => 1.0 / (1.0 + layer),
        };
        weight / count as f64 * self.prior_layers_weight
    }
}

/// The place of the choice of layers among the random choices of a step.
const LAYERS: u64 = 2;

/// The name of the divergence, in a loss that has components.
const DIVERGENCE: &str = "kl_div";

impl Loss for AdaptiveLayerLoss {
    fn name(&self) -> &'static str {
        self.name
    }

    fn config(&self) -> Value {
        let mut config = json!({
            "loss": described(&*self.loss),
            "n_layers_per_step": self.n_layers_per_step.map_or(json!(-1), |count| json!(count)),
            "last_layer_weight": self.last_layer_weight,
            "prior_layers_weight": self.prior_layers_weight,
            "kl_div_weight": self.kl_div_weight,
            "kl_temperature": self.kl_temperature,
            "layer_weighting": self.layer_weighting,
        });
        if self.name == IN_TWO_DIMENSIONS {
            let inner = self.loss.config().as_object().cloned();
            config.as_object_mut().expect("an object").extend(inner.unwrap_or(Map::new()));
        }
        config
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn inner(&self) -> Option<&dyn Loss> {
        Some(&*self.loss)
    }

    fn mini_batch_size(&self) -> Option<usize> {
        self.loss.mini_batch_size()
    }

    fn mini_batch_num_tokens(&self) -> Option<usize> {
        self.loss.mini_batch_num_tokens()
    }

    fn component_names(&self) -> Vec<&'static str> {
        let mut names = self.loss.component_names();
        if !names.is_empty() && self.kl_temperature > 0.0 {
            names.push(DIVERGENCE);
        }
        names
    }

    fn open(&mut self, options: &LoadOptions) -> Result<(), Error> {
        self.loss.open(options)
    }

    fn check(&self) -> Result<(), Error> {
        let field = |name: &str| format!("{}.{name}", self.name);
        for (name, value) in [
            ("last_layer_weight", self.last_layer_weight),
            ("prior_layers_weight", self.prior_layers_weight),
            ("kl_div_weight", self.kl_div_weight),
        ] {
            if !value.is_finite() {
                return Err(Error::argument(field(name), "a finite number", value));
            }
        }
        if !(self.kl_temperature >= 0.0 && self.kl_temperature.is_finite()) {
            let expected = "at least 0, where 0 leaves the divergence out";
            return Err(Error::argument(field("kl_temperature"), expected, self.kl_temperature));
        }
        if self.n_layers_per_step == Some(0) {
            let expected = "at least 1, or -1 for all";
            return Err(Error::argument(field("n_layers_per_step"), expected, 0));
        }
        let inner = self.loss.name();
        if [NAME, IN_TWO_DIMENSIONS].contains(&inner) {
            let expected = "a loss of one layer inside";
            return Err(Error::argument(field("loss.name"), expected, inner));
        }
        expect_one_model(&field("loss.name"), &*self.loss)?;
        let path = if self.name == NAME { field("loss") } else { self.name.to_owned() };
        self.loss.check().map_err(|error| error.renamed(inner, &path))
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(self.name, kind)?;
        let inner = self.loss.check_model(kind, output_columns);
        let path = if self.name == NAME { format!("{NAME}.loss") } else { self.name.to_owned() };
        inner.map_err(|error| error.renamed(self.loss.name(), &path))
    }

    fn check_layers(&self, blocks: usize) -> Result<(), Error> {
        if blocks > 0 {
            return Ok(());
        }
        let expected =
            format!("a loss without layers, as the model has none, instead of {}", self.name);
        Err(Error::argument("loss", expected, self.name))
    }

    fn warnings(&self, output_columns: usize) -> Vec<String> {
        self.loss.warnings(output_columns)
    }

    fn layers(&self, draw: Draw, blocks: usize) -> Vec<usize> {
        match self.n_layers_per_step {
            Some(wanted) if wanted < blocks => {
                index::sample(&mut draw.random(LAYERS), blocks, wanted).into_vec()
            }
            _ => (0..blocks).collect(),
        }
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        self.loss.plan(examples, draw)
    }

    fn parameters(&self, output_columns: usize, seed: u64) -> Vec<LossParameter> {
        self.loss.parameters(output_columns, seed)
    }

    fn check_plan(&self, plan: &Plan<'_>, output_columns: usize) -> Result<(), Error> {
        self.loss.check_plan(plan, output_columns)
    }

    fn prepare(&self, plan: &mut Plan<'_>) -> Result<(), Error> {
        self.loss.prepare(plan)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let count = batch.layers.len();
        let width = batch.outputs.columns / (count + 1);
        let of_layer = |place: usize| batch.outputs.columns(place * width..(place + 1) * width);
        let last = of_layer(0);
        let inner =
            |outputs: &Outputs| self.loss.compute(&LossBatch { outputs, layers: &[], ..*batch });
        let mut sum = Sum::default();
        let found = inner(&last);
        let mut d_outputs = vec![sum.add(found, self.last_layer_weight)];
        let teacher = softmax(&last, self.kl_temperature);
        let mut divergence = 0.0;
        for (place, layer) in batch.layers.iter().enumerate() {
            let outputs = of_layer(place + 1);
            let mut d_layer = sum.add(inner(&outputs), self.weight(*layer, count));
            if self.kl_temperature > 0.0 {
                let (weight, t) = (self.kl_div_weight, self.kl_temperature);
                divergence +=
                    weight * t * add_divergence(&teacher, &outputs, t, weight, &mut d_layer);
            }
            d_outputs.push(d_layer);
        }
        if !sum.components.is_empty() && self.kl_temperature > 0.0 {
            sum.components.push((DIVERGENCE.to_owned(), divergence));
        }
        LossOutput {
            value: sum.value + divergence,
            d_outputs: Outputs::side_by_side(&d_outputs),
            components: sum.components,
            d_parameters: sum.d_parameters,
        }
    }
}

/// Values and components of the inner loss.
#[derive(Default)]
struct Sum {
    value: f64,
    components: Vec<(String, f64)>,
    d_parameters: Vec<f32>,
}

impl Sum {
    /// Adds a loss with a weight, and returns the gradient of what was added.
    fn add(&mut self, found: LossOutput, weight: f64) -> Outputs {
        let LossOutput { value, mut d_outputs, components, d_parameters } = found;
        self.d_parameters.resize(d_parameters.len(), 0.0);
        for (total, d) in self.d_parameters.iter_mut().zip(d_parameters) {
            *total += (weight * f64::from(d)) as f32;
        }
        self.value += weight * value;
        for (index, (name, value)) in components.into_iter().enumerate() {
            match self.components.get_mut(index) {
                Some((_, total)) => *total += weight * value,
                None => self.components.push((name, weight * value)),
            }
        }
        d_outputs.values.iter_mut().for_each(|d| *d = (weight * f64::from(*d)) as f32);
        d_outputs
    }
}
