//! Certificates: whatever the bytes, no panic, and no verdict that its own path does not bear out.

use pg_version::PgVersion;
use pki::{
    Certificate, Check, Crl, Heap, HostRules, NameSubtree, Purpose, Request, RequestPolicy,
    Verifier,
};
use time::OffsetDateTime;

const VERIFIERS: [Verifier; 4] =
    [Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0, Verifier::WebPki, Verifier::Rfc5280];

/// A heap of PEM files: every chain found is linked by signatures, and its files can be read again.
///
/// # Panics
/// Where a chain is not linked, or its file is not the chain.
pub fn heap(data: &[u8]) {
    let _ = Crl::all_from_pem(data);
    let _ = pki::PrivateKey::from_pem(data);
    let mut heap = Heap::new();
    if heap.add_pem(data).is_err() {
        assert!(heap.certificates().is_empty(), "a refused file leaves nothing behind");
        return;
    }
    for leaf in heap.leaves() {
        for chain in heap.chains(leaf, OffsetDateTime::UNIX_EPOCH) {
            let links = chain.certificates().windows(2);
            for link in links {
                assert!(link[0].is_signed_by(link[1].public_key()), "an unsigned link");
            }
            let file = chain.certificate_file();
            let again = Certificate::all_from_pem(file.as_bytes());
            assert_eq!(again.as_deref().ok(), Some(chain.presented()), "the file is the chain");
        }
    }
}

/// Certificates in DER, each behind its length in two octets. The first octet says how many of the
/// last ones are trusted. What is accepted must be signed from top to bottom, and end in trust.
///
/// # Panics
/// Where a verdict is not borne out by its path.
pub fn chain(data: &[u8]) {
    let Some((trusted, mut rest)) = data.split_first() else { return };
    let mut certificates = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(tail.len());
        let (der, tail) = tail.split_at(length);
        rest = tail;
        let Ok(certificate) = Certificate::from_der(der) else { continue };
        assert_eq!(certificate.as_der(), der, "nothing is lost");
        let _ = certificate.summary(OffsetDateTime::UNIX_EPOCH).to_string();
        for host in ["node1.example.com", "192.0.2.1", "::1", "*.", ""] {
            let _ = certificate.matches_host(Some(host), HostRules::Libpq(PgVersion::V12));
            let _ = certificate.matches_host(Some(host), HostRules::Libpq(PgVersion::V18));
            let _ = certificate.matches_host(Some(host), HostRules::Rustls);
        }
        certificates.push(certificate);
    }
    let trusted = usize::from(*trusted).min(certificates.len());
    let (presented, trust) = certificates.split_at(certificates.len() - trusted);
    let Some(leaf) = presented.first() else { return };
    let time = leaf.validity().not_before;
    for purpose in [Purpose::Server, Purpose::Client] {
        for verifier in VERIFIERS {
            let verdict = Check::new(presented, trust, purpose, time).verifier(verifier).run();
            let Ok(path) = verdict else { continue };
            let path = path.certificates();
            assert_eq!(path.first(), Some(leaf), "a path begins with what was presented");
            assert!(path.last().is_some_and(|root| trust.contains(root)), "a path ends in trust");
            // webpki makes links of names and keys, and is trusted to have verified them.
            if verifier != Verifier::WebPki {
                for link in path.windows(2) {
                    assert!(link[0].is_signed_by(link[1].public_key()), "an unsigned link");
                    assert_eq!(link[0].issuer(), link[1].subject(), "names that do not link");
                }
            }
        }
    }
}

/// A signing request in DER: what a policy makes of it is never more than the policy allows.
///
/// # Panics
/// Where a policy gives more than it allows.
pub fn request(data: &[u8]) {
    let Ok(request) = Request::from_der(data) else { return };
    assert_eq!(request.as_der(), data, "nothing is lost");
    let policy = RequestPolicy {
        hosts: vec![NameSubtree::Dns("example.com".to_owned())],
        wildcards: false,
        roles: vec!["alice".to_owned()],
        intermediates: false,
    };
    let Ok(profile) = policy.judge(&request) else { return };
    assert!(profile.role().is_none_or(|role| role == "alice"), "a role that nobody allowed");
    for name in profile.host_names().into_iter().flat_map(pki::HostNames::dns) {
        assert!(name.to_ascii_lowercase().ends_with("example.com"), "a host that nobody allowed");
    }
}
