//! Both gradients of a linear layer, reading the gradient of its output once.
//!
//! One product sums over the outputs and the other over the tokens, so the gradient of the output
//! is packed along its rows and down its columns, and summed for the bias. That is done for a run
//! of tokens at a time, while its elements are in L1. Then the tiles of both products for these
//! tokens run together.

use crate::cpu::machine::Cpu;
use crate::cpu::matmul::operand::{Operand, Product};
use crate::cpu::matmul::pack::SideOutputs;
use crate::cpu::matmul::panels::Groups;
use crate::cpu::matmul::plan::{OnFinished, PackedWords, Plan, WordSource};
use crate::cpu::matmul::product::product;
use crate::cpu::matmul::tiles::Tiles;
use crate::cpu::parallel::{SharedRows, for_each};
use std::ops::Range;

/// Most words of the operands of the weight's gradient that are packed at a time. Their depth, the
/// tokens, is long; a part of it stays in L2.
const CACHED_WORDS: usize = 1 << 20;

/// The product for the gradient of the input; its left operand is the gradient of the output.
pub(crate) struct InputProduct<'a> {
    pub(crate) product: Product<'a>,
    pub(crate) out: &'a SharedRows<'a>,
    pub(crate) finish: OnFinished<'a>,
}

/// Computes the product `weight` into `d_weight`, the column sums of its left operand, the gradient
/// of the output, into `d_bias`, and `input`.
///
/// Each element of a product has the bits that [`product`] gives it.
pub(crate) fn gradients(
    cpu: &Cpu,
    weight: &Product<'_>,
    d_weight: &SharedRows<'_>,
    d_bias: Option<&SharedRows<'_>>,
    input: Option<InputProduct<'_>>,
) {
    let (outputs, inputs, tokens) = (d_weight.row_count, d_weight.columns, weight.depth);
    if tokens == 0 || outputs == 0 {
        if let Some(input) = input {
            product(cpu, &input.product, input.out, input.finish);
        }
        return;
    }
    weight.left.check("d_out", outputs, tokens);
    weight.right.check("x", inputs, tokens);
    let x = weight.right;
    let weight = Plan::of(cpu, weight, [outputs, inputs], false);
    let input = input.map(|InputProduct { product, out, finish }| {
        product.left.check("d_out", tokens, outputs);
        product.right.check("weight", inputs, outputs);
        let (plan, weight) = (Plan::of(cpu, &product, [tokens, inputs], false), product.right);
        Input { plan, weight, out, finish }
    });
    let gradients = Gradients {
        weight: Plan { source: WordSource::Panels, ..weight },
        x,
        d_weight,
        d_bias,
        parallel: weight.parallel || input.as_ref().is_some_and(|input| input.plan.parallel),
        input,
    };
    gradients.run(cpu);
}

struct Input<'a> {
    plan: Plan<'a>,
    /// The operand in panels.
    weight: Operand<'a>,
    out: &'a SharedRows<'a>,
    finish: OnFinished<'a>,
}

struct Gradients<'a> {
    weight: Plan<'a>,
    /// The operand in panels.
    x: Operand<'a>,
    d_weight: &'a SharedRows<'a>,
    d_bias: Option<&'a SharedRows<'a>>,
    input: Option<Input<'a>>,
    parallel: bool,
}

/// Lengths of the packed operands, in words.
struct Lengths {
    /// Words of a run of tokens in each packed row.
    chunk: usize,
    /// The weight for the gradient of the input.
    weight: usize,
    /// A run of tokens of the input, and of the gradient of the output down its columns.
    x: usize,
    down: usize,
    /// A run of tokens of the gradient of the output along its rows.
    along: usize,
}

impl Gradients<'_> {
    fn lengths(&self) -> Lengths {
        let weight = &self.weight;
        let (x, down) = (weight.panel_rows(), weight.broadcast_rows());
        let chunk = weight.chunk(CACHED_WORDS, x + down);
        let (panels, along) = self.input.as_ref().map_or((0, 0), |Input { plan, .. }| {
            let tokens = (chunk * weight.format.per_word()).min(weight.depth);
            let along =
                if plan.source == WordSource::Rows { Plan::row_stride(plan.words()) } else { 0 };
            (plan.panel_rows() * plan.words(), tokens * along)
        });
        Lengths { chunk, weight: panels, x: x * chunk, down: down * chunk, along }
    }

    fn run(&self, cpu: &Cpu) {
        let Lengths { chunk, weight, x, down, along } = self.lengths();
        let mut scratch = cpu.scratch(weight + x + down + along);
        let (weight, rest) = scratch.split_at_mut(weight);
        let (x, rest) = rest.split_at_mut(x);
        let (down, along) = rest.split_at_mut(down);
        for start in (0..self.weight.words()).step_by(chunk) {
            self.run_of_tokens(cpu, start, chunk, [&mut *weight, &mut *x, &mut *down, &mut *along]);
        }
    }

    /// Packs and multiplies `chunk` words of tokens from word `start` on.
    fn run_of_tokens(
        &self,
        cpu: &Cpu,
        start: usize,
        chunk: usize,
        [weight, x, down, along]: [&mut [f32]; 4],
    ) {
        let plan = &self.weight;
        let (depths, words) = plan.depths(start, chunk);
        let x = &mut x[..plan.panel_rows() * words];
        let down = &mut down[..plan.broadcast_rows() * words];
        self.pack(cpu, &depths, [&mut *weight, &mut *x, &mut *down, &mut *along]);

        let packed = PackedWords::of(depths.clone(), words, x, down);
        let tiles = Tiles::of(plan, &packed, self.d_weight, &|_, _| {});
        let Some(Input { plan, out, finish, .. }) = &self.input else {
            return for_each(cpu, self.parallel, tiles.count(), |task| tiles.run(task));
        };
        let (first, words) = (depths.start, plan.words());
        let plan = plan.rows(&depths);
        let packed = PackedWords::of(0..plan.depth, words, weight, along);
        let out = out.slice_rows(&depths);
        let finish = |rows: Range<usize>, columns| {
            finish(rows.start + first..rows.end + first, columns);
        };
        let of_input = Tiles::of(&plan, &packed, &out, &finish);
        let count = of_input.count();
        for_each(cpu, self.parallel, count + tiles.count(), |task| {
            if task < count { of_input.run(task) } else { tiles.run(task - count) }
        });
    }

    /// Packs the operands at some tokens, and with the first of them the weight.
    fn pack(&self, cpu: &Cpu, tokens: &Range<usize>, [weight, x, down, along]: [&mut [f32]; 4]) {
        let plan = &self.weight;
        let x = Groups::of(plan.panel_kind(plan.panel), (self.x, plan.panels), tokens, x);
        let down = Groups::of(plan.panel_kind(plan.most), plan.broadcast, tokens, down);
        let input = self.input.as_ref();
        let outputs = 0..plan.broadcast.1;
        let weight =
            input.filter(|_| tokens.start == 0).map(|Input { plan, weight: operand, .. }| {
                let source = (*operand, plan.panels);
                Groups::of(plan.panel_kind(plan.panel), source, &outputs, weight)
            });
        let in_rows = input.map(|input| &input.plan).filter(|plan| plan.source == WordSource::Rows);
        let along = in_rows.map(|plan| {
            let stride = Plan::row_stride(plan.words());
            SharedRows::of_slice(&mut along[..tokens.len() * stride], tokens.len(), stride)
        });
        let count = down.count() + x.count() + weight.as_ref().map_or(0, Groups::count);
        for_each(cpu, self.parallel, count, |task| {
            let Some(after) = task.checked_sub(down.count()) else {
                let sums = self.d_bias.map(|d_bias| {
                    // SAFETY: groups have different outputs, so their parts do not overlap.
                    unsafe { d_bias.part(0, down.rows(task)) }
                });
                return down.pack_with(task, SideOutputs { along: along.as_ref(), sums });
            };
            match (after.checked_sub(x.count()), &weight) {
                (Some(group), Some(weight)) => weight.pack(group),
                _ => x.pack(after),
            }
        });
    }
}

impl<'a> Plan<'a> {
    /// Rows of the broadcast operand in panels, padding included.
    fn broadcast_rows(&self) -> usize {
        self.broadcast.1.next_multiple_of(self.most)
    }

    /// The part of the plan for some rows of the broadcast operand, not swapped.
    fn rows(&self, rows: &Range<usize>) -> Plan<'a> {
        let mut operand = self.broadcast.0;
        operand.data = &operand.data[rows.start * operand.row_stride..];
        Plan { broadcast: (operand, rows.len()), ..*self }
    }
}
