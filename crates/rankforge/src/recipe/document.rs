//! A TOML file with the line of every field, and overrides of its fields.

use crate::error::Error;
use crate::recipe::overrides::Override;
use crate::value_types::in_words;
use rankforge_base::{FileError, nearest};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// Most names that a hint lists; training arguments are more.
const MOST_LISTED: usize = 40;

/// A recipe file as TOML, with the line of every field.
#[derive(Debug)]
pub(super) struct Document {
    path: PathBuf,
    table: Table,
    places: BTreeMap<String, Place>,
}

/// Where a value was given.
#[derive(Clone, Debug)]
enum Place {
    Line(usize),
    Override(String),
}

impl Document {
    /// Reads a file, then applies overrides in order.
    ///
    /// # Errors
    /// A file that cannot be read, or as [`Document::parse`].
    pub(super) fn read(path: &Path, overrides: &[Override]) -> Result<Document, Error> {
        let text = std::fs::read_to_string(path).map_err(FileError::io(path))?;
        Document::parse(path, &text, overrides)
    }

    /// [`Document::read`] for text that was read from `path`.
    ///
    /// # Errors
    /// Text that is not TOML, with its line; an override of a field inside a value.
    pub(super) fn parse(
        path: &Path,
        text: &str,
        overrides: &[Override],
    ) -> Result<Document, Error> {
        let refused = |error: toml::de::Error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            let place = format!("{}, line {line}", path.display());
            let message = error.message().trim_end().to_owned();
            let hint = writes_none(text, line).then(|| NONE_HINT.to_owned());
            Error::Recipe { place, message, hint }
        };
        let spanned = DeTable::parse(text).map_err(refused)?;
        let mut places = BTreeMap::new();
        record_table(spanned.get_ref(), "", text, &mut places);
        // Reads the numbers too, which the first pass leaves as they are written.
        let table: Table = text.parse().map_err(refused)?;
        let mut document = Document { path: path.to_owned(), table, places };
        overrides.iter().try_for_each(|change| document.apply(change))?;
        Ok(document)
    }

    /// The whole table.
    pub(super) fn table(&self) -> Value {
        Value::Table(self.table.clone())
    }

    /// Deserializes `value`, which is at `at` in the file.
    ///
    /// # Errors
    /// An unknown field (with the nearest known one), a missing one, a value of the wrong type;
    /// all with file and line.
    pub(super) fn read_as<T: DeserializeOwned>(&self, value: Value, at: &str) -> Result<T, Error> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let mut path = error.path().to_string();
            if path == "." {
                path.clear();
            }
            let path = match (at.is_empty(), path.is_empty()) {
                (true, _) => path,
                (_, true) => at.to_owned(),
                (false, false) if path.starts_with('[') => format!("{at}{path}"),
                (false, false) => format!("{at}.{path}"),
            };
            self.explain(&path, error.into_inner().message().trim_end())
        })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The place of the file as a whole, for errors.
    pub(super) fn whole_place(&self) -> String {
        self.place("")
    }

    /// The error for the value of the field at `at`.
    pub(super) fn refuse(&self, at: &str, message: impl AsRef<str>) -> Error {
        Error::recipe(self.place(at), format!("`{at}`: {}", message.as_ref()))
    }

    /// The error for a name at `at` that is none of the known ones.
    pub(super) fn unknown_name(&self, at: &str, name: &str, known: &[&str]) -> Error {
        self.suggest(at, &format!("`{at}` cannot be \"{name}\""), name, known)
    }

    /// The error for a field that its section does not have.
    pub(super) fn unknown_field(&self, section: &str, name: &str, known: &[&str]) -> Error {
        let at = join(section, name);
        self.suggest(&at, &format!("unknown field `{name}` in [{section}]"), name, known)
    }

    /// The error for a message of serde about the field or table at `path`, with its line and, for
    /// unknown names, the nearest known one.
    pub(super) fn explain(&self, path: &str, message: &str) -> Error {
        let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let known = names.get(1..).unwrap_or_default();
        if message.starts_with("unknown field") {
            // The path may end in the unknown field itself or in the table that holds it.
            let unknown = names[0];
            let section = path.strip_suffix(unknown).unwrap_or(path).trim_end_matches('.');
            if section.is_empty() {
                let what = format!("unknown section `{unknown}`");
                return self.suggest(unknown, &what, unknown, known);
            }
            return self.unknown_field(section, unknown, known);
        }
        if message.starts_with("unknown variant") {
            let what = format!("`{path}` cannot be \"{}\"", names[0]);
            return self.suggest(path, &what, names[0], known);
        }
        if path.is_empty() {
            return Error::recipe(self.place(path), in_words(message));
        }
        self.refuse(path, in_words(message))
    }

    fn suggest(&self, at: &str, what: &str, unknown: &str, known: &[&str]) -> Error {
        let message = match nearest(unknown, known.iter().copied()) {
            Some(name) => format!("{what}; did you mean `{name}`?"),
            None => what.to_owned(),
        };
        let hint = (1..=MOST_LISTED).contains(&known.len());
        let hint = hint.then(|| format!("known: {}", known.join(", ")));
        Error::Recipe { place: self.place(at), message, hint }
    }

    /// Whether the file or an override gives a field.
    pub(super) fn gives(&self, at: &str) -> bool {
        self.places.contains_key(at)
    }

    /// File and line of a field, of the nearest table around it, or the override that gave it.
    fn place(&self, at: &str) -> String {
        let mut at = at;
        loop {
            // A section that only an override has is where this gave its first field.
            let first = || self.places.iter().find(|(place, _)| is_inside(place, at));
            match self.places.get(at).or_else(|| first().map(|(_, place)| place)) {
                Some(Place::Line(line)) => return format!("{}, line {line}", self.path.display()),
                Some(Place::Override(text)) => return format!("override {text}"),
                None => match at.rfind(['.', '[']) {
                    Some(end) => at = &at[..end],
                    None => return self.path.display().to_string(),
                },
            }
        }
    }

    fn apply(&mut self, change: &Override) -> Result<(), Error> {
        let Override { keys, value, text } = change;
        let (last, sections) = keys.split_last().expect("parsing left at least two");
        let mut table = &mut self.table;
        for section in sections {
            let entry = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().ok_or_else(|| {
                let message = format!("`{section}` is a value, not a section");
                Error::recipe(format!("override {text}"), message)
            })?;
        }
        table.insert(last.clone(), value.clone());
        let at = keys.join(".");
        self.places.retain(|place, _| !is_inside(place, &at));
        self.places.insert(at, Place::Override(text.clone()));
        Ok(())
    }
}

fn record_table(table: &DeTable<'_>, at: &str, text: &str, places: &mut BTreeMap<String, Place>) {
    for (key, value) in table {
        let at = join(at, key.get_ref());
        places.insert(at.clone(), Place::Line(line_of(text, key.span().start)));
        record_value(value, &at, text, places);
    }
}

fn record_value(
    value: &Spanned<DeValue<'_>>,
    at: &str,
    text: &str,
    places: &mut BTreeMap<String, Place>,
) {
    match value.get_ref() {
        DeValue::Table(table) => record_table(table, at, text, places),
        DeValue::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                let at = format!("{at}[{index}]");
                places.insert(at.clone(), Place::Line(line_of(text, value.span().start)));
                record_value(value, &at, text, places);
            }
        }
        _ => {}
    }
}

/// Whether a place is inside the table or list at `at`.
fn is_inside(place: &str, at: &str) -> bool {
    !at.is_empty() && place.strip_prefix(at).is_some_and(|rest| rest.starts_with(['.', '[']))
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

/// The hint for a value in the notation of Python or JSON, which TOML does not have.
const NONE_HINT: &str = "TOML has no None and no null: write \"none\"";

/// Whether the value in a line, from 1, is Python's or JSON's word for none.
fn writes_none(text: &str, line: usize) -> bool {
    let value = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|pair| pair.1);
    let word = value.and_then(|value| value.split_whitespace().next()).unwrap_or_default();
    ["None", "none", "null"].contains(&word.trim_end_matches(','))
}

fn line_of(text: &str, byte: usize) -> usize {
    text.as_bytes()[..byte.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Recipe {
        arguments: Arguments,
        evaluators: Vec<Arguments>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Arguments {
        learning_rate: f64,
        seed: u64,
        strategy: Strategy,
        name: String,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Strategy {
        #[default]
        Steps,
        Epoch,
    }

    fn read(text: &str, sets: &[&str]) -> Result<Recipe, String> {
        let overrides = sets.iter().map(|set| set.parse()).collect::<Result<Vec<_>, _>>()?;
        let document = Document::parse(Path::new("r.toml"), text, &overrides);
        document
            .and_then(|document| document.read_as(document.table(), ""))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_field_is_refused_with_line_and_nearest_name() {
        let text = "[arguments]\nseed = 1\nlearning_rat = 1e-5\n";
        assert_eq!(
            read(text, &[]).unwrap_err(),
            "r.toml, line 3: unknown field `learning_rat` in [arguments]; \
             did you mean `learning_rate`?"
        );
    }

    #[test]
    fn an_unknown_section_is_refused() {
        assert_eq!(
            read("\n[argument]\n", &[]).unwrap_err(),
            "r.toml, line 2: unknown section `argument`; did you mean `arguments`?"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_the_field() {
        let message = read("[[evaluators]]\n[[evaluators]]\nseed = \"x\"\n", &[]).unwrap_err();
        assert!(message.starts_with("r.toml, line 3: `evaluators[1].seed`: "), "{message}");
        assert_eq!(
            read("[arguments]\nstrategy = \"step\"\n", &[]).unwrap_err(),
            "r.toml, line 2: `arguments.strategy` cannot be \"step\"; did you mean `steps`?"
        );
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_line() {
        let message = read("[arguments]\nseed = = 2\n", &[]).unwrap_err();
        assert!(message.starts_with("r.toml, line 2: "), "{message}");
    }

    #[test]
    fn pythons_none_is_refused_with_its_spelling() {
        for text in ["[arguments]\nname = None\n", "[arguments]\nname = null # x\n"] {
            let error = Document::parse(Path::new("r.toml"), text, &[]).unwrap_err();
            assert!(error.to_string().starts_with("r.toml, line 2: "), "{error}");
            assert_eq!(error.hint().as_deref(), Some(NONE_HINT));
        }
        let error = Document::parse(Path::new("r.toml"), "[arguments]\nname = x\n", &[]);
        assert_eq!(error.unwrap_err().hint(), None);
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused_with_its_line() {
        let message = read("[arguments]\nseed = 92233720368544775807\n", &[]).unwrap_err();
        assert!(message.starts_with("r.toml, line 2: "), "{message}");
        assert!(message.contains("92233720368544775807"), "{message}");
    }

    #[test]
    fn overrides_replace_and_add_values_of_every_type() {
        let sets = ["arguments.learning_rate=2e-5", "arguments.name=a b", "arguments.seed = 7"];
        let recipe = read("[arguments]\nseed = 1\n", &sets).unwrap();
        let expected = Arguments {
            learning_rate: 2e-5,
            seed: 7,
            strategy: Strategy::Steps,
            name: "a b".to_owned(),
        };
        assert_eq!(recipe.arguments, expected);
    }

    #[test]
    fn an_error_in_an_override_names_the_override() {
        assert_eq!(
            read("", &["arguments.seeds=7"]).unwrap_err(),
            "override arguments.seeds=7: unknown field `seeds` in [arguments]; did you mean `seed`?"
        );
        let message = read("", &["seed"]).unwrap_err();
        assert!(message.starts_with("expected section.field=value"), "{message}");
        assert_eq!(
            read("seed = 1\n", &["seed.of=7"]).unwrap_err(),
            "override seed.of=7: `seed` is a value, not a section"
        );
    }
}
