//! `pgward pki check`.

use std::path::PathBuf;

use pg_version::PgVersion;
use pki::{
    Check, Deployment, Finding, HostRules, KeyReader, Purpose, Reason, Rejection, Verifier,
    judge_key_file,
};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    inspect::summary_json,
    material::{PassPhraseArgument, certificates, crls, key},
    names::{moment, now},
};
use crate::frame::{
    answer::{Answer, tally},
    console::Console,
    diagnostic::Diagnostic,
    failure::Failure,
    text::{GOOD, plain, styled},
};

/// `pgward pki check`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asked are OpenSSL 3.0 (servers and libpq of today), OpenSSL 1.1.1 (those of 12 to 14), and for a \
server's certificate rustls, which PGD's Connection Manager uses; each with its own rules.

Examples:
  pgward pki check server.crt --trust root.crt --key server.key --host node-1 --host 10.0.0.1
  pgward pki check repl.crt --trust root.crt --client --warn-days 60
  pgward pki check server.crt --trust root.crt --format json    for a timer that watches expiry

Exit code 0: nothing was found; 1: something was.")]
pub(super) struct Arguments {
    /// The certificate, with its intermediates (- is standard input)
    #[arg(value_name = "FILE")]
    certificate: PathBuf,
    /// What the other end trusts: the root
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// The certificate's key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    pass_phrase: PassPhraseArgument,
    /// It is a client's certificate [default: a server's]
    #[arg(long, conflicts_with = "host")]
    client: bool,
    /// A host name or address that clients connect to under sslmode=verify-full (may be repeated)
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// The major version of the clients' libpq for --host [default: all, 12 to 18]
    #[arg(long, value_name = "MAJOR")]
    pg: Option<PgVersion>,
    /// Revocation lists (may be repeated)
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// The authority that issues now: a certificate of another one is a finding
    #[arg(long, value_name = "FILE")]
    current_ca: Option<PathBuf>,
    /// Warn of certificates that end within so many days
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    warn_days: u32,
    /// As of this moment, such as 2026-01-31 [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<OffsetDateTime>,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let time = arguments.at.unwrap_or_else(now);
    let chain = certificates(&arguments.certificate)?;
    let trust = certificates(&arguments.trust)?;
    let key = match &arguments.key {
        Some(path) => Some((path, key(path, &arguments.pass_phrase, console)?)),
        None => None,
    };
    let current = match &arguments.current_ca {
        Some(path) => certificates(path)?.into_iter().next(),
        None => None,
    };
    let mut lists = Vec::new();
    for path in &arguments.crl {
        lists.extend(crls(path)?);
    }
    let purpose = if arguments.client { Purpose::Client } else { Purpose::Server };
    let mut verifiers = vec![Verifier::OPENSSL_3_0, Verifier::OPENSSL_1_1_1];
    if purpose == Purpose::Server {
        verifiers.push(Verifier::WebPki);
    }
    let deployment = Deployment {
        chain: &chain,
        key: key.as_ref().map(|(_, key)| key),
        trust: &trust,
        purpose,
        current_authority: current.as_ref(),
    };
    let mut findings = Findings::default();
    for finding in deployment.findings(time, &verifiers, arguments.warn_days) {
        findings.add(&finding);
    }
    if !lists.is_empty() {
        let check = Check::new(&chain, &trust, purpose, time).crls(&lists);
        if let Err(rejection) = check.run() {
            findings.refused("OpenSSL 3.0, with the revocation lists", &rejection);
        }
    }
    if let Some(leaf) = chain.first() {
        for host in &arguments.host {
            findings.judge_host(leaf, host, arguments.pg);
        }
    }
    if let Some((path, _)) = &key {
        findings.judge_key_file(path);
    }
    let name = arguments.certificate.display().to_string();
    let findings = findings.found;
    let summaries: Vec<Value> =
        chain.iter().map(|part| summary_json(&part.summary(time))).collect();
    let days = chain.iter().chain(&trust).map(|part| part.validity().days_left(time)).min();
    let text = if findings.is_empty() {
        let subject = chain.first().map(|leaf| leaf.subject().to_string()).unwrap_or_default();
        format!(
            "{name}: {} as {}, {} days left\n",
            styled(GOOD, format_args!("{} is accepted", plain(&subject))),
            if arguments.client { "a client" } else { "a server" },
            days.unwrap_or_default()
        )
    } else {
        format!("{name}: {}\n", tally(&findings))
    };
    let result = json!({
        "file": name,
        "purpose": if arguments.client { "client" } else { "server" },
        "days-left": days,
        "certificates": summaries,
    });
    Ok(Answer::new(text, result).with_findings(findings))
}

/// Problems for people, each once.
#[derive(Default)]
struct Findings {
    found: Vec<Diagnostic>,
}

impl Findings {
    fn add(&mut self, finding: &Finding) {
        if let Finding::Refused(verifier, rejection) = finding {
            let who = match verifier {
                Verifier::WebPki => "rustls",
                Verifier::Rfc5280 => "RFC 5280",
                other if *other == Verifier::OPENSSL_1_1_1 => "OpenSSL 1.1.1",
                _ => "OpenSSL 3.0",
            };
            return self.refused(who, rejection);
        }
        let message = finding.to_string();
        self.found.push(match about(finding) {
            Some((code, true, fix)) => Diagnostic::error(message).code(code).fix(fix),
            Some((code, false, fix)) => Diagnostic::warning(message).code(code).fix(fix),
            None => Diagnostic::warning(message),
        });
    }

    fn refused(&mut self, who: &str, rejection: &Rejection) {
        let message = rejection.to_string();
        let by = format!("refused by {who}");
        // A verifier with words of its own says the same, where another has said it better.
        let own_words = matches!(rejection.reason(), Reason::Other(_));
        let same = self.found.iter_mut().find(|finding| {
            finding.message == message || (own_words && finding.code.as_deref() == Some("PKI001"))
        });
        match same.and_then(|finding| finding.why.first_mut()) {
            Some(why) => {
                why.push_str(", ");
                why.push_str(who);
            }
            None => self.found.push(
                Diagnostic::error(message)
                    .code("PKI001")
                    .why(by)
                    .why(format!("the other end reports: {}", rejection.reason().openssl_alert())),
            ),
        }
    }

    fn judge_host(&mut self, leaf: &pki::Certificate, host: &str, pg: Option<PgVersion>) {
        let majors: Vec<PgVersion> = pg.map_or(PgVersion::ALL.to_vec(), |major| vec![major]);
        let mut refused: Vec<(PgVersion, String)> = Vec::new();
        for major in majors {
            if let Err(mismatch) = leaf.matches_host(Some(host), HostRules::Libpq(major)) {
                refused.push((major, mismatch.to_string()));
            }
        }
        let Some((_, words)) = refused.first() else { return };
        let who: Vec<String> = refused.iter().map(|(major, _)| major.to_string()).collect();
        let who = if who.len() == PgVersion::ALL.len() {
            format!("{} to {}", PgVersion::OLDEST, PgVersion::NEWEST)
        } else {
            who.join(", ")
        };
        self.found.push(
            Diagnostic::error(format!("the certificate is not for the host {host}"))
                .code("PKI009")
                .why(format!("libpq {who}: {words}"))
                .fix(format!("issue it anew with --host {host}")),
        );
    }

    fn judge_key_file(&mut self, path: &std::path::Path) {
        use std::os::unix::fs::MetadataExt as _;

        let Ok(metadata) = std::fs::metadata(path) else { return };
        let status = pki::FileStatus {
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode() & 0o7777,
            regular: metadata.is_file(),
        };
        // Whose server or client reads it is not known: it is its owner's, as a rule.
        let account = pki::Account { uid: metadata.uid(), gids: &[metadata.gid()] };
        for reader in [KeyReader::Server, KeyReader::Libpq] {
            if let Err(refusal) = judge_key_file(reader, status, account) {
                let who = if reader == KeyReader::Server { "a server" } else { "libpq" };
                self.found.push(
                    Diagnostic::error(format!(
                        "{who} does not use the key file {}",
                        path.display()
                    ))
                    .code("PKI010")
                    .why(refusal.to_string())
                    .fix(format!("chmod 600 {}", path.display())),
                );
            }
        }
    }
}

/// What `pgward explain` knows a finding by, whether it is an error, and what to do.
fn about(finding: &Finding) -> Option<(&'static str, bool, &'static str)> {
    Some(match finding {
        Finding::KeyMismatch { belongs_to_another: true } => {
            ("PKI002", true, "pgward pki chain puts the file in order")
        }
        Finding::KeyMismatch { .. } => {
            ("PKI002", true, "use the key that the certificate was made for, or issue both anew")
        }
        Finding::EndsSoon { .. } => ("PKI003", false, "issue it anew, and reload the server"),
        Finding::OutlivesIssuer { .. } => {
            ("PKI004", false, "renew the authority before it ends; the certificate ends with it")
        }
        Finding::NotOfCurrentAuthority { .. } => {
            ("PKI005", false, "issue it anew before the old authority is no longer trusted")
        }
        Finding::Unused { .. } => ("PKI006", false, "pgward pki chain writes what is needed only"),
        Finding::RootPresented => ("PKI007", false, "take the root out of the file"),
        Finding::NoAlternativeNames => {
            ("PKI008", false, "issue it anew with pgward pki issue --host")
        }
        Finding::AddressNotAsName { .. } => {
            ("PKI008", false, "issue it anew with pgward pki issue --host, which writes both")
        }
        // A file without a certificate was refused before.
        _ => return None,
    })
}
