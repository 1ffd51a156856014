use crate::device::Kind;
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// Counter-based dropout: whether element `index` is kept is a pure function of `key` and `index`,
/// so a backward pass or a second forward pass draws the same mask without storing it.
///
/// Element `i` is kept when `bits(key, i) < round(2^24 (1 - p)) * 2^8`, in integers, so that every
/// device draws the same mask. `bits` is Wellons' 32-bit hash `triple32` of the lower half of `i`,
/// keyed by two words that [`Dropout::new`]'s mixer makes of the key and the upper half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability that a number is zeroed, `0..1`; the others are scaled by `1 / (1 - p)`.
    pub probability: f32,
    /// Mixed from seed, step, batch part, layer and place by [`Dropout::new`].
    pub key: u64,
}

impl Dropout {
    /// Mixes the coordinates of one use of dropout into a key.
    ///
    /// `step` counts micro-batches of the run, `part` the gradient-caching chunk within one,
    /// `place` which dropout of the model (layer and site).
    ///
    /// # Panics
    /// When `probability` is not in `0..1`.
    pub fn new(probability: f32, seed: u64, step: u64, part: u64, place: u64) -> Dropout {
        assert!(
            (0.0..1.0).contains(&probability),
            "dropout probability {probability}, not in 0..1"
        );
        let key = [seed, step, part, place].into_iter().fold(0, |key, value| mix(key ^ mix(value)));
        Dropout { probability, key }
    }
}

/// `x = mask * x / (1 - p)` in place; the index of an element is `row * columns + column`. Its own
/// backward.
pub fn dropout(dropout: Dropout, x: ViewMut<'_>) {
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => cpu::dropout::dropout(cpu, dropout, x.host(device)),
        Kind::Reference(_) => reference::dropout::dropout(dropout, x.reference(device)),
    }
}

/// `out = mask * x / (1 - p)`: [`dropout`] that leaves `x` as it is.
///
/// # Shapes
/// Both of the same shape.
///
/// # Panics
/// When the shapes differ.
pub fn dropout_to(dropout: Dropout, x: View<'_>, out: ViewMut<'_>) {
    out.expect_shape("out", x.rows(), x.columns());
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => cpu::dropout::dropout_to(cpu, dropout, x.host(device), out.host(device)),
        Kind::Reference(_) => {
            reference::dropout::dropout_to(dropout, x.reference(device), out.reference(device));
        }
    }
}

/// The finaliser of SplitMix64 (Steele et al. 2014, OOPSLA) after one step of its counter.
pub(crate) fn mix(value: u64) -> u64 {
    let mut x = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
