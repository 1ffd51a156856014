//! Evaluators of dual encoders on rows of two or three texts.

use crate::error::Error;
use crate::evaluation::{
    BinaryClassificationEvaluator, EmbeddingSimilarityEvaluator, Evaluator, MSEEvaluator,
    TranslationEvaluator, TripletEvaluator, at_dimensions,
};
use crate::recipe::evaluators::embedding_section::{EmbeddingData, embedding_section};
use crate::recipe::evaluators::fields::{Margins, SimilarityName, count, similarities};
use crate::recipe::evaluators::location::first_columns;
use rankforge_encoder::{DualEncoder, EncodeOptions, LoadOptions, Packing};
use std::path::PathBuf;

embedding_section! {
    /// An `EmbeddingSimilarityEvaluator`: pairs of texts and gold scores.
    EmbeddingSimilaritySection {
        /// Similarity functions; that of the model when there is none.
        similarity_fn_names: Vec<SimilarityName>,
        /// The similarity function of the primary metric.
        main_similarity: Option<SimilarityName>,
        /// Precision to which the embeddings are quantised.
        precision: Option<String>,
    }
}

impl EmbeddingSimilaritySection {
    /// Reads the rows and builds the evaluator.
    ///
    /// # Errors
    /// A missing column, a cell of another type, or an unknown precision.
    pub fn evaluator(&self) -> Result<Box<dyn Evaluator<DualEncoder>>, Error> {
        let rows = self.rows()?;
        let columns = first_columns(&rows, &self.path, ["first text", "second text", "score"])?;
        let mut built = EmbeddingSimilarityEvaluator::from_rows(&rows, columns, self.name())?;
        built.similarity_fn_names = similarities(&self.similarity_fn_names);
        built.main_similarity = self.main_similarity.map(|name| name.0);
        built.precision = self.precision.as_deref().map(str::parse).transpose()?;
        built.batch_size = count(self.batch_size, built.batch_size);
        built.write_csv = self.write_csv.unwrap_or(built.write_csv);
        at_dimensions(built, &self.truncate_dim.0)
    }
}

embedding_section! {
    /// A `BinaryClassificationEvaluator`: pairs of texts and whether they are similar, 1 or 0.
    BinaryClassificationSection {
        /// Similarity functions; that of the model when there is none.
        similarity_fn_names: Vec<SimilarityName>,
    }
}

impl BinaryClassificationSection {
    /// Reads the rows and builds the evaluator.
    ///
    /// # Errors
    /// A missing column, or a cell of another type.
    pub fn evaluator(&self) -> Result<Box<dyn Evaluator<DualEncoder>>, Error> {
        let rows = self.rows()?;
        let columns = first_columns(&rows, &self.path, ["first text", "second text", "label"])?;
        let mut built = BinaryClassificationEvaluator::from_rows(&rows, columns, self.name())?;
        built.similarity_fn_names = similarities(&self.similarity_fn_names);
        built.batch_size = count(self.batch_size, built.batch_size);
        built.write_csv = self.write_csv.unwrap_or(built.write_csv);
        at_dimensions(built, &self.truncate_dim.0)
    }
}

embedding_section! {
    /// A `TripletEvaluator`: anchors, positives and negatives.
    TripletSection {
        /// Similarity functions; that of the model when there is none.
        similarity_fn_names: Vec<SimilarityName>,
        /// The similarity function of the primary metric.
        main_similarity_function: Option<SimilarityName>,
        /// By how much the positive must be nearer: a number, or one for each function.
        margin: Margins,
    }
}

impl TripletSection {
    /// Reads the rows and builds the evaluator.
    ///
    /// # Errors
    /// A missing column, or a cell of another type.
    pub fn evaluator(&self) -> Result<Box<dyn Evaluator<DualEncoder>>, Error> {
        let rows = self.rows()?;
        let columns = first_columns(&rows, &self.path, ["anchor", "positive", "negative"])?;
        let mut built = TripletEvaluator::from_rows(&rows, columns, self.name())?;
        built.similarity_fn_names = similarities(&self.similarity_fn_names);
        built.main_similarity_function = self.main_similarity_function.map(|name| name.0);
        built.margin = self.margin.0;
        built.batch_size = count(self.batch_size, built.batch_size);
        built.write_csv = self.write_csv.unwrap_or(built.write_csv);
        at_dimensions(built, &self.truncate_dim.0)
    }
}

embedding_section! {
    /// A `TranslationEvaluator`: texts and their translations.
    TranslationSection {}
}

impl TranslationSection {
    /// Reads the rows and builds the evaluator.
    ///
    /// # Errors
    /// A missing column, or a cell of another type.
    pub fn evaluator(&self) -> Result<Box<dyn Evaluator<DualEncoder>>, Error> {
        let rows = self.rows()?;
        let columns = first_columns(&rows, &self.path, ["source", "target"])?;
        let mut built = TranslationEvaluator::from_rows(&rows, columns, self.name())?;
        built.batch_size = count(self.batch_size, built.batch_size);
        built.write_csv = self.write_csv.unwrap_or(built.write_csv);
        at_dimensions(built, &self.truncate_dim.0)
    }
}

embedding_section! {
    /// An `MSEEvaluator`: texts that a teacher embeds, and those that the model embeds, such as
    /// translations; of a single column, both embed its texts.
    MSESection {
        /// Directory of the teacher.
        teacher_model: Option<PathBuf>,
    }
}

impl MSESection {
    /// Reads the rows, embeds them by the teacher, and builds the evaluator.
    ///
    /// # Errors
    /// A missing column or teacher, or a cell of another type.
    pub fn evaluator(
        &self,
        options: &LoadOptions,
    ) -> Result<Box<dyn Evaluator<DualEncoder>>, Error> {
        let Some(teacher) = &self.teacher_model else {
            let expected = "the directory of the model whose embeddings are compared with";
            return Err(Error::argument("teacher_model", expected, "none"));
        };
        let rows = self.rows()?;
        let [source, target] = match rows.column_names()[..] {
            [single] => [single, single],
            _ => first_columns(&rows, &self.path, ["source", "target"])?,
        };
        let targets = rows.owned_texts(target)?;
        let load = LoadOptions { packing: Packing::Instead, ..options.clone() };
        let teacher = DualEncoder::open_with(teacher, &load)?;
        let encode =
            EncodeOptions { reporter: options.reporter.clone(), ..EncodeOptions::default() };
        let sources = rows.texts(source)?;
        let mut built = MSEEvaluator::new(&sources, targets, &teacher, &encode, self.name())?;
        built.batch_size = count(self.batch_size, built.batch_size);
        built.write_csv = self.write_csv.unwrap_or(built.write_csv);
        at_dimensions(built, &self.truncate_dim.0)
    }
}
