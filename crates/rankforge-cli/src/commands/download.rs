//! `rankforge download`: models and data sets of the Hugging Face Hub.

use crate::console::Console;
use crate::failure::CliError;
use crate::interrupt::{Graceful, stop};
use rankforge::base::Reporter;
use rankforge::data::has_known_extension;
use rankforge_hub::{Hub, HubError, HubSettings, Repo, RepoKind, Snapshot};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Download a model or a data set of the Hugging Face Hub, and print its directory
///
/// Only the files that rankforge reads are downloaded, into the cache that Python's client has, so
/// that neither downloads what the other has. Sizes and hashes are checked; a download that was cut
/// continues next time. Of a data set in other formats, the Hub's conversion to parquet is taken.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge download sentence-transformers/all-MiniLM-L6-v2
  rankforge download --dataset sentence-transformers/natural-questions
  rankforge info \"$(rankforge download -q cross-encoder/ms-marco-MiniLM-L6-v2)\"

Environment: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN (or the file HF_TOKEN_PATH, by default
`token` in HF_HOME) and HF_HUB_OFFLINE, as Python's client has them.")]
pub(crate) struct DownloadArgs {
    /// Name on the Hub; a revision is a branch, a tag or a commit [default: main]
    #[arg(value_name = "OWNER/NAME[@REVISION]")]
    repository: String,

    /// It is a data set, not a model
    #[arg(long)]
    dataset: bool,

    /// Only the data in this directory, as data sets with several subsets have them
    #[arg(long, value_name = "NAME", requires = "dataset")]
    subset: Option<String>,
}

/// The branch with the Hub's conversion of a data set.
const CONVERTED: &str = "refs/convert/parquet";

/// Runs the command.
///
/// # Errors
/// If the Hub has no such repository or does not give it, a file cannot be written, or the user
/// pressed Ctrl-C.
pub(crate) fn run(args: &DownloadArgs, console: &Console) -> anyhow::Result<()> {
    let kind = if args.dataset { RepoKind::Dataset } else { RepoKind::Model };
    let repo = Repo::parse(kind, &args.repository)?;
    let hub = Hub::new(HubSettings::from_variables(|name| std::env::var(name).ok())?);
    // Without it Ctrl-C would exit at once, and not say that the download continues.
    let _graceful = Graceful::begin();
    let result = match kind {
        RepoKind::Model => snapshot(&hub, &repo, &is_of_model, console),
        RepoKind::Dataset => dataset(&hub, &repo, args.subset.as_deref(), console),
    };
    let Snapshot { path, commit, downloaded } = match result {
        Err(error @ HubError::Interrupted) => {
            return Err(CliError::interrupted(error.to_string()).into());
        }
        result => result?,
    };
    let path = of_subset(path, args.subset.as_deref());
    console.result(
        || format!("{}\n", path.display()),
        &json!({
            "path": path.to_string_lossy(), "commit": commit, "downloaded_files": downloaded,
        }),
    )
}

fn snapshot(
    hub: &Hub,
    repo: &Repo,
    wanted: &dyn Fn(&str) -> bool,
    console: &Console,
) -> Result<Snapshot, HubError> {
    hub.snapshot(repo, wanted, &*console.progress, &stop())
}

/// The files of a data set, or where there is none that can be read, of its conversion.
fn dataset(
    hub: &Hub,
    repo: &Repo,
    subset: Option<&str>,
    console: &Console,
) -> Result<Snapshot, HubError> {
    let wanted = |path: &str| {
        let of_subset = subset.is_none_or(|subset| {
            let path = path.strip_prefix("data/").unwrap_or(path);
            path.strip_prefix(subset).is_some_and(|rest| rest.starts_with('/'))
        });
        of_subset && is_data(path)
    };
    match snapshot(hub, repo, &wanted, console) {
        Err(HubError::NothingWanted { .. }) if repo.revision != CONVERTED => {
            let text =
                format!("{repo}: no file that can be read; its conversion to parquet is taken");
            console.progress.message(&text);
            snapshot(hub, &repo.at(CONVERTED), &wanted, console)
        }
        result => result,
    }
}

/// Whether a file is one of a model that rankforge reads: no pickles, no weights of other programs.
fn is_of_model(path: &str) -> bool {
    const EXTENSIONS: [&str; 6] = ["json", "txt", "model", "jinja", "md", "safetensors"];
    const OTHERS: [&str; 5] = ["onnx", "openvino", "coreml", "gguf", "original"];
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str());
    let folder = path.split_once('/').map(|(folder, _)| folder);
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
        && !folder.is_some_and(|folder| OTHERS.contains(&folder) || folder.starts_with('.'))
}

fn is_data(path: &str) -> bool {
    const DESCRIPTIONS: [&str; 3] = ["dataset_infos.json", "dataset_info.json", "config.json"];
    let name = path.rsplit('/').next().unwrap_or(path);
    !DESCRIPTIONS.contains(&name) && !name.starts_with('.') && has_known_extension(Path::new(path))
}

/// The directory of a subset, where it has one.
fn of_subset(path: PathBuf, subset: Option<&str>) -> PathBuf {
    let Some(subset) = subset else { return path };
    let folders = [path.join(subset), path.join("data").join(subset)];
    folders.into_iter().find(|folder| folder.is_dir()).unwrap_or(path)
}
