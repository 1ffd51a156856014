use crate::error::ServeError;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::time::Duration;

/// Largest value of [`Server::max_connections`].
const MOST_CONNECTIONS: usize = 1_000_000;

/// Largest value of [`Server::client_timeout`]: a day.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(86_400);

/// Settings of a server.
///
/// Names and defaults are those of text-embeddings-inference, except two: by default `address`
/// accepts connections from the local machine only, and `max_batch_tokens` is an eighth, as larger
/// batches are no faster on a CPU and take more memory, and other requests wait for the end of a
/// batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// The address and port to listen on; port 0 takes a free port.
    pub address: SocketAddr,
    /// The name of the model in `/info`.
    pub model_id: String,
    /// Maximum number of texts that are queued or being computed. A request that would exceed it
    /// gets status 429.
    pub max_concurrent_requests: usize,
    /// Maximum number of tokens in a batch. A single text with more tokens is a batch by itself.
    /// Requests that come while a batch is computed wait for its end.
    pub max_batch_tokens: usize,
    /// Maximum number of texts in a batch; `None` means that only the tokens are limited.
    pub max_batch_requests: Option<usize>,
    /// Maximum number of texts in a request. A larger request gets status 413.
    pub max_client_batch_size: usize,
    /// What happens to a text longer than the model's maximum length if the request has no field
    /// `truncate`: true truncates it, false answers with status 422.
    pub auto_truncate: bool,
    /// Maximum size of a request body in bytes. A larger body gets status 413.
    pub payload_limit: usize,
    /// Maximum number of threads that tokenise.
    pub tokenization_workers: usize,
    /// Maximum number of open connections. Further ones wait until one of them is closed.
    pub max_connections: usize,
    /// Time that a client has to send the headers of a request, which begins with the connection or
    /// with the end of the request before it; to send its body; and to take any part of the answer.
    /// The connection is closed then, after an answer with status 408 if it was the body.
    pub client_timeout: Duration,
    /// Time without work after which the engine gives the memory of its batches back to the system.
    /// It takes as much as the largest batch needed until then.
    pub release_after: Duration,
    /// Time that open requests have to finish after [`Stop::stop`](crate::Stop::stop).
    pub grace_period: Duration,
}

impl Default for Server {
    fn default() -> Server {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Server {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 3000)),
            model_id: "rankforge".to_owned(),
            max_concurrent_requests: 512,
            max_batch_tokens: 2048,
            max_batch_requests: None,
            max_client_batch_size: 32,
            auto_truncate: true,
            payload_limit: 2_000_000,
            tokenization_workers: (cores - 1).clamp(1, 64),
            max_connections: 1024,
            client_timeout: Duration::from_secs(30),
            release_after: Duration::from_secs(10),
            grace_period: Duration::from_secs(20),
        }
    }
}

impl Server {
    /// Checks the settings, as [`Server::run`] does first.
    ///
    /// # Errors
    /// A limit that is out of range, or limits that contradict each other.
    pub fn check(&self) -> Result<(), ServeError> {
        for (field, value) in [
            ("max_concurrent_requests", self.max_concurrent_requests),
            ("max_batch_tokens", self.max_batch_tokens),
            ("max_batch_requests", self.max_batch_requests.unwrap_or(1)),
            ("max_client_batch_size", self.max_client_batch_size),
            ("payload_limit", self.payload_limit),
            ("tokenization_workers", self.tokenization_workers),
            ("max_connections", self.max_connections),
        ] {
            if value == 0 {
                let expected = "at least 1".to_owned();
                return Err(ServeError::Setting { field, expected, got: "0".to_owned() });
            }
        }
        let refused = |field, expected: &str, got: String| {
            Err(ServeError::Setting { field, expected: expected.to_owned(), got })
        };
        if self.max_connections > MOST_CONNECTIONS {
            return refused(
                "max_connections",
                "at most 1,000,000",
                self.max_connections.to_string(),
            );
        }
        if self.client_timeout.is_zero() || self.client_timeout > LONGEST_TIMEOUT {
            let got = format!("{} seconds", self.client_timeout.as_secs_f64());
            return refused("client_timeout", "more than 0 and at most 86,400 seconds", got);
        }
        if self.max_client_batch_size > self.max_concurrent_requests {
            return Err(ServeError::Setting {
                field: "max_client_batch_size",
                expected: format!(
                    "at most max_concurrent_requests ({})",
                    self.max_concurrent_requests
                ),
                got: self.max_client_batch_size.to_string(),
            });
        }
        Ok(())
    }
}
