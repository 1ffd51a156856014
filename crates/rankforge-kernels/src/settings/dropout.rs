/// Counter-based dropout: whether element `index` is kept is a pure function of `key` and `index`,
/// so a backward pass or a second forward pass draws the same mask without storing it.
///
/// Element `i` is kept when `bits(key, i) < round(2^24 (1 - p)) * 2^8`, in integers, so that every
/// device draws the same mask. `bits` is Wellons' 32-bit hash `triple32` of the lower half of `i`,
/// keyed by two words that [`Dropout::new`]'s mixer makes from the key and the upper half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// In `0..1`: kernels divide by `1 - p`, and count the kept bits from 1.
    probability: f32,
    key: u64,
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

    /// Probability that an element is zeroed, `0..1`; the others are multiplied by `1 / (1 - p)`.
    pub fn probability(&self) -> f32 {
        self.probability
    }

    /// What [`Dropout::new`] mixed from seed, step, batch part and place.
    pub fn key(&self) -> u64 {
        self.key
    }
}

/// The finaliser of SplitMix64 (Steele et al. 2014, OOPSLA) after one step of its counter.
pub(crate) fn mix(value: u64) -> u64 {
    let mut x = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
