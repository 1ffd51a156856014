/// Where long work says how far it is; the command line draws it, libraries only call it.
pub trait Reporter: Send + Sync {
    /// A task of `total` units (`None` when not known) begins; tasks may nest.
    fn begin(&self, task: &str, total: Option<u64>, unit: &str);
    /// `amount` more units of the innermost task are done.
    fn advance(&self, amount: u64);
    /// The innermost task is done.
    fn end(&self);
    /// One line for the log.
    fn message(&self, text: &str);
    /// One line the user should not miss.
    fn warning(&self, text: &str);
}

/// Says nothing.
pub struct Silent;

impl Reporter for Silent {
    fn begin(&self, _task: &str, _total: Option<u64>, _unit: &str) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn message(&self, _text: &str) {}
    fn warning(&self, _text: &str) {}
}
