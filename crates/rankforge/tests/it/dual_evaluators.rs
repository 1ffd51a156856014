//! `[[evaluators]]` of recipes of dual encoders: what they can say, and what is refused.

use rankforge::encoder::kernels::ops::Similarity;
use rankforge::recipe::{DualEncoderEvaluator, Recipe, Trained};

const START: &str = "[model]\nkind = \"dual-encoder\"\npath = \"m\"\n[dataset]\npath = \"d\"\n\
                     [loss]\nname = \"MultipleNegativesRankingLoss\"\n[[evaluators]]\n";

/// The evaluator that the lines describe.
fn read(lines: &str) -> Result<DualEncoderEvaluator, String> {
    let recipe = Recipe::parse("r.toml", &format!("{START}{lines}"), &[]);
    match recipe.map_err(|error| error.to_string())?.trained {
        Trained::DualEncoder { mut evaluators, .. } => Ok(evaluators.remove(0)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_evaluator_of_dual_encoders_has_a_section() {
    for class in [
        "InformationRetrievalEvaluator",
        "NanoBEIREvaluator",
        "EmbeddingSimilarityEvaluator",
        "BinaryClassificationEvaluator",
        "TripletEvaluator",
        "RerankingEvaluator",
        "ParaphraseMiningEvaluator",
        "TranslationEvaluator",
        "MSEEvaluator",
    ] {
        read(&format!("type = \"{class}\"\npath = \"x\"\ntruncate_dim = 8")).unwrap();
    }
    let found = read(
        "type = \"InformationRetrievalEvaluator\"\npath = \"x\"\ntruncate_dim = [8, 4]\n\
         score_functions = [\"dot\"]\nndcg_at_k = [10, 100]",
    );
    let DualEncoderEvaluator::InformationRetrieval(section) = found.unwrap() else { panic!() };
    assert_eq!(section.truncate_dim.0, [8, 4]);
    assert_eq!(section.score_functions[0].0, Similarity::Dot);
    assert_eq!(section.ndcg_at_k, Some(vec![10, 100]));
    let found =
        read("type = \"TripletEvaluator\"\npath = \"x\"\nmargin = { dot = 1, euclidean = 0.5 }");
    let DualEncoderEvaluator::Triplet(section) = found.unwrap() else { panic!() };
    assert_eq!(section.margin.0, [0.0, 1.0, 0.5, 0.0]);
}

#[test]
fn values_that_do_not_fit_are_refused_with_their_line() {
    for (field, expected) in [
        (
            "similarity_fn_names = [\"cosin\"]",
            "expected one of `cosine`, `dot`, `euclidean` and `manhattan`, got \"cosin\" (did you \
             mean cosine?)",
        ),
        ("truncate_dim = [4, 0]", "expected dimensions of at least 1, got 0"),
        ("truncate_dim = \"all\"", "expected dimensions of at least 1, got \"all\""),
        ("margin = { angle = 1 }", "got \"angle\""),
        ("margin = \"wide\"", "expected a number, got \"wide\""),
        ("truncate_dims = 4", "did you mean `truncate_dim`?"),
    ] {
        let message =
            read(&format!("type = \"TripletEvaluator\"\npath = \"x\"\n{field}")).unwrap_err();
        assert!(message.starts_with("r.toml, line 11: "), "{message}");
        assert!(message.contains(expected), "{field}: {message}");
    }
}
