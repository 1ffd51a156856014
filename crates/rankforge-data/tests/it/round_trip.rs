//! What is written is read back, for tables of awkward texts, numbers and lists.

use crate::{Folder, at, text};
use rankforge_data::{RowReader, RowWriter, Rows, Value};

/// Parts of texts: whatever a format treats specially.
const PARTS: [&str; 29] = [
    "",
    " ",
    "  ",
    "\"",
    "\"\"",
    ",",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\u{feff}",
    "'",
    "\\",
    "1984",
    "007",
    "-0.50",
    "nan",
    "true",
    "null",
    "[1]",
    "{}",
    "#",
    ";",
    "é",
    "日本",
    "\u{1f600}",
    "\0",
    "\u{2028}",
    "word",
];

/// A generator of numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % limit as u64) as usize
    }

    fn text(&mut self) -> String {
        (0..self.below(4)).map(|_| PARTS[self.below(PARTS.len())]).collect()
    }

    fn integer(&mut self) -> Value {
        Value::Integer([0, 1, -1, 1984, i64::MAX, i64::MIN][self.below(6)])
    }

    fn float(&mut self) -> Value {
        let numbers = [0.0, -0.0, 0.1, 1.0 / 3.0, 1e300, -5e-324, f64::MAX, 0.5];
        Value::Float(numbers[self.below(numbers.len())] / (1.0 + self.below(3) as f64 / 7.0))
    }

    fn list(&mut self, item: fn(&mut Random) -> Value) -> Value {
        Value::List((0..self.below(4)).map(|_| item(self)).collect())
    }

    fn name(&mut self, taken: &[(String, Vec<Value>)]) -> String {
        loop {
            let name = self.text();
            if taken.iter().all(|(other, _)| *other != name) {
                return name;
            }
        }
    }

    /// A table with a column for each maker of values.
    fn table(&mut self, makers: &[fn(&mut Random) -> Value], rows: usize) -> Rows {
        let mut columns = Vec::new();
        for maker in makers {
            let name = self.name(&columns);
            columns.push((name, (0..rows).map(|_| maker(self)).collect()));
        }
        Rows::new(columns).unwrap()
    }
}

fn some_text(random: &mut Random) -> Value {
    text(&random.text())
}

/// Writes the rows in two chunks and reads them in chunks of three.
fn round_trip(folder: &Folder, name: &str, rows: &Rows) -> Rows {
    let path = folder.path().join(name);
    let mut writer = RowWriter::create(&path).unwrap();
    let middle = rows.len() / 2;
    writer.begin(rows).unwrap();
    writer.write(&rows.select(&(0..middle).collect::<Vec<_>>())).unwrap();
    writer.write(&rows.select(&(middle..rows.len()).collect::<Vec<_>>())).unwrap();
    writer.finish().unwrap();
    let mut back = Rows::default();
    for chunk in RowReader::open(&at(&path), 3).unwrap() {
        back.append_chunk(chunk.unwrap());
    }
    back
}

#[test]
fn tables_of_every_type_come_back_from_jsonl_and_parquet() {
    let folder = Folder::new();
    let makers: [fn(&mut Random) -> Value; 8] = [
        some_text,
        Random::integer,
        Random::float,
        |random| Value::Boolean(random.below(2) == 0),
        |random| random.list(some_text),
        |random| random.list(Random::integer),
        |random| random.list(Random::float),
        |random| if random.below(2) == 0 { Value::Null } else { some_text(random) },
    ];
    for seed in 0..100 {
        let mut random = Random(seed);
        let rows = 1 + random.below(9);
        let rows = random.table(&makers, rows);
        for name in ["a.jsonl", "a.parquet"] {
            assert_eq!(round_trip(&folder, name, &rows), rows, "seed {seed}, {name}");
        }
    }
}

#[test]
fn texts_and_numbers_come_back_from_csv_and_tsv_in_their_roles() {
    let folder = Folder::new();
    let makers: [fn(&mut Random) -> Value; 4] =
        [some_text, Random::integer, Random::float, |random| Value::Boolean(random.below(2) == 0)];
    for seed in 0..200 {
        let mut random = Random(seed);
        let (columns, rows) = (1 + random.below(makers.len()), 1 + random.below(9));
        let rows = random.table(&makers[..columns], rows);
        for name in ["a.csv", "a.tsv"] {
            let back = round_trip(&folder, name, &rows);
            assert_eq!(back.column_names(), rows.column_names(), "seed {seed}, {name}");
            for (index, column) in rows.column_names().into_iter().enumerate() {
                if index == 0 {
                    assert_eq!(
                        back.texts(column).unwrap(),
                        rows.texts(column).unwrap(),
                        "seed {seed}, {name}"
                    );
                } else {
                    assert_eq!(
                        back.numbers(column).unwrap(),
                        rows.numbers(column).unwrap(),
                        "seed {seed}, {name}"
                    );
                }
            }
        }
    }
}

/// A csv file that goes through the other formats is text there, and so still text and no number.
#[test]
fn csv_cells_are_texts_in_other_formats() {
    let folder = Folder::new();
    let path = folder.file("a.csv", "a,b\n1984,x\n,y\n");
    let rows = rankforge_data::load_rows(&at(&path)).unwrap();
    for name in ["b.jsonl", "b.parquet", "b.csv"] {
        let back = round_trip(&folder, name, &rows);
        assert_eq!(back.texts("a").unwrap(), ["1984", ""], "{name}");
    }
}
