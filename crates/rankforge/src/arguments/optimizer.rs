//! The optimizer of a run: its name, and the settings that it reads from `optim_args`.

use crate::arguments::training_arguments::TrainingArguments;
use crate::error::Error;
use rankforge_kernels::ops::UpdateRule;
use serde::{Deserialize, Serialize};

/// The optimizer; names as in transformers, with the settings that its `Trainer` gives. Weight
/// decay and learning rates apply as they do with AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerNames {
    /// AdamW; `adamw_torch` is an alias.
    #[serde(alias = "adamw_torch")]
    AdamwTorchFused,
    /// Stochastic gradient descent: `momentum`, `dampening` and `nesterov` in `optim_args`.
    Sgd,
    /// Adafactor without relative steps and without a momentum: its state is a number for each row
    /// and each column of a matrix.
    Adafactor,
    /// Lion, with `adam_beta1` and `adam_beta2`. Learning rates are a third to a tenth of AdamW's.
    #[serde(rename = "lion_32bit")]
    Lion,
    /// Adagrad: `lr_decay` and `eps` (1e-10) in `optim_args`.
    Adagrad,
    /// RMSprop: `alpha` (0.99), `eps` (1e-8), `momentum` and `centered` in `optim_args`.
    Rmsprop,
}

const F32: &str = "the state of an optimizer is f32; adafactor needs next to none";
const NO_PAGES: &str = "there is no GPU memory to page";
const CPU: &str = "training runs on the CPU";
const NO_RANK: &str = "gradients are not projected to a lower rank; [lora] trains in less memory";
const COMPLETE: &str = "gradients are complete before a step, which their norm is needed for";
const NO_VARIANT: &str = "encoders are not trained with this variant of AdamW";
const SCHEDULE: &str = "lr_scheduler_type decides the learning rate";

/// The optimizers of transformers 5.23 that are refused, by the reason.
const REFUSED: [(&str, &[&str]); 8] = [
    (
        F32,
        &[
            "adamw_torch_4bit",
            "adamw_torch_8bit",
            "adamw_bnb_8bit",
            "adamw_8bit",
            "ademamix_8bit",
            "lion_8bit",
            "paged_adamw_8bit",
            "paged_ademamix_8bit",
            "paged_lion_8bit",
            "rmsprop_bnb_8bit",
        ],
    ),
    (
        "rmsprop has the same formula, with settings of its own",
        &["rmsprop_bnb", "rmsprop_bnb_32bit"],
    ),
    (NO_PAGES, &["paged_adamw_32bit", "paged_ademamix_32bit", "paged_lion_32bit"]),
    (CPU, &["adamw_torch_xla", "adamw_torch_npu_fused"]),
    (
        NO_RANK,
        &[
            "galore_adamw",
            "galore_adamw_8bit",
            "galore_adafactor",
            "galore_adamw_layerwise",
            "galore_adamw_8bit_layerwise",
            "galore_adafactor_layerwise",
            "apollo_adamw",
            "apollo_adamw_layerwise",
        ],
    ),
    (COMPLETE, &["lomo", "adalomo"]),
    (NO_VARIANT, &["adamw_anyprecision", "ademamix", "grokadamw", "stable_adamw"]),
    (SCHEDULE, &["schedule_free_radam", "schedule_free_adamw", "schedule_free_sgd"]),
];

/// The settings of an optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum OptimizerSettings {
    AdamW,
    Adafactor,
    /// An optimizer that treats every element alone.
    Elements {
        rule: UpdateRule,
        /// The learning rate of step `t` is divided by `1 + lr_decay (t - 1)`.
        lr_decay: f64,
    },
}

impl OptimizerSettings {
    /// Numbers of state of a matrix.
    pub(crate) fn state_of(&self, rows: usize, columns: usize) -> usize {
        match self {
            OptimizerSettings::AdamW => 2 * rows * columns,
            OptimizerSettings::Adafactor if rows > 1 => rows + columns,
            OptimizerSettings::Adafactor => columns,
            OptimizerSettings::Elements { rule, .. } => rule.states() * rows * columns,
        }
    }
}

/// What is expected in place of an optimizer that is none of [`OptimizerNames`], and why.
pub(super) fn expected_optimizer(name: &str) -> String {
    let known = "adamw_torch_fused, adamw_torch, sgd, adafactor, lion_32bit, adagrad or rmsprop";
    match REFUSED.iter().find(|(_, names)| names.contains(&name)) {
        Some((reason, _)) => format!("{known}: it is not supported, as {reason}"),
        None => known.to_owned(),
    }
}

impl TrainingArguments {
    /// The settings of the optimizer: what transformers' `Trainer` gives, and `optim_args`.
    ///
    /// # Errors
    /// A part of `optim_args` that is not `name=value`, that the optimizer does not read, or whose
    /// value is impossible.
    pub(crate) fn optimizer(&self) -> Result<OptimizerSettings, Error> {
        let mut given = Given::read(self.optim_args.as_deref().unwrap_or_default())?;
        let mut lr_decay = 0.0;
        let rule = match self.optim {
            OptimizerNames::AdamwTorchFused => {
                given.all_read(
                    "no settings, as AdamW's are adam_beta1, adam_beta2 and adam_epsilon",
                )?;
                return Ok(OptimizerSettings::AdamW);
            }
            OptimizerNames::Adafactor => {
                given.all_read("no settings, as the Trainer gives adafactor none")?;
                return Ok(OptimizerSettings::Adafactor);
            }
            OptimizerNames::Lion => {
                given.all_read("no settings, as Lion's are adam_beta1 and adam_beta2")?;
                UpdateRule::Lion { beta1: self.adam_beta1, beta2: self.adam_beta2 }
            }
            OptimizerNames::Sgd => {
                let momentum = given.number("momentum", 0.0)?;
                let dampening = given.number("dampening", 0.0)?;
                let nesterov = given.flag("nesterov")?;
                given.all_read("momentum, dampening or nesterov, as sgd reads no more")?;
                if nesterov && (momentum == 0.0 || dampening != 0.0) {
                    let expected = "momentum above 0 and no dampening, as torch needs for nesterov";
                    return Err(given.error(expected));
                }
                UpdateRule::Sgd { momentum, dampening, nesterov }
            }
            OptimizerNames::Adagrad => {
                lr_decay = given.number("lr_decay", 0.0)?;
                let epsilon = given.number("eps", 1e-10)?;
                given.all_read("lr_decay or eps, as adagrad reads no more")?;
                UpdateRule::Adagrad { epsilon }
            }
            OptimizerNames::Rmsprop => {
                let alpha = given.number("alpha", 0.99)?;
                let epsilon = given.number("eps", 1e-8)?;
                let momentum = given.number("momentum", 0.0)?;
                let centered = given.flag("centered")?;
                given.all_read("alpha, eps, momentum or centered, as rmsprop reads no more")?;
                if alpha > 1.0 {
                    return Err(given.error("alpha of at most 1"));
                }
                UpdateRule::RmsProp { alpha, epsilon, momentum, centered }
            }
        };
        Ok(OptimizerSettings::Elements { rule, lr_decay })
    }

    /// The arguments of AdamW that the optimizer does not read.
    pub(super) fn without_use(&self) -> &'static [&'static str] {
        match self.optim {
            OptimizerNames::AdamwTorchFused => &[],
            OptimizerNames::Lion => &["adam_epsilon"],
            _ => &["adam_beta1", "adam_beta2", "adam_epsilon"],
        }
    }
}

/// `optim_args`, of which settings are taken out.
struct Given<'a> {
    text: &'a str,
    rest: Vec<(String, String)>,
}

impl Given<'_> {
    /// Reads `name=value,name=value`; spaces do not count.
    fn read(text: &str) -> Result<Given<'_>, Error> {
        let mut given = Given { text, rest: Vec::new() };
        let plain = text.replace(' ', "");
        for part in plain.split(',').filter(|_| !plain.is_empty()) {
            match part.split_once('=') {
                Some((name, value)) if !value.contains('=') => {
                    given.rest.push((name.to_owned(), value.to_owned()));
                }
                _ => return Err(given.error("settings such as momentum=0.9,nesterov=true")),
            }
        }
        Ok(given)
    }

    fn error(&self, expected: impl Into<String>) -> Error {
        Error::argument("optim_args", expected.into(), format!("\"{}\"", self.text))
    }

    /// The value of a setting; the last one where it is given twice, as in Python.
    fn take(&mut self, name: &str) -> Option<String> {
        let value = self.rest.iter().rev().find(|(other, _)| other == name)?.1.clone();
        self.rest.retain(|(other, _)| other != name);
        Some(value)
    }

    fn number(&mut self, name: &str, default: f64) -> Result<f64, Error> {
        let Some(value) = self.take(name) else { return Ok(default) };
        let number = value.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| self.error(format!("a number of at least 0 for {name}")))
    }

    fn flag(&mut self, name: &str) -> Result<bool, Error> {
        match self.take(name).map(|value| value.to_lowercase()).as_deref() {
            None | Some("false" | "0" | "no") => Ok(false),
            Some("true" | "1" | "yes") => Ok(true),
            Some(_) => Err(self.error(format!("true or false for {name}"))),
        }
    }

    /// Refuses what is left: transformers would ignore it.
    fn all_read(&self, known: &str) -> Result<(), Error> {
        let Some((name, _)) = self.rest.first() else { return Ok(()) };
        Err(match name.as_str() {
            "weight_decay" => self.error(
                "no weight_decay, as the argument weight_decay takes its place, in transformers too",
            ),
            _ => self.error(known),
        })
    }
}
