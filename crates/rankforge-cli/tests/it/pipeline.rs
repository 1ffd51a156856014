//! The commands on tiny data and models, one after the other as a user runs them.

use crate::support::{PAIRS, Place};
use serde_json::Value;

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn mining_writes_rows_and_prints_statistics() {
    let place = Place::new();
    place.pairs();
    place.dual_encoder();
    let start = ["mine", "--dataset", "pairs.jsonl", "--model", "static", "--num-negatives", "2"];
    fn both<'a>(start: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [start, more].concat()
    }
    let output = ["--output-format", "labeled-pair", "--output", "mined.jsonl"];
    let done = place.succeed(&both(&start, &output));
    for word in ["Metric", "Positive", "Negative", "Difference", "Median", "mined.jsonl"] {
        assert!(done.stdout.contains(word), "{word} in {}", done.stdout);
    }
    let mined = rows(&place.read("mined.jsonl"));
    assert_eq!(mined.len(), PAIRS.len() * 3);
    assert_eq!(mined.iter().filter(|row| row["label"] == 1).count(), PAIRS.len());

    let json = place.json(&both(&start, &["--output", "triplets.parquet", "--json"]));
    assert_eq!(json["rows"], PAIRS.len() * 2);
    assert_eq!(json["columns"], serde_json::json!(["query", "answer", "negative"]));
    assert!(json["positive"]["mean"].is_f64(), "{json}");
    let info = place.json(&["info", "triplets.parquet", "--json"]);
    assert_eq!(info["splits"][0]["rows"], PAIRS.len() * 2);

    let error = place.fail(1, &both(&start, &["--output", "mined.txt"]));
    assert!(error.contains("mined.txt"), "{error}");
    let error = place.fail(1, &both(&start, &["--range-min", "-1", "--output", "x.jsonl"]));
    assert!(error.contains("range_min"), "{error}");
    assert_eq!(place.list("."), ["mined.jsonl", "pairs.jsonl", "static", "triplets.parquet"]);
}

#[test]
fn a_model_predicts_ranks_and_is_evaluated() {
    let place = Place::new();
    place.encoder();
    place.dual_encoder();
    place.pairs();
    place.labeled();
    place.samples();
    place.beir();

    let predict = ["predict", "--model", "bert", "--input", "pairs.jsonl"];
    let lines = place.succeed(&[&predict[..], &["--limit", "3"]].concat()).stdout;
    let scored = rows(&lines);
    assert_eq!(scored.len(), 3);
    assert_eq!(scored[1]["query"], PAIRS[1].0);
    let columns = ["--columns", "query,answer", "--output", "scores.jsonl", "--json"];
    let json = place.json(&[&predict[..], &columns].concat());
    assert_eq!(json["rows"], PAIRS.len());
    let written = rows(&place.read("scores.jsonl"));
    assert_eq!(written[..3], scored[..]);
    let probability = written[0]["score"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&probability), "{probability}");

    let documents: String = PAIRS.iter().map(|(_, answer)| format!("{answer}\n")).collect();
    place.write("documents.txt", &documents);
    let rank = ["rank", "--model", "bert", "--query", "what do bees make", "--documents"];
    let json = place.json(&[&rank[..], &["documents.txt", "--json", "--top-k", "4"]].concat());
    let scores: Vec<f64> =
        json.as_array().unwrap().iter().map(|row| row["score"].as_f64().unwrap()).collect();
    assert_eq!(scores.len(), 4);
    assert!(scores.is_sorted_by(|left, right| left >= right), "{scores:?}");
    let column = ["pairs.jsonl", "--column", "answer", "--top-k", "2"];
    let table = place.succeed(&[&rank[..], &column].concat()).stdout;
    assert_eq!(table.lines().count(), 4, "{table}");

    let correlation = ["evaluate", "correlation", "--model", "bert", "--dataset", "labeled.jsonl"];
    let json = place.json(&[&correlation[..], &["--name", "tiny", "--json"]].concat());
    assert!(json["tiny_spearman"].is_f64(), "{json}");

    let reranking = ["evaluate", "--model", "bert", "reranking", "--dataset"];
    let table = place.succeed(&[&reranking[..], &["samples.jsonl", "--output", "csv"]].concat());
    assert!(table.stdout.contains("first stage"), "{}", table.stdout);
    assert_eq!(place.list("csv"), ["CrossEncoderRerankingEvaluator_results_@10.csv"]);
    let beir = ["beir", "--first-stage", "static", "--depth", "5", "--json"];
    let json = place.json(&[&reranking[..], &beir].concat());
    assert!(json["first_stage"]["ndcg@10"].is_f64() && json["reranked"]["ndcg@10"].is_f64());
    let error = place.fail(1, &[&reranking[..], &["beir"]].concat());
    assert!(error.contains("--first-stage"), "{error}");
}

#[test]
fn every_command_that_runs_a_model_takes_a_precision() {
    let place = Place::new();
    place.encoder();
    place.pairs();
    place.labeled();
    place.write("documents.txt", "Bees make honey.\nOwls hunt at night.\n");
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
            |precision| place.succeed(&[&command[..], &["--precision", precision]].concat()).stdout;
        let (full, half) = (with("fp32"), with("bf16"));
        assert_eq!(full, place.succeed(&command).stdout, "{command:?}: the default");
        assert_ne!(full, half, "{command:?}: nothing was rounded");
    }
    let encode = |precision: &str| {
        let output = format!("{precision}.npy");
        let encode = ["encode", "--model", "bert", "--input", "pairs.jsonl", "--column", "query"];
        place.succeed(&[&encode[..], &["--output", &output, "--precision", precision]].concat());
        std::fs::read(place.path(&output)).unwrap()
    };
    let (full, half) = (encode("fp32"), encode("fp16"));
    assert!(full.len() == half.len() && full != half);
}

#[test]
fn half_precision_is_refused_where_every_model_is_static() {
    let place = Place::new();
    place.encoder();
    place.dual_encoder();
    place.pairs();
    let mine = ["mine", "--model", "static", "--dataset", "pairs.jsonl"];
    let alone = [&mine[..], &["--output", "alone.jsonl"]].concat();
    let encode = ["encode", "--model", "static", "--input", "pairs.jsonl", "--column", "query"];
    let encode = [&encode[..], &["--output", "queries.npy"]].concat();
    let serve = vec!["serve", "--model", "static", "--port", "0"];
    for command in [alone, encode, serve] {
        let error = place.fail(2, &[&command[..], &["--precision", "bf16"]].concat());
        assert!(error.contains("--precision bf16 would change nothing"), "{error}");
    }
    assert_eq!(place.list("."), ["bert", "pairs.jsonl", "static"]);

    let reranked = ["--cross-encoder", "bert", "--precision", "bf16"];
    place.succeed(&[&mine[..], &["--output", "reranked.jsonl"], &reranked].concat());
}

#[test]
fn embeddings_that_are_not_numbers_are_refused() {
    let place = Place::new();
    place.pairs();
    place.encoder();
    let weights = place.path("bert/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[data..].fill(0xff);
    std::fs::write(&weights, bytes).unwrap();
    let encode = ["encode", "--model", "bert", "--input", "pairs.jsonl", "--column", "query"];
    for (precision, way_out) in [("fp32", false), ("fp16", true)] {
        let output = ["--output", "x.npy", "--precision", precision];
        let error = place.fail(1, &[&encode[..], &output].concat());
        assert!(error.contains("expected finite outputs, but the model gives NaN"), "{error}");
        assert_eq!(error.contains("use bf16"), way_out, "{error}");
    }
    assert_eq!(place.list("."), ["bert", "pairs.jsonl"]);
}

#[test]
fn embeddings_are_written_whole_or_not_at_all() {
    let place = Place::new();
    place.pairs();
    place.dual_encoder();
    let encode = ["encode", "--model", "static", "--input", "pairs.jsonl", "--column"];
    let json = place.json(&[&encode[..], &["answer", "--output", "x.npy", "--json"]].concat());
    assert_eq!((&json["rows"], &json["columns"]), (&PAIRS.len().into(), &16.into()));
    let bytes = std::fs::read(place.path("x.npy")).unwrap();
    assert_eq!(bytes.len(), 128 + PAIRS.len() * 16 * 4);

    let truncated = ["answer", "--truncate-dim", "8", "--normalize-embeddings"];
    let output = ["--output", "x.safetensors"];
    place.succeed(&[&encode[..], &truncated, &output].concat());
    let bytes = std::fs::read(place.path("x.safetensors")).unwrap();
    let data: Vec<f32> = bytes[bytes.len() - PAIRS.len() * 8 * 4..]
        .chunks(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    for row in data.chunks(8) {
        let norm: f32 = row.iter().map(|value| value * value).sum();
        // 8 products and 7 sums of numbers up to 1 round by at most 16 eps.
        assert!((norm - 1.0).abs() < 16.0 * f32::EPSILON, "{norm}");
    }

    place.json_lines("odd.jsonl", [serde_json::json!({ "text": 1 })].into_iter());
    let odd = ["encode", "--model", "static", "--input", "odd.jsonl", "--column", "text"];
    place.fail(1, &[&odd[..], &["--output", "y.npy"]].concat());
    place.fail(1, &[&encode[..], &["nothing", "--output", "y.npy"]].concat());
    assert_eq!(place.list("."), ["odd.jsonl", "pairs.jsonl", "static", "x.npy", "x.safetensors"]);
}

#[test]
fn info_describes_models_and_data() {
    let place = Place::new();
    place.pairs();
    place.dual_encoder();
    let model = place.json(&["info", "static", "--json"]);
    assert_eq!(model["type"], "SentenceTransformer");
    assert_eq!(model["dimensions"], 16);
    assert!(model.get("bf16_products").is_none(), "{model}: nothing is multiplied");
    place.encoder();
    let model = place.json(&["info", "bert", "--json"]);
    for precision in ["fp32", "bf16", "fp16"] {
        let products = model[format!("{precision}_products")].as_str().unwrap();
        assert!(products.starts_with(precision), "{products}");
    }
    let data = place.json(&["info", "pairs.jsonl", "--json"]);
    assert_eq!(data["splits"][0]["columns"]["query"]["kind"], "text");
    let table = place.succeed(&["info", "pairs.jsonl"]).stdout;
    assert!(table.starts_with("train: 12 rows in 1 file\n"), "{table}");
}

#[test]
fn the_quickstart_tells_its_story_and_leaves_models() {
    let place = Place::new();
    // A small part of the training and of the evaluation: the whole takes minutes without optimisation.
    let small = ["quickstart", "--output", "q", "--num-train-epochs", "0.05", "--depth", "3"];
    let done = place.succeed(&small);
    for stage in 1..=7 {
        assert!(done.stderr.contains(&format!("[{stage}/7,")), "{}", done.stderr);
    }
    for word in ["ndcg@10", "first stage", "untrained reranker", "trained reranker", "What to try"]
    {
        assert!(done.stdout.contains(word), "{word} in {}", done.stdout);
    }
    assert!(place.read("q/reranker/README.md").contains("Quickstart reranker"));
    let query = ["--query", "What do bees make?", "--top-k", "2", "--json"];
    let rank = ["rank", "--model", "q/reranker", "--documents", "q/held-out/corpus.jsonl"];
    let ranked = place.json(&[&rank[..], &query].concat());
    assert_eq!(ranked.as_array().unwrap().len(), 2);
    let info = place.json(&["info", "q/first-stage", "--json"]);
    assert_eq!(info["architecture"], "static embeddings");
}
