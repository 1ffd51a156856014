use crate::error::Error;
use crate::mining::options::MiningOptions;
use rankforge_base::{Reporter, quoted_list};
use rankforge_data::Rows;
use std::collections::{HashMap, HashSet};

/// The anchors, the corpus, and which texts of the corpus are positives of which anchor. None is
/// repeated, and all are in the order of their first appearance.
pub(super) struct Pairs<'a> {
    pub(super) anchor_column: String,
    pub(super) positive_column: String,
    /// Rows of the table.
    pub(super) rows: usize,
    pub(super) queries: Vec<&'a str>,
    /// The texts of the given corpus, then the positives that are not among them.
    pub(super) corpus: Vec<&'a str>,
    /// For each query, the indices of its positives in the corpus.
    pub(super) positives: Vec<Vec<u32>>,
    /// Largest number of rows of one query, repeated ones counted: the search retrieves that many
    /// more candidates.
    pub(super) max_positives: usize,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(
        rows: &'a Rows,
        corpus: Option<&'a [String]>,
        options: &MiningOptions,
        reporter: &dyn Reporter,
    ) -> Result<Pairs<'a>, Error> {
        if rows.is_empty() {
            return Err(Error::rows("mining", "(anchor, positive) pairs", "an empty data set"));
        }
        let (anchor_column, positive_column) = columns(rows, options, reporter)?;
        let anchors = rows.texts(&anchor_column)?;
        let answers = rows.texts(&positive_column)?;
        let given = corpus.unwrap_or_default().iter().map(String::as_str);
        let (corpus, place) = distinct(given.chain(answers.iter().copied()));
        let (queries, number) = distinct(anchors.iter().copied());
        let mut positives = vec![Vec::new(); queries.len()];
        let mut counts = vec![0; queries.len()];
        let mut seen = HashSet::with_capacity(rows.len());
        for (anchor, answer) in anchors.iter().zip(&answers) {
            let (query, text) = (number[anchor], place[answer]);
            counts[query as usize] += 1;
            if seen.insert((query, text)) {
                positives[query as usize].push(text);
            }
        }
        let max_positives = counts.into_iter().max().expect("there is a row");
        let rows = rows.len();
        Ok(Pairs {
            anchor_column,
            positive_column,
            rows,
            queries,
            corpus,
            positives,
            max_positives,
        })
    }

    /// Number of distinct (anchor, positive) pairs.
    pub(super) fn count(&self) -> usize {
        self.positives.iter().map(Vec::len).sum()
    }
}

/// The columns of anchors and positives.
fn columns(
    rows: &Rows,
    options: &MiningOptions,
    reporter: &dyn Reporter,
) -> Result<(String, String), Error> {
    let names = rows.column_names();
    let choose = |field: &str, wanted: &Option<String>, place: usize| -> Result<String, Error> {
        if let Some(name) = wanted.as_deref().filter(|name| names.contains(name)) {
            return Ok(name.to_owned());
        }
        let Some(name) = names.get(place) else {
            let expected = "at least two columns, anchor and positive";
            return Err(Error::rows("mining", expected, quoted_list(names.iter().copied())));
        };
        if let Some(wanted) = wanted {
            reporter.warning(&format!(
                "{field}: there is no column \"{wanted}\" among {}; using \"{name}\" instead",
                names.join(", ")
            ));
        }
        Ok((*name).to_owned())
    };
    let anchor = choose("anchor_column_name", &options.anchor_column_name, 0)?;
    let positive = choose("positive_column_name", &options.positive_column_name, 1)?;
    if anchor == positive {
        let expected = format!("a column other than that of the anchors, \"{anchor}\"");
        return Err(Error::argument("positive_column_name", expected, format!("\"{positive}\"")));
    }
    Ok((anchor, positive))
}

/// Texts without repetition, and the index of each.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> (Vec<&'a str>, HashMap<&'a str, u32>) {
    let (mut list, mut numbers) = (Vec::new(), HashMap::new());
    for text in texts {
        numbers.entry(text).or_insert_with(|| {
            list.push(text);
            u32::try_from(list.len() - 1).expect("fewer than 2^32 texts")
        });
    }
    (list, numbers)
}
