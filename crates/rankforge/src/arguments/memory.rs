use crate::error::Error;

/// Units of memory, the longer names first.
const UNITS: [(&str, f64); 8] = [
    ("KiB", 1024.0),
    ("MiB", 1048576.0),
    ("GiB", 1073741824.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("B", 1.0),
];

/// The bytes of an amount of memory such as `4 GB` or `500MiB`. `field` gives it.
///
/// # Errors
/// A text that is not a number with a known unit.
pub(crate) fn bytes(field: &str, text: &str) -> Result<u64, Error> {
    let refused = || {
        let expected = "an amount of memory such as \"4 GB\" or \"500 MiB\"";
        Error::argument(field, expected, format!("\"{text}\""))
    };
    let trimmed = text.trim();
    let unit = |(name, _): &&(&str, f64)| {
        let start = trimmed.len().checked_sub(name.len());
        start
            .and_then(|start| trimmed.get(start..))
            .is_some_and(|end| end.eq_ignore_ascii_case(name))
    };
    let (name, factor) = UNITS.iter().find(unit).ok_or_else(refused)?;
    let number: f64 =
        trimmed[..trimmed.len() - name.len()].trim_end().parse().map_err(|_| refused())?;
    let bytes = number * factor;
    if bytes.is_finite() && bytes >= 1.0 { Ok(bytes as u64) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_a_unit() {
        for (text, expected) in
            [("4 GB", 4_000_000_000), ("1.5GiB", 1_610_612_736), ("512 mib", 536_870_912)]
        {
            assert_eq!(bytes("m", text).unwrap(), expected, "{text}");
        }
        for text in ["", "4", "GB", "-1 GB", "4 XB", "x GB", "0 GB", "é"] {
            let message = bytes("m", text).unwrap_err().to_string();
            assert!(message.starts_with("m: expected an amount of memory"), "{text}: {message}");
        }
    }
}
