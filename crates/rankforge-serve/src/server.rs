use crate::error::ServeError;
use crate::routes::router;
use crate::served_model::ServedModel;
use crate::service::Service;
use crate::settings::Server;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::watch;

impl Server {
    /// Serves a model until `stop`; then completes the open requests, for at most
    /// [`Server::grace`], and returns.
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
        let result = runtime.block_on(self.listen(service, stop, ready));
        // Closes connections that are still open after the grace period. They hold the last
        // senders of the engine's queue; without this `join` would wait for them.
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
        let shutdown = stop.clone();
        let serving = axum::serve(listener, router(service))
            .with_graceful_shutdown(async move { shutdown.stopped().await });
        let grace_is_over = async {
            stop.stopped().await;
            tokio::time::sleep(self.grace).await;
        };
        tokio::select! {
            result = serving.into_future() => Ok(result?),
            () = grace_is_over => Ok(()),
        }
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
