//! `completions` and `man`: what a shell and `man` read.

use crate::help::COMMANDS;
use crate::support::TestDir;
use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn every_shell_gets_a_script_with_every_command() {
    let dir = TestDir::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = dir.succeed(&["completions", shell]).stdout;
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let words: BTreeSet<&str> = script.split(|letter| !is_part(letter)).collect();
        for name in COMMANDS.iter().filter_map(|command| command.last()) {
            assert!(words.contains(name), "{name} is not in the script for {shell}");
        }
        assert!(script.contains("num-negatives"), "{shell}");
        let json = dir.json(&["completions", shell, "--json"]);
        assert_eq!(json["shell"], shell);
        assert_eq!(json["script"], script);
    }
}

#[test]
fn bash_accepts_its_script() {
    let dir = TestDir::new();
    dir.write("rankforge.bash", &dir.succeed(&["completions", "bash"]).stdout);
    // A machine without bash cannot check it.
    if let Ok(output) = Command::new("bash").arg("-n").arg(dir.path("rankforge.bash")).output() {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn an_unknown_shell_is_refused_with_the_known_ones() {
    let error = TestDir::new().fail(2, &["completions", "tcsh"]);
    assert!(error.contains("bash, elvish, fish, powershell, zsh"), "{error}");
}

#[test]
fn every_command_has_a_manual_page_with_its_examples() {
    let dir = TestDir::new();
    let printed = dir.succeed(&["man", "--output", "pages/man1"]).stdout;
    let mut names = Vec::new();
    for command in COMMANDS {
        let name = format!("{}.1", [&["rankforge"], *command].concat().join("-"));
        let path = format!("pages/man1/{name}");
        assert!(printed.lines().any(|line| line == path), "{path} is not in {printed}");
        let page = dir.read(&path);
        assert!(page.contains(".SH NAME\nrankforge"), "{page}");
        let help = dir.succeed(&[command, &["--help"][..]].concat()).stdout;
        let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
        for flag in flags.filter_map(|line| line.split([' ', '=', '[']).next()) {
            let flag = flag.replace('-', "\\-");
            assert!(page.contains(&format!("\\-\\-{flag}")), "{flag} is not in {path}");
        }
        let has_examples = page.contains(".SH EXAMPLES\n.nf\n\\&  rankforge");
        assert_eq!(has_examples, help.contains("Examples:"), "{page}");
        names.push(name);
    }
    names.sort();
    assert_eq!(dir.list("pages/man1"), names);
}

#[test]
fn the_page_of_the_program_is_printed_and_keeps_its_lines() {
    let dir = TestDir::new();
    let page = dir.succeed(&["man"]).stdout;
    for command in COMMANDS.iter().filter(|command| command.len() == 1) {
        let name = command[0].replace('-', "\\-");
        assert!(page.contains(&format!("rankforge\\-{name}(1)")), "{name} is not in {page}");
    }
    assert!(page.contains("\n.SH NOTES\n.nf\n\\&Workflow:\n\\&  rankforge quickstart"), "{page}");
    assert_eq!(dir.json(&["man", "--json"])["page"], page);
}

#[test]
fn a_manual_page_that_cannot_be_written_is_an_error_that_names_the_path() {
    let dir = TestDir::new();
    dir.write("file", "");
    let error = dir.fail(1, &["man", "--output", "file/man1"]);
    assert!(error.starts_with("error: file/man1: "), "{error}");
}
