//! The several shapes in which requests give their texts.

use crate::error::Refusal;
use serde::Deserialize;
use serde_json::Value;

/// One text, or two that the model reads together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text {
    pub(crate) first: String,
    pub(crate) second: Option<String>,
}

/// Texts, and whether they came as a list (the answer is then a list too).
#[derive(Debug, PartialEq)]
pub(crate) struct Texts {
    pub(crate) texts: Vec<Text>,
    pub(crate) listed: bool,
}

/// Which end of a long text is cut off.
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
        Value::String(text) => Ok(Texts { texts: vec![single(text)?], listed: false }),
        Value::Array(items) => {
            let text = |(index, item)| single(string(item, &format!("`inputs[{index}]`"))?);
            let texts = items.into_iter().enumerate().map(text).collect::<Result<Vec<_>, _>>()?;
            not_empty(Texts { texts, listed: true })
        }
        other => Err(wrong("`inputs`", "a text or a list of texts", &other)),
    }
}

/// `"a"` and `["a"]`: one text; `["a", "b"]`: one pair; `[["a"], ["a", "b"]]`: several of these.
pub(crate) fn texts_or_pairs(inputs: Value) -> Result<Texts, Refusal> {
    match inputs {
        Value::String(text) => Ok(Texts { texts: vec![single(text)?], listed: false }),
        Value::Array(items) if items.iter().any(Value::is_array) => {
            let text = |(index, item)| text_or_pair(item, &format!("`inputs[{index}]`"));
            let texts = items.into_iter().enumerate().map(text).collect::<Result<Vec<_>, _>>()?;
            not_empty(Texts { texts, listed: true })
        }
        Value::Array(items) if items.is_empty() => Err(Refusal::empty("`inputs` cannot be empty")),
        other @ Value::Array(_) => {
            Ok(Texts { texts: vec![text_or_pair(other, "`inputs`")?], listed: false })
        }
        other => Err(wrong("`inputs`", "a text, a pair or a list of these", &other)),
    }
}

/// One text; an empty one has nothing to be scored or embedded.
pub(crate) fn single(text: String) -> Result<Text, Refusal> {
    if text.is_empty() {
        return Err(Refusal::empty("an input text cannot be empty"));
    }
    Ok(Text { first: text, second: None })
}

/// Two texts, neither of them empty.
pub(crate) fn pair(first: String, second: String) -> Result<Text, Refusal> {
    Ok(Text { second: Some(single(second)?.first), ..single(first)? })
}

fn text_or_pair(item: Value, place: &str) -> Result<Text, Refusal> {
    const EXPECTED: &str = "a list of one or two texts";
    let Value::Array(items) = item else { return Err(wrong(place, EXPECTED, &item)) };
    let texts = items.into_iter().map(|item| string(item, place)).collect::<Result<Vec<_>, _>>()?;
    match <[String; 2]>::try_from(texts) {
        Ok([first, second]) => pair(first, second),
        Err(mut texts) if texts.len() == 1 => single(texts.remove(0)),
        Err(texts) => {
            Err(Refusal::validation(format!("{place}: expected {EXPECTED}, got {}", texts.len())))
        }
    }
}

fn not_empty(texts: Texts) -> Result<Texts, Refusal> {
    if texts.texts.is_empty() {
        return Err(Refusal::empty("`inputs` cannot be empty"));
    }
    Ok(texts)
}

fn string(item: Value, place: &str) -> Result<String, Refusal> {
    match item {
        Value::String(text) => Ok(text),
        other => Err(wrong(place, "a text (token ids are not taken)", &other)),
    }
}

fn wrong(place: &str, expected: &str, got: &Value) -> Refusal {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Refusal::validation(format!("{place}: expected {expected}, got {got}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_of_texts_are_pairs_and_lists_of_lists_are_batches() {
        let (a, ab) = (single("a".into()).unwrap(), pair("a".into(), "b".into()).unwrap());
        for (inputs, texts, listed) in [
            (json!("a"), vec![a.clone()], false),
            (json!(["a"]), vec![a.clone()], false),
            (json!(["a", "b"]), vec![ab.clone()], false),
            (json!([["a"], ["a", "b"]]), vec![a.clone(), ab], true),
            (json!([["a"]]), vec![a], true),
        ] {
            let parsed = texts_or_pairs(inputs.clone()).unwrap();
            assert_eq!(parsed, Texts { texts, listed }, "{inputs}");
        }
        for inputs in [json!([]), json!(""), json!(["a", ""]), json!(["a", "b", "c"]), json!(3)] {
            assert!(texts_or_pairs(inputs.clone()).is_err(), "{inputs}");
        }
        for inputs in [json!([["a"], "b"]), json!([[]]), json!([1, 2]), json!({"a": 1})] {
            assert!(texts_or_pairs(inputs.clone()).is_err(), "{inputs}");
        }
    }
}
