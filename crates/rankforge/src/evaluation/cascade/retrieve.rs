use crate::error::Error;
use crate::evaluation::cascade::collection::Collection;
use crate::evaluation::cascade::stage::{Clock, Stage};
use rankforge_base::{Reporter, Task};
use rankforge_kernels::ops::Neighbour;

/// Name of the argument in errors.
const FIRST_STAGE: &str = "first stage";

impl Collection<'_> {
    /// What a first stage finds for each query, one query at a time, so that the time of each is
    /// its own. `search` returns the best documents for a text, best first, at most as many as its
    /// second argument says.
    ///
    /// A document with the id of the query is the query itself and is left out, as BEIR does.
    ///
    /// # Errors
    /// Those of `search`; a `depth` of 0; a document that is not in the corpus, a document found
    /// twice, a score that is not finite, or scores that ascend.
    pub fn retrieve<E: From<Error>>(
        &self,
        name: &str,
        depth: usize,
        clock: Clock<'_>,
        reporter: &dyn Reporter,
        mut search: impl FnMut(&str, usize) -> Result<Vec<Neighbour>, E>,
    ) -> Result<Stage, E> {
        if depth == 0 {
            return Err(Error::argument("depth", "at least 1", 0).into());
        }
        let (mut rankings, mut seconds) = (Vec::new(), Vec::new());
        let title = format!("Searching ({name})");
        let task = Task::begin(reporter, &title, self.queries.len(), "queries");
        for query in &self.queries {
            let own = self.beir.corpus.get_index_of(query.id);
            // One more where a query may find itself.
            let wanted = depth.saturating_add(usize::from(own.is_some()));
            let begun = clock();
            let mut found = search(query.text, wanted)?;
            seconds.push((clock() - begun).as_secs_f64());
            self.check(name, query.id, &found)?;
            found.retain(|candidate| Some(candidate.index as usize) != own);
            found.truncate(depth);
            rankings.push(found);
            task.advance(1);
        }
        Ok(Stage { first_stage: name.to_owned(), depth: None, rankings, seconds })
    }

    /// Checks that the documents found for a query are a ranking of the corpus.
    fn check(&self, name: &str, query: &str, found: &[Neighbour]) -> Result<(), Error> {
        let refuse = |expected: &str, got: String| {
            let place = format!("{FIRST_STAGE} {name}, query {query}");
            Err(Error::argument(place, expected, got))
        };
        let documents = self.beir.corpus.len();
        if let Some(candidate) = found.iter().find(|found| found.index as usize >= documents) {
            let expected = format!("a document of the {documents} of the corpus");
            return refuse(&expected, format!("index {}", candidate.index));
        }
        if let Some(candidate) = found.iter().find(|found| !found.score.is_finite()) {
            return refuse("finite scores", candidate.score.to_string());
        }
        if let Some(pair) = found.windows(2).find(|pair| pair[0].score < pair[1].score) {
            let got = format!("{} before {}", pair[0].score, pair[1].score);
            return refuse("documents in descending order of their scores", got);
        }
        let mut sorted: Vec<u32> = found.iter().map(|candidate| candidate.index).collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let (id, _) = self.document(pair[0]);
            return refuse("each document once", format!("document {id} twice"));
        }
        Ok(())
    }
}
