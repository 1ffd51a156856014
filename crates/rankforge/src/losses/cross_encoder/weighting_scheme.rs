use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// How `LambdaLoss` weights a pair of documents. `G` is the gain of a document divided by the DCG
/// of the ideal ranking, `D_i = log2(1 + i)` the discount of position `i`, from 1; `i` and `j` are
/// the positions of the two documents in the ranking of the model.
///
/// Settings name it by its class, or by a table with the name and the setting of the class:
/// `"LambdaRankScheme"`, `{ name = "NDCGLoss2PPScheme", mu = 5 }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightingScheme {
    /// `NoWeightingScheme`: 1.
    NoWeighting,
    /// `NDCGLoss1Scheme`: `G_i / D_i`.
    NDCGLoss1,
    /// `NDCGLoss2Scheme`: `|1 / D_|i - j| - 1 / D_(|i - j| + 1)| |G_i - G_j|`.
    NDCGLoss2,
    /// `LambdaRankScheme`: `|1 / D_i - 1 / D_j| |G_i - G_j|`.
    LambdaRank,
    /// `NDCGLoss2PPScheme`: `mu` times the weight of `NDCGLoss2Scheme`, plus that of
    /// `LambdaRankScheme`.
    NDCGLoss2PP {
        /// Factor of the first weight; 10 by default.
        mu: f64,
    },
}

/// The names of the classes, without settings.
const NAMES: [(&str, WeightingScheme); 5] = [
    ("NoWeightingScheme", WeightingScheme::NoWeighting),
    ("NDCGLoss1Scheme", WeightingScheme::NDCGLoss1),
    ("NDCGLoss2Scheme", WeightingScheme::NDCGLoss2),
    ("LambdaRankScheme", WeightingScheme::LambdaRank),
    ("NDCGLoss2PPScheme", WeightingScheme::NDCGLoss2PP { mu: 10.0 }),
];

impl Default for WeightingScheme {
    fn default() -> WeightingScheme {
        WeightingScheme::NDCGLoss2PP { mu: 10.0 }
    }
}

impl WeightingScheme {
    /// The full name of the class in sentence-transformers, as in model cards.
    pub fn full_name(self) -> String {
        let same = |other: &WeightingScheme| {
            std::mem::discriminant(other) == std::mem::discriminant(&self)
        };
        let (name, _) = NAMES.iter().find(|(_, scheme)| same(scheme)).expect("all have a name");
        format!("sentence_transformers.cross_encoder.losses.lambda_loss.{name}")
    }

    /// The weight of the documents at positions `i` and `j`, from 0, whose gains these are.
    pub(super) fn weight(self, (i, j): (usize, usize), gain_i: f64, gain_j: f64) -> f64 {
        let discounted = |position: usize| 1.0 / discount(position);
        let difference = (gain_i - gain_j).abs();
        match self {
            WeightingScheme::NoWeighting => 1.0,
            WeightingScheme::NDCGLoss1 => gain_i * discounted(i),
            WeightingScheme::NDCGLoss2 if i == j => 0.0,
            WeightingScheme::NDCGLoss2 => {
                let apart = i.abs_diff(j);
                (discounted(apart - 1) - discounted(apart)).abs() * difference
            }
            WeightingScheme::LambdaRank => (discounted(i) - discounted(j)).abs() * difference,
            WeightingScheme::NDCGLoss2PP { mu } => {
                let of = |scheme: WeightingScheme| scheme.weight((i, j), gain_i, gain_j);
                mu * of(WeightingScheme::NDCGLoss2) + of(WeightingScheme::LambdaRank)
            }
        }
    }
}

/// `log2(1 + i)` for position `i` from 1; here `position` counts from 0.
pub(super) fn discount(position: usize) -> f64 {
    (position as f64 + 2.0).log2()
}

impl<'de> Deserialize<'de> for WeightingScheme {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WeightingScheme, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            name: String,
            mu: Option<f64>,
        }
        let (name, mu) = match Value::deserialize(deserializer)? {
            Value::Null => ("NoWeightingScheme".to_owned(), None),
            Value::String(name) if name.eq_ignore_ascii_case("none") => {
                ("NoWeightingScheme".to_owned(), None)
            }
            Value::String(name) => (name, None),
            table => {
                let Table { name, mu } = Table::deserialize(table).map_err(D::Error::custom)?;
                (name, mu)
            }
        };
        let last = name.rsplit('.').next().unwrap_or_default();
        match (NAMES.iter().find(|(known, _)| *known == last), mu) {
            (Some((_, scheme)), None) => Ok(*scheme),
            (Some((_, WeightingScheme::NDCGLoss2PP { .. })), Some(mu)) => {
                Ok(WeightingScheme::NDCGLoss2PP { mu })
            }
            (Some(_), Some(mu)) => {
                Err(D::Error::custom(format!("{name} has no setting mu, got {mu}")))
            }
            (None, _) => {
                let known = NAMES.map(|(name, _)| name).join(", ");
                let message = format!("unknown scheme \"{name}\": expected one of {known}, none");
                Err(D::Error::custom(message))
            }
        }
    }
}
