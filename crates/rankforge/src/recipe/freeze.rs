use crate::error::Error;
use rankforge_base::nearest;
use rankforge_encoder::Model;
use regex::Regex;

/// The field of `[model]` with the patterns.
pub(super) const FIELD: &str = "model.freeze";

/// Most names that an error lists.
const LISTED: usize = 3;

/// Freezes the parameters that a pattern finds: they keep their values. A pattern is a regular
/// expression that is looked for anywhere in the name of a tensor, as in `learning_rate_mapping`.
///
/// # Errors
/// A pattern that is not a regular expression or that matches no parameter; patterns that match all
/// parameters, or only some of the tensors that are one matrix here, such as those of queries, keys
/// and values.
pub(super) fn freeze(model: &mut Model, patterns: &[String]) -> Result<(), Error> {
    if patterns.is_empty() {
        return Ok(());
    }
    let specs = model.architecture().parameters.iter();
    let names: Vec<String> =
        specs.flat_map(|spec| &spec.parts).map(|part| part.full_name()).collect();
    let mut frozen = Vec::new();
    for pattern in patterns {
        let regex = Regex::new(pattern).map_err(|error| {
            Error::argument(FIELD, "regular expressions", format!("\"{pattern}\": {error}"))
        })?;
        if !names.iter().any(|name| regex.is_match(name)) {
            let near = near_names(pattern, &names).join(", ");
            let expected = format!("patterns that find parameters, such as {near}");
            return Err(Error::argument(
                FIELD,
                expected,
                format!("\"{pattern}\", which finds none"),
            ));
        }
        frozen.push(regex);
    }
    let is_frozen = |name: &str| frozen.iter().any(|regex| regex.is_match(name));
    if names.iter().all(|name| is_frozen(name)) {
        let expected = "patterns that leave a parameter to train";
        return Err(Error::argument(
            FIELD,
            expected,
            format!("\"{}\", which find all", patterns.join("\", \"")),
        ));
    }
    Ok(model.set_trainable(|name| !is_frozen(name))?)
}

/// The name that is nearest to a pattern, or else those that have the most of its words.
fn near_names<'a>(pattern: &str, names: &'a [String]) -> Vec<&'a str> {
    if let Some(name) = nearest(pattern, names.iter().map(String::as_str)) {
        return vec![name];
    }
    let separators = |letter: char| !letter.is_alphanumeric() && letter != '_';
    let words: Vec<&str> = pattern.split(separators).filter(|word| !word.is_empty()).collect();
    let shared = |name: &str| {
        let parts: Vec<&str> = name.split('.').collect();
        words.iter().filter(|word| nearest(word, parts.iter().copied()).is_some()).count()
    };
    let mut ranked: Vec<&str> = names.iter().map(String::as_str).collect();
    ranked.sort_by_key(|name| std::cmp::Reverse(shared(name)));
    ranked.truncate(LISTED);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_share_words_with_a_pattern_are_near() {
        let names = [
            "embeddings.word_embeddings.weight",
            "encoder.layer.0.output.dense.weight",
            "encoder.layer.1.output.dense.weight",
        ]
        .map(str::to_owned);
        assert_eq!(near_names("embeding", &names)[0], names[0]);
        assert_eq!(near_names("embeddings.word_embedings.weight", &names), [&names[0][..]]);
        assert_eq!(near_names("^encoder\\.layers\\.7", &names)[0], names[1]);
    }
}
