//! Certificates: how fast are they made and checked?
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use divan::Bencher;
use pki::fs::NewFolder;
use pki::{
    Authority, AuthorityOptions, Certificate, Check, KeyAlgorithm, Profile, Purpose, Subject,
    Validity, Verifier,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const P256: KeyAlgorithm = KeyAlgorithm::EcdsaP256;
const NOW: OffsetDateTime = datetime!(2026-01-01 0:00 UTC);

fn main() {
    divan::main();
}

fn validity() -> Validity {
    Validity::days(NOW - Duration::days(1), 30)
}

fn root() -> Authority {
    Authority::create(P256, &Subject::common_name("root"), validity()).unwrap()
}

/// An authority, 100 servers' and 100 clients' keys and certificates, in the files of a new folder.
/// Syncing is left to the system, as by the command openssl.
#[divan::bench(sample_count = 10)]
fn authority_and_200_certificates_on_disk(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| tempfile::tempdir().unwrap()).bench_values(|folder| {
        let root = root();
        let files = NewFolder::create(&folder.path().join("certificates")).unwrap();
        files.key("root.key", root.key()).unwrap();
        files.public("root.crt", &root.certificate().to_pem()).unwrap();
        for number in 0..100 {
            let host = format!("node{number}.example.com");
            let server = Profile::server([host.as_str(), "192.0.2.1"]).unwrap();
            let server = root.issue(P256, &server, validity()).unwrap();
            files.issued(&format!("node{number}"), &server).unwrap();
            let client = Profile::client(format!("role{number}"));
            let client = root.issue(P256, &client, validity()).unwrap();
            files.issued(&format!("role{number}"), &client).unwrap();
        }
        files.finish(false).unwrap();
        folder
    });
}

/// The same without files.
#[divan::bench(sample_count = 10)]
fn authority_and_200_certificates_in_memory() -> Vec<pki::Issued> {
    let root = root();
    let server = Profile::server(["node1.example.com", "192.0.2.1"]).unwrap();
    (0..200).map(|_| root.issue(P256, &server, validity()).unwrap()).collect()
}

/// A chain of three: leaf, intermediate, root.
fn three() -> (Vec<Certificate>, Vec<Certificate>) {
    let root = root();
    let options = AuthorityOptions::default();
    let issuing =
        root.intermediate(P256, &Subject::common_name("issuing"), validity(), &options).unwrap();
    let leaf = Profile::server(["node1.example.com"]).unwrap();
    (issuing.issue(P256, &leaf, validity()).unwrap().chain(), vec![root.certificate().clone()])
}

const VERIFIERS: [(&str, Verifier); 4] = [
    ("OpenSSL 1.1.1", Verifier::OPENSSL_1_1_1),
    ("OpenSSL 3.0", Verifier::OPENSSL_3_0),
    ("webpki", Verifier::WebPki),
    ("RFC 5280", Verifier::Rfc5280),
];

/// The whole check, from DER to verdict.
#[divan::bench(args = VERIFIERS.map(|named| named.0))]
fn check_three_certificates(bencher: Bencher<'_, '_>, name: &str) {
    let verifier = VERIFIERS.iter().find(|named| named.0 == name).unwrap().1;
    let (chain, trust) = three();
    let der = |certificates: &[Certificate]| -> Vec<Vec<u8>> {
        certificates.iter().map(|certificate| certificate.as_der().to_vec()).collect()
    };
    let (chain, trust) = (der(&chain), der(&trust));
    let read = |certificates: &[Vec<u8>]| -> Vec<Certificate> {
        certificates.iter().map(|der| Certificate::from_der(der).unwrap()).collect()
    };
    bencher.bench(|| {
        let (chain, trust) = (read(&chain), read(&trust));
        Check::new(&chain, &trust, Purpose::Server, NOW).verifier(verifier).run().unwrap()
    });
}

/// The two signatures of such a chain and nothing else, for comparison.
#[divan::bench]
fn verify_the_two_signatures_of_three(bencher: Bencher<'_, '_>) {
    let (chain, trust) = three();
    bencher.bench(|| {
        chain[0].is_signed_by(chain[1].public_key()) && chain[1].is_signed_by(trust[0].public_key())
    });
}
