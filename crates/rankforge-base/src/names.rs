/// The candidate closest to a misspelt `name`, for "did you mean" suggestions.
///
/// The distance is Damerau-Levenshtein (insertions, deletions, substitutions and transpositions of
/// neighbouring characters), ignoring case and the difference between `-` and `_`. `None` when no
/// candidate is within `max(2, characters of name / 3)` edits.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let normalized = |name: &str| name.to_lowercase().replace('-', "_");
    let name = normalized(name);
    let max_edits = (name.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &normalized(candidate)), candidate))
        // A candidate whose every character must change is not a misspelling.
        .filter(|&(edits, candidate)| edits <= max_edits && edits < candidate.chars().count())
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

/// The names in backticks, joined as in a sentence: `` `a`, `b` and `c` ``. "nothing" for an empty
/// list.
pub fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// Bytes as hexadecimal digits, two for each: a hash that is part of a name.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
