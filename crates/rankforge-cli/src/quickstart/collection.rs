//! The collection inside the binary: short passages and questions they answer.

use anyhow::Context;
use rankforge::data::{Beir, Rows, Value};
use serde::Deserialize;
use std::collections::BTreeSet;

const PASSAGES: &str = include_str!("../../quickstart/passages.jsonl");
const QUESTIONS: &str = include_str!("../../quickstart/questions.jsonl");

/// Every so manieth passage is held out, with its questions.
const HELD_OUT_EVERY: usize = 5;

/// The collection, split by passage.
#[derive(Debug)]
pub(crate) struct Collection {
    passages: Vec<Passage>,
    questions: Vec<Question>,
    held_out: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Passage {
    id: String,
    title: String,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Question {
    id: String,
    passage: String,
    question: String,
}

impl Passage {
    /// Title and text, as BEIR collections are read.
    fn whole(&self) -> String {
        format!("{} {}", self.title, self.text)
    }
}

impl Collection {
    /// Reads the embedded files and splits them: of each group of neighbouring passages, which are on
    /// like subjects, one is held out; `seed` says which.
    ///
    /// # Errors
    /// When the embedded files are malformed.
    pub(crate) fn read(seed: u64) -> anyhow::Result<Collection> {
        let passages: Vec<Passage> = parse(PASSAGES).context("the embedded passages")?;
        let questions = parse(QUESTIONS).context("the embedded questions")?;
        let offset = (seed % HELD_OUT_EVERY as u64) as usize;
        let chosen = passages.iter().skip(offset).step_by(HELD_OUT_EVERY);
        let held_out = chosen.map(|passage| passage.id.clone()).collect();
        Ok(Collection { passages, questions, held_out })
    }

    /// Passages of the collection.
    pub(crate) fn passages(&self) -> usize {
        self.passages.len()
    }

    /// Questions of the collection.
    pub(crate) fn questions(&self) -> usize {
        self.questions.len()
    }

    /// Passages that training does not see.
    pub(crate) fn held_out_passages(&self) -> usize {
        self.held_out.len()
    }

    /// All texts that training may see, passages first.
    pub(crate) fn training_texts(&self) -> Vec<String> {
        let seen = self.passages.iter().filter(|passage| !self.held_out.contains(&passage.id));
        let asked = self.questions.iter().filter(|asked| !self.held_out.contains(&asked.passage));
        seen.map(Passage::whole).chain(asked.map(|asked| asked.question.clone())).collect()
    }

    /// Questions and the passages that answer them, for training.
    ///
    /// # Errors
    /// When a question names a passage that is not there.
    pub(crate) fn training_pairs(&self) -> anyhow::Result<Rows> {
        let (mut questions, mut passages) = (Vec::new(), Vec::new());
        for asked in &self.questions {
            let passage = self.passages.iter().find(|passage| passage.id == asked.passage);
            let passage = passage.with_context(|| format!("no passage {}", asked.passage))?;
            if !self.held_out.contains(&passage.id) {
                questions.push(Value::Text(asked.question.clone()));
                passages.push(Value::Text(passage.whole()));
            }
        }
        Ok(Rows::new(vec![("question".to_owned(), questions), ("passage".to_owned(), passages)])?)
    }

    /// The questions about the passages held out, to be answered from all passages.
    pub(crate) fn held_out(&self) -> Beir {
        let corpus =
            self.passages.iter().map(|passage| (passage.id.clone(), passage.whole())).collect();
        let asked = || self.questions.iter().filter(|asked| self.held_out.contains(&asked.passage));
        Beir {
            corpus,
            queries: asked().map(|asked| (asked.id.clone(), asked.question.clone())).collect(),
            relevant: asked()
                .map(|asked| (asked.id.clone(), vec![(asked.passage.clone(), 1.0)]))
                .collect(),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(lines: &'a str) -> Result<Vec<T>, serde_json::Error> {
    lines.lines().filter(|line| !line.is_empty()).map(serde_json::from_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collection_is_whole_and_split_by_passage() {
        let collection = Collection::read(42).unwrap();
        assert!(collection.passages() >= 240, "{} passages", collection.passages());
        assert!(collection.questions() >= 720, "{} questions", collection.questions());
        let pairs = collection.training_pairs().unwrap();
        let held_out = collection.held_out();
        assert_eq!(pairs.len() + held_out.queries.len(), collection.questions());
        assert_eq!(held_out.corpus.len(), collection.passages());
        let seen: BTreeSet<&str> = pairs.texts("passage").unwrap().into_iter().collect();
        for judged in held_out.relevant.values() {
            let text = &held_out.corpus[&judged[0].0];
            assert!(!seen.contains(text.as_str()), "training sees {text}");
        }
    }
}
