//! Ragged softmax attention: one work item for each head of each sequence, in tiles of queries and
//! keys that stay in cache. The scores of a whole sequence are never stored.

mod backward;
mod bias;
mod forward;
mod head;
mod operands;
mod parts;
mod rows;

pub(crate) use head::Config;

use crate::cpu::attention::backward::Saved;
use crate::cpu::attention::bias::{Bias, Partials};
use crate::cpu::attention::head::{HeadShape, for_each_head};
use crate::cpu::attention::parts::Parts;
use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::SharedRows;
use crate::settings::attention::{AttentionBackward, Qkv};

pub(crate) fn attention(
    cpu: &Cpu,
    config: &Config<'_>,
    qkv: Qkv<Matrix<'_>>,
    out: MatrixMut<'_>,
    log_sum_exp: MatrixMut<'_>,
) {
    let shape = HeadShape::of(cpu, config, out.columns);
    let bias = Bias::of(config);
    let qkv = Parts::of(&qkv, out.columns).map(|&matrix| matrix);
    let (out, log_sum_exp) = (SharedRows::new(out), SharedRows::new(log_sum_exp));
    for_each_head(cpu, config, shape, |head, memory| {
        forward::forward(&head, bias.as_ref(), &qkv, &out, &log_sum_exp, memory);
    });
}

pub(crate) fn attention_backward(
    cpu: &Cpu,
    config: &Config<'_>,
    inputs: AttentionBackward<Matrix<'_>>,
    d_qkv: Qkv<MatrixMut<'_>>,
    d_bias: Option<MatrixMut<'_>>,
) {
    let AttentionBackward { d_out, qkv, out, log_sum_exp } = inputs;
    let hidden = out.columns;
    let shape = HeadShape::of(cpu, config, hidden);
    let bias = Bias::of(config);
    let qkv = Parts::of(&qkv, hidden).map(|&matrix| matrix);
    let saved = Saved { d_out, qkv, out, log_sum_exp };
    let d_qkv = d_qkv.map(SharedRows::new);
    let d_qkv = Parts::of(&d_qkv, hidden);
    // One row of bucket sums for each head of each sequence; they are added in order afterwards.
    let mut partials = Partials::new(config, d_bias.as_ref());
    let d_buckets = partials.shared();
    for_each_head(cpu, config, shape, |head, memory| {
        backward::backward(&head, bias.as_ref(), &saved, &d_qkv, d_buckets.as_ref(), memory);
    });
    if let Some(d_bias) = d_bias {
        partials.reduce(config.heads, d_bias);
    }
}
