//! Texts that a search found, as a table and as JSON.

use crate::inference::printable;
use crate::queries::Query;
use crate::table::{Table, shortened};
use rankforge_index::Row;
use serde_json::{Value, json};

/// Maximum number of characters of a text in the table.
pub(crate) const SHOWN: usize = 80;

/// A text that was found.
pub(crate) struct Found {
    pub(crate) score: f32,
    pub(crate) row: Row,
}

/// The texts as a table.
pub(crate) fn table(found: &[Found]) -> String {
    if found.is_empty() {
        return "nothing was found\n".to_owned();
    }
    let mut table = Table::new(&["rank", "score", "id", "text"]);
    for (place, Found { score, row }) in found.iter().enumerate() {
        let rank = (place + 1).to_string();
        table.row([rank, format!("{score:.4}"), row.id.clone(), shortened(&row.text, SHOWN)]);
    }
    table.to_string()
}

/// A query and its results as one line of JSON.
pub(crate) fn json_line(query: &Query, found: &[Found]) -> String {
    let results: Vec<Value> = found
        .iter()
        .enumerate()
        .map(|(place, Found { score, row })| {
            json!({
                "rank": place + 1,
                "score": printable(*score),
                "id": row.id,
                "text": row.text,
                "metadata": row.metadata,
            })
        })
        .collect();
    format!("{}\n", json!({ "query_id": query.id, "query": query.text, "results": results }))
}
