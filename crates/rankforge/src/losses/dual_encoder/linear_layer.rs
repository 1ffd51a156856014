use crate::losses::loss::LossParameter;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rankforge_encoder::Outputs;
use rankforge_kernels::ops::{
    Epilogue, InputGradient, Store, WeightGradient, linear, linear_backward,
};
use rankforge_kernels::{Buffer, Device, Precision};

/// `y = x weightᵀ + bias`, a linear layer of a loss, whose parameters are the weight and the bias,
/// one after the other.
///
/// # Shapes
/// `x`: `N x inputs`; `weight`: `outputs x inputs`; `bias`: `outputs`; `y`: `N x outputs`.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinearLayer {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl LinearLayer {
    /// Weight and bias with these names, drawn from `seed` as PyTorch's `Linear` draws them:
    /// uniform between -1 and 1, divided by the square root of the number of inputs.
    pub(super) fn parameters(self, names: [&'static str; 2], seed: u64) -> Vec<LossParameter> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        // Other than those of the random choices of steps.
        bytes[24..].copy_from_slice(b"own loss");
        let mut random = ChaCha8Rng::from_seed(bytes);
        let bound = 1.0 / (self.inputs as f32).sqrt();
        let mut drawn = |name: &'static str, rows: usize, columns: usize| {
            let values = (0..rows * columns).map(|_| random.random_range(-bound..bound));
            LossParameter { name, rows, columns, values: values.collect() }
        };
        let [weight, bias] = names;
        vec![drawn(weight, self.outputs, self.inputs), drawn(bias, 1, self.outputs)]
    }

    /// Weight and bias on a device.
    fn upload(self, device: &Device, parameters: &[f32]) -> (Buffer, Buffer) {
        let LinearLayer { inputs, outputs } = self;
        let expected = outputs * inputs + outputs;
        assert_eq!(parameters.len(), expected, "parameters of a layer {inputs} -> {outputs}");
        let (weight, bias) = parameters.split_at(outputs * inputs);
        let weight = Buffer::upload(device, outputs, inputs, weight);
        (weight, Buffer::upload(device, 1, outputs, bias))
    }

    /// `y`.
    pub(super) fn forward(self, device: &Device, parameters: &[f32], x: &Outputs) -> Outputs {
        let (weight, bias) = self.upload(device, parameters);
        let inputs = Buffer::upload(device, x.rows, x.columns, &x.values);
        let mut y = Buffer::zeros(device, x.rows, self.outputs);
        let epilogue = Epilogue { bias: Some(bias.view()), ..Epilogue::default() };
        linear(inputs.view(), weight.view(), Precision::Float32, epilogue, y.view_mut());
        Outputs { rows: x.rows, columns: self.outputs, values: y.view().to_vec() }
    }

    /// The gradients of `x` and of the parameters, given that of `y`.
    pub(super) fn backward(
        self,
        device: &Device,
        parameters: &[f32],
        x: &Outputs,
        d_y: &Outputs,
    ) -> (Outputs, Vec<f32>) {
        let LinearLayer { inputs, outputs } = self;
        let (weight, _) = self.upload(device, parameters);
        let d_out = Buffer::upload(device, d_y.rows, d_y.columns, &d_y.values);
        let values = Buffer::upload(device, x.rows, x.columns, &x.values);
        let mut d_x = Buffer::zeros(device, x.rows, inputs);
        let mut d_weight = Buffer::zeros(device, outputs, inputs);
        let mut d_bias = Buffer::zeros(device, 1, outputs);
        let input =
            InputGradient { weight: weight.view(), store: Store::Write, d_x: d_x.view_mut() };
        let of_parameters = WeightGradient {
            x: values.view(),
            d_weight: d_weight.view_mut(),
            d_bias: Some(d_bias.view_mut()),
        };
        linear_backward(d_out.view(), Precision::Float32, Some(input), Some(of_parameters));
        let mut d_parameters = d_weight.view().to_vec();
        d_parameters.extend(d_bias.view().to_vec());
        (Outputs { rows: x.rows, columns: inputs, values: d_x.view().to_vec() }, d_parameters)
    }
}
