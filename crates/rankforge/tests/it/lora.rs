//! Runs that train adapters: what changes, checkpoints, resuming, the card, recipes.

use crate::frozen::parameters;
use crate::testing::{arguments, bits, device, labeled_pairs, loss, timeless, tiny_bert};
use rankforge::Error;
use rankforge::base::Stop;
use rankforge::encoder::{
    CrossEncoder, LoadOptions, LoraConfig, TargetModules, TextModel, adapter_base,
};
use rankforge::recipe::{Override, Recipe, RecipeTrainer};
use rankforge::training::{ResumeFrom, Trainer};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

fn config() -> LoraConfig {
    LoraConfig {
        r: 2,
        lora_alpha: 4.0,
        lora_dropout: 0.2,
        target_modules: Some(TargetModules::AllLinear),
        ..LoraConfig::default()
    }
}

/// The tiny BERT, opened from files in `base`, which are written if they are not there.
fn opened(base: &Path) -> CrossEncoder {
    if !base.exists() {
        tiny_bert(0.1, 1).save(base, None).unwrap();
    }
    CrossEncoder::open_with(base, &LoadOptions::new(&device())).unwrap()
}

/// A trainer of the tiny BERT with adapters, whose base model is in the folder.
fn adapted(folder: &Path, config: &LoraConfig, options: Value) -> Trainer<CrossEncoder> {
    let mut model = opened(&folder.join("base"));
    model.add_adapter(config, 5).unwrap();
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    Trainer::new(model, arguments(&folder.join("run"), options), labeled_pairs(30), loss)
}

fn largest_difference(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

const PAIRS: [(&str, &str); 2] =
    [("red house", "the house is red"), ("a river", "the bird is blue")];

#[test]
fn adapters_and_the_head_are_trained_and_saved_without_the_base_model() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = json!({"max_steps": 60, "learning_rate": 0.02});
    options["lr_scheduler_type"] = json!("constant");
    let mut trainer = adapted(folder.path(), &config(), options);
    let score = |model: &CrossEncoder| model.predict(&PAIRS).unwrap().values;
    let (before, untrained) = (parameters(trainer.model.model()), score(&trainer.model));
    trainer.train().unwrap();
    for ((name, old), (_, new)) in before.iter().zip(&parameters(trainer.model.model())) {
        let trained = name.starts_with("adapter.") || name.starts_with("classifier.");
        assert_eq!(old != new, trained, "{name}");
    }
    let trained = score(&trainer.model);
    let moved = largest_difference(&untrained, &trained);
    assert!(moved > 1e-2, "training moved the scores by {moved}");

    let saved = folder.path().join("saved");
    trainer.save_model(&saved).unwrap();
    let bytes = std::fs::read(saved.join("adapter_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.names().len(), 2 * 13 + 2, "two factors for each layer, and the classifier");
    let merged = CrossEncoder::open_with(&saved, &LoadOptions::new(&device())).unwrap();
    assert!(!merged.model().has_adapters());
    let difference = largest_difference(&score(&merged), &trained);
    assert!(difference < 1e-5, "the saved model differs by {difference}");
    let base = adapter_base(&saved, &LoadOptions::default()).unwrap().unwrap();
    assert_eq!(base, folder.path().join("base").canonicalize().unwrap());

    let card = std::fs::read_to_string(saved.join("README.md")).unwrap();
    for part in [
        "- lora\n",
        "- **Adapter:** LoRA, r = 2, lora_alpha = 4, lora_dropout = 0.2, beside 13 linear layers \
         (dense, key, query, value); ",
        "pip install -U sentence-transformers peft",
        " of the adapter\n",
    ] {
        assert!(card.contains(part), "{part:?} in:\n{card}");
    }
}

#[test]
fn a_run_with_adapters_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 6, "save_strategy": "steps", "save_steps": 2, "logging_strategy": "steps",
        "logging_steps": 3, "weight_decay": 0.1,
    });
    let mut whole = adapted(folder.path(), &config(), options.clone());
    let expected = whole.train().unwrap();
    let run = folder.path().join("run");
    for step in [2, 4] {
        let checkpoint = run.join(format!("checkpoint-{step}"));
        assert!(!checkpoint.join("model.safetensors").exists(), "the base model is not copied");
        let mut resumed = adapted(folder.path(), &config(), options.clone());
        resumed.arguments.output_dir = folder.path().join(format!("from-{step}"));
        resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
        let found = resumed.train().unwrap();
        let equal = bits(resumed.model.model()) == bits(whole.model.model());
        assert!(equal, "from step {step}: the parameters differ");
        assert_eq!(timeless(&found.state), timeless(&expected.state), "from step {step}");
    }
    let bytes = std::fs::read(run.join("checkpoint-2/optimizer.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let moments: BTreeSet<&str> = file.names().into_iter().collect();
    assert_eq!(moments.len(), 2 * (2 * 13 + 2), "{moments:?}");
    let name = "exp_avg.adapter.bert.encoder.layer.0.attention.self.query.lora_A.weight";
    assert!(moments.contains(name), "{moments:?}");
}

#[test]
fn a_run_is_defined_by_its_adapters() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"max_steps": 2, "save_strategy": "steps", "save_steps": 2});
    adapted(folder.path(), &config(), options.clone()).train().unwrap();
    let checkpoint = folder.path().join("run/checkpoint-2");
    let run = std::fs::read(checkpoint.join("run.json")).unwrap();
    let run: Value = serde_json::from_slice(&run).unwrap();
    assert_eq!(run["definition"]["adapter"]["r"], 2);
    assert_eq!(run["definition"]["adapter"]["lora_alpha"], 4.0);
    for (change, field) in [
        (LoraConfig { lora_alpha: 8.0, ..config() }, "lora.lora_alpha: expected 4.0 as in"),
        (LoraConfig { r: 4, ..config() }, "lora.r: expected 2 as in"),
    ] {
        let mut other = adapted(folder.path(), &change, options.clone());
        other.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint.clone()));
        let message = other.train().unwrap_err().to_string();
        assert!(message.starts_with(field), "{message}");
    }
    let mut plain = adapted(folder.path(), &config(), options);
    plain.model = opened(&folder.path().join("base"));
    plain.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
    let message = plain.train().unwrap_err().to_string();
    assert!(message.starts_with("lora."), "{message}");
}

#[test]
fn an_interrupted_run_with_adapters_leaves_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = adapted(folder.path(), &config(), json!({"max_steps": 6}));
    trainer.stop.request();
    let Err(Error::Interrupted { checkpoint, .. }) = trainer.train() else {
        panic!("not interrupted")
    };
    assert!(checkpoint.join("adapter_model.safetensors").exists());
}

#[test]
fn a_recipe_trains_the_adapters_of_its_section() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    opened(&path("base"));
    let lines = (0..20).map(|row| {
        let answer = if row % 2 == 0 { "the house is red" } else { "a bird is blue" };
        json!({"query": "red house", "answer": answer, "label": 1 - row % 2}).to_string()
    });
    std::fs::write(path("pairs.jsonl"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let text = format!(
        "[model]\npath = {:?}\n[dataset]\npath = {:?}\n[lora]\nr = 3\n\
         target_modules = [\"query\", \"value\"]\n[arguments]\noutput_dir = {:?}\nmax_steps = 3\n\
         save_strategy = \"no\"\n",
        path("base"),
        path("pairs.jsonl"),
        path("run")
    );
    let options = LoadOptions::new(&device());
    let read = |change: &[Override]| Recipe::parse("r.toml", &text, change).unwrap();
    let mut run = read(&[]).prepare(&options, &Stop::default()).unwrap();
    let RecipeTrainer::CrossEncoder(trainer) = &run.trainer else { panic!("a reranker") };
    let lora = trainer.model.model().lora().expect("adapters");
    let Some(TargetModules::Names(names)) = &lora.target_modules else { panic!("{lora:?}") };
    assert_eq!((lora.r, names.len()), (3, 4));
    run.run().unwrap();
    assert!(run.destination.join("adapter_model.safetensors").exists());

    for (change, expected) in [
        ("lora.target_modules=[\"quer\"]", "override lora.target_modules=[\"quer\"]: `lora.target"),
        ("lora.r=99", "override lora.r=99: `lora.r`: expected at most 16"),
    ] {
        let recipe = read(&[change.parse().unwrap()]);
        let message = recipe.prepare(&options, &Stop::default()).err().unwrap().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
}

/// The section `[lora]` of a recipe that ends in `text`.
fn section(text: &str) -> Result<Option<LoraConfig>, String> {
    let whole = format!("model.path = \"m\"\ndataset.path = \"d\"\n{text}");
    let recipe = Recipe::parse("r.toml", &whole, &[]).map_err(|error| error.to_string())?;
    Ok(recipe.lora)
}

#[test]
fn the_names_and_defaults_are_those_of_peft() {
    assert_eq!(section(""), Ok(None));
    assert_eq!(section("[lora]"), Ok(Some(LoraConfig::default())));
    let text = "[lora]\nr = 16\nlora_alpha = 32\nlora_dropout = 0.05\nuse_rslora = true\n\
                target_modules = [\"query\", \"dense\"]\nmodules_to_save = [\"pooler\"]\n\
                bias = \"none\"\ninit_lora_weights = false";
    let names = vec!["query".to_owned(), "dense".to_owned()];
    let expected = LoraConfig {
        r: 16,
        lora_alpha: 32.0,
        lora_dropout: 0.05,
        target_modules: Some(TargetModules::Names(names)),
        modules_to_save: vec!["pooler".to_owned()],
        use_rslora: true,
        init_lora_weights: false,
    };
    assert_eq!(section(text), Ok(Some(expected)));
    for (text, expected) in [
        ("all-linear", TargetModules::AllLinear),
        (".*query", TargetModules::Pattern(".*query".to_owned())),
    ] {
        let found = section(&format!("[lora]\ntarget_modules = \"{text}\"")).unwrap().unwrap();
        assert_eq!(found.target_modules, Some(expected));
    }
}

#[test]
fn fields_and_values_that_cannot_be_say_why_with_their_line() {
    for (text, start, rest) in [
        ("use_dora = true", "r.toml, line 4: `lora.use_dora`: expected no such field", "one"),
        ("layers_pattern = \"layer\"", "r.toml, line 4: `lora.layers_pattern`", "regular"),
        ("bias = \"all\"", "r.toml, line 4: `lora.bias`: expected \"none\"", "\"all\""),
        ("init_lora_weights = \"pissa\"", "r.toml, line 4: `lora.init_lora_weights`", "pissa"),
        ("r = 0", "r.toml, line 4: `lora.r`: expected at least 1, got 0", ""),
        ("rank = 8", "r.toml, line 4: unknown field `rank` in [lora]", ""),
        ("lora_dropout = 1", "r.toml, line 4: `lora.lora_dropout`", "[0, 1)"),
        ("target_modules = 3", "r.toml, line 4: `lora.target_modules`", "got 3"),
        ("target_modules = [3]", "r.toml, line 4: `lora.target_modules[0]`", "text"),
    ] {
        let message = section(&format!("[lora]\n{text}")).unwrap_err();
        assert!(message.starts_with(start) && message.contains(rest), "{text}: {message}");
    }
    let message = section("model.freeze = [\"x\"]\n[lora]").unwrap_err();
    assert!(message.starts_with("r.toml, line 3: `model.freeze`: expected no"), "{message}");
}
