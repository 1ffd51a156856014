//! `rankforge man`: manual pages.

use crate::console::Console;
use clap_mangen::Man;
use rankforge::base::{FileError, write_atomically};
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Print the manual page, or write one for each command
///
/// Without --output, prints the page of rankforge itself. With it, writes rankforge.1,
/// rankforge-train.1 and so on into the directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge man | man -l -
  rankforge man --output ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Directory for the pages of all commands, created if it does not exist
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Runs the command; `command` is the whole command line.
///
/// # Errors
/// If a page cannot be written, or standard output is closed.
pub(crate) fn run(args: &ManArgs, command: clap::Command, console: &Console) -> anyhow::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(directory) = &args.output else {
        let page = page(&command)?;
        return match console.json {
            true => console.print_json(&json!({ "page": page })),
            false => console.print(&page),
        };
    };
    std::fs::create_dir_all(directory).map_err(FileError::io(directory))?;
    let mut paths = Vec::new();
    for command in with_subcommands(&command) {
        let path = directory.join(Man::new(command.clone()).get_filename());
        write_atomically(&path, page(command)?.as_bytes())?;
        paths.push(path.display().to_string());
    }
    let listed = || paths.iter().fold(String::new(), |text, path| text + path + "\n");
    console.result(listed, &json!({ "pages": paths }))
}

/// The command, then all below it.
fn with_subcommands(command: &clap::Command) -> Vec<&clap::Command> {
    let below = command.get_subcommands().flat_map(with_subcommands);
    std::iter::once(command).chain(below).collect()
}

/// The manual page of a command, as roff.
fn page(command: &clap::Command) -> anyhow::Result<String> {
    let man = Man::new(command.clone());
    let mut roff = Vec::new();
    man.render_title(&mut roff)?;
    man.render_name_section(&mut roff)?;
    man.render_synopsis_section(&mut roff)?;
    man.render_description_section(&mut roff)?;
    man.render_options_section(&mut roff)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut roff)?;
    }
    let mut page = String::from_utf8(roff)?;
    if let Some(notes) = command.get_after_help() {
        write_notes(&mut page, &notes.to_string());
    }
    Ok(page)
}

/// Writes the text after the help as a section that keeps its lines: clap_mangen would fill them.
fn write_notes(page: &mut String, notes: &str) {
    let (heading, notes) = match notes.strip_prefix("Examples:\n") {
        Some(examples) => ("EXAMPLES", examples),
        None => ("NOTES", notes),
    };
    let _ = writeln!(page, ".SH {heading}\n.nf");
    for line in notes.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        // `\&` keeps a dot at the start of a line from being a request of roff.
        let _ = writeln!(page, "\\&{line}");
    }
    page.push_str(".fi\n");
}
