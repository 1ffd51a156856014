//! The JSON shapes of the field `inputs`: a text, a pair, and lists of these.

use crate::error::Refusal;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// One text, or a pair of texts that the model reads as one sequence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text {
    /// Shared by the pairs of a ranking.
    pub(crate) first: Arc<str>,
    pub(crate) second: Option<String>,
}

/// The texts of a request.
#[derive(Debug, PartialEq)]
pub(crate) struct Texts {
    pub(crate) texts: Vec<Text>,
    /// Whether the request gave a list; then the response is a list too.
    pub(crate) is_list: bool,
}

/// The end of a text that truncation removes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
pub(crate) enum TruncationDirection {
    #[serde(alias = "left")]
    Left,
    #[default]
    #[serde(alias = "right")]
    Right,
}

/// `"a"` or `["a", "b"]`: one text or several.
pub(crate) fn single_texts(inputs: Value) -> Result<Texts, Refusal> {
    match inputs {
        Value::String(text) => Ok(Texts { texts: vec![single(text)?], is_list: false }),
        Value::Array(items) => {
            let text = |(index, item)| single(string(item, &place(index))?);
            let texts = items.into_iter().enumerate().map(text).collect::<Result<Vec<_>, _>>()?;
            not_empty(Texts { texts, is_list: true })
        }
        other => Err(wrong("`inputs`", "a string or a list of strings", &other)),
    }
}

/// `"a"` or `["a"]`: one text. `["a", "b"]`: one pair. `[["a"], ["a", "b"]]`: a batch of texts and
/// pairs.
pub(crate) fn texts_or_pairs(inputs: Value) -> Result<Texts, Refusal> {
    match inputs {
        Value::String(text) => Ok(Texts { texts: vec![single(text)?], is_list: false }),
        Value::Array(items) if items.iter().any(Value::is_array) => {
            let text = |(index, item)| text_or_pair(item, &place(index));
            let texts = items.into_iter().enumerate().map(text).collect::<Result<Vec<_>, _>>()?;
            not_empty(Texts { texts, is_list: true })
        }
        Value::Array(items) if items.is_empty() => Err(Refusal::empty("`inputs` cannot be empty")),
        other @ Value::Array(_) => {
            Ok(Texts { texts: vec![text_or_pair(other, "`inputs`")?], is_list: false })
        }
        other => Err(wrong("`inputs`", "a string, or a list of strings or pairs", &other)),
    }
}

/// A single text; refuses an empty one.
pub(crate) fn single(text: String) -> Result<Text, Refusal> {
    if text.is_empty() {
        return Err(Refusal::empty("an input text cannot be empty"));
    }
    Ok(Text { first: text.into(), second: None })
}

/// A pair of texts; refuses it if both are empty, as text-embeddings-inference does.
pub(crate) fn pair(first: Arc<str>, second: String) -> Result<Text, Refusal> {
    if first.is_empty() && second.is_empty() {
        return Err(Refusal::empty("the texts of a pair cannot both be empty"));
    }
    Ok(Text { first, second: Some(second) })
}

/// The name of an item of `inputs` in error messages, counted from 1.
fn place(index: usize) -> String {
    format!("input {}", index + 1)
}

/// `["a"]` or `["a", "b"]`; `path` names the item in error messages.
fn text_or_pair(item: Value, path: &str) -> Result<Text, Refusal> {
    const EXPECTED: &str = "a list of one or two strings";
    let Value::Array(items) = item else { return Err(wrong(path, EXPECTED, &item)) };
    let texts = items.into_iter().map(|item| string(item, path)).collect::<Result<Vec<_>, _>>()?;
    match <[String; 2]>::try_from(texts) {
        Ok([first, second]) => pair(first.into(), second),
        Err(mut texts) if texts.len() == 1 => single(texts.remove(0)),
        Err(texts) => {
            Err(Refusal::validation(format!("{path}: expected {EXPECTED}, got {}", texts.len())))
        }
    }
}

fn not_empty(texts: Texts) -> Result<Texts, Refusal> {
    if texts.texts.is_empty() {
        return Err(Refusal::empty("`inputs` cannot be empty"));
    }
    Ok(texts)
}

fn string(item: Value, path: &str) -> Result<String, Refusal> {
    match item {
        Value::String(text) => Ok(text),
        other => Err(wrong(path, "a string (token ids are not supported)", &other)),
    }
}

fn wrong(path: &str, expected: &str, got: &Value) -> Refusal {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Refusal::validation(format!("{path}: expected {expected}, got {got}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_flat_list_is_a_pair_and_a_nested_list_is_a_batch() {
        let (a, ab) = (single("a".into()).unwrap(), pair("a".into(), "b".into()).unwrap());
        for (inputs, texts, is_list) in [
            (json!("a"), vec![a.clone()], false),
            (json!(["a"]), vec![a.clone()], false),
            (json!(["a", "b"]), vec![ab.clone()], false),
            (json!([["a"], ["a", "b"]]), vec![a.clone(), ab], true),
            (json!([["a"]]), vec![a], true),
            (json!(["", "b"]), vec![pair("".into(), "b".into()).unwrap()], false),
            (json!([["a", ""]]), vec![pair("a".into(), String::new()).unwrap()], true),
        ] {
            let parsed = texts_or_pairs(inputs.clone()).unwrap();
            assert_eq!(parsed, Texts { texts, is_list }, "{inputs}");
        }
        for inputs in [json!([]), json!(""), json!(["", ""]), json!(["a", "b", "c"]), json!(3)] {
            assert!(texts_or_pairs(inputs.clone()).is_err(), "{inputs}");
        }
        for inputs in
            [json!([["a"], "b"]), json!([[]]), json!([[""], ["a"]]), json!([1, 2]), json!({"a": 1})]
        {
            assert!(texts_or_pairs(inputs.clone()).is_err(), "{inputs}");
        }
    }
}
