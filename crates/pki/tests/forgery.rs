//! Every single bit of what is signed, and of what frames it, changed: nobody accepts a forgery.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{NOW, decade, year};
use pki::{
    Authority, AuthorityOptions, Certificate, Check, Crl, Error, KeyAlgorithm, PrivateKey, Profile,
    Purpose, Reason, Request, Revocation, RevocationReason, Subject, Validity, Verifier,
};

const VERIFIERS: [Verifier; 4] =
    [Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0, Verifier::WebPki, Verifier::Rfc5280];

/// One of each scheme of signatures.
const ALGORITHMS: [KeyAlgorithm; 3] =
    [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048, KeyAlgorithm::Ed25519];

/// Everything that differs from `der` in one bit, with the place of the bit for messages.
fn forgeries(der: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..der.len() * 8).map(|bit| {
        let (position, mask) = (bit / 8, 1 << (bit % 8));
        let mut forged = der.to_vec();
        forged[position] ^= mask;
        (format!("octet {position}: {:02x} is {:02x}", der[position], forged[position]), forged)
    })
}

fn authority(algorithm: KeyAlgorithm) -> Authority {
    Authority::create(algorithm, &Subject::common_name("root"), decade()).unwrap()
}

/// Asserts that every verifier accepts `chain`, and none accepts it with one bit changed in the
/// certificate at `place`.
fn assert_unforgeable(chain: &[Certificate], place: usize, root: &Authority) {
    let trust = [root.certificate().clone()];
    let verdict = |chain: &[Certificate], verifier| {
        Check::new(chain, &trust, Purpose::Client, NOW).verifier(verifier).run()
    };
    for verifier in VERIFIERS {
        verdict(chain, verifier).unwrap();
    }
    let mut forged = chain.to_vec();
    for (bit, der) in forgeries(chain[place].as_der()) {
        let Ok(certificate) = Certificate::from_der(&der) else { continue };
        forged[place] = certificate;
        for verifier in VERIFIERS {
            assert!(verdict(&forged, verifier).is_err(), "{verifier:?} accepts {bit}");
        }
    }
}

#[test]
fn no_verifier_accepts_a_forged_certificate() {
    for algorithm in ALGORITHMS {
        let root = authority(algorithm);
        let alice = root.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), year()).unwrap();
        assert_unforgeable(&alice.chain(), 0, &root);
    }
}

#[test]
fn no_verifier_accepts_a_forged_intermediate() {
    for algorithm in ALGORITHMS {
        let root = authority(algorithm);
        let subject = Subject::common_name("issuing");
        let options = AuthorityOptions::default();
        let issuing =
            root.intermediate(KeyAlgorithm::EcdsaP256, &subject, decade(), &options).unwrap();
        let alice =
            issuing.issue(KeyAlgorithm::EcdsaP256, &Profile::client("alice"), year()).unwrap();
        assert_unforgeable(&alice.chain(), 1, &root);
    }
}

#[test]
fn a_forged_revocation_list_never_counts() {
    for algorithm in ALGORITHMS {
        let root = authority(algorithm);
        let issue = |role| root.issue(KeyAlgorithm::EcdsaP256, &Profile::client(role), year());
        let (alice, bob) = (issue("alice").unwrap(), issue("bob").unwrap());
        let revocation = Revocation {
            serial: bob.certificate.serial().to_vec(),
            since: NOW,
            reason: RevocationReason::KeyCompromise,
        };
        let list = root.revoke(&[revocation], 1, Validity::days(NOW, 30)).unwrap();
        assert!(list.is_signed_by(root.certificate().public_key()));
        let trust = [root.certificate().clone()];
        for (bit, der) in forgeries(list.as_der()) {
            let Ok(forged) = Crl::from_der(&der) else { continue };
            assert!(!forged.is_signed_by(root.certificate().public_key()), "{bit}");
            for verifier in VERIFIERS {
                let chain = alice.chain();
                let verdict = Check::new(&chain, &trust, Purpose::Client, NOW)
                    .crls(std::slice::from_ref(&forged))
                    .verifier(verifier)
                    .run();
                let reason = verdict.unwrap_err();
                assert_ne!(*reason.reason(), Reason::Revoked, "{verifier:?} believes {bit}");
            }
        }
    }
}

#[test]
fn a_forged_request_is_never_read() {
    for algorithm in ALGORITHMS {
        let key = PrivateKey::generate(algorithm).unwrap();
        let request =
            Request::create(&key, &Profile::server(["node1.example.com"]).unwrap()).unwrap();
        Request::from_der(request.as_der()).unwrap();
        for (bit, der) in forgeries(request.as_der()) {
            assert!(matches!(Request::from_der(&der), Err(Error::Request(_))), "{bit}");
        }
    }
}
