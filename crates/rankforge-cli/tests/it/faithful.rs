//! Runs that can be ended by a cluster, and repeated from their folder.

use crate::support::{TestDir, finished, send, signal_after_first_log};
use crate::training::setup;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

fn model(dir: &TestDir, folder: &str) -> Vec<u8> {
    std::fs::read(dir.path(&format!("{folder}/final/model.safetensors"))).unwrap()
}

#[test]
fn sigterm_writes_a_checkpoint_to_resume_from_and_is_no_failure() {
    let dir = setup();
    let long = ["--set", "arguments.num_train_epochs=60", "--set", "arguments.save_steps=10000"];
    let train = [&["train", "r.toml"][..], &long].concat();
    let words: Vec<String> = train.iter().map(|word| (*word).to_owned()).collect();
    let ended = signal_after_first_log(&dir, &words, "TERM");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for text in ["interrupted after step", "to resume, run: rankforge train r.toml --set"] {
        assert!(ended.stderr.contains(text), "{}", ended.stderr);
    }
    assert_eq!(ended.stdout, "");
    assert!(!dir.list("run").contains(&"final".to_owned()));
    dir.succeed(&[&train[..], &["--resume"]].concat());
    let record: Value = serde_json::from_str(&dir.read("run/run.json")).unwrap();
    assert_eq!(record["environments"].as_array().unwrap().len(), 2, "{record}");
    dir.succeed(&[&train[..], &["--set", "arguments.output_dir=whole"]].concat());
    assert!(model(&dir, "run") == model(&dir, "whole"), "the weights of the resumed run differ");
}

/// Nothing is there to continue from, so that a cluster must not take the run for complete.
#[cfg(unix)]
#[test]
fn signals_before_the_first_step_end_a_run_with_their_own_exit_codes() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let dir = setup();
        std::fs::remove_file(dir.path("pairs.jsonl")).unwrap();
        let pipe = dir.path("pairs.jsonl");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let mut command = dir.command(&["train", "r.toml"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Returns once the run reads its pairs, which it mines for then.
        let mut target = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        target.write_all(b"{\"query\": \"a\", \"answer\": \"b\"}\n").unwrap();
        send(&child, signal);
        let ended = finished(child.wait_with_output().unwrap());
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{}", ended.stderr);
        assert!(!dir.path("run/final").exists());
    }
}

#[test]
fn a_run_is_repeated_from_its_folder_alone_to_the_same_bits() {
    let dir = setup();
    let sets = ["--set", "arguments.learning_rate=3e-4", "--set", "model.max_length=24"];
    dir.succeed(&[&["train", "r.toml", "--quiet"][..], &sets].concat());
    // What the command line and the recipe said is in the folder, and every other argument.
    let recipe = dir.read("run/recipe.toml");
    for line in ["learning_rate = 0.0003", "max_length = 24", "adam_beta2 = 0.999", "seed = 7"] {
        assert!(recipe.contains(line), "{line}: {recipe}");
    }
    let record: Value = serde_json::from_str(&dir.read("run/run.json")).unwrap();
    let environment = &record["environments"][0];
    assert_eq!(environment["version"], env!("CARGO_PKG_VERSION"), "{record}");
    assert!(environment["instruction_set"].is_string() && environment["threads"].is_u64());
    assert!(environment["working_directory"].is_string(), "{record}");
    let data = &record["definition"]["train_sets"][0];
    assert_eq!(data["content"].as_str().map(str::len), Some(64), "{record}");
    std::fs::remove_file(dir.path("r.toml")).unwrap();
    let again = ["train", "run/recipe.toml", "--set", "arguments.output_dir=again"];
    let repeated = dir.succeed(&again);
    assert!(!repeated.stderr.contains("that is repeated"), "{}", repeated.stderr);
    assert!(model(&dir, "run") == model(&dir, "again"), "the weights of the repeated run differ");
    // A run that is repeated in its own folder leaves the same record.
    dir.succeed(&["train", "run/recipe.toml", "--quiet"]);
    assert_eq!(dir.read("run/recipe.toml"), recipe);
    assert!(model(&dir, "run") == model(&dir, "again"));

    dir.write("pairs.jsonl", &dir.read("pairs.jsonl").replace("bees", "wasps"));
    let changed = dir.succeed(&again);
    let warning = "the training data is not that of the run that is repeated";
    assert!(changed.stderr.contains(warning), "{}", changed.stderr);
}

#[test]
fn trackers_are_told_of_the_environment_and_of_the_end() {
    let dir = setup();
    let sets = ["--set", "arguments.report_to=[\"tensorboard\", \"wandb\"]"];
    let train = [&["train", "r.toml"][..], &sets].concat();
    let mut command = dir.command(&train);
    let environment = [("WANDB_DIR", "w"), ("WANDB_RUN_ID", "abc"), ("WANDB_MODE", "online")];
    let done = finished(command.envs(environment).env("MLFLOW_TAGS", "unused").output().unwrap());
    assert_eq!(done.code, 0, "{}", done.stderr);
    let [run] = &dir.list("w/wandb")[..] else { panic!("{:?}", dir.list("w/wandb")) };
    assert!(run.starts_with("offline-run-") && run.ends_with("-abc"), "{run}");
    for text in [
        format!("wandb: the run is in w/wandb/{run}; to upload it: wandb sync w/wandb/{run}"),
        "warning: wandb: WANDB_MODE = online has no effect".to_owned(),
        "tensorboard: tensorboard --logdir run/runs/".to_owned(),
    ] {
        assert!(done.stderr.contains(&text), "{text}: {}", done.stderr);
    }
    let mut command = dir.command(&["train", "r.toml", "--set", "arguments.report_to=mlflow"]);
    let refused = finished(command.env_remove("MLFLOW_TRACKING_URI").output().unwrap());
    let text = "override arguments.report_to=mlflow: `arguments.report_to`: expected \
                MLFLOW_TRACKING_URI to be the address of a server";
    assert!(refused.code == 1 && refused.stderr.contains(text), "{}", refused.stderr);
    let text = dir.fail(1, &["train", "r.toml", "--set", "arguments.report_to=clearml"]);
    assert!(text.contains("clearml is not supported, as only its Python package"), "{text}");
}

#[test]
fn a_set_that_streams_resumes_to_the_same_bits_and_holds_the_same_rows() {
    let dir = setup();
    dir.labeled();
    let recipe = "[model]\npath = \"bert\"\n[dataset]\npath = \"labeled.jsonl\"\n\
                  streaming = true\nshuffle_buffer = 10\n[arguments]\noutput_dir = \"run\"\n\
                  num_train_epochs = 2\nper_device_train_batch_size = 4\nsave_steps = 5\n\
                  learning_rate = 1e-3\n";
    dir.write("s.toml", recipe);
    for sampler in ["batch_sampler", "no_duplicates"] {
        let set = format!("arguments.batch_sampler={sampler}");
        let train = ["train", "s.toml", "--quiet", "--set", &set];
        dir.succeed(&train);
        let whole = model(&dir, "run");
        dir.succeed(&[&train[..], &["--resume=run/checkpoint-5"]].concat());
        assert!(whole == model(&dir, "run"), "{sampler}: the weights of the resumed run differ");
        let other = [&train[..], &["--set", "dataset.streaming=false"]].concat();
        let refused = dir.fail(1, &[&other[..], &["--set", "dataset.shuffle_buffer=10"]].concat());
        assert!(refused.contains("`dataset.shuffle_buffer`: expected streaming = true"));
    }
    let record = |folder: &str| -> Value {
        serde_json::from_str(&dir.read(&format!("{folder}/run.json"))).unwrap()
    };
    dir.write("m.toml", &recipe.replace("streaming = true\nshuffle_buffer = 10\n", ""));
    dir.succeed(&["train", "m.toml", "--quiet", "--set", "arguments.output_dir=in-memory"]);
    let [streamed, in_memory] = ["run", "in-memory"].map(record);
    assert_eq!(
        streamed["definition"]["train_sets"][0]["content"],
        in_memory["definition"]["train_sets"][0]["content"],
        "the hashes of the rows differ"
    );
    let message = dir.fail(
        1,
        &["train", "s.toml", "--set", "arguments.batch_sampler=group_by_label", "--quiet"],
    );
    assert!(
        message.contains("batch_sampler: expected another one, or rows in memory")
            || message
                .contains("`arguments.batch_sampler`: expected another one, or rows in memory"),
        "{message}"
    );
}
