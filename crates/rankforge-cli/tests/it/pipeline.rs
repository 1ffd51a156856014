//! The commands on tiny data sets and models.

use crate::support::{PAIRS, TestDir};
use serde_json::Value;
use std::io::Write;
use std::process::Stdio;

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn mining_writes_rows_and_prints_statistics() {
    let dir = TestDir::new();
    dir.pairs();
    dir.dual_encoder();
    let start = ["mine", "--dataset", "pairs.jsonl", "--model", "static", "--num-negatives", "2"];
    fn join<'a>(start: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [start, more].concat()
    }
    let output = ["--output-format", "labeled-pair", "--output", "mined.jsonl"];
    let done = dir.succeed(&join(&start, &output));
    for word in ["Metric", "Positive", "Negative", "Difference", "Median", "mined.jsonl"] {
        assert!(done.stdout.contains(word), "{word} in {}", done.stdout);
    }
    let mined = rows(&dir.read("mined.jsonl"));
    assert_eq!(mined.len(), PAIRS.len() * 3);
    assert_eq!(mined.iter().filter(|row| row["label"] == 1).count(), PAIRS.len());

    let json = dir.json(&join(&start, &["--output", "triplets.parquet", "--json"]));
    assert_eq!(json["rows"], PAIRS.len() * 2);
    assert_eq!(json["columns"], serde_json::json!(["query", "answer", "negative"]));
    assert!(json["positive"]["mean"].is_f64(), "{json}");
    let info = dir.json(&["info", "triplets.parquet", "--json"]);
    assert_eq!(info["splits"][0]["rows"], PAIRS.len() * 2);

    let error = dir.fail(1, &join(&start, &["--output", "mined.txt"]));
    assert!(error.contains("mined.txt"), "{error}");
    let error = dir.fail(1, &join(&start, &["--range-min", "-1", "--output", "x.jsonl"]));
    assert!(error.contains("range_min"), "{error}");
    assert_eq!(dir.list("."), ["mined.jsonl", "pairs.jsonl", "static", "triplets.parquet"]);
}

#[test]
fn a_reranker_predicts_ranks_and_is_evaluated() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    dir.pairs();
    dir.labeled();
    dir.samples();
    dir.beir();

    let predict = ["predict", "--model", "bert", "--input", "pairs.jsonl"];
    let lines = dir.succeed(&[&predict[..], &["--limit", "3"]].concat()).stdout;
    let scored = rows(&lines);
    assert_eq!(scored.len(), 3);
    assert_eq!(scored[1]["query"], PAIRS[1].0);
    let columns = ["--columns", "query,answer", "--output", "scores.jsonl", "--json"];
    let json = dir.json(&[&predict[..], &columns].concat());
    assert_eq!(json["rows"], PAIRS.len());
    let written = rows(&dir.read("scores.jsonl"));
    assert_eq!(written[..3], scored[..]);
    let probability = written[0]["score"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&probability), "{probability}");

    let documents: String = PAIRS.iter().map(|(_, answer)| format!("{answer}\n")).collect();
    dir.write("documents.txt", &documents);
    let rank = ["rank", "--model", "bert", "--query", "what do bees make", "--documents"];
    let json = dir.json(&[&rank[..], &["documents.txt", "--json", "--top-k", "4"]].concat());
    let scores: Vec<f64> =
        json.as_array().unwrap().iter().map(|row| row["score"].as_f64().unwrap()).collect();
    assert_eq!(scores.len(), 4);
    assert!(scores.is_sorted_by(|left, right| left >= right), "{scores:?}");
    dir.write("documents", &documents);
    assert_eq!(dir.json(&[&rank[..], &["documents", "--json", "--top-k", "4"]].concat()), json);
    if cfg!(unix) {
        let mut command = dir.command(&[&rank[..], &["/dev/stdin", "--json"]].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(documents.as_bytes()).unwrap();
        let piped: Value =
            serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(piped.as_array().unwrap()[..4], json.as_array().unwrap()[..]);
    }
    let column = ["pairs.jsonl", "--column", "answer", "--top-k", "2"];
    let table = dir.succeed(&[&rank[..], &column].concat()).stdout;
    assert_eq!(table.lines().count(), 4, "{table}");

    let correlation = ["evaluate", "correlation", "--model", "bert", "--dataset", "labeled.jsonl"];
    let json = dir.json(&[&correlation[..], &["--name", "tiny", "--json"]].concat());
    assert!(json["tiny_spearman"].is_f64(), "{json}");

    dir.add_head("bert");
    let reranking = ["evaluate", "--model", "bert", "reranking", "--dataset"];
    let table = dir.succeed(&[&reranking[..], &["samples.jsonl", "--output", "csv"]].concat());
    assert!(table.stdout.contains("first stage"), "{}", table.stdout);
    assert_eq!(dir.list("csv"), ["CrossEncoderRerankingEvaluator_results_@10.csv"]);
    let beir = ["beir", "--first-stage", "static", "--depth", "5", "--json"];
    let json = dir.json(&[&reranking[..], &beir].concat());
    assert!(json["first_stage"]["ndcg@10"].is_f64() && json["reranked"]["ndcg@10"].is_f64());
    let error = dir.fail(1, &[&reranking[..], &["beir"]].concat());
    assert!(error.contains("first_stage"), "{error}");
}

#[test]
fn scores_have_the_activation_of_torch_that_is_named() {
    let dir = TestDir::new();
    dir.encoder();
    dir.pairs();
    let scores = |name: &str| -> Vec<f64> {
        let predict = ["predict", "--model", "bert", "--input", "pairs.jsonl", "--quiet"];
        let flag = ["--activation-fn", name];
        let rows = rows(&dir.succeed(&[&predict[..], &flag].concat()).stdout);
        rows.iter().map(|row| row["score"].as_f64().unwrap()).collect()
    };
    let (logits, cut) = (scores("identity"), scores("torch.nn.ReLU"));
    assert!(logits.iter().zip(&cut).all(|(logit, score)| logit.max(0.0) == *score), "{cut:?}");
    let softplus = scores("softplus");
    let expected = logits.iter().map(|logit| logit.exp().ln_1p());
    assert!(expected.zip(&softplus).all(|(wanted, got)| (wanted - got).abs() < 1e-6));
    let error = dir.fail(2, &["rank", "--model", "bert", "--activation-fn", "swish"]);
    assert!(error.contains("expected one of Identity, Sigmoid, Tanh, ReLU"), "{error}");
}

#[test]
fn precision_changes_the_results_of_every_command() {
    let dir = TestDir::new();
    dir.encoder();
    dir.pairs();
    dir.labeled();
    dir.write("documents.txt", "Bees make honey.\nOwls hunt at night.\n");
    let documents = ["--query", "what do bees make", "--documents", "documents.txt"];
    let commands = [
        vec!["predict", "--model", "bert", "--input", "pairs.jsonl"],
        [&["rank", "--model", "bert", "--json"], &documents[..]].concat(),
        vec!["evaluate", "correlation", "--model", "bert", "--dataset", "labeled.jsonl", "--json"],
        vec![
            "mine",
            "--model",
            "bert",
            "--dataset",
            "pairs.jsonl",
            "--output",
            "mined.jsonl",
            "--json",
        ],
    ];
    for command in commands {
        let with =
            |precision| dir.succeed(&[&command[..], &["--precision", precision]].concat()).stdout;
        let (full, half) = (with("fp32"), with("bf16"));
        assert_eq!(full, dir.succeed(&command).stdout, "{command:?}: fp32 is not the default");
        assert_ne!(full, half, "{command:?}: bf16 has no effect");
    }
    let encode = |precision: &str| {
        let output = format!("{precision}.npy");
        let encode = ["encode", "--model", "bert", "--input", "pairs.jsonl", "--column", "query"];
        dir.succeed(&[&encode[..], &["--output", &output, "--precision", precision]].concat());
        std::fs::read(dir.path(&output)).unwrap()
    };
    let (full, half) = (encode("fp32"), encode("fp16"));
    assert!(full.len() == half.len() && full != half);
}

#[test]
fn half_precision_is_refused_if_no_model_has_a_linear_layer() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    dir.pairs();
    let mine = ["mine", "--model", "static", "--dataset", "pairs.jsonl"];
    let alone = [&mine[..], &["--output", "alone.jsonl"]].concat();
    let encode = ["encode", "--model", "static", "--input", "pairs.jsonl", "--column", "query"];
    let encode = [&encode[..], &["--output", "queries.npy"]].concat();
    let serve = vec!["serve", "--model", "static", "--port", "0"];
    for command in [alone, encode, serve] {
        let error = dir.fail(2, &[&command[..], &["--precision", "bf16"]].concat());
        assert!(error.contains("--precision bf16: no effect"), "{error}");
    }
    assert_eq!(dir.list("."), ["bert", "pairs.jsonl", "static"]);

    let reranked = ["--cross-encoder", "bert", "--precision", "bf16"];
    dir.succeed(&[&mine[..], &["--output", "reranked.jsonl"], &reranked].concat());
}

#[test]
fn embeddings_that_are_not_finite_are_refused() {
    let dir = TestDir::new();
    dir.pairs();
    dir.encoder();
    let weights = dir.path("bert/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[data..].fill(0xff);
    std::fs::write(&weights, bytes).unwrap();
    let encode = ["encode", "--model", "bert", "--input", "pairs.jsonl", "--column", "query"];
    for (precision, has_hint) in [("fp32", false), ("fp16", true)] {
        let output = ["--output", "x.npy", "--precision", precision];
        let error = dir.fail(1, &[&encode[..], &output].concat());
        assert!(
            error.contains("bert: expected finite outputs, but the model gives NaN"),
            "{error}"
        );
        assert_eq!(error.contains("use bf16"), has_hint, "{error}");
        assert_eq!(error.contains("use another checkpoint"), !has_hint, "{error}");
    }
    assert_eq!(dir.list("."), ["bert", "pairs.jsonl"]);
}

#[test]
fn embeddings_are_written_completely_or_not_at_all() {
    let dir = TestDir::new();
    dir.pairs();
    dir.dual_encoder();
    let encode = ["encode", "--model", "static", "--input", "pairs.jsonl", "--column"];
    let json = dir.json(&[&encode[..], &["answer", "--output", "x.npy", "--json"]].concat());
    assert_eq!((&json["rows"], &json["columns"]), (&PAIRS.len().into(), &16.into()));
    let bytes = std::fs::read(dir.path("x.npy")).unwrap();
    assert_eq!(bytes.len(), 128 + PAIRS.len() * 16 * 4);

    let truncated = ["answer", "--truncate-dim", "8", "--normalize-embeddings"];
    let output = ["--output", "x.safetensors"];
    dir.succeed(&[&encode[..], &truncated, &output].concat());
    let bytes = std::fs::read(dir.path("x.safetensors")).unwrap();
    let data: Vec<f32> = bytes[bytes.len() - PAIRS.len() * 8 * 4..]
        .chunks(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    for row in data.chunks(8) {
        let norm: f32 = row.iter().map(|value| value * value).sum();
        // 8 products and 7 additions of values up to 1 have a rounding error of at most 16 eps.
        assert!((norm - 1.0).abs() < 16.0 * f32::EPSILON, "{norm}");
    }

    dir.json_lines("odd.jsonl", [serde_json::json!({ "text": 1 })].into_iter());
    let odd = ["encode", "--model", "static", "--input", "odd.jsonl", "--column", "text"];
    dir.fail(1, &[&odd[..], &["--output", "y.npy"]].concat());
    dir.fail(1, &[&encode[..], &["nothing", "--output", "y.npy"]].concat());
    assert_eq!(dir.list("."), ["odd.jsonl", "pairs.jsonl", "static", "x.npy", "x.safetensors"]);
}

#[test]
fn info_describes_models_and_data() {
    let dir = TestDir::new();
    dir.pairs();
    dir.dual_encoder();
    let model = dir.json(&["info", "static", "--json"]);
    assert_eq!(model["type"], "SentenceTransformer");
    assert_eq!(model["dimensions"], 16);
    assert!(model.get("bf16_products").is_none(), "a static model has no matrix products: {model}");
    dir.encoder();
    let model = dir.json(&["info", "bert", "--json"]);
    for precision in ["fp32", "bf16", "fp16"] {
        let products = model[format!("{precision}_products")].as_str().unwrap();
        assert!(products.starts_with(precision), "{products}");
    }
    let data = dir.json(&["info", "pairs.jsonl", "--json"]);
    assert_eq!(data["splits"][0]["columns"]["query"]["kind"], "text");
    let table = dir.succeed(&["info", "pairs.jsonl"]).stdout;
    assert!(table.starts_with("train: 12 rows in 1 file\n"), "{table}");
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf_8_is_read_and_written_or_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let dir = TestDir::new();
    dir.encoder();
    dir.pairs();
    dir.dual_encoder();
    let folder = dir.path(".").join(OsStr::from_bytes(b"b\xffd"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(dir.path("pairs.jsonl"), folder.join("pairs.jsonl")).unwrap();
    let run = |start: &[&str], flag: &str, path: &str, code: i32| {
        let mut command = dir.command(start);
        let output = command.arg(flag).arg(folder.join(path)).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{start:?}: {error}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), error)
    };
    let predict = ["predict", "--model", "bert", "--json", "--input", "pairs.jsonl"];
    let (json, _) = run(&predict, "--output", "scores.jsonl", 0);
    assert!(json.contains("b\u{fffd}d/scores.jsonl"), "{json}");
    assert!(folder.join("scores.jsonl").is_file());
    run(&predict[..4], "--input", "pairs.jsonl", 0);
    let mine =
        ["mine", "--dataset", "pairs.jsonl", "--model", "static", "--json", "--num-negatives", "1"];
    run(&mine, "--output", "mined.jsonl", 0);
    let encode = ["encode", "--model", "static", "--input", "pairs.jsonl", "--column", "query"];
    run(&[&encode[..], &["--json"]].concat(), "--output", "queries.npy", 0);
    let (json, _) = run(&["info", "--json"], "--", "pairs.jsonl", 0);
    assert!(json.contains("b\u{fffd}d/pairs.jsonl"), "{json}");
    let (_, error) = run(&["quickstart"], "--output", "quick", 2);
    assert!(error.contains("--output: expected a path in UTF-8"), "{error}");
    assert!(!folder.join("quick").exists(), "something was written");
}

#[test]
fn escape_sequences_in_data_do_not_reach_the_terminal() {
    let dir = TestDir::new();
    dir.encoder();
    dir.write("documents.txt", "bees\u{1b}]0;title\u{7}make honey\nowls\u{202e} hunt\n");
    let rank = ["rank", "--model", "bert", "--query", "bees", "--documents", "documents.txt"];
    let table = dir.succeed(&rank).stdout;
    assert!(table.contains("bees\\u{1b}]0;title\\u{7}make honey"), "{table}");
    assert!(!table.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{table:?}");
    let json = dir.json(&[&rank[..], &["--json"]].concat());
    let texts: Vec<&str> =
        json.as_array().unwrap().iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert!(texts.contains(&"bees\u{1b}]0;title\u{7}make honey"), "JSON has its own escapes");

    dir.write("pairs.jsonl", "{\"a\\u001b[2J\": \"text\"}\n");
    let info = dir.succeed(&["info", "pairs.jsonl"]).stdout;
    assert!(info.contains("a\\u{1b}[2J") && !info.contains('\u{1b}'), "{info:?}");
    let error =
        dir.fail(1, &["predict", "--model", "bert", "--input", "pairs.jsonl", "--columns", "b,c"]);
    assert!(error.contains("a\\u{1b}[2J") && !error.contains('\u{1b}'), "{error:?}");
}
