//! What real servers and real libpqs said to certificates, against what is predicted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use common::table;
use pg_version::PgVersion;
use pki::{Certificate, Check, HostRules, Purpose, Verifier};
use time::macros::datetime;

/// When the client chains were shown to the servers.
const RECORDED: time::OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

/// The server of major 15 is Debian's, with OpenSSL 3.0; the others have 1.1.1.
fn verifier_of(server: &str) -> Verifier {
    if server == "srv15" { Verifier::OPENSSL_3_0 } else { Verifier::OPENSSL_1_1_1 }
}

#[test]
fn servers_accept_and_refuse_client_chains_as_predicted() {
    let mut verdicts = 0;
    for case in table("client-chains.jsonl.gz") {
        let name = case["name"].as_str().unwrap();
        let read = |field: &str| {
            Certificate::all_from_pem(case[field].as_str().unwrap().as_bytes()).unwrap()
        };
        let (trust, chain) = (read("root_pem"), read("chain_pem"));
        for (pair, said) in case["results"].as_object().unwrap() {
            let server = pair.split('/').next().unwrap();
            let verdict = Check::new(&chain, &trust, Purpose::Client, RECORDED)
                .verifier(verifier_of(server))
                .run();
            let said = said.as_str().unwrap();
            match verdict {
                Ok(_) if said == "OK" => {}
                // The chain is accepted and the role is another one.
                Ok(_) if said.contains("certificate authentication failed for user") => {
                    let role = chain[0].subject().common_name().and_then(pki::Attribute::text);
                    assert_ne!(role.as_deref(), Some("certu"), "{name}");
                }
                Err(rejection) => {
                    let alert = format!("alert {}", rejection.reason().openssl_alert());
                    assert!(said.contains(&alert), "{name} {pair}: {rejection} but {said}");
                }
                Ok(_) => panic!("{name} {pair}: accepted, but {said}"),
            }
            verdicts += 1;
        }
    }
    assert_eq!(verdicts, 36 * 11);
}

#[test]
fn libpq_matches_host_names_as_predicted() {
    let mut verdicts = 0;
    for case in table("host-names.jsonl.gz") {
        let certificate = Certificate::from_pem(case["pem"].as_str().unwrap().as_bytes()).unwrap();
        for (host, answers) in case["hosts"].as_object().unwrap() {
            for (version, said) in answers.as_object().unwrap() {
                let version: PgVersion = version.parse().unwrap();
                let said = said.as_str().unwrap();
                let asked = (host != "hostaddr-only").then_some(host.as_str());
                let context = format!("{} {host} {version}", case["certificate"]);
                match certificate.matches_host(asked, HostRules::Libpq(version)) {
                    Ok(()) => assert_eq!(said, "OK", "{context}"),
                    Err(mismatch) => {
                        assert!(said.ends_with(&mismatch.to_string()), "{context}: {mismatch}");
                    }
                }
                verdicts += 1;
            }
        }
    }
    assert_eq!(verdicts, 18 * 15 * 7);
}
