//! `pgward hba check` and `pgward hba lint`.

use hba_parser::{Server, Verdict};
use serde_json::{Value, json};

use super::reading::{FileArgument, Meaning, ServerArguments, Sources, meaning};
use crate::frame::{
    answer::{Answer, tally},
    console::Console,
    diagnostic::{Diagnostic, Severity},
    failure::Failure,
    input::Input,
    text::{BAD, GOOD, styled},
};

/// `pgward hba check`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward hba check /etc/postgresql/17/main/pg_hba.conf --pg 17
  pgward hba check pg_ident.conf --pg 16 --format json
  ssh db1 cat /var/lib/pgsql/data/pg_hba.conf | pgward hba check - --pg 14

Exit code 0: the server would load the file, without a warning; 1: it would not, or with warnings.")]
pub(super) struct Arguments {
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    server: ServerArguments,
}

/// `pgward hba lint`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward hba lint /etc/postgresql/17/main/pg_hba.conf --pg 17
  pgward hba lint pg_hba.conf --at-least warning --allow HBA003
  pgward explain HBA001

Exit code 0: nothing was found; 1: something was.")]
pub(super) struct LintArguments {
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    server: ServerArguments,
    /// Show only what is at least as bad as this
    #[arg(long, value_enum, default_value_t = Severity::Notice, value_name = "SEVERITY")]
    at_least: Severity,
    /// Do not show findings with this code (may be repeated)
    #[arg(long, value_name = "CODE")]
    allow: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let server = arguments.server.server(console);
    let input = arguments.file.input()?;
    let meaning = meaning(&arguments.file, &input, &server)?;
    let sources = Sources::new(&input, meaning.files());
    let findings: Vec<Diagnostic> =
        meaning.problems().iter().map(|problem| sources.problem(problem)).collect();
    let minded = findings.iter().any(|finding| finding.severity > Severity::Notice);
    let fine = meaning.verdict().is_loaded() && !minded;
    let text = conclusion(&input, &meaning, &server, &findings);
    let result = result(&input, &meaning, &server);
    Ok(Answer::new(text, result)
        .with_findings(findings)
        .exit(crate::frame::failure::Exit::Fine)
        .fine_if(fine))
}

pub(super) fn lint(arguments: &LintArguments, console: &Console) -> Result<Answer, Failure> {
    let server = arguments.server.server(console);
    let input = arguments.file.input()?;
    let meaning = meaning(&arguments.file, &input, &server)?;
    let sources = Sources::new(&input, meaning.files());
    let problems = meaning.problems().iter().map(|problem| sources.problem(problem));
    let lints = meaning.lint();
    let lints = lints.iter().map(|finding| sources.finding(finding));
    let shown = |finding: &Diagnostic| {
        let allowed = |code: &String| Some(code) == finding.code.as_ref();
        finding.severity >= arguments.at_least && !arguments.allow.iter().any(allowed)
    };
    let mut findings: Vec<Diagnostic> = problems.chain(lints).filter(shown).collect();
    findings.sort_by_key(|finding| {
        finding
            .place
            .as_ref()
            .map(|place| (place.file != input.name, place.file.clone(), place.line))
    });
    let text = if findings.is_empty() {
        format!("{}: nothing was found in {}\n", input.name, meaning.count().1)
    } else {
        conclusion(&input, &meaning, &server, &findings)
    };
    let result = result(&input, &meaning, &server);
    Ok(Answer::new(text, result).with_findings(findings).fine_if(meaning.verdict().is_loaded()))
}

/// `pg_hba.conf: PostgreSQL 18 loads it: 7 rules; 1 warning`
fn conclusion(
    input: &Input,
    meaning: &Meaning,
    server: &Server,
    findings: &[Diagnostic],
) -> String {
    let version = server.version;
    let verdict = match meaning.verdict() {
        Verdict::Loaded => {
            styled(GOOD, format_args!("PostgreSQL {version} loads it"))
                + &format!(", {}", meaning.count().1)
        }
        Verdict::Refused => {
            let keeps =
                "a running server keeps the rules that it has, one that starts does not start";
            styled(BAD, format_args!("PostgreSQL {version} refuses the file"))
                + &format!(": {keeps}")
        }
        Verdict::ServerDown(crash) => styled(BAD, format_args!("PostgreSQL {version}: {crash}")),
        // The verdicts of later versions of the library.
        other => format!("PostgreSQL {version}: {other:?}"),
    };
    let tally = tally(findings);
    let found = if tally.is_empty() { String::new() } else { format!(" ({tally})") };
    format!("{}: {verdict}{found}\n", input.name)
}

fn result(input: &Input, meaning: &Meaning, server: &Server) -> Value {
    let verdict = match meaning.verdict() {
        Verdict::Loaded => "loaded",
        Verdict::Refused => "refused",
        _ => "server-down",
    };
    let included: Vec<String> =
        meaning.files().iter().skip(1).map(|file| file.to_string_lossy().into_owned()).collect();
    json!({
        "file": input.name,
        "kind": match meaning { Meaning::Hba(_) => "hba", Meaning::Ident(_) => "ident" },
        "pg": server.version,
        "verdict": verdict,
        "entries": meaning.count().0,
        "included": included,
    })
}
