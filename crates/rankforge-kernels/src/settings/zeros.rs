/// What [`zeros`](crate::ops::zeros) finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zeros {
    /// Every element is zero, of either sign.
    pub all: bool,
    /// Every element has the bits of -0.0. A matrix filled with -0.0 to which anything was added
    /// does not: only -0.0 added to -0.0 is -0.0.
    pub all_negative: bool,
}
