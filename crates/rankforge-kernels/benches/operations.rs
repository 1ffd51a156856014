//! Rates of single operations, absolute and in percent of what the machine can reach.
//!
//!     cargo bench -p rankforge-kernels --bench operations -- [THREADS] [ISA] [FILTER]
//!
//! The limit of matrix products is the peak arithmetic, measured first; that of everything else is
//! the rate at which memory is read and written. The bench `attention` measures attention. Each
//! figure is the best of half a second of calls.
#![expect(clippy::disallowed_methods, reason = "a program that measures time and prints")]

use rankforge_kernels::ops::{
    Activation, AdamW, Dropout, Epilogue, Gate, InputGradient, LayerNormBackward, Store,
    WeightGradient, activate_backward, adamw, add, dropout, gated, gated_backward, gather,
    gather_backward, layer_norm, layer_norm_backward, linear, linear_backward, sum_of_squares,
};
use rankforge_kernels::{Arithmetic, Buffer, Device, Indices, Isa, Precision, Workers, peak};
use std::error::Error;
use std::io::Write;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let threads = arguments.iter().find_map(|argument| argument.parse().ok());
    let isa = arguments.iter().find_map(|argument| argument.parse().ok());
    let filter = arguments
        .iter()
        .find(|argument| argument.parse::<usize>().is_err() && argument.parse::<Isa>().is_err());
    let device = Device::cpu_on(isa.unwrap_or(Isa::best()), &Workers::new(threads)?)?;
    let suite = Suite { device, filter: filter.cloned() };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:?}; every figure: G/s, and percent of the limit", suite.device)?;
    suite.products(&mut out)?;
    suite.memory(&mut out)?;
    Ok(())
}

/// Tokens, inputs and outputs of the layers of MiniLM-L6, BERT-base and ModernBERT-base.
const LAYERS: [(&str, usize, usize, usize); 12] = [
    ("MiniLM qkv", 2880, 384, 1152),
    ("MiniLM attention out", 2880, 384, 384),
    ("MiniLM up", 2880, 384, 1536),
    ("MiniLM down", 2880, 1536, 384),
    ("MiniLM up, STS-B", 432, 384, 1536),
    ("BERT-base qkv", 1024, 768, 2304),
    ("BERT-base up", 4096, 768, 3072),
    ("BERT-base down", 4096, 3072, 768),
    ("ModernBERT qkv", 1440, 768, 2304),
    ("ModernBERT attention out", 8192, 768, 768),
    ("ModernBERT up", 1440, 768, 2304),
    ("ModernBERT down", 8192, 1152, 768),
];

struct Suite {
    device: Device,
    filter: Option<String>,
}

type Written = Result<(), Box<dyn Error>>;

impl Suite {
    fn wanted(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    }

    fn buffer(&self, rows: usize, columns: usize) -> Buffer {
        let numbers: Vec<f32> =
            (0..rows * columns).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect();
        Buffer::upload(&self.device, rows, columns, &numbers)
    }

    /// The three products of a layer in each precision.
    fn products(&self, out: &mut impl Write) -> Written {
        if !LAYERS.iter().any(|(name, ..)| self.wanted(name)) {
            return Ok(());
        }
        let float32 = peak(&self.device, Arithmetic::Float32).ok_or("no peak in f32")?;
        let bfloat16 = peak(&self.device, Arithmetic::BFloat16);
        writeln!(out, "\npeak: fp32 {:.0}", float32 / 1e9)?;
        if let Some(bfloat16) = bfloat16 {
            writeln!(out, "peak: bf16 {:.0}", bfloat16 / 1e9)?;
        }
        writeln!(
            out,
            "layer (tokens x inputs x outputs): forward, input gradient, weight gradient, both"
        )?;
        for (name, tokens, inputs, outputs) in LAYERS {
            if !self.wanted(name) {
                continue;
            }
            writeln!(out, "{name} ({tokens} x {inputs} x {outputs})")?;
            for precision in Precision::ALL {
                let limit = match precision {
                    Precision::BFloat16 => bfloat16.unwrap_or(float32),
                    _ => float32,
                };
                let operations = 2.0 * (tokens * inputs * outputs) as f64;
                let mut rates =
                    self.layer(tokens, inputs, outputs, precision).map(|s| operations / s);
                rates[3] *= 2.0;
                write!(out, "    {precision}")?;
                for rate in rates {
                    write!(out, "  {:6.1} {:3.0} %", rate / 1e9, 100.0 * rate / limit)?;
                }
                writeln!(out)?;
            }
        }
        Ok(())
    }

    fn layer(
        &self,
        tokens: usize,
        inputs: usize,
        outputs: usize,
        precision: Precision,
    ) -> [f64; 4] {
        let (x, weight) = (self.buffer(tokens, inputs), self.buffer(outputs, inputs));
        let mut y = self.buffer(tokens, outputs);
        let mut d_x = self.buffer(tokens, inputs);
        let mut d_weight = self.buffer(outputs, inputs);
        let forward = seconds(|| {
            linear(x.view(), weight.view(), precision, Epilogue::default(), y.view_mut());
        });
        let mut backward = |of_input: bool, of_weight: bool| {
            let (weight, x) = (weight.view(), x.view());
            let input = InputGradient { weight, store: Store::Write, d_x: d_x.view_mut() };
            let weight = WeightGradient { x, d_weight: d_weight.view_mut(), d_bias: None };
            let (input, weight) = (of_input.then_some(input), of_weight.then_some(weight));
            linear_backward(y.view(), precision, input, weight);
        };
        [
            forward,
            seconds(|| backward(true, false)),
            seconds(|| backward(false, true)),
            seconds(|| backward(true, true)),
        ]
    }

    /// Operations that touch each element a few times, in elements read or written per second.
    fn memory(&self, out: &mut impl Write) -> Written {
        let (large, mut sum) = (self.buffer(1 << 14, 1 << 11), self.buffer(1 << 14, 1 << 11));
        let numbers = (3 * large.rows() * large.columns()) as f64;
        let limit = numbers / seconds(|| add(large.view(), sum.view_mut()));
        writeln!(
            out,
            "\nelements read and written; limit (33 million elements added to as many): {:.2}",
            limit / 1e9
        )?;
        let (tokens, hidden, width) = (2880, 384, 1536);
        let (x, d_out) = (self.buffer(tokens, hidden), self.buffer(tokens, hidden));
        let (mut y, mut statistics) = (self.buffer(tokens, hidden), self.buffer(tokens, 2));
        let (weight, mut d_weight) = (self.buffer(1, hidden), self.buffer(1, hidden));
        let (wide, d_wide) = (self.buffer(tokens, width), self.buffer(tokens, width));
        let mut wide_out = self.buffer(tokens, width);
        let (half, mut half_out) = (self.buffer(tokens, width / 2), self.buffer(tokens, width / 2));
        let ids: Vec<u32> = (0..tokens).map(|token| (token * 7919 % 30_522) as u32).collect();
        let (ids, mut table) = (Indices::new(&self.device, &ids), self.buffer(30_522, hidden));
        let (narrow, broad) = (tokens * hidden, tokens * width);
        let mut line = |name: &str, numbers: usize, work: &mut dyn FnMut()| -> Written {
            if self.wanted(name) {
                let rate = numbers as f64 / seconds(work);
                writeln!(out, "{name:28}  {:6.2} {:3.0} %", rate / 1e9, 100.0 * rate / limit)?;
            }
            Ok(())
        };
        line("layer norm", 2 * narrow, &mut || {
            layer_norm(x.view(), weight.view(), None, 1e-5, y.view_mut(), statistics.view_mut());
        })?;
        line("layer norm backward", 3 * narrow, &mut || {
            let (d_out, x) = (d_out.view(), x.view());
            let (weight, statistics) = (weight.view(), statistics.view());
            let inputs = LayerNormBackward { d_out, x, weight, statistics };
            layer_norm_backward(inputs, false, y.view_mut(), Some(d_weight.view_mut()), None);
        })?;
        line("gelu backward", 3 * broad, &mut || {
            activate_backward(Activation::Gelu, d_wide.view(), wide.view(), wide_out.view_mut());
        })?;
        line("geglu", 3 * broad / 2, &mut || gated(Gate::GeGlu, wide.view(), half_out.view_mut()))?;
        line("geglu backward", 5 * broad / 2, &mut || {
            gated_backward(Gate::GeGlu, half.view(), wide.view(), wide_out.view_mut());
        })?;
        let mask = Dropout::new(0.1, 1, 2, 3, 4);
        line("dropout", 2 * broad, &mut || dropout(mask, wide_out.view_mut()))?;
        line("gather", 2 * narrow, &mut || gather(table.view(), &ids, false, y.view_mut()))?;
        line("gather backward", 3 * narrow, &mut || {
            gather_backward(d_out.view(), &ids, table.view_mut());
        })?;
        let (mut gradients, mut parameters) =
            (self.buffer(22_000, 1000), self.buffer(22_000, 1000));
        let (mut first, mut second) = (self.buffer(22_000, 1000), self.buffer(22_000, 1000));
        line("sum of squares", 22_000_000, &mut || {
            sum_of_squares(gradients.view());
        })?;
        line("AdamW", 7 * 22_000_000, &mut || {
            let step = AdamW {
                learning_rate: 1e-5,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 0.01,
                step: 9,
                gradient_scale: 1.0,
            };
            adamw(
                &step,
                gradients.view_mut(),
                parameters.view_mut(),
                first.view_mut(),
                second.view_mut(),
            );
        })?;
        Ok(())
    }
}

/// The shortest of half a second of calls, after one to warm up.
fn seconds(mut work: impl FnMut()) -> f64 {
    work();
    let (begun, mut best) = (Instant::now(), f64::MAX);
    while begun.elapsed().as_secs_f64() < 0.5 {
        let call = Instant::now();
        work();
        best = best.min(call.elapsed().as_secs_f64());
    }
    best
}
