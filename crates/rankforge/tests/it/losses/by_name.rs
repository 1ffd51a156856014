//! Building losses by name from settings, as recipes do.

use super::refusals::least;
use crate::support::message;
use rankforge::Error;
use rankforge::losses::{
    CROSS_ENCODER_LOSSES, DUAL_ENCODER_LOSSES, Loss, cross_encoder_loss, dual_encoder_loss, names,
};
use serde_json::{Value, json};

fn build(name: &str, options: Value) -> Result<Box<dyn Loss>, Error> {
    cross_encoder_loss(name, options.as_object().unwrap())
}

fn build_dual(name: &str, options: Value) -> Result<Box<dyn Loss>, Error> {
    dual_encoder_loss(name, options.as_object().unwrap())
}

#[test]
fn losses_are_built_by_name() {
    let config = |name, options| build(name, options).unwrap().config();
    assert_eq!(
        config("BinaryCrossEntropyLoss", json!({ "pos_weight": 5, "activation_fn": "Sigmoid" })),
        json!({ "activation_fn": "torch.nn.modules.activation.Sigmoid", "pos_weight": 5.0 })
    );
    assert_eq!(
        config("MultipleNegativesRankingLoss", json!({})),
        json!({
            "scale": 10.0,
            "num_negatives": 4,
            "activation_fn": "torch.nn.modules.activation.Sigmoid",
        })
    );
    let options = json!({
        "num_negatives": "none",
        "scale": 20,
        "activation_fn": "torch.nn.modules.linear.Identity",
        "mini_batch_size": 8,
    });
    assert_eq!(
        config("CachedMultipleNegativesRankingLoss", options),
        json!({
            "scale": 20.0,
            "num_negatives": null,
            "activation_fn": "torch.nn.modules.linear.Identity",
            "mini_batch_size": 8,
        })
    );
    assert_eq!(
        config("MultipleNegativesRankingLoss", json!({ "activation_fn": null }))["activation_fn"],
        json!(null)
    );
    assert_eq!(
        build_dual("CachedMultipleNegativesRankingLoss", json!({ "mini_batch_size": 8 }))
            .unwrap()
            .config(),
        json!({
            "scale": 20.0,
            "similarity_fct": "cos_sim",
            "directions": ["query_to_doc"],
            "partition_mode": "joint",
            "hardness_mode": null,
            "hardness_strength": 0.0,
            "mini_batch_size": 8,
        })
    );
}

#[test]
fn a_table_lists_its_losses() {
    assert_eq!(
        names(CROSS_ENCODER_LOSSES),
        [
            "BinaryCrossEntropyLoss",
            "CrossEntropyLoss",
            "MultipleNegativesRankingLoss",
            "CachedMultipleNegativesRankingLoss",
            "MSELoss",
            "MarginMSELoss",
            "LambdaLoss",
            "RankNetLoss",
            "ListNetLoss",
            "ListMLELoss",
            "PListMLELoss",
            "ADRMSELoss",
        ]
    );
    assert_eq!(
        names(DUAL_ENCODER_LOSSES),
        [
            "CoSENTLoss",
            "MultipleNegativesRankingLoss",
            "CachedMultipleNegativesRankingLoss",
            "AnglELoss",
            "CosineSimilarityLoss",
            "ContrastiveLoss",
            "OnlineContrastiveLoss",
            "TripletLoss",
            "BatchAllTripletLoss",
            "BatchHardTripletLoss",
            "BatchHardSoftMarginTripletLoss",
            "BatchSemiHardTripletLoss",
            "MarginMSELoss",
            "DistillKLDivLoss",
            "MSELoss",
            "EmbedDistillLoss",
            "SoftmaxLoss",
            "GlobalOrthogonalRegularizationLoss",
            "MegaBatchMarginLoss",
            "ContrastiveTensionLoss",
            "ContrastiveTensionLossInBatchNegatives",
            "MultipleNegativesSymmetricRankingLoss",
            "CachedMultipleNegativesSymmetricRankingLoss",
            "GISTEmbedLoss",
            "CachedGISTEmbedLoss",
            "MatryoshkaLoss",
            "AdaptiveLayerLoss",
            "Matryoshka2dLoss",
        ]
    );
}

#[test]
fn errors_name_unknown_losses_and_invalid_settings() {
    for (name, options, part) in [
        ("CoSENTLos", json!({}), "BinaryCrossEntropyLoss, CrossEntropyLoss"),
        ("CoSENTLoss", json!({}), "got \"CoSENTLoss\": CoSENTLoss is a loss for dual encoders"),
        ("BinaryCrossEntropyLoss", json!({ "pos_weights": 1 }), "unknown field `pos_weights`"),
        ("BinaryCrossEntropyLoss", json!({ "pos_weight": -1 }), "pos_weight"),
        (
            "BinaryCrossEntropyLoss",
            json!({ "activation_fn": "Softmax" }),
            "expected one of Identity, Sigmoid, Tanh, ReLU",
        ),
        ("MultipleNegativesRankingLoss", json!({ "num_negatives": 0 }), "num_negatives"),
        ("LambdaLoss", json!({ "k": 0 }), "LambdaLoss.k: expected at least 1, or none for all"),
        ("RankNetLoss", json!({ "eps": 0 }), "RankNetLoss.eps: expected a number above 0, got 0"),
        ("RankNetLoss", json!({ "weighting_scheme": "none" }), "unknown field `weighting_sc"),
        ("LambdaLoss", json!({ "sigma": "x" }), "LambdaLoss.sigma: expected a number, got \"x\""),
        ("LambdaLoss", json!({ "reduction_log": "e" }), "expected one of natural, binary"),
        ("LambdaLoss", json!({ "weighting_scheme": "NDCG" }), "NoWeightingScheme, NDCGLoss1Sc"),
        (
            "LambdaLoss",
            json!({ "weighting_scheme": { "name": "LambdaRankScheme", "mu": 1 } }),
            "LambdaRankScheme has no setting mu, got 1",
        ),
        ("PListMLELoss", json!({ "lambda_weight": "x" }), "one of PListMLELambdaWeight"),
        ("ADRMSELoss", json!({ "alpha": "x" }), "ADRMSELoss.alpha: expected a number, got \"x\""),
        ("CrossEntropyLoss", json!({ "weight": [1, -1] }), "weight: expected numbers from 0"),
        ("CrossEntropyLoss", json!({ "label_smoothing": 2 }), "expected a number from 0 to 1"),
        ("MultipleNegativesRankingLoss", json!({ "num_negatives": -2 }), "got -2"),
        ("CachedMultipleNegativesRankingLoss", json!({ "mini_batch_size": 0 }), "mini_batch_size"),
        (
            "CachedMultipleNegativesRankingLoss",
            json!({ "mini_batch": 4 }),
            "unknown field `mini_batch`, expected one of `num_negatives`, `scale`, \
             `activation_fn`, or `mini_batch_size`",
        ),
    ] {
        let text = message(build(name, options));
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn settings_of_dual_encoder_losses_have_the_names_of_sentence_transformers() {
    let config = |name, options| build_dual(name, options).unwrap().config();
    for name in ["pairwise_cos_sim", "util.cos_sim", "cosine", "COSINE"] {
        let options = json!({ "similarity_fct": name });
        assert_eq!(config("MarginMSELoss", options), json!({"similarity_fct": "pairwise_cos_sim"}));
    }
    for name in ["SiameseDistanceMetric.EUCLIDEAN", "euclidean"] {
        let options = json!({ "distance_metric": name, "margin": 1 });
        assert_eq!(
            config("OnlineContrastiveLoss", options),
            json!({"distance_metric": "SiameseDistanceMetric.EUCLIDEAN", "margin": 1.0})
        );
    }
    let options = json!({ "distance_metric": "eucledian_distance" });
    assert_eq!(
        config("BatchHardSoftMarginTripletLoss", options),
        json!({"distance_metric": "euclidean_distance"})
    );
}

#[test]
fn every_cross_encoder_loss_has_a_mini_batch_size() {
    for entry in CROSS_ENCODER_LOSSES {
        let with = |size: Value| {
            entry.build(&serde_json::Map::from_iter([("mini_batch_size".to_owned(), size)]))
        };
        let loss = with(json!(3)).unwrap();
        assert_eq!(loss.mini_batch_size(), Some(3), "{}", entry.name);
        assert_eq!(loss.config()["mini_batch_size"], 3, "{}", entry.name);
        let text = message(with(json!("x")));
        assert!(text.contains("mini_batch_size"), "{text}");
        // A list-wise loss of sentence-transformers takes 0 and -1 for the whole batch.
        let lists = ["Lambda", "RankNet", "ListNet", "ListMLE", "PListMLE", "ADRMSE"];
        let lists = lists.iter().any(|name| format!("{name}Loss") == entry.name);
        for below in [json!(0), json!(-1)] {
            match with(below) {
                Ok(loss) => assert!(lists && loss.mini_batch_size().is_none(), "{}", entry.name),
                Err(_) => assert!(!lists, "{}", entry.name),
            }
        }
    }
}

#[test]
fn every_dual_encoder_loss_has_a_mini_batch_size() {
    // A wrapper has that of its inner loss.
    let wrappers = ["MatryoshkaLoss", "AdaptiveLayerLoss", "Matryoshka2dLoss"];
    for entry in DUAL_ENCODER_LOSSES.iter().filter(|entry| !wrappers.contains(&entry.name)) {
        let with = |name: &str, value: Value| {
            let mut settings = least(entry.name);
            settings.insert(name.to_owned(), value);
            entry.build(&settings)
        };
        let plain = entry.build(&least(entry.name)).unwrap();
        let loss = with("mini_batch_size", json!(3)).unwrap();
        assert_eq!(loss.mini_batch_size(), Some(3), "{}", entry.name);
        assert_eq!(loss.config()["mini_batch_size"], 3, "{}", entry.name);
        assert_eq!((loss.name(), loss.citation()), (plain.name(), plain.citation()));
        assert_eq!(loss.component_names(), plain.component_names());
        for wrong in [json!(0), json!(-1), json!("x")] {
            let text = message(with("mini_batch_size", wrong));
            assert!(text.contains("mini_batch_size"), "{text}");
        }
        let text = message(with("mini_batch", json!(3)));
        assert!(text.contains("unknown field `mini_batch`, expected"), "{text}");
        assert!(text.ends_with("`mini_batch_size`"), "{text}");
    }
    let with = |size: Value| build_dual("CoSENTLoss", json!({ "mini_batch_size": size })).unwrap();
    assert_eq!(with(json!(null)).mini_batch_size(), None);
    assert_eq!(with(json!("none")).config(), with(json!(null)).config());
    let whole = json!({ "use_mini_batched_version": false });
    assert_eq!(build_dual("MegaBatchMarginLoss", whole).unwrap().mini_batch_size(), None);
    assert_eq!(build_dual("MegaBatchMarginLoss", json!({})).unwrap().mini_batch_size(), Some(50));
}

#[test]
fn errors_say_why_a_known_loss_is_not_one_of_dual_encoders() {
    for (name, options, part) in [
        ("DenoisingAutoEncoderLoss", json!({}), "is not supported: it needs a decoder"),
        ("BinaryCrossEntropyLoss", json!({}), "is a loss for cross-encoders"),
        ("CosentLoss", json!({}), "did you mean CoSENTLoss?"),
        ("TripletLoss", json!({ "margin": 1 }), "unknown field `margin`, expected `distance_m"),
        ("TripletLoss", json!({ "distance_metric": "dot" }), "expected one of COSINE, EUCLIDEAN"),
        ("CoSENTLoss", json!({ "similarity_fct": "x" }), "one of pairwise_cos_sim, "),
        ("CoSENTLoss", json!({ "scale": "x" }), "CoSENTLoss.scale: expected a number, got \"x\""),
        ("CosineSimilarityLoss", json!({ "loss_fct": "BCELoss" }), "one of MSELoss, L1Loss"),
        ("DistillKLDivLoss", json!({ "temperature": 0 }), "temperature: expected a positive"),
        ("DistillKLDivLoss", json!({ "teacher_temperature": -1 }), "teacher_temperature: "),
        ("SoftmaxLoss", json!({}), "missing field `num_labels`"),
        ("SoftmaxLoss", json!({ "num_labels": 1 }), "num_labels: expected at least 2 classes"),
        (
            "SoftmaxLoss",
            json!({
                "num_labels": 2, "concatenation_sent_rep": false,
                "concatenation_sent_difference": false,
            }),
            "concatenation_sent_rep: expected true here, or for",
        ),
        ("MSELoss", json!({ "projection_dim": 0 }), "projection_dim: expected at least 1"),
        ("EmbedDistillLoss", json!({ "distance_metric": "l1" }), "one of mse, l2, cosine"),
        ("GlobalOrthogonalRegularizationLoss", json!({ "aggregation": "max" }), "mean, sum"),
        (
            "GlobalOrthogonalRegularizationLoss",
            json!({ "mean_weight": 0, "second_moment_weight": "none" }),
            "expected another number than 0 here or for second_moment_weight",
        ),
    ] {
        let text = message(build_dual(name, options));
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn errors_say_why_a_known_loss_is_not_one_inside_a_wrapper() {
    let inner = |name: &str| json!({ "loss": { "name": name }, "matryoshka_dims": [4] });
    let text = message(build_dual("MatryoshkaLoss", inner("DenoisingAutoEncoderLoss")));
    assert!(text.starts_with("MatryoshkaLoss.loss.name: expected one of CoSENTLoss, "), "{text}");
    let why = "got \"DenoisingAutoEncoderLoss\": DenoisingAutoEncoderLoss is not supported: it";
    assert!(text.contains(why), "{text}");
    let text = message(build_dual("MatryoshkaLoss", inner("BinaryCrossEntropyLoss")));
    assert!(text.ends_with("BinaryCrossEntropyLoss is a loss for cross-encoders"), "{text}");
    let inside = json!({ "name": "BinaryCrossEntropyLoss" });
    let twice = json!({ "loss": { "name": "MatryoshkaLoss", "loss": inside } });
    let text = message(build_dual("AdaptiveLayerLoss", twice));
    assert!(text.starts_with("AdaptiveLayerLoss.loss.loss.name: "), "{text}");
    let text = message(build_dual("MatryoshkaLoss", inner("CosentLoss")));
    assert!(text.contains("did you mean CoSENTLoss?"), "{text}");
}

#[test]
fn every_dual_encoder_loss_has_mini_batch_num_tokens() {
    for name in ["CoSENTLoss", "CachedMultipleNegativesRankingLoss", "MegaBatchMarginLoss"] {
        let with = |value: Value| build_dual(name, json!({ "mini_batch_num_tokens": value }));
        let loss = with(json!(512)).unwrap();
        assert_eq!(loss.mini_batch_num_tokens(), Some(512), "{name}");
        assert_eq!(loss.config()["mini_batch_num_tokens"], 512, "{name}");
        assert_eq!(with(json!(null)).unwrap().mini_batch_num_tokens(), None, "{name}");
        let text = message(with(json!(0)));
        assert!(text.contains("mini_batch_num_tokens"), "{text}");
    }
    let inner = json!({
        "loss": { "name": "CachedMultipleNegativesRankingLoss", "mini_batch_num_tokens": 64 },
        "matryoshka_dims": [4],
    });
    assert_eq!(build_dual("MatryoshkaLoss", inner).unwrap().mini_batch_num_tokens(), Some(64));
}
