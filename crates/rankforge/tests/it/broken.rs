//! A loss and a model that fail at a given call.

use crate::testing::loss;
use rankforge::Error;
use rankforge::base::FileError;
use rankforge::encoder::{CrossEncoder, EncoderError, ModelKind, Parts, Score, TextModel};
use rankforge::losses::{Draw, Examples, Loss, LossBatch, LossOutput, Plan};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A model that cannot be saved from the `failing`-th time on, as on a full disk.
pub(crate) struct FullDisk {
    pub(crate) inner: CrossEncoder,
    pub(crate) failing: usize,
    pub(crate) saved: AtomicUsize,
}

impl TextModel for FullDisk {
    fn parts(&self) -> &Parts {
        self.inner.parts()
    }

    fn parts_mut(&mut self) -> &mut Parts {
        self.inner.parts_mut()
    }

    fn kind(&self) -> ModelKind {
        self.inner.kind()
    }

    fn config_fields(&self) -> Vec<(&'static str, Value)> {
        self.inner.config_fields()
    }

    fn as_score(&self) -> Option<&dyn Score> {
        self.inner.as_score()
    }

    fn save_files(&self, directory: &Path, card: Option<&str>) -> Result<(), EncoderError> {
        self.inner.save_files(directory, card)?;
        if self.saved.fetch_add(1, Ordering::Relaxed) + 1 < self.failing {
            return Ok(());
        }
        let source = std::io::ErrorKind::StorageFull.into();
        Err(FileError::io(directory)(source).into())
    }
}

/// A loss that is NaN in the batches `failing`, counted from 1. With `without_gradient`, its
/// gradient is zero.
struct Broken {
    inner: Arc<dyn Loss>,
    failing: Range<usize>,
    computed: AtomicUsize,
    without_gradient: bool,
}

impl Loss for Broken {
    fn name(&self) -> &'static str {
        "BrokenLoss"
    }

    fn config(&self) -> Value {
        json!({})
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        self.inner.check_model(kind, output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        self.inner.plan(examples, draw)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let mut output = self.inner.compute(batch);
        if self.failing.contains(&(self.computed.fetch_add(1, Ordering::Relaxed) + 1)) {
            output.value = f64::NAN;
        }
        if self.without_gradient {
            output.d_outputs.values.fill(0.0);
        }
        output
    }
}

/// Binary cross-entropy that is NaN in the batches `failing`, or has a zero gradient.
pub(crate) fn broken(failing: Range<usize>, without_gradient: bool) -> Arc<dyn Loss> {
    let inner = loss("BinaryCrossEntropyLoss", json!({}));
    Arc::new(Broken { inner, failing, computed: AtomicUsize::new(0), without_gradient })
}
