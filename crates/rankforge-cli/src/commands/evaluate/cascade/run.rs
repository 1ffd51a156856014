use crate::commands::evaluate::cascade::args::CascadeArgs;
use crate::commands::evaluate::cascade::first_stages::{Opened, Searches};
use crate::commands::evaluate::cascade::output::{Outputs, print};
use crate::commands::evaluate::cascade::plan::Plan;
use crate::commands::evaluate::shared::SharedArgs;
use crate::console::Console;
use crate::failure::CliError;
use rankforge::base::Reporter;
use rankforge::data::{Beir, load_beir};
use rankforge::encoder::{CrossEncoder, EncoderError, LoadOptions, Packing, Score, TextModel};
use rankforge::evaluation::cascade::{
    BootstrapOptions, CascadeOptions, CascadeReport, Clock, Collection, Reranker, Stage,
};
use rankforge_index::Index;
use std::time::Instant;

/// Measures the stages of a cascade.
///
/// # Errors
/// If flags contradict each other, a model or the collection cannot be read, or a file cannot be
/// written.
pub(in crate::commands::evaluate) fn run(
    args: &CascadeArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    check_flags(args, shared)?;
    let depths = ascending(&args.depth)?;
    let plan = Plan::new(&args.first_stage, shared.model.as_deref(), args.rrf_k, &Index::is_at)?;
    let base = console.load_options()?;
    let load = LoadOptions {
        precision: shared.precision.precision,
        packing: Packing::Instead,
        ..base.clone()
    };
    let beir = read(args, console)?;
    let collection = Collection::new(&beir)?;
    let outputs = Outputs::new(args, &collection)?;
    let opened = Opened::new(&plan, &beir, &load, console)?;
    let reranker = open_reranker(args, shared, &load)?;
    let encoders = opened.encoders.iter().map(TextModel::model);
    let models: Vec<_> = encoders.chain(reranker.iter().map(TextModel::model)).collect();
    shared.precision.check(&models)?;
    models.last().inspect(|model| shared.precision.report(model, console));
    let device = base.device.as_ref().expect("the console opens one");
    let searches = Searches::prepare(&plan, &opened, &beir, device, console)?;
    let started = Instant::now();
    let clock: Clock<'_> = &|| started.elapsed();
    let score = reranker.as_ref().map(|model| model as &dyn Score);
    let batch_size = shared.batch_size.unwrap_or(usize::MAX);
    let mut rescore =
        score.map(|score| Reranker::new(score, &collection, &depths, batch_size)).transpose()?;
    let deepest = depths[depths.len() - 1];
    let mut stages: Vec<Stage> = Vec::new();
    for stage in &plan.stages {
        let search = |query: &str, k: usize| searches.search(stage.kind, query, k);
        let reporter = &*console.progress;
        let found = collection.retrieve(&stage.name, deepest, clock, reporter, search)?;
        let reranked = rescore.as_mut().map(|model| model.rerank(&found, clock, reporter));
        stages.push(found);
        stages.extend(reranked.transpose()?.into_iter().flatten());
    }
    let options = CascadeOptions {
        at_k: args.at_k,
        depths,
        bootstrap: BootstrapOptions {
            resamples: args.resamples,
            seed: args.seed,
            ..BootstrapOptions::default()
        },
        ..CascadeOptions::default()
    };
    let report = CascadeReport::new(&collection, &stages, &options)?;
    let settings = outputs.settings(&plan, &opened, reranker.as_ref(), shared);
    outputs.write(&collection, &stages, &report, &settings)?;
    print(&report, &settings, console)
}

/// Opens the reranker, if there is one.
fn open_reranker(
    args: &CascadeArgs,
    shared: &SharedArgs,
    load: &LoadOptions,
) -> Result<Option<CrossEncoder>, EncoderError> {
    let activation_fn = shared.activation_fn;
    let load = LoadOptions { max_length: shared.max_length, activation_fn, ..load.clone() };
    args.rerank.as_ref().map(|path| CrossEncoder::open_with(path, &load)).transpose()
}

/// Checks that flags which all evaluators have are not given in vain.
fn check_flags(args: &CascadeArgs, shared: &SharedArgs) -> Result<(), CliError> {
    if shared.output.is_some() {
        let message = "--output: evaluate cascade has no CSV file";
        let hint = "--json, --report FILE and --trec DIR have its results";
        return Err(CliError::usage(message).hint(hint));
    }
    let of_reranker = [
        ("--batch-size", shared.batch_size.is_some()),
        ("--max-length", shared.max_length.is_some()),
        ("--activation-fn", shared.activation_fn.is_some()),
    ];
    match of_reranker.iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) if args.rerank.is_none() => {
            let message = format!("{flag}: no effect, as it is about the reranker");
            Err(CliError::usage(message).hint("--rerank DIR names one"))
        }
        _ => Ok(()),
    }
}

/// The depths in ascending order.
fn ascending(given: &[usize]) -> Result<Vec<usize>, CliError> {
    let mut depths = given.to_vec();
    depths.sort_unstable();
    match depths.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(CliError::usage(format!("--depth: {} is given twice", pair[0]))),
        None => Ok(depths),
    }
}

/// Reads the collection, as far as the flags say.
fn read(args: &CascadeArgs, console: &Console) -> anyhow::Result<Beir> {
    let mut beir = load_beir(&args.dataset, Some(&args.split))?;
    for warning in beir.warnings() {
        console.progress.warning(&format!("{}: {warning}", args.dataset.display()));
    }
    beir.queries.truncate(args.limit.unwrap_or(usize::MAX));
    Ok(beir)
}
