//! Records of the log.

use crate::trainer_state::LogRecord;
use crate::training::log_file::{position_first, unix_seconds};
use crate::training::position::LossWindow;
use crate::training::run::Run;
use rankforge_base::ProcessMemory;
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
        let measured = self.measure();
        self.add_record_with(record, measured);
    }

    /// Rates since the last record of losses, and memory: what the log file has beside the log.
    fn measure(&mut self) -> LogRecord {
        let seconds = self.begun.elapsed().as_secs_f64() - self.timing.evaluation;
        let (then, before) = std::mem::replace(&mut self.logged, (self.seen, seconds));
        let rate = |now: u64, then: u64| json!((now - then) as f64 / (seconds - before));
        let mut measured = LogRecord::new();
        measured.insert("samples_per_second".to_owned(), rate(self.seen.rows, then.rows));
        measured.insert("tokens_per_second".to_owned(), rate(self.seen.tokens, then.tokens));
        if let Some(memory) = ProcessMemory::read() {
            measured.insert("memory_bytes".to_owned(), json!(memory.now));
            measured.insert("peak_memory_bytes".to_owned(), json!(memory.peak));
        }
        measured
    }

    /// Number of steps that were not skipped, which the schedule and AdamW count.
    pub(super) fn steps_learned(&self) -> u64 {
        self.state.global_step - self.position.skipped_steps
    }

    pub(super) fn add_record(&mut self, record: LogRecord) {
        self.add_record_with(record, LogRecord::new());
    }

    /// Adds a record to the log, and to the log file with what was measured.
    fn add_record_with(&mut self, mut record: LogRecord, measured: LogRecord) {
        record.insert("epoch".to_owned(), json!(self.state.epoch));
        record.insert("step".to_owned(), json!(self.state.global_step));
        let mut line = position_first(&record);
        line.insert("time".to_owned(), json!(unix_seconds()));
        line.extend(measured);
        if let Err(error) = self.log_file.write(&line, &self.state.log_history) {
            let text = format!("{error}; the run goes on without its log file");
            self.setup.parts.reporter.warning(&text);
        }
        if let Some(trackers) = &mut self.trackers {
            trackers.log(&line);
        }
        self.state.log_history.push(record.clone());
        self.callbacks.iter_mut().for_each(|callback| callback.on_log(&self.state, &record));
    }
}
