//! Text that is safe to write to a terminal.

use std::borrow::Cow;

/// JSON with the same characters as JSON's own escapes, such as `\u001b`: the same value.
pub(crate) fn escaped_json(json: &str) -> Cow<'_, str> {
    with_escapes(json, |character| format!("\\u{:04x}", u32::from(character)))
}

/// The text with control characters other than line breaks and tabs as escapes, such as `\u{1b}`.
///
/// Texts of data sets, file names and column names come from others. In a terminal, their escape
/// sequences could clear the screen, and the controls of writing direction could show a line in
/// another order than it has.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    with_escapes(text, |character| character.escape_unicode().to_string())
}

/// The text with `escape` of each unsafe character in its place.
fn with_escapes(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) {
            safe.push_str(&escape(character));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(character: char) -> bool {
    let is_line = matches!(character, '\n' | '\t');
    let sets_direction = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (character.is_control() && !is_line) || sets_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({ "a\u{202e}": "b\u{85}\u{1b}\n\u{2066}c" });
        let json = serde_json::to_string(&value).unwrap() + "\n";
        let safe = escaped_json(&json);
        assert_eq!(safe, "{\"a\\u202e\":\"b\\u0085\\u001b\\n\\u2066c\"}\n");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        assert!(matches!(escaped_json("{\"a\": \"\u{e4}\"}\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn control_characters_are_escaped_and_all_other_text_is_kept() {
        assert_eq!(escaped("a\u{1b}[2Jb\r\u{7f}\u{9b}m"), "a\\u{1b}[2Jb\\u{d}\\u{7f}\\u{9b}m");
        assert_eq!(escaped("a\u{202e}b"), "a\\u{202e}b");
        for text in ["", "one\n\ttwo", "Ünïcode 漢字 🦀 e\u{301} \u{200d}", "\\u{1b}"] {
            assert!(matches!(escaped(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }
}
