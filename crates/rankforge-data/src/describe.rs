use crate::{Rows, Value};
use indexmap::{IndexMap, IndexSet};
use serde::Serialize;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a table holds, gathered chunk by chunk.
#[derive(Clone, Debug, Default)]
pub struct Description {
    rows: usize,
    columns: IndexMap<String, Gathered>,
}

/// What one column holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDescription {
    /// The column's name.
    pub name: String,
    /// Kinds of its values that are not null, in order of appearance: `text`, `integer`, `float`, `boolean`, `list`.
    pub kinds: Vec<&'static str>,
    /// Values that are null.
    pub nulls: usize,
    /// Different values that are not null.
    pub distinct: usize,
    /// Lengths of its texts (those in lists too), in characters.
    pub characters: Option<Spread>,
    /// Lengths of its lists.
    pub items: Option<Spread>,
    /// Its finite numbers (those in lists too; truth values are none).
    pub numbers: Option<Spread>,
}

/// Smallest, mean and largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Smallest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Largest.
    pub max: f64,
}

impl Description {
    /// Takes in more rows.
    pub fn add(&mut self, rows: &Rows) {
        self.rows += rows.len();
        for (name, values) in rows.columns() {
            if !self.columns.contains_key(name) {
                self.columns.insert(name.clone(), Gathered::default());
            }
            let gathered = &mut self.columns[name.as_str()];
            values.iter().for_each(|value| gathered.add(value));
        }
    }

    /// Number of rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, in order.
    pub fn columns(&self) -> Vec<ColumnDescription> {
        let column = |(name, gathered): (&String, &Gathered)| ColumnDescription {
            name: name.clone(),
            kinds: gathered.kinds.iter().copied().collect(),
            nulls: gathered.nulls,
            distinct: gathered.distinct.len(),
            characters: gathered.characters.spread(),
            items: gathered.items.spread(),
            numbers: gathered.numbers.spread(),
        };
        self.columns.iter().map(column).collect()
    }
}

impl Rows {
    /// What the table holds: kinds, nulls, distinct values, lengths and ranges by column.
    pub fn describe(&self) -> Description {
        let mut description = Description::default();
        description.add(self);
        description
    }
}

#[derive(Clone, Debug, Default)]
struct Gathered {
    kinds: IndexSet<&'static str>,
    nulls: usize,
    /// Hashes: 8 bytes a value where the texts could fill the memory; two of a million collide with a chance of 3e-8.
    distinct: HashSet<u64>,
    characters: Running,
    items: Running,
    numbers: Running,
}

impl Gathered {
    fn add(&mut self, value: &Value) {
        if *value == Value::Null {
            self.nulls += 1;
            return;
        }
        self.kinds.insert(value.kind());
        let mut hasher = DefaultHasher::new();
        hash(value, &mut hasher);
        self.distinct.insert(hasher.finish());
        self.measure(value);
    }

    fn measure(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Boolean(_) => {}
            Value::Text(text) => self.characters.add(text.chars().count() as f64),
            Value::Integer(number) => self.numbers.add(*number as f64),
            Value::Float(number) if number.is_finite() => self.numbers.add(*number),
            Value::Float(_) => {}
            Value::List(values) => {
                self.items.add(values.len() as f64);
                values.iter().for_each(|value| self.measure(value));
            }
        }
    }
}

fn hash(value: &Value, hasher: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        Value::Null => {}
        Value::Text(text) => text.hash(hasher),
        Value::Integer(number) => number.hash(hasher),
        Value::Float(number) => number.to_bits().hash(hasher),
        Value::Boolean(truth) => truth.hash(hasher),
        Value::List(values) => {
            values.len().hash(hasher);
            values.iter().for_each(|value| hash(value, hasher));
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Running {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Running {
    fn add(&mut self, number: f64) {
        if self.count == 0 {
            (self.min, self.max) = (number, number);
        }
        self.count += 1;
        self.sum += number;
        self.min = self.min.min(number);
        self.max = self.max.max(number);
    }

    fn spread(&self) -> Option<Spread> {
        (self.count > 0).then(|| Spread {
            min: self.min,
            mean: self.sum / self.count as f64,
            max: self.max,
        })
    }
}
