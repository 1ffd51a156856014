//! What every command is given: the device, progress, and standard output.

use crate::progress::Progress;
use anyhow::Context;
use rankforge::encoder::LoadOptions;
use rankforge::{Device, Isa, Workers};
use std::io::Write;
use std::sync::Arc;

/// The flags that every command has.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalArgs {
    /// Worker threads [default: one for each core]
    #[arg(long, global = true, display_order = 900, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    /// Print results as JSON, for programs
    #[arg(long, global = true, display_order = 900)]
    json: bool,

    /// Only results, warnings and errors
    #[arg(long, short, global = true, display_order = 901)]
    quiet: bool,
}

/// Device, progress and standard output.
pub(crate) struct Console {
    /// Whether results are printed as JSON.
    pub(crate) json: bool,
    /// Progress, messages and warnings on standard error.
    pub(crate) progress: Arc<Progress>,
    threads: Option<usize>,
}

impl Console {
    /// As the flags say.
    pub(crate) fn new(flags: &GlobalArgs) -> Console {
        Console {
            json: flags.json,
            progress: Arc::new(Progress::new(flags.quiet)),
            threads: flags.threads.map(usize::from),
        }
    }

    /// Opens the CPU, with the instruction set that `RANKFORGE_ISA` names or else the best one.
    ///
    /// # Errors
    /// When `RANKFORGE_ISA` names no instruction set, or one that this machine lacks.
    pub(crate) fn device(&self) -> anyhow::Result<Device> {
        let open = |isa| Device::cpu_on(isa, &Workers::new(self.threads)?);
        match std::env::var("RANKFORGE_ISA") {
            Ok(name) if !name.is_empty() => name.parse().and_then(open).context("RANKFORGE_ISA"),
            _ => open(Isa::best()).context("cannot open the CPU device"),
        }
    }

    /// How models are opened unless flags say otherwise.
    ///
    /// # Errors
    /// As [`Console::device`].
    pub(crate) fn load_options(&self) -> anyhow::Result<LoadOptions> {
        Ok(LoadOptions::new(&self.device()?))
    }

    /// Writes text to standard output.
    ///
    /// # Errors
    /// When it is closed.
    pub(crate) fn print(&self, text: &str) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes a value to standard output as indented JSON.
    ///
    /// # Errors
    /// When it is closed.
    pub(crate) fn print_json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.print(&text)
    }

    /// Writes a result: as JSON when asked for, else as text.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn result(
        &self,
        text: impl FnOnce() -> String,
        json: &impl serde::Serialize,
    ) -> anyhow::Result<()> {
        if self.json { self.print_json(json) } else { self.print(&text()) }
    }
}
