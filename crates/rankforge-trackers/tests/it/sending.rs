//! What trackers get of a run that goes well.

use crate::server::{Server, mlflow};
use crate::support::{TestRun, short, start};
use rankforge_trackers::Outcome;
use serde_json::json;

#[test]
fn mlflow_gets_experiment_run_parameters_metrics_and_end() {
    let folder = tempfile::tempdir().unwrap();
    for (name, experiment) in [("known", "3"), ("new", "4")] {
        let server = Server::start(|_, request| Some(mlflow(request, "known")));
        let variables = [
            ("MLFLOW_TRACKING_URI", server.uri.as_str()),
            ("MLFLOW_EXPERIMENT_NAME", name),
            ("MLFLOW_TRACKING_TOKEN", "secret"),
            ("MLFLOW_TAGS", "{\"team\": \"search\", \"try\": 2}"),
            ("USER", "somebody"),
        ];
        let mut run = TestRun::begin(folder.path(), &["mlflow"], &variables, &start(), short());
        run.log(1..4);
        let told = run.end(Outcome::Finished);
        assert_eq!(told.warnings(), [""; 0]);
        let url = format!("mlflow: {}/#/experiments/{experiment}/runs/r1", server.uri);
        assert_eq!(told.messages(), [url]);
        for request in server.requests() {
            let bearer = |header: &String| header.ends_with("Bearer secret");
            assert!(request.headers.iter().any(bearer), "{request:?}");
        }
        let created = &server.sent("runs/create")[0];
        let tag = |key: &str, value: &str| json!({"key": key, "value": value});
        let expected = json!({
            "experiment_id": experiment, "start_time": 1_500_000_000_000_u64, "run_name": "first",
            "tags": [
                tag("mlflow.user", "somebody"), tag("mlflow.source.name", "rankforge"),
                tag("mlflow.source.type", "LOCAL"), tag("team", "search"), tag("try", "2"),
            ],
        });
        assert_eq!(*created, expected);
        let sent = server.sent("runs/log-batch");
        let parameters = [tag("learning_rate", "5e-05"), tag("run_name", "None")];
        assert_eq!(sent[0], json!({"run_id": "r1", "params": parameters}));
        let metrics = sent[1..].iter().flat_map(|body| body["metrics"].as_array().unwrap());
        let metrics: Vec<_> = metrics.collect();
        assert_eq!(metrics.len(), 6, "what is not finite is left out");
        let time = 1_500_000_002_000_u64;
        let loss = json!({"key": "loss", "value": 0.5, "timestamp": time, "step": 2});
        assert!(metrics.contains(&&loss), "{metrics:?}");
        let ended = json!({"run_id": "r1", "status": "FINISHED", "end_time": time + 1000});
        assert_eq!(server.sent("runs/update"), [ended]);
    }
}

#[test]
fn the_end_says_how_the_run_ended() {
    let folder = tempfile::tempdir().unwrap();
    let ends = [
        (Some(Outcome::Failed), "FAILED"),
        (Some(Outcome::Interrupted), "KILLED"),
        (None, "FAILED"),
    ];
    for (outcome, status) in ends {
        let server = Server::start(|_, request| Some(mlflow(request, "")));
        let variables = [("MLFLOW_TRACKING_URI", server.uri.as_str())];
        let run = TestRun::begin(folder.path(), &["mlflow"], &variables, &start(), short());
        match outcome {
            Some(outcome) => drop(run.end(outcome)),
            // As after a panic.
            None => drop(run),
        }
        assert_eq!(server.sent("runs/update")[0]["status"], status);
    }
}

#[test]
fn files_are_named_as_their_readers_expect() {
    let folder = tempfile::tempdir().unwrap();
    let wandb = folder.path().join("w");
    let variables = [("WANDB_DIR", wandb.to_str().unwrap()), ("WANDB_RUN_ID", "abc")];
    let trackers = ["tensorboard", "wandb"];
    let mut run = TestRun::begin(folder.path(), &trackers, &variables, &start(), short());
    run.log(1..100);
    let told = run.end(Outcome::Finished);
    let run = wandb.join("wandb/offline-run-20170714_024000-abc");
    assert!(run.join("files").is_dir() && run.join("run-abc.wandb").is_file());
    let events = folder.path().join("runs/Jul14_02-40-00_host");
    assert!(events.join("events.out.tfevents.1500000000.host.7.0").is_file());
    let messages = told.messages().join("\n");
    for text in [format!("wandb sync {}", run.display()), events.display().to_string()] {
        assert!(messages.contains(&text), "{messages}");
    }
}
