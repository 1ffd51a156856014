//! `rankforge serve`: serves a model over HTTP.

use crate::console::Console;
use crate::failure::CliError;
use crate::inference::{PrecisionArgs, at_least_one};
use crate::interrupt::Graceful;
use rankforge::base::Reporter;
use rankforge::encoder::{CrossEncoder, DualEncoder, LoadOptions, ModelKind, Packing, TextModel};
use rankforge_serve::{ServeError, ServedModel, Server, Stop};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Serve a reranker or a dual encoder over HTTP
///
/// Routes and bodies are those of text-embeddings-inference: POST /rerank and /predict for a
/// reranker, POST /embed for a dual encoder, GET /info and /health for both. By default only
/// programs on this machine can connect. The first Ctrl-C completes the open requests, for at most
/// --grace-period, and stops the server.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge serve --model models/reranker --port 8080
  curl localhost:8080/rerank -H 'content-type: application/json' \\
      -d '{\"query\": \"how tall is mount fuji\", \"texts\": [\"3,776 metres.\", \"In Japan.\"]}'
  rankforge serve --model models/encoder --hostname 0.0.0.0 --max-batch-tokens 16384")]
pub(crate) struct ServeArgs {
    /// Directory of the model
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// IP address to listen on; 0.0.0.0 accepts connections from other machines
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    hostname: IpAddr,

    /// Port to listen on; 0 takes a free port
    #[arg(long, short, value_name = "PORT", default_value_t = 3000)]
    port: u16,

    /// Name of the model in /info [default: the value of --model]
    #[arg(long, value_name = "NAME")]
    served_model_name: Option<String>,

    /// Truncate inputs to N tokens [default: the model's max_seq_length]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_length: Option<usize>,

    #[command(flatten)]
    precision: PrecisionArgs,

    /// Maximum number of texts queued or being computed; a request beyond it gets status 429
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = at_least_one)]
    max_concurrent_requests: usize,

    /// Maximum number of tokens in a batch; memory grows with it, and other requests wait for its
    /// end
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = at_least_one)]
    max_batch_tokens: usize,

    /// Maximum number of texts in a batch [default: as many as fit into --max-batch-tokens]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_batch_requests: Option<usize>,

    /// Maximum number of texts in a request; a larger request gets status 413
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    max_client_batch_size: usize,

    /// Whether to truncate long texts of requests without the field `truncate`
    ///
    /// With false, such a request gets status 422 if a text is longer than --max-length. Of each
    /// text at most 250 characters for each token of that length are read; more are cut off, or
    /// refused with status 422.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    auto_truncate: bool,

    /// Maximum size of a request in bytes; a larger request gets status 413
    #[arg(long, value_name = "BYTES", default_value_t = 2_000_000, value_parser = at_least_one)]
    payload_limit: usize,

    /// Maximum number of threads that tokenise [default: the number of CPU cores minus 1]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    tokenization_workers: Option<usize>,

    /// Maximum number of open connections; further ones wait
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = at_least_one)]
    max_connections: usize,

    /// Time that a client has to send the headers of a request, and again for its body
    ///
    /// A connection without complete headers is then closed, also one that is not used; a request
    /// without a complete body gets status 408. It is also the time after which a client that takes
    /// no part of its answer is disconnected.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    client_timeout: Duration,

    /// Time without a request after which the memory of batches is given back to the system
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    release_after: Duration,

    /// Time that open requests have to finish after Ctrl-C or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    grace_period: Duration,
}

/// A duration in seconds, such as `20` or `0.5`.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Runs the command.
///
/// # Errors
/// If the model cannot be opened, a setting is out of range, or the address cannot be bound.
pub(crate) fn run(args: &ServeArgs, console: &Console) -> anyhow::Result<()> {
    let defaults = Server::default();
    let name = args.served_model_name.clone();
    let server = Server {
        address: SocketAddr::new(args.hostname, args.port),
        model_id: name.unwrap_or_else(|| args.model.display().to_string()),
        max_concurrent_requests: args.max_concurrent_requests,
        max_batch_tokens: args.max_batch_tokens,
        max_batch_requests: args.max_batch_requests,
        max_client_batch_size: args.max_client_batch_size,
        auto_truncate: args.auto_truncate,
        payload_limit: args.payload_limit,
        tokenization_workers: args.tokenization_workers.unwrap_or(defaults.tokenization_workers),
        max_connections: args.max_connections,
        client_timeout: args.client_timeout,
        release_after: args.release_after,
        grace_period: args.grace_period,
    };
    server.check().map_err(as_flag)?;
    let options = LoadOptions {
        max_length: args.max_length,
        precision: args.precision.precision,
        packing: Packing::Instead,
        ..console.load_options()?
    };
    let model: ServedModel = match ModelKind::of_directory(&args.model)? {
        ModelKind::CrossEncoder => {
            let reranker = CrossEncoder::open_with(&args.model, &options)?;
            args.precision.report(reranker.model(), console);
            reranker.into()
        }
        ModelKind::SentenceTransformer => {
            let encoder = DualEncoder::open_with(&args.model, &options)?;
            args.precision.check(&[encoder.model()])?;
            args.precision.report(encoder.model(), console);
            encoder.into()
        }
    };
    let stop = Stop::default();
    let stop_on_signal = stop.clone();
    let _graceful = Graceful::begin_with(move || stop_on_signal.stop());
    let mut printed = Ok(());
    server.run(model, &stop, |address| {
        console.progress.message(&format!("listening on http://{address}"));
        if console.json {
            // With --port 0 a program that starts the server learns the port here.
            printed = console.print_json(&json!({ "address": address.to_string() }));
        }
    })?;
    printed
}

/// The error for a setting that is out of range, as one for its flag.
fn as_flag(error: ServeError) -> anyhow::Error {
    match error {
        ServeError::Setting { field, expected, got } => {
            let flag = field.replace('_', "-");
            CliError::usage(format!("--{flag}: expected {expected}, got {got}")).into()
        }
        error => error.into(),
    }
}
