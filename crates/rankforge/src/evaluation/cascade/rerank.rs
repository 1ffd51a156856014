use crate::error::Error;
use crate::evaluation::cascade::collection::Collection;
use crate::evaluation::cascade::stage::{Clock, Stage};
use crate::finite_scores::finite_scores;
use rankforge_base::{Reporter, Task, silent};
use rankforge_encoder::Score;
use std::collections::HashMap;

/// Orders the best documents of first stages by the scores of a model.
///
/// Each pair of query and document is scored once, however many first stages and depths need it.
///
/// Its time is measured too. The documents of a query are scored in parts: those up to the smallest
/// depth first, then those up to the next, and so on. The time of a part is shared equally by the
/// pairs that were scored in it, and a depth takes the time of all its pairs. So the time of a
/// query is that of this query alone; pairs that an earlier first stage had found too count with
/// the time that they took then.
pub struct Reranker<'a> {
    model: &'a dyn Score,
    collection: &'a Collection<'a>,
    /// Numbers of documents to rerank, ascending.
    depths: Vec<usize>,
    /// Maximum number of pairs in a batch.
    batch_size: usize,
    /// Score and seconds of each pair: index of the query, index of the document.
    known: HashMap<(usize, u32), (f32, f64)>,
}

impl<'a> Reranker<'a> {
    /// A reranker of the best documents up to each of `depths`.
    ///
    /// # Errors
    /// No depth, or depths that do not ascend from 1 on.
    pub fn new(
        model: &'a dyn Score,
        collection: &'a Collection<'a>,
        depths: &[usize],
        batch_size: usize,
    ) -> Result<Reranker<'a>, Error> {
        if depths.first().is_none_or(|depth| *depth == 0) || !depths.is_sorted_by(|a, b| a < b) {
            let got = depths.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::argument("depth", "ascending numbers of at least 1", got));
        }
        Ok(Reranker {
            model,
            collection,
            depths: depths.to_vec(),
            batch_size,
            known: HashMap::new(),
        })
    }

    /// The first stage reranked at each depth.
    ///
    /// # Errors
    /// When the model cannot read a text, or a score is not finite.
    pub fn rerank(
        &mut self,
        stage: &Stage,
        clock: Clock<'_>,
        reporter: &dyn Reporter,
    ) -> Result<Vec<Stage>, Error> {
        let depths = self.depths.clone();
        let mut scores = Vec::with_capacity(stage.rankings.len());
        let mut seconds = vec![Vec::with_capacity(stage.rankings.len()); depths.len()];
        let title = format!("Reranking ({})", stage.first_stage);
        let task = Task::begin(reporter, &title, stage.rankings.len(), "queries");
        for (query, ranking) in stage.rankings.iter().enumerate() {
            let documents: Vec<u32> = ranking.iter().map(|candidate| candidate.index).collect();
            let mut scored = Vec::new();
            let mut spent = stage.seconds[query];
            for (depth, seconds) in depths.iter().zip(&mut seconds) {
                let part = &documents[scored.len()..documents.len().min(*depth)];
                self.score(query, part, clock)?;
                for document in part {
                    let (score, time) = self.known[&(query, *document)];
                    scored.push(score);
                    spent += time;
                }
                seconds.push(spent);
            }
            scores.push(scored);
            task.advance(1);
        }
        let reranked = depths.iter().zip(seconds);
        Ok(reranked.map(|(depth, seconds)| stage.reranked(*depth, &scores, seconds)).collect())
    }

    /// Scores the documents of a query that are not known yet.
    fn score(&mut self, query: usize, documents: &[u32], clock: Clock<'_>) -> Result<(), Error> {
        let is_new = |document: &&u32| !self.known.contains_key(&(query, **document));
        let new: Vec<u32> = documents.iter().filter(is_new).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let text = self.collection.queries[query].text;
        let document_text = |document: &u32| self.collection.document(*document).1;
        let pairs: Vec<(&str, &str)> =
            new.iter().map(|document| (text, document_text(document))).collect();
        let begun = clock();
        let scores = finite_scores(self.model, &pairs, self.batch_size, &silent())?;
        let each = (clock() - begun).as_secs_f64() / new.len() as f64;
        let keys = new.iter().map(|document| (query, *document));
        self.known.extend(keys.zip(scores.into_iter().map(|score| (score, each))));
        Ok(())
    }
}
