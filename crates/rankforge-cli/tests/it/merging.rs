//! `rankforge train` with adapters, the commands that open them, and `rankforge merge-adapter`.

use crate::support::TestDir;

const RECIPE: &str = "\
[model]
path = \"bert\"

[dataset]
path = \"labeled.jsonl\"

[lora]
r = 4
target_modules = \"all-linear\"

[arguments]
output_dir = \"run\"
max_steps = 3
learning_rate = 0.05
save_strategy = \"no\"
";

#[test]
fn an_adapter_is_trained_used_and_merged() {
    let dir = TestDir::new();
    dir.encoder();
    dir.labeled();
    dir.write("lora.toml", RECIPE);
    let trained = dir.succeed(&["train", "lora.toml"]);
    assert!(trained.stderr.contains("adapter: LoRA, r = 4"), "{}", trained.stderr);
    let files = dir.list("run/final");
    assert!(files.iter().any(|name| name == "adapter_model.safetensors"), "{files:?}");
    assert!(!files.iter().any(|name| name == "model.safetensors"), "{files:?}");

    let merge = ["merge-adapter", "--adapter", "run/final", "--output", "merged"];
    let merged = dir.succeed(&merge).stdout;
    assert!(merged.starts_with("merged into a CrossEncoder of "), "{merged}");
    let files = dir.list("merged");
    assert!(files.iter().any(|name| name == "model.safetensors"), "{files:?}");
    assert!(!files.iter().any(|name| name.starts_with("adapter_")), "{files:?}");

    let predict = |model: &str| {
        let from = ["predict", "--model", model, "--input", "labeled.jsonl"];
        let columns = ["--columns", "query,answer", "--output", "scores.jsonl"];
        dir.succeed(&[&from[..], &columns].concat());
        dir.read("scores.jsonl")
    };
    assert_eq!(predict("run/final"), predict("merged"));
    let info = dir.json(&["info", "run/final", "--json"]);
    assert_eq!(info["labels"], 1);
}

#[test]
fn what_is_no_adapter_or_lacks_its_base_is_refused() {
    let dir = TestDir::new();
    dir.encoder();
    dir.labeled();
    let message = dir.fail(1, &["merge-adapter", "--adapter", "bert", "--output", "merged"]);
    assert!(message.contains("bert: expected the directory of an adapter"), "{message}");
    dir.write("lora.toml", RECIPE);
    dir.succeed(&["train", "lora.toml"]);
    std::fs::rename(dir.path("bert"), dir.path("moved")).unwrap();
    let merge = ["merge-adapter", "--adapter", "run/final", "--output", "merged"];
    let message = dir.fail(1, &merge);
    assert!(message.contains("is no directory here"), "{message}");
    assert!(message.contains("--base-model"), "{message}");
    dir.succeed(&[&merge[..], &["--base-model", "moved"]].concat());
}
