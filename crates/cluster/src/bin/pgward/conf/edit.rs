//! `pgward conf set` and `pgward conf unset`.

use std::path::PathBuf;

use pgconf::{
    Activation, Catalogue, Change, ConfFile, Configuration, EditError, InvalidValue, Outcome,
    Unset, Warning,
};
use serde_json::{Value, json};

use super::{
    get::nearest,
    reading::{self, FileArguments},
    secrets,
};
use crate::frame::{
    answer::Answer,
    console::Console,
    edit::{self, Shown},
    failure::Failure,
    secret,
    text::plain,
    version,
};

/// `pgward conf set`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The line that counts gets the value, be it in an included file; where none sets it, the template line \
of postgresql.conf is taken into use. Comments, order and every other line stay. Values that the \
server would refuse are refused. postgresql.auto.conf is never changed: where it has the last word, \
the ALTER SYSTEM to run is told.

Examples:
  pgward conf set /etc/postgresql/17/main/postgresql.conf ssl on
  pgward conf set postgresql.conf work_mem 64MB --pg 16 --dry-run
  pgward conf set postgresql.conf shared_preload_libraries pg_stat_statements --add")]
pub(super) struct SetArguments {
    #[command(flatten)]
    file: FileArguments,
    /// The setting
    name: String,
    /// Its value
    #[arg(
        required_unless_present = "value_file",
        conflicts_with = "value_file",
        allow_hyphen_values = true
    )]
    value: Option<String>,
    /// Read the value from this file (its first line; - is standard input): for one with a password
    #[arg(long, value_name = "FILE")]
    value_file: Option<PathBuf>,
    /// Add the value to the setting's list, unless it is there
    #[arg(long, conflicts_with = "take_out")]
    add: bool,
    /// Take the value out of the setting's list
    #[arg(long)]
    take_out: bool,
    /// Set it in this file of the configuration and in no other
    #[arg(long = "in", value_name = "FILE")]
    in_file: Option<PathBuf>,
    #[command(flatten)]
    pg: version::VersionArguments,
    #[command(flatten)]
    edit: edit::EditArguments,
}

/// `pgward conf unset`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward conf unset /etc/postgresql/17/main/postgresql.conf work_mem --dry-run")]
pub(super) struct UnsetArguments {
    #[command(flatten)]
    file: FileArguments,
    /// The setting
    name: String,
    /// Remove its lines instead of making comments of them
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    pg: version::VersionArguments,
    #[command(flatten)]
    edit: edit::EditArguments,
}

pub(super) fn set(arguments: &SetArguments, console: &Console) -> Result<Answer, Failure> {
    let name = arguments.name.as_str();
    let from_file = match &arguments.value_file {
        Some(path) => Some(secret::from_file(console, path)?),
        None => None,
    };
    let value: &[u8] = match (&arguments.value, &from_file) {
        (_, Some(value)) => value,
        (Some(value), None) => {
            if secrets::is_in(name.as_bytes(), value.as_bytes()) {
                return Err(Failure::user(
                    "the value has a password in it, and arguments can be read by every user of \
                     this machine",
                )
                .fix("write it to a file of mode 0600, and name it with --value-file"));
            }
            value.as_bytes()
        }
        (None, None) => b"",
    };
    let path = &arguments.in_file;
    let path = path.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    change(
        console,
        &arguments.file,
        arguments.pg,
        arguments.edit,
        name,
        from_file.is_some(),
        |configuration| match &path {
            Some(path) => {
                use std::os::unix::ffi::OsStrExt as _;
                configuration.set_in(path.as_os_str().as_bytes(), name, value)
            }
            None if arguments.add => configuration.add_to_list(name, value),
            None if arguments.take_out => configuration.remove_from_list(name, value),
            None => configuration.set(name, value),
        },
    )
}

pub(super) fn unset(arguments: &UnsetArguments, console: &Console) -> Result<Answer, Failure> {
    let name = arguments.name.as_str();
    let how = if arguments.remove { Unset::Remove } else { Unset::CommentOut };
    change(console, &arguments.file, arguments.pg, arguments.edit, name, false, |configuration| {
        configuration.unset(name, how)
    })
}

fn change(
    console: &Console,
    file: &FileArguments,
    pg: version::VersionArguments,
    arguments: edit::EditArguments,
    name: &str,
    from_file: bool,
    edit: impl FnOnce(&mut Configuration) -> Result<Outcome, EditError>,
) -> Result<Answer, Failure> {
    let version = pg.version(console);
    let (mut reading, stored) = reading::open(&file.path, &file.auto, console, version)?;
    let before = reading.configuration.clone();
    let outcome = edit(&mut reading.configuration).map_err(|error| match error {
        EditError::InvalidValue(invalid) if from_file => unshown(&invalid, name),
        error => refused(&error, name, &before),
    })?;
    let after = &reading.configuration;
    let warnings: Vec<String> =
        outcome.warnings.iter().map(|warning| warning_words(warning, name, from_file)).collect();
    for warning in &warnings {
        console.warn(warning);
    }

    let mut diffs = String::new();
    let mut changed = Vec::new();
    for (path, file) in after.edited() {
        let old = before.file(path).map(secrets::masked).unwrap_or_default();
        let secret = (from_file && path == &*outcome.file).then_some(outcome.line);
        let new = secrets::masked_with(file, secret);
        let shown = reading.name(path);
        diffs.push_str(&textfile::diff::unified(&shown, &shown, &old, &new));
        changed.push(shown);
    }
    let is_input = stored.is_none();
    if let Some(other) = changed.iter().find(|file| is_input && **file != reading.input.name) {
        return Err(Failure::user(format!(
            "{name} counts in {other}, which standard input only includes"
        ))
        .fix(format!("name the main file in place of -, or {other}")));
    }
    let mut written = false;
    if let Some(mut stored) = stored
        && !arguments.dry_run
        && !changed.is_empty()
    {
        stored.configuration = reading.configuration.clone();
        stored.save()?;
        written = true;
    }
    let said = said(&outcome, name, &reading.name(&outcome.file), arguments.dry_run);
    if written
        && outcome.effective_value_changed
        && let Some(words) = activation_words(outcome.activation)
    {
        console.note(words);
    }
    let text = is_input.then(|| after.file(after.main_path()).map(ConfFile::to_bytes)).flatten();
    let result = json!({
        "name": Catalogue::new(version).get(name).map_or(name, |setting| setting.name()),
        "pg": version,
        "change": change_word(outcome.change),
        "file": reading.name(&outcome.file),
        "line": outcome.line,
        "effective-value-changed": outcome.effective_value_changed,
        "activation": outcome.activation.map(Activation::as_str),
        "warnings": warnings,
        "changed": !changed.is_empty(),
        "written": written,
        "diff": diffs,
        "text": text.as_deref().map(String::from_utf8_lossy),
    });
    let shown = Shown { diff: &diffs, output: text.as_deref() };
    Ok(arguments.answer(console, shown, &said, result))
}

/// A refused value that came from a file, and may be a password: the server's message and its detail
/// quote it, its hint names what it takes.
fn unshown(invalid: &InvalidValue, name: &str) -> Failure {
    let failure = Failure::user(format!("the server refuses the value for {name}"));
    let words = format!("pgward conf explain {name} tells what it takes");
    let mut failure = failure.fix(invalid.hint().map_or(words, str::to_owned));
    failure.problem.why.push("the value came from a file, and is not shown".to_owned());
    failure
}

/// A warning, with the secrets in what it quotes as stars.
fn warning_words(warning: &Warning, name: &str, from_file: bool) -> String {
    let mut warning = warning.clone();
    match &mut warning {
        Warning::AlterSystemWins { value, .. } | Warning::LaterFileWins { value, .. } => {
            *value = secrets::shown(name.as_bytes(), value).into_bytes();
        }
        Warning::BuildDependentValue(_) if from_file => {
            return format!("only some servers take this value for {name}");
        }
        _ => {}
    }
    warning.to_string()
}

fn refused(error: &EditError, name: &str, configuration: &Configuration) -> Failure {
    let failure = match error {
        EditError::InvalidValue(invalid) => {
            let mut failure = Failure::user(invalid.message());
            failure.problem.why.extend(invalid.detail().map(str::to_owned));
            let words = format!("pgward conf explain {name} tells what it takes");
            return failure.fix(invalid.hint().map_or(words, str::to_owned));
        }
        other => Failure::user(other.to_string()),
    };
    match (error, nearest(name, configuration.version())) {
        (EditError::Name { .. }, Some(near)) => failure.fix(format!("did you mean {near}?")),
        _ => failure,
    }
}

fn said(outcome: &Outcome, name: &str, file: &str, dry_run: bool) -> String {
    let (file, line) = (plain(file), outcome.line);
    let would = if dry_run { "would be " } else { "" };
    match outcome.change {
        Change::None if line == 0 => format!("{file}: no line sets {name}: nothing to do\n"),
        Change::None => format!("{file}: line {line} is so already\n"),
        Change::Replaced => format!("{file}: line {line} {would}changed\n"),
        Change::Uncommented => format!("{file}: line {line} {would}taken into use\n"),
        Change::Added => format!("{file}: line {line} {would}added\n"),
        Change::CommentedOut(count) => {
            let lines = crate::frame::text::count(count, "line", "lines");
            format!("{file}: {lines} {would}commented out, the first is line {line}\n")
        }
        Change::Removed(count) => {
            let lines = crate::frame::text::count(count, "line", "lines");
            format!("{file}: {lines} {would}removed, the first was line {line}\n")
        }
        other => format!("{file}: line {line}: {other:?}\n"),
    }
}

fn change_word(change: Change) -> Value {
    match change {
        Change::None => json!("none"),
        Change::Replaced => json!("replaced"),
        Change::Uncommented => json!("uncommented"),
        Change::Added => json!("added"),
        Change::CommentedOut(_) => json!("commented-out"),
        Change::Removed(_) => json!("removed"),
        other => json!(format!("{other:?}")),
    }
}

fn activation_words(activation: Option<Activation>) -> Option<&'static str> {
    Some(match activation? {
        Activation::Reload => "the server takes it up at its next reload: SELECT pg_reload_conf();",
        Activation::NewSession => {
            "new sessions have it after the next reload: SELECT pg_reload_conf();"
        }
        Activation::Restart => "the server takes it up at its next restart only",
        Activation::Never => return None,
    })
}
