use crate::error::Error;
use crate::losses::columns;
use crate::losses::cross_entropy::cross_entropy_in_place;
use crate::losses::dual_encoder::linear_layer::LinearLayer;
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, LossParameter, Plan};
use crate::losses::settings::optional;
use crate::losses::table::NamedLoss;
use rankforge_encoder::{ModelKind, Outputs};
use serde::Deserialize;
use serde_json::json;

/// `mean over rows of -log softmax(weight (u, v, |u - v|, u v) + bias)[y]` for the embeddings `u`
/// and `v` of the two texts of a row and its class `y`. The settings say which of the vectors the
/// classifier sees; it is trained with the model and is no part of it.
///
/// Data: two text columns and a label, a whole number from 0 to the number of classes less 1.
///
/// # Shapes
/// `B` rows give `2 B` single texts, column after column; outputs `2 B x E`. The weight of the
/// classifier has a row for each class, and `E` columns for each vector.
///
/// # Paper
/// Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftmaxLoss {
    /// Number of classes.
    pub num_labels: usize,
    /// Number of dimensions of the embeddings; `None` takes that of the model, which any other must
    /// equal.
    #[serde(default, alias = "sentence_embedding_dimension", deserialize_with = "optional")]
    pub embedding_dimension: Option<usize>,
    /// Whether the classifier sees `u` and `v`; it does by default.
    #[serde(default = "yes")]
    pub concatenation_sent_rep: bool,
    /// Whether the classifier sees `|u - v|`; it does by default.
    #[serde(default = "yes")]
    pub concatenation_sent_difference: bool,
    /// Whether the classifier sees the products of elements `u v`; it does not by default.
    #[serde(default)]
    pub concatenation_sent_multiplication: bool,
}

fn yes() -> bool {
    true
}

const NAME: &str = "SoftmaxLoss";

const CITATION: &str = "@inproceedings{reimers-2019-sentence-bert,
    title = \"Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks\",
    author = \"Reimers, Nils and Gurevych, Iryna\",
    booktitle = \"Proceedings of the 2019 Conference on Empirical Methods in Natural Language \
Processing\",
    month = \"11\",
    year = \"2019\",
    publisher = \"Association for Computational Linguistics\",
    url = \"https://arxiv.org/abs/1908.10084\",
}";

impl NamedLoss for SoftmaxLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

/// A vector that the classifier sees, as a function of the elements of both embeddings.
#[derive(Clone, Copy)]
enum Seen {
    First,
    Second,
    Difference,
    Product,
}

impl Seen {
    fn of(self, u: f32, v: f32) -> f32 {
        match self {
            Seen::First => u,
            Seen::Second => v,
            Seen::Difference => (u - v).abs(),
            Seen::Product => u * v,
        }
    }

    /// The derivatives with respect to both.
    fn slopes(self, u: f32, v: f32) -> (f32, f32) {
        match self {
            Seen::First => (1.0, 0.0),
            Seen::Second => (0.0, 1.0),
            Seen::Difference if u == v => (0.0, 0.0),
            Seen::Difference => ((u - v).signum(), (v - u).signum()),
            Seen::Product => (v, u),
        }
    }
}

impl SoftmaxLoss {
    fn seen(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        if self.concatenation_sent_rep {
            seen.extend([Seen::First, Seen::Second]);
        }
        seen.extend(self.concatenation_sent_difference.then_some(Seen::Difference));
        seen.extend(self.concatenation_sent_multiplication.then_some(Seen::Product));
        seen
    }

    fn classifier(&self, width: usize) -> LinearLayer {
        LinearLayer { inputs: self.seen().len() * width, outputs: self.num_labels }
    }
}

impl Loss for SoftmaxLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({
            "num_labels": self.num_labels,
            "concatenation_sent_rep": self.concatenation_sent_rep,
            "concatenation_sent_difference": self.concatenation_sent_difference,
            "concatenation_sent_multiplication": self.concatenation_sent_multiplication,
        })
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn check(&self) -> Result<(), Error> {
        if self.num_labels < 2 {
            let field = format!("{NAME}.num_labels");
            return Err(Error::argument(field, "at least 2 classes", self.num_labels));
        }
        if self.seen().is_empty() {
            let field = format!("{NAME}.concatenation_sent_rep");
            let expected = "true here, or for concatenation_sent_difference or \
                            concatenation_sent_multiplication";
            return Err(Error::argument(field, expected, false));
        }
        Ok(())
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)?;
        match self.embedding_dimension.filter(|dimension| *dimension != output_columns) {
            None => Ok(()),
            Some(dimension) => {
                let expected = format!("{output_columns}, the dimensions of the model");
                Err(Error::argument(format!("{NAME}.embedding_dimension"), expected, dimension))
            }
        }
    }

    fn parameters(&self, output_columns: usize, seed: u64) -> Vec<LossParameter> {
        let names = ["classifier.weight", "classifier.bias"];
        self.classifier(output_columns).parameters(names, seed)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let expected = "exactly two text columns and a label column";
        let (inputs, rows) = columns::single_texts(NAME, examples, |n| n == 2, expected)?;
        let fits =
            |label: f32| label.fract() == 0.0 && label >= 0.0 && (label as usize) < self.num_labels;
        let expected = format!("a whole number from 0 to {}", self.num_labels - 1);
        let labels = columns::labels(NAME, examples, fits, &expected)?;
        Ok(Plan { inputs, rows, targets: Targets::Scalars(labels) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let labels = batch.scalars(NAME, 2);
        let (rows, outputs, width) = (batch.rows, batch.outputs, batch.outputs.columns);
        let (seen, layer) = (self.seen(), self.classifier(width));
        let mut features = Vec::with_capacity(rows * layer.inputs);
        for row in 0..rows {
            let (u, v) = (outputs.row(row), outputs.row(rows + row));
            for part in &seen {
                features.extend(u.iter().zip(v).map(|(u, v)| part.of(*u, *v)));
            }
        }
        let features = Outputs { rows, columns: layer.inputs, values: features };
        let mut logits = layer.forward(batch.device, batch.parameters, &features);
        let mut sum = 0.0;
        for (logits, label) in logits.values.chunks_mut(self.num_labels).zip(labels) {
            let mut slopes: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
            sum += cross_entropy_in_place(&mut slopes, *label as usize);
            for (to, slope) in logits.iter_mut().zip(slopes) {
                *to = (slope / rows as f64) as f32;
            }
        }
        let (d_features, d_parameters) =
            layer.backward(batch.device, batch.parameters, &features, &logits);
        let mut values = vec![0.0; outputs.values.len()];
        let (d_first, d_second) = values.split_at_mut(rows * width);
        for row in 0..rows {
            let (u, v) = (outputs.row(row), outputs.row(rows + row));
            for (part, d_part) in seen.iter().zip(d_features.row(row).chunks(width)) {
                for (column, slope) in d_part.iter().enumerate() {
                    let (of_u, of_v) = part.slopes(u[column], v[column]);
                    d_first[row * width + column] += slope * of_u;
                    d_second[row * width + column] += slope * of_v;
                }
            }
        }
        let d_outputs = Outputs { rows: outputs.rows, columns: width, values };
        LossOutput { d_parameters, ..LossOutput::new(sum / rows as f64, d_outputs) }
    }
}
