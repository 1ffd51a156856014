//! Runs the binary in a temporary directory with tiny data sets and models.

use rankforge::Device;
use rankforge::encoder::{
    Architecture, CrossEncoder, DualEncoder, LoadOptions, Model, Tokenizer, TransformerTask,
    Weights, train_word_piece,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Questions and the passages that answer them. Different pairs share few words.
pub(crate) const PAIRS: [(&str, &str); 12] = [
    ("what do bees make", "Bees make honey from the nectar of flowers."),
    ("who builds nests in trees", "Many birds build nests in tall trees each spring."),
    ("how does iron rust", "Iron rusts when water and air reach the bare metal."),
    ("why is the sea salty", "Rivers carry salt from rocks into the sea."),
    ("what turns milk sour", "Small living things turn warm milk sour."),
    ("where do polar bears live", "Polar bears live on the ice of the far north."),
    ("how is paper made", "Paper is made from the fibres of wood."),
    ("what makes bread rise", "Yeast makes gas in the dough and bread rises."),
    ("why do leaves fall", "Leaves fall in autumn when the tree saves water."),
    ("how do bats find food", "Bats find insects by listening for echoes."),
    ("what is glass made of", "Glass is made of sand melted in a hot oven."),
    ("when do owls hunt", "Owls hunt at night with sharp ears and eyes."),
];

/// A temporary directory, in which the commands of a test run; removed when the test ends.
pub(crate) struct TestDir {
    directory: TempDir,
}

/// The exit code and the output of a command.
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl TestDir {
    pub(crate) fn new() -> TestDir {
        TestDir { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes a file and the directories that it is in.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The sorted names of a directory's entries.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A command that will run in this directory. It uses two threads, because other tests run at
    /// the same time, and formats its help for 100 columns without colours.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rankforge"));
        command.args(arguments).args(["--threads", "2"]).current_dir(self.directory.path());
        command.env("COLUMNS", "100").env_remove("CLICOLOR_FORCE").stdin(Stdio::null());
        command
    }

    /// Runs a command in this directory.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        finished(self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> Finished {
        let done = self.run(arguments);
        assert_eq!(done.code, 0, "{arguments:?}\n{}{}", done.stdout, done.stderr);
        done
    }

    /// Runs a command that must succeed and print one JSON value.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let done = self.succeed(arguments);
        serde_json::from_str(&done.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{}", done.stdout))
    }

    /// Runs a command that must fail with this exit code and print nothing to standard output.
    /// Returns its standard error.
    pub(crate) fn fail(&self, code: i32, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.code, code, "{arguments:?}\n{}{}", done.stdout, done.stderr);
        assert_eq!(done.stdout, "", "standard output of {arguments:?}");
        assert!(done.stderr.contains("error: "), "{}", done.stderr);
        done.stderr
    }

    /// `pairs.jsonl` with the columns query and answer.
    pub(crate) fn pairs(&self) {
        let rows = PAIRS.iter().map(|(query, answer)| json!({ "query": query, "answer": answer }));
        self.json_lines("pairs.jsonl", rows);
    }

    /// `labeled.jsonl` with the columns query, answer and label.
    pub(crate) fn labeled(&self) {
        let rows = PAIRS.iter().enumerate().flat_map(|(index, (query, answer))| {
            let other = PAIRS[(index + 5) % PAIRS.len()].1;
            [(answer, 1), (&other, 0)]
                .map(|(text, label)| json!({ "query": query, "answer": text, "label": label }))
        });
        self.json_lines("labeled.jsonl", rows);
    }

    /// `samples.jsonl` with the columns query, positive and documents.
    pub(crate) fn samples(&self) {
        let rows = PAIRS.iter().enumerate().map(|(index, (query, answer))| {
            let other = |step: usize| PAIRS[(index + step) % PAIRS.len()].1;
            let documents = [other(3), answer, other(7)];
            json!({ "query": query, "positive": [answer], "documents": documents })
        });
        self.json_lines("samples.jsonl", rows);
    }

    /// `beir/` with every pair as query and document.
    pub(crate) fn beir(&self) {
        std::fs::create_dir_all(self.path("beir/qrels")).unwrap();
        let pairs = || PAIRS.iter().enumerate();
        let documents =
            pairs().map(|(id, (_, answer))| json!({ "_id": format!("d{id}"), "text": answer }));
        self.json_lines("beir/corpus.jsonl", documents);
        let queries =
            pairs().map(|(id, (query, _))| json!({ "_id": format!("q{id}"), "text": query }));
        self.json_lines("beir/queries.jsonl", queries);
        let judgements: String = pairs().map(|(id, _)| format!("q{id}\td{id}\t1\n")).collect();
        self.write("beir/qrels/test.tsv", &format!("query-id\tcorpus-id\tscore\n{judgements}"));
    }

    /// Writes rows as JSON lines.
    pub(crate) fn json_lines(&self, name: &str, rows: impl Iterator<Item = Value>) {
        let text: String = rows.map(|row| format!("{row}\n")).collect();
        self.write(name, &text);
    }

    /// `static/`: a randomly initialised static embedding model.
    pub(crate) fn dual_encoder(&self) {
        let options = LoadOptions::new(&Device::cpu(Some(1)).unwrap());
        DualEncoder::new_static(tokenizer(), 16, &options)
            .unwrap()
            .save(&self.path("static"), None)
            .unwrap();
    }

    /// `bert/`: a BERT of one layer, without a classifier.
    pub(crate) fn encoder(&self) {
        self.bert("bert", 0.02);
    }

    /// `reranker/`: a reranker of the same with larger random weights, so that its scores differ
    /// clearly.
    pub(crate) fn reranker(&self) {
        self.bert("reranker", 0.5);
        self.add_head("reranker");
    }

    /// Makes a reranker of a transformer, with a new classifier.
    pub(crate) fn add_head(&self, name: &str) {
        let path = self.path(name);
        CrossEncoder::open(&path).unwrap().save(&path, None).unwrap();
    }

    /// A BERT without a classifier, random but for its word embeddings.
    fn bert(&self, name: &str, initializer_range: f64) {
        let directory = self.path(name);
        std::fs::create_dir(&directory).unwrap();
        let tokenizer = tokenizer();
        tokenizer.save(&directory).unwrap();
        let (rows, width) = (tokenizer.vocab_size(), 16);
        let config = json!({
            "architectures": ["BertModel"], "model_type": "bert", "vocab_size": rows,
            "hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 64, "type_vocab_size": 2,
            "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
            "layer_norm_eps": 1e-12, "initializer_range": initializer_range, "pad_token_id": 0,
        });
        let config_path = directory.join("config.json");
        std::fs::write(&config_path, config.to_string()).unwrap();
        let table: Vec<u8> = (0..rows * width)
            .flat_map(|index| (((index * 37 % 101) as f32 - 50.0) / 500.0).to_le_bytes())
            .collect();
        let name = "embeddings.word_embeddings.weight";
        let weights = directory.join("model.safetensors");
        write_safetensors(&weights, name, [rows, width], &table);
        let task = TransformerTask::FeatureExtraction;
        let architecture = Architecture::from_config(&config, &config_path, &task).unwrap();
        let mut model = Model::new(&Device::cpu(Some(1)).unwrap(), architecture, 42);
        model.load("", &Weights::open(&directory).unwrap()).unwrap();
        model.save("", &weights).unwrap();
    }
}

fn tokenizer() -> Tokenizer {
    let texts: Vec<&str> = PAIRS.iter().flat_map(|(query, answer)| [*query, *answer]).collect();
    train_word_piece(&texts, 300).unwrap()
}

fn write_safetensors(path: &Path, name: &str, shape: [usize; 2], data: &[u8]) {
    let tensor = json!({ "dtype": "F32", "shape": shape, "data_offsets": [0, data.len()] });
    let header = json!({ name: tensor }).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    std::fs::write(path, bytes).unwrap();
}

pub(crate) fn finished(output: Output) -> Finished {
    Finished {
        code: output.status.code().expect("the command was killed by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sends SIGINT, as Ctrl-C does.
pub(crate) fn interrupt(child: &Child) {
    send(child, "INT");
}

pub(crate) fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let kill = Command::new("kill").args([&format!("-{signal}"), &id]).status();
    assert!(kill.unwrap().success(), "the process ended before the signal");
}

/// Runs a command and sends it a signal after it has logged the first loss.
pub(crate) fn signal_after_first_log(
    dir: &TestDir,
    arguments: &[String],
    signal: &str,
) -> Finished {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = dir.command(&arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let logged = lines.by_ref().map(Result::unwrap).find(|line| line.contains("loss"));
    assert!(logged.is_some(), "the run ended without a log line");
    send(&child, signal);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let mut done = finished(child.wait_with_output().unwrap());
    done.stderr = rest.join("\n");
    done
}
