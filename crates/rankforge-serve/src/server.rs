use crate::connection::serve_connection;
use crate::engine::Engine;
use crate::error::ServeError;
use crate::routes::router;
use crate::served_model::ServedModel;
use crate::service::Service;
use crate::settings::Server;
use axum::Router;
use axum::serve::Listener;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

impl Server {
    /// Serves a model until `stop`; then completes the open requests, for at most
    /// [`Server::grace_period`], and returns.
    ///
    /// Calls `ready` once with the bound address when the server accepts connections.
    ///
    /// # Errors
    /// If a setting is out of range, the address cannot be bound, or a thread cannot be started.
    pub fn run(
        &self,
        model: impl Into<ServedModel>,
        stop: &Stop,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<(), ServeError> {
        let (service, engine) = Service::start(model, self)?;
        #[expect(clippy::disallowed_methods, reason = "the threads that answer requests")]
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(self.tokenization_workers)
            .thread_name("rankforge-http")
            .enable_all()
            .build()?;
        let result = runtime.block_on(self.listen(service, engine, stop, ready));
        // Threads that still tokenise or run the model after the grace period end by themselves, as
        // nobody waits for their results.
        runtime.shutdown_background();
        result
    }

    async fn listen(
        &self,
        service: Service,
        engine: Engine,
        stop: &Stop,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<(), ServeError> {
        let listen_error = |source| ServeError::Listen { address: self.address, source };
        let listener = TcpListener::bind(self.address).await.map_err(listen_error)?;
        ready(listener.local_addr().map_err(listen_error)?);
        let serving = async {
            self.accept(listener, router(service), stop).await;
            engine.ended().await;
        };
        let grace_is_over = async {
            stop.stopped().await;
            tokio::time::sleep(self.grace_period).await;
        };
        tokio::select! {
            () = serving => {}
            () = grace_is_over => {}
        }
        Ok(())
    }

    /// Serves connections until `stop`, and completes when all are closed.
    async fn accept(&self, mut listener: TcpListener, router: Router, stop: &Stop) {
        let slots = Arc::new(Semaphore::new(self.max_connections));
        loop {
            let next = async {
                let slot = slots.clone().acquire_owned().await;
                // This waits and tries again where accepting fails.
                (
                    slot.expect("the semaphore is never closed"),
                    Listener::accept(&mut listener).await,
                )
            };
            let (slot, (stream, _)) = tokio::select! {
                next = next => next,
                () = stop.stopped() => break,
            };
            let (router, timeout, stop) = (router.clone(), self.client_timeout, stop.clone());
            let connection = async move {
                serve_connection(stream, router, timeout, stop.stopped()).await;
                drop(slot);
            };
            #[expect(clippy::disallowed_methods, reason = "connections are served side by side")]
            tokio::spawn(connection);
        }
        drop(listener);
        let all = u32::try_from(self.max_connections).expect("a checked setting");
        let _all_closed = slots.acquire_many(all).await;
    }
}

/// A request to stop a server. Clones share one state: stopping any of them stops all.
#[derive(Clone, Debug, Default)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Stops every server that runs with a clone of this value, now or later.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    async fn stopped(&self) {
        // `wait_for` fails only if the channel is closed, which cannot be: `self` holds its sender.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}
