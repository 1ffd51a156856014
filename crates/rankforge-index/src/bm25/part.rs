use crate::bm25::language::Language;
use crate::error::IndexError;
use tantivy::directory::RamDirectory;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::TokenizerManager;
use tantivy::{Index, ReloadPolicy, Searcher, SegmentReader, TantivyDocument};

/// The inverted index of consecutive texts. A document of it has the number of its text in the
/// part.
pub(super) struct Part {
    searcher: Searcher,
}

/// Name of the analyzer and of the field in tantivy's files.
const TEXT: &str = "text";

/// Tantivy sizes its hash table by this; a part is not flushed when it grows beyond.
const MEMORY_BUDGET: usize = 64 << 20;

impl Part {
    /// Builds the index of `texts` in memory.
    ///
    /// # Errors
    /// When tantivy refuses.
    pub(super) fn build<'a>(
        language: Language,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<RamDirectory, IndexError> {
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
            document.add_text(field, text);
            writer.add_document(document).map_err(IndexError::bm25)?;
        }
        writer.finalize().map_err(IndexError::bm25)?;
        Ok(files)
    }

    /// Opens a part in memory.
    pub(super) fn in_memory(files: RamDirectory) -> Result<Part, IndexError> {
        Part::of(Index::open(files).map_err(IndexError::bm25)?)
    }

    fn of(index: Index) -> Result<Part, IndexError> {
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
