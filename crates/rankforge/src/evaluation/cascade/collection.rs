use crate::error::Error;
use crate::evaluation::judgements::Judged;
use rankforge_data::{Beir, fits_run_file};
use rankforge_kernels::ops::Neighbour;

/// The documents, queries and judgements of a retrieval collection.
pub struct Collection<'a> {
    pub(super) beir: &'a Beir,
    /// Of each query, in the order of `beir`.
    pub(super) queries: Vec<Query<'a>>,
}

/// A query and what is relevant for it.
pub(super) struct Query<'a> {
    pub(super) id: &'a str,
    pub(super) text: &'a str,
    pub(super) judged: Judged<'a>,
}

impl<'a> Collection<'a> {
    /// The collection that was read from a BEIR folder.
    ///
    /// # Errors
    /// No query, or no document.
    pub fn new(beir: &'a Beir) -> Result<Collection<'a>, Error> {
        if beir.queries.is_empty() || beir.corpus.is_empty() {
            let got = format!("{} and {}", beir.queries.len(), beir.corpus.len());
            return Err(Error::rows("retrieval collection", "queries and documents", got));
        }
        let queries = beir.queries.iter();
        let queries = queries.map(|(id, text)| Query { id, text, judged: Judged::of(beir, id) });
        Ok(Collection { beir, queries: queries.collect() })
    }

    /// The collection that was read.
    pub fn beir(&self) -> &'a Beir {
        self.beir
    }

    /// Checks that all ids can stand in a TREC run file, whose columns end at white space.
    ///
    /// # Errors
    /// An id that is empty or has white space.
    pub fn check_run_ids(&self) -> Result<(), Error> {
        let unfit = |id: &&String| !fits_run_file(id);
        let found = [
            ("document", self.beir.corpus.keys().find(unfit)),
            ("query", self.beir.queries.keys().find(unfit)),
        ];
        for (what, id) in found {
            if let Some(id) = id {
                let expected = "an id without white space, as the columns of a run file end there";
                let got = format!("\"{id}\"");
                return Err(Error::argument(format!("TREC run file, {what}"), expected, got));
            }
        }
        Ok(())
    }

    /// Id and text of a document.
    pub(super) fn document(&self, index: u32) -> (&'a str, &'a str) {
        let (id, text) = self.beir.corpus.get_index(index as usize).expect("a row of the corpus");
        (id, text)
    }

    /// The grades of the documents of a ranking for the query at index `query`.
    pub(super) fn grades(&self, query: usize, ranking: &[Neighbour]) -> Vec<f64> {
        let judged = &self.queries[query].judged;
        let grade = |candidate: &Neighbour| judged.grade(self.document(candidate.index).0);
        ranking.iter().map(grade).collect()
    }
}
