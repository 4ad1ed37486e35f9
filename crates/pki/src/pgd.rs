//! What EDB Postgres Distributed's Connection Manager demands of `server.crt`.
//!
//! Its documentation (PGD 6, client connections) lists the demands; it is built on rustls, so
//! webpki's rules apply too, and there is no fall-back to the common name.

use std::fmt;

use crate::certificate::Certificate;
use crate::host::HostRules;
use crate::oid;
use crate::signature::{Curve, Hash, KeyKind, SignatureAlgorithm};

/// A demand that a certificate does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionManagerFinding {
    /// It is not of version 3.
    Version(u32),
    /// It may sign others: `basicConstraints` must say CA:FALSE.
    Authority,
    /// It has no `basicConstraints`, where CA:FALSE is demanded.
    NoBasicConstraints,
    /// It has no `subjectAltName`.
    NoAlternativeNames,
    /// Its `extendedKeyUsage` does not name `serverAuth`.
    NoServerAuth,
    /// Its key is neither RSA (2048 to 8192 bits) nor ECDSA on a curve that rustls knows (P-256,
    /// P-384, P-521).
    Key(KeyKind),
    /// It is not signed with SHA-256 or better.
    Signature(SignatureAlgorithm),
    /// A host by which clients reach it is none of its names.
    Host(String),
}

impl fmt::Display for ConnectionManagerFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => {
                write!(f, "the certificate is of version {version}, not X.509 v3")
            }
            Self::Authority => f.write_str("basicConstraints say CA:TRUE, not CA:FALSE"),
            Self::NoBasicConstraints => f.write_str("basicConstraints (CA:FALSE) are missing"),
            Self::NoAlternativeNames => {
                f.write_str("subjectAltName is missing, and the common name does not count")
            }
            Self::NoServerAuth => f.write_str("extendedKeyUsage does not name serverAuth"),
            Self::Key(kind) => {
                write!(f, "the key is neither RSA nor ECDSA of a kind that rustls knows: {kind}")
            }
            Self::Signature(algorithm) => {
                write!(f, "the signature is weaker than SHA-256, or unknown: {algorithm}")
            }
            Self::Host(host) => write!(f, "subjectAltName does not cover the host {host}"),
        }
    }
}

/// Every demand that `certificate` does not meet, for a Connection Manager that clients reach as
/// `hosts`.
///
/// ```
/// use pki::{Authority, KeyAlgorithm, Profile, Subject, Validity, judge_connection_manager};
/// use time::OffsetDateTime;
///
/// let validity = Validity::days(OffsetDateTime::UNIX_EPOCH, 1);
/// let root = Authority::create(KeyAlgorithm::EcdsaP256, &Subject::common_name("CA"), validity)?;
/// let profile = Profile::server(["node1.example.com"])?;
/// let server = root.issue(KeyAlgorithm::EcdsaP256, &profile, validity)?;
/// assert!(judge_connection_manager(&server.certificate, &["node1.example.com"]).is_empty());
/// # Ok::<(), pki::Error>(())
/// ```
#[must_use]
pub fn judge_connection_manager(
    certificate: &Certificate,
    hosts: &[&str],
) -> Vec<ConnectionManagerFinding> {
    use ConnectionManagerFinding as Finding;
    let extensions = certificate.extensions();
    let mut findings = Vec::new();
    if certificate.version() != 3 {
        findings.push(Finding::Version(certificate.version()));
    }
    match extensions.basic_constraints {
        Some(constraints) if constraints.ca => findings.push(Finding::Authority),
        Some(_) => {}
        None => findings.push(Finding::NoBasicConstraints),
    }
    let named = extensions
        .extended_key_usage
        .as_ref()
        .is_some_and(|usages| usages.iter().any(|usage| *usage == oid::SERVER_AUTH));
    if !named {
        findings.push(Finding::NoServerAuth);
    }
    match certificate.public_key().kind() {
        KeyKind::Rsa { bits: 2048..=8192 }
        | KeyKind::Ec(Curve::P256 | Curve::P384 | Curve::P521) => {}
        kind => findings.push(Finding::Key(kind.clone())),
    }
    match certificate.signature_algorithm() {
        SignatureAlgorithm::Rsa(hash)
        | SignatureAlgorithm::RsaPss(hash, _)
        | SignatureAlgorithm::Ecdsa(hash)
            if matches!(hash, Hash::Sha256 | Hash::Sha384 | Hash::Sha512) => {}
        algorithm => findings.push(Finding::Signature(algorithm.clone())),
    }
    if extensions.subject_alt_names.is_none() {
        findings.push(Finding::NoAlternativeNames);
    } else {
        let missing = hosts
            .iter()
            .filter(|host| certificate.matches_host(Some(host), HostRules::Rustls).is_err());
        findings.extend(missing.map(|host| Finding::Host((*host).to_owned())));
    }
    findings
}
