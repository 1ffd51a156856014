//! Which trackers `report_to` names, and how they are reached.

use crate::arguments::TrainingArguments;
use crate::error::Error;
use rankforge_base::Reporter;
use rankforge_trackers::{Environment, Folders, Limits, ReportTo, Settings, Tracker};

/// What trackers need beside the arguments of a run.
#[derive(Clone, Debug, Default)]
pub struct Tracking {
    /// Variables of the environment that say where trackers are. The command line fills it; it is
    /// empty otherwise.
    pub environment: Environment,
    /// How much trackers may cost the run.
    pub limits: Limits,
}

/// The trackers of a run, which are not opened yet.
///
/// # Errors
/// A tracker whose variables lack or cannot be used.
pub(super) fn tracker_settings(
    arguments: &TrainingArguments,
    tracking: &Tracking,
    reporter: &dyn Reporter,
) -> Result<Settings, Error> {
    let (report_to, logging_dir) = (&arguments.report_to, arguments.logging_dir.as_deref());
    let folders = Folders { output_dir: &arguments.output_dir, logging_dir };
    let settings = Settings::new(report_to, &tracking.environment, folders)
        .map_err(|error| Error::argument("report_to", error.expected, error.got))?;
    settings.warnings.iter().for_each(|warning| reporter.warning(warning));
    let has_files = match report_to {
        ReportTo::All => true,
        ReportTo::Only(trackers) => trackers.contains(&Tracker::TensorBoard),
    };
    if logging_dir.is_some() && !has_files {
        reporter.warning("logging_dir has no effect: tensorboard is not in report_to");
    }
    Ok(settings)
}
