use crate::load;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The collection that `rankforge quickstart` embeds is data like any other, so its promises are checked here.
#[test]
fn the_quickstart_collection_is_complete_and_without_duplicates() {
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
            assert!(seen.insert(text.to_lowercase()), "{column} twice: {text}");
        }
    }
    for text in passages.texts("text").unwrap() {
        let words = text.split_whitespace().count();
        assert!((35..=70).contains(&words), "{words} words: {text}");
    }

    let texts: HashMap<&str, &str> =
        passages.texts("id").unwrap().into_iter().zip(passages.texts("text").unwrap()).collect();
    let mut asked: HashMap<&str, usize> = HashMap::new();
    for (passage, question) in
        questions.texts("passage").unwrap().into_iter().zip(questions.texts("question").unwrap())
    {
        let text = texts.get(passage).unwrap_or_else(|| panic!("no passage {passage}: {question}"));
        let first_sentence = text.split(". ").next().unwrap();
        assert!(!question.contains(first_sentence), "repeats its passage: {question}");
        assert!(question.ends_with(['?', '.']) && question.len() >= 15, "no question: {question}");
        *asked.entry(passage).or_default() += 1;
    }
    for id in texts.keys() {
        assert!(asked.get(id).copied().unwrap_or(0) >= 3, "fewer than three questions on {id}");
    }
}
