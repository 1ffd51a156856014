//! Arguments as parameters of a run: texts as Python writes the values.

use serde_json::{Map, Number, Value};

/// The most characters of a value that the server takes.
const LONGEST: usize = 6000;

/// The parameters, without those whose values are too long, whose names are returned beside them.
pub(super) fn parameters(
    settings: &Map<String, Value>,
    flatten: bool,
) -> (Vec<(String, String)>, Vec<String>) {
    let mut all = Vec::new();
    add(settings, "", flatten, &mut all);
    let (kept, dropped): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, value)| value.chars().count() <= LONGEST);
    (kept, dropped.into_iter().map(|(name, _)| name).collect())
}

fn add(settings: &Map<String, Value>, prefix: &str, flatten: bool, to: &mut Vec<(String, String)>) {
    for (name, value) in settings {
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(inner) if flatten && !inner.is_empty() => {
                add(inner, &format!("{name}."), flatten, to);
            }
            Value::String(text) => to.push((name, text.clone())),
            value => to.push((name, python(value))),
        }
    }
}

/// The value as Python prints it.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => python_number(number),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("'{name}': {}", python(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A float below 1e-4, or of 1e16 or more, has an exponent of at least two digits.
fn python_number(number: &Number) -> String {
    let Some(value) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
        return if value.fract() == 0.0 { format!("{value:.1}") } else { format!("{value}") };
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("an exponent");
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_texts_as_in_python() {
        for (value, expected) in [
            (json!(null), "None"),
            (json!(true), "True"),
            (json!(5e-5), "5e-05"),
            (json!(1.25e-10), "1.25e-10"),
            (json!(1e20), "1e+20"),
            (json!(0.0001), "0.0001"),
            (json!(3.0), "3.0"),
            (json!(0.999), "0.999"),
            (json!(42), "42"),
            (json!(["a", "it's", 1]), "['a', 'it\\'s', 1]"),
            (json!({"a": null}), "{'a': None}"),
        ] {
            assert_eq!(python(&value), expected);
        }
    }

    #[test]
    fn nested_settings_are_flattened_if_asked_and_long_ones_are_dropped() {
        let settings = json!({"a": {"b": {"c": 1}, "d": "x"}, "e": {}, "f": "y".repeat(6001)});
        let Value::Object(settings) = settings else { unreachable!() };
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let (flat, dropped) = parameters(&settings, true);
        assert_eq!(flat, pairs(&[("a.b.c", "1"), ("a.d", "x"), ("e", "{}")]));
        assert_eq!(dropped, ["f"]);
        let (whole, _) = parameters(&settings, false);
        assert_eq!(whole, pairs(&[("a", "{'b': {'c': 1}, 'd': 'x'}"), ("e", "{}")]));
    }
}
