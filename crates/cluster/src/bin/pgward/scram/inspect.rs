//! `pgward scram inspect`.

use std::fmt::Write as _;

use scram::{DEFAULT_ITERATIONS, Limits, Outcome, predict};
use serde_json::json;

use super::stored::StoredArgument;
use crate::frame::{
    answer::Answer,
    console::Console,
    diagnostic::Diagnostic,
    failure::Failure,
    text::{FAINT, STRONG, styled},
    version,
};

/// `pgward scram inspect`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A server does not say that it could not read a secret: it takes the text for a password in the clear, \
and nobody can log in. This command says what it would do. No key is shown.

Examples:
  pgward scram inspect secret.txt --pg 16

Exit code 0: it is stored as it is, and is a sound SCRAM secret; 1: it is not.")]
pub(super) struct Arguments {
    #[command(flatten)]
    stored: StoredArgument,
    #[command(flatten)]
    pg: version::VersionArguments,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let version = arguments.pg.version(console);
    let text = arguments.stored.read(console)?;
    // As much work as a sane count takes; what is beyond is told, not tried.
    let limits = Limits::new(1..=1_000_000);
    let mut findings = Vec::new();
    let mut lines = String::new();
    let (kind, secret) = match predict(&text, version, &limits) {
        Outcome::Scram(secret) => ("scram", Some(secret)),
        Outcome::Md5 => {
            findings.push(
                Diagnostic::warning("it is an MD5 hash, which is as good as the password itself")
                    .code("SCRAM001")
                    .why("md5 passwords are deprecated since PostgreSQL 18")
                    .fix("set the password again with password_encryption = 'scram-sha-256'"),
            );
            ("md5", None)
        }
        Outcome::ClearText(reason) => {
            findings.push(
                Diagnostic::error("a server takes it for a password in the clear")
                    .code("SCRAM002")
                    .why(reason.to_string())
                    .fix("make the secret anew with pgward scram secret"),
            );
            ("clear-text", None)
        }
        Outcome::Cleared => {
            findings.push(
                Diagnostic::error("a server clears the role's password")
                    .code("SCRAM003")
                    .why("the text is empty, or the secret of an empty password")
                    .fix("make the secret of a password that is not empty"),
            );
            ("cleared", None)
        }
        Outcome::TooLong { len } => {
            findings.push(
                Diagnostic::error(format!(
                    "PostgreSQL {version} refuses it: it has {len} bytes, {} are allowed",
                    scram::MAX_ENCRYPTED_PASSWORD_LEN
                ))
                .code("SCRAM004")
                .fix("make the secret anew, with a shorter salt"),
            );
            ("too-long", None)
        }
        other => return Err(Failure::failed(format!("{other:?}"))),
    };
    if let Some(secret) = &secret {
        let _ = writeln!(lines, "{}", styled(STRONG, "a SCRAM-SHA-256 secret, stored as it is"));
        let mut line = |what: &str, is: String| {
            let _ = writeln!(lines, "  {}  {is}", styled(FAINT, format_args!("{what:<10}")));
        };
        line("iterations", secret.iterations().to_string());
        line("salt", format!("{} bytes", secret.salt().len()));
        if secret.iterations() < DEFAULT_ITERATIONS.cast_signed() {
            findings.push(
                Diagnostic::warning(format!(
                    "{} iterations make passwords cheap to guess",
                    secret.iterations()
                ))
                .code("SCRAM005")
                .fix(format!("make the secret anew with {DEFAULT_ITERATIONS} or more")),
            );
        }
        if secret.salt().len() < 8 {
            findings.push(
                Diagnostic::warning(format!(
                    "a salt of {} bytes is too short",
                    secret.salt().len()
                ))
                .code("SCRAM006")
                .fix("make the secret anew: pgward scram secret takes 16 random bytes"),
            );
        }
    }
    let result = json!({
        "pg": version,
        "kind": kind,
        "iterations": secret.as_ref().map(scram::Secret::iterations),
        "salt-bytes": secret.as_ref().map(|secret| secret.salt().len()),
    });
    Ok(Answer::new(lines, result).with_findings(findings))
}
