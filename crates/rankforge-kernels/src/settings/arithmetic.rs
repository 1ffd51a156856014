/// Multiply-adds whose peak rate can be measured, as the roof for the rates of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Of `f32` factors, summed in `f32`.
    Float32,
    /// Of pairs of bfloat16 factors, summed in `f32`.
    BFloat16,
    /// Of four bytes at a time, summed in 32 bits.
    Int8,
}
