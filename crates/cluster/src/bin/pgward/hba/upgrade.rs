//! `pgward hba upgrade`.

use std::fmt::Write as _;

use hba_parser::{DiskFiles, LineChangeKind, Upgrade};
use pg_version::PgVersion;
use serde_json::{Value, json};

use super::reading::{FileArgument, More, Sources, hba, ident, meaning, path_in};
use crate::frame::{
    answer::Answer,
    console::Console,
    diagnostic::{Diagnostic, Severity},
    failure::Failure,
    text::{BAD, GOOD, styled},
};

/// `pgward hba upgrade`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward hba upgrade pg_hba.conf --from 13 --to 17

Exit code 0: both read the file alike; 1: they do not, or the new one refuses it.")]
pub(super) struct Arguments {
    #[command(flatten)]
    file: FileArgument,
    /// The major version that reads the file now
    #[arg(long, value_name = "MAJOR")]
    from: PgVersion,
    /// The major version that shall read it
    #[arg(long, value_name = "MAJOR", default_value_t = PgVersion::NEWEST)]
    to: PgVersion,
    #[command(flatten)]
    server: More,
}

pub(super) fn run(arguments: &Arguments, _console: &Console) -> Result<Answer, Failure> {
    let (from, to) =
        (arguments.server.server(arguments.from), arguments.server.server(arguments.to));
    let input = arguments.file.input()?;
    let path = path_in(&input);
    let upgrade: Upgrade = if arguments.file.is_ident() {
        ident(&input)?.upgrade_at(&path, &from, &to, &DiskFiles)
    } else {
        hba(&input)?.upgrade_at(&path, &from, &to, &DiskFiles)
    };
    let meaning = meaning(&arguments.file, &input, &to)?;
    let sources = Sources::new(&input, meaning.files());
    let findings: Vec<Diagnostic> = upgrade
        .changes
        .iter()
        .map(|change| {
            let severity = match change.kind {
                LineChangeKind::Refused => Severity::Error,
                LineChangeKind::Accepted => Severity::Notice,
                _ => Severity::Warning,
            };
            let fix = match change.kind {
                LineChangeKind::Refused => "mend the line before the upgrade",
                LineChangeKind::Accepted => "nothing, unless the line is not meant to count",
                _ => "see that it means what it shall, before and after",
            };
            let place = sources.place(change.location);
            Diagnostic::new(severity, change.message.clone()).at(place).fix(fix)
        })
        .collect();
    let loads = |loaded: bool| if loaded { styled(GOOD, "loads") } else { styled(BAD, "refuses") };
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: PostgreSQL {} {} it, {} {} it; {}",
        input.name,
        arguments.from,
        loads(upgrade.before.is_loaded()),
        arguments.to,
        loads(upgrade.after.is_loaded()),
        match findings.len() {
            0 => "both read every line alike".to_owned(),
            1 => "1 line is read otherwise".to_owned(),
            many => format!("{many} lines are read otherwise"),
        }
    );
    let changes: Vec<Value> = upgrade
        .changes
        .iter()
        .map(|change| {
            json!({
                "file": sources.name(change.location.file),
                "line": change.location.line,
                "kind": change.kind,
                "message": change.message,
            })
        })
        .collect();
    let result = json!({
        "file": input.name,
        "from": arguments.from,
        "to": arguments.to,
        "loaded-before": upgrade.before.is_loaded(),
        "loaded-after": upgrade.after.is_loaded(),
        "changes": changes,
    });
    let fine = upgrade.after.is_loaded();
    Ok(Answer::new(text, result).with_findings(findings).fine_if(fine))
}
