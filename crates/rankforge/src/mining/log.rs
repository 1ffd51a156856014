use rankforge_base::Reporter;

/// The printed text of a mining run: collected, and reported when verbose.
pub(super) struct Log<'a> {
    pub(super) lines: Vec<String>,
    pub(super) reporter: &'a dyn Reporter,
    pub(super) verbose: bool,
}

impl Log<'_> {
    pub(super) fn say(&mut self, line: String) {
        if self.verbose {
            self.reporter.message(&line);
        }
        self.lines.push(line);
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
