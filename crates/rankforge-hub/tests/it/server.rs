//! A server that speaks the part of the Hub's API that downloads need, and misbehaves on request.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
#[expect(clippy::disallowed_types, reason = "a server for tests")]
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The commit of the repository that the server has.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server does, and what it was asked.
#[derive(Default)]
pub(crate) struct State {
    /// Paths and contents; those of safetensors are large files.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// How many bytes of a large file are sent before the connection breaks off, for each request.
    pub(crate) cuts: Vec<usize>,
    /// Answers before the usual ones: status, headers, and the text of the body.
    pub(crate) first: Vec<(u16, String, String)>,
    /// Whether the server of large files ignores ranges.
    pub(crate) whole: bool,
    /// What stands in place of the content of large files.
    pub(crate) damaged: Option<Vec<u8>>,
    /// Request lines, with the headers that matter.
    pub(crate) asked: Vec<String>,
}

/// A server on a port of its own, and a second one for large files.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Server {
    #[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a server for tests")]
    pub(crate) fn start(files: &[(&str, &[u8])]) -> Server {
        let files =
            files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
        let state = Arc::new(Mutex::new(State { files, ..State::default() }));
        let storage = TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        let large = format!("http://{}", storage.local_addr().unwrap());
        for (listener, is_storage) in [(hub, false), (storage, true)] {
            let (state, large) = (state.clone(), large.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    answer(stream.unwrap(), &state, is_storage, &large);
                }
            });
        }
        Server { endpoint, state }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// The requests since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

#[expect(clippy::disallowed_types, reason = "a server for tests")]
fn answer(mut stream: TcpStream, state: &Mutex<State>, is_storage: bool, large: &str) {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if input.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut range, mut token) = (0, false);
    loop {
        let mut header = String::new();
        input.read_line(&mut header).unwrap();
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        token |= header.starts_with("authorization: bearer ");
        if let Some(from) = header.strip_prefix("range: bytes=") {
            range = from.trim_end_matches('-').parse().unwrap();
        }
    }
    let mut state = state.lock().unwrap();
    let host = if is_storage { "storage" } else { "hub" };
    state.asked.push(format!("{host} {path} from {range}, token {token}"));
    let mut send = |status: u16, headers: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
        );
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    };
    if !is_storage && !state.first.is_empty() {
        let (status, headers, body) = state.first.remove(0);
        return send(status, &headers, body.as_bytes());
    }
    if path.contains("/revision/") {
        return send(200, "", format!("{{\"sha\": \"{COMMIT}\"}}").as_bytes());
    }
    if path.contains("/tree/") {
        // Two pages.
        let second = path.contains("cursor=");
        let half = state.files.len().div_ceil(2);
        let files = if second { &state.files[half..] } else { &state.files[..half] };
        let entries: Vec<String> =
            files.iter().map(|(path, content)| entry(path, content)).collect();
        let next = format!(
            "link: <http://{}{path}&cursor=1>; rel=\"next\"\r\n",
            local(&stream_of(&input))
        );
        let headers = if second { "" } else { &next };
        return send(200, headers, format!("[{}]", entries.join(",")).as_bytes());
    }
    let Some((_, name)) = path.split_once(&format!("{COMMIT}/")) else {
        return send(404, "", b"");
    };
    let name = name.replace("%20", " ");
    let Some((_, content)) = state.files.iter().find(|(path, _)| *path == name) else {
        return send(404, "x-error-code: EntryNotFound\r\n", b"");
    };
    if name.ends_with(".safetensors") && !is_storage {
        return send(302, &format!("location: {large}/{COMMIT}/{name}\r\n"), b"");
    }
    let content = state.damaged.clone().filter(|_| is_storage).unwrap_or_else(|| content.clone());
    let from = if state.whole { 0 } else { range.min(content.len()) };
    let rest = content[from..].to_vec();
    let status = if from > 0 { 206 } else { 200 };
    match is_storage && !state.cuts.is_empty() {
        true => {
            let cut = state.cuts.remove(0).min(rest.len());
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", rest.len());
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&rest[..cut]);
        }
        false => send(status, "", &rest),
    }
}

#[expect(clippy::disallowed_types, reason = "a server for tests")]
fn stream_of(input: &BufReader<TcpStream>) -> TcpStream {
    input.get_ref().try_clone().unwrap()
}

#[expect(clippy::disallowed_types, reason = "a server for tests")]
fn local(stream: &TcpStream) -> String {
    stream.local_addr().unwrap().to_string()
}

fn hexadecimal(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of a file in git.
pub(crate) fn git_hash(content: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hexadecimal(hasher.finalize())
}

fn entry(path: &str, content: &[u8]) -> String {
    let (size, oid) = (content.len(), git_hash(content));
    let large = match path.ends_with(".safetensors") {
        true => {
            let sha = hexadecimal(Sha256::digest(content));
            format!(", \"lfs\": {{\"oid\": \"{sha}\", \"size\": {size}}}")
        }
        false => String::new(),
    };
    format!(
        "{{\"type\": \"file\", \"path\": \"{path}\", \"size\": {size}, \"oid\": \"{oid}\"{large}}}"
    )
}
