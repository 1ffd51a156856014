//! `rankforge serve`: a model over HTTP.

use crate::commands::info::is_cross_encoder;
use crate::console::Console;
use crate::inference::{PrecisionArgs, at_least_one};
use crate::interrupt::Graceful;
use rankforge::encoder::{CrossEncoder, DualEncoder, LoadOptions, Reporter};
use rankforge_serve::{Served, Server, Stop};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Serve a reranker or a dual encoder over HTTP
///
/// Routes and bodies are those of text-embeddings-inference: POST /rerank and /predict for
/// rerankers, POST /embed for dual encoders, GET /info and /health. Listens to this machine alone
/// unless told otherwise. The first Ctrl-C answers what is open and ends.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge serve --model models/reranker --port 8080
  curl localhost:8080/rerank -H 'content-type: application/json' \\
      -d '{\"query\": \"how tall is mount fuji\", \"texts\": [\"3,776 metres.\", \"In Japan.\"]}'
  rankforge serve --model models/encoder --hostname 0.0.0.0 --max-batch-tokens 32768")]
pub(crate) struct ServeArgs {
    /// Folder of the model
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,

    /// Address to listen to
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    hostname: IpAddr,

    /// Port to listen to; 0 takes a free one
    #[arg(long, short, value_name = "PORT", default_value_t = 3000)]
    port: u16,

    /// What /info calls the model [default: its folder]
    #[arg(long, value_name = "NAME")]
    served_model_name: Option<String>,

    /// Cut inputs to so many tokens [default: as the model's files say]
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    max_length: Option<usize>,

    #[command(flatten)]
    precision: PrecisionArgs,

    /// Most texts in the queue and in work; beyond that requests get status 429
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = at_least_one)]
    max_concurrent_requests: usize,

    /// Most tokens in a batch
    #[arg(long, value_name = "N", default_value_t = 16384, value_parser = at_least_one)]
    max_batch_tokens: usize,

    /// Most texts in a batch [default: no limit but the tokens]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_batch_requests: Option<usize>,

    /// Most texts in a request; beyond that it gets status 413
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    max_client_batch_size: usize,

    /// Whether long texts are cut when a request does not say
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    auto_truncate: bool,

    /// Most bytes in a request
    #[arg(long, value_name = "BYTES", default_value_t = 2_000_000, value_parser = at_least_one)]
    payload_limit: usize,

    /// Threads for tokenising [default: one less than cores]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    tokenization_workers: Option<usize>,
}

/// Runs the command.
///
/// # Errors
/// An unusable model, or an address that cannot be listened to.
pub(crate) fn run(args: &ServeArgs, console: &Console) -> anyhow::Result<()> {
    let options = LoadOptions {
        max_length: args.max_length,
        precision: args.precision.precision,
        ..console.load_options()?
    };
    let progress = &*console.progress;
    let model: Served = if is_cross_encoder(&args.model)? {
        let reranker = CrossEncoder::load(&args.model, &options, progress)?;
        args.precision.tell(reranker.model(), console);
        reranker.into()
    } else {
        let encoder = DualEncoder::load(&args.model, &options, progress)?;
        args.precision.check(&[encoder.model()])?;
        args.precision.tell(encoder.model(), console);
        encoder.into()
    };
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
        ..defaults
    };
    let stop = Stop::default();
    let switch = stop.clone();
    let _graceful = Graceful::begin_with(move || switch.stop());
    let mut printed = Ok(());
    server.run(model, &stop, |address| {
        progress.message(&format!("listening on http://{address}"));
        if console.json {
            // Programs that took a free port learn it here.
            printed = console.print_json(&json!({ "address": address.to_string() }));
        }
    })?;
    printed
}
