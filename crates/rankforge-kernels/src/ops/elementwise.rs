use crate::parallel::for_row_blocks;
use crate::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::{View, ViewMut};

/// `out += x`.
///
/// # Panics
/// When the shapes differ.
pub fn add(x: View<'_>, out: ViewMut<'_>) {
    out.expect_shape("out", x.rows, x.columns);
    let isa = x.device.isa();
    for_row_blocks(x.device, x.data.len(), 1, (x.flat(), out.flat()), |_, (x, out)| {
        dispatch(isa, Add { x: x.data, out: out.data });
    });
}

/// `x *= factor`.
pub fn scale(factor: f32, x: ViewMut<'_>) {
    let device = x.device;
    for_row_blocks(device, x.data.len(), 1, x.flat(), |_, x| {
        dispatch(device.isa(), Scale { factor, x: x.data });
    });
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

struct Scale<'a> {
    factor: f32,
    x: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let factor = S::splat(self.factor);
        for x in self.x.chunks_mut(S::LANES) {
            store_up_to::<S>(S::mul(load_up_to::<S>(x), factor), x);
        }
    }
}
