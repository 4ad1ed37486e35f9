//! `pgward hba add` and `pgward hba remove`.

use std::{fmt::Write as _, path::PathBuf};

use hba_parser::{EditError, HbaDocument, HbaEdit, NewRule, Rules, Server};
use serde_json::json;

use super::{
    reading::{ServerArguments, rules},
    rule, secrets,
};
use crate::frame::{
    answer::Answer,
    console::Console,
    edit::{self, Shown},
    failure::Failure,
    input::Input,
    secret,
    text::{lossy, plain},
};

/// `pgward hba add`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Unless a place is named, the rule goes where it takes effect: before the first rule that would decide \
about any connection that it is for. Only its line changes; columns and line ends are those of its \
neighbours. A rule that is there already, in effect, is not added again.

Examples:
  pgward hba add pg_hba.conf 'hostssl app web 10.1.0.0/16 cert' --pg 16
  pgward hba add pg_hba.conf 'local all postgres peer' --first --dry-run
  pgward hba add pg_hba.conf --rule-file rule.txt      for a rule with a secret in it")]
pub(super) struct AddArguments {
    /// The file; - is standard input, and the new file goes to standard output
    file: PathBuf,
    /// The rule as it stands in a file
    #[arg(required_unless_present = "rule_file", conflicts_with = "rule_file")]
    rule: Option<String>,
    /// Read the rule from this file (- is standard input)
    #[arg(long, value_name = "FILE")]
    rule_file: Option<PathBuf>,
    /// A comment at the end of its line
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    #[command(flatten)]
    place: PlaceArguments,
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    edit: edit::EditArguments,
}

#[derive(Clone, Copy, Debug, clap::Args)]
#[group(multiple = false)]
struct PlaceArguments {
    /// Before every other rule
    #[arg(long)]
    first: bool,
    /// At the end
    #[arg(long)]
    last: bool,
    /// Before the line with this number
    #[arg(long, value_name = "LINE")]
    before: Option<u32>,
    /// After the line with this number
    #[arg(long, value_name = "LINE")]
    after: Option<u32>,
}

/// `pgward hba remove`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward hba remove pg_hba.conf --line 7 --line 9
  pgward hba remove pg_hba.conf --rule 'host all all 0.0.0.0/0 trust' --comment-out")]
pub(super) struct RemoveArguments {
    /// The file; - is standard input, and the new file goes to standard output
    file: PathBuf,
    /// The line with this number (may be repeated)
    #[arg(long, value_name = "LINE", required_unless_present = "rule")]
    line: Vec<u32>,
    /// Every rule that says this, however it is written (may be repeated)
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Make comments of the lines instead
    #[arg(long)]
    comment_out: bool,
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    edit: edit::EditArguments,
}

pub(super) fn add(arguments: &AddArguments, console: &Console) -> Result<Answer, Failure> {
    let server = arguments.server.server(console);
    let mut new = match (&arguments.rule, &arguments.rule_file) {
        (Some(text), _) => {
            refuse_secret(text)?;
            rule::read(text.as_bytes(), "the rule", &server)?
        }
        (None, Some(path)) => {
            let text = secret::from_file(console, path)?;
            rule::read(&text, &path.display().to_string(), &server)?
        }
        (None, None) => return Err(Failure::user("no rule was given")),
    };
    if let Some(comment) = &arguments.comment {
        new = new.comment(comment);
    }
    let input = Input::read_shown(&arguments.file)?;
    let (document, rules) = rules(&input, &server)?;
    warn_if_refused(console, &input, &rules);
    let PlaceArguments { first, last, before, after } = arguments.place;
    let named = first || last || before.is_some() || after.is_some();
    let mut edited = document.clone();
    if named || !in_effect(&document, &rules, &new, &server)? {
        let edit = edited.edit(&server);
        let edit = match (first, last, before, after) {
            (true, ..) => edit.insert_first(&new),
            (_, true, ..) => edit.append(&new),
            (_, _, Some(line), _) => edit.insert_before(line, &new),
            (.., Some(line)) => edit.insert_after(line, &new),
            _ => edit.insert_effective_among(&new, &rules),
        };
        edit.and_then(HbaEdit::apply).map_err(|error| refused(&input, &error))?;
    }
    let line = first_difference(&document.to_bytes(), &edited.to_bytes());
    let said = match line {
        None => format!("{}: the rule is there already, and in effect\n", input.name),
        Some(line) => {
            let to = if arguments.edit.dry_run { "would become" } else { "is" };
            format!("{}: the rule {to} line {line}\n", input.name)
        }
    };
    finish(arguments.edit, console, &input, &edited, &said, json!({ "line": line }))
}

/// Whether the file has the rule where a new one would not come before it.
fn in_effect(
    document: &HbaDocument,
    rules: &Rules,
    new: &NewRule,
    server: &Server,
) -> Result<bool, Failure> {
    let Some(there) = rules.iter().find(|rule| new.is_read_as(rule)) else { return Ok(false) };
    let mut tried = document.clone();
    let placed = tried.edit(server).insert_effective_among(new, rules).and_then(HbaEdit::apply);
    placed.map_err(|error| Failure::user(error.to_string()))?;
    let line = first_difference(&document.to_bytes(), &tried.to_bytes());
    let there = usize::try_from(there.line()).unwrap_or(usize::MAX);
    Ok(line.is_some_and(|line| line >= there))
}

pub(super) fn remove(arguments: &RemoveArguments, console: &Console) -> Result<Answer, Failure> {
    let server = arguments.server.server(console);
    let input = Input::read_shown(&arguments.file)?;
    let (document, rules) = rules(&input, &server)?;
    let mut lines = arguments.line.clone();
    for text in &arguments.rule {
        refuse_secret(text)?;
        let meant = rule::read(text.as_bytes(), "the rule", &server)?;
        let same: Vec<_> = rules.iter().filter(|rule| meant.is_read_as(rule)).collect();
        if same.is_empty() {
            return Err(Failure::user(format!("{}: no rule says \"{}\"", input.name, plain(text)))
                .fix("see pgward hba check, or name the line with --line"));
        }
        for rule in same {
            if rule.file() == hba_parser::FileId::MAIN {
                lines.push(rule.line());
            } else {
                console.warn(&format!(
                    "{} line {} says it, too: that file is not changed",
                    rules.path(rule.file()),
                    rule.line()
                ));
            }
        }
    }
    lines.sort_unstable();
    lines.dedup();
    if lines.is_empty() {
        return Err(Failure::user(format!("{}: no rule of this file says that", input.name))
            .fix("change the file that is named above"));
    }
    let mut edited = document.clone();
    let edit = lines.iter().try_fold(edited.edit(&server), |edit, line| {
        if arguments.comment_out { edit.comment_out(*line) } else { edit.remove(*line) }
    });
    edit.and_then(HbaEdit::apply).map_err(|error| refused(&input, &error))?;
    let mut said = String::new();
    let what = if arguments.comment_out { "commented out" } else { "removed" };
    let what = if arguments.edit.dry_run { format!("would be {what}") } else { what.to_owned() };
    for line in &lines {
        let text = document.line(*line, server.version).map(|line| secrets::masked(line.bytes()));
        let text = lossy(text.unwrap_or_default().trim_ascii_end());
        let _ = writeln!(said, "{}: line {line} {what}: {text}", plain(&input.name));
    }
    finish(arguments.edit, console, &input, &edited, &said, json!({ "lines": lines }))
}

fn finish(
    arguments: edit::EditArguments,
    console: &Console,
    input: &Input,
    edited: &HbaDocument,
    said: &str,
    mut result: serde_json::Value,
) -> Result<Answer, Failure> {
    let new = edited.to_bytes();
    let (before, after) = (secrets::masked(input.bytes()), secrets::masked(&new));
    let edited = arguments.write(input, &new, (&before, &after))?;
    if edited.written {
        console.note("the server takes it up at its next reload: SELECT pg_reload_conf();");
    }
    if let Some(object) = result.as_object_mut()
        && let Ok(serde_json::Value::Object(edited)) = serde_json::to_value(&edited)
    {
        object.extend(edited);
    }
    let output = edited.text.is_some().then_some(&*new);
    Ok(arguments.answer(console, Shown { diff: &edited.diff, output }, said, result))
}

fn refuse_secret(rule: &str) -> Result<(), Failure> {
    if secrets::is_in(rule.as_bytes()) {
        return Err(Failure::user(
            "the rule has a secret in it, and arguments can be read by every user of this machine",
        )
        .fix("write the rule to a file of mode 0600, and name it with --rule-file"));
    }
    Ok(())
}

fn warn_if_refused(console: &Console, input: &Input, rules: &Rules) {
    if !rules.verdict().is_loaded() && !rules.is_empty() {
        console.warn(&format!(
            "PostgreSQL {} refuses the file as it is: see pgward hba check {}",
            rules.server().version,
            input.name
        ));
    }
}

fn refused(input: &Input, error: &EditError) -> Failure {
    let failure = Failure::user(format!("{}: {error}", input.name));
    match error {
        EditError::NoSuchLine { .. } | EditError::NotARule { .. } => failure
            .fix("see the file's line numbers: lines that a backslash continues count as one"),
        _ => failure,
    }
}

/// The first line, from 1, in which two files differ.
fn first_difference(before: &[u8], after: &[u8]) -> Option<usize> {
    if before == after {
        return None;
    }
    let lines =
        |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let same = before.iter().zip(&after).take_while(|(before, after)| before == after).count();
    Some(same + 1)
}
