use std::fmt;
use std::str::FromStr;
use tantivy::tokenizer::{
    Language as Stemming, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter,
    TextAnalyzer,
};

/// How texts become terms: words of letters and digits in lower case, without the stop words and
/// the endings of a language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// Words as they are, in lower case.
    None,
    /// Lucene's 33 English stop words are left out, and Porter's second stemmer cuts endings.
    #[default]
    English,
    /// The Snowball stemmer of another language; no stop words are left out.
    Stemmed(Snowball),
}

/// A language, other than English, that Snowball has a stemmer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snowball(Stemming);

/// A name that is none of a [`Language`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown language \"{name}\": expected {}", Language::NAMES.join(", "))]
pub struct UnknownLanguage {
    /// The name.
    pub name: String,
}

/// Words of more bytes are no terms: encoded images, sequences of genes.
const LONGEST_WORD: usize = 255;

/// Lucene's `EnglishAnalyzer.ENGLISH_STOP_WORDS_SET`.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

const STEMMED: [(&str, Stemming); 17] = [
    ("arabic", Stemming::Arabic),
    ("danish", Stemming::Danish),
    ("dutch", Stemming::Dutch),
    ("finnish", Stemming::Finnish),
    ("french", Stemming::French),
    ("german", Stemming::German),
    ("greek", Stemming::Greek),
    ("hungarian", Stemming::Hungarian),
    ("italian", Stemming::Italian),
    ("norwegian", Stemming::Norwegian),
    ("portuguese", Stemming::Portuguese),
    ("romanian", Stemming::Romanian),
    ("russian", Stemming::Russian),
    ("spanish", Stemming::Spanish),
    ("swedish", Stemming::Swedish),
    ("tamil", Stemming::Tamil),
    ("turkish", Stemming::Turkish),
];

impl Language {
    /// The names of all languages.
    pub const NAMES: [&str; 19] = {
        let mut names =
            ["none", "english", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", ""];
        let mut index = 0;
        while index < STEMMED.len() {
            names[index + 2] = STEMMED[index].0;
            index += 1;
        }
        names
    };

    /// Cuts texts into terms.
    pub(super) fn analyzer(self) -> TextAnalyzer {
        let words = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(LONGEST_WORD))
            .filter(LowerCaser);
        match self {
            Language::None => words.build(),
            Language::English => {
                let stop_words = STOP_WORDS.iter().map(|&word| word.to_owned());
                words
                    .filter(StopWordFilter::remove(stop_words))
                    .filter(Stemmer::new(Stemming::English))
                    .build()
            }
            Language::Stemmed(Snowball(stemming)) => words.filter(Stemmer::new(stemming)).build(),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Language::None => "none",
            Language::English => "english",
            Language::Stemmed(Snowball(stemming)) => {
                let entry = STEMMED.iter().find(|(_, listed)| listed == stemming);
                entry.expect("STEMMED lists every language but English").0
            }
        };
        f.write_str(name)
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(name: &str) -> Result<Language, UnknownLanguage> {
        match name {
            "none" => Ok(Language::None),
            "english" => Ok(Language::English),
            _ => match STEMMED.iter().find(|(listed, _)| *listed == name) {
                Some(&(_, stemming)) => Ok(Language::Stemmed(Snowball(stemming))),
                None => Err(UnknownLanguage { name: name.to_owned() }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(language: Language, text: &str) -> Vec<String> {
        let mut terms = Vec::new();
        let mut analyzer = language.analyzer();
        analyzer.token_stream(text).process(&mut |token| terms.push(token.text.clone()));
        terms
    }

    #[test]
    fn names_are_parsed_and_written_alike() {
        for name in Language::NAMES {
            assert_eq!(name.parse::<Language>().unwrap().to_string(), name);
        }
        let error = "klingon".parse::<Language>().unwrap_err().to_string();
        assert!(error.contains("\"klingon\"") && error.contains("english, arabic"), "{error}");
    }

    #[test]
    fn english_leaves_out_stop_words_and_endings() {
        let text = "The cells' Proteins are running, for COVID-19!";
        assert_eq!(terms(Language::English, text), ["cell", "protein", "run", "covid", "19"]);
        assert_eq!(
            terms(Language::None, text),
            ["the", "cells", "proteins", "are", "running", "for", "covid", "19"]
        );
        assert_eq!(terms("german".parse().unwrap(), "die Häuser"), ["die", "haus"]);
    }

    #[test]
    fn words_that_are_no_language_are_no_terms() {
        let text = format!("before {} after", "x".repeat(LONGEST_WORD + 1));
        assert_eq!(terms(Language::None, &text), ["before", "after"]);
    }
}
