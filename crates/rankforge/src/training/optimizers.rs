//! The optimizers of a run: that of the model, and those of losses with parameters of their own.

use crate::arguments::TrainingArguments;
use crate::error::Error;
use crate::losses::{Loss, LossParameter};
use crate::training::optimizer::{NamedRange, Optimizer, named_ranges};
use crate::training::training_set::TrainingSet;
use rankforge_base::FileError;
use rankforge_encoder::Model;
use rankforge_kernels::{Arena, ArenaLayout, View};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Prefixes of the tensor names of first and second moments in the optimizer file.
const MOMENTS: [&str; 2] = ["exp_avg.", "exp_avg_sq."];

/// Prefix of the tensor names of the parameters of losses in the optimizer file. Those of the model
/// are in its own file.
const OF_LOSSES: &str = "loss.";

/// The optimizer of the model, and the parameters of losses with theirs.
pub(crate) struct Optimizers {
    model: Optimizer,
    losses: Vec<OwnParameters>,
    /// Which of the losses with parameters a training set has.
    training: Vec<Option<usize>>,
    /// The same of evaluation sets.
    evaluation: Vec<Option<usize>>,
}

/// The parameters of a loss, their gradients, and their optimizer.
struct OwnParameters {
    /// The parameters, one after the other.
    values: Vec<f32>,
    /// Sums of gradients, in the same order.
    d_values: Vec<f32>,
    parameters: Arena,
    gradients: Arena,
    optimizer: Optimizer,
}

/// How the parameters are updated in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    /// The number of the step, from 1.
    pub(super) step: u64,
    /// The factor of the schedule on all learning rates.
    pub(super) factor: f64,
    /// The factor that clips the gradients of the model; those of losses are not clipped, as in
    /// sentence-transformers.
    pub(super) clip: f64,
    /// The factor that is in all gradients.
    pub(super) loss_scale: f64,
}

impl Optimizers {
    /// Optimizers with zero moments for every trained parameter of `model` and the parameters of
    /// all losses. Training sets have one loss if they share it (`Arc`). An evaluation set takes
    /// the loss of the training set of its name, or else the first one of the same settings.
    ///
    /// # Errors
    /// A pattern of `learning_rate_mapping` that is not a regular expression or matches no
    /// parameter; an evaluation set whose loss has parameters that no training set trains.
    pub(super) fn new(
        model: &Model,
        train_sets: &[TrainingSet],
        eval_sets: &[TrainingSet],
        arguments: &TrainingArguments,
    ) -> Result<Optimizers, Error> {
        let columns = model.architecture().output_columns();
        let mut found: Vec<(Arc<dyn Loss>, Vec<LossParameter>, &str)> = Vec::new();
        let mut training = Vec::new();
        for (index, set) in train_sets.iter().enumerate() {
            let shared = |(loss, ..): &(Arc<dyn Loss>, _, _)| {
                std::ptr::addr_eq(Arc::as_ptr(loss), Arc::as_ptr(&set.loss))
            };
            let seed = arguments.seed.wrapping_add(index as u64);
            let parameters = set.loss.parameters(columns, seed);
            training.push(match found.iter().position(shared) {
                _ if parameters.is_empty() => None,
                Some(known) => Some(known),
                None => {
                    found.push((set.loss.clone(), parameters, &set.name));
                    Some(found.len() - 1)
                }
            });
        }
        let evaluation = evaluated(train_sets, &training, eval_sets, columns)?;
        let several = found.len() > 1;
        let named = |name: &str, set: &str| match several {
            true => format!("{set}.{name}"),
            false => name.to_owned(),
        };
        let of_model = named_ranges(model);
        let mut names: Vec<String> = of_model.iter().map(|tensor| tensor.name.clone()).collect();
        let of_losses = found.iter().flat_map(|(_, parameters, set)| {
            parameters.iter().map(|parameter| named(parameter.name, set))
        });
        names.extend(of_losses);
        let losses = found.iter().map(|(_, parameters, set)| {
            let named = |name: &str| named(name, set);
            OwnParameters::new(model, parameters, named, &names, arguments)
        });
        let losses = losses.collect::<Result<_, _>>()?;
        let layout = model.trainable_layout();
        let model = Optimizer::new(model.device(), &layout, of_model, &names, arguments)?;
        Ok(Optimizers { model, losses, training, evaluation })
    }

    /// The parameters of the loss of a training set; mostly none.
    pub(super) fn of_training(&self, set: usize) -> &[f32] {
        self.training[set].map_or(&[], |index| &self.losses[index].values)
    }

    /// The parameters of the loss of an evaluation set; mostly none.
    pub(super) fn of_evaluation(&self, set: usize) -> &[f32] {
        self.evaluation[set].map_or(&[], |index| &self.losses[index].values)
    }

    /// Adds `scale` times the gradient of the parameters of the loss of a training set.
    pub(super) fn add_gradients(&mut self, set: usize, d_parameters: &[f32], scale: f32) {
        let Some(index) = self.training[set] else { return };
        let sums = &mut self.losses[index].d_values;
        assert_eq!(d_parameters.len(), sums.len(), "gradient of the parameters of a loss");
        sums.iter_mut().zip(d_parameters).for_each(|(sum, gradient)| *sum += scale * gradient);
    }

    /// Whether the gradients of the parameters of losses are finite.
    pub(super) fn gradients_are_finite(&self) -> bool {
        self.losses.iter().flat_map(|loss| &loss.d_values).all(|gradient| gradient.is_finite())
    }

    /// Resets the gradients of the parameters of losses.
    pub(super) fn clear_gradients(&mut self) {
        self.losses.iter_mut().for_each(|loss| loss.d_values.fill(0.0));
    }

    /// Updates all trained parameters and resets the gradients.
    pub(super) fn step(&mut self, gradients: &mut Arena, parameters: &mut Arena, update: Update) {
        let Update { step, factor, clip, loss_scale } = update;
        self.model.step(gradients, parameters, step, factor, (clip / loss_scale) as f32);
        for loss in &mut self.losses {
            loss.gradients.flat_mut().write(&loss.d_values);
            let OwnParameters { optimizer, gradients, parameters, .. } = loss;
            optimizer.step(gradients, parameters, step, factor, (1.0 / loss_scale) as f32);
            loss.values = loss.parameters.flat().to_vec();
        }
        self.clear_gradients();
    }

    /// Writes all moments under the names of the parameters, and the parameters of losses.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn save(&self, path: &Path) -> Result<(), Error> {
        let mut tensors: Vec<(String, Saved<'_>)> = moments(&self.model).collect();
        for loss in &self.losses {
            tensors.extend(moments(&loss.optimizer));
            tensors.extend(saved(OF_LOSSES, &loss.parameters, loss.optimizer.tensors()));
        }
        safetensors::serialize_to_file(tensors, None, path).map_err(|error| match error {
            safetensors::SafeTensorError::IoError(source) => FileError::io(path)(source).into(),
            other => FileError::content(path, other.to_string()).into(),
        })
    }

    /// Reads a file that [`Optimizers::save`] wrote.
    ///
    /// # Errors
    /// A missing or malformed file, or tensors that do not match the trained parameters.
    pub(super) fn load(&mut self, path: &Path) -> Result<(), Error> {
        let bytes = std::fs::read(path).map_err(FileError::io(path))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| {
            FileError::content(path, format!("not a safetensors file: {error}"))
        })?;
        let of_losses: usize = self.losses.iter().map(|loss| loss.optimizer.tensors().len()).sum();
        let expected = MOMENTS.len() * self.model.tensors().len() + 3 * of_losses;
        if tensors.len() != expected {
            let message = format!("expected {expected} tensors, got {}", tensors.len());
            return Err(FileError::content(path, message).into());
        }
        let file = TensorFile { path, tensors };
        file.read_moments(&mut self.model)?;
        for loss in &mut self.losses {
            file.read_moments(&mut loss.optimizer)?;
            file.read(OF_LOSSES, loss.optimizer.tensors(), &mut loss.parameters)?;
            loss.values = loss.parameters.flat().to_vec();
        }
        Ok(())
    }
}

/// The settings of the loss of a set, but for the size of chunks, which changes no number.
fn settings(set: &TrainingSet) -> Value {
    let mut config = set.loss.config();
    if let Value::Object(settings) = &mut config {
        settings.remove("mini_batch_size");
    }
    config
}

/// Which of the losses with parameters each evaluation set has.
///
/// # Errors
/// None that is trained.
fn evaluated(
    train_sets: &[TrainingSet],
    training: &[Option<usize>],
    eval_sets: &[TrainingSet],
    columns: usize,
) -> Result<Vec<Option<usize>>, Error> {
    let of_set = |set: &TrainingSet| {
        if set.loss.parameters(columns, 0).is_empty() {
            return Ok(None);
        }
        let same = |other: &TrainingSet| {
            other.loss.name() == set.loss.name() && settings(other) == settings(set)
        };
        let named = |other: &TrainingSet| other.name == set.name && same(other);
        let index = train_sets.iter().position(named).or(train_sets.iter().position(same));
        index.map(|index| training[index]).ok_or_else(|| {
            let expected = "a loss with parameters that a training set trains, with its settings";
            let got = format!("{} {}", set.loss.name(), set.loss.config());
            Error::argument(set.role("loss of the evaluation data"), expected, got)
        })
    };
    eval_sets.iter().map(of_set).collect()
}

impl OwnParameters {
    /// Parameters with their initial values. `named` completes their names; `names` are those of
    /// all parameters.
    fn new(
        model: &Model,
        parameters: &[LossParameter],
        named: impl Fn(&str) -> String,
        names: &[String],
        arguments: &TrainingArguments,
    ) -> Result<OwnParameters, Error> {
        let (mut layout, mut tensors, mut values) = (ArenaLayout::new(), Vec::new(), Vec::new());
        for LossParameter { name, rows, columns, values: own } in parameters {
            assert_eq!(own.len(), rows * columns, "values of {name}, {rows} x {columns}");
            let name = named(name);
            let shape = if *rows == 1 { vec![*columns] } else { vec![*rows, *columns] };
            let range = values.len()..values.len() + own.len();
            layout.push(name.clone(), *rows, *columns);
            tensors.push(NamedRange { name, shape, parameters: range.start, range });
            values.extend(own);
        }
        let (device, layout) = (model.device(), Arc::new(layout));
        let mut arena = Arena::zeros(device, layout.clone());
        arena.flat_mut().write(&values);
        Ok(OwnParameters {
            d_values: vec![0.0; values.len()],
            values,
            parameters: arena,
            gradients: Arena::zeros(device, layout.clone()),
            optimizer: Optimizer::new(device, &layout, tensors, names, arguments)?,
        })
    }
}

/// The moments of an optimizer, under their names.
fn moments(optimizer: &Optimizer) -> impl Iterator<Item = (String, Saved<'_>)> {
    let arenas = MOMENTS.iter().zip(optimizer.moments());
    arenas.flat_map(|(prefix, arena)| saved(prefix, arena, optimizer.tensors()))
}

/// The tensors of an arena under names with a prefix.
fn saved<'a>(
    prefix: &str,
    arena: &'a Arena,
    tensors: &'a [NamedRange],
) -> impl Iterator<Item = (String, Saved<'a>)> {
    tensors.iter().map(move |tensor| (format!("{prefix}{}", tensor.name), Saved { arena, tensor }))
}

/// One tensor of an arena, converted to bytes only when it is written, to save memory.
struct Saved<'a> {
    arena: &'a Arena,
    tensor: &'a NamedRange,
}

impl safetensors::View for Saved<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = part(self.arena.flat(), self.tensor.range.clone()).to_vec();
        Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        self.tensor.range.len() * size_of::<f32>()
    }
}

/// A range of an arena's elements as a column vector.
fn part(flat: View<'_>, range: Range<usize>) -> View<'_> {
    flat.with_shape(flat.columns(), 1).slice_rows(range)
}

/// An optimizer file that is read.
struct TensorFile<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl TensorFile<'_> {
    fn read_moments(&self, optimizer: &mut Optimizer) -> Result<(), Error> {
        let tensors = optimizer.tensors().to_vec();
        let arenas = MOMENTS.iter().zip(optimizer.moments_mut());
        arenas.into_iter().try_for_each(|(prefix, arena)| self.read(prefix, &tensors, arena))
    }

    /// Reads tensors, whose names have a prefix in the file, into their places in an arena.
    fn read(&self, prefix: &str, tensors: &[NamedRange], arena: &mut Arena) -> Result<(), Error> {
        let error = |message: String| FileError::content(self.path, message);
        let length = arena.layout().len();
        for NamedRange { name, shape, range, .. } in tensors {
            let tensor = self
                .tensors
                .tensor(&format!("{prefix}{name}"))
                .map_err(|found| error(format!("tensor `{prefix}{name}`: {found}")))?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
                return Err(error(format!(
                    "tensor `{prefix}{name}`: expected F32 {shape:?}, got {} {:?}",
                    tensor.dtype(),
                    tensor.shape()
                ))
                .into());
            }
            let numbers = tensor.data().as_chunks::<4>().0.iter();
            let values: Vec<f32> = numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let target = arena.flat_mut().with_shape(length, 1);
            target.slice_rows(range.clone()).write(&values);
        }
        Ok(())
    }
}
