//! What is issued here: read by openssl, verified by it, and the same every time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{NOW, decade, root, year};
use pki::{
    Authority, AuthorityOptions, Certificate, Chain, Check, Crl, Deployment, Error, Finding, Heap,
    KeyAlgorithm, NameSubtree, Position, PrivateKey, Profile, Purpose, Reason, Request,
    RequestPolicy, Revocation, RevocationReason, Subject, Validity, Verifier,
    judge_connection_manager,
};
use time::macros::datetime;

const ALL: [Verifier; 4] =
    [Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0, Verifier::WebPki, Verifier::Rfc5280];

fn openssl(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn profiles() -> [Profile; 4] {
    profiles_of(&["node1.example.com", "192.0.2.1", "2001:db8::1"])
}

fn profiles_of(hosts: &[&str]) -> [Profile; 4] {
    [
        Profile::server(hosts).unwrap(),
        Profile::client("alice"),
        Profile::node("replicator", hosts).unwrap(),
        Profile::timescale_intermediate(hosts).unwrap(),
    ]
}

/// The parts of `openssl x509 -text` that are the same every time.
fn stable(text: &str) -> String {
    let volatile = |line: &str| {
        let line = line.trim();
        let octets = line.split(':').all(|part| part.len() == 2 || part.is_empty());
        octets
            && line.contains(':')
            && line.split(':').all(|part| part.chars().all(|c| c.is_ascii_hexdigit()))
    };
    text.lines().map(|line| if volatile(line) { "(octets)" } else { line.trim_end() }).fold(
        String::new(),
        |mut text, line| {
            if !(line == "(octets)" && text.ends_with("(octets)\n")) {
                text.push_str(line);
                text.push('\n');
            }
            text
        },
    )
}

#[test]
fn openssl_prints_every_profile_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let authority = root("example root");
    let print = |certificate: &Certificate| {
        std::fs::write(folder.path().join("c.crt"), certificate.to_pem()).unwrap();
        let (read, text) = openssl(folder.path(), &["x509", "-noout", "-text", "-in", "c.crt"]);
        assert!(read, "{text}");
        stable(&text)
    };
    insta::assert_snapshot!("root", print(authority.certificate()));
    for profile in profiles() {
        let issued = authority.issue(KeyAlgorithm::EcdsaP256, &profile, year()).unwrap();
        insta::assert_snapshot!(profile.name(), print(&issued.certificate));
    }
}

#[test]
fn openssl_verifies_every_profile_and_key_under_every_authority() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    for algorithm in KeyAlgorithm::ALL {
        let root = Authority::create(algorithm, &Subject::common_name("root"), decade()).unwrap();
        let options = AuthorityOptions { path_len: Some(1), ..AuthorityOptions::default() };
        let above = root
            .intermediate(algorithm, &Subject::common_name("issuing"), decade(), &options)
            .unwrap();
        write("root.crt", &root.certificate().to_pem());
        write("above.crt", &above.certificate().to_pem());
        let key = PrivateKey::generate(algorithm).unwrap();
        // Without an IPv6 address, whose text RFC 5280 does not allow as a dNSName.
        for profile in profiles_of(&["node1.example.com", "192.0.2.1"]) {
            let certificate = above.issue_for(key.public_key(), &profile, year()).unwrap();
            write("leaf.crt", &certificate.to_pem());
            let chain = [&[certificate], &above.intermediates()[..]].concat();
            for (purpose, name, wanted) in [
                (Purpose::Server, "sslserver", profile.is_server()),
                (Purpose::Client, "sslclient", profile.is_client()),
            ] {
                let (accepted, text) = openssl(
                    folder.path(),
                    &[
                        "verify",
                        "-x509_strict",
                        "-purpose",
                        name,
                        "-CAfile",
                        "root.crt",
                        "-untrusted",
                        "above.crt",
                        "-attime",
                        &NOW.unix_timestamp().to_string(),
                        "leaf.crt",
                    ],
                );
                assert_eq!(accepted, wanted, "{algorithm} {} {name}: {text}", profile.name());
                let trust = [root.certificate().clone()];
                for verifier in ALL {
                    let verdict = Check::new(&chain, &trust, purpose, NOW).verifier(verifier).run();
                    let is_ca = matches!(profile, Profile::TimescaleIntermediate(_));
                    let wanted = wanted && !(is_ca && verifier == Verifier::WebPki);
                    let context = format!("{algorithm} {} {verifier:?}", profile.name());
                    assert_eq!(verdict.is_ok(), wanted, "{context} {verdict:?}");
                }
            }
        }
    }
}

#[test]
fn authorities_refuse_what_would_not_work() {
    let authority = root("root");
    let issue = |profile: &Profile, validity| {
        authority.issue(KeyAlgorithm::EcdsaP256, profile, validity).unwrap_err().to_string()
    };
    let long = Validity::days(datetime!(2030-01-01 0:00 UTC), 3650);
    insta::assert_snapshot!(issue(&Profile::client("alice"), long), @"refused: a certificate valid from 2030-01-01 00:00:00 UTC to 2039-12-30 00:00:00 UTC would not lie within its authority's own validity, which leaves 2030-01-01 00:00:00 UTC to 2035-12-30 00:00:00 UTC");
    assert_eq!(authority.within(long).not_after, decade().not_after);
    let backwards = Validity { not_before: year().not_after, not_after: year().not_before };
    assert!(issue(&Profile::client("alice"), backwards).starts_with("refused"));

    let scram = AuthorityOptions { scram: true, ..AuthorityOptions::default() };
    let subject = Subject::common_name("root");
    let refused =
        Authority::create_with(KeyAlgorithm::Ed25519, &subject, decade(), &scram).unwrap_err();
    insta::assert_snapshot!(refused, @r#"refused: certificates that an Ed25519 key has signed have no digest for the channel binding tls-server-end-point, so every SCRAM login over TLS fails with "could not find digest for NID UNDEF""#);
    let ed25519 = Authority::create(KeyAlgorithm::Ed25519, &subject, decade()).unwrap();
    let leaf = ed25519.issue(KeyAlgorithm::EcdsaP256, &profiles()[0], year()).unwrap();
    assert_eq!(pki::tls_server_end_point(leaf.certificate.as_der()), None);
    let leaf = authority.issue(KeyAlgorithm::Ed25519, &profiles()[0], year()).unwrap();
    assert_eq!(pki::tls_server_end_point(leaf.certificate.as_der()).unwrap().len(), 32);

    let closed = AuthorityOptions { path_len: Some(0), ..AuthorityOptions::default() };
    let closed =
        Authority::create_with(KeyAlgorithm::EcdsaP256, &subject, decade(), &closed).unwrap();
    let below = closed.intermediate(
        KeyAlgorithm::EcdsaP256,
        &Subject::common_name("below"),
        decade(),
        &AuthorityOptions::default(),
    );
    assert!(matches!(below, Err(Error::Refused(_))));
    let leaf = authority.issue(KeyAlgorithm::EcdsaP256, &profiles()[0], year()).unwrap();
    assert!(matches!(
        Authority::new(leaf.certificate, leaf.key, &[]),
        Err(Error::NotAnAuthority { .. })
    ));
}

#[test]
fn name_constraints_bind_what_is_issued() {
    let options = AuthorityOptions {
        permitted: vec![
            NameSubtree::Dns("example.com".to_owned()),
            NameSubtree::Ip("192.0.2.0".parse().unwrap(), 24),
        ],
        excluded: vec![NameSubtree::Dns("secret.example.com".to_owned())],
        ..AuthorityOptions::default()
    };
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let root = |options: &AuthorityOptions| {
        let subject = Subject::common_name("root");
        Authority::create_from(key.clone(), &subject, decade(), options).unwrap()
    };
    // Of the same name and key, so that what the one signs is a certificate of the other.
    let (bound, free) = (root(&options), root(&AuthorityOptions::default()));
    let trust = [bound.certificate().clone()];
    for (host, accepted) in [
        ("node1.example.com", true),
        ("example.org", false),
        ("a.secret.example.com", false),
        ("198.51.100.1", false),
        // The address lies in the subnet, its text in no domain.
        ("192.0.2.1", false),
    ] {
        let profile = Profile::server([host]).unwrap();
        let chain = free.issue(KeyAlgorithm::EcdsaP256, &profile, year()).unwrap().chain();
        for verifier in [Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0, Verifier::WebPki] {
            let verdict = Check::new(&chain, &trust, Purpose::Server, NOW).verifier(verifier).run();
            assert_eq!(verdict.is_ok(), accepted, "{host} {verifier:?} {verdict:?}");
        }
        let issued = bound.issue(KeyAlgorithm::EcdsaP256, &profile, year());
        assert_eq!(issued.is_ok(), accepted, "{host} {issued:?}");
    }
    // OpenSSL lets a wildcard reach into what is excluded, rustls does not.
    let wildcard = Profile::server(["*.example.com"]).unwrap();
    assert!(bound.issue(KeyAlgorithm::EcdsaP256, &wildcard, year()).is_err());
    // An intermediate is bound by the authority above it. Names of clients are no hosts, unless they
    // look like one to OpenSSL.
    let below = bound
        .intermediate(
            KeyAlgorithm::EcdsaP256,
            &Subject::common_name("below"),
            decade(),
            &AuthorityOptions::default(),
        )
        .unwrap();
    let issue = |profile: &Profile| below.issue(KeyAlgorithm::EcdsaP256, profile, year());
    let refused = issue(&Profile::server(["example.org"]).unwrap()).unwrap_err();
    insta::assert_snapshot!(refused, @"refused: the certificate of CN=example.org holds the name DNS:example.org, which no permitted subtree of an authority's nameConstraints covers");
    issue(&Profile::client("alice")).unwrap();
    assert!(issue(&Profile::client("alice.example.org")).is_err());
}

#[test]
fn openssl_reads_revocation_lists() {
    let folder = tempfile::tempdir().unwrap();
    let authority = root("root");
    let alice =
        authority.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), year()).unwrap();
    let revocation = Revocation {
        serial: alice.certificate.serial().to_vec(),
        since: NOW,
        reason: RevocationReason::Superseded,
    };
    let list = authority.revoke(&[revocation], 7, Validity::days(NOW, 30)).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("root.crt", &authority.certificate().to_pem());
    write("list.crl", &list.to_pem());
    write("leaf.crt", &alice.certificate.to_pem());
    let time = NOW.unix_timestamp().to_string();
    let (accepted, text) = openssl(
        folder.path(),
        &[
            "verify",
            "-crl_check",
            "-CRLfile",
            "list.crl",
            "-CAfile",
            "root.crt",
            "-attime",
            &time,
            "leaf.crt",
        ],
    );
    assert!(!accepted && text.contains("certificate revoked"), "{text}");
    let lists = Crl::all_from_pem(list.to_pem().as_bytes()).unwrap();
    let (chain, trust) = (alice.chain(), [authority.certificate().clone()]);
    for verifier in ALL {
        let verdict =
            Check::new(&chain, &trust, Purpose::Client, NOW).crls(&lists).verifier(verifier).run();
        let rejection = verdict.unwrap_err();
        let revoked =
            *rejection.reason() == Reason::Revoked || rejection.to_string().contains("CertRevoked");
        assert!(revoked, "{verifier:?} {rejection}");
    }
}

#[test]
fn requests_get_what_the_policy_allows() {
    let authority = root("root");
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let policy = RequestPolicy {
        hosts: vec![
            NameSubtree::Dns("example.com".to_owned()),
            NameSubtree::Ip("192.0.2.0".parse().unwrap(), 24),
        ],
        roles: vec!["alice".to_owned()],
        ..RequestPolicy::default()
    };
    let ask = |profile: &Profile, policy: &RequestPolicy| {
        let request = Request::create(&key, profile).unwrap();
        let request = Request::from_pem(request.to_pem().as_bytes()).unwrap();
        authority.sign_request(&request, policy, year()).map_err(|error| error.to_string())
    };
    let server = |host: &str| Profile::server([host]).unwrap();
    for profile in [
        server("node1.example.com"),
        server("192.0.2.255"),
        Profile::client("alice"),
        Profile::node("alice", ["example.com"]).unwrap(),
    ] {
        let certificate = ask(&profile, &policy).unwrap();
        assert!(key.matches(&certificate));
        assert!(!certificate.is_authority());
        assert_eq!(certificate.allows_server_auth(), profile.is_server());
        assert_eq!(certificate.allows_client_auth(), profile.is_client());
        assert!(ask(&profile, &RequestPolicy::default()).is_err(), "nothing is allowed unsaid");
    }
    let refusals: Vec<String> = [
        server("example.org"),
        server("192.0.3.1"),
        server("*.example.com"),
        Profile::client("postgres"),
        Profile::node("alice", ["example.org"]).unwrap(),
        Profile::timescale_intermediate(["example.com"]).unwrap(),
    ]
    .iter()
    .map(|profile| ask(profile, &policy).unwrap_err())
    .collect();
    insta::assert_snapshot!(refusals.join("\n"));
    let request = Request::create(&key, &Profile::client("alice")).unwrap();
    let mut forged = request.as_der().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(matches!(Request::from_der(&forged), Err(Error::Request(_))));
}

#[test]
fn openssl_reads_requests() {
    let folder = tempfile::tempdir().unwrap();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP384).unwrap();
    let request = Request::create(&key, &profiles()[2]).unwrap();
    std::fs::write(folder.path().join("r.csr"), request.to_pem()).unwrap();
    let (read, text) =
        openssl(folder.path(), &["req", "-in", "r.csr", "-noout", "-verify", "-subject"]);
    assert!(read && text.contains("CN = replicator"), "{text}");
}

#[test]
fn a_heap_gives_ordered_chains() {
    let p256 = KeyAlgorithm::EcdsaP256;
    let (old, new) = (root("old"), root("new"));
    let options = AuthorityOptions::default();
    let issuing =
        old.intermediate(p256, &Subject::common_name("issuing"), decade(), &options).unwrap();
    let crossed = new.cross_sign(issuing.certificate(), year()).unwrap();
    let renewed = old.renew(Validity::days(decade().not_before, 3600)).unwrap();
    let leaf = issuing.issue(p256, &Profile::client("alice"), year()).unwrap();
    let unrelated = root("unrelated");

    let mut heap = Heap::new();
    for certificate in [
        unrelated.certificate(),
        &crossed,
        &leaf.certificate,
        new.certificate(),
        renewed.certificate(),
        issuing.certificate(),
        old.certificate(),
    ] {
        assert_eq!(heap.add_pem(certificate.to_pem().as_bytes()).unwrap(), 1);
        assert_eq!(heap.add_pem(certificate.to_pem().as_bytes()).unwrap(), 0);
    }
    assert_eq!(heap.leaves(), [&leaf.certificate]);
    assert_eq!(heap.certificate_of(&leaf.key), Some(&leaf.certificate));
    let chains = heap.chains(&leaf.certificate, NOW);
    let roots: Vec<_> = chains.iter().filter_map(Chain::root).collect();
    assert_eq!(roots.len(), 3);
    for root in [old.certificate(), new.certificate(), renewed.certificate()] {
        assert!(roots.contains(&root));
    }
    for chain in &chains {
        assert!(chain.is_complete());
        assert_eq!(chain.presented()[0], leaf.certificate);
        for verifier in ALL {
            chain.check(Purpose::Client, NOW, verifier).unwrap();
        }
    }
    // Without any root there is a chain, and it says that it is not complete.
    let mut poor = Heap::new();
    poor.add(issuing.certificate().clone());
    let chain = poor.chains(&leaf.certificate, NOW).remove(0);
    assert!(!chain.is_complete() && chain.presented().len() == 2);
    let refused = poor
        .accepted_chain(&leaf.certificate, Purpose::Client, NOW, Verifier::OPENSSL_3_0)
        .unwrap_err();
    assert_eq!(*refused.reason(), Reason::IssuerUnknown);
}

#[test]
fn inspection_finds_what_will_break() {
    let p256 = KeyAlgorithm::EcdsaP256;
    let (old, new) = (root("old"), root("new"));
    let server =
        old.issue(p256, &profiles_of(&["node1.example.com", "192.0.2.1"])[0], year()).unwrap();
    let other =
        old.issue(p256, &profiles_of(&["node1.example.com", "192.0.2.1"])[0], year()).unwrap();
    let trust = [old.certificate().clone()];
    let deployment = |chain, key| Deployment {
        chain,
        key: Some(key),
        trust: &trust,
        purpose: Purpose::Server,
        current_authority: Some(new.certificate()),
    };
    let chain = server.chain();
    let late = year().not_after - time::Duration::days(5);
    let mut words = Vec::new();
    let mut note = |title: &str, findings: Vec<Finding>| {
        words.push(format!("{title}:"));
        words.extend(findings.iter().map(|finding| format!("  {finding}")));
    };
    note("an old authority's", deployment(&chain, &server.key).findings(NOW, &ALL, 30));
    note("soon over", deployment(&chain, &server.key).findings(late, &ALL, 30));
    note("another key", deployment(&chain, &other.key).findings(NOW, &ALL, 30));
    let reversed = [old.certificate().clone(), server.certificate.clone()];
    note("wrong order", deployment(&reversed, &server.key).findings(NOW, &[], 30));
    note("nothing", deployment(&[], &server.key).findings(NOW, &ALL, 30));
    insta::assert_snapshot!(words.join("\n"));
    let summary = server.certificate.summary(NOW);
    assert_eq!((summary.position, summary.days_left), (Position::Leaf, 213));
    assert_eq!(old.certificate().summary(NOW).position, Position::Root);
}

#[test]
fn what_the_connection_manager_demands() {
    let authority = root("root");
    let judge = |profile: &Profile, algorithm| {
        let issued = authority.issue(algorithm, profile, year()).unwrap();
        judge_connection_manager(&issued.certificate, &["node1.example.com"])
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert!(judge(&profiles()[0], KeyAlgorithm::EcdsaP256).is_empty());
    assert!(judge(&profiles()[2], KeyAlgorithm::Rsa2048).is_empty());
    insta::assert_snapshot!(
        [
            judge(&profiles()[1], KeyAlgorithm::EcdsaP256),
            judge(&profiles()[3], KeyAlgorithm::EcdsaP256),
            judge(&Profile::server(["else"]).unwrap(), KeyAlgorithm::Ed25519),
        ]
        .concat()
        .join("\n")
    );
}
