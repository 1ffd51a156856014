//! `rankforge train` of dual encoders: transformers, static models, and mined rows.

use crate::support::TestDir;
use rankforge::encoder::Weights;

/// The recipe `dual.toml` of [`setup`].
const RECIPE: &str = "\
[model]
kind = \"dual-encoder\"
path = \"bert\"
max_seq_length = 32
prompts = { query = \"search: \" }
truncate_dim = 12
[dataset]
path = \"pairs.jsonl\"
columns = [\"query\", \"answer\"]
[mining]
model = \"static\"
num_negatives = 2
output_format = \"n-tuple\"
verbose = false
[loss]
name = \"MultipleNegativesRankingLoss\"
[arguments]
output_dir = \"run\"
num_train_epochs = 2
per_device_train_batch_size = 4
learning_rate = 1e-3
logging_steps = 3
save_strategy = \"no\"
prompts = { query = \"search: \" }
seed = 7
";

fn setup() -> TestDir {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    dir.pairs();
    dir.write("dual.toml", RECIPE);
    dir
}

#[test]
fn a_recipe_trains_a_dual_encoder_on_mined_tuples() {
    let dir = setup();
    let json = dir.json(&["train", "dual.toml", "--json", "--quiet"]);
    assert!(json["global_step"].as_u64().unwrap() > 2, "{json}");
    let first = dir.read("run/mined/train.jsonl");
    assert!(first.lines().next().unwrap().contains("\"negative_2\""), "{first}");
    let files = dir.list("run/final");
    for file in ["1_Pooling", "modules.json", "model.safetensors", "README.md"] {
        assert!(files.contains(&file.to_owned()), "{file} is not in {files:?}");
    }
    let settings = dir.read("run/final/config_sentence_transformers.json");
    assert!(settings.contains("\"query\": \"search: \""), "{settings}");
    assert!(settings.contains("\"truncate_dim\": 12"), "{settings}");
    let info = dir.json(&["info", "run/final", "--json"]);
    let facts = (&info["type"], &info["dimensions"], &info["max_length"]);
    assert_eq!(facts, (&"SentenceTransformer".into(), &12.into(), &32.into()), "{info}");
    let encode = ["encode", "--model", "run/final", "--input", "pairs.jsonl", "--column", "query"];
    dir.succeed(&[&encode[..], &["--output", "queries.npy"]].concat());
}

#[test]
fn a_recipe_trains_a_static_model_from_random_vectors() {
    let dir = setup();
    let recipe = RECIPE.replace("path = \"bert\"\nmax_seq_length = 32\n", "");
    let at = recipe.find("[dataset]").unwrap();
    for tokenizer in ["bert", "static/tokenizer.json"] {
        let section =
            format!("[model.static]\ntokenizer = \"{tokenizer}\"\nembedding_dim = 16\n\n");
        dir.write("static.toml", &format!("{}{section}{}", &recipe[..at], &recipe[at..]));
        dir.succeed(&["train", "static.toml", "--quiet"]);
        assert!(!dir.list("run/final").contains(&"1_Pooling".to_owned()));
        let info = dir.json(&["info", "run/final", "--json"]);
        assert_eq!(info["architecture"], "static embeddings", "{info}");
    }
    dir.write("static.toml", &dir.read("static.toml").replace("static/tok", "nowhere/tok"));
    let error = dir.fail(1, &["train", "static.toml", "--quiet"]);
    assert!(error.contains("cannot use [model]\n  caused by: nowhere/tokenizer.json"), "{error}");
}

#[test]
fn a_recipe_names_the_guide_of_its_loss() {
    let dir = setup();
    let guided = RECIPE.replace(
        "name = \"MultipleNegativesRankingLoss\"",
        "name = \"CachedGISTEmbedLoss\"\nguide = \"static\"\nmini_batch_num_tokens = 64",
    );
    dir.write("guided.toml", &guided);
    dir.succeed(&["train", "guided.toml", "--quiet"]);
    let card = dir.read("run/final/README.md");
    assert!(card.contains("CachedGISTEmbedLoss") && card.contains("\"guide\""), "{card}");
    let missing = dir.fail(1, &["train", "guided.toml", "--quiet", "--set", "loss.guide=nowhere"]);
    assert!(missing.contains("nowhere"), "{missing}");
    let wrapped = RECIPE.replace(
        "name = \"MultipleNegativesRankingLoss\"",
        "name = \"MatryoshkaLoss\"\nmatryoshka_dims = [8]\n\
         loss = { name = \"DenoisingAutoEncoderLoss\" }",
    );
    dir.write("wrapped.toml", &wrapped);
    let why = dir.fail(1, &["train", "wrapped.toml", "--quiet"]);
    assert!(why.contains("is not supported: it needs a decoder"), "{why}");
}

#[test]
fn frozen_parameters_keep_their_bits() {
    let dir = setup();
    let freeze = r#"model.freeze=['^embeddings\.', 'attention']"#;
    dir.succeed(&["train", "dual.toml", "--quiet", "--set", freeze]);
    let tensors = |model: &str| Weights::open(&dir.path(model)).unwrap();
    let (before, after) = (tensors("bert"), tensors("run/final"));
    let mut changed = 0;
    for name in before.names() {
        let same = before.read(name).unwrap() == after.read(name).unwrap();
        let frozen = name.starts_with("embeddings.") || name.contains("attention");
        assert!(!frozen || same, "{name} changed");
        changed += usize::from(!same);
    }
    assert!(changed >= 4, "only {changed} tensors changed");

    for (pattern, expected) in [
        ("embedings\\.word", "such as embeddings.word_embeddings.weight"),
        ("[", "regular expressions"),
        ("", "patterns that leave a parameter to train"),
        ("query", "all or none of"),
    ] {
        let set = format!("model.freeze=['{pattern}']");
        let error = dir.fail(1, &["train", "dual.toml", "--quiet", "--set", &set]);
        assert!(error.contains(expected), "{pattern}: {error}");
    }
}

#[test]
fn what_a_model_cannot_have_is_refused_by_name() {
    let dir = setup();
    for (set, expected) in [
        ("model.default_prompt_name=passage", "passage"),
        ("model.path=static", "pooling: expected mean, as a static embedding model"),
    ] {
        let arguments = ["train", "dual.toml", "--quiet", "--set", "model.pooling=cls"];
        let error = dir.fail(1, &[&arguments[..], &["--set", set]].concat());
        assert!(error.contains("cannot use [model]") && error.contains(expected), "{set}: {error}");
    }
}
