//! `rankforge train` with `[datasets.NAME]`: a loss for each set, and evaluation losses by name.

use crate::support::TestDir;
use serde_json::Value;

const RECIPE: &str = "\
[model]
path = \"bert\"
max_length = 32
[datasets.questions]
path = \"pairs.jsonl\"
columns = [\"query\", \"answer\"]
prompts = \"the \"
loss = { name = \"CachedMultipleNegativesRankingLoss\", num_negatives = 2 }
[datasets.clicks]
path = \"labeled.jsonl\"
[datasets.mined]
path = \"pairs.jsonl\"
columns = [\"query\", \"answer\"]
mine = true
[eval_datasets.clicks]
path = \"labeled.jsonl\"
limit = 8
[eval_datasets.questions]
path = \"pairs.jsonl\"
columns = [\"query\", \"answer\"]
limit = 8
[mining]
model = \"static\"
num_negatives = 1
output_format = \"labeled-pair\"
verbose = false
[loss]
name = \"BinaryCrossEntropyLoss\"
[arguments]
output_dir = \"run\"
max_steps = 8
per_device_train_batch_size = 4
learning_rate = 1e-3
eval_strategy = \"steps\"
eval_steps = 4
logging_steps = 1
save_steps = 4
seed = 7
";

#[test]
fn sets_of_a_recipe_are_trained_with_their_losses_and_resume_to_the_same_bits() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    dir.pairs();
    dir.labeled();
    dir.write("r.toml", RECIPE);
    for order in ["proportional", "round_robin"] {
        let sampler = format!("arguments.multi_dataset_batch_sampler={order}");
        let train = ["train", "r.toml", "--json", "--set", &sampler];
        let json = dir.json(&train);
        for key in ["eval_clicks_loss", "eval_questions_loss"] {
            assert!(json["evaluation"][key].is_f64(), "{key}: {json}");
        }
        assert!(dir.list("run/mined").contains(&"train-mined.jsonl".to_owned()));
        let model = || std::fs::read(dir.path("run/final/model.safetensors")).unwrap();
        let whole = model();
        dir.json(&[&train[..], &["--resume=run/checkpoint-4"]].concat());
        assert!(whole == model(), "{order}: the weights of the resumed run differ");
    }
    let state: Value = serde_json::from_str(&dir.read("run/trainer_state.json")).unwrap();
    assert_eq!(state["global_step"], 8);
    let card = dir.read("run/final/README.md");
    for text in ["#### questions", "#### clicks", "CachedMultipleNegativesRankingLoss"] {
        assert!(card.contains(text), "{text}: {card}");
    }
}
