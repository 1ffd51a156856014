//! Attention against a scalar twin in `f64` that holds the whole score matrix.

use crate::support::{
    EPS, assert_close, assert_same_bits_for_any_threads, central_difference, devices, random, wide,
};
use rankforge_kernels::ops::{
    Attention, Dropout, RelativeBias, attention, attention_backward, dropout, relative_bucket,
};
use rankforge_kernels::{Buffer, Device, Isa, Ragged};

/// A configuration with its numbers; `Case::default()` is plain attention.
struct Case {
    lengths: Vec<usize>,
    heads: usize,
    dim: usize,
    window: Option<usize>,
    causal: bool,
    /// Buckets and maximal distance.
    bias: Option<(usize, usize)>,
    dropout: Option<Dropout>,
    qkv: Vec<f32>,
    d_out: Vec<f32>,
    table: Vec<f32>,
}

/// What the backward twin gives.
struct Gradients {
    d_qkv: Vec<f64>,
    d_table: Vec<f64>,
}

impl Case {
    fn new(lengths: &[usize], heads: usize, dim: usize) -> Case {
        let tokens: usize = lengths.iter().sum();
        Case {
            lengths: lengths.to_vec(),
            heads,
            dim,
            window: None,
            causal: false,
            bias: None,
            dropout: None,
            // Three times as wide, so that the softmax is far from uniform.
            qkv: random(1, tokens * 3 * heads * dim).iter().map(|x| 3.0 * x).collect(),
            d_out: random(2, tokens * heads * dim),
            table: Vec::new(),
        }
    }

    fn with_bias(mut self, buckets: usize, max_distance: usize) -> Case {
        self.table = random(3, buckets * self.heads).iter().map(|x| 2.0 * x).collect();
        self.bias = Some((buckets, max_distance));
        self
    }

    fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn hidden(&self) -> usize {
        self.heads * self.dim
    }

    fn scale(&self) -> f64 {
        f64::from((1.0 / (self.dim as f64).sqrt()) as f32)
    }

    /// Output and normalisers of the operation, then with `backward` its gradients.
    fn run(&self, device: &Device, backward: bool) -> [Vec<f32>; 4] {
        let (tokens, hidden, heads) = (self.tokens(), self.hidden(), self.heads);
        let ragged = Ragged::from_lengths(self.lengths.iter().copied());
        let buckets = self.bias.map_or(0, |(buckets, _)| buckets);
        let table = Buffer::upload(device, buckets, heads, &self.table);
        let config = Attention {
            ragged: &ragged,
            heads,
            scale: self.scale() as f32,
            window: self.window,
            causal: self.causal,
            bias: self
                .bias
                .map(|(_, max_distance)| RelativeBias { table: table.view(), max_distance }),
            dropout: self.dropout,
        };
        let qkv = Buffer::upload(device, tokens, 3 * hidden, &self.qkv);
        // What was there before must not matter.
        let nan =
            |rows, columns| Buffer::upload(device, rows, columns, &vec![f32::NAN; rows * columns]);
        let (mut out, mut normalisers) = (nan(tokens, hidden), nan(tokens, heads));
        attention(&config, qkv.view(), out.view_mut(), normalisers.view_mut());
        let mut d_qkv = nan(tokens, 3 * hidden);
        let mut d_table = Buffer::zeros(device, buckets, heads);
        if backward {
            let d_out = Buffer::upload(device, tokens, hidden, &self.d_out);
            // Parameter gradients are added to what is there.
            d_table.view_mut().fill(1.0);
            attention_backward(
                &config,
                d_out.view(),
                qkv.view(),
                out.view(),
                normalisers.view(),
                d_qkv.view_mut(),
                self.bias.map(|_| d_table.view_mut()),
            );
        }
        let d_table = d_table.view().to_vec().iter().map(|x| x - 1.0).collect();
        [out.view().to_vec(), normalisers.view().to_vec(), d_qkv.view().to_vec(), d_table]
    }

    /// Dropout factors by the documented index, from the public operation.
    fn mask(&self) -> Vec<f64> {
        let (rows, columns) =
            (self.heads * self.tokens(), self.lengths.iter().copied().max().unwrap_or(0));
        let ones = vec![1.0; rows * columns];
        let Some(config) = self.dropout else { return wide(&ones) };
        let mut mask = Buffer::upload(&devices()[0], rows, columns, &ones);
        dropout(config, mask.view_mut());
        wide(&mask.view().to_vec())
    }

    fn sees(&self, query: usize, key: usize) -> bool {
        let near = self.window.is_none_or(|window| query.abs_diff(key) <= window);
        near && (key <= query || !self.causal)
    }

    /// Calls `f(head, first token, length, probabilities, mask factors)` for each head and sequence;
    /// both matrices are `length x length`. Returns the normalisers.
    fn for_heads(
        &self,
        qkv: &[f64],
        table: &[f64],
        mut f: impl FnMut(usize, usize, usize, &[f64], &[f64]),
    ) -> Vec<f64> {
        let (mask, longest) = (self.mask(), self.lengths.iter().copied().max().unwrap_or(0));
        let mut normalisers = vec![0.0; self.tokens() * self.heads];
        for head in 0..self.heads {
            let mut first = 0;
            for &length in &self.lengths {
                let mut p = vec![0.0; length * length];
                let mut m = vec![0.0; length * length];
                for i in 0..length {
                    let row = &mut p[i * length..][..length];
                    let seen = || (0..length).filter(|&j| self.sees(i, j));
                    for j in seen() {
                        let pair = |d| {
                            qkv[self.at(0, head, first + i, d)]
                                * qkv[self.at(1, head, first + j, d)]
                        };
                        let dot: f64 = (0..self.dim).map(pair).sum();
                        row[j] = dot * self.scale() + self.offset(table, head, i, j);
                        let mask_row = head * self.tokens() + first + i;
                        m[i * length + j] = mask[mask_row * longest + j];
                    }
                    let highest = seen().map(|j| row[j]).fold(f64::NEG_INFINITY, f64::max);
                    seen().for_each(|j| row[j] = (row[j] - highest).exp());
                    let sum: f64 = seen().map(|j| row[j]).sum();
                    seen().for_each(|j| row[j] /= sum);
                    normalisers[(first + i) * self.heads + head] = highest + sum.ln();
                }
                f(head, first, length, &p, &m);
                first += length;
            }
        }
        normalisers
    }

    fn offset(&self, table: &[f64], head: usize, query: usize, key: usize) -> f64 {
        let Some((buckets, max_distance)) = self.bias else { return 0.0 };
        let bucket = relative_bucket(key as isize - query as isize, buckets, max_distance);
        table[bucket * self.heads + head]
    }

    /// Index of a query (0), key (1) or value (2).
    fn at(&self, part: usize, head: usize, token: usize, d: usize) -> usize {
        token * 3 * self.hidden() + part * self.hidden() + head * self.dim + d
    }

    /// Output and normalisers of the twin.
    fn twin(&self, qkv: &[f64], table: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut out = vec![0.0; self.tokens() * self.hidden()];
        let normalisers = self.for_heads(qkv, table, |head, first, length, p, m| {
            for i in 0..length {
                for j in 0..length {
                    let weight = p[i * length + j] * m[i * length + j];
                    for d in 0..self.dim {
                        out[(first + i) * self.hidden() + head * self.dim + d] +=
                            weight * qkv[self.at(2, head, first + j, d)];
                    }
                }
            }
        });
        (out, normalisers)
    }

    /// Gradients of the twin, from the definition of the softmax's Jacobian.
    fn twin_backward(&self, qkv: &[f64], table: &[f64]) -> Gradients {
        let mut d_qkv = vec![0.0; qkv.len()];
        let mut d_table = vec![0.0; table.len()];
        let d_out = |head: usize, token: usize, d: usize| {
            f64::from(self.d_out[token * self.hidden() + head * self.dim + d])
        };
        self.for_heads(qkv, table, |head, first, length, p, m| {
            for i in 0..length {
                let d_p: Vec<f64> = (0..length)
                    .map(|j| {
                        let of_value =
                            |d| d_out(head, first + i, d) * qkv[self.at(2, head, first + j, d)];
                        m[i * length + j] * (0..self.dim).map(of_value).sum::<f64>()
                    })
                    .collect();
                let p = &p[i * length..][..length];
                let mean: f64 = p.iter().zip(&d_p).map(|(p, d)| p * d).sum();
                for j in (0..length).filter(|&j| self.sees(i, j)) {
                    let d_score = p[j] * (d_p[j] - mean);
                    for d in 0..self.dim {
                        let (q, k) =
                            (self.at(0, head, first + i, d), self.at(1, head, first + j, d));
                        d_qkv[q] += self.scale() * d_score * qkv[k];
                        d_qkv[k] += self.scale() * d_score * qkv[q];
                        d_qkv[self.at(2, head, first + j, d)] +=
                            p[j] * m[i * length + j] * d_out(head, first + i, d);
                    }
                    if let Some((buckets, max_distance)) = self.bias {
                        let distance = j as isize - i as isize;
                        let bucket = relative_bucket(distance, buckets, max_distance);
                        d_table[bucket * self.heads + head] += d_score;
                    }
                }
            }
        });
        Gradients { d_qkv, d_table }
    }

    /// Relative error allowed for a number that is a sum over keys of products with probabilities.
    ///
    /// A score of size `s` has an error of about `(D + 2) eps s` and the same for its normaliser; `e^x`
    /// makes an absolute error of the exponent a relative one of the probability.
    fn relative_error(&self, qkv: &[f64]) -> f64 {
        let norm = |part, head, token| {
            (0..self.dim).map(|d| qkv[self.at(part, head, token, d)].powi(2)).sum::<f64>().sqrt()
        };
        let mut largest = 0.0f64;
        for head in 0..self.heads {
            let longest =
                |part| (0..self.tokens()).map(|t| norm(part, head, t)).fold(0.0, f64::max);
            largest = largest.max(longest(0) * longest(1) * self.scale());
        }
        // Rounding errors of sums of n terms grow as sqrt(n); 4 is the margin over their mean.
        4.0 * EPS * (largest + 2.0) * (self.dim as f64).sqrt()
    }

    #[track_caller]
    fn check(&self, what: &str) {
        let (qkv, table) = (wide(&self.qkv), wide(&self.table));
        let (out, normalisers) = self.twin(&qkv, &table);
        let gradients = self.twin_backward(&qkv, &table);
        let relative = self.relative_error(&qkv);
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        let longest = self.lengths.iter().copied().max().unwrap_or(0) as f64;
        for device in devices() {
            let what =
                format!("{what} {:?} {} x {} {device:?}", self.lengths, self.heads, self.dim);
            let got = self.run(device, true);
            let allowed = relative * largest(&qkv);
            assert_close(&got[0], &out, |_| allowed, format!("output, {what}"));
            let allowed = relative * (1.0 + largest(&normalisers));
            assert_close(&got[1], &normalisers, |_| allowed, format!("normalisers, {what}"));
            // Gradients of keys and values are sums over queries too, whose errors are independent.
            let allowed = relative * (largest(&gradients.d_qkv) + 3.0) * longest.sqrt();
            assert_close(&got[2], &gradients.d_qkv, |_| allowed, format!("d_qkv, {what}"));
            let pairs = self.lengths.iter().map(|l| (l * l) as f64).sum::<f64>();
            let allowed = relative * (largest(&gradients.d_table) + 3.0) * pairs.sqrt();
            assert_close(&got[3], &gradients.d_table, |_| allowed, format!("d_bias, {what}"));
        }
    }
}

const LENGTHS: [usize; 12] = [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 130];

#[test]
fn attention_matches_its_twin_over_awkward_lengths_and_shapes() {
    for (heads, dim) in [(1, 32), (2, 8), (3, 16), (2, 64), (1, 20), (2, 3)] {
        Case::new(&LENGTHS, heads, dim).check("global");
    }
}

#[test]
fn windows_and_causality_hide_keys() {
    for window in [0, 1, 5, 16, 64, 200] {
        for causal in [false, true] {
            let case = Case::new(&LENGTHS, 2, 8);
            Case { window: Some(window), causal, ..case }
                .check(&format!("window {window} {causal}"));
        }
    }
    Case { causal: true, ..Case::new(&LENGTHS, 2, 20) }.check("causal");
}

#[test]
fn long_sequences_go_through_several_tiles() {
    Case::new(&[1050, 3], 1, 16).check("long");
    Case { window: Some(64), ..Case::new(&[1300], 1, 16) }.check("long window");
    Case { causal: true, ..Case::new(&[700], 1, 8) }.check("long causal");
}

#[test]
fn relative_bias_is_added_by_bucket() {
    Case::new(&LENGTHS, 3, 16).with_bias(32, 128).check("bias");
    Case::new(&[600, 17], 2, 8).with_bias(32, 128).check("bias, two tiles");
    let case = Case::new(&LENGTHS, 2, 8).with_bias(16, 64);
    Case { window: Some(9), ..case }.check("bias, window");
}

#[test]
fn dropout_is_drawn_by_the_documented_index_in_both_passes() {
    let dropout = Some(Dropout::new(0.1, 5, 6, 7, 8));
    Case { dropout, ..Case::new(&LENGTHS, 3, 16) }.check("dropout");
    Case { dropout, window: Some(20), ..Case::new(&[600, 41], 2, 8) }.check("dropout, window");
    let dropout = Some(Dropout::new(0.6, 5, 6, 7, 9));
    Case { dropout, causal: true, ..Case::new(&[130], 2, 8).with_bias(32, 128) }
        .check("all at once");
}

#[test]
fn scores_beyond_the_range_of_the_exponential_are_fine() {
    let mut case = Case::new(&[70, 530], 1, 8);
    case.qkv.iter_mut().for_each(|x| *x *= 10.0);
    case.check("large scores");
}

#[test]
fn twin_gradients_are_the_derivatives_of_the_twin() {
    let dropout = Some(Dropout::new(0.2, 1, 1, 1, 1));
    let case = Case { dropout, window: Some(6), ..Case::new(&[9, 1, 12], 2, 3).with_bias(8, 16) };
    let (qkv, table) = (wide(&case.qkv), wide(&case.table));
    let loss = |qkv: &[f64], table: &[f64]| -> f64 {
        let (out, _) = case.twin(qkv, table);
        out.iter().zip(&case.d_out).map(|(out, &d)| out * f64::from(d)).sum()
    };
    let gradients = case.twin_backward(&qkv, &table);
    // Central differences with a balanced step keep about two thirds of the digits.
    for (index, &expected) in gradients.d_qkv.iter().enumerate() {
        let got = central_difference(|qkv| loss(qkv, &table), &qkv, index);
        assert!((got - expected).abs() < 1e-8, "d_qkv {index}: {got} {expected}");
    }
    for (index, &expected) in gradients.d_table.iter().enumerate() {
        let got = central_difference(|table| loss(&qkv, table), &table, index);
        assert!((got - expected).abs() < 1e-8, "d_table {index}: {got} {expected}");
    }
}

#[test]
fn threads_do_not_change_bits() {
    let dropout = Some(Dropout::new(0.1, 5, 6, 7, 8));
    let case = Case { dropout, ..Case::new(&[40, 0, 130, 77, 5], 3, 20).with_bias(32, 128) };
    assert_same_bits_for_any_threads("attention", |device| case.run(device, true).concat());
}

#[test]
fn not_a_number_reaches_the_output() {
    for isa in Isa::available() {
        let device = Device::cpu_with(isa, 1).expect("available");
        for part in 0..3 {
            let mut case = Case::new(&[20], 1, 8);
            let at = case.at(part, 0, 5, 2);
            case.qkv[at] = f32::NAN;
            let [out, ..] = case.run(&device, false);
            assert!(out[5 * 8..6 * 8].iter().any(|x| x.is_nan()), "{isa}: part {part}");
        }
    }
}

#[test]
fn relative_buckets_are_those_of_mpnet() {
    // Where the bucket changes with growing distance, from transformers 5.23 with f32 logarithms.
    let starts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];
    for distance in 0..9000_usize {
        let bucket = starts.iter().rposition(|&start| start <= distance).expect("starts at 0");
        assert_eq!(relative_bucket(-(distance as isize), 32, 128), bucket, "-{distance}");
        if distance > 0 {
            assert_eq!(relative_bucket(distance as isize, 32, 128), 16 + bucket, "{distance}");
        }
    }
    assert_eq!(
        [9, 10, 22, 23, 53, 54, 900].map(|d| relative_bucket(d, 16, 128)),
        [12, 13, 13, 14, 14, 15, 15]
    );
}
