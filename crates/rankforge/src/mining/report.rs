use crate::mining::log::Log;
use crate::mining::outcome::{Skipped, Statistics, Summary};
use crate::mining::pairs::Pairs;
use crate::mining::rows::Scores;
use crate::mining::search::Dropped;
use crate::mining::settings::Settings;
use crate::words::thousands;

/// The statistics in the printed text.
pub(super) fn summarize(
    pairs: &Pairs<'_>,
    scores: &Scores,
    rows: usize,
    dropped: &Dropped,
    settings: &Settings,
) -> Summary {
    Summary {
        rows,
        range_max: settings.range_max,
        total_queries: pairs.rows,
        unique_queries: pairs.queries.len(),
        average_positives: average_positives(pairs),
        positive: Statistics::of(&scores.positive),
        negative: Statistics::of(&scores.negative),
        difference: Statistics::of(&scores.difference),
        skipped: skipped(pairs, dropped, settings),
        maximum_possible: scores.maximum_possible,
        missing: scores.maximum_possible - rows.min(scores.maximum_possible),
    }
}

/// Average number of rows of a query, repeated ones counted.
pub(super) fn average_positives(pairs: &Pairs<'_>) -> f64 {
    pairs.rows as f64 / pairs.queries.len() as f64
}

/// The filters that dropped candidates. As in sentence-transformers, only the margins reduce the
/// number of candidates that the ratios of later filters refer to.
fn skipped(pairs: &Pairs<'_>, dropped: &Dropped, settings: &Settings) -> Vec<Skipped> {
    let mut candidates = pairs.queries.len() * (settings.range_max + pairs.max_positives);
    let mut skipped = Vec::new();
    for (parameter, value, count, shrinks) in [
        ("absolute_margin", settings.absolute_margin, dropped.absolute_margin, true),
        ("relative_margin", settings.relative_margin, dropped.relative_margin, true),
        ("max_score", settings.max_score, dropped.max_score, false),
        ("min_score", settings.min_score, dropped.min_score, false),
    ] {
        if let Some(value) = value.filter(|_| count > 0) {
            let ratio = count as f64 / candidates as f64;
            skipped.push(Skipped { parameter, value, count, ratio });
            candidates -= if shrinks { count } else { 0 };
        }
    }
    skipped
}

/// Prints the table, the filters and the number of missing rows.
pub(super) fn print(summary: &Summary, settings: &Settings, log: &mut Log<'_>) {
    let row = |log: &mut Log<'_>, cells: [&str; 4]| {
        let [metric, positive, negative, difference] = cells;
        log.say(format!("{metric:<6} {positive:>14} {negative:>14} {difference:>14}"));
    };
    row(log, ["Metric", "Positive", "Negative", "Difference"]);
    let [positive, negative, difference] = [summary.positive, summary.negative, summary.difference];
    row(log, ["Count", &thousands(positive.count), &thousands(negative.count), ""]);
    let each = |of: fn(&Statistics) -> f64| {
        [&positive, &negative, &difference].map(|scores| decimals(of(scores)))
    };
    for (metric, cells) in [
        ("Mean", each(|scores| scores.mean)),
        ("Median", each(|scores| scores.median)),
        ("Std", each(|scores| scores.std)),
        ("Min", each(|scores| scores.min)),
        ("25%", each(|scores| scores.quartile_1)),
        ("50%", each(|scores| scores.quartile_2)),
        ("75%", each(|scores| scores.quartile_3)),
        ("Max", each(|scores| scores.max)),
    ] {
        row(log, [metric, &cells[0], &cells[1], &cells[2]]);
    }
    for skipped in &summary.skipped {
        log.say(format!(
            "Skipped {} potential negatives ({:.2}%) due to the {} of {}.",
            thousands(skipped.count),
            skipped.ratio * 100.0,
            skipped.parameter,
            skipped.value
        ));
    }
    if summary.missing > 0 {
        log.say(missing(summary, settings));
    }
}

fn missing(summary: &Summary, settings: &Settings) -> String {
    let mut parameters = vec!["range_max"];
    for (name, counts) in [
        ("range_min", settings.range_min > 0),
        ("absolute_margin", settings.absolute_margin.is_some()),
        ("relative_margin", settings.relative_margin.is_some()),
        ("max_score", settings.max_score.is_some()),
    ] {
        if counts {
            parameters.push(name);
        }
    }
    let plural = if parameters.len() > 1 { "s" } else { "" };
    let list = match parameters.split_last() {
        Some((last, [_, ..])) => {
            format!("{} and {last}", parameters[..parameters.len() - 1].join(", "))
        }
        _ => parameters[0].to_owned(),
    };
    format!(
        "Could not find enough negatives for {} samples ({:.2}%). Consider adjusting the {list} \
         parameter{plural} if you need more of them.",
        summary.missing,
        summary.missing as f64 / summary.maximum_possible as f64 * 100.0
    )
}

fn decimals(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:.4}") }
}

impl Statistics {
    /// Of these scores.
    pub(super) fn of(scores: &[f32]) -> Statistics {
        let count = scores.len();
        let mut sorted: Vec<f64> = scores.iter().copied().map(f64::from).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mean = sorted.iter().sum::<f64>() / count as f64;
        let squares: f64 = sorted.iter().map(|score| (score - mean).powi(2)).sum();
        let variance = if count < 2 { f64::NAN } else { squares / (count - 1) as f64 };
        let quantile = |share: f64| {
            if sorted.is_empty() {
                return f64::INFINITY;
            }
            let place = share * (count - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Statistics {
            count,
            mean,
            median: sorted.get(count.saturating_sub(1) / 2).copied().unwrap_or(f64::NAN),
            std: variance.sqrt(),
            min: sorted.first().copied().unwrap_or(f64::INFINITY),
            quartile_1: quantile(0.25),
            quartile_2: quantile(0.5),
            quartile_3: quantile(0.75),
            max: sorted.last().copied().unwrap_or(f64::NEG_INFINITY),
        }
    }
}
