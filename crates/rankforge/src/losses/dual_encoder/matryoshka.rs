use crate::error::Error;
use crate::losses::columns;
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::nesting::Nesting;
use crate::losses::settings::{Settings, optional, settings};
use rand::seq::index;
use rankforge_encoder::{LoadOptions, ModelKind};
use serde::Deserialize;
use serde_json::{Value, json};

/// `Σ weightₖ * loss(embeddings cut to their leading dimensionsₖ and normalised)`, so that
/// embeddings may be shortened in use.
///
/// Data: that of the inner loss. Labels of as many numbers as the embeddings have dimensions are
/// embeddings of a teacher, and are cut too.
///
/// # Paper
/// Kusupati et al. 2022, Matryoshka Representation Learning, arXiv:2205.13147.
pub struct MatryoshkaLoss {
    /// The inner loss.
    pub loss: Box<dyn Loss>,
    /// Numbers of leading dimensions; those of the whole embeddings should be among them.
    pub matryoshka_dims: Vec<usize>,
    /// A weight for each; `None` is 1 for all.
    pub matryoshka_weights: Option<Vec<f64>>,
    /// How many of them are drawn for each step; `None` takes all (-1 in sentence-transformers).
    pub n_dims_per_step: Option<usize>,
}

pub(super) const NAME: &str = "MatryoshkaLoss";

pub(super) const CITATION: &str = "@misc{kusupati2024matryoshka,
    title={Matryoshka Representation Learning},
    author={Aditya Kusupati and Gantavya Bhatt and Aniket Rege and Matthew Wallingford and \
        Aditya Sinha and Vivek Ramanujan and William Howard-Snyder and Kaifeng Chen and \
        Sham Kakade and Prateek Jain and Ali Farhadi},
    year={2024},
    eprint={2205.13147},
    archivePrefix={arXiv},
    primaryClass={cs.LG}
}";

/// Wrappers, which must not be inside this one.
const WRAPPERS: [&str; 3] = [NAME, "Matryoshka2dLoss", "AdaptiveLayerLoss"];

/// The settings beside those of the inner loss.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    loss: Settings,
    #[serde(default)]
    matryoshka_dims: Vec<usize>,
    #[serde(default, deserialize_with = "optional")]
    matryoshka_weights: Option<Vec<f64>>,
    #[serde(default = "all")]
    n_dims_per_step: i64,
}

fn all() -> i64 {
    -1
}

impl MatryoshkaLoss {
    /// The loss with these settings. `build` makes the inner loss; its first argument is the name
    /// of this one.
    ///
    /// # Errors
    /// An unknown setting or an invalid value, also of the inner loss.
    pub(super) fn from_settings(
        options: &Settings,
        build: impl FnOnce(&str, Settings) -> Result<Box<dyn Loss>, Error>,
    ) -> Result<MatryoshkaLoss, Error> {
        let fields: Fields = settings(NAME, options)?;
        let loss = MatryoshkaLoss {
            loss: build(NAME, fields.loss)?,
            matryoshka_dims: fields.matryoshka_dims,
            matryoshka_weights: fields.matryoshka_weights,
            n_dims_per_step: per_step(NAME, "n_dims_per_step", fields.n_dims_per_step)?,
        };
        loss.check()?;
        Ok(loss)
    }

    /// The dimensions of a step, with their weights.
    pub(super) fn nestings(&self, draw: Draw) -> Vec<Nesting> {
        let count = self.matryoshka_dims.len();
        let nesting = |index: usize| Nesting {
            dimensions: self.matryoshka_dims[index],
            weight: self.matryoshka_weights.as_ref().map_or(1.0, |weights| weights[index]),
        };
        match self.n_dims_per_step {
            Some(wanted) if wanted < count => {
                let drawn = index::sample(&mut draw.random(DIMENSIONS), count, wanted);
                drawn.into_iter().map(nesting).collect()
            }
            _ => (0..count).map(nesting).collect(),
        }
    }
}

/// The place of the choice of dimensions among the random choices of a step.
const DIMENSIONS: u64 = 1;

/// A number for each step: `None` for -1, which means all.
///
/// # Errors
/// Another number below 1.
pub(super) fn per_step(loss: &str, setting: &str, count: i64) -> Result<Option<usize>, Error> {
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(Some(count)),
        _ if count == -1 => Ok(None),
        _ => Err(Error::argument(format!("{loss}.{setting}"), "at least 1, or -1 for all", count)),
    }
}

/// Checks that the loss inside a wrapper does not train a second copy of the model.
///
/// # Errors
/// It does.
pub(super) fn expect_one_model(field: &str, loss: &dyn Loss) -> Result<(), Error> {
    match loss.trains_copy() {
        false => Ok(()),
        true => {
            let expected = "a loss of the embeddings of one model inside";
            Err(Error::argument(field, expected, loss.name()))
        }
    }
}

/// Name and settings of an inner loss.
pub(super) fn described(loss: &dyn Loss) -> Value {
    let mut described = json!({ "name": loss.name() });
    if let (Value::Object(all), Value::Object(settings)) = (&mut described, loss.config()) {
        all.extend(settings);
    }
    described
}

impl Loss for MatryoshkaLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> Value {
        let count = self.matryoshka_dims.len();
        json!({
            "loss": described(&*self.loss),
            "matryoshka_dims": self.matryoshka_dims,
            "matryoshka_weights": self.matryoshka_weights.clone().unwrap_or(vec![1.0; count]),
            "n_dims_per_step": self.n_dims_per_step.map_or(json!(-1), |count| json!(count)),
        })
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
        self.loss.component_names()
    }

    fn open(&mut self, options: &LoadOptions) -> Result<(), Error> {
        self.loss.open(options)
    }

    fn check(&self) -> Result<(), Error> {
        let field = |name: &str| format!("{NAME}.{name}");
        let dims = &self.matryoshka_dims;
        if dims.is_empty() || dims.contains(&0) {
            let expected = "at least one number of dimensions, each at least 1";
            return Err(Error::argument(field("matryoshka_dims"), expected, json!(dims)));
        }
        if let Some(weights) = &self.matryoshka_weights {
            let usable = weights.iter().all(|weight| weight.is_finite());
            if weights.len() != dims.len() || !usable {
                let expected = format!("{} finite numbers, one for each dimension", dims.len());
                return Err(Error::argument(field("matryoshka_weights"), expected, json!(weights)));
            }
        }
        if self.n_dims_per_step == Some(0) {
            let expected = "at least 1, or -1 for all";
            return Err(Error::argument(field("n_dims_per_step"), expected, 0));
        }
        if WRAPPERS.contains(&self.loss.name()) {
            let expected = "a loss of embeddings inside; AdaptiveLayerLoss goes around it, as \
                            Matryoshka2dLoss does";
            return Err(Error::argument(field("loss.name"), expected, self.loss.name()));
        }
        expect_one_model(&field("loss.name"), &*self.loss)?;
        self.loss.check().map_err(|error| error.renamed(self.loss.name(), &field("loss")))
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)?;
        let inner = self.loss.check_model(kind, output_columns);
        inner.map_err(|error| error.renamed(self.loss.name(), &format!("{NAME}.loss")))?;
        if !self.loss.parameters(output_columns, 0).is_empty() {
            let expected = "a loss without parameters of its own, as theirs fit one number of \
                            dimensions";
            return Err(Error::argument(format!("{NAME}.loss"), expected, self.loss.name()));
        }
        match self.matryoshka_dims.iter().find(|dimensions| **dimensions > output_columns) {
            None => Ok(()),
            Some(dimensions) => {
                let field = format!("{NAME}.matryoshka_dims");
                let expected = format!("at most {output_columns}, as the embeddings have");
                Err(Error::argument(field, expected, dimensions))
            }
        }
    }

    fn warnings(&self, output_columns: usize) -> Vec<String> {
        let mut warnings = self.loss.warnings(output_columns);
        if !self.matryoshka_dims.contains(&output_columns) {
            let dimensions: Vec<String> =
                self.matryoshka_dims.iter().map(usize::to_string).collect();
            warnings.push(format!(
                "{NAME}.matryoshka_dims {} lack the {output_columns} dimensions of the whole \
                 embeddings, which are then not trained",
                dimensions.join(", ")
            ));
        }
        warnings
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        self.loss.plan(examples, draw)
    }

    fn check_plan(&self, plan: &Plan<'_>, output_columns: usize) -> Result<(), Error> {
        self.loss.check_plan(plan, output_columns)
    }

    fn prepare(&self, plan: &mut Plan<'_>) -> Result<(), Error> {
        self.loss.prepare(plan)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        self.loss.compute_nested(batch, &self.nestings(batch.draw))
    }
}
