//! Records of the log.

use crate::trainer_state::LogRecord;
use crate::training::position::LossWindow;
use crate::training::run::Run;
use rankforge_encoder::TextModel;
use serde_json::json;

impl<M: TextModel> Run<'_, M> {
    /// Logs the losses since the last record.
    pub(super) fn log(&mut self) {
        let window = std::mem::take(&mut self.position.window);
        let LossWindow { steps, overflowed, loss, .. } = window;
        if steps == 0 {
            return;
        }
        let mut record = LogRecord::new();
        if steps > overflowed {
            let counted = (steps - overflowed) as f64;
            record.insert("loss".to_owned(), json!(loss / counted));
            for (name, mean) in window.component_means() {
                record.insert(name, json!(mean));
            }
        }
        if self.steps_learned() > 0 {
            let last = &self.position.last_step;
            record.insert("grad_norm".to_owned(), json!(last.grad_norm));
            record.insert("learning_rate".to_owned(), json!(last.learning_rate));
        }
        if let Some(scaler) = &self.loss_scaler {
            record.insert("loss_scale".to_owned(), json!(scaler.scale));
            record.insert("skipped_steps".to_owned(), json!(self.position.skipped_steps));
        }
        self.add_record(record);
    }

    /// Number of steps that were not skipped, which the schedule and AdamW count.
    pub(super) fn steps_learned(&self) -> u64 {
        self.state.global_step - self.position.skipped_steps
    }

    pub(super) fn add_record(&mut self, mut record: LogRecord) {
        record.insert("epoch".to_owned(), json!(self.state.epoch));
        record.insert("step".to_owned(), json!(self.state.global_step));
        self.state.log_history.push(record.clone());
        self.callbacks.iter_mut().for_each(|callback| callback.on_log(&self.state, &record));
    }
}
