use crate::error::ServeError;
use crate::routes::router;
use crate::service::{Served, Service};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How a model is served; names and defaults are those of text-embeddings-inference, except that a server listens to
/// its own machine alone unless told otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// What `/info` calls the model.
    pub model_id: String,
    /// Most texts in the queue and in work; beyond that requests get status 429.
    pub max_concurrent_requests: usize,
    /// Most tokens in a batch; a single longer text is a batch of its own.
    pub max_batch_tokens: usize,
    /// Most texts in a batch.
    pub max_batch_requests: Option<usize>,
    /// Most texts in a request; beyond that it gets status 413.
    pub max_client_batch_size: usize,
    /// Whether long texts are cut when a request does not say; otherwise it gets status 422.
    pub auto_truncate: bool,
    /// Most bytes in a request's body; beyond that it gets status 413.
    pub payload_limit: usize,
    /// Threads for tokenising.
    pub tokenization_workers: usize,
    /// How long open requests may take after a stop.
    pub grace: Duration,
}

impl Default for Server {
    fn default() -> Server {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Server {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 3000)),
            model_id: "rankforge".to_owned(),
            max_concurrent_requests: 512,
            max_batch_tokens: 16384,
            max_batch_requests: None,
            max_client_batch_size: 32,
            auto_truncate: true,
            payload_limit: 2_000_000,
            tokenization_workers: (cores - 1).clamp(1, 64),
            grace: Duration::from_secs(30),
        }
    }
}

impl Server {
    /// Serves a model until `stop`, then answers what is open and returns. `ready` hears the address.
    ///
    /// # Errors
    /// A setting that cannot be used, or an address that cannot be listened on.
    pub fn run(
        &self,
        model: impl Into<Served>,
        stop: &Stop,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<(), ServeError> {
        let (service, engine) = Service::start(model, self)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(self.tokenization_workers)
            .thread_name("rankforge-http")
            .enable_all()
            .build()?;
        let result = runtime.block_on(self.listen(service, stop, ready));
        // Ends the connections that outlived the grace, and with them the last senders to the engine.
        drop(runtime);
        engine.join();
        result
    }

    async fn listen(
        &self,
        service: Service,
        stop: &Stop,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<(), ServeError> {
        let listen_error = |source| ServeError::Listen { address: self.address, source };
        let listener = TcpListener::bind(self.address).await.map_err(listen_error)?;
        ready(listener.local_addr().map_err(listen_error)?);
        let (first, second) = (stop.clone(), stop.clone());
        let serving = axum::serve(listener, router(service))
            .with_graceful_shutdown(async move { first.stopped().await });
        let too_late = async {
            second.stopped().await;
            tokio::time::sleep(self.grace).await;
        };
        tokio::select! {
            result = serving.into_future() => Ok(result?),
            () = too_late => Ok(()),
        }
    }

    /// Checks what no request could be answered with.
    pub(crate) fn check(&self) -> Result<(), ServeError> {
        for (field, value) in [
            ("max_concurrent_requests", self.max_concurrent_requests),
            ("max_batch_tokens", self.max_batch_tokens),
            ("max_batch_requests", self.max_batch_requests.unwrap_or(1)),
            ("max_client_batch_size", self.max_client_batch_size),
            ("payload_limit", self.payload_limit),
            ("tokenization_workers", self.tokenization_workers),
        ] {
            if value == 0 {
                let expected = "a positive number".to_owned();
                return Err(ServeError::Setting { field, expected, got: "0".to_owned() });
            }
        }
        if self.max_client_batch_size > self.max_concurrent_requests {
            return Err(ServeError::Setting {
                field: "max_client_batch_size",
                expected: format!(
                    "at most max_concurrent_requests, {}",
                    self.max_concurrent_requests
                ),
                got: self.max_client_batch_size.to_string(),
            });
        }
        Ok(())
    }
}

/// Tells a server to stop; clones are one switch.
#[derive(Clone, Debug, Default)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Stops every server that was given this switch, now or later.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    async fn stopped(&self) {
        // The channel cannot close while `self` holds its sender.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}
