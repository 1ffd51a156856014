//! `rankforge serve`: responds over HTTP and stops on SIGINT.

use crate::snapshot::assert_snapshot;
use crate::support::{TestDir, finished, interrupt};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Sends a request and returns the status line and the body of the response.
fn request(address: &str, head: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let headers = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    write!(stream, "{head} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn a_served_reranker_responds_and_stops_on_sigint() {
    let dir = TestDir::new();
    dir.encoder();
    dir.pairs();
    dir.labeled();
    dir.write(
        "r.toml",
        "[model]\npath = \"bert\"\n[dataset]\npath = \"labeled.jsonl\"\n\
         [arguments]\noutput_dir = \"run\"\nmax_steps = 1\nsave_strategy = \"no\"\n",
    );
    dir.succeed(&["train", "r.toml"]);
    let mut command = dir.command(&[
        "serve",
        "--model",
        "run/final",
        "--port",
        "0",
        "--json",
        "--precision",
        "bf16",
    ]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut started =
        serde_json::Deserializer::from_reader(child.stdout.take().unwrap()).into_iter::<Value>();
    let address = started.next().unwrap().unwrap()["address"].as_str().unwrap().to_owned();

    let body =
        json!({ "query": "what do bees make", "texts": ["Bees make honey.", "Ice is cold."] });
    let (status, answer) = request(&address, "POST /rerank", &body.to_string());
    assert!(status.contains("200"), "{status}\n{answer}");
    let ranks: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(ranks.as_array().unwrap().len(), 2);

    let (_, info) = request(&address, "GET /info", "");
    assert!(info.contains("\"model_dtype\":\"bfloat16\""), "{info}");

    interrupt(&child);
    let done = finished(child.wait_with_output().unwrap());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(TcpStream::connect(&address).is_err(), "the server still listens");
}

#[test]
fn half_a_request_delays_the_stop_by_no_more_than_the_grace_period() {
    let dir = TestDir::new();
    dir.dual_encoder();
    let serve = ["serve", "--model", "static", "--port", "0", "--json", "--grace-period", "0.3"];
    let mut child =
        dir.command(&serve).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut started =
        serde_json::Deserializer::from_reader(child.stdout.take().unwrap()).into_iter::<Value>();
    let address = started.next().unwrap().unwrap()["address"].as_str().unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    let headers = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 9";
    write!(stream, "POST /embed HTTP/1.1\r\n{headers}\r\n\r\n{{").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    interrupt(&child);
    let done = finished(child.wait_with_output().unwrap());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn durations_out_of_range_are_refused() {
    let dir = TestDir::new();
    dir.dual_encoder();
    for (flag, value, code, part) in [
        ("--grace-period", "soon", 2, "a number of seconds"),
        ("--grace-period", "-1", 2, "negative"),
        ("--client-timeout", "0", 2, "error: --client-timeout: expected more than 0"),
        ("--client-timeout", "1e9", 2, "got 1000000000 seconds"),
        ("--max-connections", "1000001", 2, "error: --max-connections: expected at most 1,000,000"),
        ("--max-client-batch-size", "5000", 2, "error: --max-client-batch-size: expected at most "),
    ] {
        let value = format!("{flag}={value}");
        let error = dir.fail(code, &["serve", "--model", "static", "--port", "0", &value]);
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_server_prints_its_address_and_that_it_stops() {
    let dir = TestDir::new();
    dir.dual_encoder();
    let arguments = ["serve", "--model", "static", "--port", "0", "--json"];
    let mut command = dir.command(&arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let startup: Vec<String> = lines.take(3).map(Result::unwrap).collect();
    interrupt(&child);
    let done = finished(child.wait_with_output().unwrap());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_snapshot("serve_json", &arguments, &without_port(&startup.join("\n")));
    assert_snapshot("serve_log", &arguments, &without_port(&done.stderr));
}

/// The text with `PORT` in place of the port number.
fn without_port(text: &str) -> String {
    let (before, after) = text.split_once("127.0.0.1:").expect("the text contains the address");
    let rest = after.trim_start_matches(|character: char| character.is_ascii_digit());
    format!("{before}127.0.0.1:PORT{rest}")
}
