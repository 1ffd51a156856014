use crate::error::EncoderError;
use crate::tokenizer::Tokenizer;
use std::collections::BTreeSet;
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, Model, NormalizedString, Normalizer, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, TokenizerBuilder, Trainer,
};

/// BERT's special tokens, in the order of their ids.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Prefix of the tokens that continue a word.
const CONTINUATION: &str = "##";

/// Trains a WordPiece tokenizer like that of uncased BERT on texts, with a vocabulary of at most
/// `vocab_size` tokens.
///
/// Texts are normalised and split into words as in BERT, and single texts and pairs get BERT's
/// special tokens. The same texts in any order give the same vocabulary.
///
/// # Errors
/// When the texts contain no word, or when `vocab_size` is too small for the special tokens and the
/// characters of the texts.
pub fn train_word_piece(texts: &[&str], vocab_size: usize) -> Result<Tokenizer, EncoderError> {
    let error = EncoderError::tokenizer;
    let words = words(texts).map_err(error)?;
    let min_size = initial_vocabulary(&words).len();
    if words.is_empty() {
        let expected = "texts with at least one word to train a tokenizer on";
        return Err(EncoderError::argument("texts", expected, "no word"));
    }
    if min_size > vocab_size {
        let expected =
            format!("at least {min_size}, the special tokens and the characters of the texts");
        return Err(EncoderError::argument("vocab_size", expected, vocab_size));
    }
    let model = trained(trainer(&words, vocab_size), &words).map_err(error)?;
    Tokenizer::from_json(&tokenizer_json(model).map_err(error)?)
}

fn trainer(words: &[String], vocab_size: usize) -> WordPieceTrainer {
    let initial = initial_vocabulary(words);
    WordPieceTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab_size)
        .min_frequency(2)
        .special_tokens(initial.into_iter().map(|token| AddedToken::from(token, false)).collect())
        .build()
}

fn trained(
    mut trainer: WordPieceTrainer,
    words: &[String],
) -> Result<WordPiece, tokenizers::Error> {
    trainer.feed(words.iter(), |word| Ok(vec![word.to_owned()]))?;
    let mut model = WordPiece::default();
    trainer.train(&mut model)?;
    Ok(model)
}

/// The words of all texts in order, including repetitions.
fn words(texts: &[&str]) -> Result<Vec<String>, tokenizers::Error> {
    let (normalizer, splitter) = (BertNormalizer::default(), BertPreTokenizer);
    let mut words = Vec::new();
    for text in texts {
        let mut normalized = NormalizedString::from(*text);
        normalizer.normalize(&mut normalized)?;
        let mut splits = PreTokenizedString::from(normalized);
        splitter.pre_tokenize(&mut splits)?;
        let splits = splits.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        words.extend(splits.into_iter().map(|(word, ..)| word.to_owned()));
    }
    Ok(words)
}

/// The special tokens, every character as the start of a word, and every character that continues a
/// word as its continuation; each group sorted.
///
/// Without an initial vocabulary the trainer numbers characters in the order of a hash map, which
/// differs from run to run. Pairs of equal frequency are merged in the order of their ids, so that
/// would change the vocabulary.
fn initial_vocabulary(words: &[String]) -> Vec<String> {
    let all: BTreeSet<char> = words.iter().flat_map(|word| word.chars()).collect();
    let continuing: BTreeSet<char> = words.iter().flat_map(|word| word.chars().skip(1)).collect();
    SPECIAL
        .iter()
        .map(|token| (*token).to_owned())
        .chain(all.iter().map(char::to_string))
        .chain(continuing.iter().map(|character| format!("{CONTINUATION}{character}")))
        .collect()
}

/// The content of a `tokenizer.json` with this vocabulary.
fn tokenizer_json(model: WordPiece) -> Result<String, tokenizers::Error> {
    let id = |token: &str| model.token_to_id(token).expect("the vocabulary has special tokens");
    let (cls, sep) = (id("[CLS]"), id("[SEP]"));
    let template = TemplateProcessing::builder()
        .try_single("[CLS]:0 $A:0 [SEP]:0")?
        .try_pair("[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1")?
        .special_tokens(vec![("[CLS]", cls), ("[SEP]", sep)])
        .build()?;
    let decoder = tokenizers::decoders::wordpiece::WordPiece::new(CONTINUATION.to_owned(), true);
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(model)
        .with_normalizer(Some(BertNormalizer::default()))
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(template))
        .with_decoder(Some(decoder))
        .build()?;
    tokenizer.add_special_tokens(&SPECIAL.map(|token| AddedToken::from(token, true)));
    tokenizer.to_string(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 4] = [
        "The cat sat on the mat.",
        "A cat, the Cat and another cat!",
        "Matters of cats: sitting, matting, catting.",
        "Über den Bergen ist es weit zu wandern.",
    ];

    fn json(texts: &[&str], vocab_size: usize) -> String {
        let words = words(texts).unwrap();
        let trainer = trainer(&words, vocab_size);
        tokenizer_json(trained(trainer, &words).unwrap()).unwrap()
    }

    #[test]
    fn the_same_texts_in_any_order_give_the_same_vocabulary() {
        let first = json(&TEXTS, 80);
        let mut reversed = TEXTS;
        reversed.reverse();
        for _ in 0..5 {
            assert_eq!(json(&TEXTS, 80), first);
            assert_eq!(json(&reversed, 80), first);
        }
    }

    #[test]
    fn frequent_words_become_tokens_and_special_tokens_have_the_first_ids() {
        let json: serde_json::Value = serde_json::from_str(&json(&TEXTS, 80)).unwrap();
        let vocab = json["model"]["vocab"].as_object().unwrap();
        assert!(vocab.len() <= 80, "{} tokens", vocab.len());
        assert!(vocab.contains_key("cat"), "{vocab:?}");
        for (id, token) in SPECIAL.iter().enumerate() {
            assert_eq!(vocab[*token], id);
        }
    }

    #[test]
    fn a_vocabulary_too_small_for_the_characters_is_refused() {
        assert!(train_word_piece(&TEXTS, 10).is_err());
        assert!(train_word_piece(&[], 100).is_err());
    }
}
