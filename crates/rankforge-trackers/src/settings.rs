use crate::environment::Environment;
use crate::folders::Folders;
use crate::mlflow::MlflowSettings;
use crate::report_to::{ReportTo, Tracker};
use crate::settings_error::SettingsError;
use crate::tensorboard::TensorBoardSettings;
use crate::wandb::WandbSettings;

/// The trackers of a run and how to reach them, from the arguments and the environment.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub(crate) tensorboard: Option<TensorBoardSettings>,
    pub(crate) mlflow: Option<MlflowSettings>,
    pub(crate) wandb: Option<WandbSettings>,
    /// What the user should know of variables that have no effect.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads what the trackers need. Opens nothing.
    ///
    /// # Errors
    /// A variable that lacks or cannot be used.
    pub fn new(
        report_to: &ReportTo,
        environment: &Environment,
        folders: Folders<'_>,
    ) -> Result<Settings, SettingsError> {
        let all = match report_to {
            ReportTo::All => Tracker::ALL.to_vec(),
            ReportTo::Only(trackers) => trackers.clone(),
        };
        let mut settings = Settings::default();
        for tracker in all {
            let warnings = &mut settings.warnings;
            match tracker {
                Tracker::TensorBoard => {
                    settings.tensorboard = Some(TensorBoardSettings::new(environment, folders));
                }
                // Of all trackers, those that can be used.
                Tracker::Mlflow
                    if *report_to == ReportTo::All
                        && environment.get("MLFLOW_TRACKING_URI").is_none() => {}
                Tracker::Mlflow => {
                    let output_dir = folders.output_dir;
                    settings.mlflow = MlflowSettings::new(environment, output_dir, warnings)?;
                }
                Tracker::Wandb => {
                    let output_dir = folders.output_dir;
                    settings.wandb = WandbSettings::new(environment, output_dir, warnings)?;
                }
            }
        }
        Ok(settings)
    }
}
