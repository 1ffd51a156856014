//! The optimizer of a run, with the settings that it reads from `optim_args`.

use crate::arguments::optimizer_names::OptimizerNames;
use crate::arguments::training_arguments::TrainingArguments;
use crate::error::Error;
use rankforge_kernels::ops::UpdateRule;

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
                "no weight_decay, as the argument weight_decay takes its place, as it does in \
                 transformers",
            ),
            _ => self.error(known),
        })
    }
}
