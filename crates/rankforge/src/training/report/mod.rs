//! The page about a run, `report.html` in its output directory, and what it is made of.

mod charts;
mod log;
mod page;
mod recorded;
mod sample;

pub(crate) use log::RunLog;
pub(crate) use page::{REPORT, RunPage};
pub(crate) use recorded::{Evaluated, REPORT_DATA, Recorded, SampledScores};
pub(crate) use sample::{ScoredRows, sampled_scores};
