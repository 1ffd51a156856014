//! Figures as words, on pages and in cards.

/// `1,234,567`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A metric with four decimals, or in powers of ten where these would say nothing.
pub(crate) fn metric(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.2e}") } else { format!("{value:.4}") }
}

/// A rate with one decimal below 100, without decimals above.
pub(crate) fn rate(value: f64) -> String {
    if value >= 100.0 { thousands(value.round() as usize) } else { format!("{value:.1}") }
}

/// Bytes of a mebibyte.
pub(crate) const MIB: f64 = 1048576.0;

/// `512 MiB`, `1.50 GiB`.
pub(crate) fn bytes(bytes: f64) -> String {
    let mib = bytes / MIB;
    if mib >= 1024.0 { format!("{:.2} GiB", mib / 1024.0) } else { format!("{mib:.0} MiB") }
}

/// `12.3 seconds`, `4.5 minutes`, `1.2 hours`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} seconds")
    } else if seconds < 3600.0 {
        format!("{:.1} minutes", seconds / 60.0)
    } else {
        format!("{:.1} hours", seconds / 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let shown = [7, 100, 1000, 1_234_567].map(thousands);
        assert_eq!(shown, ["7", "100", "1,000", "1,234,567"]);
    }

    #[test]
    fn units_fit_the_figures() {
        assert_eq!([bytes(5e8), bytes(2e9)], ["477 MiB", "1.86 GiB"]);
        assert_eq!([rate(3.25), rate(1234.6)], ["3.2", "1,235"]);
        assert_eq!([duration(3.0), duration(90.0), duration(9000.0)].map(|d| d.len()), [11, 11, 9]);
        assert_eq!([metric(0.5), metric(2e-5)], ["0.5000", "2.00e-5"]);
    }
}
