use crate::bm25::language::Language;
use crate::error::IndexError;
use std::path::PathBuf;
use tantivy::directory::{OwnedBytes, RamDirectory};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::TokenizerManager;
use tantivy::{Directory, Index, ReloadPolicy, Searcher, SegmentReader, TantivyDocument};

/// The inverted index of consecutive texts. A document of it has the number of its text in the
/// part.
pub(super) struct Part {
    searcher: Searcher,
}

/// A part that was just built.
pub(super) struct Built {
    index: Index,
    files: RamDirectory,
}

/// Name of the analyzer and of the field in tantivy's files.
const TEXT: &str = "text";

/// Tantivy sizes its hash table by this; a part is not flushed when it grows beyond.
const MEMORY_BUDGET: usize = 64 << 20;

impl Part {
    /// Builds the index of `texts` in memory.
    ///
    /// # Errors
    /// The first error of `texts`, or when tantivy refuses.
    pub(super) fn build<T: AsRef<str>>(
        language: Language,
        texts: impl IntoIterator<Item = Result<T, IndexError>>,
    ) -> Result<Built, IndexError> {
        let (schema, field) = schema();
        let files = RamDirectory::create();
        let analyzers = TokenizerManager::new();
        analyzers.register(TEXT, language.analyzer());
        let mut writer = Index::builder()
            .schema(schema)
            .tokenizers(analyzers)
            .single_segment_index_writer::<TantivyDocument>(files.clone(), MEMORY_BUDGET)
            .map_err(IndexError::bm25)?;
        for text in texts {
            let mut document = TantivyDocument::default();
            document.add_text(field, text?.as_ref());
            writer.add_document(document).map_err(IndexError::bm25)?;
        }
        let index = writer.finalize().map_err(IndexError::bm25)?;
        Ok(Built { index, files })
    }

    /// Opens the part in a directory of tantivy.
    pub(super) fn open(directory: impl Directory) -> Result<Part, IndexError> {
        let directory: Box<dyn Directory> = Box::new(directory);
        Part::of(&Index::open(directory).map_err(IndexError::bm25)?)
    }

    fn of(index: &Index) -> Result<Part, IndexError> {
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let searcher = reader.map_err(IndexError::bm25)?.searcher();
        match searcher.segment_readers().len() {
            1 => Ok(Part { searcher }),
            count => Err(IndexError::Bm25(format!("expected a part of 1 segment, got {count}"))),
        }
    }

    pub(super) fn searcher(&self) -> &Searcher {
        &self.searcher
    }

    pub(super) fn reader(&self) -> &SegmentReader {
        self.searcher.segment_reader(0)
    }

    /// Number of texts.
    pub(super) fn len(&self) -> u32 {
        self.reader().max_doc()
    }
}

impl Built {
    /// The part, in memory.
    pub(super) fn part(&self) -> Result<Part, IndexError> {
        Part::of(&self.index)
    }

    /// The names and contents of its files, as they are on a disk.
    pub(super) fn files(&self) -> Result<Vec<(PathBuf, OwnedBytes)>, IndexError> {
        let mut names: Vec<PathBuf> =
            self.index.directory().list_managed_files().into_iter().collect();
        names.sort();
        let read = |name: PathBuf| -> Result<(PathBuf, OwnedBytes), IndexError> {
            let file = self.files.open_read(&name).map_err(IndexError::bm25)?;
            Ok((name, file.read_bytes().map_err(IndexError::bm25)?))
        };
        names.into_iter().map(read).collect()
    }
}

/// The schema of every part, and its field.
pub(super) fn schema() -> (Schema, Field) {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TEXT)
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(true);
    let mut schema = Schema::builder();
    let field = schema.add_text_field(TEXT, TextOptions::default().set_indexing_options(indexing));
    (schema.build(), field)
}
