use crate::error::Error;
use rankforge_base::{nearest, quoted_list};
use rankforge_encoder::Outputs;
use std::fmt;
use std::str::FromStr;

/// The number that an element of an embedding becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingPrecision {
    /// Unchanged.
    Float32,
    /// One of 256 steps between the least and the greatest value of its dimension, from -128.
    Int8,
    /// The same steps, from 0.
    Uint8,
    /// A bit, 1 for a positive value. Eight dimensions are a byte, the first its highest bit; the
    /// byte is stored minus 128, signed.
    Binary,
    /// The same bits, unsigned.
    Ubinary,
}

impl EmbeddingPrecision {
    /// All of them.
    pub const ALL: [EmbeddingPrecision; 5] = [
        EmbeddingPrecision::Float32,
        EmbeddingPrecision::Int8,
        EmbeddingPrecision::Uint8,
        EmbeddingPrecision::Binary,
        EmbeddingPrecision::Ubinary,
    ];

    /// Its name in sentence-transformers.
    pub fn name(self) -> &'static str {
        match self {
            EmbeddingPrecision::Float32 => "float32",
            EmbeddingPrecision::Int8 => "int8",
            EmbeddingPrecision::Uint8 => "uint8",
            EmbeddingPrecision::Binary => "binary",
            EmbeddingPrecision::Ubinary => "ubinary",
        }
    }

    /// Whether it depends on the ranges of the dimensions: int8 and uint8.
    pub fn needs_ranges(self) -> bool {
        matches!(self, EmbeddingPrecision::Int8 | EmbeddingPrecision::Uint8)
    }
}

impl fmt::Display for EmbeddingPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EmbeddingPrecision {
    type Err = Error;

    fn from_str(name: &str) -> Result<EmbeddingPrecision, Error> {
        let known = EmbeddingPrecision::ALL;
        known.into_iter().find(|precision| precision.name() == name).ok_or_else(|| {
            let names = known.map(EmbeddingPrecision::name);
            let got = match nearest(name, names) {
                Some(near) => format!("{name} (did you mean {near}?)"),
                None => name.to_owned(),
            };
            Error::argument("precision", format!("one of {}", quoted_list(names)), got)
        })
    }
}

/// The least and the greatest value of each dimension, which int8 and uint8 divide into steps.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizationRanges {
    /// `E` values.
    pub minimum: Vec<f32>,
    /// `E` values.
    pub maximum: Vec<f32>,
}

impl QuantizationRanges {
    /// The number of embeddings below which ranges are not stable.
    pub const STABLE: usize = 100;

    /// The ranges of calibration embeddings, `B x E`.
    ///
    /// # Errors
    /// When there are fewer than two.
    pub fn of(embeddings: &Outputs) -> Result<QuantizationRanges, Error> {
        if embeddings.rows < 2 {
            let expected = "at least two embeddings, as ranges of one are points";
            return Err(Error::argument("calibration_embeddings", expected, embeddings.rows));
        }
        let mut ranges = QuantizationRanges {
            minimum: vec![f32::INFINITY; embeddings.columns],
            maximum: vec![f32::NEG_INFINITY; embeddings.columns],
        };
        for row in embeddings.values.chunks(embeddings.columns.max(1)) {
            for (dimension, value) in row.iter().enumerate() {
                ranges.minimum[dimension] = ranges.minimum[dimension].min(*value);
                ranges.maximum[dimension] = ranges.maximum[dimension].max(*value);
            }
        }
        Ok(ranges)
    }
}

/// A row-major matrix of quantised embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedEmbeddings {
    /// Number of embeddings.
    pub rows: usize,
    /// Number of elements of a row: the dimension, or an eighth of it, rounded up, for bits.
    pub columns: usize,
    /// The `rows * columns` elements.
    pub values: QuantizedValues,
}

/// The elements of [`QuantizedEmbeddings`].
#[derive(Clone, Debug, PartialEq)]
pub enum QuantizedValues {
    /// Of `float32`.
    Float32(Vec<f32>),
    /// Of `int8` and `binary`.
    Int8(Vec<i8>),
    /// Of `uint8` and `ubinary`.
    Uint8(Vec<u8>),
}

/// Embeddings with elements of another precision.
///
/// `int8` and `uint8` are `floor((x - minimum) / step)` with `step = (maximum - minimum) / 255` of
/// the dimension, limited to 256 steps; a dimension whose range is a point has steps of 1. Without
/// `ranges` those of `embeddings` are used. The other precisions do not use them.
///
/// # Shapes
/// `embeddings`: `B x E`; the result has `B` rows of `E` numbers, or of `E / 8` bytes of bits,
/// rounded up.
///
/// # Errors
/// Ranges of another dimension, or none when they are needed and there is only one embedding.
///
/// # Examples
/// ```
/// use rankforge::encoder::Outputs;
/// use rankforge::util::{EmbeddingPrecision, QuantizedValues, quantize_embeddings};
///
/// let embeddings = Outputs { rows: 2, columns: 3, values: vec![1.0, 0.0, 0.5, 0.2, 1.0, -1.0] };
/// let bits = quantize_embeddings(embeddings, EmbeddingPrecision::Ubinary, None)?;
/// assert_eq!((bits.rows, bits.columns), (2, 1));
/// assert_eq!(bits.values, QuantizedValues::Uint8(vec![0b1010_0000, 0b1100_0000]));
/// # Ok::<(), rankforge::Error>(())
/// ```
pub fn quantize_embeddings(
    embeddings: Outputs,
    precision: EmbeddingPrecision,
    ranges: Option<&QuantizationRanges>,
) -> Result<QuantizedEmbeddings, Error> {
    let signed = |bytes: Vec<u8>| {
        QuantizedValues::Int8(bytes.into_iter().map(|byte| byte.wrapping_sub(128) as i8).collect())
    };
    let rows = embeddings.rows;
    let columns = match precision {
        EmbeddingPrecision::Binary | EmbeddingPrecision::Ubinary => embeddings.columns.div_ceil(8),
        _ => embeddings.columns,
    };
    let values = match precision {
        EmbeddingPrecision::Float32 => QuantizedValues::Float32(embeddings.values),
        EmbeddingPrecision::Int8 => signed(steps(&embeddings, ranges)?),
        EmbeddingPrecision::Uint8 => QuantizedValues::Uint8(steps(&embeddings, ranges)?),
        EmbeddingPrecision::Binary => signed(bits(&embeddings)),
        EmbeddingPrecision::Ubinary => QuantizedValues::Uint8(bits(&embeddings)),
    };
    Ok(QuantizedEmbeddings { rows, columns, values })
}

/// The step of each element within the range of its dimension, 0 to 255.
fn steps(embeddings: &Outputs, ranges: Option<&QuantizationRanges>) -> Result<Vec<u8>, Error> {
    if embeddings.rows == 0 {
        return Ok(Vec::new());
    }
    let own;
    let ranges = match ranges {
        Some(ranges) => ranges,
        None => {
            own = QuantizationRanges::of(embeddings)?;
            &own
        }
    };
    let dimensions = (ranges.minimum.len(), ranges.maximum.len());
    if dimensions != (embeddings.columns, embeddings.columns) {
        let got = format!("{} and {}", dimensions.0, dimensions.1);
        let expected = format!("{} minima and maxima", embeddings.columns);
        return Err(Error::argument("ranges", expected, got));
    }
    let scales: Vec<(f32, f32)> = ranges
        .minimum
        .iter()
        .zip(&ranges.maximum)
        .map(|(minimum, maximum)| {
            let step = (maximum - minimum) / 255.0;
            (*minimum, if step == 0.0 { 1.0 } else { step })
        })
        .collect();
    let rows = embeddings.values.chunks(embeddings.columns.max(1));
    let step = |(value, (start, step)): (&f32, &(f32, f32))| {
        ((value - start) / step).floor().clamp(0.0, 255.0) as u8
    };
    Ok(rows.flat_map(|row| row.iter().zip(&scales).map(step)).collect())
}

/// One bit for each element, 1 for a positive one, eight to a byte, the first one highest.
fn bits(embeddings: &Outputs) -> Vec<u8> {
    let byte = |values: &[f32]| {
        let bit = |place: usize, value: f32| u8::from(value > 0.0) << (7 - place);
        values.iter().enumerate().fold(0, |byte, (place, value)| byte | bit(place, *value))
    };
    let rows = embeddings.values.chunks(embeddings.columns.max(1));
    rows.flat_map(|row| row.chunks(8).map(byte)).collect()
}
