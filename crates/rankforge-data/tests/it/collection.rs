use crate::load;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The binary of `rankforge quickstart` contains this collection. This test checks its size and
/// that every passage has questions.
#[test]
fn the_quickstart_collection_is_complete_and_has_no_duplicates() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rankforge-cli/quickstart");
    let passages = load(&folder.join("passages.jsonl")).unwrap();
    let questions = load(&folder.join("questions.jsonl")).unwrap();
    assert_eq!(passages.column_names(), ["id", "title", "text"]);
    assert_eq!(questions.column_names(), ["id", "passage", "question"]);
    assert!(passages.len() >= 250, "{} passages", passages.len());
    assert!(questions.len() >= 750, "{} questions", questions.len());

    for (rows, column) in [
        (&passages, "id"),
        (&passages, "title"),
        (&passages, "text"),
        (&questions, "id"),
        (&questions, "question"),
    ] {
        let mut seen = HashSet::new();
        for text in rows.texts(column).unwrap() {
            assert!(seen.insert(text.to_lowercase()), "duplicate {column}: {text}");
        }
    }
    for text in passages.texts("text").unwrap() {
        let words = text.split_whitespace().count();
        assert!((35..=70).contains(&words), "{words} words: {text}");
    }

    let texts: HashMap<&str, &str> =
        passages.texts("id").unwrap().into_iter().zip(passages.texts("text").unwrap()).collect();
    let mut question_counts: HashMap<&str, usize> = HashMap::new();
    for (passage, question) in
        questions.texts("passage").unwrap().into_iter().zip(questions.texts("question").unwrap())
    {
        let text = texts.get(passage).unwrap_or_else(|| panic!("no passage {passage}: {question}"));
        let first_sentence = text.split(". ").next().unwrap();
        assert!(
            !question.contains(first_sentence),
            "contains a sentence of its passage: {question}"
        );
        assert!(
            question.ends_with(['?', '.']) && question.len() >= 15,
            "not a question: {question}"
        );
        *question_counts.entry(passage).or_default() += 1;
    }
    for id in texts.keys() {
        let count = question_counts.get(id).copied().unwrap_or(0);
        assert!(count >= 3, "passage {id} has {count} questions, expected at least 3");
    }
}
