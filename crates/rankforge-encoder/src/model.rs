use crate::{Architecture, Batch, EncoderError, Weights};
use rankforge_kernels::{Arena, Device};
use std::path::Path;

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

/// Activations of one forward pass, reused from batch to batch; stops allocating after the largest.
pub struct Workspace {}

impl Workspace {
    /// An empty workspace on `device`.
    pub fn new(device: &Device) -> Workspace {
        unimplemented!()
    }

    /// Bytes held.
    pub fn capacity_in_bytes(&self) -> usize {
        unimplemented!()
    }
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
}

impl Model {
    /// All parameters fresh, by the initialisers of the architecture.
    pub fn new(device: &Device, architecture: Architecture, seed: u64) -> Model {
        unimplemented!()
    }

    /// Reads the tensors of `module` from `weights`; parameters that are not there stay as they are.
    ///
    /// # Errors
    /// A tensor of another shape than the architecture has (both are printed), or unreadable.
    pub fn load(&mut self, module: &str, weights: &Weights) -> Result<LoadReport, EncoderError> {
        unimplemented!()
    }

    /// Writes the tensors of `module` as f32 safetensors, to a temporary name, then renames.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, module: &str, path: &Path) -> Result<(), EncoderError> {
        unimplemented!()
    }

    /// The device the parameters live on.
    pub fn device(&self) -> &Device {
        self.parameters.device()
    }

    /// The architecture.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
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
    pub fn forward(
        &self,
        batch: &Batch,
        mode: Mode,
        keep: bool,
        workspace: &mut Workspace,
    ) -> Outputs {
        unimplemented!()
    }

    /// Adds the gradients of all parameters to `gradients`, given the gradient of the outputs.
    /// `batch` and `mode` are those of the forward pass that filled `workspace` with `keep`.
    pub fn backward(
        &self,
        d_outputs: &Outputs,
        batch: &Batch,
        mode: Mode,
        workspace: &mut Workspace,
        gradients: &mut Arena,
    ) {
        unimplemented!()
    }

    /// Hidden states after the embeddings and after each block, final norm included in the last, for parity tests.
    pub fn hidden_states(&self, batch: &Batch) -> Vec<Outputs> {
        unimplemented!()
    }
}
