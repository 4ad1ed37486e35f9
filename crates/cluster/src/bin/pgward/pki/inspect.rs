//! `pgward pki inspect`.

use std::{fmt::Write as _, path::PathBuf};

use pki::{Certificate, Crl, PrivateKey, Request, Summary, pem};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    material::in_file,
    names::{moment, moment_text, now},
};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::Failure,
    input::Input,
    text::{plain, plain_lines},
};

/// `pgward pki inspect`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward pki inspect server.crt root.crt
  pgward pki inspect server.key          what kind of key it is; nothing of the key itself
  pgward pki inspect --format json *.crt | jq '.result.items[].\"days-left\"'")]
pub(super) struct Arguments {
    /// PEM files (- is standard input)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// As of this moment, such as 2026-01-31 [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<OffsetDateTime>,
}

pub(super) fn run(arguments: &Arguments, _console: &Console) -> Result<Answer, Failure> {
    let time = arguments.at.unwrap_or_else(now);
    let mut text = String::new();
    let mut items = Vec::new();
    for path in &arguments.files {
        let input = Input::read(path)?;
        let blocks = pem::read(input.bytes()).map_err(in_file(&input.name))?;
        if blocks.is_empty() {
            return Err(Failure::user(format!("{}: there is no PEM block in it", input.name))
                .fix("name files with -----BEGIN … lines; DER has to be converted first"));
        }
        for block in &blocks {
            let (words, mut item) = describe(block, &input, time)?;
            let _ = writeln!(text, "{} line {}: {words}", plain(&input.name), block.line);
            item["file"] = json!(input.name);
            item["line"] = json!(block.line);
            items.push(item);
        }
    }
    Ok(Answer::new(text, json!({ "items": items })))
}

fn describe(
    block: &pem::Block,
    input: &Input,
    time: OffsetDateTime,
) -> Result<(String, Value), Failure> {
    let at = format!("{} line {}", input.name, block.line);
    let failed = in_file(&at);
    Ok(match block.kind {
        pem::Kind::Certificate => {
            let summary = Certificate::from_der(block.contents()).map_err(failed)?.summary(time);
            let mut item = summary_json(&summary);
            item["kind"] = json!("certificate");
            (plain_lines(&summary.to_string()), item)
        }
        pem::Kind::Request => {
            let request = Request::from_der(block.contents()).map_err(failed)?;
            let subject = request.subject().to_string();
            let names = request.extensions().subject_alt_names.as_deref().unwrap_or_default();
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let key = request.public_key().kind().to_string();
            let mut words = format!("a request of {}\n  key          {key}\n", plain(&subject));
            if !names.is_empty() {
                let _ = writeln!(words, "  names        {}", plain(&names.join(", ")));
            }
            let item = json!({ "kind": "request", "subject": subject, "names": names, "key": key });
            (words, item)
        }
        pem::Kind::Crl => {
            let crl = Crl::from_der(block.contents()).map_err(failed)?;
            let issuer = crl.issuer().to_string();
            let next = crl.next_update().map(moment_text);
            let words = format!(
                "a revocation list of {}\n  made         {}\n  next due     {}\n  revoked      {}\n",
                plain(&issuer),
                moment_text(crl.this_update()),
                next.as_deref().unwrap_or("never"),
                crl.len()
            );
            let item = json!({
                "kind": "crl",
                "issuer": issuer,
                "this-update": moment_text(crl.this_update()),
                "next-update": next,
                "revoked": crl.len(),
            });
            (words, item)
        }
        pem::Kind::PrivateKey => {
            let key = PrivateKey::from_der(block.contents()).map_err(failed)?;
            let kind = key.public_key().kind().to_string();
            (format!("a private key: {kind}\n"), json!({ "kind": "private-key", "key": kind }))
        }
        pem::Kind::EncryptedPrivateKey => (
            "a private key under a pass phrase\n".to_owned(),
            json!({ "kind": "encrypted-private-key" }),
        ),
        _ => {
            let label = plain(&block.label).into_owned();
            (
                format!("{label}: nothing that is known here\n"),
                json!({ "kind": "other", "label": label }),
            )
        }
    })
}

/// A certificate's summary for programs.
pub(super) fn summary_json(summary: &Summary) -> Value {
    let names: Vec<String> = summary.names.iter().map(ToString::to_string).collect();
    let usages = summary.extended_key_usage.as_ref().map(|usages| {
        let name = |usage: &pki::Oid| usage.name().map_or_else(|| usage.to_string(), str::to_owned);
        usages.iter().map(name).collect::<Vec<String>>()
    });
    json!({
        "subject": summary.subject,
        "issuer": summary.issuer,
        "serial": summary.serial,
        "position": summary.position.to_string(),
        "names": names,
        "key": summary.key,
        "signature": summary.signature,
        "key-usage": summary.key_usage,
        "extended-key-usage": usages,
        "not-before": moment_text(summary.not_before),
        "not-after": moment_text(summary.not_after),
        "days-left": summary.days_left,
        "fingerprint": summary.fingerprint.to_string(),
    })
}
