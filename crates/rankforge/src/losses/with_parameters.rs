use crate::error::Error;
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, LossParameter, Plan, pass_on};
use crate::losses::nesting::Nesting;
use rankforge_encoder::ModelKind;
use serde_json::Value;

/// A loss with values of its own parameters, for what computes losses without knowing of them, such
/// as [`GradientCache`](crate::training::GradientCache).
pub struct WithParameters<'a> {
    /// The loss.
    pub loss: &'a dyn Loss,
    /// The values, in the order of [`Loss::parameters`].
    pub parameters: &'a [f32],
}

impl WithParameters<'_> {
    fn batch<'a>(&'a self, batch: &LossBatch<'a>) -> LossBatch<'a> {
        LossBatch { parameters: self.parameters, ..*batch }
    }
}

impl Loss for WithParameters<'_> {
    fn config(&self) -> Value {
        self.loss.config()
    }

    fn mini_batch_size(&self) -> Option<usize> {
        self.loss.mini_batch_size()
    }

    fn mini_batch_num_tokens(&self) -> Option<usize> {
        self.loss.mini_batch_num_tokens()
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        self.loss.compute(&self.batch(batch))
    }

    fn compute_nested(&self, batch: &LossBatch<'_>, nestings: &[Nesting]) -> LossOutput {
        self.loss.compute_nested(&self.batch(batch), nestings)
    }

    pass_on!(@but_compute this => this.loss);
}
