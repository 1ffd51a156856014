//! The optimizers of a run: that of the model, and those of losses that train something besides it:
//! parameters of their own, or a copy of the model.

use crate::arguments::TrainingArguments;
use crate::error::Error;
use crate::losses::{Loss, LossParameter};
use crate::training::model_copy::{ModelCopy, copied};
use crate::training::named_ranges::{NamedRange, named_ranges};
use crate::training::optimizer::Optimizer;
use crate::training::optimizer_file::{Saved, TensorFile, saved, state};
use crate::training::training_set::TrainingSet;
use rankforge_base::FileError;
use rankforge_encoder::Model;
use rankforge_kernels::{Arena, ArenaLayout};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Prefix of the tensor names of the parameters of losses in the optimizer file. Those of the model
/// are in its own file.
const OF_LOSSES: &str = "loss.";

/// The optimizer of the model, and what losses train besides it, with their optimizers.
pub(crate) struct Optimizers {
    model: Optimizer,
    losses: Vec<OwnParameters>,
    /// Which of the losses with parameters a training set has.
    training: Vec<Option<usize>>,
    /// The same of evaluation sets.
    evaluation: Vec<Option<usize>>,
}

/// The parameters of a loss, their gradients, and their optimizer; and its copy of the model.
struct OwnParameters {
    /// The parameters, one after the other.
    values: Vec<f32>,
    /// Sums of gradients, in the same order.
    d_values: Vec<f32>,
    parameters: Arena,
    gradients: Arena,
    optimizer: Optimizer,
    copy: Option<ModelCopy>,
}

/// A loss that trains something besides the model.
struct Found<'a> {
    loss: &'a Arc<dyn Loss>,
    parameters: Vec<LossParameter>,
    set: &'a str,
}

/// What a loss has besides the model: the values of its parameters, mostly none, and its copy of
/// the model.
pub(super) struct Own<'a> {
    pub(super) parameters: &'a [f32],
    pub(super) copy: Option<&'a mut ModelCopy>,
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
        let mut found: Vec<Found<'_>> = Vec::new();
        let mut training = Vec::new();
        for (index, set) in train_sets.iter().enumerate() {
            let shared = |other: &Found<'_>| {
                std::ptr::addr_eq(Arc::as_ptr(other.loss), Arc::as_ptr(&set.loss))
            };
            let seed = arguments.seed.wrapping_add(index as u64);
            let parameters = set.loss.parameters(columns, seed);
            training.push(match found.iter().position(shared) {
                _ if parameters.is_empty() && !set.loss.trains_copy() => None,
                Some(known) => Some(known),
                None => {
                    found.push(Found { loss: &set.loss, parameters, set: &set.name });
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
        for Found { loss, parameters, set } in &found {
            names.extend(parameters.iter().map(|parameter| named(parameter.name, set)));
            if loss.trains_copy() {
                let copied = of_model.iter().map(|tensor| named(&copied(&tensor.name), set));
                names.extend(copied);
            }
        }
        let losses = found.iter().map(|Found { loss, parameters, set }| {
            let named = |name: &str| named(name, set);
            let mut own = OwnParameters::new(model, parameters, named, &names, arguments)?;
            if loss.trains_copy() {
                let named = |name: &str| named(&copied(name));
                own.copy = Some(ModelCopy::new(model, named, &names, arguments)?);
            }
            Ok(own)
        });
        let losses = losses.collect::<Result<_, Error>>()?;
        let layout = model.trainable_layout();
        let model = Optimizer::new(model.device(), &layout, of_model, &names, arguments)?;
        Ok(Optimizers { model, losses, training, evaluation })
    }

    /// What the loss of a training set trains besides the model.
    pub(super) fn of_training(&mut self, set: usize) -> Own<'_> {
        self.own(self.training[set])
    }

    /// What the loss of an evaluation set has besides the model.
    pub(super) fn of_evaluation(&mut self, set: usize) -> Own<'_> {
        self.own(self.evaluation[set])
    }

    fn own(&mut self, index: Option<usize>) -> Own<'_> {
        match index {
            None => Own { parameters: &[], copy: None },
            Some(index) => {
                let OwnParameters { values, copy, .. } = &mut self.losses[index];
                Own { parameters: values, copy: copy.as_mut() }
            }
        }
    }

    /// Adds `scale` times the gradient of the parameters of the loss of a training set.
    pub(super) fn add_gradients(&mut self, set: usize, d_parameters: &[f32], scale: f32) {
        let Some(index) = self.training[set] else { return };
        let sums = &mut self.losses[index].d_values;
        assert_eq!(d_parameters.len(), sums.len(), "gradient of the parameters of a loss");
        sums.iter_mut().zip(d_parameters).for_each(|(sum, gradient)| *sum += scale * gradient);
    }

    /// Whether the gradients of what losses train are finite.
    pub(super) fn gradients_are_finite(&self) -> bool {
        self.losses.iter().all(|loss| {
            let finite = loss.d_values.iter().all(|gradient| gradient.is_finite());
            finite && loss.copy.as_ref().is_none_or(ModelCopy::gradients_are_finite)
        })
    }

    /// Resets the gradients of what losses train.
    pub(super) fn clear_gradients(&mut self) {
        for loss in &mut self.losses {
            loss.d_values.fill(0.0);
            if let Some(copy) = &mut loss.copy {
                copy.clear_gradients();
            }
        }
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
            if let Some(copy) = &mut loss.copy {
                copy.step(step, factor, (1.0 / loss_scale) as f32);
            }
        }
        self.clear_gradients();
    }

    /// Writes the state under the names of the parameters, and the parameters of losses.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn save(&self, path: &Path) -> Result<(), Error> {
        let mut tensors: Vec<(String, Saved<'_>)> = state(&self.model).collect();
        for loss in &self.losses {
            tensors.extend(state(&loss.optimizer));
            tensors.extend(saved(OF_LOSSES, &loss.parameters, loss.optimizer.tensors()));
            if let Some(copy) = &loss.copy {
                tensors.extend(state(&copy.optimizer));
                tensors.extend(saved(OF_LOSSES, copy.model.parameters(), &copy.places));
            }
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
        let of_loss = |loss: &OwnParameters| {
            let own = loss.optimizer.tensors().len() + state(&loss.optimizer).count();
            let copy = loss.copy.as_ref();
            own + copy.map_or(0, |copy| copy.places.len() + state(&copy.optimizer).count())
        };
        let of_losses: usize = self.losses.iter().map(of_loss).sum();
        let expected = state(&self.model).count() + of_losses;
        if tensors.len() != expected {
            let message = format!("expected {expected} tensors, got {}", tensors.len());
            return Err(FileError::content(path, message).into());
        }
        let file = TensorFile { path, tensors };
        file.read_state(&mut self.model)?;
        for loss in &mut self.losses {
            file.read_state(&mut loss.optimizer)?;
            file.read(OF_LOSSES, loss.optimizer.tensors(), &mut loss.parameters)?;
            loss.values = loss.parameters.flat().to_vec();
            if let Some(copy) = &mut loss.copy {
                file.read_state(&mut copy.optimizer)?;
                file.read(OF_LOSSES, &copy.places, copy.model.parameters_mut())?;
            }
        }
        Ok(())
    }
}

/// The settings of the loss of a set, but for the size of chunks, which changes no number.
fn settings(set: &TrainingSet) -> Value {
    let mut config = set.loss.config();
    if let Value::Object(settings) = &mut config {
        settings.remove("mini_batch_size");
        settings.remove("mini_batch_num_tokens");
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
        if set.loss.parameters(columns, 0).is_empty() && !set.loss.trains_copy() {
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
            copy: None,
        })
    }
}
