use crate::adapter::AdapterSettings;
use crate::architecture::{Architecture, Initializer, TensorPart};
use crate::batch::Batch;
use crate::checkpoint::{LoadReport, ModuleTensors};
use crate::error::EncoderError;
use crate::head::{self, HeadBackward, PoolSource, Pooled};
use crate::initialization::{initialize, parts};
use crate::lora::{AdapterTensors, LoraConfig};
use crate::memory::check_memory;
use crate::mode::Mode;
use crate::options::LoadOptions;
use crate::outputs::Outputs;
use crate::packed_weights::{PackedWeights, Packing};
use crate::pass::{Pass, Readout};
use crate::stage_parameters::{StageParameters, stage_parameters};
use crate::transformer;
use crate::transformer_layers::TransformerLayers;
use crate::weights::Weights;
use crate::workspace::{Workspace, numbers_per_token};
use rankforge_kernels::{Arena, ArenaLayout, Device, ParameterId, Precision, View};
use std::collections::HashSet;
use std::sync::Arc;

mod adapters;
mod fewer_layers;
mod layers;
mod packing;
mod saving;

/// An architecture with its parameters.
#[derive(Clone)]
pub struct Model {
    architecture: Architecture,
    parameters: Arena,
    transformer: TransformerLayers,
    head: Vec<StageParameters>,
    precision: Precision,
    /// Weights of linear layers in `precision`; the arena may then lack their matrices.
    packed: Option<PackedWeights>,
    /// The parameters that are trained: the layout of gradients and moments.
    trainable: Arc<ArenaLayout>,
    /// The adapters, where there are any.
    lora: Option<LoraConfig>,
}

impl Model {
    /// A model with newly initialised parameters; `seed` determines them.
    pub fn new(device: &Device, architecture: Architecture, seed: u64) -> Model {
        let mut model = Model::zeros(device, architecture, None);
        initialize(&model.architecture.parameters, &mut model.parameters, seed, |_| true);
        model
    }

    /// A model with the parameters in the checkpoints of `modules`, given by name, and newly
    /// initialised ones for the rest: the same as [`Model::new`] and then [`Model::load`], without
    /// sampling values that would be overwritten. One report for each module, in their order.
    ///
    /// # Errors
    /// As [`Model::load`], or a model for which there is no memory.
    pub fn from_weights(
        device: &Device,
        architecture: Architecture,
        seed: u64,
        modules: &[(&str, &Weights)],
    ) -> Result<(Model, Vec<LoadReport>), EncoderError> {
        let packing = Packing::None;
        let options = LoadOptions { seed, packing, ..LoadOptions::new(device) };
        Model::open(architecture, modules, &options)
    }

    /// [`Model::from_weights`] with a precision and packed weights.
    ///
    /// # Errors
    /// As [`Model::from_weights`], or a device that cannot be opened.
    pub(crate) fn open(
        architecture: Architecture,
        modules: &[(&str, &Weights)],
        options: &LoadOptions,
    ) -> Result<(Model, Vec<LoadReport>), EncoderError> {
        Model::open_merged(architecture, modules, None, options)
    }

    /// [`Model::open`] with an adapter, which is merged into the weights of the transformer.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub(crate) fn open_merged(
        architecture: Architecture,
        modules: &[(&str, &Weights)],
        adapter: Option<&AdapterTensors<'_>>,
        options: &LoadOptions,
    ) -> Result<(Model, Vec<LoadReport>), EncoderError> {
        // All shapes are compared before memory is taken for the sizes that a config gives.
        let mut found = Vec::new();
        for &(module, weights) in modules {
            let mut tensors = ModuleTensors::find(&architecture, module, weights)?;
            if let Some(adapter) = adapter.filter(|_| module.is_empty()) {
                tensors.report.missing.retain(|name| !adapter.replaces(name));
            }
            found.push(tensors);
        }
        check_memory(&architecture)?;
        let mut model = Model::zeros(&options.device()?, architecture, None);
        model.precision = options.precision;
        let mut missing: HashSet<(&str, &str)> = HashSet::new();
        for ((module, _), tensors) in modules.iter().zip(&found) {
            missing.extend(tensors.report.missing.iter().map(|name| (*module, name.as_str())));
        }
        let is_new = |part: &TensorPart| {
            let given = modules.iter().any(|(module, _)| *module == part.module);
            !given || missing.contains(&(part.module.as_str(), part.name.as_str()))
        };
        model.fill(options.packing, |specs, parameters| {
            found.iter().try_for_each(|tensors| tensors.read(parameters))?;
            initialize(specs, parameters, options.seed, is_new);
            adapter.map_or(Ok(()), |adapter| adapter.apply(parameters))
        })?;
        Ok((model, found.into_iter().map(|tensors| tensors.report).collect()))
    }

    /// Reads the tensors of `module` from `weights`, with or without the family's prefix and the
    /// parts of PyTorch's wrappers (`_orig_mod`, `module`) in their names. Parameters that are not
    /// in there keep their values.
    ///
    /// # Errors
    /// A tensor that cannot be read, or whose type or shape is not that of the architecture; the
    /// error names both shapes. All of them are checked before the first is read. A model without
    /// matrices ([`Packing::Instead`]) is refused.
    pub fn load(&mut self, module: &str, weights: &Weights) -> Result<LoadReport, EncoderError> {
        self.expect_matrices()?;
        let tensors = ModuleTensors::find(&self.architecture, module, weights)?;
        tensors.read(self.parameters_mut())?;
        Ok(tensors.report)
    }

    /// Reads tensors that were found for this architecture.
    ///
    /// # Errors
    /// When their file cannot be read, or the model has no matrices.
    pub(crate) fn read(&mut self, tensors: &ModuleTensors<'_>) -> Result<(), EncoderError> {
        self.expect_matrices()?;
        tensors.read(self.parameters_mut())
    }

    /// The device of the parameters.
    pub fn device(&self) -> &Device {
        self.parameters.device()
    }

    /// The architecture.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// How the operands of linear layers and attention are rounded.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Numbers that a forward and a backward pass hold for each token, at most: activations and
    /// their gradients, without those of the head. `recompute` is that of
    /// [`Workspace::with_recomputation`], `layers` the number of [`Batch::layers`].
    pub fn activations_per_token(&self, recompute: bool, layers: usize) -> usize {
        let encoder = &self.architecture.encoder;
        // The gradients of each layer, and the outputs of the last block for all tokens.
        let beside = if layers > 0 { layers + 1 } else { 0 };
        numbers_per_token(encoder, recompute) + beside * encoder.hidden_size
    }

    /// Sets how the operands of linear layers and attention are rounded, from the next pass on. The
    /// parameters stay in f32. Weights that were packed in another precision are so no more.
    ///
    /// # Panics
    /// When they were packed in place of their matrices ([`Packing::Instead`]).
    pub fn set_precision(&mut self, precision: Precision) {
        if precision != self.precision && self.packed.take().is_some() {
            assert!(self.has_matrices(), "weights packed in {}, not {precision}", self.precision);
        }
        self.precision = precision;
    }

    /// The parameters.
    pub fn parameters(&self) -> &Arena {
        &self.parameters
    }

    /// The layout of gradients and moments: it holds the parameters that are trained.
    pub fn trainable_layout(&self) -> Arc<ArenaLayout> {
        self.trainable.clone()
    }

    /// Chooses the parameters that are trained, by their tensor names: that in the safetensors file
    /// of the module, after the module and a point where it is not the transformer
    /// (`bert.embeddings.word_embeddings.weight`, `2_Dense.linear.weight`). The others are frozen:
    /// they have no gradient, and a backward pass ends below the lowest that is trained.
    ///
    /// # Errors
    /// When only some of the tensors are chosen that are one matrix here, such as queries, keys and
    /// values of an attention layer, or none at all; or a model without matrices
    /// ([`Packing::Instead`]).
    pub fn set_trainable(&mut self, trained: impl Fn(&str) -> bool) -> Result<(), EncoderError> {
        self.train_parts(|part| trained(&part.full_name()))
    }

    /// [`Model::set_trainable`] by the tensors themselves.
    fn train_parts(&mut self, trained: impl Fn(&TensorPart) -> bool) -> Result<(), EncoderError> {
        self.expect_matrices()?;
        let mut kept = Vec::new();
        for spec in &self.architecture.parameters {
            let chosen: Vec<String> =
                spec.parts.iter().filter(|part| trained(part)).map(TensorPart::full_name).collect();
            let count = chosen.len();
            if count > 0 && count < spec.parts.len() {
                let names: Vec<String> = spec.parts.iter().map(TensorPart::full_name).collect();
                let expected = format!("all or none of {}", names.join(", "));
                let got = chosen.join(", ");
                return Err(EncoderError::argument("trainable parameters", expected, got));
            }
            kept.push(count > 0);
        }
        if !kept.contains(&true) {
            return Err(EncoderError::argument("trainable parameters", "at least one", "none"));
        }
        self.trainable = Arc::new(self.parameters.layout().only(|id| kept[id.0]));
        Ok(())
    }

    /// The parameters, for the optimizer. Packed weights are dropped, as they would not follow.
    pub fn parameters_mut(&mut self) -> &mut Arena {
        self.pack(Packing::None);
        &mut self.parameters
    }

    /// Outputs of a batch. With `keep`, the workspace holds what [`Model::backward`] needs
    /// afterwards.
    ///
    /// # Shapes
    /// `B` sequences give `B x output_columns`: raw logits, or embeddings; as many columns again
    /// for each of [`Batch::layers`].
    ///
    /// # Panics
    /// When the architecture has no head, or not as many layers.
    pub fn forward(
        &self,
        batch: &Batch,
        mode: Mode,
        keep: bool,
        workspace: &mut Workspace,
    ) -> Outputs {
        let stages = &self.architecture.head;
        let readout = Readout::new(self.device(), &self.architecture.encoder, stages, batch);
        let pass = self.pass(batch, mode, readout.as_ref());
        workspace.kept = keep;
        let Workspace { encoder, head, .. } = workspace;
        if !batch.layers.is_empty() {
            return layers::forward(&pass, encoder, head);
        }
        let input = match transformer::table(&pass, keep) {
            Some(table) => PoolSource::Table(self.parameters.view(table)),
            None => PoolSource::Hidden(transformer::forward(&pass, keep, encoder)),
        };
        let outputs = head::forward(&pass, input, head);
        Outputs { rows: outputs.rows(), columns: outputs.columns(), values: outputs.to_vec() }
    }

    /// Adds the gradients of the parameters that are trained to `gradients`, given that of the
    /// outputs.
    /// `batch` and `mode` are those of the forward pass that filled `workspace` with `keep`.
    ///
    /// # Panics
    /// When the last forward pass on `workspace` did not keep its activations.
    #[expect(clippy::too_many_arguments, reason = "those of the forward pass, and two gradients")]
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
        let readout = Readout::new(self.device(), &self.architecture.encoder, stages, batch);
        let pass = self.pass(batch, mode, readout.as_ref());
        if !batch.layers.is_empty() {
            return layers::backward(&pass, d_outputs, workspace, gradients);
        }
        let Workspace { encoder, head, d, .. } = workspace;
        if let Some(table) = transformer::table(&pass, true) {
            let pooled = Pooled::Table(table);
            head::backward(&pass, head, gradients, HeadBackward { d_outputs, pooled });
            return;
        }
        let hidden = transformer::output(&pass, encoder);
        let pooled = Pooled::Hidden { hidden, d_hidden: &mut d.hidden };
        head::backward(&pass, head, gradients, HeadBackward { d_outputs, pooled });
        transformer::backward(&pass, encoder, d, gradients, &[]);
    }

    /// Hidden states after the embeddings and after each block, the last one after the final norm,
    /// for parity tests.
    pub fn hidden_states(&self, batch: &Batch) -> Vec<Outputs> {
        let pass = self.pass(batch, Mode::Inference, None);
        let mut workspace = Workspace::new(self.device());
        let encoder = &mut workspace.encoder;
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
    }

    fn pass<'a>(&'a self, batch: &'a Batch, mode: Mode, readout: Option<&'a Readout>) -> Pass<'a> {
        Pass {
            config: &self.architecture.encoder,
            transformer: &self.transformer,
            stages: &self.architecture.head,
            head: &self.head,
            parameters: &self.parameters,
            packed: self.packed.as_ref(),
            batch,
            mode,
            precision: self.precision,
            readout,
        }
    }

    /// `lora` are the adapters, where there are any.
    /// A model of another architecture on the device of this one, with its precision and with
    /// `values` in its first parameters.
    fn with_values(
        &self,
        architecture: Architecture,
        lora: Option<LoraConfig>,
        values: impl Iterator<Item = Vec<f32>>,
    ) -> Model {
        let mut model = Model::zeros(self.device(), architecture, lora);
        for (id, values) in values.enumerate() {
            model.parameters.view_mut(ParameterId(id)).write(&values);
        }
        model.precision = self.precision;
        model
    }

    fn zeros(device: &Device, architecture: Architecture, lora: Option<LoraConfig>) -> Model {
        let mut layout = ArenaLayout::new();
        for spec in &architecture.parameters {
            layout.push(&spec.name, spec.rows, spec.columns);
        }
        let adapters = lora.as_ref().map_or(AdapterSettings::NONE, |lora| AdapterSettings {
            scale: lora.scale(),
            dropout: lora.lora_dropout as f32,
        });
        let transformer = TransformerLayers::new(device, &architecture.encoder, &layout, adapters);
        let head = stage_parameters(&architecture.head, &layout, adapters);
        let trainable = Arc::new(layout);
        let parameters = Arena::zeros(device, trainable.clone());
        let precision = Precision::Float32;
        Model {
            architecture,
            parameters,
            transformer,
            head,
            precision,
            packed: None,
            trainable,
            lora,
        }
    }

    /// Every checkpoint tensor, with its matrix in the arena and its initialiser.
    fn parts(&self) -> impl Iterator<Item = (ParameterId, Initializer, &TensorPart)> {
        parts(&self.architecture.parameters)
    }
}
