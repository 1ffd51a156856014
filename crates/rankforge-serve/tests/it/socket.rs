use crate::{TEXTS, cross_encoder};
use rankforge_serve::{ServeError, Server, Stop};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

fn local() -> Server {
    Server { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..Server::default() }
}

/// Sends a request and returns all that comes back until the connection closes.
fn exchange(address: SocketAddr, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let headers = "host: x\r\nconnection: close\r\ncontent-type: application/json";
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\n{headers}\r\ncontent-length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_answers_over_a_socket_and_stops_on_request() {
    let (stop, (sender, ready)) = (Stop::default(), channel());
    let server_stop = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "the server runs beside its client")]
    let server = std::thread::spawn(move || {
        local().run(cross_encoder(1), &server_stop, |address| sender.send(address).unwrap())
    });
    let address = ready.recv_timeout(Duration::from_secs(30)).unwrap();
    let body = json!({"query": "sea", "texts": TEXTS}).to_string();
    let answer = exchange(address, "/rerank", &body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ranks: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(ranks.as_array().unwrap().len(), TEXTS.len());

    // An idle connection must not delay the shutdown.
    let _idle = TcpStream::connect(address).unwrap();
    stop.stop();
    server.join().unwrap().unwrap();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn an_unfinished_request_is_dropped_after_the_grace_period() {
    let (stop, (sender, ready)) = (Stop::default(), channel());
    let server_stop = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "the server runs beside its client")]
    let server = std::thread::spawn(move || {
        let server = Server { grace: Duration::from_millis(200), ..local() };
        server.run(cross_encoder(1), &server_stop, |address| sender.send(address).unwrap())
    });
    let mut stream =
        TcpStream::connect(ready.recv_timeout(Duration::from_secs(30)).unwrap()).unwrap();
    let headers = "host: x\r\ncontent-type: application/json\r\ncontent-length: 100";
    write!(stream, "POST /rerank HTTP/1.1\r\n{headers}\r\n\r\n{{").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    stop.stop();
    server.join().unwrap().unwrap();
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
