use crate::parallel::for_row_blocks;
use crate::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::{View, ViewMut};

/// `out += x`.
///
/// # Panics
/// When the shapes differ.
pub fn add(x: View<'_>, out: ViewMut<'_>) {
    out.expect_shape("out", x.rows, x.columns);
    let isa = x.device.cpu_isa();
    for_row_blocks(x.device, x.data.len(), 1, (x.flat(), out.flat()), |_, (x, out)| {
        dispatch(isa, Add { x: x.data, out: out.data });
    });
}

/// What [`zeros`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zeros {
    /// Every element is zero, of either sign.
    pub all: bool,
    /// Every element has the bits of -0.0: nothing was added since it was filled with them, as no
    /// sum with another number leaves -0.0.
    pub all_negative: bool,
}

/// Whether all elements of `x` are zero, and whether all are negative zeros; both hold for no
/// element at all.
///
/// Waits for the device.
pub fn zeros(x: View<'_>) -> Zeros {
    dispatch(x.device.cpu_isa(), FindZeros(x.data))
}

struct Add<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (x, out) in self.x.chunks(S::LANES).zip(self.out.chunks_mut(S::LANES)) {
            store_up_to::<S>(S::add(load_up_to::<S>(out), load_up_to::<S>(x)), out);
        }
    }
}

struct FindZeros<'a>(&'a [f32]);

/// Elements that are looked at before the search may end.
const STRETCH: usize = 1024;

impl Kernel for FindZeros<'_> {
    type Output = Zeros;

    #[inline(always)]
    fn run<S: Simd>(self) -> Zeros {
        let mut found = Zeros { all: true, all_negative: true };
        for stretch in self.0.chunks(STRETCH) {
            // Bits that any element has, and bits that all have.
            let (mut any, mut every) = (0, u32::MAX);
            for element in stretch {
                any |= element.to_bits();
                every &= element.to_bits();
            }
            found.all &= any << 1 == 0;
            found.all_negative &= any == SIGN && every == SIGN;
            if !found.all {
                break;
            }
        }
        found
    }
}

/// The bits of -0.0.
const SIGN: u32 = 1 << 31;
