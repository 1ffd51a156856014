use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::for_row_blocks;
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::settings::dropout::{Dropout, mix};

pub(crate) fn dropout(cpu: &Cpu, dropout: Dropout, x: MatrixMut<'_>) {
    for_row_blocks(cpu, x.data.len(), 1, x.flat(), |first, x| {
        let mask = Mask::of(dropout);
        dispatch(cpu.isa(), ScaleRow { mask, first: first as u64, row: x.data });
    });
}

pub(crate) fn dropout_to(cpu: &Cpu, dropout: Dropout, x: Matrix<'_>, out: MatrixMut<'_>) {
    for_row_blocks(cpu, x.data.len(), 1, (x.flat(), out.flat()), |first, (x, out)| {
        let mask = Mask::of(dropout);
        dispatch(cpu.isa(), ScaleTo { mask, first: first as u64, x: x.data, out: out.data });
    });
}

struct ScaleTo<'a> {
    mask: Mask,
    first: u64,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for ScaleTo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let chunks = self.x.chunks(S::LANES).zip(self.out.chunks_mut(S::LANES));
        for ((x, out), index) in chunks.zip((self.first..).step_by(S::LANES)) {
            store_up_to::<S>(S::mul(load_up_to::<S>(x), self.mask.factors::<S>(index)), out);
        }
    }
}

struct ScaleRow<'a> {
    mask: Mask,
    first: u64,
    row: &'a mut [f32],
}

impl Kernel for ScaleRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self) {
        self.mask.scale_row::<S>(self.first, self.row);
    }
}

/// Mask factors, `1 / (1 - p)` or 0, by index; integer arithmetic only, so that every instruction
/// set draws the same mask.
#[derive(Clone, Copy)]
pub(crate) struct Mask {
    key: u64,
    /// Upper half of the indices that `words` are for.
    high: u32,
    words: [u32; 2],
    /// Elements whose 32 random bits are at most this are kept: a multiple of 2^-24 of all.
    bound: u32,
    factor: f32,
}

impl Mask {
    /// The mask of `dropout`.
    pub(crate) fn of(dropout: Dropout) -> Mask {
        let keep = 1.0 - f64::from(dropout.probability());
        Mask {
            key: dropout.key(),
            high: 0,
            words: words(dropout.key(), 0),
            bound: ((keep * f64::from(1 << 24)).round() as u64 * 256 - 1) as u32,
            factor: (1.0 / keep) as f32,
        }
    }

    /// The factor of one index.
    #[inline(always)]
    pub(crate) fn factor(&mut self, index: u64) -> f32 {
        self.enter((index >> 32) as u32);
        let bits = scramble_one(index as u32, self.words);
        if bits <= self.bound { self.factor } else { 0.0 }
    }

    /// The factors of `LANES` indices from `first` on.
    #[inline(always)]
    pub(crate) fn factors<S: Simd>(&mut self, first: u64) -> S::V {
        let high = (first >> 32) as u32;
        if ((first + S::LANES as u64 - 1) >> 32) as u32 != high {
            let mut lanes = [0.0; 16];
            for (index, lane) in (first..).zip(&mut lanes[..S::LANES]) {
                *lane = self.factor(index);
            }
            return S::load(&lanes);
        }
        self.enter(high);
        let bits = scramble::<S>(S::counters(first as u32), self.words);
        S::keep_up_to(bits, self.bound, S::splat(self.factor))
    }

    /// Multiplies `row` by the factors of the indices from `first` on.
    #[inline(always)]
    pub(crate) fn scale_row<S: Simd>(&mut self, first: u64, row: &mut [f32]) {
        for (chunk, index) in row.chunks_mut(S::LANES).zip((first..).step_by(S::LANES)) {
            let factors = self.factors::<S>(index);
            if chunk.len() == S::LANES {
                S::store(S::mul(S::load(chunk), factors), chunk);
            } else {
                S::store_partial(S::mul(S::load_partial(chunk, 0.0), factors), chunk);
            }
        }
    }

    /// Sets `words` for the upper half `high`.
    #[inline(always)]
    fn enter(&mut self, high: u32) {
        if high != self.high {
            self.high = high;
            self.words = words(self.key, high);
        }
    }
}

/// The two key words for the upper half of an index.
#[inline(never)]
fn words(key: u64, high: u32) -> [u32; 2] {
    let mixed = mix(key ^ mix(u64::from(high)));
    [mixed as u32, (mixed >> 32) as u32]
}

/// A 32-bit mixing hash of three multiplications (Wellons' triple32) with one word of key before
/// it and one after its first round; one word alone would give every key the same mask, permuted.
#[inline(always)]
fn scramble<S: Simd>(counters: S::U, words: [u32; 2]) -> S::U {
    let x = S::xor_u32(counters, S::splat_u32(words[0]));
    let x = S::xor_u32(x, S::shift_right_u32::<17>(x));
    let x = S::mul_u32(x, S::splat_u32(0xed5a_d4bb));
    let x = S::add_u32(x, S::splat_u32(words[1]));
    let x = S::xor_u32(x, S::shift_right_u32::<11>(x));
    let x = S::mul_u32(x, S::splat_u32(0xac4c_1b51));
    let x = S::xor_u32(x, S::shift_right_u32::<15>(x));
    let x = S::mul_u32(x, S::splat_u32(0x3184_8bab));
    S::xor_u32(x, S::shift_right_u32::<14>(x))
}

/// [`scramble`] of one counter.
fn scramble_one(counter: u32, words: [u32; 2]) -> u32 {
    let x = counter ^ words[0];
    let x = (x ^ (x >> 17)).wrapping_mul(0xed5a_d4bb).wrapping_add(words[1]);
    let x = (x ^ (x >> 11)).wrapping_mul(0xac4c_1b51);
    let x = (x ^ (x >> 15)).wrapping_mul(0x3184_8bab);
    x ^ (x >> 14)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Supported;

    #[test]
    fn a_run_across_two_to_the_32_draws_what_single_indices_draw() {
        let boundary = 1u64 << 32;
        for start in [boundary - 40, boundary - 16, boundary - 1, boundary, 3 * boundary - 7] {
            let mask = Mask::of(Dropout::new(0.5, 1, 2, 3, 4));
            let mut single = mask;
            let expected: Vec<f32> = (start..start + 77).map(|i| single.factor(i)).collect();
            assert!(expected.contains(&0.0) && expected.contains(&2.0));
            for isa in Supported::all() {
                let mut row = vec![1.0; 77];
                dispatch(isa, ScaleRow { mask, first: start, row: &mut row });
                assert_eq!(row, expected, "from {start} on {isa:?}");
            }
        }
    }

    #[test]
    fn indices_two_to_the_32_apart_draw_independently() {
        let mut mask = Mask::of(Dropout::new(0.5, 1, 2, 3, 4));
        let count = 1 << 16;
        let mut draw = |first: u64| -> Vec<bool> {
            (first..first + count).map(|index| mask.factor(index) == 0.0).collect()
        };
        let (low, high) = (draw(0), draw(1 << 32));
        let equal = low.iter().zip(&high).filter(|(a, b)| a == b).count() as f64;
        // Five standard deviations of a fair coin.
        let allowed = 5.0 * 0.5 * (count as f64).sqrt();
        assert!((equal - count as f64 / 2.0).abs() < allowed, "{equal} of {count} agree");
    }
}
