//! What every command gets: the device, progress reporting and standard output.

use crate::progress::Progress;
use crate::terminal::{escaped, escaped_json};
use anyhow::Context;
use rankforge::encoder::LoadOptions;
use rankforge::{Device, Isa, Workers};
use std::env::VarError;
use std::io::{IsTerminal, Write};
use std::sync::Arc;

/// The flags that every command has.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Number of threads that compute [default: the number of CPU cores]
    #[arg(
        long,
        global = true,
        display_order = 900,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    threads: Option<u16>,

    /// Print the result as JSON
    #[arg(long, global = true, display_order = 900)]
    json: bool,

    /// Print only the result, warnings and errors, but no progress and no log lines
    #[arg(long, short, global = true, display_order = 901)]
    quiet: bool,
}

/// Opens the device, reports progress and prints results as the global flags say.
pub(crate) struct Console {
    /// Whether results are printed as JSON.
    pub(crate) json: bool,
    /// Writes progress, messages and warnings to standard error.
    pub(crate) progress: Arc<Progress>,
    threads: Option<usize>,
}

impl Console {
    /// A console with the settings of the flags.
    pub(crate) fn new(flags: &GlobalArgs) -> Console {
        Console {
            json: flags.json,
            progress: Arc::new(Progress::new(flags.quiet)),
            threads: flags.threads.map(usize::from),
        }
    }

    /// Opens a CPU device that uses the instruction set named by the environment variable
    /// `RANKFORGE_ISA`, or the best one that the CPU supports if the variable is unset or empty.
    ///
    /// # Errors
    /// If `RANKFORGE_ISA` names an unknown instruction set or one that this CPU lacks, or if the
    /// threads cannot be started.
    pub(crate) fn device(&self) -> anyhow::Result<Device> {
        let open = |isa| Device::cpu_on(isa, &Workers::new(self.threads)?);
        match std::env::var("RANKFORGE_ISA") {
            Err(error @ VarError::NotUnicode(_)) => Err(error).context("RANKFORGE_ISA"),
            Ok(name) if !name.is_empty() => name.parse().and_then(open).context("RANKFORGE_ISA"),
            Ok(_) | Err(VarError::NotPresent) => {
                open(Isa::best()).context("cannot open the CPU device")
            }
        }
    }

    /// The threads of `--threads`.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub(crate) fn workers(&self) -> anyhow::Result<Workers> {
        Ok(Workers::new(self.threads)?)
    }

    /// The default load options, with the device of [`Console::device`] and this console's progress
    /// as the reporter.
    ///
    /// # Errors
    /// The errors of [`Console::device`].
    pub(crate) fn load_options(&self) -> anyhow::Result<LoadOptions> {
        let reporter = self.progress.clone();
        Ok(LoadOptions { reporter, ..LoadOptions::new(&self.device()?) })
    }

    /// Writes text to standard output.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(crate) fn print(&self, text: &str) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes a value to standard output as indented JSON.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(crate) fn print_json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.print_json_text(&text)
    }

    /// Writes JSON text to standard output; to a terminal, without characters that control it.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(crate) fn print_json_text(&self, json: &str) -> anyhow::Result<()> {
        if std::io::stdout().is_terminal() {
            self.print(&escaped_json(json))
        } else {
            self.print(json)
        }
    }

    /// Writes a result to standard output: as JSON with `--json`, else as text.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(crate) fn result(
        &self,
        text: impl FnOnce() -> String,
        json: &impl serde::Serialize,
    ) -> anyhow::Result<()> {
        if self.json { self.print_json(json) } else { self.print(&escaped(&text())) }
    }
}
