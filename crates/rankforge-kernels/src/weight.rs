use crate::buffer::View;
use crate::device::Device;
use crate::precision::Precision;
use crate::product::{Operand, PackedPanels};
use std::fmt;

/// The weight of a linear layer: a matrix, or one that was packed before.
///
/// Today both hold the weight in `f32` or rounded to half of it; bytes with a scale for each row
/// (int8) will be a variant of their own.
#[derive(Clone, Copy)]
pub enum Weight<'a> {
    /// `N x K`, packed anew by each product.
    View(View<'a>),
    /// Packed once, for many products.
    Packed(&'a PackedWeight),
}

impl<'a> Weight<'a> {
    /// Number of rows, `N`: the outputs of the layer.
    pub fn rows(&self) -> usize {
        match self {
            Weight::View(view) => view.rows(),
            Weight::Packed(packed) => packed.rows(),
        }
    }

    /// Number of columns, `K`: the inputs of the layer.
    pub fn columns(&self) -> usize {
        match self {
            Weight::View(view) => view.columns(),
            Weight::Packed(packed) => packed.columns(),
        }
    }
}

impl<'a> From<View<'a>> for Weight<'a> {
    fn from(view: View<'a>) -> Weight<'a> {
        Weight::View(view)
    }
}

impl<'a> From<&'a PackedWeight> for Weight<'a> {
    fn from(packed: &'a PackedWeight) -> Weight<'a> {
        Weight::Packed(packed)
    }
}

/// A weight packed once: what [`linear`](crate::ops::linear) does to its weight on each call, for
/// weights that stay the same from call to call, as in inference.
///
/// Products with it have the bits of those with the matrix itself.
///
/// # Units
/// Memory beside that of the matrix: about 4 bytes for each element, as many again as the matrix;
/// about 2 where products are made of bfloat16 pairs (`Precision::BFloat16` on
/// `Isa::Avx512Bf16`). The rows are padded to a multiple of 32 (16 without AVX-512). Once packed,
/// the matrix may be dropped.
#[derive(Clone)]
pub struct PackedWeight {
    device: Device,
    precision: Precision,
    rows: usize,
    columns: usize,
    panels: PackedPanels,
}

impl PackedWeight {
    /// Packs `weight`, `N x K`, for products in `precision` on its device.
    pub fn pack(weight: View<'_>, precision: Precision) -> PackedWeight {
        let (device, rows, columns) = (weight.device, weight.rows, weight.columns);
        let operand = Operand { data: weight.data, row_stride: columns, depth_stride: 1 };
        let panels = PackedPanels::pack(device, operand, rows, columns, precision);
        PackedWeight { device: device.clone(), precision, rows, columns, panels }
    }

    /// The device it was packed on and for.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The precision it was rounded to.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Number of rows of the matrix, `N`.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns of the matrix, `K`.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes of memory that the packed words take.
    pub fn size_in_bytes(&self) -> usize {
        self.panels.size_in_bytes()
    }

    pub(crate) fn panels(&self) -> &PackedPanels {
        &self.panels
    }
}

impl fmt::Debug for PackedWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PackedWeight { device, precision, rows, columns, .. } = self;
        write!(f, "PackedWeight({rows} x {columns} in {precision} on {device:?})")
    }
}
