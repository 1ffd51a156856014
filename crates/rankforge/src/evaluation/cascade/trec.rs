use crate::error::Error;
use crate::evaluation::cascade::collection::Collection;
use crate::evaluation::cascade::stage::Stage;
use rankforge_base::{AtomicFile, FileError};
use rankforge_kernels::ops::Neighbour;
use std::io::Write;
use std::path::Path;

impl Collection<'_> {
    /// Checks that the ids can stand in a TREC run file, whose columns end at white space.
    ///
    /// # Errors
    /// An id that is empty or has white space.
    pub fn check_run_ids(&self) -> Result<(), Error> {
        let unfit = |id: &&String| id.is_empty() || id.contains(char::is_whitespace);
        let ids = [("document", self.beir.corpus.keys().find(unfit))];
        let queries = [("query", self.beir.queries.keys().find(unfit))];
        for (what, id) in ids.into_iter().chain(queries) {
            if let Some(id) = id {
                let expected = "an id without white space, as the columns of a run file end there";
                return Err(Error::argument(format!("TREC run file, {what}"), expected, {
                    format!("{id:?}")
                }));
            }
        }
        Ok(())
    }
}

/// Writes the rankings of a stage as a TREC run file: `query Q0 document rank score stage`.
///
/// Programs that read such a file order documents by score and break ties by their own rules. So
/// the scores descend strictly: one that is not below the score before it becomes the next smaller
/// f32, the type that trec_eval compares.
///
/// # Errors
/// When the file cannot be written, or an id cannot stand in it ([`Collection::check_run_ids`]).
pub fn write_run(path: &Path, collection: &Collection<'_>, stage: &Stage) -> Result<(), Error> {
    collection.check_run_ids()?;
    let name = stage.name();
    let mut file = AtomicFile::create(path)?;
    let failed = FileError::io(path);
    for (query, ranking) in collection.queries.iter().zip(&stage.rankings) {
        let ranked = ranking.iter().zip(descending(ranking)).enumerate();
        for (place, (candidate, score)) in ranked {
            let (document, _) = collection.document(candidate.index);
            let rank = place + 1;
            writeln!(file, "{} Q0 {document} {rank} {score} {name}", query.id).map_err(failed)?;
        }
    }
    Ok(file.commit()?)
}

/// The scores of a ranking, made to descend strictly.
fn descending(ranking: &[Neighbour]) -> Vec<f32> {
    let mut last = f32::INFINITY;
    let scores = ranking.iter().map(|candidate| {
        last = if candidate.score < last { candidate.score } else { last.next_down() };
        last
    });
    scores.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_a_run_descend_strictly_and_change_only_where_they_must() {
        let ranking = [2.5, 2.5, -1.0, 3.0, -7.0].map(|score| Neighbour { index: 0, score });
        let got = descending(&ranking);
        assert_eq!(got[0], 2.5);
        assert_eq!(got[1], 2.5f32.next_down());
        assert_eq!(got[2..], [-1.0, (-1.0f32).next_down(), -7.0]);
        assert!(got.is_sorted_by(|a, b| a > b));
    }
}
