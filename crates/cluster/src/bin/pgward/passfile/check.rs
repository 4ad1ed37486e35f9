//! `pgward passfile check`.

use passfile::{Lint, Severity as Badness};
use serde_json::json;

use super::place::PlaceArguments;
use crate::frame::{
    answer::{Answer, tally},
    console::Console,
    diagnostic::{Diagnostic, Place, Severity},
    failure::Failure,
    text::{GOOD, count, styled},
};

/// `pgward passfile check`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward passfile check
  pgward passfile check /var/lib/postgresql/.pgpass --pg 15 --format json

No line is shown: each may hold a password. Exit code 0: nothing was found; 1: something was.")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let libpq = arguments.place.libpq(console);
    let read = arguments.place.read(console, &libpq)?;
    let findings: Vec<Diagnostic> = read
        .file
        .lint(&libpq, read.status)
        .into_iter()
        .map(|finding| {
            let severity = match finding.lint.severity() {
                Badness::Warning => Severity::Warning,
                Badness::Error => Severity::Error,
            };
            let (message, fix) = words(&finding.lint, &read.name);
            let mut diagnostic = Diagnostic::new(severity, message)
                .at(Place::hidden(read.name.clone(), finding.line.unwrap_or(1)));
            diagnostic.code = code(&finding.lint).map(str::to_owned);
            diagnostic.fix = fix;
            diagnostic
        })
        .collect();
    let entries = read.file.entries(&libpq).count();
    let entries_words = count(entries, "entry", "entries");
    let text = if findings.is_empty() {
        format!("{}: {}, {entries_words}\n", read.name, styled(GOOD, "nothing was found"))
    } else {
        format!("{}: {} in {entries_words}\n", read.name, tally(&findings))
    };
    let result = json!({
        "file": read.name,
        "pg": libpq.version(),
        "entries": entries,
        "mode": read.status.map(|status| format!("{:04o}", status.mode)),
    });
    Ok(Answer::new(text, result).with_findings(findings))
}

/// What is wrong, and what to do: the library says both in one sentence.
fn words(lint: &Lint, name: &str) -> (String, Option<String>) {
    let text = lint.to_string();
    match lint {
        Lint::Permissions(_) => return (text, Some(format!("chmod 600 {name}"))),
        // What follows from it, and nothing to do.
        Lint::EmptyPassword => return (text, None),
        _ => {}
    }
    match text.rsplit_once("; ").or_else(|| text.rsplit_once(": ")) {
        Some((what, fix)) => (what.to_owned(), Some(fix.to_owned())),
        None => (text, None),
    }
}

/// What `pgward explain` knows a finding by.
fn code(lint: &Lint) -> Option<&'static str> {
    Some(match lint {
        Lint::Permissions(_) => "PASS001",
        Lint::TooFewFields => "PASS002",
        Lint::TrailingComment => "PASS003",
        Lint::IndentedComment => "PASS004",
        Lint::Unreachable { .. } => "PASS005",
        Lint::EmptyField(_) => "PASS006",
        Lint::EmptyPassword => "PASS007",
        Lint::ExtraFields => "PASS008",
        Lint::Blanks(_) => "PASS009",
        Lint::Quotes(_) => "PASS010",
        Lint::LiteralStar(_) => "PASS011",
        Lint::HostList => "PASS012",
        Lint::SocketFolder => "PASS013",
        Lint::AnyHost => "PASS014",
        Lint::CarriageReturn => "PASS015",
        Lint::ByteOrderMark => "PASS016",
        Lint::Nul => "PASS017",
        Lint::LostLine => "PASS018",
        _ => return None,
    })
}
