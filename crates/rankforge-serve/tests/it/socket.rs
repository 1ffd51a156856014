use crate::{TEXTS, cross_encoder, unlimited_dual_encoder};
use rankforge_serve::{ServeError, ServedModel, Server, Stop};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread::{JoinHandle, sleep};
use std::time::Duration;
use tokio::time::Instant;

const JSON: &str = "content-type: application/json";

fn local() -> Server {
    Server { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..Server::default() }
}

/// A server in a thread.
struct Running {
    address: SocketAddr,
    stop: Stop,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    fn start(server: Server, model: impl Into<ServedModel> + Send + 'static) -> Running {
        let (stop, (sender, ready)) = (Stop::default(), channel());
        let server_stop = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "the server runs beside its client")]
        let thread = std::thread::spawn(move || {
            server.run(model, &server_stop, |address| sender.send(address).unwrap())
        });
        let address = ready.recv_timeout(Duration::from_secs(30)).unwrap();
        Running { address, stop, thread }
    }

    /// A connection; reading from it fails after a time that no test needs.
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Stops the server and returns how long that took.
    fn stop(self) -> Duration {
        let start = Instant::now();
        self.stop.stop();
        self.thread.join().unwrap().unwrap();
        start.elapsed()
    }
}

/// A request with these lines after the first one.
fn request(first: &str, lines: &[&str], body: &str) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{first} HTTP/1.1\r\nhost: x\r\n{lines}\r\n{body}")
}

fn rerank(texts: &[&str]) -> String {
    let body = json!({"query": "sea", "texts": texts}).to_string();
    request("POST /rerank", &[JSON, &format!("content-length: {}", body.len())], &body)
}

/// Sends and returns all that comes back until the connection closes.
fn exchange(mut stream: &TcpStream, sent: &str) -> String {
    stream.write_all(sent.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends and returns the next answer: its head and its body.
fn ask(mut stream: &TcpStream, sent: &str) -> (String, String) {
    stream.write_all(sent.as_bytes()).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn a_server_answers_over_a_socket_and_stops_on_request() {
    let server = Running::start(local(), cross_encoder(1));
    let stream = server.connect();
    for _ in 0..3 {
        let (head, body) = ask(&stream, &rerank(&TEXTS));
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let ranks: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(ranks.as_array().unwrap().len(), TEXTS.len());
    }
    let old = rerank(&TEXTS).replace("HTTP/1.1", "HTTP/1.0");
    let answer = exchange(&server.connect(), &old);
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");

    // Idle connections must not delay the shutdown.
    let (_idle, address) = (server.connect(), server.address);
    server.stop();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn an_unfinished_request_is_dropped_after_the_grace_period() {
    for unfinished in [request("POST /rerank", &[JSON, "content-length: 100"], "{"), "POST".into()]
    {
        let server = Server { grace_period: Duration::from_millis(200), ..local() };
        let server = Running::start(server, cross_encoder(1));
        let mut stream = server.connect();
        stream.write_all(unfinished.as_bytes()).unwrap();
        sleep(Duration::from_millis(50));
        assert!(server.stop() < Duration::from_secs(5));
    }
}

#[test]
fn the_grace_period_ends_while_texts_are_tokenised() {
    let server =
        Server { grace_period: Duration::from_millis(100), payload_limit: 1 << 24, ..local() };
    let server = Running::start(server, unlimited_dual_encoder());
    // One word, which takes seconds.
    let body = json!({"inputs": "\u{e9}".repeat(6_000_000)}).to_string();
    let length = format!("content-length: {}", body.len());
    server.connect().write_all(request("POST /embed", &[JSON, &length], &body).as_bytes()).unwrap();
    sleep(Duration::from_millis(200));
    let time = server.stop();
    assert!(time < Duration::from_secs(1), "{time:?}");
}

#[test]
fn refusals_after_the_whole_body_keep_the_connection() {
    let server = Running::start(local(), cross_encoder(1));
    let stream = server.connect();
    let bad = request("POST /rerank", &[JSON, "content-length: 3"], "{]}");
    let nothing = request("GET /nowhere", &[], "");
    let wrong = request("GET /rerank", &[], "");
    let empty = rerank(&[]);
    for (request, status) in [(bad, 400), (nothing, 404), (wrong, 405), (empty, 400)] {
        let (head, _) = ask(&stream, &request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        let (head, _) = ask(&stream, &rerank(&TEXTS));
        assert!(head.starts_with("HTTP/1.1 200"), "after {status}: {head}");
    }
    server.stop();
}

/// Requests that are answered without their body, with the status of the answer.
const EARLY: [(&str, &str, u16); 5] = [
    ("POST /nowhere", JSON, 404),
    ("DELETE /rerank", JSON, 405),
    ("POST /rerank", "content-type: text/plain", 415),
    ("POST /rerank", "content-type: application/json\r\nx: y", 413),
    ("GET /health", JSON, 200),
];

#[test]
fn answers_before_the_whole_body_close_the_connection() {
    let server = Running::start(Server { payload_limit: 1000, ..local() }, cross_encoder(1));
    for (first, kind, status) in EARLY {
        let body = "x".repeat(2000);
        let chunked = format!("7d0\r\n{body}\r\n0\r\n\r\n");
        for (framing, body) in
            [("content-length: 2000", &body), ("transfer-encoding: chunked", &chunked)]
        {
            // The body arrives while the request is answered, so that this is before its end.
            let whole = request(first, &[kind, framing], body);
            let (start, rest) = whole.split_at(whole.len() - 1000);
            let mut stream = server.connect();
            stream.write_all(start.as_bytes()).unwrap();
            sleep(Duration::from_millis(20));
            let answer = exchange(&stream, rest);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{first}: {answer}");
            assert!(answer.contains("connection: close\r\n"), "{first}: {answer}");
        }
    }
    server.stop();
}

#[test]
fn a_body_that_waits_for_permission_is_not_requested_in_vain() {
    let server = Running::start(Server { payload_limit: 1000, ..local() }, cross_encoder(1));
    for (first, kind, status) in EARLY {
        let lines = [kind, "content-length: 2000", "expect: 100-continue"];
        let answer = exchange(&server.connect(), &request(first, &lines, ""));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{first}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{first}: {answer}");
    }
    let stream = server.connect();
    let whole = rerank(&TEXTS[..2]).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    let (head, body) = whole.split_at(whole.find("\r\n\r\n").unwrap() + 4);
    assert_eq!(ask(&stream, head).0, "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(ask(&stream, body).0.starts_with("HTTP/1.1 200"));
    server.stop();
}

#[test]
fn an_unknown_expectation_is_refused() {
    let server = Running::start(local(), cross_encoder(1));
    let whole = rerank(&TEXTS[..2]).replace("\r\n\r\n", "\r\nexpect: a-miracle\r\n\r\n");
    for request in [&whole, "GET /health HTTP/1.1\r\nhost: a\r\nexpect: a-miracle\r\n\r\n"] {
        let (head, body) = ask(&server.connect(), request);
        assert!(head.starts_with("HTTP/1.1 417"), "{head}");
        assert!(body.contains("a-miracle") && body.contains("Validation"), "{body}");
    }
    server.stop();
}

#[test]
fn clients_that_send_too_slowly_are_disconnected() {
    let server = Server { client_timeout: Duration::from_millis(300), ..local() };
    let server = Running::start(server, cross_encoder(1));
    let body = request("POST /rerank", &[JSON, "content-length: 100"], "{");
    for (sent, status) in [("POST /rerank HTTP", ""), ("", ""), (&*body, "HTTP/1.1 408")] {
        let mut stream = server.connect();
        stream.write_all(sent.as_bytes()).unwrap();
        let start = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "one byte after the other")]
        let sender = std::thread::spawn({
            let (mut stream, trickles) = (stream.try_clone().unwrap(), !sent.is_empty());
            move || {
                while trickles && stream.write_all(b" ").is_ok() {
                    sleep(Duration::from_millis(20));
                }
            }
        });
        let mut answer = Vec::new();
        // The connection may be reset instead of closed, as there was more to receive.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(status), "{sent:?}: {answer}");
        assert!(start.elapsed() < Duration::from_secs(10), "{sent:?}");
        drop(stream);
        sender.join().unwrap();
    }
    // The time of the next request begins anew.
    let stream = server.connect();
    for _ in 0..4 {
        assert!(ask(&stream, &rerank(&TEXTS[..1])).0.starts_with("HTTP/1.1 200"));
        sleep(Duration::from_millis(100));
    }
    server.stop();
}

#[test]
fn a_client_that_takes_no_answer_is_disconnected() {
    let server = Server {
        max_connections: 1,
        client_timeout: Duration::from_millis(300),
        payload_limit: 1 << 25,
        max_client_batch_size: 512,
        ..local()
    };
    let server = Running::start(server, cross_encoder(1));
    let mut stuck = server.connect();
    // The answer is larger than what the system buffers.
    let text = "\u{e9}".repeat(6_000_000);
    let body = json!({"query": "sea", "texts": [text], "return_text": true}).to_string();
    let length = format!("content-length: {}", body.len());
    stuck.write_all(request("POST /rerank", &[JSON, &length], &body).as_bytes()).unwrap();
    let (head, _) = ask(&server.connect(), &rerank(&TEXTS[..1]));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    drop(stuck);
    server.stop();
}

#[test]
fn further_connections_wait() {
    let server =
        Server { max_connections: 1, client_timeout: Duration::from_millis(300), ..local() };
    let server = Running::start(server, cross_encoder(1));
    let idle = server.connect();
    let start = Instant::now();
    sleep(Duration::from_millis(50));
    let (head, _) = ask(&server.connect(), &rerank(&TEXTS[..1]));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(start.elapsed() > Duration::from_millis(200), "there were two connections");
    drop(idle);
    server.stop();
}

#[test]
fn an_address_in_use_is_an_error() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let server = Server { address: taken.local_addr().unwrap(), ..Server::default() };
    let result = server.run(cross_encoder(1), &Stop::default(), |_| {
        panic!("the address is in use, so the server cannot be ready")
    });
    assert!(matches!(result, Err(ServeError::Listen { .. })), "{result:?}");
}
