//! serde's messages about values of another type, in the words of who wrote the values.

/// What was expected and what was given, where a message of serde says that a value is of the wrong
/// type or out of range.
pub(crate) fn wrong_type(message: &str) -> Option<(String, String)> {
    let kinds = ["invalid type: ", "invalid value: "];
    let rest = kinds.iter().find_map(|kind| message.strip_prefix(kind))?;
    let (got, expected) = rest.rsplit_once(", expected ")?;
    // serde_json adds a line and a column, also where there is no text.
    let expected = expected.split(" at line ").next().unwrap_or(expected);
    let got = given(got);
    Some((type_in_words(expected, got.starts_with('-')), got))
}

/// The message, with a wrong type in plain words.
pub(crate) fn in_words(message: &str) -> String {
    match wrong_type(message) {
        Some((expected, got)) => format!("expected {expected}, got {got}"),
        None => message.to_owned(),
    }
}

/// A type that serde expects; a negative value was given if `negative`.
fn type_in_words(expected: &str, negative: bool) -> String {
    let words = match expected {
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" if negative => "a whole number of at least 0",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "true or false",
        "a string" | "a borrowed string" | "string or map" => "a text in quotes",
        "path string" => "a path in quotes",
        "a sequence" => "a list",
        "a map" => "a table",
        "unit" | "option" => "nothing",
        _ if expected.starts_with("a nonzero ") => "a whole number of at least 1",
        _ if expected.starts_with("struct ") => "a table",
        _ if expected.starts_with("enum ") => "a text in quotes",
        _ => expected,
    };
    words.to_owned()
}

/// A value as serde describes it: its kind, and of simple values the value.
fn given(got: &str) -> String {
    match got {
        "sequence" => return "a list".to_owned(),
        "map" => return "a table".to_owned(),
        "null" | "unit value" | "Option value" => return "nothing".to_owned(),
        _ => {}
    }
    let kinds = ["integer ", "floating point ", "boolean ", "string ", "character "];
    match kinds.iter().find_map(|kind| got.strip_prefix(kind)) {
        Some(value) => value.trim_matches('`').to_owned(),
        None => got.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use std::collections::BTreeMap;
    use std::num::NonZeroUsize;
    use std::path::PathBuf;

    fn refused<T: DeserializeOwned>(value: &str) -> String {
        let of_json = serde_json::from_str::<serde_json::Value>(value).unwrap();
        let of_json = serde_json::from_value::<T>(of_json).err().unwrap().to_string();
        let table: toml::Table = format!("value = {value}").parse().unwrap();
        let of_toml = table["value"].clone().try_into::<T>().err().unwrap();
        let words = in_words(of_toml.message().trim_end());
        assert_eq!(in_words(&of_json), words, "{of_json}");
        words
    }

    #[test]
    fn wrong_types_are_told_in_plain_words() {
        assert_eq!(refused::<f64>("[1, 2]"), "expected a number, got a list");
        assert_eq!(refused::<f32>("\"x\""), "expected a number, got \"x\"");
        assert_eq!(refused::<usize>("-1"), "expected a whole number of at least 0, got -1");
        assert_eq!(refused::<u64>("1.5"), "expected a whole number, got 1.5");
        assert_eq!(refused::<i64>("true"), "expected a whole number, got true");
        assert_eq!(refused::<NonZeroUsize>("0"), "expected a whole number of at least 1, got 0");
        assert_eq!(refused::<bool>("1"), "expected true or false, got 1");
        assert_eq!(refused::<String>("3"), "expected a text in quotes, got 3");
        assert_eq!(refused::<PathBuf>("3"), "expected a path in quotes, got 3");
        assert_eq!(refused::<Vec<String>>("3"), "expected a list, got 3");
        assert_eq!(refused::<BTreeMap<String, f64>>("[]"), "expected a table, got a list");
    }
}
