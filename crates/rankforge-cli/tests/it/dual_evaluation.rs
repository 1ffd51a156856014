//! Evaluation of dual encoders, and the commands that compare embeddings.

use crate::support::{PAIRS, TestDir};
use serde_json::{Value, json};

/// A static model, pairs, a BEIR folder, and rows for each evaluator.
fn setup() -> TestDir {
    let dir = TestDir::new();
    dir.dual_encoder();
    dir.pairs();
    dir.labeled();
    dir.samples();
    dir.beir();
    let triplets = PAIRS.iter().enumerate().map(|(index, (query, answer))| {
        let other = PAIRS[(index + 3) % PAIRS.len()].1;
        json!({ "anchor": query, "positive": answer, "negative": other })
    });
    dir.json_lines("triplets.jsonl", triplets);
    dir
}

/// `rankforge evaluate` with the static model.
fn evaluate(dir: &TestDir, arguments: &[&str]) -> Value {
    let start = ["evaluate", arguments[0], "--model", "static", "--json", "--dataset"];
    dir.json(&[&start[..], &arguments[1..]].concat())
}

fn keys(metrics: &Value) -> Vec<&str> {
    metrics.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn every_evaluator_writes_the_file_of_sentence_transformers() {
    let dir = setup();
    let cases: [(&[&str], &str, &str); 9] = [
        (
            &["retrieval", "beir"],
            "Information-Retrieval_evaluation_x_results.csv",
            "epoch,steps,cosine-Accuracy@1,cosine-Accuracy@3",
        ),
        (
            &["similarity", "labeled.jsonl", "--similarity-fn-names", "cosine,dot"],
            "similarity_evaluation_x_results.csv",
            "epoch,steps,cosine_pearson,cosine_spearman,dot_pearson,dot_spearman",
        ),
        (
            &["similarity", "labeled.jsonl", "--embedding-precision", "int8"],
            "similarity_evaluation_x_int8_results.csv",
            "epoch,steps,cosine_pearson,cosine_spearman",
        ),
        (
            &["binary", "labeled.jsonl", "--score-functions", "euclidean"],
            "binary_classification_evaluation_x_results.csv",
            "epoch,steps,euclidean_accuracy,euclidean_accuracy_threshold",
        ),
        (
            &["triplet", "triplets.jsonl", "--margin", "0.01"],
            "triplet_evaluation_x_results.csv",
            "epoch,steps,accuracy_cosine",
        ),
        (
            &["reranking", "samples.jsonl", "--at-k", "2"],
            "RerankingEvaluator_x_results_@2.csv",
            "epoch,steps,MAP,MRR@2,NDCG@2",
        ),
        (
            &["paraphrase-mining", "pairs.jsonl"],
            "paraphrase_mining_evaluation_x_results.csv",
            "epoch,steps,precision,recall,f1,threshold,average_precision",
        ),
        (
            &["translation", "pairs.jsonl"],
            "translation_evaluation_x_results.csv",
            "epoch,steps,src2trg,trg2src",
        ),
        (
            &["mse", "pairs.jsonl", "--columns", "query", "--teacher-model", "static"],
            "mse_evaluation_x_results.csv",
            "epoch,steps,MSE",
        ),
    ];
    for (arguments, file, header) in cases {
        let more = ["--name", "x", "--output", "out"];
        let metrics = evaluate(&dir, &[arguments, &more[..]].concat());
        assert!(keys(&metrics).iter().all(|key| key.starts_with("x_")), "{metrics}");
        let text = dir.read(&format!("out/{file}"));
        assert!(text.starts_with(header), "{file}: {text}");
        assert_eq!(text.lines().count(), 2, "{file}: {text}");
    }
    assert_eq!(dir.list("out").len(), 9);
    // A model is its own best teacher.
    let columns = ["--columns", "query", "--teacher-model", "static"];
    let mse = evaluate(&dir, &[&["mse", "pairs.jsonl"], &columns[..]].concat());
    assert_eq!(mse["negative_mse"].as_f64(), Some(0.0));
}

#[test]
fn several_dimensions_have_metrics_of_their_own() {
    let dir = setup();
    let metrics = evaluate(&dir, &["retrieval", "beir", "--truncate-dim", "16,4", "--name", "x"]);
    let whole = evaluate(&dir, &["retrieval", "beir", "--name", "x"]);
    let single = evaluate(&dir, &["retrieval", "beir", "--truncate-dim", "4", "--name", "x"]);
    assert_eq!(keys(&metrics).len(), 2 * keys(&whole).len());
    for key in keys(&whole) {
        let bare = key.strip_prefix("x_").unwrap();
        assert_eq!(metrics[&format!("x_16_{bare}")], whole[key]);
        assert_eq!(metrics[&format!("x_4_{bare}")], single[key]);
    }
    let start = ["evaluate", "retrieval", "--model", "static", "--dataset", "beir"];
    let table = dir.succeed(&[&start[..], &["--truncate-dim", "16,4"]].concat()).stdout;
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["metric", "16", "4"]);
    let error = dir.fail(2, &[&start[..], &["--truncate-dim", "8,17"]].concat());
    assert!(error.contains("--truncate-dim 17: the embeddings of the model have 16 dimensions"));
}

#[test]
fn predictions_are_written_for_each_score_function() {
    let dir = setup();
    let flags = ["--score-functions", "cosine,dot", "--write-predictions", "--output", "out"];
    evaluate(
        &dir,
        &[&["retrieval", "beir", "--map-at-k", "3", "--mrr-at-k", "3"], &flags[..]].concat(),
    );
    let name = "out/Information-Retrieval_evaluation_predictions_dot.jsonl";
    let lines: Vec<Value> =
        dir.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), PAIRS.len());
    assert_eq!(lines[0]["query_id"], "q0");
    assert_eq!(lines[0]["results"].as_array().unwrap().len(), 10);
    let flags = ["evaluate", "retrieval", "--model", "static", "--dataset", "beir"];
    let error = dir.fail(2, &[&flags[..], &["--write-predictions"]].concat());
    assert!(error.contains("--output"), "{error}");
}

#[test]
fn collections_of_nano_beir_are_read_in_both_layouts() {
    let dir = setup();
    let rows = |name: &str| -> Vec<Value> {
        let text = dir.read(&format!("beir/{name}.jsonl"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let judged = (0..PAIRS.len())
        .map(|id| json!({ "query-id": format!("q{id}"), "corpus-id": [format!("d{id}")] }));
    let judged: Vec<Value> = judged.collect();
    for (split, part) in [("NanoNQ", "hub"), ("NanoSciFact", "hub")] {
        dir.json_lines(&format!("{part}/corpus/{split}.jsonl"), rows("corpus").into_iter());
        dir.json_lines(&format!("{part}/queries/{split}.jsonl"), rows("queries").into_iter());
        dir.json_lines(&format!("{part}/qrels/{split}.jsonl"), judged.clone().into_iter());
        for file in ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"] {
            dir.write(&format!("folders/{split}/{file}"), &dir.read(&format!("beir/{file}")));
        }
        for (name, rows) in [("corpus", rows("corpus")), ("queries", rows("queries"))] {
            dir.json_lines(&format!("copies/{split}/{name}/train.jsonl"), rows.into_iter());
        }
        dir.json_lines(&format!("copies/{split}/qrels/train.jsonl"), judged.clone().into_iter());
    }
    let single = evaluate(&dir, &["retrieval", "beir"]);
    let all = evaluate(&dir, &["nanobeir", "hub", "--output", "out"]);
    for name in ["NanoNQ", "NanoSciFact", "NanoBEIR_mean"] {
        assert_eq!(all[&format!("{name}_cosine_ndcg@10")], single["cosine_ndcg@10"]);
    }
    assert!(dir.list("out").contains(&"NanoBEIR_evaluation_mean_results.csv".to_owned()));
    for layout in ["folders", "copies"] {
        assert_eq!(evaluate(&dir, &["nanobeir", layout]), all);
    }
    let one = evaluate(&dir, &["nanobeir", "hub", "--dataset-names", "NQ"]);
    assert_eq!(keys(&one).len(), 2 * keys(&single).len());
    let nano = ["evaluate", "nanobeir", "--model", "static", "--dataset"];
    let error = dir.fail(1, &[&nano[..], &["beir"]].concat());
    assert!(error.contains("`NanoMSMARCO`"), "{error}");
    let error = dir.fail(1, &[&nano[..], &["hub", "--dataset-names", "scidocs"]].concat());
    assert!(error.contains("no split `NanoSCIDOCS`"), "{error}");
}

#[test]
fn a_kind_of_model_that_does_not_fit_is_told() {
    let dir = setup();
    dir.encoder();
    let evaluate = |evaluator: &'static str, model: &'static str, dataset: &'static str| {
        ["evaluate", evaluator, "--model", model, "--dataset", dataset]
    };
    let error = dir.fail(1, &evaluate("correlation", "static", "labeled.jsonl"));
    assert!(error.contains("static: expected a reranker, got a dual encoder"), "{error}");
    assert!(error.contains("hint: `evaluate similarity`"), "{error}");
    let stage = ["--first-stage", "static"];
    let arguments = [&evaluate("reranking", "static", "beir")[..], &stage].concat();
    let error = dir.fail(2, &arguments);
    assert!(error.contains("--first-stage is for rerankers"), "{error}");
    let error = dir.fail(1, &evaluate("reranking", "static", "beir"));
    assert!(error.contains("expected a file of samples, got a BEIR folder"), "{error}");
    let activation = ["--activation-fn", "sigmoid"];
    let error = dir.fail(2, &[&evaluate("retrieval", "static", "beir")[..], &activation].concat());
    assert!(error.contains("a dual encoder has no output activation"), "{error}");
    let error = dir.fail(1, &evaluate("retrieval", "static", "pairs.jsonl"));
    assert!(error.contains("expected a BEIR folder"), "{error}");
    // A checkpoint without a head can become either kind.
    dir.json(&[&evaluate("retrieval", "bert", "beir")[..], &["--json"]].concat());
    // Where either kind is evaluated, it is a dual encoder, as its scores would be random.
    let told = "warning: bert: a transformer without a scoring head, evaluated as a dual encoder";
    let reranking = evaluate("reranking", "bert", "samples.jsonl");
    let done = dir.succeed(&reranking);
    assert!(done.stderr.contains(told), "{}", done.stderr);
    let error = dir.fail(2, &[&evaluate("reranking", "bert", "beir")[..], &stage].concat());
    assert!(error.contains(told) && error.contains("--first-stage is for rerankers"), "{error}");
    let config = dir.read("bert/config.json").replace("BertModel", "BertForSequenceClassification");
    dir.write("bert/config.json", &config);
    let error = dir.fail(1, &evaluate("triplet", "bert", "triplets.jsonl"));
    assert!(error.contains("bert: expected a dual encoder, got a reranker"), "{error}");
    let truncate = ["--truncate-dim", "4"];
    let error = dir.fail(2, &[&reranking[..], &truncate].concat());
    assert!(error.contains("--truncate-dim is for dual encoders"), "{error}");
}

#[test]
fn a_search_of_a_file_finds_texts_and_its_chunks_change_nothing() {
    let dir = setup();
    let search = [
        "semantic-search",
        "--model",
        "static",
        "--corpus",
        "pairs.jsonl",
        "--corpus-column",
        "answer",
        "--json",
    ];
    let flags = ["--queries", "pairs.jsonl", "--queries-column", "query", "--top-k", "3"];
    let found = dir.json(&[&search[..], &flags].concat());
    assert_eq!(found.as_array().unwrap().len(), PAIRS.len());
    let hits = found[0]["hits"].as_array().unwrap();
    assert_eq!(hits.len(), 3);
    assert!(hits[0]["score"].as_f64() >= hits[1]["score"].as_f64());
    let id = hits[0]["corpus_id"].as_u64().unwrap() as usize;
    assert_eq!(hits[0]["text"], PAIRS[id].1);
    let chunks = [&search[..], &flags, &["--corpus-chunk-size", "5"]].concat();
    assert_eq!(dir.json(&chunks), found);
    let query = [&search[..], &["--query", PAIRS[0].0, "--top-k", "3"]].concat();
    assert_eq!(dir.json(&query)[0], found[0]);
    let error = dir.fail(2, &search);
    assert!(error.contains("--query"), "{error}");
}

#[test]
fn paraphrases_and_communities_of_a_file_are_found() {
    let dir = setup();
    let repeated = PAIRS.iter().chain(&PAIRS[..4]).map(|(query, _)| format!("{query}\n"));
    dir.write("texts.txt", &repeated.collect::<String>());
    let mine = ["paraphrase-mining", "--model", "static", "--texts", "texts.txt"];
    let pairs = dir.json(&[&mine[..], &["--max-pairs", "4", "--json"]].concat());
    for (index, pair) in pairs.as_array().unwrap().iter().enumerate() {
        assert_eq!((&pair["id1"], &pair["id2"]), (&json!(index), &json!(index + 12)));
        assert_eq!(pair["text1"], pair["text2"]);
    }
    let file = [&mine[..], &["--max-pairs", "4", "--output", "pairs.csv"]].concat();
    assert!(dir.succeed(&file).stdout.contains("4 pairs: pairs.csv"));
    assert!(dir.read("pairs.csv").starts_with("score,id1,id2,text1,text2\n"));

    let detect = ["community-detection", "--model", "static", "--texts", "texts.txt"];
    let flags = ["--min-community-size", "2", "--threshold", "0.999", "--json"];
    let communities = dir.json(&[&detect[..], &flags].concat());
    assert_eq!(communities.as_array().unwrap().len(), 4);
    assert_eq!(communities[0][0]["text"], communities[0][1]["text"]);
    let none = dir.json(&[&detect[..], &["--threshold", "0.999", "--json"]].concat());
    assert_eq!(none, json!([]));
}

#[test]
fn embeddings_are_quantised_with_the_ranges_of_other_texts() {
    let dir = setup();
    let encode = ["encode", "--model", "static", "--input", "pairs.jsonl", "--column", "query"];
    let bytes = |flags: &[&str]| {
        let arguments = [&encode[..], flags, &["--output", "x.npy"]].concat();
        dir.succeed(&arguments);
        std::fs::read(dir.path("x.npy")).unwrap()[128..].to_vec()
    };
    let floats: Vec<f32> = bytes(&[])
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let bits = bytes(&["--precision-out", "ubinary"]);
    assert_eq!(bits.len(), PAIRS.len() * 2);
    assert_eq!(bits[0] >> 7 == 1, floats[0] > 0.0);
    let own = bytes(&["--precision-out", "uint8"]);
    assert_eq!(own.len(), PAIRS.len() * 16);
    // The texts themselves as calibration texts have the same ranges.
    assert_eq!(bytes(&["--precision-out", "uint8", "--calibration", "pairs.jsonl"]), own);
    dir.write("some.txt", "honey\nbees make honey\n");
    let other = bytes(&["--precision-out", "uint8", "--calibration", "some.txt"]);
    assert_ne!(other, own);
    let signed = bytes(&["--precision-out", "int8"]);
    assert!(signed.iter().zip(&own).all(|(signed, own)| signed.wrapping_add(128) == *own));

    let output = ["--output", "y.npy"];
    let warned = dir.succeed(&[&encode[..], &output, &["--precision-out", "int8"]].concat());
    assert!(warned.stderr.contains("come from 12 embeddings"), "{}", warned.stderr);
    let one = [&encode[..], &output, &["--precision-out", "int8", "--limit", "1"]].concat();
    let error = dir.fail(1, &one);
    assert!(error.contains("at least two embeddings") && error.contains("hint: --calibration"));
    let flags = ["--precision-out", "binary", "--calibration", "some.txt"];
    let error = dir.fail(2, &[&encode[..], &output, &flags].concat());
    assert!(error.contains("--calibration has no effect with binary"), "{error}");
}

#[test]
fn a_recipe_evaluates_the_dual_encoder_that_it_trains() {
    let dir = setup();
    let recipe = |metric: &str| {
        format!(
            "[model]\nkind = \"dual-encoder\"\npath = \"static\"\n[dataset]\n\
             path = \"pairs.jsonl\"\n[loss]\nname = \"MultipleNegativesRankingLoss\"\n\
             [arguments]\noutput_dir = \"run\"\nmax_steps = 4\n\
             per_device_train_batch_size = 4\nlearning_rate = 0.1\neval_strategy = \"steps\"\n\
             eval_steps = 2\nsave_strategy = \"best\"\nmetric_for_best_model = \"{metric}\"\n\
             load_best_model_at_end = true\n[[evaluators]]\n\
             type = \"InformationRetrievalEvaluator\"\npath = \"beir\"\nname = \"tiny\"\n\
             truncate_dim = [16, 4]\n[[evaluators]]\ntype = \"EmbeddingSimilarityEvaluator\"\n\
             path = \"labeled.jsonl\"\nname = \"sts\"\n"
        )
    };
    dir.write("r.toml", &recipe("tiny_16_cosine_ndcg@10"));
    let result = dir.json(&["train", "r.toml", "--json", "--quiet"]);
    let best = result["best_model_checkpoint"].as_str().unwrap();
    assert!(best.contains("checkpoint-"), "{result}");
    let files = dir.list("run/eval");
    for name in ["tiny_16", "tiny_4"] {
        let name = format!("Information-Retrieval_evaluation_{name}_results.csv");
        assert!(files.contains(&name), "{name} is not in {files:?}");
    }
    let card = dir.read("run/final/README.md");
    assert!(card.contains("#### Information Retrieval"), "{card}");
    assert!(card.contains("#### Semantic Similarity"), "{card}");
    dir.write("r.toml", &recipe("tiny_cosine_ndcg@10"));
    let error = dir.fail(1, &["train", "r.toml", "--quiet"]);
    assert!(
        error.contains("metric_for_best_model") && error.contains("eval_tiny_4_cosine_ndcg@10")
    );
}
