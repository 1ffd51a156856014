//! What a run leaves in its output directory beside checkpoints, logs and the plot.

use crate::error::Error;
use crate::training::record::{Environment, RunRecord};
use crate::training::run::Run;
use crate::training::setup::Parts;
use rankforge_encoder::TextModel;

impl<M: TextModel> Run<'_, M> {
    /// Where the run is computed.
    fn environment(&self) -> Environment {
        let Parts { arguments, origin, .. } = self.setup.parts;
        let directory = origin.working_directory.clone();
        let device = self.model.model().device();
        Environment::new(device, arguments.precision(), self.first_step, directory)
    }

    /// Warns about what is another than in the run that this one repeats, if it repeats one.
    pub(super) fn compare_with_repeated(&self) {
        let Parts { origin, reporter, .. } = self.setup.parts;
        if let (Some(repeated), None) = (&origin.repeats, &self.last_checkpoint) {
            repeated.compare(&self.definition, &self.environment(), &**reporter);
        }
    }

    /// Writes what the run is made of to its output directory, once: a run that fails in its first
    /// step leaves nothing.
    pub(super) fn write_record(&mut self) -> Result<(), Error> {
        if !std::mem::replace(&mut self.recorded, true) {
            let Parts { arguments, origin, .. } = self.setup.parts;
            let (definition, resumed) = (&self.definition, self.first_step > 0);
            RunRecord::write(
                &arguments.output_dir,
                definition,
                self.environment(),
                origin,
                resumed,
            )?;
        }
        Ok(())
    }
}
