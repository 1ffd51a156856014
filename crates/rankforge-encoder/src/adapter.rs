//! A low-rank adapter beside the weight of a linear layer (Hu et al. 2021, LoRA: Low-Rank
//! Adaptation of Large Language Models, arXiv:2106.09685).

use crate::mode::ADAPTER;
use crate::rounded_parameters::RoundedParameters;
use rankforge_kernels::ops::{self, Dropout, Epilogue, InputGradient, Store, WeightGradient};
use rankforge_kernels::{Arena, ArenaLayout, Buffer, ParameterId, Precision, View, ViewMut};
use std::ops::Range;

/// Most adapters beside one weight: those of queries, keys and values.
pub(crate) const MOST_ADAPTERS: usize = 3;

/// What all adapters of a model have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdapterSettings {
    /// Factor of their outputs.
    pub(crate) scale: f32,
    /// Probability of dropout of their inputs.
    pub(crate) dropout: f32,
}

impl AdapterSettings {
    /// Those of a model without adapters.
    pub(crate) const NONE: AdapterSettings = AdapterSettings { scale: 1.0, dropout: 0.0 };
}

/// `scale * up (down dropout(x))`, added to some outputs of a linear layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adapter {
    /// `r x K`, `lora_A` in the files of peft.
    down: ParameterId,
    /// `N x r`, `lora_B` in the files of peft.
    up: ParameterId,
    /// Rows `[start, end)` of the weight beside it; `N` of them.
    rows: [usize; 2],
    settings: AdapterSettings,
}

/// What the backward pass of an adapter reads, and where the gradient of its input goes.
pub(crate) struct AdapterBackward<'a> {
    /// The rows of the weight whose outputs `d_out` is the gradient of.
    pub(crate) outputs: Range<usize>,
    /// Gradient of the output, `T x outputs`.
    pub(crate) d_out: View<'a>,
    /// Input of the forward pass, `T x K`.
    pub(crate) x: View<'a>,
    /// Gradient of the input, `T x K`; that of the adapter is added.
    pub(crate) d_x: ViewMut<'a>,
}

/// The adapters of the layer `name`.
pub(crate) fn find_adapters(
    layout: &ArenaLayout,
    name: &str,
    settings: AdapterSettings,
) -> [Option<Adapter>; MOST_ADAPTERS] {
    let prefix = down_prefix(name);
    let ids = (0..).map(ParameterId).zip(layout.entries());
    let mut found = ids.filter_map(|(down, entry)| {
        let start: usize = entry.name.strip_prefix(&prefix)?.parse().ok()?;
        let up = layout.find(&up_name(name, start)).expect("every adapter has both factors");
        let rows = [start, start + layout.entry(up).rows];
        Some(Adapter { down, up, rows, settings })
    });
    let adapters = std::array::from_fn(|_| found.next());
    assert!(found.next().is_none(), "more than {MOST_ADAPTERS} adapters beside {name}");
    adapters
}

impl Adapter {
    /// The parameters.
    pub(crate) fn ids(&self) -> [ParameterId; 2] {
        [self.down, self.up]
    }

    /// Whether it adds to all of the outputs of some rows of the weight.
    pub(crate) fn covers(&self, outputs: Range<usize>) -> bool {
        self.rows[0] <= outputs.start && outputs.end <= self.rows[1]
    }

    /// The rows of `up` that give some of `outputs`, and which of these: equally many; `None` when
    /// there are none.
    fn part(&self, outputs: &Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
        let start = self.rows[0].max(outputs.start);
        let end = self.rows[1].min(outputs.end);
        let from = |first: usize| start - first..end - first;
        (start < end).then(|| (from(self.rows[0]), from(outputs.start)))
    }

    /// Writes `scale * up (down dropout(x))` to its columns of `out`, which is for the rows
    /// `outputs` of the weight.
    ///
    /// # Shapes
    /// `x`: `T x K`; `out`: `T x outputs`.
    pub(crate) fn forward(
        &self,
        rounded: RoundedParameters<'_>,
        outputs: Range<usize>,
        x: View<'_>,
        out: ViewMut<'_>,
    ) {
        let Some((rows, columns)) = self.part(&outputs) else { return };
        let RoundedParameters { parameters, precision, .. } = rounded;
        let hidden = match self.dropped(rounded, x) {
            Some(x) => self.hidden(rounded, x.view()),
            None => self.hidden(rounded, x),
        };
        let up = parameters.view(self.up).slice_rows(rows);
        let product = |out| ops::linear(hidden.view(), up, precision, Epilogue::default(), out);
        if self.covers(outputs) {
            return product(out);
        }
        let mut own = Buffer::zeros(x.device(), x.rows(), columns.len());
        product(own.view_mut());
        ops::write_columns(own.view(), columns.start, out);
    }

    /// Adds the gradients of `up` and `down` where they are trained, and that of the input.
    pub(crate) fn backward(
        &self,
        rounded: RoundedParameters<'_>,
        gradients: &mut Arena,
        backward: AdapterBackward<'_>,
    ) {
        let AdapterBackward { outputs, d_out, x, mut d_x } = backward;
        let Some((rows, columns)) = self.part(&outputs) else { return };
        let own = (!self.covers(outputs)).then(|| {
            let mut own = Buffer::zeros(x.device(), x.rows(), columns.len());
            ops::read_columns(d_out, columns.start, own.view_mut());
            own
        });
        let d_out = own.as_ref().map_or(d_out, Buffer::view);
        let dropped = self.dropped(rounded, x);
        let x = dropped.as_ref().map_or(x, Buffer::view);
        let d_hidden = self.up_backward(rounded, gradients, (rows, d_out, x));

        let RoundedParameters { parameters, precision, .. } = rounded;
        let weight = parameters.view(self.down);
        let down = gradients.has(self.down).then(|| WeightGradient {
            x,
            d_weight: gradients.view_mut(self.down),
            d_bias: None,
        });
        let Some(dropout) = self.dropout(rounded) else {
            let input = InputGradient { weight, store: Store::Add, d_x };
            return ops::linear_backward(d_hidden.view(), precision, Some(input), down);
        };
        let mut d_dropped = Buffer::zeros(x.device(), x.rows(), x.columns());
        let input = InputGradient { weight, store: Store::Write, d_x: d_dropped.view_mut() };
        ops::linear_backward(d_hidden.view(), precision, Some(input), down);
        ops::dropout(dropout, d_dropped.view_mut());
        ops::add(d_dropped.view(), d_x.reborrow());
    }

    /// Adds the gradient of some rows of `up`, given that of their outputs and the input after
    /// dropout. Returns the gradient of `down x`.
    fn up_backward(
        &self,
        rounded: RoundedParameters<'_>,
        gradients: &mut Arena,
        (rows, d_out, x): (Range<usize>, View<'_>, View<'_>),
    ) -> Buffer {
        let RoundedParameters { parameters, precision, .. } = rounded;
        let rank = parameters.view(self.down).rows();
        let mut d_hidden = Buffer::zeros(x.device(), x.rows(), rank);
        let weight = parameters.view(self.up).slice_rows(rows.clone());
        let input = InputGradient { weight, store: Store::Write, d_x: d_hidden.view_mut() };
        let hidden = gradients.has(self.up).then(|| self.hidden(rounded, x));
        let up = hidden.as_ref().map(|hidden| WeightGradient {
            x: hidden.view(),
            d_weight: gradients.view_mut(self.up).slice_rows(rows),
            d_bias: None,
        });
        ops::linear_backward(d_out, precision, Some(input), up);
        ops::scale(self.settings.scale, d_hidden.view_mut());
        d_hidden
    }

    /// `scale * down x`, `T x r`.
    fn hidden(&self, rounded: RoundedParameters<'_>, x: View<'_>) -> Buffer {
        let down = rounded.parameters.view(self.down);
        let mut hidden = Buffer::zeros(x.device(), x.rows(), down.rows());
        let epilogue = Epilogue::default();
        ops::linear(x, down, rounded.precision, epilogue, hidden.view_mut());
        ops::scale(self.settings.scale, hidden.view_mut());
        hidden
    }

    /// The input after dropout; `None` where that is off.
    fn dropped(&self, rounded: RoundedParameters<'_>, x: View<'_>) -> Option<Buffer> {
        let dropout = self.dropout(rounded)?;
        let mut dropped = Buffer::zeros(x.device(), x.rows(), x.columns());
        ops::dropout_to(dropout, x, dropped.view_mut());
        Some(dropped)
    }

    /// The dropout of the input: every adapter has masks of its own, as in peft.
    fn dropout(&self, rounded: RoundedParameters<'_>) -> Option<Dropout> {
        rounded.mode.dropout(self.settings.dropout, ADAPTER + self.down.0 as u64)
    }

    /// Adds `scale * up down` to rows of the weight, `rows x K`: those of a layer that computes the
    /// same without an adapter.
    pub(crate) fn merge(&self, parameters: &Arena, rows: Range<usize>, weight: ViewMut<'_>) {
        let Some((own, part)) = self.part(&rows) else { return };
        let up = parameters.view(self.up).slice_rows(own);
        let product = Update { down: parameters.view(self.down), up, scale: self.settings.scale };
        product.add_to(weight.slice_rows(part));
    }
}

/// `scale * up down`: what an adapter adds to a weight.
pub(crate) struct Update<'a> {
    /// `r x K`.
    pub(crate) down: View<'a>,
    /// `N x r`.
    pub(crate) up: View<'a>,
    pub(crate) scale: f32,
}

impl Update<'_> {
    /// Adds it to a weight, `N x K`.
    pub(crate) fn add_to(&self, weight: ViewMut<'_>) {
        let (rank, inputs) = (self.down.rows(), self.down.columns());
        let down = self.down.to_vec();
        let transposed = (0..inputs).flat_map(|input| (0..rank).map(move |row| (row, input)));
        let values: Vec<f32> =
            transposed.map(|(row, input)| self.scale * down[row * inputs + input]).collect();
        let factor = Buffer::upload(weight.device(), inputs, rank, &values);
        let epilogue = Epilogue { accumulate: true, ..Epilogue::default() };
        ops::linear(self.up, factor.view(), Precision::Float32, epilogue, weight);
    }
}

/// What the arena names of the first factors beside the layer `name` begin with; the first row of
/// the weight that the adapter is beside follows.
fn down_prefix(name: &str) -> String {
    format!("{name}.lora_A.")
}

/// The arena name of the first factor beside the layer `name`, from the row `start` of its weight
/// on.
pub(crate) fn down_name(name: &str, start: usize) -> String {
    format!("{}{start}", down_prefix(name))
}

/// The arena name of the second factor.
pub(crate) fn up_name(name: &str, start: usize) -> String {
    format!("{name}.lora_B.{start}")
}
