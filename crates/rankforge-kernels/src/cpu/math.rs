//! Vector functions over [`Simd`]: each is a polynomial with the coefficients' source beside it.

use crate::cpu::simd::Simd;

/// Below this the result would not be a normal number with the doubled polynomial.
const EXP_UNDERFLOW: f32 = -86.6;

/// `e^x` within 2 ulp; 0 below `2^-125`, infinity on overflow, NaN for NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(x: S::V) -> S::V {
    let splat = S::splat;
    // `min` and `max` return the second operand when one is NaN, so NaN goes through.
    let clamped = S::min(splat(89.0), S::max(splat(EXP_UNDERFLOW), x));
    let n = S::round(S::mul(clamped, splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts (Cody & Waite): the product with the first is exact.
    let r = S::mul_add(n, splat(-0.693_359_4), clamped);
    let r = S::mul_add(n, splat(2.121_944_4e-4), r);
    // 2 e^r, minimax on |r| <= ln(2) / 2 (Moshier's Cephes, expf, coefficients doubled): with the
    // factor 2 here, the power of two stays representable up to the overflow.
    let p = splat(2.0 * 1.987_569_1e-4);
    let p = S::mul_add(p, r, splat(2.0 * 1.398_199_9e-3));
    let p = S::mul_add(p, r, splat(2.0 * 8.333_452e-3));
    let p = S::mul_add(p, r, splat(2.0 * 4.166_579_6e-2));
    let p = S::mul_add(p, r, splat(2.0 * 1.666_666_5e-1));
    let p = S::mul_add(p, r, splat(1.0));
    let p = S::mul_add(p, S::mul(r, r), S::add(r, r));
    let p = S::add(p, splat(2.0));
    let result = S::scale(p, S::sub(n, splat(1.0)));
    S::select_less(x, splat(EXP_UNDERFLOW), splat(0.0), result)
}

/// `2^x` within 3 ulp for `x` up to 126, but never below `2^-126`; NaN for NaN.
///
/// Cheaper than [`exp`] by a third: softmax needs no more once its scores are in base 2.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(x: S::V) -> S::V {
    let splat = S::splat;
    // `min` and `max` return the second operand when one is NaN, so NaN goes through.
    let x = S::max(splat(-126.0), x);
    let n = S::round(x);
    let r = S::sub(x, n);
    // Our own minimax fit of degree 5 on |r| <= 1/2 that is exact at 0, relative error 9e-8.
    let p = splat(1.326_472_6e-3);
    let p = S::mul_add(p, r, splat(9.671_513e-3));
    let p = S::mul_add(p, r, splat(5.550_733_6e-2));
    let p = S::mul_add(p, r, splat(2.402_224_2e-1));
    // Almost ln 2.
    let p = S::mul_add(p, r, splat(std::f32::consts::LN_2 - 1.8e-7));
    let p = S::mul_add(p, r, splat(1.0));
    S::scale(p, n)
}

/// `σ(x) = 1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(x: S::V) -> S::V {
    let one = S::splat(1.0);
    // e^-|x| never overflows; the other half is its mirror, with no cancellation in either.
    let small = exp::<S>(S::sub(S::splat(0.0), S::abs(x)));
    let numerator = S::select_less(x, S::splat(0.0), small, one);
    S::div(numerator, S::add(one, small))
}

/// `σ(x)` and its derivative `σ(x) (1 - σ(x))`, which keeps its relative accuracy in both tails.
#[inline(always)]
pub(crate) fn sigmoid_and_slope<S: Simd>(x: S::V) -> (S::V, S::V) {
    let one = S::splat(1.0);
    let small = exp::<S>(S::sub(S::splat(0.0), S::abs(x)));
    let reciprocal = S::div(one, S::add(one, small));
    let other = S::mul(small, reciprocal);
    (S::select_less(x, S::splat(0.0), other, reciprocal), S::mul(other, reciprocal))
}

/// Hyperbolic tangent, within a few ulp everywhere, small arguments included.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(x: S::V) -> S::V {
    let splat = S::splat;
    let magnitude = S::abs(x);
    // (1 - e^-2|x|) / (1 + e^-2|x|) cancels near 0, where an odd polynomial takes over.
    let decay = exp::<S>(S::mul(magnitude, splat(-2.0)));
    let large = S::div(S::sub(splat(1.0), decay), S::add(splat(1.0), decay));
    // Minimax of (tanh(x) - x) / x^3 in x^2 on |x| < 0.625 (Moshier's Cephes, tanhf).
    let square = S::mul(x, x);
    let p = splat(-5.704_988_7e-3);
    let p = S::mul_add(p, square, splat(2.063_909e-2));
    let p = S::mul_add(p, square, splat(-5.373_971_6e-2));
    let p = S::mul_add(p, square, splat(1.333_144_2e-1));
    let p = S::mul_add(p, square, splat(-0.333_332_8));
    let small = S::mul_add(S::mul(p, square), magnitude, magnitude);
    S::copy_sign(S::select_less(magnitude, splat(0.625), small, large), x)
}

/// Distribution function and density of the standard normal distribution at `x`.
///
/// The lower tail keeps its relative accuracy (about `1e-6`), so it does not cancel in gelu.
#[inline(always)]
pub(crate) fn normal<S: Simd>(x: S::V) -> (S::V, S::V) {
    let splat = S::splat;
    let half_square = S::mul(S::mul(x, x), splat(0.5));
    let gaussian = exp::<S>(S::sub(splat(0.0), half_square));
    // With z = |x| / sqrt(2) and t = 1 / (1 + 0.3 z): erfc(z) = e^(-z²) t P(t), the form of
    // Abramowitz & Stegun 7.1.26; P is our own minimax fit, relative error 2e-8 where e^(-z²) > 0.
    // Beyond 30 the density is 0. `min` returns its second operand when one is NaN, so NaN goes
    // through.
    let magnitude = S::min(splat(30.0), S::abs(x));
    let scale = splat(0.3 * std::f32::consts::FRAC_1_SQRT_2);
    let t = S::reciprocal(S::mul_add(magnitude, scale, splat(1.0)));
    let p = splat(0.5 * -0.129_406_91);
    let p = S::mul_add(p, t, splat(0.5 * 0.484_953_47));
    let p = S::mul_add(p, t, splat(0.5 * -0.510_903_8));
    let p = S::mul_add(p, t, splat(0.5 * 0.545_987_7));
    let p = S::mul_add(p, t, splat(0.5 * -0.093_317_18));
    let p = S::mul_add(p, t, splat(0.5 * 0.214_285_02));
    let p = S::mul_add(p, t, splat(0.5 * 0.148_526_8));
    let p = S::mul_add(p, t, splat(0.5 * 0.170_684_7));
    let p = S::mul_add(p, t, splat(0.5 * 0.169_190_12));
    let tail = S::mul(S::mul(p, t), gaussian);
    let cdf = S::select_less(x, splat(0.0), tail, S::sub(splat(1.0), tail));
    (cdf, S::mul(gaussian, splat(0.398_942_3)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::{Kernel, dispatch};
    use crate::isa::Supported;

    #[derive(Clone, Copy)]
    enum MathFunction {
        Exp,
        Exp2,
        Sigmoid,
        Tanh,
    }

    struct Apply<'a>(MathFunction, &'a mut [f32]);

    impl Kernel for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self) {
            for chunk in self.1.chunks_mut(S::LANES) {
                let x = S::load_partial(chunk, 0.0);
                let y = match self.0 {
                    MathFunction::Exp => exp::<S>(x),
                    MathFunction::Exp2 => exp2::<S>(x),
                    MathFunction::Sigmoid => sigmoid::<S>(x),
                    MathFunction::Tanh => tanh::<S>(x),
                };
                S::store_partial(y, chunk);
            }
        }
    }

    /// Largest error in units of the last place of the result, over evenly spaced arguments.
    fn worst_ulp(function: MathFunction, twin: fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let count = 200_001;
        let step = f64::from(high - low) / f64::from(count - 1);
        let x: Vec<f32> = (0..count).map(|i| low + (f64::from(i) * step) as f32).collect();
        let mut worst = 0.0f64;
        for isa in Supported::all() {
            let mut y = x.clone();
            dispatch(isa, Apply(function, &mut y));
            for (&x, &y) in x.iter().zip(&y) {
                let expected = twin(f64::from(x));
                let rounded = (expected as f32).abs();
                let ulp = f64::from(f32::from_bits(rounded.to_bits() + 1)) - f64::from(rounded);
                worst = worst.max((f64::from(y) - expected).abs() / ulp);
            }
        }
        worst
    }

    fn at(function: MathFunction, x: f32) -> Vec<f32> {
        let apply = |isa| {
            let mut y = [x];
            dispatch(isa, Apply(function, &mut y));
            y[0]
        };
        Supported::all().into_iter().map(apply).collect()
    }

    #[test]
    fn exp_is_within_two_ulp() {
        let worst = worst_ulp(MathFunction::Exp, f64::exp, -86.5, 88.72);
        assert!(worst <= 2.0, "{worst} ulp");
        let worst = worst_ulp(MathFunction::Exp, f64::exp, -1.0, 1.0);
        assert!(worst <= 2.0, "{worst} ulp");
    }

    #[test]
    fn exp2_is_within_three_ulp_and_keeps_nan() {
        let worst = worst_ulp(MathFunction::Exp2, f64::exp2, -125.9, 126.0);
        assert!(worst <= 3.0, "{worst} ulp");
        let worst = worst_ulp(MathFunction::Exp2, f64::exp2, -1.0, 1.0);
        assert!(worst <= 3.0, "{worst} ulp");
        let least = at(MathFunction::Exp2, f32::NEG_INFINITY);
        assert!(least.iter().all(|&y| 0.0 < y && y < 2e-38));
        assert!(at(MathFunction::Exp2, f32::NAN).iter().all(|y| y.is_nan()));
    }

    #[test]
    fn exp_handles_the_ends_of_its_range() {
        for (x, expected) in [
            (0.0, 1.0),
            (f32::NEG_INFINITY, 0.0),
            (f32::MIN, 0.0),
            (-100.0, 0.0),
            (88.73, f32::INFINITY),
            (f32::MAX, f32::INFINITY),
            (f32::INFINITY, f32::INFINITY),
        ] {
            assert!(at(MathFunction::Exp, x).iter().all(|&y| y == expected), "exp({x})");
        }
        assert!(at(MathFunction::Exp, f32::NAN).iter().all(|y| y.is_nan()));
    }

    #[test]
    fn tanh_is_within_four_ulp_also_near_zero() {
        for (low, high) in [(-12.0, 12.0), (-0.7, 0.7), (-1e-3, 1e-3), (-1e-20, 1e-20)] {
            let worst = worst_ulp(MathFunction::Tanh, f64::tanh, low, high);
            assert!(worst <= 4.0, "{worst} ulp in {low}..{high}");
        }
        assert!(at(MathFunction::Tanh, -0.0).iter().all(|y| y.to_bits() == (-0.0f32).to_bits()));
        assert!(at(MathFunction::Tanh, f32::INFINITY).iter().all(|&y| y == 1.0));
        assert!(at(MathFunction::Tanh, f32::NEG_INFINITY).iter().all(|&y| y == -1.0));
        assert!(at(MathFunction::Tanh, f32::NAN).iter().all(|y| y.is_nan()));
    }

    #[test]
    fn sigmoid_is_within_four_ulp_in_both_tails() {
        let worst = worst_ulp(MathFunction::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -86.0, 86.0);
        assert!(worst <= 4.0, "{worst} ulp");
        assert!(at(MathFunction::Sigmoid, f32::NEG_INFINITY).iter().all(|&y| y == 0.0));
        assert!(at(MathFunction::Sigmoid, f32::INFINITY).iter().all(|&y| y == 1.0));
        assert!(at(MathFunction::Sigmoid, f32::NAN).iter().all(|y| y.is_nan()));
    }
}
