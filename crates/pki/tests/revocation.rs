//! Revocation lists of every kind, and what libcrypto 1.1.1 and 3.0 said to each.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "support/der.rs"]
mod der;

use common::{NOW, decade, root, year};
use der::{ecdsa_with_sha256, element, extension, sequence, signed};
use pki::{
    Authority, AuthorityOptions, Certificate, Check, Crl, Issued, KeyAlgorithm, Profile, Purpose,
    Reason, Rejection, Subject, Verifier,
};

const MODELS: [Verifier; 2] = [Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0];

/// What a list says. It begins sound and empty; a test changes one thing.
#[derive(Clone)]
struct List {
    issuer: Vec<u8>,
    updates: (&'static str, Option<&'static str>),
    entries: Vec<Vec<u8>>,
    extensions: Vec<Vec<u8>>,
}

impl List {
    fn of(authority: &Authority) -> Self {
        let certificate = authority.certificate();
        let key_id = certificate.extensions().subject_key_id.clone().unwrap();
        Self {
            issuer: certificate.subject().as_der().to_vec(),
            updates: ("260525000000Z", Some("260701000000Z")),
            entries: Vec::new(),
            extensions: vec![
                extension(0x14, false, &element(0x02, &[1])),
                extension(0x23, false, &sequence(&[element(0x80, &key_id)])),
            ],
        }
    }

    fn updates(mut self, this: &'static str, next: Option<&'static str>) -> Self {
        self.updates = (this, next);
        self
    }

    /// The same with an entry, and an extension of it.
    fn entry(mut self, serial: &[u8], extensions: &[Vec<u8>]) -> Self {
        let mut parts = vec![element(0x02, serial), element(0x17, b"260526000000Z")];
        if !extensions.is_empty() {
            parts.push(sequence(extensions));
        }
        self.entries.push(sequence(&parts));
        self
    }

    fn revoking(self, issued: &Issued) -> Self {
        self.entry(issued.certificate.serial(), &[])
    }

    fn extension(mut self, id: u8, critical: bool, value: &[u8]) -> Self {
        self.extensions.push(extension(id, critical, value));
        self
    }

    fn without_extensions(mut self) -> Self {
        self.extensions.clear();
        self
    }

    fn signed_by(self, authority: &Authority) -> Crl {
        let time = |text: &str| element(0x17, text.as_bytes());
        let mut parts = vec![
            element(0x02, &[1]),
            ecdsa_with_sha256(),
            self.issuer,
            time(self.updates.0),
            self.updates.1.map(time).unwrap_or_default(),
        ];
        if !self.entries.is_empty() {
            parts.push(sequence(&self.entries));
        }
        if !self.extensions.is_empty() {
            parts.push(element(0xa0, &sequence(&self.extensions)));
        }
        let tbs = sequence(&parts);
        Crl::from_der(&signed(&tbs, &ecdsa_with_sha256(), authority.key())).unwrap()
    }
}

/// OpenSSL's name for a verdict.
fn code(verdict: &Result<pki::Path, Rejection>) -> &'static str {
    match verdict.as_ref().map_err(Rejection::reason) {
        Ok(_) => "OK",
        Err(Reason::Revoked) => "CERT_REVOKED",
        Err(Reason::CrlMissing) => "UNABLE_TO_GET_CRL",
        Err(Reason::CrlExpired { .. }) => "CRL_HAS_EXPIRED",
        Err(Reason::CrlNotYetValid { .. }) => "CRL_NOT_YET_VALID",
        Err(Reason::CrlSignatureWrong) => "CRL_SIGNATURE_FAILURE",
        Err(Reason::CrlUnknownCriticalExtension(_)) => "UNHANDLED_CRITICAL_CRL_EXTENSION",
        Err(Reason::CrlScope) => "DIFFERENT_CRL_SCOPE",
        Err(_) => "another reason",
    }
}

fn assert_said(name: &str, chain: &[Certificate], trust: &Authority, lists: &[Crl], said: &str) {
    let trust = [trust.root().clone()];
    for model in MODELS {
        let verdict =
            Check::new(chain, &trust, Purpose::Client, NOW).crls(lists).verifier(model).run();
        assert_eq!(code(&verdict), said, "{name} {model:?} {verdict:?}");
    }
}

fn client(authority: &Authority) -> Issued {
    authority.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), year()).unwrap()
}

#[test]
fn one_list() {
    let root = root("root");
    let alice = client(&root);
    let list = || List::of(&root);
    let reason = |critical, reason| extension(0x15, critical, &element(0x0a, &[reason]));
    let serial = alice.certificate.serial();
    let only = |tag| sequence(&[element(tag, &[0xff])]);
    for (name, list, said) in [
        ("sound", list(), "OK"),
        ("revoked", list().revoking(&alice), "CERT_REVOKED"),
        ("on hold", list().entry(serial, &[reason(false, 6)]), "CERT_REVOKED"),
        ("taken back", list().entry(serial, &[reason(false, 8)]), "OK"),
        (
            "a reason that is critical",
            list().entry(&[1], &[reason(true, 1)]),
            "UNHANDLED_CRITICAL_CRL_EXTENSION",
        ),
        (
            "critical and unknown",
            list().extension(0x7f, true, &[5, 0]),
            "UNHANDLED_CRITICAL_CRL_EXTENSION",
        ),
        ("unknown", list().extension(0x7f, false, &[5, 0]), "OK"),
        (
            "a number that is critical",
            list().without_extensions().extension(0x14, true, &[2, 1, 1]),
            "UNHANDLED_CRITICAL_CRL_EXTENSION",
        ),
        ("no extensions", list().without_extensions(), "OK"),
        (
            "another key",
            list().without_extensions().extension(0x23, false, &[0x30, 3, 0x80, 1, 7]),
            "UNABLE_TO_GET_CRL",
        ),
        (
            "another serial number",
            list().without_extensions().extension(0x23, false, &[0x30, 3, 0x82, 1, 7]),
            "UNABLE_TO_GET_CRL",
        ),
        ("over", list().updates("260525000000Z", Some("260601120000Z")), "CRL_HAS_EXPIRED"),
        ("over soon", list().updates("260525000000Z", Some("260601120001Z")), "OK"),
        ("without end", list().updates("260525000000Z", None), "OK"),
        ("of tomorrow", list().updates("260602000000Z", None), "CRL_NOT_YET_VALID"),
        ("of now", list().updates("260601120000Z", None), "OK"),
        ("for authorities", list().extension(0x1c, true, &only(0x82)), "DIFFERENT_CRL_SCOPE"),
        ("for attributes", list().extension(0x1c, true, &only(0x85)), "DIFFERENT_CRL_SCOPE"),
        ("indirect", list().extension(0x1c, true, &only(0x84)), "UNABLE_TO_GET_CRL"),
        (
            "for some reasons",
            list().extension(0x1c, true, &[0x30, 4, 0x83, 2, 6, 0x40]),
            "UNABLE_TO_GET_CRL",
        ),
        ("for all", list().extension(0x1c, true, &[0x30, 0]), "OK"),
        ("a scope that cannot be read", list().extension(0x1c, true, &[5, 0]), "OK"),
        ("a delta", list().extension(0x1b, true, &[2, 1, 1]), "OK"),
    ] {
        let lists = [list.signed_by(&root)];
        assert_said(name, &alice.chain(), &root, &lists, said);
    }
    // For users only: the leaf is covered, the root is not.
    let users = list().extension(0x1c, true, &only(0x81));
    let authorities = list().extension(0x1c, true, &only(0x82));
    let both = [users.clone().signed_by(&root), authorities.signed_by(&root)];
    assert_said("for users", &alice.chain(), &root, &both[..1], "DIFFERENT_CRL_SCOPE");
    assert_said("for either", &alice.chain(), &root, &both, "OK");
    let revoked = [users.revoking(&alice).signed_by(&root)];
    assert_said("for users, revoked", &alice.chain(), &root, &revoked, "CERT_REVOKED");
}

#[test]
fn several_lists() {
    let (root, twin) = (root("root"), root("root"));
    let alice = client(&root);
    let plain = || List::of(&root);
    let revoking = || plain().revoking(&alice);
    let sign = |lists: [List; 2]| lists.map(|list| list.signed_by(&root));
    let old = |list: List| list.updates("260520000000Z", Some("260701000000Z"));
    let stale = |list: List| list.updates("260525000000Z", Some("260530000000Z"));
    for (name, lists, said) in [
        ("older revoked", sign([old(revoking()), plain()]), "OK"),
        ("newer revoked", sign([old(plain()), revoking()]), "CERT_REVOKED"),
        ("as old, revoked second", sign([plain(), revoking()]), "OK"),
        ("as old, revoked first", sign([revoking(), plain()]), "CERT_REVOKED"),
        ("stale revoked", sign([stale(revoking()), plain()]), "OK"),
        (
            "stale newer revoked",
            sign([revoking().updates("260530000000Z", Some("260531000000Z")), plain()]),
            "OK",
        ),
        (
            "not understood, and plain",
            sign([plain().extension(0x7f, true, &[5, 0]), plain()]),
            "OK",
        ),
        (
            "a delta that revokes",
            sign([revoking().extension(0x1b, true, &[2, 1, 1]), plain()]),
            "CERT_REVOKED",
        ),
        (
            "another key's of the same name",
            [List::of(&twin).signed_by(&twin), plain().signed_by(&root)],
            "OK",
        ),
        (
            "another key's without a word about it",
            [plain().without_extensions().signed_by(&twin), plain().signed_by(&root)],
            "CRL_SIGNATURE_FAILURE",
        ),
    ] {
        assert_said(name, &alice.chain(), &root, &lists, said);
    }
}

#[test]
fn every_authority_of_a_chain_needs_one() {
    let root = root("root");
    let options = AuthorityOptions::default();
    let subject = Subject::common_name("issuing");
    let issuing = root.intermediate(KeyAlgorithm::EcdsaP256, &subject, decade(), &options).unwrap();
    let alice = client(&issuing);
    let of = |authority: &Authority| List::of(authority).signed_by(authority);
    let chain = alice.chain();
    let revoked = List::of(&root).entry(issuing.certificate().serial(), &[]).signed_by(&root);
    for (name, lists, said) in [
        ("both", vec![of(&root), of(&issuing)], "OK"),
        ("the root's only", vec![of(&root)], "UNABLE_TO_GET_CRL"),
        ("the intermediate's only", vec![of(&issuing)], "UNABLE_TO_GET_CRL"),
        ("the intermediate revoked", vec![revoked, of(&issuing)], "CERT_REVOKED"),
    ] {
        assert_said(name, &chain, &root, &lists, said);
    }
}
