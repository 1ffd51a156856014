use crate::error::Error;
use crate::losses::cached::Cacheable;
use crate::losses::columns;
use crate::losses::dual_encoder::contrast::{Comparison, Contrast, Factors, Guide, Softmax};
use crate::losses::dual_encoder::guide_model::GuideModel;
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::nesting::Nesting;
use crate::losses::table::NamedLoss;
use rankforge_encoder::{LoadOptions, ModelKind, Outputs};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How far below the guide's similarity of anchor and positive the limit of negatives is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarginStrategy {
    /// The margin.
    #[default]
    Absolute,
    /// The margin times the absolute value of the similarity.
    Relative,
}

/// `mean over i of -log softmax(cos(·, ·) / temperature)[i]`: the ranking loss of an anchor against
/// the positives and negatives of all rows, and as configured also against other anchors, and of
/// its positive against other positives, in one softmax. Candidates that a guide finds more similar
/// than the anchor's positive, less a margin, are left out as they may be wrong negatives.
///
/// Data: an anchor column, a positive column, any number of negative columns, and no label column.
/// The guide reads the whole texts with their prompts, and needs no tokenizer in common with the
/// model.
///
/// # Shapes
/// `B` rows and `C` columns give `B C` single texts, column after column; outputs `B C x E`.
/// Targets: the guide's embeddings of the same texts.
///
/// # Paper
/// Solatorio 2024, GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding
/// Fine-tuning, arXiv:2402.16829.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GISTEmbedLoss {
    /// The guide: in settings the directory of a dual encoder.
    pub guide: GuideModel,
    /// Divides the cosines; 0.01 by default.
    pub temperature: f64,
    /// How the margin counts; absolute by default.
    pub margin_strategy: MarginStrategy,
    /// Distance of the limit from the guide's similarity of anchor and positive; 0 by default.
    pub margin: f64,
    /// Whether anchors are compared with other anchors; they are by default.
    pub contrast_anchors: bool,
    /// Whether positives are compared with other positives; they are by default.
    pub contrast_positives: bool,
}

impl Default for GISTEmbedLoss {
    fn default() -> GISTEmbedLoss {
        GISTEmbedLoss {
            guide: GuideModel::default(),
            temperature: 0.01,
            margin_strategy: MarginStrategy::Absolute,
            margin: 0.0,
            contrast_anchors: true,
            contrast_positives: true,
        }
    }
}

const NAME: &str = "GISTEmbedLoss";

/// Similarities of the guide that differ by less are equal: those of the same two texts are, but
/// for rounding.
const TIE: f64 = 1e-6;

impl NamedLoss for GISTEmbedLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = "@misc{solatorio2024gistembed,
    title={GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding \
        Fine-tuning},
    author={Aivin V. Solatorio},
    year={2024},
    eprint={2402.16829},
    archivePrefix={arXiv},
    primaryClass={cs.LG}
}";
}

impl Cacheable for GISTEmbedLoss {
    const CACHED_NAME: &'static str = "CachedGISTEmbedLoss";
}

impl Loss for GISTEmbedLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({
            "guide": self.guide.name(),
            "guide_fingerprint": self.guide.fingerprint(),
            "temperature": self.temperature,
            "margin_strategy": self.margin_strategy,
            "margin": self.margin,
            "contrast_anchors": self.contrast_anchors,
            "contrast_positives": self.contrast_positives,
        })
    }

    fn citation(&self) -> &'static str {
        Self::CITATION
    }

    fn check(&self) -> Result<(), Error> {
        let field = |name: &str| format!("{NAME}.{name}");
        if self.guide.path().as_os_str().is_empty() {
            let expected = "the directory of the dual encoder that guides";
            return Err(Error::argument(field("guide"), expected, "none"));
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(Error::argument(field("temperature"), "above 0", self.temperature));
        }
        if !self.margin.is_finite() {
            return Err(Error::argument(field("margin"), "a finite number", self.margin));
        }
        Ok(())
    }

    fn open(&mut self, options: &LoadOptions) -> Result<(), Error> {
        let opened = self.guide.open(options);
        opened.map_err(|error| Error::unusable(format!("{NAME}.guide"), error))
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)?;
        match self.guide.fingerprint() {
            Some(_) => Ok(()),
            None => {
                let expected = "a guide that Loss::open has opened";
                let got = self.guide.path().display();
                Err(Error::argument(format!("{NAME}.guide"), expected, got))
            }
        }
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        columns::ranked_texts(NAME, examples)
    }

    fn prepare(&self, plan: &mut Plan<'_>) -> Result<(), Error> {
        plan.targets = Targets::Matrix(self.guide.embed(&plan.inputs)?);
        Ok(())
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        self.contrast(batch).compute(batch)
    }

    fn compute_nested(&self, batch: &LossBatch<'_>, nestings: &[Nesting]) -> LossOutput {
        self.contrast(batch).compute_nested(batch, nestings)
    }
}

impl GISTEmbedLoss {
    fn contrast(&self, batch: &LossBatch<'_>) -> Contrast {
        let (rows, texts, columns) = (batch.rows, batch.outputs.rows, batch.outputs.columns);
        let guide = match batch.targets {
            Targets::Matrix(guide) if guide.rows == texts => guide,
            other => panic!("{NAME} without embeddings of the guide: {other:?}"),
        };
        assert!(
            rows > 0 && texts.is_multiple_of(rows) && texts >= 2 * rows,
            "{NAME}: outputs {texts} x {columns} for {rows} rows"
        );
        let slope = 1.0 / self.temperature;
        let (anchors, positives) = (0..rows, rows..2 * rows);
        let used = [
            Some((anchors.clone(), rows..texts)),
            self.contrast_anchors.then(|| (anchors.clone(), anchors)),
            self.contrast_positives.then(|| (positives.clone(), positives)),
        ];
        let factors = Factors::all(slope);
        let comparison = |(rows, columns)| Comparison { rows, columns, factors };
        let comparisons = used.into_iter().flatten().map(comparison).collect();
        Contrast {
            slope,
            cosine: true,
            softmaxes: vec![Softmax { weight: 1.0, comparisons }],
            guide: Some(Guide {
                embeddings: guide.values.clone(),
                dimensions: guide.columns,
                limits: self.limits(guide, rows),
            }),
        }
    }

    /// The greatest similarity of the guide for each anchor that a negative may have.
    fn limits(&self, guide: &Outputs, rows: usize) -> Vec<f32> {
        let limit = |row: usize| {
            let pairs = guide.row(row).iter().zip(guide.row(rows + row));
            let similarity: f64 = pairs.map(|(a, p)| f64::from(*a) * f64::from(*p)).sum();
            let margin = match self.margin_strategy {
                MarginStrategy::Absolute => self.margin,
                MarginStrategy::Relative => self.margin * similarity.abs(),
            };
            (similarity - margin + TIE) as f32
        };
        (0..rows).map(limit).collect()
    }
}
