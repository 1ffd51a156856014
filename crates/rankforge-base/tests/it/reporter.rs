use rankforge_base::{Reporter, Task};
use std::sync::Mutex;

/// Records every call as a line of text.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Reporter for Recorder {
    fn begin(&self, task: &str, total: Option<u64>, unit: &str) {
        self.note(format!("begin {task} {total:?} {unit}"));
    }

    fn advance(&self, amount: u64) {
        self.note(format!("advance {amount}"));
    }

    fn end(&self) {
        self.note("end".to_owned());
    }

    fn message(&self, text: &str) {
        self.note(text.to_owned());
    }

    fn warning(&self, text: &str) {
        self.note(text.to_owned());
    }
}

#[test]
fn a_task_ends_on_an_early_return() {
    let recorder = Recorder::default();
    let work = || -> Result<(), ()> {
        let task = Task::begin(&recorder, "Scoring", 3, "pairs");
        task.advance(2);
        Err(())
    };
    assert!(work().is_err());
    let seen = recorder.0.into_inner().unwrap();
    assert_eq!(seen, ["begin Scoring Some(3) pairs", "advance 2", "end"]);
}
