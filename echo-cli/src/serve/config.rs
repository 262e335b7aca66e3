//! The configuration file: flags, written down.

use anyhow::{Context, Result, bail};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::path::Path;
use toml::Value;

/// Parses the command line. Where it names a configuration file, the file's keys are read as flags
/// that the command line did not give. Ends the program with a message if either is wrong.
pub(crate) fn parse<C: CommandFactory + FromArgMatches>() -> Result<C> {
    let line: Vec<OsString> = std::env::args_os().collect();
    let matches = command::<C>().get_matches_from(&line);
    let Some(path) = file_of(&matches) else { return Ok(matches_into(&matches)) };
    let (name, given) = matches.subcommand().expect("a file was named to one");
    let mut whole = command::<C>();
    let command = whole.find_subcommand_mut(name).expect("it was just given");
    let flags = read(&path, command, given).with_context(|| format!("{}", path.display()))?;
    let again = whole.try_get_matches_from(line.into_iter().chain(flags));
    match again {
        Ok(matches) => Ok(matches_into(&matches)),
        Err(error) => bail!("{}: {}", path.display(), told(&error)),
    }
}

/// The command line. A number below 0 is a value and no flag, so that it is told what is allowed.
fn command<C: CommandFactory>() -> Command {
    let signed = |arg: Arg| {
        let takes_values = arg.get_action().takes_values();
        arg.allow_negative_numbers(takes_values)
    };
    C::command().mut_subcommands(|command| command.mut_args(signed))
}

fn matches_into<C: FromArgMatches>(matches: &ArgMatches) -> C {
    C::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
}

fn file_of(matches: &ArgMatches) -> Option<std::path::PathBuf> {
    let (_, given) = matches.subcommand()?;
    given.try_get_one::<std::path::PathBuf>("config").ok().flatten().cloned()
}

/// What is wrong, in the words of a file: its keys are no flags.
fn told(error: &clap::Error) -> String {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(flag)) => Some(flag.trim_start_matches('-')),
        _ => None,
    };
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(key) = named(ContextKind::InvalidArg)
    {
        let help = "`--help` names all flags, and they are the keys";
        let near = named(ContextKind::SuggestedArg);
        let remedy = near.map_or(help.to_owned(), |near| format!("did you mean `{near}`?"));
        return format!("there is no key `{key}`; {remedy}");
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// The keys of the file at `path` as flags, without those that were `given` on the command line,
/// by another name perhaps, and those that contradict one that was.
fn read(path: &Path, command: &Command, given: &ArgMatches) -> Result<Vec<OsString>> {
    let text = std::fs::read_to_string(path).context("the file can't be read")?;
    let table: toml::Table = text.parse()?;
    let mut flags = Vec::new();
    for (key, value) in &table {
        let name = key.replace('_', "-");
        let flag = format!("--{name}");
        if name == "config" {
            bail!("a file can't name another with `config`");
        }
        let is_given = |arg: &Arg| {
            let id = arg.get_id().as_str();
            given.value_source(id) == Some(ValueSource::CommandLine)
        };
        let called = |arg: &&Arg| {
            let aliases = arg.get_all_aliases().unwrap_or_default();
            arg.get_long() == Some(&name) || aliases.contains(&name.as_str())
        };
        let excludes = |one: &Arg, other: &Arg| {
            command.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id())
        };
        let Some(arg) = command.get_arguments().find(called) else {
            // Whatever its value: parsing it tells that there is no such key.
            flags.push(flag.into());
            continue;
        };
        let mut others = command.get_arguments().filter(|other| is_given(other));
        if is_given(arg) || others.any(|o| excludes(o, arg) || excludes(arg, o)) {
            continue;
        }
        let is_switch = !arg.get_action().takes_values();
        let items = match value {
            Value::Array(items) => items.as_slice(),
            item => std::slice::from_ref(item),
        };
        for item in items {
            match item {
                Value::Boolean(false) if is_switch => {}
                // Of a flag that takes a value it is told that there is none.
                Value::Boolean(_) => flags.push(flag.clone().into()),
                Value::String(text) => flags.push(format!("{flag}={text}").into()),
                Value::Integer(n) => flags.push(format!("{flag}={n}").into()),
                Value::Float(x) => flags.push(format!("{flag}={x}").into()),
                _ => bail!("`{key}` must be a text, a number, true, false or a list of these"),
            }
        }
    }
    Ok(flags)
}
