//! Recorded cases, and what this crate says of them in the words of the record. Shared by the
//! crate's own tests and by `cargo xtask replay`.

use pg_version::PgVersion;
use pki::{
    Certificate, Check, ClientNameRefusal, Crl, GeneralName, HostRules, OpenSsl, OpenSslRelease,
    Purpose, Reason, Rejection, Verifier,
};
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::datetime;

/// What was recorded, and what is said here.
pub(crate) struct Comparison {
    pub(crate) major: String,
    pub(crate) expected: String,
    pub(crate) got: String,
}

/// The role as which every client of the recorded table logged in.
const ROLE: &str = "certu";
/// When clients showed their chains to the servers.
const SHOWN: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);
/// When a case of path validation that names no moment takes place.
const ANY_TIME: OffsetDateTime = datetime!(2025-06-01 0:00 UTC);

fn text<'a>(case: &'a Value, field: &str) -> Result<&'a str, String> {
    case[field].as_str().ok_or_else(|| format!("the field {field} is missing"))
}

fn certificates(text: &str) -> Result<Vec<Certificate>, String> {
    Certificate::all_from_pem(text.as_bytes()).map_err(|error| error.to_string())
}

/// Server and libpq of major 15 are Debian's, with OpenSSL 3.0 and its security level; the others
/// bring 1.1.1.
fn openssl_of(program: &str) -> OpenSsl {
    if program.ends_with("15") {
        OpenSsl { release: OpenSslRelease::V3_0, security_level: 2 }
    } else {
        OpenSsl { release: OpenSslRelease::V1_1_1, security_level: 1 }
    }
}

/// A client's chain, and whether the servers let the client in as [`ROLE`].
///
/// Recorded is `OK`, or the client's message, of which the part that the server decides counts.
pub(crate) fn client_chain(case: &Value) -> Result<Vec<Comparison>, String> {
    let trust = certificates(text(case, "root_pem")?)?;
    let chain = certificates(text(case, "chain_pem")?)?;
    let results = case["results"].as_object().ok_or("the field results is missing")?;
    let mut comparisons = Vec::new();
    for (pair, said) in results {
        let said = said.as_str().ok_or("a result is no text")?;
        let (server, client) = pair.split_once('/').ok_or("a pair names no client")?;
        let verdict = Check::new(&chain, &trust, Purpose::Client, SHOWN)
            .verifier(Verifier::OpenSsl(openssl_of(server)))
            .run();
        // The client's own library has a say before the server has.
        let got = match (openssl_of(client).loads(&chain), verdict) {
            (Err(refused), _) => weakness(&refused).to_owned(),
            (Ok(()), Err(rejection)) => match rejection.reason() {
                // The client keeps it to itself.
                Reason::KeyNotForTls { .. } => "requires a valid client certificate".to_owned(),
                reason => format!("alert {}", reason.openssl_alert()),
            },
            (Ok(()), Ok(_)) => match chain.first().map(Certificate::client_name) {
                Some(Ok(name)) if name == ROLE.as_bytes() => "OK".to_owned(),
                // The server closes the connection, in the words of whichever libpq.
                Some(Err(ClientNameRefusal::EmbeddedNull)) => "closed".to_owned(),
                _ => "certificate authentication failed for user".to_owned(),
            },
        };
        let expected = [got.clone()].into_iter().find(|got| said.contains(got));
        comparisons.push(Comparison {
            major: pair.clone(),
            expected: expected.unwrap_or_else(|| said.to_owned()),
            got,
        });
    }
    Ok(comparisons)
}

/// OpenSSL's words for a certificate of one's own that is too weak.
fn weakness(refused: &Rejection) -> &'static str {
    match refused.reason() {
        Reason::DigestTooWeak { .. } => "ca md too weak",
        _ => "key too small",
    }
}

/// A server's certificate and hosts, and what each libpq said under `verify-full`.
pub(crate) fn host_names(case: &Value) -> Result<Vec<Comparison>, String> {
    let certificate =
        Certificate::from_pem(text(case, "pem")?.as_bytes()).map_err(|error| error.to_string())?;
    let hosts = case["hosts"].as_object().ok_or("the field hosts is missing")?;
    let mut comparisons = Vec::new();
    for (host, answers) in hosts {
        let answers = answers.as_object().ok_or("a host has no answers")?;
        for (version, said) in answers {
            let said = said.as_str().ok_or("an answer is no text")?;
            let major: PgVersion = version.parse().map_err(|error| format!("{error}"))?;
            let asked = (host != "hostaddr-only").then_some(host.as_str());
            let got = match certificate.matches_host(asked, HostRules::Libpq(major)) {
                Ok(()) => "OK".to_owned(),
                Err(mismatch) => mismatch.to_string(),
            };
            // Some libpqs tell before their own words where they were connecting to.
            let agrees = said == got || (got != "OK" && said.ends_with(&got));
            comparisons.push(Comparison {
                major: format!("{version} host {host}"),
                expected: if agrees { got.clone() } else { said.to_owned() },
                got,
            });
        }
    }
    Ok(comparisons)
}

/// A case of x509-limbo under the strict reading of RFC 5280.
pub(crate) fn limbo(case: &Value) -> Result<Vec<Comparison>, String> {
    let got = limbo_verdict(case)?;
    Ok(vec![Comparison {
        major: "rfc5280".to_owned(),
        expected: text(case, "expected_result")?.to_owned(),
        got: match got {
            Ok(()) => "SUCCESS".to_owned(),
            Err(_) => "FAILURE".to_owned(),
        },
    }])
}

/// The verdict on a case of x509-limbo, with the reason for a refusal.
fn limbo_verdict(case: &Value) -> Result<Result<(), String>, String> {
    let mut chain = vec![text(case, "peer_certificate")?];
    let mut trust = Vec::new();
    for (field, list) in [("untrusted_intermediates", &mut chain), ("trusted_certs", &mut trust)] {
        let found =
            case[field].as_array().ok_or_else(|| format!("the field {field} is missing"))?;
        list.extend(found.iter().filter_map(Value::as_str));
    }
    // What cannot be read at all: a presented one spoils the chain, a trusted one is no anchor.
    let presented = match certificates(&chain.concat()) {
        Ok(presented) => presented,
        Err(reason) => return Ok(Err(reason)),
    };
    let trusted: Vec<Certificate> =
        trust.iter().filter_map(|text| Certificate::from_pem(text.as_bytes()).ok()).collect();
    let mut crls = Vec::new();
    for list in case["crls"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        match Crl::all_from_pem(list.as_bytes()) {
            Ok(read) => crls.extend(read),
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    let time = match case["validation_time"].as_str() {
        None => ANY_TIME,
        Some(time) => OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339)
            .map_err(|error| format!("{time}: {error}"))?,
    };
    let purpose = match text(case, "validation_kind")? {
        "CLIENT" => Purpose::Client,
        _ => Purpose::Server,
    };
    let verdict = Check::new(&presented, &trusted, purpose, time)
        .crls(&crls)
        .verifier(Verifier::Rfc5280)
        .run();
    let path = match verdict {
        Ok(path) => path,
        Err(rejection) => return Ok(Err(rejection.to_string())),
    };
    if let Some(most) = case["max_chain_depth"].as_u64() {
        let below = path.certificates().iter().rev().skip(1);
        let between = below.skip(1).filter(|above| !above.is_self_issued()).count();
        if u64::try_from(between).is_ok_and(|between| between > most) {
            return Ok(Err(format!("{between} intermediates are more than {most}")));
        }
    }
    let peer = &case["expected_peer_name"];
    let Some(name) = peer["value"].as_str() else { return Ok(Ok(())) };
    if peer["kind"] == "RFC822" {
        let wanted = GeneralName::Email(name.as_bytes().to_vec());
        let names = presented[0].extensions().subject_alt_names.as_deref().unwrap_or_default();
        return Ok(if names.contains(&wanted) { Ok(()) } else { Err("another mailbox".into()) });
    }
    Ok(presented[0]
        .matches_host(Some(name), HostRules::Rustls)
        .map_err(|mismatch| mismatch.to_string()))
}
