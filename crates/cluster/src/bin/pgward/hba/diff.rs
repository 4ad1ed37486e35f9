//! `pgward hba diff`.

use std::{fmt::Write as _, path::PathBuf};

use hba_parser::{Change, Effect};
use serde_json::{Value, json};

use super::reading::{ServerArguments, rules};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::Failure,
    input::Input,
    text::{BAD, GOOD, ODD, plain, styled},
};

/// `pgward hba diff`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Compared is what the rules mean, not how they are written: every user, database, address and kind of \
connection that the two files tell apart is tried.

Examples:
  pgward hba diff pg_hba.conf pg_hba.conf.new --pg 16
  git show HEAD:pg_hba.conf | pgward hba diff - pg_hba.conf

Exit code 0: both mean the same; 1: they do not.")]
pub(super) struct Arguments {
    /// The file before; - is standard input
    before: PathBuf,
    /// The file after; - is standard input
    after: PathBuf,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let server = arguments.server.server(console);
    let (before, after) =
        (Input::read_shown(&arguments.before)?, Input::read_shown(&arguments.after)?);
    let mut both = Vec::new();
    for input in [&before, &after] {
        let (_, rules) = rules(input, &server)?;
        if !rules.verdict().is_loaded() {
            console.warn(&format!(
                "{}: PostgreSQL {} refuses the file; compared are the rules that can be read",
                input.name, server.version
            ));
        }
        both.push(rules);
    }
    let difference = both[0].diff(&both[1]);
    if !difference.complete {
        console.warn("the files have too many names and networks to try all: there may be more");
    }
    let mut text = String::new();
    for change in &difference.changes {
        let (style, word) = match change.effect() {
            Effect::Gains => (ODD, "gains  "),
            Effect::Loses => (BAD, "loses  "),
            Effect::Differs => (GOOD, "differs"),
        };
        let _ = writeln!(text, "{} {}", styled(style, word), plain(&change.to_string()));
    }
    let fine = difference.changes.is_empty() && difference.complete;
    if difference.changes.is_empty() {
        let _ = writeln!(text, "{} and {} mean the same", before.name, after.name);
    }
    let changes: Vec<Value> = difference.changes.iter().map(change_json).collect();
    let result = json!({
        "pg": server.version,
        "before": before.name,
        "after": after.name,
        "complete": difference.complete,
        "changes": changes,
    });
    Ok(Answer::new(text, result).fine_if(fine))
}

fn change_json(change: &Change) -> Value {
    json!({
        "effect": change.effect(),
        "user": change.user,
        "database": change.database,
        "from": change.from,
        "before": change.before.to_string(),
        "after": change.after.to_string(),
    })
}
