//! Values of fields that several sections have.

use rankforge_base::{nearest, quoted_list};
use rankforge_kernels::ops::Similarity;
use serde::Deserialize;
use std::num::NonZeroUsize;
use toml::Value;

/// The name of a similarity function.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct SimilarityName(pub Similarity);

impl TryFrom<String> for SimilarityName {
    type Error = String;

    fn try_from(name: String) -> Result<SimilarityName, String> {
        Similarity::from_name(&name).map(SimilarityName).ok_or_else(|| {
            let names = Similarity::ALL.map(Similarity::name);
            let near = nearest(&name, names).map(|near| format!(" (did you mean {near}?)"));
            let near = near.unwrap_or_default();
            format!("expected one of {}, got \"{name}\"{near}", quoted_list(names))
        })
    }
}

/// The similarity functions of names.
pub(super) fn similarities(names: &[SimilarityName]) -> Vec<Similarity> {
    names.iter().map(|name| name.0).collect()
}

/// One number of dimensions, or several.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Dimensions(pub Vec<usize>);

impl TryFrom<Value> for Dimensions {
    type Error = String;

    fn try_from(value: Value) -> Result<Dimensions, String> {
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        let one = |value: &Value| match value {
            Value::Integer(number) if *number > 0 => Ok(*number as usize),
            other => Err(format!("expected dimensions of at least 1, got {other}")),
        };
        values.iter().map(one).collect::<Result<_, _>>().map(Dimensions)
    }
}

/// A margin for all similarity functions, or one for each by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Margins(pub [f32; Similarity::ALL.len()]);

impl TryFrom<Value> for Margins {
    type Error = String;

    fn try_from(value: Value) -> Result<Margins, String> {
        let number = |value: &Value| match value {
            Value::Integer(number) => Ok(*number as f32),
            Value::Float(number) => Ok(*number as f32),
            other => Err(format!("expected a number, got {other}")),
        };
        let Value::Table(table) = value else {
            return Ok(Margins([number(&value)?; Similarity::ALL.len()]));
        };
        let mut margins = Margins::default();
        for (name, value) in table {
            let known = SimilarityName::try_from(name)?.0;
            let place = Similarity::ALL.iter().position(|function| *function == known);
            margins.0[place.expect("ALL lists every similarity")] = number(&value)?;
        }
        Ok(margins)
    }
}

/// A count, where there is one.
pub(super) fn count(value: Option<NonZeroUsize>, default: usize) -> usize {
    value.map_or(default, NonZeroUsize::get)
}
