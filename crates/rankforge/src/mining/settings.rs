use crate::error::Error;
use crate::mining::log::Log;
use crate::mining::options::{MiningOptions, OutputFormat, SamplingStrategy};

/// Checked options, with deprecated names resolved and defaults filled in.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) range_min: usize,
    pub(super) range_max: usize,
    pub(super) num_negatives: usize,
    pub(super) absolute_margin: Option<f64>,
    pub(super) relative_margin: Option<f64>,
    pub(super) max_score: Option<f64>,
    pub(super) min_score: Option<f64>,
    pub(super) include_positives: bool,
    pub(super) output_format: OutputFormat,
    pub(super) output_scores: bool,
    pub(super) random: bool,
    pub(super) seed: u64,
    /// Number of anchors in a search.
    pub(super) chunk: usize,
    /// Maximum number of pairs in a batch of the cross-encoder.
    pub(super) batch_size: usize,
}

/// Most negatives for each anchor: n-tuple rows have a column for each.
const MOST_NEGATIVES: i64 = 1 << 20;

impl MiningOptions {
    /// Checks that do not depend on the rows or the models.
    ///
    /// # Errors
    /// A value out of range.
    pub fn validate(&self) -> Result<(), Error> {
        check(self)
    }
}

fn check(options: &MiningOptions) -> Result<(), Error> {
    for (name, value, least) in [
        ("faiss_batch_size", options.faiss_batch_size, 1),
        ("num_negatives", options.num_negatives, 1),
        ("range_min", options.range_min, 0),
    ] {
        if value < least {
            return Err(Error::argument(name, format!("at least {least}"), value));
        }
    }
    if options.num_negatives > MOST_NEGATIVES {
        let expected = format!("at most {MOST_NEGATIVES}");
        return Err(Error::argument("num_negatives", expected, options.num_negatives));
    }
    if options.batch_size == 0 {
        return Err(Error::argument("batch_size", "at least 1", 0));
    }
    for (name, value) in [
        ("absolute_margin", options.absolute_margin),
        ("relative_margin", options.relative_margin),
        ("max_score", options.max_score),
        ("min_score", options.min_score),
        ("margin", options.margin),
    ] {
        if let Some(value) = value.filter(|value| !value.is_finite()) {
            return Err(Error::argument(name, "a finite number", value));
        }
    }
    Ok(())
}

/// Resolves checked options; `max_positives` is the largest number of rows of an anchor.
pub(super) fn resolve(
    options: &MiningOptions,
    max_positives: usize,
    rescored: bool,
    log: &mut Log<'_>,
) -> Result<Settings, Error> {
    let (output_format, output_scores) = output(options, log);
    let absolute_margin = match options.margin {
        Some(margin) => {
            log.reporter.warning(&format!(
                "margin is deprecated: absolute_margin is set to {margin}; see relative_margin too"
            ));
            Some(margin)
        }
        None => options.absolute_margin,
    };
    if options.use_faiss {
        log.reporter.message("use_faiss has no effect: the search is exact, in blocks");
    }
    if options.use_multi_process {
        log.reporter.message("use_multi_process has no effect: one process uses all threads");
    }
    let (range_min, wanted) = (options.range_min, options.num_negatives);
    let range_max = match options.range_max {
        Some(range_max) => range_max,
        None => {
            let filtered = absolute_margin.is_some()
                || options.relative_margin.is_some()
                || options.max_score.is_some()
                || (rescored && options.min_score.is_some());
            let spare = if filtered { wanted.saturating_mul(10) } else { wanted };
            let range_max = range_min.saturating_add(spare).saturating_add(max_positives as i64);
            log.say(format!("Setting range_max to {range_max} based on the other parameters."));
            range_max
        }
    };
    if range_min >= range_max {
        let expected = format!("less than range_max ({range_max})");
        return Err(Error::argument("range_min", expected, range_min));
    }
    let window = range_max - range_min;
    if wanted > window {
        let expected = format!(
            "at most {window}, the candidates that are left of range_max={range_max} when the \
             first range_min={range_min} are skipped"
        );
        return Err(Error::argument("num_negatives", expected, wanted));
    }
    Ok(Settings {
        range_min: range_min as usize,
        range_max: range_max as usize,
        num_negatives: wanted as usize,
        absolute_margin,
        relative_margin: options.relative_margin,
        max_score: options.max_score,
        min_score: options.min_score,
        include_positives: options.include_positives,
        output_format,
        output_scores,
        random: options.sampling_strategy == SamplingStrategy::Random,
        seed: options.seed,
        chunk: options.faiss_batch_size as usize,
        batch_size: options.batch_size,
    })
}

/// The format and whether it has scores, with deprecated names resolved.
fn output(options: &MiningOptions, log: &Log<'_>) -> (OutputFormat, bool) {
    let mut format = options.output_format;
    if let Some(triplets) = options.as_triplets {
        format = if triplets { OutputFormat::Triplet } else { OutputFormat::NTuple };
        log.reporter
            .warning(&format!("as_triplets is deprecated: output_format is set to {format}"));
    }
    if options.include_positives {
        let changed = options.range_min != 0
            || options.range_max.is_some()
            || options.max_score.is_some()
            || options.min_score.is_some()
            || options.absolute_margin.is_some()
            || options.relative_margin.is_some()
            || options.margin.is_some()
            || options.sampling_strategy != SamplingStrategy::Top;
        if changed {
            log.reporter.warning(
                "include_positives: range_min, range_max, max_score, min_score, absolute_margin, \
                 relative_margin and sampling_strategy can drop positives when they do not have \
                 their defaults",
            );
        }
        if format != OutputFormat::NTuple {
            log.reporter.warning(
                "include_positives: output_format is set to n-tuple, which keeps the order of the \
                 ranking",
            );
            format = OutputFormat::NTuple;
        }
    }
    if format == OutputFormat::NTupleScores {
        log.reporter.warning(
            "output_format n-tuple-scores is deprecated: it is n-tuple with output_scores",
        );
        return (OutputFormat::NTuple, true);
    }
    (format, options.output_scores)
}
