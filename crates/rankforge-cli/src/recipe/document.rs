//! A TOML file with the place of every field, and values given by `--set` over it.

use crate::failure::{Mistake, nearest};
use anyhow::Context;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// A recipe file, not yet understood.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    table: Table,
    places: BTreeMap<String, Place>,
}

/// Where a value was given.
#[derive(Clone, Debug)]
enum Place {
    Line(usize),
    Set(String),
}

impl Document {
    /// Reads a file, then applies `--set` values (`section.field=value`) in order.
    ///
    /// # Errors
    /// A missing file, text that is not TOML (with its line), a malformed `--set`.
    pub(crate) fn read(path: &Path, sets: &[String]) -> anyhow::Result<Document> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the recipe {}", path.display()))?;
        Document::parse(path, &text, sets)
    }

    /// As [`Document::read`], from text.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub(crate) fn parse(path: &Path, text: &str, sets: &[String]) -> anyhow::Result<Document> {
        let spanned = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            let message = error.message().trim_end();
            Mistake::input(format!("{}, line {line}: {message}", path.display()))
        })?;
        let mut places = BTreeMap::new();
        record_table(spanned.get_ref(), "", text, &mut places);
        let table: Table = text.parse().context("the recipe cannot be read twice")?;
        let mut document = Document { path: path.to_owned(), table, places };
        for set in sets {
            document.set(set)?;
        }
        Ok(document)
    }

    /// The whole table.
    pub(crate) fn table(&self) -> Value {
        Value::Table(self.table.clone())
    }

    /// Reads `value`, which stands at `at` in the file, as a `T`.
    ///
    /// # Errors
    /// An unknown field (with the nearest known one), a missing one, a value of the wrong type;
    /// all with file and line.
    pub(crate) fn read_as<T: DeserializeOwned>(&self, value: Value, at: &str) -> anyhow::Result<T> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let mut path = error.path().to_string();
            if path == "." {
                path.clear();
            }
            let path = match (at.is_empty(), path.is_empty()) {
                (true, _) => path,
                (_, true) => at.to_owned(),
                (false, false) => format!("{at}.{path}"),
            };
            let message = error.into_inner().message().trim_end().to_owned();
            self.explain(&path, &message).into()
        })
    }

    /// A complaint about the field at `at`.
    pub(crate) fn complaint(&self, at: &str, message: impl AsRef<str>) -> Mistake {
        Mistake::input(format!("{}: `{at}`: {}", self.place(at), message.as_ref()))
    }

    /// A complaint about a name that is none of the known ones.
    pub(crate) fn unknown_name(&self, at: &str, name: &str, known: &[&str]) -> Mistake {
        self.suggest(at, &format!("`{at}` cannot be {name:?}"), name, known)
    }

    /// A complaint that another reader made about a field of `section`.
    pub(crate) fn explain_within(&self, section: &str, message: &str) -> Mistake {
        let start = message.find("unknown field").unwrap_or(0);
        self.explain(section, &message[start..])
    }

    fn explain(&self, path: &str, message: &str) -> Mistake {
        let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let known = names.get(1..).unwrap_or_default();
        if message.starts_with("unknown field") {
            // The path may end in the unknown field itself or in the table that holds it.
            let unknown = names[0];
            let section = path.strip_suffix(unknown).unwrap_or(path).trim_end_matches('.');
            let at = join(section, unknown);
            let what = if section.is_empty() {
                format!("unknown section `{unknown}`")
            } else {
                format!("unknown field `{unknown}` in [{section}]")
            };
            return self.suggest(&at, &what, unknown, known);
        }
        if message.starts_with("unknown variant") {
            let what = format!("`{path}` cannot be {:?}", names[0]);
            return self.suggest(path, &what, names[0], known);
        }
        Mistake::input(format!("{}: `{path}`: {message}", self.place(path)))
    }

    fn suggest(&self, at: &str, what: &str, unknown: &str, known: &[&str]) -> Mistake {
        let place = self.place(at);
        let mistake = match nearest(unknown, known.iter().copied()) {
            Some(name) => Mistake::input(format!("{place}: {what}; did you mean `{name}`?")),
            None => Mistake::input(format!("{place}: {what}")),
        };
        if known.is_empty() {
            mistake
        } else {
            mistake.hint(format!("known: {}", known.join(", ")))
        }
    }

    /// File and line of a field, of the nearest table around it, or the flag that gave it.
    fn place(&self, at: &str) -> String {
        let mut at = at;
        loop {
            match self.places.get(at) {
                Some(Place::Line(line)) => return format!("{}, line {line}", self.path.display()),
                Some(Place::Set(set)) => return format!("--set {set}"),
                None => match at.rfind(['.', '[']) {
                    Some(end) => at = &at[..end],
                    None => return self.path.display().to_string(),
                },
            }
        }
    }

    fn set(&mut self, set: &str) -> anyhow::Result<()> {
        let malformed = || {
            Mistake::usage(format!("--set {set}: expected section.field=value"))
                .hint("for example --set arguments.learning_rate=2e-5")
        };
        let (key, text) = set.split_once('=').ok_or_else(malformed)?;
        let keys: Vec<&str> = key.trim().split('.').map(str::trim).collect();
        if keys.len() < 2 || keys.iter().any(|key| key.is_empty()) {
            return Err(malformed().into());
        }
        let value = set_value(text.trim());
        let mut table = &mut self.table;
        let (last, sections) = keys.split_last().expect("there are at least two");
        for section in sections {
            let entry = table.entry(*section).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().ok_or_else(|| {
                Mistake::usage(format!("--set {set}: `{section}` is a value, not a section"))
            })?;
        }
        table.insert((*last).to_owned(), value);
        self.places.insert(keys.join("."), Place::Set(set.to_owned()));
        Ok(())
    }
}

/// TOML where the text is TOML, else the text itself, so that strings need no quotes.
fn set_value(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>();
    match parsed {
        Ok(mut table) if table.len() == 1 => table.remove("value").expect("it is the only key"),
        _ => Value::String(text.to_owned()),
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

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
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
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let document = Document::parse(Path::new("r.toml"), text, &sets);
        document
            .and_then(|document| document.read_as(document.table(), ""))
            .map_err(|error| format!("{error}"))
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
    fn set_overrides_and_adds_values_of_every_kind() {
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
    fn a_mistake_in_set_is_blamed_on_the_flag() {
        assert_eq!(
            read("", &["arguments.seeds=7"]).unwrap_err(),
            "--set arguments.seeds=7: unknown field `seeds` in [arguments]; did you mean `seed`?"
        );
        assert_eq!(read("", &["seed"]).unwrap_err(), "--set seed: expected section.field=value");
    }
}
