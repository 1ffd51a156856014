use crate::bm25::files::MappedFolder;
use crate::bm25::language::Language;
use crate::bm25::part::Part;
use crate::bm25::query::{Statistics, search, terms};
use crate::error::IndexError;
use crate::manifest::PartEntry;
use rankforge_base::FileError;
use rankforge_kernels::Workers;
use rankforge_kernels::ops::Neighbour;
use rayon::prelude::*;
use std::path::PathBuf;

/// Texts that can be searched by the words of a query. A text has its number, from 0.
pub struct Bm25Index {
    language: Language,
    parts: Vec<Part>,
    statistics: Statistics,
}

/// Number of texts of a part: few enough for the parts of 100,000 texts to keep two threads busy,
/// and enough that a query looks its terms up in few of them.
pub(crate) const PART_ROWS: usize = 1 << 15;

impl Bm25Index {
    /// The index of `texts`, in memory.
    ///
    /// # Errors
    /// When tantivy refuses.
    ///
    /// # Panics
    /// When there are more texts than a [`Neighbour`] can number.
    ///
    /// # Examples
    /// ```
    /// use rankforge_index::bm25::{Bm25Index, Language};
    /// use rankforge_kernels::Workers;
    ///
    /// let workers = Workers::new(Some(1)).unwrap();
    /// let texts = ["Bees make honey.", "Owls hunt at night."];
    /// let index = Bm25Index::in_memory(&texts, Language::English, &workers)?;
    /// let found = index.search(&["what hunts by night"], 10, &workers)?;
    /// assert_eq!(found[0].len(), 1);
    /// assert_eq!(found[0][0].index, 1);
    /// # Ok::<(), rankforge_index::IndexError>(())
    /// ```
    pub fn in_memory(
        texts: &[&str],
        language: Language,
        workers: &Workers,
    ) -> Result<Bm25Index, IndexError> {
        assert!(u32::try_from(texts.len()).is_ok(), "{} texts", texts.len());
        let build = |texts: &[&str]| Part::build(language, texts.iter().map(Ok))?.part();
        let parts: Result<Vec<Part>, IndexError> =
            workers.run(|| texts.par_chunks(PART_ROWS).map(build).collect());
        Bm25Index::of(language, parts?)
    }

    /// Opens parts that [`write_part`](crate::bm25::write_part) wrote: their folders and files, in
    /// the order of texts.
    pub(crate) fn open(
        language: Language,
        parts: &[(PathBuf, &PartEntry)],
    ) -> Result<Bm25Index, IndexError> {
        let open = |(folder, entry): &(PathBuf, &PartEntry)| {
            let part = Part::open(MappedFolder::open(folder, entry)?)
                .map_err(|error| FileError::content(folder, error.to_string()))?;
            if part.len() as usize != entry.rows {
                let message = format!("expected {} texts, got {}", entry.rows, part.len());
                return Err(FileError::content(folder, message).into());
            }
            Ok(part)
        };
        Bm25Index::of(language, parts.iter().map(open).collect::<Result<_, IndexError>>()?)
    }

    fn of(language: Language, parts: Vec<Part>) -> Result<Bm25Index, IndexError> {
        let statistics = Statistics::of(&parts)?;
        Ok(Bm25Index { language, parts, statistics })
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len() as usize).sum()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How texts and queries become terms.
    pub fn language(&self) -> Language {
        self.language
    }

    /// The `k` texts of highest BM25 for each query, best first, ties by lower number. Fewer when
    /// fewer texts have a term of the query: none when the query has no term.
    ///
    /// The results do not depend on the number of threads.
    ///
    /// # Errors
    /// When tantivy cannot read its files.
    pub fn search(
        &self,
        queries: &[&str],
        k: usize,
        workers: &Workers,
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        self.search_among(queries, k, workers, &|_| true)
    }

    /// [`Bm25Index::search`] among the texts that are `wanted`. The frequencies of terms are those
    /// of all texts.
    pub(crate) fn search_among(
        &self,
        queries: &[&str],
        k: usize,
        workers: &Workers,
        wanted: &(dyn Fn(u32) -> bool + Sync),
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        let search = |query: &&str| {
            let terms = terms(&mut self.language.analyzer(), query);
            search(&self.parts, &self.statistics, &terms, k, wanted).map_err(IndexError::bm25)
        };
        workers.run(|| queries.par_iter().map(search).collect())
    }
}
