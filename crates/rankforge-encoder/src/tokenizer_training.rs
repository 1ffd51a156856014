use crate::{EncoderError, Tokenizer};
use std::collections::BTreeSet;
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, Model, NormalizedString, Normalizer, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, TokenizerBuilder, Trainer,
};

/// Special tokens in the order of their ids, as BERT's vocabularies begin.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// Marks a piece that continues a word.
const CONTINUES: &str = "##";

/// Learns a lower-case WordPiece vocabulary of at most `vocab_size` pieces from texts, with BERT's
/// rules of splitting and BERT's templates for single texts and pairs.
///
/// The same texts give the same vocabulary, whatever their order.
///
/// # Errors
/// When there is no word in the texts, or `vocab_size` has no room for their letters.
pub fn train_word_piece(texts: &[&str], vocab_size: usize) -> Result<Tokenizer, EncoderError> {
    let failed = |error: tokenizers::Error| {
        EncoderError::Input(format!("cannot train a tokenizer: {error}"))
    };
    let words = words(texts).map_err(failed)?;
    let least = first_tokens(&words).len();
    if words.is_empty() || least > vocab_size {
        return Err(EncoderError::Input(format!(
            "cannot train a tokenizer of {vocab_size} pieces: the texts have {} words, whose \
             letters and the special tokens need {least} pieces",
            words.len(),
        )));
    }
    let model = trained(trainer(&words, vocab_size), &words).map_err(failed)?;
    Tokenizer::from_json(&tokenizer_json(model).map_err(failed)?)
}

fn trainer(words: &[String], vocab_size: usize) -> WordPieceTrainer {
    let first = first_tokens(words);
    WordPieceTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab_size)
        .min_frequency(2)
        .special_tokens(first.into_iter().map(|token| AddedToken::from(token, false)).collect())
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

/// All words, repetitions included, in order of the texts.
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

/// The special tokens, then every letter as the start and as the continuation of a word.
///
/// The trainer numbers pieces in the order it meets them, which is that of a hash map; naming them
/// beforehand, sorted, makes its choices the same in every run.
fn first_tokens(words: &[String]) -> Vec<String> {
    let starts: BTreeSet<char> = words.iter().flat_map(|word| word.chars()).collect();
    let continues: BTreeSet<char> = words.iter().flat_map(|word| word.chars().skip(1)).collect();
    SPECIAL
        .iter()
        .map(|token| (*token).to_owned())
        .chain(starts.iter().map(char::to_string))
        .chain(continues.iter().map(|letter| format!("{CONTINUES}{letter}")))
        .collect()
}

fn tokenizer_json(model: WordPiece) -> Result<String, tokenizers::Error> {
    let id = |token: &str| model.token_to_id(token).expect("the special tokens come first");
    let (cls, sep) = (id("[CLS]"), id("[SEP]"));
    let template = TemplateProcessing::builder()
        .try_single("[CLS]:0 $A:0 [SEP]:0")?
        .try_pair("[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1")?
        .special_tokens(vec![("[CLS]", cls), ("[SEP]", sep)])
        .build()?;
    let decoder = tokenizers::decoders::wordpiece::WordPiece::new(CONTINUES.to_owned(), true);
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
    fn frequent_words_become_pieces_and_special_tokens_come_first() {
        let json: serde_json::Value = serde_json::from_str(&json(&TEXTS, 80)).unwrap();
        let vocab = json["model"]["vocab"].as_object().unwrap();
        assert!(vocab.len() <= 80, "{} pieces", vocab.len());
        assert!(vocab.contains_key("cat"), "{vocab:?}");
        for (id, token) in SPECIAL.iter().enumerate() {
            assert_eq!(vocab[*token], id);
        }
    }

    #[test]
    fn a_vocabulary_without_room_for_the_letters_is_refused() {
        assert!(train_word_piece(&TEXTS, 10).is_err());
        assert!(train_word_piece(&[], 100).is_err());
    }
}
