use crate::arguments::Prompts;
use crate::losses::Loss;
use rankforge_data::RowSource;
use std::sync::Arc;

/// Rows to train or to measure the loss on, with the loss and the prompts of their own.
#[derive(Clone)]
pub struct TrainingSet {
    /// What messages, prompts and evaluation keys call it; may be empty when there is one.
    pub name: String,
    /// The rows.
    pub rows: Arc<dyn RowSource>,
    /// The loss that its batches are trained with.
    pub loss: Arc<dyn Loss>,
    /// Prepended to its texts; `None` leaves that to the training arguments and the model.
    pub prompts: Option<Prompts>,
    /// Its text columns, in the order that the loss reads them; `None` is every column but the
    /// label, in the order of the data set.
    pub columns: Option<Vec<String>>,
}

impl TrainingSet {
    /// A set without a name, with prompts and columns by default.
    pub fn new(rows: impl RowSource + 'static, loss: impl Loss + 'static) -> TrainingSet {
        TrainingSet {
            name: String::new(),
            rows: Arc::new(rows),
            loss: Arc::new(loss),
            prompts: None,
            columns: None,
        }
    }

    /// How errors call the set: "training data", followed by the name of the set if it has one.
    pub(super) fn role(&self, what: &str) -> String {
        if self.name.is_empty() { what.to_owned() } else { format!("{what} `{}`", self.name) }
    }
}
