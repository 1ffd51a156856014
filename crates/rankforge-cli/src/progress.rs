//! Progress on standard error: bars on a terminal, otherwise occasional lines.

use crate::table::thousands;
use crate::terminal::escaped;
use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rankforge::base::Reporter;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Minimum time between two progress lines of a task when standard error is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(15);

/// The [`Reporter`] of the command line.
pub(crate) struct Progress {
    quiet: bool,
    bars: Option<MultiProgress>,
    tasks: Mutex<Vec<Task>>,
}

struct Task {
    name: String,
    unit: String,
    /// What is said besides counts and times, such as the loss of the last step.
    note: String,
    total: Option<u64>,
    done: u64,
    started: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows bars if standard error is a terminal. With `quiet`, prints warnings only.
    pub(crate) fn new(quiet: bool) -> Progress {
        let bars = (!quiet && std::io::stderr().is_terminal())
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Progress { quiet, bars, tasks: Mutex::new(Vec::new()) }
    }

    /// Removes the bars of all unfinished tasks; called after an error.
    pub(crate) fn clear(&self) {
        for task in self.tasks().drain(..) {
            if let Some(bar) = task.bar {
                bar.finish_and_clear();
            }
        }
    }

    /// Ends the innermost task without its final line, for callers that print one of their own.
    pub(crate) fn end_quietly(&self) {
        if let Some(Task { bar: Some(bar), .. }) = self.tasks().pop() {
            bar.finish_and_clear();
        }
    }

    /// Says something about the innermost task beside its count, in place of what was said before.
    pub(crate) fn note(&self, note: &str) {
        if let Some(task) = self.tasks().last_mut() {
            note.clone_into(&mut task.note);
            if let Some(bar) = &task.bar {
                bar.set_prefix(format!("{}, {note}", task.unit));
            }
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<Task>> {
        // After a panic of another thread the tasks are still usable; a second panic here would
        // hide the first.
        self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn line(&self, text: &str) {
        match &self.bars {
            // `MultiProgress::println` prints nothing when no bar is visible.
            Some(bars) => bars.suspend(|| write_line(text)),
            None => write_line(text),
        }
    }

    fn bar(&self, name: &str, total: Option<u64>, unit: &str) -> Option<ProgressBar> {
        let bars = self.bars.as_ref()?;
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{msg} [{bar:24}] {human_pos}/{human_len} {prefix}  {per_sec}  {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{msg} {spinner} {human_pos} {prefix}  {per_sec}"),
        };
        let style = ProgressStyle::with_template(template).expect("the templates are valid");
        let bar = bars.add(bar);
        bar.set_style(style.progress_chars("=> "));
        bar.set_message(name.to_owned());
        bar.set_prefix(unit.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Some(bar)
    }
}

fn write_line(text: &str) {
    // A closed standard error must not stop the command.
    let _ = writeln!(std::io::stderr().lock(), "{}", escaped(text));
}

impl Task {
    /// `name: done/total unit, rate/s, time`, where the time is the estimated rest or, when there
    /// is no estimate, the time since the start.
    fn status(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = self.done as f64 / seconds.max(1e-9);
        let mut text = format!("{}: {}", self.name, thousands(self.done));
        if let Some(total) = self.total {
            text.push_str(&format!("/{}", thousands(total)));
        }
        text.push_str(&format!(" {}, {}/s", self.unit, significant(rate)));
        if !self.note.is_empty() {
            text.push_str(&format!(", {}", self.note));
        }
        match self.total {
            Some(total) if self.done < total && self.done > 0 => {
                let remaining = Duration::from_secs_f64((total - self.done) as f64 / rate);
                text.push_str(&format!(", {:#} left", HumanDuration(remaining)));
            }
            _ => text.push_str(&format!(", {seconds:.1} s")),
        }
        text
    }
}

/// A rate with one decimal below 100, without decimals above.
pub(crate) fn significant(rate: f64) -> String {
    if rate >= 100.0 { thousands(rate as u64) } else { format!("{rate:.1}") }
}

impl Reporter for Progress {
    fn begin(&self, task: &str, total: Option<u64>, unit: &str) {
        let now = Instant::now();
        let bar = self.bar(task, total, unit);
        self.tasks().push(Task {
            name: task.to_owned(),
            unit: unit.to_owned(),
            note: String::new(),
            total,
            done: 0,
            started: now,
            last_line: now,
            bar,
        });
    }

    fn advance(&self, amount: u64) {
        let mut tasks = self.tasks();
        let Some(task) = tasks.last_mut() else { return };
        task.done += amount;
        if let Some(bar) = &task.bar {
            bar.set_position(task.done);
        } else if !self.quiet && task.last_line.elapsed() >= LINE_INTERVAL {
            task.last_line = Instant::now();
            let status = task.status();
            drop(tasks);
            self.line(&status);
        }
    }

    fn end(&self) {
        let Some(task) = self.tasks().pop() else { return };
        if let Some(bar) = &task.bar {
            bar.finish_and_clear();
        }
        // Short tasks would only clutter the log.
        if !self.quiet && task.started.elapsed() >= Duration::from_secs(2) {
            self.line(&task.status());
        }
    }

    fn message(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    fn warning(&self, text: &str) {
        self.line(&format!("warning: {text}"));
    }
}
