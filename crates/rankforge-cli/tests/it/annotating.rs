//! `rankforge annotate`: embeddings and scores of a teacher as columns.

use crate::support::TestDir;
use serde_json::Value;

fn rows(dir: &TestDir, file: &str) -> Vec<Value> {
    dir.read(file).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_dual_encoder_writes_its_embeddings() {
    let dir = TestDir::new();
    dir.dual_encoder();
    dir.pairs();
    let annotate = ["annotate", "--model", "static", "--dataset", "pairs.jsonl"];
    dir.succeed(&[&annotate[..], &["--output", "both.jsonl"]].concat());
    let both = rows(&dir, "both.jsonl");
    let list = |row: &Value, name: &str| row[name].as_array().map(Vec::len);
    assert_eq!(list(&both[0], "query_embedding"), Some(16), "{}", both[0]);
    assert_eq!(list(&both[0], "answer_embedding"), Some(16), "{}", both[0]);

    let named = ["--column", "answer", "--truncate-dim", "4", "--output", "answers.parquet"];
    let json = dir.json(&[&annotate[..], &named, &["--json"]].concat());
    assert_eq!(json["columns"], serde_json::json!(["query", "answer", "label"]));
    assert_eq!(json["rows"], both.len());
    let info = dir.json(&["info", "answers.parquet", "--json"]);
    let label = &info["splits"][0]["columns"]["label"];
    assert_eq!((&label["kind"], &label["max"]), (&"list".into(), &4.0.into()), "{info}");

    // The embeddings are those of `encode`, in the order of the rows.
    let text = both[1]["query"].as_str().unwrap().to_owned();
    dir.json_lines("one.jsonl", [serde_json::json!({ "text": text })].into_iter());
    let one = ["annotate", "--model", "static", "--dataset", "one.jsonl"];
    dir.succeed(&[&one[..], &["--output", "one-labeled.jsonl"]].concat());
    assert_eq!(rows(&dir, "one-labeled.jsonl")[0]["label"], both[1]["query_embedding"]);
}

#[test]
fn a_recipe_trains_on_the_embeddings_of_a_teacher() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    dir.pairs();
    let annotate = ["annotate", "--model", "static", "--dataset", "pairs.jsonl"];
    let columns = ["--columns", "query,answer"];
    dir.succeed(
        &[&annotate[..], &columns, &["--nested-labels", "--output", "nested.jsonl"]].concat(),
    );
    dir.succeed(&[&annotate[..], &columns, &["--output", "apart.jsonl"]].concat());
    for (nested, apart) in rows(&dir, "nested.jsonl").iter().zip(rows(&dir, "apart.jsonl")) {
        assert_eq!(nested["label"][0], apart["query_embedding"]);
        assert_eq!(nested["label"][1], apart["answer_embedding"]);
    }
    let one = ["--columns", "query", "--output", "one.parquet"];
    dir.succeed(&[&annotate[..], &one].concat());
    for (loss, data) in [("EmbedDistillLoss", "nested.jsonl"), ("MSELoss", "one.parquet")] {
        let recipe = format!(
            "model = {{ kind = \"dual-encoder\", path = \"bert\" }}\ndataset.path = \"{data}\"\n\
             [loss]\nname = \"{loss}\"\nprojection_dim = 16\n[arguments]\n\
             output_dir = \"taught\"\nmax_steps = 40\nsave_strategy = \"no\"\n\
             learning_rate = 1e-2\nlogging_steps = 10\n"
        );
        dir.write("taught.toml", &recipe);
        dir.succeed(&["train", "taught.toml", "--quiet"]);
        let state: Value = serde_json::from_str(&dir.read("taught/trainer_state.json")).unwrap();
        let log = state["log_history"].as_array().unwrap();
        let losses: Vec<f64> = log.iter().filter_map(|record| record["loss"].as_f64()).collect();
        assert!(losses[losses.len() - 1] < 0.9 * losses[0], "{loss}: {losses:?}");
    }
}

#[test]
fn a_reranker_writes_its_scores_of_each_passage() {
    let dir = TestDir::new();
    trained_reranker(&dir);
    let row = |query: &str| serde_json::json!({ "query": query, "a": "the red", "b": "a kiln" });
    dir.json_lines("triplets.jsonl", ["clay", "what is a kiln"].map(row).into_iter());
    let annotate = ["annotate", "--model", "teacher", "--dataset", "triplets.jsonl"];
    dir.succeed(&[&annotate[..], &["--output", "lists.jsonl"]].concat());
    let lists = rows(&dir, "lists.jsonl");
    let predict = ["predict", "--model", "teacher", "--input", "triplets.jsonl"];
    for (place, columns) in ["query,a", "query,b"].into_iter().enumerate() {
        let output = format!("scores-{place}.jsonl");
        dir.succeed(&[&predict[..], &["--columns", columns, "--output", &output]].concat());
        for (list, scored) in lists.iter().zip(rows(&dir, &output)) {
            assert_eq!(list["label"][place], scored["score"], "{list} {columns}");
        }
    }
    let pair = ["--columns", "query,a", "--output", "numbers.jsonl"];
    dir.succeed(&[&annotate[..], &pair].concat());
    assert_eq!(rows(&dir, "numbers.jsonl")[0]["label"], lists[0]["label"][0]);
}

#[test]
fn a_student_with_fewer_layers_trains_on_every_format_of_mining() {
    let dir = TestDir::new();
    trained_reranker(&dir);
    dir.dual_encoder();
    dir.pairs();
    for (format, loss, kept) in [
        ("triplet", "MarginMSELoss", "query,answer,negative"),
        ("n-tuple", "MarginMSELoss", "query,answer,negative_1,negative_2"),
        ("labeled-pair", "MSELoss", "query,answer"),
        ("labeled-list", "LambdaLoss", "query,answer"),
    ] {
        let mined = format!("{format}.jsonl");
        let mine = ["mine", "--dataset", "pairs.jsonl", "--model", "static", "--quiet"];
        let shape = ["--num-negatives", "2", "--output-format", format, "--output", &mined];
        dir.succeed(&[&mine[..], &shape].concat());
        // Lists are read from parquet as from JSON lines.
        let output = format!("{format}.parquet");
        let annotate = ["annotate", "--model", "teacher", "--dataset", &mined];
        dir.succeed(&[&annotate[..], &["--columns", kept, "--output", &output]].concat());
        let recipe = format!(
            "model = {{ path = \"teacher\", layers_to_keep = [0] }}\n\
             dataset.path = \"{output}\"\nloss.name = \"{loss}\"\n[arguments]\n\
             output_dir = \"{format}\"\nmax_steps = 2\nsave_strategy = \"no\"\n"
        );
        dir.write("student.toml", &recipe);
        dir.succeed(&["train", "student.toml", "--quiet"]);
        let config: Value =
            serde_json::from_str(&dir.read(&format!("{format}/final/config.json"))).unwrap();
        assert_eq!(config["num_hidden_layers"], 1, "{format}");
    }
    // What mining writes trains as it is.
    let recipe = "model.path = \"bert\"\ndataset.path = \"labeled-list.jsonl\"\n\
                  loss.name = \"ListNetLoss\"\n[arguments]\noutput_dir = \"lists\"\n\
                  max_steps = 2\nsave_strategy = \"no\"\n";
    dir.write("lists.toml", recipe);
    dir.succeed(&["train", "lists.toml", "--quiet"]);
    // A teacher's score is that of `predict`.
    let lists = ["annotate", "--model", "teacher", "--dataset", "labeled-list.jsonl"];
    let columns = ["--columns", "query,answer", "--output", "lists.jsonl"];
    dir.succeed(&[&lists[..], &columns].concat());
    let first = &rows(&dir, "lists.jsonl")[0];
    let pair = serde_json::json!({ "query": first["query"], "answer": first["answer"][2] });
    dir.json_lines("pair.jsonl", [pair].into_iter());
    let predict = ["predict", "--model", "teacher", "--input", "pair.jsonl"];
    dir.succeed(&[&predict[..], &["--output", "score.jsonl"]].concat());
    assert_eq!(first["label"][2], rows(&dir, "score.jsonl")[0]["score"]);
    assert_eq!(first["label"].as_array().map(Vec::len), Some(3));
}

#[test]
fn what_cannot_be_annotated_is_refused_and_leaves_no_file() {
    let dir = TestDir::new();
    dir.dual_encoder();
    dir.pairs();
    trained_reranker(&dir);
    dir.labeled();
    dir.write("there.jsonl", "mine");
    dir.write("empty.jsonl", "");
    for (code, model, more, expected) in [
        (1, "static", &["--output", "there.jsonl"][..], "the file exists, and is not replaced"),
        (1, "static", &["--output", "x.csv"], "x.csv: expected a .parquet or .jsonl file"),
        (2, "static", &["--output", "x.jsonl", "--activation-fn", "tanh"], "only a reranker"),
        (2, "teacher", &["--output", "x.jsonl", "--column", "query"], "only a dual encoder"),
        (2, "teacher", &["--output", "x.jsonl", "--nested-labels"], "only a dual encoder"),
        (1, "static", &["--output", "x.jsonl", "--column", "queri"], "queri"),
        (1, "teacher", &["--output", "x.jsonl", "--columns", "query"], "at least two columns"),
    ] {
        let start = ["annotate", "--model", model, "--dataset", "pairs.jsonl"];
        let error = dir.fail(code, &[&start[..], more].concat());
        assert!(error.contains(expected), "{more:?}: {error}");
    }
    for (data, expected) in [
        ("labeled.jsonl", "a data set without a column `label`"),
        ("empty.jsonl", "at least one row"),
    ] {
        let start = ["annotate", "--model", "teacher", "--dataset", data];
        let error = dir.fail(1, &[&start[..], &["--output", "x.jsonl"]].concat());
        assert!(error.contains(expected), "{data}: {error}");
    }
    assert_eq!(dir.read("there.jsonl"), "mine");
    assert!(!dir.path("x.jsonl").exists());
}

/// `teacher/`: a reranker with a head.
pub(crate) fn trained_reranker(dir: &TestDir) {
    dir.encoder();
    dir.labeled();
    let recipe = "model.path = \"bert\"\ndataset.path = \"labeled.jsonl\"\n[arguments]\n\
                  output_dir = \"teaching\"\nmax_steps = 2\nsave_strategy = \"no\"\n\
                  learning_rate = 1e-2\n";
    dir.write("teacher.toml", recipe);
    dir.succeed(&["train", "teacher.toml", "--quiet"]);
    std::fs::rename(dir.path("teaching/final"), dir.path("teacher")).unwrap();
}
