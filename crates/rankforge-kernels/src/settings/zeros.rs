/// What [`zeros`](crate::ops::zeros) finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zeros {
    /// Every element is zero, of either sign.
    pub all: bool,
    /// Every element has the bits of -0.0: nothing was added since it was filled with them, as no
    /// sum with another number leaves -0.0.
    pub all_negative: bool,
}
