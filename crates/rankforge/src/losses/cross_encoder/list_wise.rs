//! What list-wise losses share: a query, a list of its documents and a list of labels in each row.

use crate::error::Error;
use crate::losses::activation::Activation;
use crate::losses::examples::{Examples, LABEL_ROLE, Labels, Targets};
use crate::losses::loss::{LossBatch, LossOutput, Plan};
use crate::losses::settings::optional;
use rankforge_encoder::{Input, Outputs};
use serde::Deserializer;

/// The pairs of each query with each of its documents, query after query, and the labels.
///
/// # Errors
/// Other columns than a text and a list of texts, no labels, a row without documents, or another
/// number of labels than of documents.
pub(super) fn plan<'a>(loss: &str, examples: &'a Examples) -> Result<Plan<'a>, Error> {
    let expected = "exactly two text columns (query, list of documents) and a column of labels";
    let [queries, documents] = examples.columns.as_slice() else {
        let got = format!("{} text columns", examples.columns.len());
        return Err(Error::rows(loss, expected, got));
    };
    let rows = examples.rows();
    if rows == 0 {
        return Err(Error::rows(loss, "at least one row", "an empty batch"));
    }
    let (queries, documents) = (queries.texts(loss, rows)?, documents.lists(loss, rows)?);
    let counts: Vec<usize> = documents.iter().map(Vec::len).collect();
    if let Some(row) = counts.iter().position(|count| *count == 0) {
        let column = &examples.columns[1].name;
        return Err(Error::cell(loss, row, column, "at least one document", "an empty list"));
    }
    let labels = labels(loss, examples, &counts)?;
    let pairs = queries.into_iter().zip(documents);
    let inputs = pairs.flat_map(|(query, documents)| {
        documents.into_iter().map(move |document| Input::pair(query, document))
    });
    Ok(Plan { inputs: inputs.collect(), rows, targets: Targets::Lists(labels) })
}

/// A label for each document of each row.
fn labels(loss: &str, examples: &Examples, counts: &[usize]) -> Result<Vec<Vec<f32>>, Error> {
    let lists = match &examples.labels {
        Labels::Lists(lists) => lists,
        Labels::Scalars(labels) => {
            let expected = "a list of labels, one for each document";
            return Err(Error::cell(loss, 0, LABEL_ROLE, expected, labels[0]));
        }
        Labels::None => {
            let expected = "a column of lists of labels (label, labels, score or scores)";
            return Err(Error::rows(loss, expected, "none"));
        }
    };
    for (row, (list, count)) in lists.iter().zip(counts).enumerate() {
        if list.len() != *count {
            let expected = format!("{count} labels, one for each document");
            return Err(Error::cell(loss, row, LABEL_ROLE, expected, list.len()));
        }
    }
    Ok(lists.clone())
}

/// What a query adds to a loss.
pub(super) struct Term {
    /// Its value, before the division.
    pub(super) sum: f64,
    /// What it adds to the number that the sum of the values is divided by.
    pub(super) count: usize,
}

/// The loss of a batch of lists: the sum of the values of all queries over the sum of their counts,
/// which counts as 1 when it is 0. `each` gets the activated scores and the labels of a query, and
/// a gradient of zeros to add the derivatives of its value to.
pub(super) fn over_lists(
    loss: &str,
    batch: &LossBatch<'_>,
    activation: Activation,
    mut each: impl FnMut(&[f64], &[f64], &mut [f64]) -> Term,
) -> LossOutput {
    let LossBatch { outputs, targets, .. } = *batch;
    let Targets::Lists(lists) = targets else { panic!("{loss} without lists of labels") };
    let documents = lists.iter().map(Vec::len).sum::<usize>();
    assert_eq!(
        (outputs.rows, outputs.columns),
        (documents, 1),
        "{loss}: outputs {} x {} for {documents} documents",
        outputs.rows,
        outputs.columns
    );
    let activated = outputs.values.iter().map(|logit| activation.apply(f64::from(*logit)));
    let (scores, slopes): (Vec<f64>, Vec<f64>) = activated.unzip();
    let mut gradient = vec![0.0; documents];
    let (mut sum, mut count, mut start) = (0.0, 0, 0);
    for list in lists {
        let own = start..start + list.len();
        start = own.end;
        let labels: Vec<f64> = list.iter().map(|label| f64::from(*label)).collect();
        let term = each(&scores[own.clone()], &labels, &mut gradient[own]);
        sum += term.sum;
        count += term.count;
    }
    let divisor = count.max(1) as f64;
    let values = gradient.iter().zip(slopes).map(|(d, slope)| (d * slope / divisor) as f32);
    let d_outputs = Outputs { rows: documents, columns: 1, values: values.collect() };
    LossOutput::new(sum / divisor, d_outputs)
}

/// Indices in descending order of the values; equal values keep their order.
pub(super) fn descending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    // Adding 0 makes negative zero equal to zero.
    order.sort_by(|a, b| (values[*b] + 0.0).total_cmp(&(values[*a] + 0.0)));
    order
}

/// Deserializes `activation_fn`, where none means `Identity`.
pub(super) fn or_identity<'de, D: Deserializer<'de>>(d: D) -> Result<Activation, D::Error> {
    Ok(optional::<Activation, D>(d)?.unwrap_or_default())
}

/// Deserializes `mini_batch_size`; `None` for the whole batch, as none and any number below 1 mean.
pub(super) fn chunk_size<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    let size = optional::<i64, D>(d)?;
    Ok(size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0))
}

/// Declares the methods of `Loss` that all list-wise losses have alike.
macro_rules! list_wise {
    () => {
        fn name(&self) -> &'static str {
            NAME
        }

        fn citation(&self) -> &'static str {
            CITATION
        }

        fn mini_batch_size(&self) -> Option<usize> {
            self.mini_batch_size
        }

        fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
            columns::expect_one_score(NAME, kind, output_columns)
        }
    };
}

pub(super) use list_wise;
