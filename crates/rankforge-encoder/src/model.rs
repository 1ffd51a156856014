use crate::head::{self, StageParameters};
use crate::layers::Transformer;
use crate::pass::{Pass, Readout};
use crate::transformer;
use crate::{Architecture, Batch, EncoderError, Initializer, TensorPart, Weights, Workspace};
use crate::{families, weights};
use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use rankforge_kernels::{Arena, ArenaLayout, Device, ParameterId, Precision, View};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// Scores or embeddings on the host, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// Sequences, `B`.
    pub rows: usize,
    /// Labels or embedding dimension.
    pub columns: usize,
    /// `rows * columns` numbers.
    pub values: Vec<f32>,
}

impl Outputs {
    /// One sequence's numbers.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }
}

/// Whether dropout is on; the three numbers name its masks, so equal numbers replay equal masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No dropout.
    Inference,
    /// Dropout with masks that are a function of these numbers, the layer and the index.
    Training {
        /// Seed of the run.
        seed: u64,
        /// Micro-batch of the run.
        step: u64,
        /// Part of the micro-batch.
        part: u64,
    },
}

/// What loading found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors the model has and the checkpoint lacks, freshly initialised.
    pub fresh: Vec<String>,
    /// Tensors the checkpoint has and the model does not use.
    pub left_over: Vec<String>,
}

/// An architecture with its numbers.
#[derive(Clone)]
pub struct Model {
    architecture: Architecture,
    parameters: Arena,
    transformer: Transformer,
    head: Vec<StageParameters>,
    precision: Precision,
}

impl Model {
    /// All parameters fresh, by the initialisers of the architecture.
    pub fn new(device: &Device, architecture: Architecture, seed: u64) -> Model {
        let mut model = Model::zeros(device, architecture);
        model.initialize(seed, |_| true);
        model
    }

    /// The parameters that the checkpoints of the modules have, and fresh ones for the rest: what
    /// [`Model::new`] and [`Model::load`] give, without drawing numbers that are overwritten.
    /// One report for each module, in their order.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_weights(
        device: &Device,
        architecture: Architecture,
        seed: u64,
        modules: &[(&str, &Weights)],
    ) -> Result<(Model, Vec<LoadReport>), EncoderError> {
        let mut model = Model::zeros(device, architecture);
        let load = |&(module, weights): &(&str, &Weights)| model.load(module, weights);
        let reports = modules.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        let mut fresh: HashSet<(&str, &str)> = HashSet::new();
        for ((module, _), report) in modules.iter().zip(&reports) {
            fresh.extend(report.fresh.iter().map(|name| (*module, name.as_str())));
        }
        model.initialize(seed, |part| {
            let given = modules.iter().any(|(module, _)| *module == part.module);
            !given || fresh.contains(&(part.module.as_str(), part.name.as_str()))
        });
        Ok((model, reports))
    }

    /// Reads the tensors of `module` from `weights`; parameters that are not there stay as they are.
    ///
    /// Names are found with and without the family's prefix.
    ///
    /// # Errors
    /// A tensor of another shape than the architecture has (both are printed), or unreadable.
    pub fn load(&mut self, module: &str, weights: &Weights) -> Result<LoadReport, EncoderError> {
        let model_type = &self.architecture.encoder.model_type;
        let mut report = LoadReport::default();
        let mut used = HashSet::new();
        for (id, spec) in self.architecture.parameters.iter().enumerate() {
            for part in spec.parts.iter().filter(|part| part.module == module) {
                let mut names = families::aliases(model_type, &part.name).into_iter();
                let Some(name) = names.find(|name| weights.shape(name).is_some()) else {
                    report.fresh.push(part.name.clone());
                    continue;
                };
                check_shape(part, &name, weights)?;
                weights.read_blocks(&name, spec.columns, |first, values| {
                    let first = part.rows.start + first;
                    let rows = first..first + values.len() / spec.columns;
                    self.parameters.view_mut(ParameterId(id)).slice_rows(rows).write(values);
                })?;
                used.insert(name);
            }
        }
        let unused = |name: &&str| !used.contains(*name) && !families::is_constant(name);
        report.left_over = weights.names().into_iter().filter(unused).map(str::to_owned).collect();
        Ok(report)
    }

    /// Writes the tensors of `module` as f32 safetensors, to a temporary name, then renames.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, module: &str, path: &Path) -> Result<(), EncoderError> {
        let parts: Vec<(ParameterId, &TensorPart)> = self
            .parts()
            .filter(|(_, _, part)| part.module == module)
            .map(|(id, _, part)| (id, part))
            .collect();
        let tensors: Vec<(String, Vec<usize>)> =
            parts.iter().map(|(_, part)| (part.name.clone(), part.shape.clone())).collect();
        weights::save(path, &tensors, |index| {
            let (id, part) = parts[index];
            self.parameters.view(id).slice_rows(part.rows.clone()).to_vec()
        })
    }

    /// The device the parameters live on.
    pub fn device(&self) -> &Device {
        self.parameters.device()
    }

    /// The architecture.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// How the operands of its linear layers and attention are rounded.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Sets how the operands of its linear layers and attention are rounded, from the next pass on;
    /// the parameters stay as they are.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// The parameters.
    pub fn parameters(&self) -> &Arena {
        &self.parameters
    }

    /// The parameters, for the optimizer.
    pub fn parameters_mut(&mut self) -> &mut Arena {
        &mut self.parameters
    }

    /// Outputs of a batch. With `keep`, the workspace afterwards holds what [`Model::backward`] needs.
    ///
    /// # Shapes
    /// `B` sequences give `B x output_columns`: raw logits, or embeddings.
    ///
    /// # Panics
    /// When the architecture has no head.
    pub fn forward(
        &self,
        batch: &Batch,
        mode: Mode,
        keep: bool,
        workspace: &mut Workspace,
    ) -> Outputs {
        let stages = &self.architecture.head;
        let readout = Readout::of(&self.architecture.encoder, stages, batch);
        let pass = self.pass(batch, mode, readout.as_ref());
        workspace.kept = keep;
        let Workspace { encoder, head, .. } = workspace;
        // One hand-over to the worker threads for the whole pass, not one for each operation.
        self.device().run(|| {
            let input = match transformer::table(&pass).filter(|_| !keep) {
                Some(table) => head::Input::Table(table),
                None => head::Input::Hidden(transformer::forward(&pass, keep, encoder)),
            };
            let outputs = head::forward(&pass, stages, &self.head, input, head);
            Outputs { rows: outputs.rows(), columns: outputs.columns(), values: outputs.to_vec() }
        })
    }

    /// Adds the gradients of all parameters to `gradients`, given the gradient of the outputs.
    /// `batch` and `mode` are those of the forward pass that filled `workspace` with `keep`.
    ///
    /// # Panics
    /// When the last forward pass on `workspace` did not keep its activations.
    pub fn backward(
        &self,
        d_outputs: &Outputs,
        batch: &Batch,
        mode: Mode,
        workspace: &mut Workspace,
        gradients: &mut Arena,
    ) {
        assert!(workspace.kept, "backward needs a forward pass with keep");
        let stages = &self.architecture.head;
        let readout = Readout::of(&self.architecture.encoder, stages, batch);
        let pass = self.pass(batch, mode, readout.as_ref());
        let Workspace { encoder, head, d, .. } = workspace;
        self.device().run(|| {
            let hidden = transformer::output(&pass, encoder);
            let d_hidden = &mut d.hidden;
            head::backward(&pass, stages, &self.head, d_outputs, hidden, head, d_hidden, gradients);
            transformer::backward(&pass, encoder, d, gradients);
        });
    }

    /// Hidden states after the embeddings and after each block, final norm included in the last, for parity tests.
    pub fn hidden_states(&self, batch: &Batch) -> Vec<Outputs> {
        let pass = self.pass(batch, Mode::Inference, None);
        let mut workspace = Workspace::new(self.device());
        let encoder = &mut workspace.encoder;
        self.device().run(|| {
            transformer::forward(&pass, true, encoder);
            let blocks = self.architecture.encoder.blocks.len();
            let inputs = encoder.hidden[..blocks].iter().map(|buffer| buffer.view());
            let output = transformer::output(&pass, encoder);
            let outputs = |view: View<'_>| Outputs {
                rows: view.rows(),
                columns: view.columns(),
                values: view.to_vec(),
            };
            inputs.chain([output]).map(outputs).collect()
        })
    }

    fn pass<'a>(&'a self, batch: &'a Batch, mode: Mode, readout: Option<&'a Readout>) -> Pass<'a> {
        let Model { architecture, parameters, transformer, precision, .. } = self;
        let (config, precision) = (&architecture.encoder, *precision);
        Pass { config, transformer, parameters, batch, mode, precision, readout }
    }

    fn zeros(device: &Device, architecture: Architecture) -> Model {
        let mut layout = ArenaLayout::new();
        for spec in &architecture.parameters {
            layout.push(&spec.name, spec.rows, spec.columns);
        }
        let transformer = Transformer::new(device, &architecture.encoder, &layout);
        let head = head::parameters(&architecture.head, &layout);
        let parameters = Arena::zeros(device, Arc::new(layout));
        let precision = Precision::Float32;
        Model { architecture, parameters, transformer, head, precision }
    }

    /// Every checkpoint tensor, with its arena matrix and how it starts.
    fn parts(&self) -> impl Iterator<Item = (ParameterId, Initializer, &TensorPart)> {
        self.architecture.parameters.iter().enumerate().flat_map(|(id, spec)| {
            spec.parts.iter().map(move |part| (ParameterId(id), spec.initializer, part))
        })
    }

    /// Draws the parts that `wanted` chooses; each has a random stream of its own, so what one
    /// gets does not depend on the others.
    fn initialize(&mut self, seed: u64, wanted: impl Fn(&TensorPart) -> bool) {
        let draw = |(stream, (id, initializer, part)): (
            usize,
            (ParameterId, Initializer, &TensorPart),
        )| {
            wanted(part).then(|| (id, part.rows.clone(), stream as u64, initializer))
        };
        let draws: Vec<_> = self.parts().enumerate().filter_map(draw).collect();
        for (id, rows, stream, initializer) in draws {
            let mut random = ChaCha12Rng::seed_from_u64(seed);
            random.set_stream(stream);
            let view = self.parameters.view_mut(id).slice_rows(rows);
            let count = view.rows() * view.columns();
            let values: Vec<f32> = (0..count).map(|_| sample(initializer, &mut random)).collect();
            view.write(&values);
        }
    }
}

fn check_shape(part: &TensorPart, name: &str, weights: &Weights) -> Result<(), EncoderError> {
    match weights.shape(name) {
        Some(shape) if shape == part.shape => Ok(()),
        shape => {
            let got = shape.unwrap_or_default();
            let message = format!("tensor {name}: expected shape {:?}, got {got:?}", part.shape);
            Err(EncoderError::File { path: weights.path(name).to_owned(), message })
        }
    }
}

fn sample(initializer: Initializer, random: &mut ChaCha12Rng) -> f32 {
    match initializer {
        Initializer::Zeros => 0.0,
        Initializer::Ones => 1.0,
        Initializer::Normal(deviation) => (normal(random) * f64::from(deviation)) as f32,
        Initializer::TruncatedNormal { deviation, cutoff } => loop {
            let number = normal(random);
            if number.abs() <= f64::from(cutoff) {
                return (number * f64::from(deviation)) as f32;
            }
        },
        Initializer::Uniform(bound) => random.random_range(-bound..bound),
    }
}

/// A standard normal number (Box & Muller 1958).
fn normal(random: &mut ChaCha12Rng) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    // `1 - radius` is in (0, 1], where the logarithm is finite.
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
