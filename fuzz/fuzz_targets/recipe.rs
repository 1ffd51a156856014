//! Recipes of `rankforge train`, with overrides.
//!
//! An input is parts with a zero byte between them: the text of a recipe, then overrides as `--set`
//! takes them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rankforge::losses::{cross_encoder_loss, dual_encoder_loss};
use rankforge::recipe::{Override, Recipe, Trained};
use rankforge::training::TrainingArguments;
use rankforge_fuzz::with_folder;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    with_folder(data.len(), |_| {
        let Ok(data) = std::str::from_utf8(data) else { return };
        let mut parts = data.split('\0');
        let text = parts.next().unwrap_or_default();
        // Those that are no overrides are refused before there is a recipe.
        let overrides: Vec<Override> = parts.filter_map(|part| part.parse().ok()).collect();
        match Recipe::parse(Path::new("recipe.toml"), text, &overrides) {
            Ok(recipe) => check(&recipe),
            Err(error) => check_message(&error.to_string(), text, &overrides),
        }
    });
});

/// Arguments and losses go into checkpoints and model cards, and come out of them the same.
fn check(recipe: &Recipe) {
    let arguments = recipe.arguments.to_map();
    let (again, warnings) = TrainingArguments::from_map(&arguments).expect("they were accepted");
    assert_eq!(again, recipe.arguments);
    assert!(warnings.is_empty(), "{warnings:?}");

    for section in &recipe.losses {
        let config = section.loss.config();
        let settings = config.as_object().expect("settings have names");
        let build = match recipe.trained {
            Trained::CrossEncoder { .. } => cross_encoder_loss,
            Trained::DualEncoder { .. } => dual_encoder_loss,
        };
        let again = build(section.loss.name(), settings).expect("it was accepted");
        assert_eq!(again.config(), config);
    }
}

/// A message says where the mistake is: a line of the file, or an override.
fn check_message(message: &str, text: &str, overrides: &[Override]) {
    if let Some(rest) = message.strip_prefix("recipe.toml, line ") {
        let digits = rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(rest.len());
        let line: usize = rest[..digits].parse().expect("the number of a line");
        let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
        assert!((1..=lines).contains(&line), "{message}: there are {lines} lines");
    } else {
        let named = |change: &Override| message.starts_with(&format!("override {change}: "));
        assert!(overrides.iter().any(named) || message.starts_with("recipe.toml: "), "{message}");
    }
}
