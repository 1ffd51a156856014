//! The flags of `mine_hard_negatives`' parameters, generated from the fields of [`MiningOptions`].

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use rankforge::mining::{MiningField, MiningOptions};
use serde_json::{Map, Number, Value};

/// The values of the flags.
#[derive(Clone, Debug, Default)]
pub(crate) struct MiningFlags(pub(crate) MiningOptions);

impl Args for MiningFlags {
    fn augment_args(command: Command) -> Command {
        let command = command.next_help_heading("Mining options");
        let fields = MiningOptions::fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
        fields.into_iter().fold(command, |command, field| command.arg(flag(field, &names)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        MiningFlags::augment_args(command)
    }
}

/// A word of a help text, as a flag when it is the name of another field.
fn with_flag(word: &str, names: &[&str]) -> String {
    let name = word.trim_end_matches([']', ',', '.']);
    match name.contains('_') && names.contains(&name) {
        true => word.replace(name, &format!("--{}", dashed(name))),
        false => word.to_owned(),
    }
}

fn dashed(name: &str) -> String {
    name.replace('_', "-")
}

/// The flag `--field-name` of a field `field_name`.
fn flag(field: MiningField, names: &[&str]) -> Arg {
    let help = field.help.split(' ').map(|word| with_flag(word, names)).collect::<Vec<_>>();
    let arg = Arg::new(field.name).long(dashed(field.name)).help(help.join(" "));
    if field.value_name.is_empty() {
        return arg.action(ArgAction::SetTrue);
    }
    let arg = arg
        .value_name(field.value_name)
        .allow_negative_numbers(true)
        .value_parser(move |text: &str| value(field.name, text));
    match field.default {
        Value::Null => arg,
        Value::String(text) => arg.default_value(text),
        other => arg.default_value(other.to_string()),
    }
}

/// Parses the text of a flag: a string if the field accepts strings, else a number or a boolean.
///
/// # Errors
/// If the field accepts none of them; the message is that of the field's type.
fn value(name: &str, text: &str) -> Result<Value, String> {
    let accepted = |value: &Value| -> Result<(), String> {
        let map: Map<String, Value> = [(name.to_owned(), value.clone())].into_iter().collect();
        let options: Result<MiningOptions, _> = serde_json::from_value(map.into());
        options.map(drop).map_err(|error| error.to_string())
    };
    let string = Value::String(text.to_owned());
    let Err(refused) = accepted(&string) else { return Ok(string) };
    let parsed = number(text).or_else(|| text.parse().ok().map(Value::Bool)).ok_or(refused)?;
    accepted(&parsed)?;
    Ok(parsed)
}

/// A number in any notation that Rust reads, such as `.05` or `+1`.
fn number(text: &str) -> Option<Value> {
    let integer = || text.parse::<i64>().map(Value::from).ok();
    let large = || text.parse::<u64>().map(Value::from).ok();
    let float = || text.parse().ok().and_then(Number::from_f64).map(Value::Number);
    integer().or_else(large).or_else(float)
}

impl FromArgMatches for MiningFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<MiningFlags, clap::Error> {
        let mut map = Map::new();
        for field in MiningOptions::fields() {
            let value = if field.value_name.is_empty() {
                Some(Value::Bool(matches.get_flag(field.name)))
            } else {
                matches.get_one::<Value>(field.name).cloned()
            };
            map.extend(value.map(|value| (field.name.to_owned(), value)));
        }
        serde_json::from_value(map.into())
            .map(MiningFlags)
            .map_err(|error| clap::Error::raw(ErrorKind::ValueValidation, error))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = MiningFlags::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parse(arguments: &[&str]) -> Result<MiningOptions, String> {
        let command = MiningFlags::augment_args(Command::new("mine"));
        let matches = command
            .try_get_matches_from([&["mine"], arguments].concat())
            .map_err(|error| error.to_string())?;
        Ok(MiningFlags::from_arg_matches(&matches).unwrap().0)
    }

    #[test]
    fn without_flags_every_field_has_its_default() {
        assert_eq!(parse(&[]).unwrap(), MiningOptions::default());
    }

    #[test]
    fn flags_of_every_type_set_their_fields() {
        let options = parse(&[
            "--range-min=-1",
            "--absolute-margin",
            "0",
            "--query-prompt",
            "123",
            "--output-format",
            "labeled-pair",
            "--include-positives",
            "--verbose",
            "false",
            "--cache-folder",
            "cache",
            "--seed",
            "18446744073709551615",
        ])
        .unwrap();
        assert_eq!((options.range_min, options.absolute_margin), (-1, Some(0.0)));
        assert_eq!(options.query_prompt.as_deref(), Some("123"));
        assert_eq!(options.output_format.as_str(), "labeled-pair");
        assert!(options.include_positives && !options.verbose);
        assert_eq!(options.cache_folder.as_deref(), Some(Path::new("cache")));
        assert_eq!(options.seed, u64::MAX);
    }

    #[test]
    fn numbers_may_be_written_as_rust_reads_them() {
        for (text, expected) in
            [(".05", 0.05), ("5.", 5.0), ("+0.1", 0.1), ("-1", -1.0), ("+1", 1.0), ("1e-3", 1e-3)]
        {
            let options = parse(&["--relative-margin", text]).unwrap();
            assert_eq!(options.relative_margin, Some(expected), "{text}");
        }
        for text in ["null", "inf", "[1]", ""] {
            let message = parse(&["--range-max", text]).unwrap_err();
            assert!(message.contains("--range-max <N>"), "{message}");
        }
    }

    #[test]
    fn the_error_of_a_wrong_type_names_flag_value_and_type() {
        for (arguments, parts) in [
            (["--num-negatives", "x"], ["'x'", "--num-negatives <N>", "i64"]),
            (["--batch-size", "-3"], ["'-3'", "--batch-size <N>", "usize"]),
            (["--output-format", "pairs"], ["'pairs'", "--output-format <NAME>", "labeled-pair"]),
        ] {
            let message = parse(&arguments).unwrap_err();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }
}
