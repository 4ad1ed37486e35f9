//! Why a chain is refused.

use std::fmt;

use time::OffsetDateTime;

use crate::certificate::{Certificate, GeneralName, Moment};
use crate::oid::Oid;
use crate::signature::{KeyKind, SignatureAlgorithm};

/// What is wrong with a chain, and which extension or field is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// No certificate was presented.
    NoCertificate,
    /// A certificate is over.
    Expired {
        /// Its last second.
        not_after: OffsetDateTime,
    },
    /// A certificate is not valid yet.
    NotYetValid {
        /// Its first second.
        not_before: OffsetDateTime,
    },
    /// No certificate of the issuer is there: neither presented nor trusted.
    IssuerUnknown,
    /// A certificate of the issuer's name is there, and cannot be the issuer.
    IssuerUnfit(Unfit),
    /// The path ends in a trusted certificate that is no root, and its issuer is not there.
    IssuerOfTrustedUnknown,
    /// The certificate signed itself and is not trusted.
    SelfSigned,
    /// The presented chain ends in a root that is not trusted.
    SelfSignedInChain,
    /// The chain is longer than verifiers follow.
    ChainTooLong,
    /// A certificate that signs others has no `basicConstraints`, or they say CA:FALSE.
    NotAnAuthority,
    /// A certificate that signs others lacks `keyCertSign` in its `keyUsage`.
    KeyCertSignMissing,
    /// `extendedKeyUsage` does not allow the purpose.
    ExtendedKeyUsage,
    /// `keyUsage` does not allow the purpose.
    KeyUsage,
    /// Netscape's `nsCertType` does not allow the purpose.
    NetscapeCertType,
    /// More intermediates than `basicConstraints` of this authority allow.
    PathLength {
        /// How many it allows.
        limit: u32,
    },
    /// The signature is not its issuer's.
    SignatureWrong,
    /// The signature, or the issuer's key, is of a kind that is not supported.
    SignatureUnsupported {
        /// How it is signed.
        algorithm: SignatureAlgorithm,
        /// The issuer's key.
        key: KeyKind,
    },
    /// A critical extension that verifiers do not know.
    UnknownCriticalExtension(Oid),
    /// An extension that cannot be read, or stands there twice.
    MalformedExtension(Oid),
    /// A proxy certificate (RFC 3820).
    ProxyCertificate,
    /// A name that lies in no permitted subtree of an authority's `nameConstraints`.
    NameNotPermitted(GeneralName),
    /// A name that lies in an excluded subtree of an authority's `nameConstraints`.
    NameExcluded(GeneralName),
    /// A name, or a subtree of `nameConstraints`, that cannot be compared.
    NameUnsupported(GeneralName),
    /// More names and constraints than a verifier compares.
    TooManyNames,
    /// A subtree of `nameConstraints` has a minimum or maximum.
    SubtreeBounded,
    /// The key is too small for the security level.
    KeyTooSmall {
        /// The key.
        kind: KeyKind,
        /// The security level.
        level: u8,
    },
    /// No TLS handshake is signed with such a key ([`KeyKind::signs_handshakes`]): its owner cannot
    /// show the certificate.
    KeyNotForTls {
        /// The key.
        kind: KeyKind,
    },
    /// The digest of the signature is too weak for the security level.
    DigestTooWeak {
        /// How it is signed.
        algorithm: SignatureAlgorithm,
        /// The security level.
        level: u8,
    },
    /// The key's curve is written out in full instead of named.
    ExplicitCurve,
    /// Revocation lists are in use and there is none of this certificate's issuer.
    CrlMissing,
    /// The issuer's revocation list is for other certificates only.
    CrlScope,
    /// The issuer's revocation list is out of date.
    CrlExpired {
        /// When the next one was due.
        next_update: OffsetDateTime,
    },
    /// The issuer's revocation list is of a later date.
    CrlNotYetValid {
        /// When it was made.
        this_update: OffsetDateTime,
    },
    /// The revocation list is not signed by the certificate's issuer.
    CrlSignatureWrong,
    /// The issuer may not sign revocation lists: its `keyUsage` lacks `cRLSign`.
    CrlSignMissing,
    /// The revocation list has a critical extension that is not supported.
    CrlUnknownCriticalExtension(Oid),
    /// The certificate is on its issuer's revocation list.
    Revoked,
    /// Something that only this verifier minds, in its own words.
    Other(String),
}

/// Why a certificate of the right name is not the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// `authorityKeyIdentifier` of the one and `subjectKeyIdentifier`, name or serial number of the
    /// other differ: it is another key's, as after an authority was made anew under its old name.
    KeyId,
    /// Its `keyUsage` lacks `keyCertSign`.
    KeyUsage,
    /// Its key makes no such signatures.
    KeyKind,
    /// One of its extensions cannot be read, is empty or stands there twice.
    Malformed(Oid),
}

/// A refusal: the reason, and the certificate to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Rejection {
    reason: Reason,
    certificate: Option<Certificate>,
}

impl Rejection {
    pub(crate) fn new(reason: Reason, certificate: &Certificate) -> Self {
        Self { reason, certificate: Some(certificate.clone()) }
    }

    pub(crate) fn general(reason: Reason) -> Self {
        Self { reason, certificate: None }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The certificate to blame, if it is one.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.certificate {
            Some(certificate) => {
                write!(f, "the certificate of {} {}", certificate.subject(), self.reason)
            }
            None => write!(f, "the chain {}", self.reason),
        }
    }
}

impl fmt::Display for Reason {
    /// In words that follow "the certificate of ...".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("is empty: no certificate was presented"),
            Self::Expired { not_after } => {
                write!(f, "has expired: it was valid until {}", Moment(*not_after))
            }
            Self::NotYetValid { not_before } => {
                write!(f, "is not valid yet: it begins at {}", Moment(*not_before))
            }
            Self::IssuerUnknown => {
                f.write_str("has an issuer whose certificate is neither presented nor trusted")
            }
            Self::IssuerUnfit(Unfit::KeyId) => f.write_str(
                "has an authorityKeyIdentifier that fits no certificate of its issuer's name: the \
                 issuer has another key now",
            ),
            Self::IssuerUnfit(Unfit::KeyUsage) => {
                f.write_str("is the issuer, and its keyUsage lacks keyCertSign")
            }
            Self::IssuerUnfit(Unfit::KeyKind) => {
                f.write_str("has the issuer's name, and a key that makes no such signatures")
            }
            Self::IssuerUnfit(Unfit::Malformed(oid)) => {
                write!(
                    f,
                    "is the issuer, and has an extension that is damaged, empty or stands there twice: {oid:?}"
                )
            }
            Self::IssuerOfTrustedUnknown => f.write_str(
                "is trusted but no root, and its own issuer is not among the trusted ones",
            ),
            Self::SelfSigned => f.write_str("is signed with its own key and not trusted"),
            Self::SelfSignedInChain => f.write_str("is a root that is presented and not trusted"),
            Self::ChainTooLong => f.write_str("stands in a chain that is too long"),
            Self::NotAnAuthority => {
                f.write_str("signs others without basicConstraints that say CA:TRUE")
            }
            Self::KeyCertSignMissing => {
                f.write_str("signs others, and its keyUsage lacks keyCertSign")
            }
            Self::ExtendedKeyUsage => {
                f.write_str("has an extendedKeyUsage that does not allow the purpose")
            }
            Self::KeyUsage => f.write_str("has a keyUsage that does not allow the purpose"),
            Self::NetscapeCertType => {
                f.write_str("has an nsCertType that does not allow the purpose")
            }
            Self::PathLength { limit } => write!(
                f,
                "allows no more than {limit} intermediates below it (pathlen in basicConstraints)"
            ),
            Self::SignatureWrong => f.write_str(
                "is not signed by the issuer that was found: another authority has the same name",
            ),
            Self::SignatureUnsupported { algorithm, key } => {
                write!(f, "cannot be verified: {algorithm} under a key of type {key}")
            }
            Self::UnknownCriticalExtension(oid) => {
                write!(f, "has a critical extension that verifiers do not know: {oid:?}")
            }
            Self::MalformedExtension(oid) => {
                write!(f, "has an extension that is damaged, empty or stands there twice: {oid:?}")
            }
            Self::ProxyCertificate => f.write_str("is a proxy certificate"),
            Self::NameNotPermitted(name) => write!(
                f,
                "holds the name {name}, which no permitted subtree of an authority's \
                 nameConstraints covers"
            ),
            Self::NameExcluded(name) => write!(
                f,
                "holds the name {name}, which the nameConstraints of an authority exclude"
            ),
            Self::NameUnsupported(name) => {
                write!(f, "meets nameConstraints that cannot be compared with {name}")
            }
            Self::TooManyNames => f.write_str("holds too many names to compare"),
            Self::SubtreeBounded => f.write_str("meets nameConstraints with a minimum or maximum"),
            Self::KeyTooSmall { kind, level } => {
                write!(f, "has a key that is too small for security level {level}: {kind}")
            }
            Self::KeyNotForTls { kind } => {
                write!(f, "has a key that no TLS handshake is signed with: {kind}")
            }
            Self::DigestTooWeak { algorithm, level } => {
                write!(f, "has a signature too weak for security level {level}: {algorithm}")
            }
            Self::ExplicitCurve => {
                f.write_str("has a key whose curve is written out instead of named")
            }
            Self::CrlMissing => f.write_str("has an issuer whose revocation list is not there"),
            Self::CrlScope => f.write_str(
                "has an issuer whose revocation list is for other certificates \
                 (issuingDistributionPoint)",
            ),
            Self::CrlExpired { next_update } => {
                write!(
                    f,
                    "has an issuer whose revocation list was due again at {}",
                    Moment(*next_update)
                )
            }
            Self::CrlNotYetValid { this_update } => {
                write!(
                    f,
                    "has an issuer whose revocation list begins at {} only",
                    Moment(*this_update)
                )
            }
            Self::CrlSignatureWrong => {
                f.write_str("has a revocation list that its issuer did not sign")
            }
            Self::CrlSignMissing => f.write_str(
                "has an issuer whose keyUsage lacks cRLSign, so its list does not count",
            ),
            Self::CrlUnknownCriticalExtension(oid) => {
                write!(f, "has a revocation list with an unknown critical extension: {oid:?}")
            }
            Self::Revoked => f.write_str("is revoked"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl Reason {
    /// The TLS alert that a server or libpq with OpenSSL sends, in the words in which the other
    /// end reports it (`tlsv1 alert unknown ca`); from `ssl_x509err2alert` and
    /// `SSL_alert_desc_string_long`.
    ///
    /// One reason has no alert where it is a client's certificate: [`Reason::KeyNotForTls`]. The
    /// client shows none, and the server says `connection requires a valid client certificate`.
    #[must_use]
    pub const fn openssl_alert(&self) -> &'static str {
        match self {
            Self::Expired { .. } | Self::CrlExpired { .. } => "certificate expired",
            Self::IssuerUnknown
            | Self::IssuerUnfit(_)
            | Self::IssuerOfTrustedUnknown
            | Self::SelfSigned
            | Self::SelfSignedInChain
            | Self::ChainTooLong
            | Self::MalformedExtension(_)
            | Self::NotAnAuthority
            | Self::KeyCertSignMissing
            | Self::PathLength { .. }
            | Self::CrlMissing => "unknown ca",
            Self::ExtendedKeyUsage | Self::KeyUsage | Self::NetscapeCertType => {
                "unsupported certificate"
            }
            Self::SignatureWrong | Self::SignatureUnsupported { .. } | Self::CrlSignatureWrong => {
                "decrypt error"
            }
            Self::NotYetValid { .. }
            | Self::KeyTooSmall { .. }
            | Self::DigestTooWeak { .. }
            | Self::ExplicitCurve
            | Self::CrlNotYetValid { .. } => "bad certificate",
            Self::Revoked => "certificate revoked",
            Self::KeyNotForTls { .. } => "handshake failure",
            Self::TooManyNames => "internal error",
            Self::NoCertificate
            | Self::UnknownCriticalExtension(_)
            | Self::ProxyCertificate
            | Self::NameNotPermitted(_)
            | Self::NameExcluded(_)
            | Self::NameUnsupported(_)
            | Self::SubtreeBounded
            | Self::CrlScope
            | Self::CrlSignMissing
            | Self::CrlUnknownCriticalExtension(_)
            | Self::Other(_) => "certificate unknown",
        }
    }
}
