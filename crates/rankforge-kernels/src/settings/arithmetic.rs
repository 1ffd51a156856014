/// A kind of multiply-adds, whose rate on a device [`peak`](crate::peak()) measures: no operation
/// of such multiply-adds can be faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Of `f32` factors, summed in `f32`.
    Float32,
    /// Of pairs of bfloat16 factors, summed in `f32`.
    BFloat16,
    /// Of four bytes at a time, summed in 32 bits.
    Int8,
}
