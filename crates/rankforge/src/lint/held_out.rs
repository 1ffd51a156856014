use crate::lint::checks::Checked;
use crate::lint::finding::{Collected, Example, Finding, Kind};
use crate::lint::table::{Cell, Table, TextColumn};
use std::collections::HashMap;

/// Where the held-out data have a text.
type Occurrence<'a> = (&'a str, &'a Table<'a>, &'a TextColumn<'a>, Cell);

/// Training rows whose query, or one of whose documents, is a near duplicate of one that is held
/// out.
pub(super) fn leaks<'a>(
    checked: &Checked<'a>,
    held_out: &'a [(String, Table<'a>)],
) -> [Option<Finding>; 2] {
    [(true, Kind::LeakedQuery), (false, Kind::LeakedDocument)].map(|(queries, kind)| {
        let mut known: HashMap<u32, Occurrence<'_>> = HashMap::new();
        for (name, table) in held_out {
            for column in side(table, queries) {
                for cell in &column.cells {
                    let group = checked.groups[cell.text as usize];
                    known.entry(group).or_insert((name, table, column, *cell));
                }
            }
        }
        let mut found = Collected::new(kind, checked.examples);
        for column in side(checked.table, queries) {
            for cell in column.cells.iter().filter(|cell| !checked.texts.is_empty(cell.text)) {
                let Some((name, table, other, there)) =
                    known.get(&checked.groups[cell.text as usize])
                else {
                    continue;
                };
                found.add(cell.row, || {
                    let mut there = table.place(other, *there, checked.texts);
                    there.data = Some((*name).to_owned());
                    let here = checked.table.place(column, *cell, checked.texts);
                    Example { here, there: Some(there) }
                });
            }
        }
        found.finding(None)
    })
}

/// The column of queries, or those of documents.
fn side<'a>(table: &'a Table<'a>, queries: bool) -> &'a [TextColumn<'a>] {
    if queries { &table.columns[..1] } else { &table.columns[1..] }
}
