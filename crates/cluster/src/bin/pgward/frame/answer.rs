//! What a command has to say: for people, or as JSON.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

use super::{
    console::Console,
    diagnostic::{self, Diagnostic, Severity},
    failure::{Exit, Failure},
};

/// The version of the JSON that commands print. It is raised when a program that reads it would have
/// to be changed; keys that are added do not raise it.
const SCHEMA_VERSION: u32 = 2;

/// The answer of a command.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What was found to be wrong: part of the answer.
    pub(crate) findings: Vec<Diagnostic>,
    /// For people, after the findings.
    text: Text,
    /// For programs.
    result: Value,
    exit: Exit,
}

#[derive(Debug)]
enum Text {
    /// May have styles.
    Styled(String),
    /// A file's bytes, printed as they are.
    Bytes(Vec<u8>),
}

impl Answer {
    /// An answer that is fine.
    pub(crate) fn new(text: impl Into<String>, result: impl Serialize) -> Self {
        Self {
            findings: Vec::new(),
            text: Text::Styled(text.into()),
            // Plain data: there is nothing in it that JSON has no form for.
            result: serde_json::to_value(result).unwrap_or(Value::Null),
            exit: Exit::Fine,
        }
    }

    /// An answer that is a file.
    pub(crate) fn file(bytes: impl Into<Vec<u8>>, result: impl Serialize) -> Self {
        Self { text: Text::Bytes(bytes.into()), ..Self::new("", result) }
    }

    /// With something found: exit code 1 if there is anything.
    pub(crate) fn with_findings(mut self, findings: Vec<Diagnostic>) -> Self {
        if !findings.is_empty() {
            self.exit = Exit::Findings;
        }
        self.findings = findings;
        self
    }

    /// With this exit code, whatever was found.
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Exit code 1 unless `fine`.
    pub(crate) fn fine_if(self, fine: bool) -> Self {
        if fine { self } else { self.exit(Exit::Findings) }
    }
}

/// Prints what a command has to say, and tells how the program ends.
pub(crate) fn deliver(
    console: &Console,
    command: &str,
    outcome: Result<Answer, Failure>,
) -> ExitCode {
    let (printed, exit) = match outcome {
        Ok(answer) => (print_answer(console, command, &answer), answer.exit),
        Err(failure) => {
            let Failure { exit, problem } = failure;
            if console.is_json() {
                let envelope = envelope(command, exit, &[], Some(&problem), Value::Null);
                (console.print_bytes(envelope.as_bytes()), exit)
            } else {
                console.show("error", &problem.render());
                (Ok(()), exit)
            }
        }
    };
    match printed {
        Ok(()) => exit.into(),
        Err(failure) => {
            console.show("error", &failure.problem.render());
            failure.exit.into()
        }
    }
}

fn print_answer(console: &Console, command: &str, answer: &Answer) -> Result<(), Failure> {
    if console.is_json() {
        let envelope =
            envelope(command, answer.exit, &answer.findings, None, answer.result.clone());
        return console.print_bytes(envelope.as_bytes());
    }
    let mut out = diagnostic::render_all(&answer.findings);
    match &answer.text {
        Text::Styled(text) => {
            if !out.is_empty() && !text.is_empty() {
                out.push('\n');
            }
            out.push_str(text);
            console.print(&out)
        }
        Text::Bytes(bytes) => {
            if !out.is_empty() {
                console.print(&out)?;
            }
            console.print_bytes(bytes)
        }
    }
}

/// An answer as JSON, for a command that prints it by itself.
#[cfg(feature = "demo")]
pub(crate) fn as_json(command: &str, exit: Exit, result: impl Serialize) -> String {
    envelope(command, exit, &[], None, serde_json::to_value(result).unwrap_or(Value::Null))
}

/// The object that every command prints: see `schemas/envelope.json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope<'a> {
    /// The program's version.
    pgward: &'static str,
    /// Which schema `result` has: the command's name.
    schema: String,
    schema_version: u32,
    outcome: &'static str,
    error: Option<&'a Diagnostic>,
    findings: &'a [Diagnostic],
    result: Value,
}

fn envelope(
    command: &str,
    exit: Exit,
    findings: &[Diagnostic],
    error: Option<&Diagnostic>,
    result: Value,
) -> String {
    let outcome = match exit {
        Exit::Fine => "fine",
        Exit::Findings => "findings",
        Exit::Failed => "failed",
    };
    let envelope = Envelope {
        pgward: env!("CARGO_PKG_VERSION"),
        schema: command.replace(' ', "-"),
        schema_version: SCHEMA_VERSION,
        outcome: if error.is_some() && exit == Exit::Findings { "error" } else { outcome },
        error,
        findings,
        result,
    };
    serde_json::to_string_pretty(&envelope).unwrap_or_default() + "\n"
}

/// `2 errors, 1 warning`; empty where there is nothing.
pub(crate) fn tally(findings: &[Diagnostic]) -> String {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let parts = [
        (of(Severity::Error), "error", "errors"),
        (of(Severity::Warning), "warning", "warnings"),
        (of(Severity::Notice), "notice", "notices"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|part| part.0 > 0)
        .map(|(number, one, many)| super::text::count(number, one, many))
        .collect();
    parts.join(", ")
}
