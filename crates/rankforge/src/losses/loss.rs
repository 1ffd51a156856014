use crate::error::Error;
use crate::losses::examples::{Examples, Targets};
use crate::losses::nesting::{Nesting, Truncated};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rankforge_encoder::{Input, LoadOptions, ModelKind, Outputs};
use rankforge_kernels::Device;

/// The input sequences of a batch, and the targets that the loss compares their outputs with.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<'a> {
    /// The input sequences. Row `i` of the outputs belongs to sequence `i`.
    pub inputs: Vec<Input<'a>>,
    /// Number of rows of the batch, `B`.
    pub rows: usize,
    /// Targets of the outputs.
    pub targets: Targets,
}

/// The seed and step that determine a random choice. Equal values give equal choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Index of the micro-batch in the run.
    pub step: u64,
}

impl Draw {
    /// Random numbers for the choices at `place`, which are independent of those at other places.
    pub(super) fn random(self, place: u64) -> ChaCha8Rng {
        let mut seed = [0; 32];
        let parts = [self.seed, self.step, place];
        for (bytes, part) in seed.chunks_exact_mut(8).zip(parts) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        ChaCha8Rng::from_seed(seed)
    }
}

/// The inputs of [`Loss::compute`].
#[derive(Clone, Copy, Debug)]
pub struct LossBatch<'a> {
    /// Outputs of the model, one row for each input of the plan: scores or embeddings. Where there
    /// are [layers](LossBatch::layers), theirs follow beside those of the last layer.
    pub outputs: &'a Outputs,
    /// Number of rows of the batch, `B`, as in the plan.
    pub rows: usize,
    /// Targets of the plan.
    pub targets: &'a Targets,
    /// Seed and step of random choices, as in the plan.
    pub draw: Draw,
    /// The layers that [`Loss::layers`] named.
    pub layers: &'a [usize],
    /// The loss's own [parameters](Loss::parameters), one after the other; mostly none.
    pub parameters: &'a [f32],
    /// Device for matrix products.
    pub device: &'a Device,
}

impl<'a> LossBatch<'a> {
    /// Checks that the outputs are those of `columns` texts for each row, and returns the number of
    /// rows. `loss` is the name of the loss.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub(super) fn expect_columns(&self, loss: &str, columns: usize) -> usize {
        let Outputs { rows, columns: width, .. } = self.outputs;
        let expected = columns * self.rows;
        assert!(
            *rows == expected && self.rows > 0,
            "{loss}: outputs {rows} x {width}, expected {expected} for {} rows",
            self.rows
        );
        self.rows
    }

    /// The label of each row, for a loss of `columns` texts for each row.
    ///
    /// # Panics
    /// When the targets are not a number for each row, or the outputs have another number of rows.
    #[track_caller]
    pub(super) fn scalars(&self, loss: &str, columns: usize) -> &'a [f32] {
        let rows = self.expect_columns(loss, columns);
        match self.targets {
            Targets::Scalars(labels) if labels.len() == rows => labels,
            _ => panic!("{loss} without a label for each of {rows} rows"),
        }
    }
}

/// Value and gradient of a loss.
#[derive(Clone, Debug, PartialEq)]
pub struct LossOutput {
    /// Mean loss of the batch.
    pub value: f64,
    /// Gradient of `value` with respect to the outputs, in their shape.
    pub d_outputs: Outputs,
    /// Named terms that add up to `value` and are logged separately; empty for a single term.
    pub components: Vec<(String, f64)>,
    /// Gradient of `value` with respect to the loss's own parameters, one after the other; mostly
    /// empty.
    pub d_parameters: Vec<f32>,
}

impl LossOutput {
    /// The output of a loss of a single term without parameters.
    pub fn new(value: f64, d_outputs: Outputs) -> LossOutput {
        LossOutput { value, d_outputs, components: Vec::new(), d_parameters: Vec::new() }
    }
}

/// A matrix of parameters that a loss itself has, with its initial values.
#[derive(Clone, Debug, PartialEq)]
pub struct LossParameter {
    /// Name as in PyTorch, such as `classifier.weight`. As for parameters of the model, it decides
    /// about weight decay, and patterns of learning rates find it.
    pub name: &'static str,
    /// Number of rows; a bias has one.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Initial values, row-major.
    pub values: Vec<f32>,
}

/// A training loss: arranges rows into sequences, and computes its value and gradient from outputs.
pub trait Loss: Send + Sync {
    /// Name, the one of sentence-transformers if it has this loss.
    fn name(&self) -> &'static str;

    /// Settings for the model card (`get_config_dict` in sentence-transformers).
    fn config(&self) -> serde_json::Value;

    /// BibTeX entry of the paper; empty when there is none.
    fn citation(&self) -> &'static str {
        ""
    }

    /// The loss that this one wraps; the model card names it too.
    fn inner(&self) -> Option<&dyn Loss> {
        None
    }

    /// Maximum number of sequences in a chunk of gradient caching; `None` sets no limit.
    fn mini_batch_size(&self) -> Option<usize> {
        None
    }

    /// Maximum number of tokens in a chunk of gradient caching, in place of
    /// [`Loss::mini_batch_size`]; `None` sets no limit.
    fn mini_batch_num_tokens(&self) -> Option<usize> {
        None
    }

    /// Names of the [components](LossOutput::components) of the loss.
    fn component_names(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Opens the models that the settings name. A recipe does so once, before it trains; a library
    /// user calls it before the loss is shared, or sets models that are open.
    ///
    /// # Errors
    /// A model that cannot be opened.
    fn open(&mut self, _options: &LoadOptions) -> Result<(), Error> {
        Ok(())
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// The first setting with an invalid value.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Checks that the loss can train a model of this kind with this number of output columns:
    /// labels of a cross-encoder, embedding dimensions of a dual encoder.
    ///
    /// # Errors
    /// A kind of model or a number of output columns that the loss cannot train.
    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error>;

    /// Checks that the loss can train a model with this number of blocks, 0 in a static model.
    ///
    /// # Errors
    /// Too few blocks.
    fn check_layers(&self, _blocks: usize) -> Result<(), Error> {
        Ok(())
    }

    /// The layers whose outputs the loss reads besides those of the last one, in a model with
    /// this number of blocks: 0 is the output of the embeddings, `n` that of block `n`. None by
    /// default, which costs nothing.
    fn layers(&self, _draw: Draw, _blocks: usize) -> Vec<usize> {
        Vec::new()
    }

    /// Settings that have no effect or are seldom meant, for a model with this number of output
    /// columns.
    fn warnings(&self, _output_columns: usize) -> Vec<String> {
        Vec::new()
    }

    /// The parameters that the loss itself has, for a model with this number of output columns.
    /// Their initial values are drawn from `seed`. The trainer trains them with the model's and
    /// keeps them in checkpoints; the saved model does not contain them.
    fn parameters(&self, _output_columns: usize, _seed: u64) -> Vec<LossParameter> {
        Vec::new()
    }

    /// Whether the first half of the sequences of a plan is encoded by a second copy of the model.
    /// The trainer trains the copy with the model and keeps it in checkpoints; the saved model does
    /// not contain it.
    fn trains_copy(&self) -> bool {
        false
    }

    /// Arranges a batch into sequences.
    ///
    /// # Errors
    /// Columns or labels that the loss cannot use.
    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error>;

    /// Checks the targets of a plan, for a model with this number of output columns.
    ///
    /// # Errors
    /// Labels that do not fit the outputs, such as embeddings of other dimensions.
    fn check_plan(&self, _plan: &Plan<'_>, _output_columns: usize) -> Result<(), Error> {
        Ok(())
    }

    /// Adds to a plan what takes long to compute and needs no outputs of the model, such as
    /// embeddings of a guide. It runs while the batch before is trained, and not when rows are only
    /// checked.
    ///
    /// # Errors
    /// A text that another model cannot use.
    fn prepare(&self, _plan: &mut Plan<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// Computes the loss and its gradient with respect to the outputs and its own parameters.
    ///
    /// # Panics
    /// When the shape of the outputs does not match the plan. It matches if [`Loss::check_model`],
    /// [`Loss::plan`] and [`Loss::check_plan`] succeeded.
    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput;

    /// The sum over `nestings` of weight times the loss of embeddings that are cut to their leading
    /// dimensions and normalised, and its gradient with respect to the whole embeddings. Targets of
    /// as many numbers as the embeddings have dimensions are embeddings too, and cut.
    ///
    /// # Panics
    /// As [`Loss::compute`], or when there are fewer dimensions than in a nesting.
    fn compute_nested(&self, batch: &LossBatch<'_>, nestings: &[Nesting]) -> LossOutput {
        let (rows, columns) = (batch.outputs.rows, batch.outputs.columns);
        let d_outputs = Outputs { rows, columns, values: vec![0.0; rows * columns] };
        let mut sum = LossOutput::new(0.0, d_outputs);
        for Nesting { dimensions, weight } in nestings {
            let truncated = Truncated::new(batch.outputs, *dimensions);
            let targets = batch.targets.leading(columns, *dimensions);
            let outputs = &truncated.outputs;
            let found = self.compute(&LossBatch { outputs, targets: &targets, ..*batch });
            truncated.add_gradient(&found.d_outputs, *weight, &mut sum.d_outputs);
            sum.value += weight * found.value;
            for (index, (name, value)) in found.components.into_iter().enumerate() {
                match sum.components.get_mut(index) {
                    Some((_, total)) => *total += weight * value,
                    None => sum.components.push((name, weight * value)),
                }
            }
        }
        sum
    }
}

/// Writes the methods of [`Loss`] that pass on to another loss, `$inner` of `$this`; all but
/// `config`, those of the size of chunks, and those that compute, after `@but_compute`.
macro_rules! pass_on {
    ($this:ident => $inner:expr) => {
        fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
            let $this = self;
            $inner.compute(batch)
        }

        fn compute_nested(&self, batch: &LossBatch<'_>, nestings: &[Nesting]) -> LossOutput {
            let $this = self;
            $inner.compute_nested(batch, nestings)
        }

        pass_on!(@but_compute $this => $inner);
    };
    (@but_compute $this:ident => $inner:expr) => {
        fn name(&self) -> &'static str {
            let $this = self;
            $inner.name()
        }

        fn citation(&self) -> &'static str {
            let $this = self;
            $inner.citation()
        }

        fn inner(&self) -> Option<&dyn Loss> {
            let $this = self;
            $inner.inner()
        }

        fn component_names(&self) -> Vec<&'static str> {
            let $this = self;
            $inner.component_names()
        }

        fn check(&self) -> Result<(), Error> {
            let $this = self;
            $inner.check()
        }

        fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
            let $this = self;
            $inner.check_model(kind, output_columns)
        }

        fn check_layers(&self, blocks: usize) -> Result<(), Error> {
            let $this = self;
            $inner.check_layers(blocks)
        }

        fn layers(&self, draw: Draw, blocks: usize) -> Vec<usize> {
            let $this = self;
            $inner.layers(draw, blocks)
        }

        fn warnings(&self, output_columns: usize) -> Vec<String> {
            let $this = self;
            $inner.warnings(output_columns)
        }

        fn parameters(&self, output_columns: usize, seed: u64) -> Vec<LossParameter> {
            let $this = self;
            $inner.parameters(output_columns, seed)
        }

        fn trains_copy(&self) -> bool {
            let $this = self;
            $inner.trains_copy()
        }

        fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
            let $this = self;
            $inner.plan(examples, draw)
        }

        fn check_plan(&self, plan: &Plan<'_>, output_columns: usize) -> Result<(), Error> {
            let $this = self;
            $inner.check_plan(plan, output_columns)
        }

        fn prepare(&self, plan: &mut Plan<'_>) -> Result<(), Error> {
            let $this = self;
            $inner.prepare(plan)
        }
    };
}

pub(super) use pass_on;
