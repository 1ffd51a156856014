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
