/// Multiply-adds whose peak rate can be measured: the roofs that operations are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `f32` factors and sums.
    Float32,
    /// Pairs of bfloat16 factors, `f32` sums.
    BFloat16,
    /// Four products of bytes, 32-bit sums.
    Int8,
}
