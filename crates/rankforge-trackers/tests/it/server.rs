//! Servers of one's own: one that answers as it is told, one that never answers.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
#[expect(clippy::disallowed_types, reason = "tests of what happens on the network")]
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request: method and path with its query, headers, body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Value,
}

/// A server on a thread of its own, which ends with the process.
pub(crate) struct Server {
    pub(crate) uri: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `answer` gets each request with its number, and gives the status and the body; `None` is
    /// never answered.
    pub(crate) fn start<F>(answer: F) -> Server
    where
        F: Fn(usize, &Request) -> Option<(u16, Value)> + Send + 'static,
    {
        #[expect(clippy::disallowed_types, reason = "a server for a test")]
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        #[expect(clippy::disallowed_methods, reason = "a server for a test")]
        std::thread::spawn(move || {
            let mut unanswered = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&stream) else { continue };
                let number = seen.lock().unwrap().len();
                seen.lock().unwrap().push(request.clone());
                match answer(number, &request) {
                    Some((status, body)) => {
                        let body = body.to_string();
                        let length = body.len();
                        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n");
                        let _ = write!(stream, "{head}Connection: close\r\n\r\n{body}");
                    }
                    None => unanswered.push(stream),
                }
            }
        });
        Server { uri, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The bodies of the requests to a path.
    pub(crate) fn sent(&self, path: &str) -> Vec<Value> {
        let requests = self.requests().into_iter();
        requests.filter(|request| request.line.contains(path)).map(|request| request.body).collect()
    }
}

#[expect(clippy::disallowed_types, reason = "a server for a test")]
fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length = |line: &String| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok();
    let mut body = vec![0; lines.iter().find_map(length).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Request { line: lines.remove(0), headers: lines, body })
}

/// The answers of a server of MLflow that knows the experiments `known`.
pub(crate) fn mlflow(request: &Request, known: &str) -> (u16, Value) {
    let path = request.line.split(' ').nth(1).unwrap();
    let path = path.strip_prefix("/api/2.0/mlflow/").unwrap();
    match path.split('?').next().unwrap() {
        "experiments/get-by-name" if path.ends_with(&format!("={known}")) => {
            (200, json!({"experiment": {"experiment_id": "3"}}))
        }
        "experiments/get-by-name" => (404, json!({"error_code": "RESOURCE_DOES_NOT_EXIST"})),
        "experiments/create" => (200, json!({"experiment_id": "4"})),
        "runs/create" => (200, json!({"run": {"info": {"run_id": "r1"}}})),
        "runs/get" => {
            let params = json!([{"key": "learning_rate", "value": "1"}]);
            let info = json!({"experiment_id": "5"});
            (200, json!({"run": {"info": info, "data": {"params": params}}}))
        }
        "runs/log-batch" | "runs/update" => (200, json!({})),
        other => panic!("{other}"),
    }
}
