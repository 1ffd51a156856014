use crate::error::EncoderError;
use crate::json::{LARGEST_SIZE, SIZE, field_error};
use rankforge_base::FileError;
use rankforge_kernels::ops::Activation;
use serde_json::Value;
use std::ops::RangeInclusive;
use std::path::Path;

/// Typed access to the fields of a config. Errors name the file and the field, what was expected
/// and what was found.
pub(super) struct Fields<'a> {
    value: &'a Value,
    path: &'a Path,
}

impl<'a> Fields<'a> {
    /// The fields of `value`, which must be an object; `path` is for error messages.
    pub(super) fn new(value: &'a Value, path: &'a Path) -> Result<Fields<'a>, EncoderError> {
        if !value.is_object() {
            let message = format!("expected a JSON object, got {value}");
            return Err(FileError::content(path, message).into());
        }
        Ok(Fields { value, path })
    }

    /// The value of a field; `None` when it is absent or null. For fields that transformers lets be
    /// null; the other methods refuse null, as it does.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    /// `attribute` if there is a field of this name, else `name`: transformers reads an attribute
    /// that a family calls `name` under both names, and prefers that of the attribute.
    pub(super) fn either<'n>(&self, name: &'n str, attribute: &'n str) -> &'n str {
        if self.value.get(attribute).is_some() { attribute } else { name }
    }

    /// The error for a field that is missing or has an unusable value.
    pub(super) fn error(&self, name: &str, expected: &str) -> EncoderError {
        field_error(self.path, name, expected, self.value.get(name))
    }

    /// The same with a description of what was found.
    pub(super) fn error_got(&self, name: &str, expected: &str, got: String) -> EncoderError {
        EncoderError::Field {
            path: self.path.to_owned(),
            field: name.to_owned(),
            expected: expected.to_owned(),
            got,
        }
    }

    /// A required string.
    pub(super) fn required_string(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<&'a str, EncoderError> {
        self.get(name).and_then(Value::as_str).ok_or_else(|| self.error(name, expected))
    }

    /// A size: a positive integer of at most [`LARGEST_SIZE`].
    pub(super) fn size(&self, name: &str, default: usize) -> Result<usize, EncoderError> {
        self.integer(name, default, 1..=LARGEST_SIZE, SIZE)
    }

    /// A number of blocks: a positive integer of at most 1,024, ten times that of deep encoders.
    pub(super) fn blocks(&self, name: &str, default: usize) -> Result<usize, EncoderError> {
        self.integer(name, default, 1..=1 << 10, "a positive integer of at most 1024")
    }

    /// A number of positions that a table is computed for, rather than read from a checkpoint,
    /// which would tell its size: a positive integer of at most 2^20.
    pub(super) fn positions(&self, name: &str, default: usize) -> Result<usize, EncoderError> {
        self.integer(name, default, 1..=1 << 20, "a positive integer of at most 2^20")
    }

    /// An integer from 0 to [`LARGEST_SIZE`].
    pub(super) fn index(&self, name: &str, default: usize) -> Result<usize, EncoderError> {
        self.integer(name, default, 0..=LARGEST_SIZE, "an integer from 0 to 2^24")
    }

    /// An integer in `range`, which `expected` describes.
    fn integer(
        &self,
        name: &str,
        default: usize,
        range: RangeInclusive<usize>,
        expected: &str,
    ) -> Result<usize, EncoderError> {
        let Some(value) = self.value.get(name) else { return Ok(default) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| self.error(name, expected))
    }

    /// A finite number greater than 0.
    pub(super) fn positive(&self, name: &str, default: f64) -> Result<f64, EncoderError> {
        self.number(name, default, |number| number > 0.0, "a number > 0")
    }

    /// A finite number that is not negative.
    pub(super) fn not_negative(&self, name: &str, default: f64) -> Result<f64, EncoderError> {
        self.number(name, default, |number| number >= 0.0, "a number >= 0")
    }

    /// A finite number that `accepts` accepts, which `expected` describes.
    fn number(
        &self,
        name: &str,
        default: f64,
        accepts: impl Fn(f64) -> bool,
        expected: &str,
    ) -> Result<f64, EncoderError> {
        let Some(value) = self.value.get(name) else { return Ok(default) };
        let number = value.as_f64().filter(|number| number.is_finite() && accepts(*number));
        number.ok_or_else(|| self.error(name, expected))
    }

    /// A dropout probability, in [0, 1).
    pub(super) fn probability(&self, name: &str, default: f32) -> Result<f32, EncoderError> {
        let Some(value) = self.value.get(name) else { return Ok(default) };
        let number = value.as_f64().map(|number| number as f32);
        let number = number.filter(|number| (0.0..1.0).contains(number));
        number.ok_or_else(|| self.error(name, "a probability in [0, 1)"))
    }

    /// A boolean.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, EncoderError> {
        match self.value.get(name) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.error(name, "true or false")),
        }
    }

    /// A string; `expected` describes the values that the caller accepts.
    pub(super) fn string(
        &self,
        name: &str,
        default: &'a str,
        expected: &str,
    ) -> Result<&'a str, EncoderError> {
        match self.value.get(name) {
            None => Ok(default),
            Some(_) => self.required_string(name, expected),
        }
    }

    /// An activation by its name in transformers; gelu when the field is absent.
    pub(super) fn activation(&self, name: &str) -> Result<Activation, EncoderError> {
        let expected = "one of gelu, gelu_new, gelu_pytorch_tanh, relu, silu, swish, tanh, \
                        sigmoid, linear";
        match self.string(name, "gelu", expected)? {
            "gelu" | "gelu_python" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_accurate" | "gelu_pytorch_tanh"
            | "gelu_python_tanh" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            "silu" | "swish" => Ok(Activation::Silu),
            "tanh" => Ok(Activation::Tanh),
            "sigmoid" => Ok(Activation::Sigmoid),
            "linear" => Ok(Activation::Identity),
            _ => Err(self.error(name, expected)),
        }
    }

    /// Checks that a field has the only supported value, or is absent or null.
    pub(super) fn only(&self, name: &str, supported: Value) -> Result<(), EncoderError> {
        match self.get(name) {
            Some(value) if *value != supported => {
                Err(self.error(name, &format!("{supported} (no other value is supported)")))
            }
            _ => Ok(()),
        }
    }

    /// A number of attention heads, which must divide the hidden size.
    pub(super) fn heads(
        &self,
        name: &str,
        default: usize,
        hidden_size: usize,
    ) -> Result<usize, EncoderError> {
        let heads = self.size(name, default)?;
        if !hidden_size.is_multiple_of(heads) {
            let expected = format!("a divisor of the hidden size {hidden_size}");
            return Err(self.error_got(name, &expected, heads.to_string()));
        }
        Ok(heads)
    }
}
