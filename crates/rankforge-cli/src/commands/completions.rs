//! `rankforge completions`: a script with which a shell completes the command line.

use crate::console::Console;
use clap_complete::Shell;
use serde_json::json;

/// Print a script with which a shell completes commands and options
///
/// The script goes where the shell looks for completions; the examples name the usual places.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge completions bash > ~/.local/share/bash-completion/completions/rankforge
  rankforge completions zsh > \"${fpath[1]}/_rankforge\"
  rankforge completions fish > ~/.config/fish/completions/rankforge.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell that reads the script
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Runs the command; `command` is the whole command line.
///
/// # Errors
/// If standard output is closed.
pub(crate) fn run(
    args: &CompletionsArgs,
    mut command: clap::Command,
    console: &Console,
) -> anyhow::Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    let script = String::from_utf8(script)?;
    if console.json {
        console.print_json(&json!({ "shell": args.shell.to_string(), "script": script }))
    } else {
        console.print(&script)
    }
}
