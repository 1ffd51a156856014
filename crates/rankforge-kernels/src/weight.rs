use crate::cpu::matmul::{Operand, PackedPanels, PanelRows};
use crate::cpu::matrix as cpu;
use crate::device::{Device, Kind};
use crate::precision::Precision;
use crate::reference::linear::{RoundedRows, RoundedWeight};
use crate::reference::matrix as reference;
use crate::settings::linear::WeightOf;
use crate::view::View;
use std::fmt;
use std::ops::Range;

/// The weight of a linear layer: a matrix, or one that was packed before.
///
/// An int8 weight (bytes with a scale for each row) will be a third variant.
#[derive(Clone)]
pub enum Weight<'a> {
    /// A matrix, `N x K`; each product packs it again.
    View(View<'a>),
    /// Packed once, for many products.
    Packed(PackedRows<'a>),
}

impl<'a> Weight<'a> {
    /// Number of rows, `N`: the outputs of the layer.
    pub fn rows(&self) -> usize {
        match self {
            Weight::View(view) => view.rows(),
            Weight::Packed(packed) => packed.rows.len(),
        }
    }

    /// Number of columns, `K`: the inputs of the layer.
    pub fn columns(&self) -> usize {
        match self {
            Weight::View(view) => view.columns(),
            Weight::Packed(packed) => packed.weight.columns,
        }
    }

    /// The weight as CPU kernels take it, for an operation on `device`.
    #[track_caller]
    pub(crate) fn host(self, device: &Device) -> WeightOf<cpu::Matrix<'a>, PanelRows<'a>> {
        match self {
            Weight::View(view) => WeightOf::Matrix(view.host(device)),
            Weight::Packed(PackedRows { weight, rows }) => match &weight.packed {
                // Panels are as wide as the instruction set's vectors.
                PackedFor::Cpu(panels) if weight.device.isa() == device.isa() => {
                    WeightOf::Packed(panels.slice_rows(rows))
                }
                _ => packed_elsewhere(weight, device),
            },
        }
    }

    /// The weight as the reference device takes it, for an operation on `device`.
    #[track_caller]
    pub(crate) fn reference(
        self,
        device: &Device,
    ) -> WeightOf<reference::Matrix<'a>, RoundedRows<'a>> {
        match self {
            Weight::View(view) => WeightOf::Matrix(view.reference(device)),
            Weight::Packed(PackedRows { weight, rows }) => match &weight.packed {
                PackedFor::Reference(rounded) if weight.device.same(device) => {
                    WeightOf::Packed(RoundedRows { weight: rounded, rows })
                }
                _ => packed_elsewhere(weight, device),
            },
        }
    }
}

/// `packed` as the weight of a product on `device`, which cannot read it.
#[cold]
#[track_caller]
fn packed_elsewhere(packed: &PackedWeight, device: &Device) -> ! {
    panic!("{packed:?} as the weight of a product on {device:?}")
}

impl<'a> From<View<'a>> for Weight<'a> {
    fn from(view: View<'a>) -> Weight<'a> {
        Weight::View(view)
    }
}

impl<'a> From<&'a PackedWeight> for Weight<'a> {
    fn from(packed: &'a PackedWeight) -> Weight<'a> {
        Weight::Packed(packed.slice_rows(0..packed.rows))
    }
}

impl<'a> From<PackedRows<'a>> for Weight<'a> {
    fn from(rows: PackedRows<'a>) -> Weight<'a> {
        Weight::Packed(rows)
    }
}

/// Some rows of a [`PackedWeight`].
#[derive(Clone, Debug)]
pub struct PackedRows<'a> {
    weight: &'a PackedWeight,
    rows: Range<usize>,
}

impl PackedRows<'_> {
    /// The precision they were rounded to.
    pub fn precision(&self) -> Precision {
        self.weight.precision
    }
}

/// A weight packed once for many products: [`linear`](crate::ops::linear) rounds and rearranges a
/// matrix on every call, which inference, where weights do not change, can do beforehand.
///
/// Products with it have the bits of products with the matrix.
///
/// # Units
/// It takes 4 bytes for each element, as much as the matrix, or 2 where products are of bfloat16
/// pairs (`Precision::BFloat16` on `Isa::Avx512Bf16`), with rows padded to a multiple of 32 (16
/// without AVX-512). The matrix is not needed any more and may be dropped.
#[derive(Clone)]
pub struct PackedWeight {
    device: Device,
    precision: Precision,
    rows: usize,
    columns: usize,
    packed: PackedFor,
}

/// A weight as a device packs it.
#[derive(Clone)]
enum PackedFor {
    Cpu(PackedPanels),
    Reference(RoundedWeight),
}

impl PackedWeight {
    /// Packs `weight`, `N x K`, for products in `precision` on its device.
    pub fn pack(weight: View<'_>, precision: Precision) -> PackedWeight {
        let (device, rows, columns) = (weight.device(), weight.rows(), weight.columns());
        let packed = match device.kind() {
            Kind::Cpu(cpu) => {
                let data = weight.host(device).data;
                let operand = Operand { data, row_stride: columns, depth_stride: 1 };
                PackedFor::Cpu(PackedPanels::pack(cpu, operand, rows, columns, precision))
            }
            Kind::Reference(_) => {
                PackedFor::Reference(RoundedWeight::of(weight.reference(device), precision))
            }
        };
        PackedWeight { device: device.clone(), precision, rows, columns, packed }
    }

    /// The device it was packed on. Products on it take the weight; CPU devices with the same
    /// instruction set do too.
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

    /// The rows in `rows`: a weight of their own.
    ///
    /// # Panics
    /// When the matrix lacks them, or the first is not one where a part can begin.
    #[track_caller]
    pub fn slice_rows(&self, rows: Range<usize>) -> PackedRows<'_> {
        let all = self.rows;
        assert!(rows.start <= rows.end && rows.end <= all, "rows {rows:?} of a weight of {all}");
        let can_begin = PackedWeight::can_begin_at(&self.device, rows.start);
        assert!(can_begin, "rows {rows:?} begin within a panel");
        PackedRows { weight: self, rows }
    }

    /// Whether a part of a weight that is packed on `device` can begin at a row: where a panel
    /// begins, at each multiple of 32 (16 without AVX-512).
    pub fn can_begin_at(device: &Device, row: usize) -> bool {
        match device.kind() {
            Kind::Cpu(cpu) => PackedPanels::can_begin_at(cpu, row),
            Kind::Reference(_) => true,
        }
    }

    /// Bytes of memory that it takes.
    pub fn size_in_bytes(&self) -> usize {
        match &self.packed {
            PackedFor::Cpu(panels) => panels.size_in_bytes(),
            PackedFor::Reference(rounded) => rounded.size_in_bytes(),
        }
    }
}

impl fmt::Debug for PackedWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PackedWeight { device, precision, rows, columns, .. } = self;
        write!(f, "PackedWeight({rows} x {columns} in {precision} on {device:?})")
    }
}
