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

/// Sends a request and reads to the end of the connection.
fn exchange(address: SocketAddr, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_answers_over_a_socket_and_stops_when_told() {
    let (stop, (sender, ready)) = (Stop::default(), channel());
    let switch = stop.clone();
    let server = std::thread::spawn(move || {
        local().run(cross_encoder(1), &switch, |address| sender.send(address).unwrap())
    });
    let address = ready.recv_timeout(Duration::from_secs(30)).unwrap();
    let body = json!({"query": "sea", "texts": TEXTS}).to_string();
    let answer = exchange(address, "/rerank", &body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ranks: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(ranks.as_array().unwrap().len(), TEXTS.len());

    // A connection that is open but idle does not hold the server up.
    let _idle = TcpStream::connect(address).unwrap();
    stop.stop();
    server.join().unwrap().unwrap();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_request_that_never_ends_is_dropped_after_the_grace() {
    let (stop, (sender, ready)) = (Stop::default(), channel());
    let switch = stop.clone();
    let server = std::thread::spawn(move || {
        let server = Server { grace: Duration::from_millis(200), ..local() };
        server.run(cross_encoder(1), &switch, |address| sender.send(address).unwrap())
    });
    let mut stream =
        TcpStream::connect(ready.recv_timeout(Duration::from_secs(30)).unwrap()).unwrap();
    write!(stream, "POST /rerank HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{")
        .unwrap();
    std::thread::sleep(Duration::from_millis(50));
    stop.stop();
    server.join().unwrap().unwrap();
}

#[test]
fn an_address_in_use_is_an_error() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let server = Server { address: taken.local_addr().unwrap(), ..Server::default() };
    let result = server.run(cross_encoder(1), &Stop::default(), |_| panic!("not to be ready"));
    assert!(matches!(result, Err(ServeError::Listen { .. })), "{result:?}");
}
