//! Panels of an operand: for each word, that of `width` neighbouring rows.

use crate::cpu::machine::Cpu;
use crate::cpu::matmul::format::Format;
use crate::cpu::matmul::operand::Operand;
use crate::cpu::matmul::pack::{MOST_ROWS, PackPanels, SideOutputs};
use crate::cpu::memory::Aligned;
use crate::cpu::parallel::{INLINE_ELEMENTS, SharedRows, for_each};
use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::isa::Supported;
use crate::precision::Precision;
use std::ops::Range;

/// The right operand of products, packed once: panels of the whole depth.
#[derive(Clone)]
pub(crate) struct PackedPanels {
    format: Format,
    /// Rows of a panel.
    width: usize,
    depth: usize,
    words: Aligned,
}

/// Some rows of [`PackedPanels`].
pub(crate) struct PanelRows<'a> {
    pub(super) format: Format,
    pub(super) rows: usize,
    pub(super) depth: usize,
    pub(super) words: &'a [f32],
}

impl PackedPanels {
    /// Packs `operand`, `rows x depth`, as [`product`](super::product) packs its right operand.
    pub(crate) fn pack(
        cpu: &Cpu,
        operand: Operand<'_>,
        rows: usize,
        depth: usize,
        precision: Precision,
    ) -> PackedPanels {
        operand.check("the operand to pack", rows, depth);
        let (isa, width) = (cpu.isa(), panel_rows(cpu.isa()));
        let format = Format::of(isa.isa(), precision);
        let length = rows.next_multiple_of(width) * depth.div_ceil(format.per_word());
        let mut words = Aligned::zeros(length);
        if length > 0 {
            let (kind, depths) = (PanelKind { isa, format, width }, 0..depth);
            let groups = Groups::of(kind, (operand, rows), &depths, &mut words);
            let parallel = rows * depth >= INLINE_ELEMENTS;
            for_each(cpu, parallel, groups.count(), |group| groups.pack(group));
        }
        PackedPanels { format, width, depth, words }
    }

    /// The rows in `rows`, which begin at a panel.
    pub(crate) fn slice_rows(&self, rows: Range<usize>) -> PanelRows<'_> {
        let PackedPanels { format, width, depth, ref words, .. } = *self;
        let row_words = depth.div_ceil(format.per_word());
        let words = &words[rows.start * row_words..rows.end.next_multiple_of(width) * row_words];
        PanelRows { format, rows: rows.len(), depth, words }
    }

    /// Whether a panel of the CPU's instruction set begins at `row`.
    pub(crate) fn can_begin_at(cpu: &Cpu, row: usize) -> bool {
        row.is_multiple_of(panel_rows(cpu.isa()))
    }

    /// Bytes of memory of the words.
    pub(crate) fn size_in_bytes(&self) -> usize {
        self.words.len() * size_of::<f32>()
    }
}

/// Rows of a panel of the operand whose words fill vectors: two vectors.
pub(super) fn panel_rows(isa: Supported) -> usize {
    2 * dispatch(isa, Lanes)
}

/// The number of lanes of an instruction set.
struct Lanes;

impl Kernel for Lanes {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self) -> usize {
        S::LANES
    }
}

/// The instruction set, format and width of panels.
#[derive(Clone, Copy)]
pub(super) struct PanelKind {
    pub(super) isa: Supported,
    pub(super) format: Format,
    /// Rows of a panel.
    pub(super) width: usize,
}

/// The panels of an operand at `depths`, in groups. A group is one task: large enough to be worth
/// starting, and its rows are read together.
pub(super) struct Groups<'a> {
    kind: PanelKind,
    operand: Operand<'a>,
    rows: usize,
    depths: &'a Range<usize>,
    packed: SharedRows<'a>,
}

impl<'a> Groups<'a> {
    pub(super) fn of(
        kind: PanelKind,
        (operand, rows): (Operand<'a>, usize),
        depths: &'a Range<usize>,
        packed: &'a mut [f32],
    ) -> Groups<'a> {
        let length = packed.len();
        let packed = SharedRows::of_slice(packed, 1, length);
        Groups { kind, operand, rows, depths, packed }
    }

    /// Rows of a whole group, a multiple of the rows of a panel.
    fn group_rows(&self) -> usize {
        MOST_ROWS / self.kind.width * self.kind.width
    }

    pub(super) fn count(&self) -> usize {
        self.rows.div_ceil(self.group_rows())
    }

    /// The rows of a group.
    pub(super) fn rows(&self, group: usize) -> Range<usize> {
        let length = self.group_rows();
        group * length..((group + 1) * length).min(self.rows)
    }

    pub(super) fn pack(&self, group: usize) {
        self.pack_with(group, SideOutputs::default());
    }

    /// Packs a group, with further uses of its rows.
    pub(super) fn pack_with(&self, group: usize, side: SideOutputs<'_>) {
        let Groups { kind: PanelKind { isa, format, width }, ref operand, depths, .. } = *self;
        let (rows, words) = (self.rows(group), depths.len().div_ceil(format.per_word()));
        let place = rows.start * words..rows.end.next_multiple_of(width) * words;
        // SAFETY: groups are disjoint, and each is packed by one task.
        let packed = unsafe { self.packed.part(0, place) };
        dispatch(isa, PackPanels { operand, format, rows, width, depths, packed, side });
    }
}
