//! `rankforge serve`: answers over HTTP and ends when told to.

use crate::support::{Place, finished};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// One request, one answer: status line and body.
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
fn a_served_reranker_answers_and_stops_when_interrupted() {
    let place = Place::new();
    place.encoder();
    place.pairs();
    place.labeled();
    place.write(
        "r.toml",
        "[model]\npath = \"bert\"\n[dataset]\npath = \"labeled.jsonl\"\n\
         [arguments]\noutput_dir = \"run\"\nmax_steps = 1\nsave_strategy = \"no\"\n",
    );
    place.succeed(&["train", "r.toml"]);
    let mut command = place.command(&[
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

    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let done = finished(child.wait_with_output().unwrap());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(TcpStream::connect(&address).is_err(), "still listening");
}
