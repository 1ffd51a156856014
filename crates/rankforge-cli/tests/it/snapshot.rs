//! Snapshots: files in `snapshots/` that hold what a command prints.
//!
//! `INSTA_UPDATE=always cargo test -p rankforge-cli` writes them anew. The results of models differ
//! in their last digits between instruction sets, and those of training more, so the functions here
//! mask the digits that may differ.

use insta::Settings;
use serde_json::{Map, Value, json};

/// Asserts that `text`, printed by `rankforge` with these arguments, equals the snapshot `name`.
#[track_caller]
pub(crate) fn assert_snapshot(name: &str, arguments: &[&str], text: &str) {
    let mut settings = Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(format!("rankforge {}", arguments.join(" ")));
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// [`assert_snapshot`] for a JSON value, indented.
#[track_caller]
pub(crate) fn assert_json_snapshot(name: &str, arguments: &[&str], value: &Value) {
    assert_snapshot(name, arguments, &serde_json::to_string_pretty(value).unwrap());
}

/// The text with `#` for the digits of every number from its third decimal on: `0.4983` becomes
/// `0.49##`.
pub(crate) fn two_decimals(text: &str) -> String {
    mask_decimals(text, 2)
}

/// The text with `#` for all decimals of every number: `0.4983` becomes `0.####`.
pub(crate) fn no_decimals(text: &str) -> String {
    mask_decimals(text, 0)
}

/// The text with `#` for every fractional number, and with one space or hyphen in place of several,
/// because the widths of a table follow from those of its numbers.
pub(crate) fn masked(text: &str) -> String {
    let mut masked = String::new();
    for character in no_decimals(text).chars() {
        // The integer part goes with the first decimal, the other decimals with that.
        if character == '#' {
            let kept = masked.trim_end_matches(|c: char| c.is_ascii_digit() || "#.,".contains(c));
            masked.truncate(kept.len());
        }
        let is_repeated = "- ".contains(character) && masked.ends_with(character);
        if !is_repeated {
            masked.push(character);
        }
    }
    masked
}

fn mask_decimals(text: &str, kept: usize) -> String {
    // The number of digits since the decimal point; `None` outside the decimals of a number.
    let mut decimals = None;
    let mut previous = ' ';
    let mask = |character: char| {
        decimals = match (decimals, character) {
            (None, '.') if previous.is_ascii_digit() => Some(0),
            (Some(count), digit) if digit.is_ascii_digit() => Some(count + 1),
            _ => None,
        };
        previous = character;
        if decimals.is_some_and(|count| count > kept) { '#' } else { character }
    };
    text.chars().map(mask).collect()
}

/// The text without the lines that report the progress of a long task on a slow machine, and
/// without speed and memory in the lines of the log.
pub(crate) fn without_progress(text: &str) -> String {
    let lines = text.lines().map(without_pace).filter(|line| !line.contains("/s, "));
    lines.map(|line| format!("{line}\n")).collect()
}

fn without_pace(line: &str) -> &str {
    match line.find(" steps/s") {
        Some(end) if line.starts_with("step ") => {
            &line[..line[..end].rfind(", ").expect("a rate follows a metric")]
        }
        _ => line,
    }
}

/// The JSON value with every fractional number rounded to two decimals.
pub(crate) fn rounded(value: &Value) -> Value {
    map_numbers(value, &|number| json!((number * 100.0).round() / 100.0))
}

/// The JSON value with `"[number]"` in place of every fractional number.
pub(crate) fn without_numbers(value: &Value) -> Value {
    map_numbers(value, &|_| json!("[number]"))
}

fn map_numbers(value: &Value, replace: &dyn Fn(f64) -> Value) -> Value {
    let map = |value| map_numbers(value, replace);
    match value {
        Value::Number(number) if number.is_f64() => replace(number.as_f64().unwrap()),
        Value::Array(values) => values.iter().map(map).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), map(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

#[test]
fn decimals_are_masked_within_numbers_only() {
    let text = "step 3/18: loss 0.6931, v1.2, end. 5 of 1,234.567 in -0.5 s";
    assert_eq!(two_decimals(text), "step 3/18: loss 0.69##, v1.2, end. 5 of 1,234.56# in -0.5 s");
    assert_eq!(no_decimals(text), "step 3/18: loss 0.####, v1.#, end. 5 of 1,234.### in -0.# s");
    assert_eq!(masked(text), "step 3/18: loss #, v#, end. 5 of # in -# s");
    assert_eq!(masked("loss    value\n-----  ------\na       1.25"), "loss value\n- -\na #");
}
