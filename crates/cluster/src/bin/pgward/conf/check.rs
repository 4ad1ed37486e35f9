//! `pgward conf check`.

use serde_json::json;

use super::reading::FileArguments;
use crate::frame::{
    answer::{Answer, tally},
    console::Console,
    diagnostic::{Diagnostic, Severity},
    failure::Failure,
    text::{BAD, GOOD, count, styled},
    version,
};

/// `pgward conf check`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Included files and postgresql.auto.conf are read, too. What only a running server can tell is not \
told: whether a library, a time zone, a locale is there, and whether settings go together.

Examples:
  pgward conf check /etc/postgresql/17/main/postgresql.conf -D /var/lib/postgresql/17/main
  pgward conf check - --pg 13 < postgresql.conf

Exit code 0: nothing was found; 1: something was.")]
pub(super) struct Arguments {
    #[command(flatten)]
    file: FileArguments,
    #[command(flatten)]
    pg: version::VersionArguments,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let reading = arguments.file.read(console, arguments.pg)?;
    let configuration = &reading.configuration;
    let mut findings: Vec<Diagnostic> =
        configuration.problems().map(|problem| reading.problem(&problem)).collect();
    let refused = !findings.is_empty();
    findings.extend(configuration.invalid_values().map(|invalid| reading.invalid(&invalid)));
    let settings = configuration.occurrences().count();
    let version = configuration.version();
    let wrong = findings.iter().any(|finding| finding.severity == Severity::Error);
    let verdict = if refused {
        styled(BAD, format_args!("PostgreSQL {version} refuses the files"))
            + ": it does not start with them, and a reload changes nothing"
    } else if wrong {
        styled(BAD, format_args!("PostgreSQL {version} does not start with the files"))
            + ", and a reload keeps the old values of these settings"
    } else {
        styled(GOOD, format_args!("PostgreSQL {version} takes the files"))
            + &format!(", {}", count(settings, "setting", "settings"))
    };
    let tally = tally(&findings);
    let found = if tally.is_empty() { String::new() } else { format!(" ({tally})") };
    let text = format!("{}: {verdict}{found}\n", reading.input.name);
    let files: Vec<String> = configuration.files().map(|(path, _)| reading.name(path)).collect();
    let result = json!({
        "file": reading.input.name,
        "pg": version,
        "verdict": if refused { "refused" } else if wrong { "invalid-values" } else { "taken" },
        "files": files,
        "settings": settings,
    });
    Ok(Answer::new(text, result).with_findings(findings))
}
