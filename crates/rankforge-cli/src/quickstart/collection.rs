//! The embedded collection: short passages, and questions that they answer.

use anyhow::Context;
use rankforge::data::{Beir, Rows, Value};
use serde::Deserialize;
use std::collections::BTreeSet;

const PASSAGES: &str = include_str!("../../quickstart/passages.jsonl");
const QUESTIONS: &str = include_str!("../../quickstart/questions.jsonl");

/// One in this many passages is held out, with its questions.
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
    /// Title and text joined by a space, as the reader of BEIR collections joins them.
    fn full_text(&self) -> String {
        format!("{} {}", self.title, self.text)
    }
}

impl Collection {
    /// Reads the embedded files and splits them.
    ///
    /// One passage of each [`HELD_OUT_EVERY`] consecutive ones is held out: neighbours are about
    /// similar subjects, so every subject stays in the training data. `seed` determines which one.
    ///
    /// # Errors
    /// If the embedded files are malformed.
    pub(crate) fn read(seed: u64) -> anyhow::Result<Collection> {
        let passages: Vec<Passage> = parse(PASSAGES).context("the embedded passages")?;
        let questions = parse(QUESTIONS).context("the embedded questions")?;
        let offset = (seed % HELD_OUT_EVERY as u64) as usize;
        let chosen = passages.iter().skip(offset).step_by(HELD_OUT_EVERY);
        let held_out = chosen.map(|passage| passage.id.clone()).collect();
        Ok(Collection { passages, questions, held_out })
    }

    /// Number of passages.
    pub(crate) fn passages(&self) -> usize {
        self.passages.len()
    }

    /// Number of questions.
    pub(crate) fn questions(&self) -> usize {
        self.questions.len()
    }

    /// Number of held-out passages.
    pub(crate) fn held_out_passages(&self) -> usize {
        self.held_out.len()
    }

    /// The passages and then the questions that are not held out.
    pub(crate) fn training_texts(&self) -> Vec<String> {
        let passages = self.passages.iter().filter(|passage| !self.held_out.contains(&passage.id));
        let questions =
            self.questions.iter().filter(|question| !self.held_out.contains(&question.passage));
        let questions = questions.map(|question| question.question.clone());
        passages.map(Passage::full_text).chain(questions).collect()
    }

    /// Rows with the columns `question` and `passage`: the questions that are not held out, each
    /// with the passage that answers it.
    ///
    /// # Errors
    /// If a question refers to a passage that does not exist.
    pub(crate) fn training_pairs(&self) -> anyhow::Result<Rows> {
        let (mut questions, mut passages) = (Vec::new(), Vec::new());
        for question in &self.questions {
            let passage = self.passages.iter().find(|passage| passage.id == question.passage);
            let passage = passage.with_context(|| format!("no passage {}", question.passage))?;
            if !self.held_out.contains(&passage.id) {
                questions.push(Value::Text(question.question.clone()));
                passages.push(Value::Text(passage.full_text()));
            }
        }
        Ok(Rows::new(vec![("question".to_owned(), questions), ("passage".to_owned(), passages)])?)
    }

    /// A BEIR collection for evaluation: the held-out questions as queries, all passages (held out
    /// or not) as the corpus.
    pub(crate) fn held_out(&self) -> Beir {
        let corpus =
            self.passages.iter().map(|passage| (passage.id.clone(), passage.full_text())).collect();
        let questions =
            || self.questions.iter().filter(|question| self.held_out.contains(&question.passage));
        let query = |question: &Question| (question.id.clone(), question.question.clone());
        let relevant =
            |question: &Question| (question.id.clone(), vec![(question.passage.clone(), 1.0)]);
        Beir {
            corpus,
            queries: questions().map(query).collect(),
            relevant: questions().map(relevant).collect(),
            ..Beir::default()
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
    fn the_collection_is_complete_and_split_by_passage() {
        let collection = Collection::read(42).unwrap();
        assert!(collection.passages() >= 240, "{} passages", collection.passages());
        assert!(collection.questions() >= 720, "{} questions", collection.questions());
        let pairs = collection.training_pairs().unwrap();
        let held_out = collection.held_out();
        assert_eq!(pairs.len() + held_out.queries.len(), collection.questions());
        assert_eq!(held_out.corpus.len(), collection.passages());
        let training: BTreeSet<&str> = pairs.texts("passage").unwrap().into_iter().collect();
        for judged in held_out.relevant.values() {
            let text = &held_out.corpus[&judged[0].0];
            assert!(
                !training.contains(text.as_str()),
                "a held-out passage is in the training pairs: {text}"
            );
        }
    }
}
