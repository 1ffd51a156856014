use crate::error::IndexError;
use rankforge_base::{AtomicFile, FileError};
use rankforge_data::fits_run_file;
use std::io::Write;
use std::path::Path;

/// The ranking of a query, with ids.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedQuery {
    /// Id of the query.
    pub id: String,
    /// Ids of texts with their scores, best first.
    pub ranking: Vec<(String, f32)>,
}

/// Writes rankings as a TREC run file, with lines `query Q0 text rank score tag`.
///
/// Programs that read such a file order texts by score and break ties by their own rules. So the
/// scores descend strictly: one that is not below the score before it becomes the next smaller f32.
///
/// # Errors
/// An id that is empty or has white space, at which the columns end; or when the file cannot be
/// written.
pub fn write_run(path: &Path, queries: &[RankedQuery], tag: &str) -> Result<(), IndexError> {
    let mut file = AtomicFile::create(path)?;
    for query in queries {
        check(path, "query", &query.id)?;
        let mut last = f32::INFINITY;
        for (place, (id, score)) in query.ranking.iter().enumerate() {
            check(path, "text", id)?;
            last = if *score < last { *score } else { last.next_down() };
            let rank = place + 1;
            writeln!(file, "{} Q0 {id} {rank} {last} {tag}", query.id)
                .map_err(FileError::io(path))?;
        }
    }
    Ok(file.commit()?)
}

fn check(path: &Path, what: &str, id: &str) -> Result<(), IndexError> {
    if !fits_run_file(id) {
        let message = format!(
            "the columns of a TREC run file end at white space: expected a {what} with an id \
             without it, got \"{id}\""
        );
        return Err(FileError::content(path, message).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(id: &str, ranking: &[(&str, f32)]) -> RankedQuery {
        let ranking = ranking.iter().map(|(id, score)| ((*id).to_owned(), *score)).collect();
        RankedQuery { id: id.to_owned(), ranking }
    }

    #[test]
    fn scores_descend_strictly() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run");
        let queries = [query("q1", &[("a", 2.0), ("b", 2.0), ("c", -1.5)]), query("q2", &[])];
        write_run(&path, &queries, "dense").unwrap();
        let expected = "q1 Q0 a 1 2 dense\nq1 Q0 b 2 1.9999999 dense\nq1 Q0 c 3 -1.5 dense\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn ids_with_white_space_are_refused_and_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run");
        for bad in [query("a query", &[]), query("q", &[("a\u{a0}text", 1.0)]), query("", &[])] {
            let error = write_run(&path, &[bad], "dense").unwrap_err().to_string();
            assert!(error.contains("end at white space"), "{error}");
            assert!(!path.exists());
        }
    }
}
