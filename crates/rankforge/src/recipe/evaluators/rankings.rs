//! Evaluators of dual encoders on collections, samples and paraphrases.

use crate::error::Error;
use crate::evaluation::{
    Evaluator, InformationRetrievalEvaluator, NANO_BEIR_NAMES, NanoBEIREvaluator,
    ParaphraseMiningEvaluator, RerankingEvaluator, RetrievalAtK, RetrievalSettings, at_dimensions,
    reranking_samples,
};
use crate::recipe::evaluators::collections::{first_queries, nano_beir_collections};
use crate::recipe::evaluators::embedding_section::{EmbeddingData, embedding_section};
use crate::recipe::evaluators::fields::{SimilarityName, count, similarities};
use crate::recipe::evaluators::location::{first_columns, is_beir};
use indexmap::IndexMap;
use rankforge_base::FileError;
use rankforge_data::{Location, Rows, Value, load_beir, load_rows};
use rankforge_encoder::{DualEncoder, LoadOptions};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Declares a section with the fields of retrieval and its own.
macro_rules! retrieval_section {
    (
        $(#[$attribute:meta])* $name:ident {
            $($(#[$field_attribute:meta])* $field:ident: $type:ty,)*
        }
    ) => {
        embedding_section! {
            $(#[$attribute])*
            $name {
                /// How queries and documents are compared; as the model says when there is none.
                score_functions: Vec<SimilarityName>,
                /// The score function of the primary metric.
                main_score_function: Option<SimilarityName>,
                /// Prompt of the queries.
                query_prompt: Option<String>,
                /// Name of one of the model's prompts, for queries.
                query_prompt_name: Option<String>,
                /// Prompt of the documents.
                corpus_prompt: Option<String>,
                /// Name of one of the model's prompts, for documents.
                corpus_prompt_name: Option<String>,
                /// Number of documents that are embedded and searched at a time.
                corpus_chunk_size: Option<NonZeroUsize>,
                /// Ranks of MRR.
                mrr_at_k: Option<Vec<usize>>,
                /// Ranks of NDCG.
                ndcg_at_k: Option<Vec<usize>>,
                /// Ranks of accuracy.
                accuracy_at_k: Option<Vec<usize>>,
                /// Ranks of precision and recall.
                precision_recall_at_k: Option<Vec<usize>>,
                /// Ranks of MAP.
                map_at_k: Option<Vec<usize>>,
                /// Whether the retrieved documents are written.
                write_predictions: Option<bool>,
                $($(#[$field_attribute])* $field: $type,)*
            }
        }

        impl $name {
            fn settings(&self) -> RetrievalSettings {
                let default = RetrievalSettings::default();
                let ranks = |given: &Option<Vec<usize>>, default: Vec<usize>| {
                    given.clone().unwrap_or(default)
                };
                let at_k = default.at_k;
                RetrievalSettings {
                    at_k: RetrievalAtK {
                        mrr_at_k: ranks(&self.mrr_at_k, at_k.mrr_at_k),
                        ndcg_at_k: ranks(&self.ndcg_at_k, at_k.ndcg_at_k),
                        accuracy_at_k: ranks(&self.accuracy_at_k, at_k.accuracy_at_k),
                        precision_recall_at_k: ranks(
                            &self.precision_recall_at_k,
                            at_k.precision_recall_at_k,
                        ),
                        map_at_k: ranks(&self.map_at_k, at_k.map_at_k),
                    },
                    corpus_chunk_size: count(self.corpus_chunk_size, default.corpus_chunk_size),
                    batch_size: count(self.batch_size, default.batch_size),
                    truncate_dim: None,
                    score_functions: similarities(&self.score_functions),
                    main_score_function: self.main_score_function.map(|name| name.0),
                    query_prompt: self.query_prompt.clone(),
                    query_prompt_name: self.query_prompt_name.clone(),
                    corpus_prompt: self.corpus_prompt.clone(),
                    corpus_prompt_name: self.corpus_prompt_name.clone(),
                    write_csv: self.write_csv.unwrap_or(default.write_csv),
                    write_predictions: self.write_predictions.unwrap_or(default.write_predictions),
                }
            }

            /// Checks that no field asks for what a folder of collections does not have.
            fn check_columns(&self) -> Result<(), Error> {
                match &self.columns {
                    None => Ok(()),
                    Some(columns) => {
                        let expected = "none, as a collection has no columns to choose";
                        Err(Error::argument("columns", expected, columns.join(", ")))
                    }
                }
            }
        }
    };
}

retrieval_section! {
    /// An `InformationRetrievalEvaluator`: a BEIR folder.
    InformationRetrievalSection {}
}

impl InformationRetrievalSection {
    /// Reads the folder and builds the evaluator.
    ///
    /// # Errors
    /// A folder that is not a BEIR folder, or that is malformed.
    pub fn evaluator(
        &self,
        options: &LoadOptions,
    ) -> Result<Box<dyn Evaluator<DualEncoder>>, Error> {
        self.check_columns()?;
        if !is_beir(&self.path) {
            let message = "expected a BEIR folder (corpus.jsonl, queries.jsonl and \
                           qrels/SPLIT.tsv), got something else";
            return Err(FileError::content(&self.path, message).into());
        }
        let beir = load_beir(&self.path, self.split.as_deref())?;
        let beir = first_queries(beir, self.limit, &self.path.display().to_string(), options);
        let mut built = InformationRetrievalEvaluator::from_beir(beir, self.name())?;
        built.settings = self.settings();
        at_dimensions(built, &self.truncate_dim.0)
    }
}

retrieval_section! {
    /// A `NanoBEIREvaluator`: a folder of collections.
    NanoBEIRSection {
        /// Names of the collections; all that the folder has when there is none.
        dataset_names: Option<Vec<String>>,
    }
}

impl NanoBEIRSection {
    /// Reads the collections and builds the evaluator.
    ///
    /// # Errors
    /// A folder without collections, or one that is malformed.
    pub fn evaluator(
        &self,
        options: &LoadOptions,
    ) -> Result<Box<dyn Evaluator<DualEncoder>>, Error> {
        self.check_columns()?;
        for (field, given) in [("name", self.name.is_some()), ("split", self.split.is_some())] {
            if given {
                let expected = "none, as the collections have names";
                return Err(Error::argument(field, expected, "one"));
            }
        }
        let known = NANO_BEIR_NAMES.map(|(_, readable)| readable);
        let names = self.dataset_names.as_deref();
        let collections = nano_beir_collections(&self.path, names, &known, self.limit, options)?;
        let datasets = collections.into_iter().map(|found| (found.name, found.beir)).collect();
        let mut built = NanoBEIREvaluator::new(datasets)?;
        built.settings = self.settings();
        at_dimensions(built, &self.truncate_dim.0)
    }
}

embedding_section! {
    /// A `RerankingEvaluator`: samples of queries, relevant texts and others.
    DualEncoderRerankingSection {
        /// Rank up to which MRR and NDCG look.
        at_k: Option<NonZeroUsize>,
        /// How queries and texts are compared; by cosine when it is not given.
        similarity_fct: Option<SimilarityName>,
    }
}

impl DualEncoderRerankingSection {
    /// Reads the samples and builds the evaluator.
    ///
    /// # Errors
    /// A BEIR folder, a missing column, or a cell of another type.
    pub fn evaluator(&self) -> Result<Box<dyn Evaluator<DualEncoder>>, Error> {
        if is_beir(&self.path) {
            let message = "expected a file of samples, got a BEIR folder, which is for \
                           InformationRetrievalEvaluator";
            return Err(FileError::content(&self.path, message).into());
        }
        let mut built = RerankingEvaluator::new(reranking_samples(&self.rows()?)?, self.name())?;
        built.at_k = count(self.at_k, built.at_k);
        built.similarity_fct = self.similarity_fct.map_or(built.similarity_fct, |name| name.0);
        built.batch_size = count(self.batch_size, built.batch_size);
        built.write_csv = self.write_csv.unwrap_or(built.write_csv);
        at_dimensions(built, &self.truncate_dim.0)
    }
}

embedding_section! {
    /// A `ParaphraseMiningEvaluator`: ids and texts, and pairs of ids of paraphrases; or pairs of
    /// texts that are paraphrases, where there is no `duplicates`.
    ParaphraseMiningSection {
        /// Data set whose first two columns are the ids of two paraphrases.
        duplicates: Option<PathBuf>,
        /// Whether paraphrases of a paraphrase are paraphrases too.
        add_transitive_closure: bool,
        /// Number of texts whose neighbours are searched at a time.
        query_chunk_size: Option<NonZeroUsize>,
        /// Maximum number of pairs that are found.
        max_pairs: Option<NonZeroUsize>,
        /// Number of nearest texts of each text that can be its paraphrases.
        top_k: Option<NonZeroUsize>,
    }
}

impl ParaphraseMiningSection {
    /// Reads the texts and the pairs and builds the evaluator.
    ///
    /// # Errors
    /// A missing column, a cell of another type, or an id that is used twice.
    pub fn evaluator(&self) -> Result<Box<dyn Evaluator<DualEncoder>>, Error> {
        let (texts, pairs) = match &self.duplicates {
            Some(duplicates) => {
                let rows = self.rows()?;
                let [id, text] = first_columns(&rows, &self.path, ["id", "text"])?;
                let mut texts = IndexMap::new();
                for (row, (id, text)) in
                    ids(&rows, id)?.into_iter().zip(rows.texts(text)?).enumerate()
                {
                    if let Some(_earlier) = texts.insert(id.clone(), text.to_owned()) {
                        let place = self.path.display().to_string();
                        return Err(Error::cell(place, row, "", "a new id", format!("{id} again")));
                    }
                }
                let rows = load_rows(&Location::new(duplicates))?;
                let [first, second] = first_columns(&rows, duplicates, ["first id", "second id"])?;
                let pairs = ids(&rows, first)?.into_iter().zip(ids(&rows, second)?);
                (texts, pairs.collect::<Vec<_>>())
            }
            None => {
                let rows = self.rows()?;
                let [first, second] =
                    first_columns(&rows, &self.path, ["first text", "second text"])?;
                let (first, second) = (rows.texts(first)?, rows.texts(second)?);
                let own = |text: &&str| ((*text).to_owned(), (*text).to_owned());
                let texts = first.iter().chain(&second).map(own).collect();
                let pair = |(a, b): (&str, &str)| (a.to_owned(), b.to_owned());
                (texts, first.into_iter().zip(second).map(pair).collect())
            }
        };
        let closure = self.add_transitive_closure;
        let mut built = ParaphraseMiningEvaluator::new(texts, &pairs, closure, self.name())?;
        built.query_chunk_size = count(self.query_chunk_size, built.query_chunk_size);
        built.max_pairs = count(self.max_pairs, built.max_pairs);
        built.top_k = count(self.top_k, built.top_k);
        built.batch_size = count(self.batch_size, built.batch_size);
        built.write_csv = self.write_csv.unwrap_or(built.write_csv);
        at_dimensions(built, &self.truncate_dim.0)
    }
}

/// The ids of a column, which may be texts or whole numbers.
fn ids(rows: &Rows, column: &str) -> Result<Vec<String>, Error> {
    let id = |(row, value): (usize, &Value)| match value {
        Value::Integer(number) => Ok(number.to_string()),
        value => value.as_text().map(str::to_owned).ok_or_else(|| {
            let got = value.describe();
            Error::cell("paraphrases", row, column, "an id: a text or a whole number", got)
        }),
    };
    rows.column(column)?.iter().enumerate().map(id).collect()
}
