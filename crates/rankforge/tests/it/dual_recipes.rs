//! Recipes of dual encoders: what `[model]` can say, and what is refused.

use rankforge::encoder::kernels::ops::{Pooling, Similarity};
use rankforge::recipe::{DualEncoderSection, Recipe, Trained};
use std::path::Path;

const DUAL: &str = "[model]\nkind = \"dual-encoder\"\n";

fn parse(model: &str, rest: &str) -> Result<Recipe, String> {
    let text = format!("{model}\n[dataset]\npath = \"d\"\n{rest}");
    Recipe::parse("r.toml", &text, &[]).map_err(|error| error.to_string())
}

const RANKING: &str = "[loss]\nname = \"MultipleNegativesRankingLoss\"\n";

fn section(fields: &str) -> DualEncoderSection {
    match parse(&format!("{DUAL}{fields}"), RANKING).unwrap().trained {
        Trained::DualEncoder { model, .. } => model,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fields_of_a_dual_encoder_are_read() {
    let model = section(
        "path = \"m\"\npooling = [\"cls\", \"mean\"]\nsimilarity_fn_name = \"dot\"\n\
         truncate_dim = 8\nmax_seq_length = 24\nprompts = { query = \"q: \" }\n\
         default_prompt_name = \"query\"",
    );
    assert_eq!(model.path.as_deref(), Some(Path::new("m")));
    assert_eq!(model.pooling, Some(vec![Pooling::Cls, Pooling::Mean]));
    assert_eq!(model.similarity_fn_name, Some(Similarity::Dot));
    assert_eq!(model.truncate_dim.map(|n| n.get()), Some(8));
    assert_eq!(model.max_seq_length.map(|n| n.get()), Some(24));
    assert_eq!(model.prompts["query"], "q: ");
    assert_eq!(section("path = \"m\"\npooling = \"max\"").pooling, Some(vec![Pooling::Max]));
    let new = section("[model.static]\ntokenizer = \"t\"\nembedding_dim = 32").new_static.unwrap();
    assert_eq!((new.tokenizer.as_path(), new.embedding_dim.get()), (Path::new("t"), 32));
}

#[test]
fn the_kind_determines_fields_losses_and_evaluators() {
    let dual = |fields: &str| format!("{DUAL}path = \"m\"\n{fields}");
    let cross = |fields: &str| format!("[model]\npath = \"m\"\n{fields}");
    for (model, rest, start) in [
        (
            "[model]\npath = \"m\"\nkind = \"bi-encoder\"".to_owned(),
            "",
            "r.toml, line 3: `model.kind` cannot be \"bi-encoder\"",
        ),
        (
            "[model]\npath = \"m\"\nkind = 2".to_owned(),
            "",
            "r.toml, line 3: `model.kind`: expected cross-encoder or dual-encoder, got 2",
        ),
        (
            dual("num_labels = 1"),
            "",
            "r.toml, line 4: `model.num_labels`: expected a field of a dual-encoder, got one that \
             only a cross-encoder has (kind = \"cross-encoder\")",
        ),
        (
            dual("max_length = 1"),
            "",
            "r.toml, line 4: `model.max_length`: expected a field of a dual-encoder, got one that \
             only a cross-encoder has (kind = \"cross-encoder\"); here it is `max_seq_length`",
        ),
        (
            cross("pooling = \"cls\""),
            "",
            "r.toml, line 3: `model.pooling`: expected a field of a cross-encoder, got one that \
             only a dual-encoder has (kind = \"dual-encoder\")",
        ),
        (
            cross("[model.static]\nembedding_dim = 3"),
            "",
            "r.toml, line 3: `model.static`: expected a field of a cross-encoder",
        ),
        (
            dual("poling = \"cls\""),
            "",
            "r.toml, line 4: unknown field `poling` in [model]; did you mean `pooling`?",
        ),
        (
            dual("pooling = \"clss\""),
            "",
            "r.toml, line 4: `model.pooling`: expected one of `cls`, `max`, `mean`, \
             `mean_sqrt_len_tokens`, `weightedmean` and `lasttoken`, or a list of them, got \
             \"clss\"",
        ),
        (
            dual("similarity_fn_name = \"cosin\""),
            "",
            "r.toml, line 4: `model.similarity_fn_name`: expected one of `cosine`, `dot`, \
             `euclidean` and `manhattan`, got \"cosin\"",
        ),
        (
            dual("truncate_dim = 0"),
            "",
            "r.toml, line 4: `model.truncate_dim`: expected a whole number of at least 1, got 0",
        ),
        (
            dual("[model.static]\ntokenizer = \"t\"\nembedding_dim = 4"),
            "",
            "r.toml, line 1: `model`: expected `path` or a section [model.static], got both",
        ),
        (
            DUAL.to_owned(),
            "",
            "r.toml, line 1: `model`: expected `path` or a section [model.static], got neither",
        ),
        (
            format!("{DUAL}[model.static]\ntokenizer = \"t\""),
            "",
            "r.toml, line 3: `model.static`: missing field `embedding_dim`",
        ),
        (
            dual(""),
            "[loss]\nname = \"BinaryCrossEntropyLoss\"",
            "r.toml, line 8: `loss.name`: BinaryCrossEntropyLoss is a loss for cross-encoders",
        ),
        (
            dual(""),
            "[loss]\nname = \"MultipleNegativesRankingLoss\"\n[[evaluators]]\n\
             type = \"CrossEncoderRerankingEvaluator\"\npath = \"x\"",
            "r.toml, line 10: `evaluators[0].type` cannot be \"CrossEncoderRerankingEvaluator\"",
        ),
    ] {
        let message = parse(&model, rest).map(drop).unwrap_err();
        assert!(message.starts_with(start), "{model}\n{rest}\n{message}");
    }
}
