use crate::error::Error;
use serde::{Deserialize, Serialize};

/// Below this scale a smaller one does not help: the gradients themselves are out of range of fp16,
/// or NaN. The value is that of fairseq's `--min-loss-scale`.
const SMALLEST_SCALE: f32 = 1e-4;

/// The dynamic loss scale of fp16 training: gradients are those of `scale * loss`, so that small
/// ones do not round to zero, and are divided by `scale` before they are used.
///
/// Rules and defaults are those of `torch.amp.GradScaler` as accelerate creates it; the names in
/// `scaler.json` are those of its `state_dict`. Neither AdamW nor the schedule counts a skipped
/// step, as with the Trainer's `adamw_torch`; with its fused AdamW the schedule would count it.
///
/// # Paper
/// Micikevicius et al. 2018, "Mixed Precision Training", arXiv:1710.03740.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScaler {
    /// The factor on the loss.
    pub scale: f32,
    /// The factor by which it grows.
    pub growth_factor: f32,
    /// The factor by which it shrinks when gradients are not finite.
    pub backoff_factor: f32,
    /// Number of consecutive steps with finite gradients after which it grows.
    pub growth_interval: u64,
    /// Number of steps with finite gradients since it last changed.
    #[serde(rename = "_growth_tracker")]
    pub growth_tracker: u64,
}

impl Default for LossScaler {
    fn default() -> LossScaler {
        LossScaler {
            scale: 65536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            growth_tracker: 0,
        }
    }
}

impl LossScaler {
    /// Checks that the scale is a positive number, and that it can grow and shrink.
    ///
    /// # Errors
    /// The first unusable setting.
    pub fn validate(&self) -> Result<(), Error> {
        let LossScaler { scale, growth_factor, backoff_factor, .. } = *self;
        let settings = [
            ("scale", scale, scale.is_finite() && scale > 0.0, "a number above 0"),
            (
                "growth_factor",
                growth_factor,
                growth_factor.is_finite() && growth_factor > 1.0,
                "a number above 1",
            ),
            (
                "backoff_factor",
                backoff_factor,
                backoff_factor > 0.0 && backoff_factor < 1.0,
                "between 0 and 1",
            ),
            ("growth_interval", self.growth_interval as f32, self.growth_interval > 0, "above 0"),
        ];
        match settings.into_iter().find(|(_, _, possible, _)| !possible) {
            None => Ok(()),
            Some((field, value, _, expected)) => Err(Error::Argument {
                field: format!("loss_scaler.{field}"),
                expected: expected.to_owned(),
                got: value.to_string(),
            }),
        }
    }

    /// Adjusts the scale after a step: shrinks it when the gradients were not finite, and grows it
    /// after enough steps with finite gradients.
    pub fn update(&mut self, finite: bool) {
        if !finite {
            self.scale *= self.backoff_factor;
            self.growth_tracker = 0;
            return;
        }
        self.growth_tracker += 1;
        if self.growth_tracker == self.growth_interval {
            let grown = self.scale * self.growth_factor;
            if grown.is_finite() {
                self.scale = grown;
            }
            self.growth_tracker = 0;
        }
    }

    /// Whether the scale is so small that shrinking it further does not help.
    pub fn is_exhausted(&self) -> bool {
        self.scale < SMALLEST_SCALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scale and tracker after each step of `steps`, in which `x` is one that overflows.
    fn trace(scale: f32, growth_interval: u64, steps: &str) -> Vec<(f32, u64)> {
        let mut scaler = LossScaler { scale, growth_interval, ..LossScaler::default() };
        let after = |step| {
            scaler.update(step != 'x');
            (scaler.scale, scaler.growth_tracker)
        };
        steps.chars().map(after).collect()
    }

    /// The golden sequences are `torch._amp_update_scale_` of torch 2.15 on the same steps.
    #[test]
    fn the_scale_moves_as_that_of_torch() {
        let expected = [
            (65536.0, 1),
            (65536.0, 2),
            (131072.0, 0),
            (65536.0, 0),
            (65536.0, 1),
            (65536.0, 2),
            (32768.0, 0),
            (16384.0, 0),
            (16384.0, 1),
            (16384.0, 2),
            (32768.0, 0),
            (32768.0, 1),
            (32768.0, 2),
            (65536.0, 0),
            (65536.0, 1),
        ];
        // The seventh overflows on the step it would have grown in.
        assert_eq!(trace(65536.0, 3, "...x..xx......."), expected);
        assert_eq!(trace(1.0, 2000, "xxx"), [(0.5, 0), (0.25, 0), (0.125, 0)]);
    }

    #[test]
    fn a_scale_never_grows_to_infinity() {
        let (top, half) = (2f32.powi(127), 2f32.powi(126));
        let expected = [(top, 1), (top, 0), (top, 1), (top, 0), (half, 0), (half, 1), (top, 0)];
        assert_eq!(trace(top, 2, "....x.."), expected);
    }

    #[test]
    fn thirty_overflows_in_a_row_exhaust_the_first_scale() {
        let mut scaler = LossScaler::default();
        let steps = std::iter::repeat_with(|| {
            scaler.update(false);
            scaler.is_exhausted()
        });
        assert_eq!(steps.take_while(|exhausted| !exhausted).count(), 29);
    }

    #[test]
    fn impossible_settings_are_named() {
        let default = LossScaler::default();
        assert!(default.validate().is_ok());
        for (field, scaler) in [
            ("scale", LossScaler { scale: f32::INFINITY, ..default.clone() }),
            ("growth_factor", LossScaler { growth_factor: 1.0, ..default.clone() }),
            ("backoff_factor", LossScaler { backoff_factor: 1.0, ..default.clone() }),
            ("growth_interval", LossScaler { growth_interval: 0, ..default.clone() }),
        ] {
            let message = scaler.validate().unwrap_err().to_string();
            assert!(message.contains(&format!("loss_scaler.{field}")), "{message}");
        }
    }

    #[test]
    fn the_file_has_the_names_of_torch() {
        let text = serde_json::to_value(LossScaler::default()).unwrap();
        let names = ["scale", "growth_factor", "backoff_factor", "growth_interval"];
        assert!(names.iter().all(|name| text.get(name).is_some()), "{text}");
        assert_eq!(text["_growth_tracker"], 0);
    }
}
