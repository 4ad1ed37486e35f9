//! Public keys and signatures. The mathematics are those of aws-lc-rs.

use std::fmt;

use aws_lc_rs::signature::{self as math, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::asn1_rs::{Any, Class, Tag};
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::der::{self, Fields, tag};
use crate::frame;
use crate::oid::{self, Oid};

/// A digest that a signature is made over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hash {
    /// MD5: broken. Known so that it can be named in a refusal.
    Md5,
    /// SHA-1: broken for signatures.
    Sha1,
    /// SHA-224
    Sha224,
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
    /// SHA-512/256: SHA-512 cut to 256 bits
    Sha512_256,
    /// SHA3-224
    Sha3_224,
    /// SHA3-256
    Sha3_256,
    /// SHA3-384
    Sha3_384,
    /// SHA3-512
    Sha3_512,
}

impl Hash {
    fn from_oid(oid: &[u8]) -> Option<Self> {
        Some(match oid {
            oid::MD5 => Self::Md5,
            oid::SHA1 => Self::Sha1,
            oid::SHA224 => Self::Sha224,
            oid::SHA256 => Self::Sha256,
            oid::SHA384 => Self::Sha384,
            oid::SHA512 => Self::Sha512,
            oid::SHA512_256 => Self::Sha512_256,
            oid::SHA3_224 => Self::Sha3_224,
            oid::SHA3_256 => Self::Sha3_256,
            oid::SHA3_384 => Self::Sha3_384,
            oid::SHA3_512 => Self::Sha3_512,
            _ => return None,
        })
    }

    /// The size of the digest in octets.
    #[must_use]
    pub const fn size(self) -> u32 {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 | Self::Sha3_224 => 28,
            Self::Sha256 | Self::Sha512_256 | Self::Sha3_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha224 => "SHA-224",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
            Self::Sha512_256 => "SHA-512/256",
            Self::Sha3_224 => "SHA3-224",
            Self::Sha3_256 => "SHA3-256",
            Self::Sha3_384 => "SHA3-384",
            Self::Sha3_512 => "SHA3-512",
        })
    }
}

/// How a certificate, a request or a revocation list is signed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// RSA with PKCS#1 v1.5 padding
    Rsa(Hash),
    /// RSA-PSS, its digest and the length of its salt in octets
    RsaPss(Hash, u32),
    /// ECDSA on any curve
    Ecdsa(Hash),
    /// Ed25519: the digest is part of the scheme, so that `tls-server-end-point` has none to use
    Ed25519,
    /// Ed448
    Ed448,
    /// DSA
    Dsa(Hash),
    /// Something else
    Other(Oid),
}

impl SignatureAlgorithm {
    pub(crate) fn from_parsed(algorithm: &AlgorithmIdentifier<'_>) -> Self {
        let oid = algorithm.algorithm.as_bytes();
        let parameters = algorithm.parameters.as_ref();
        let read = if oid == oid::RSA_PSS {
            parameters.and_then(pss)
        } else {
            // The others have none, or NULL (RFC 4055 section 5, RFC 5758 section 3).
            let plain = parameters.is_none_or(|any| is(any, Tag::Null));
            plain.then(|| Self::named(oid))
        };
        read.unwrap_or_else(|| Self::Other(Oid::from_der_contents(oid)))
    }

    /// The algorithm of this name, with its default parameters.
    pub(crate) fn named(oid: &[u8]) -> Self {
        match oid {
            oid::MD5_WITH_RSA => Self::Rsa(Hash::Md5),
            oid::SHA1_WITH_RSA => Self::Rsa(Hash::Sha1),
            oid::SHA224_WITH_RSA => Self::Rsa(Hash::Sha224),
            oid::SHA256_WITH_RSA => Self::Rsa(Hash::Sha256),
            oid::SHA384_WITH_RSA => Self::Rsa(Hash::Sha384),
            oid::SHA512_WITH_RSA => Self::Rsa(Hash::Sha512),
            oid::SHA3_224_WITH_RSA => Self::Rsa(Hash::Sha3_224),
            oid::SHA3_256_WITH_RSA => Self::Rsa(Hash::Sha3_256),
            oid::SHA3_384_WITH_RSA => Self::Rsa(Hash::Sha3_384),
            oid::SHA3_512_WITH_RSA => Self::Rsa(Hash::Sha3_512),
            oid::RSA_PSS => Self::RsaPss(Hash::Sha1, 20),
            oid::ECDSA_WITH_SHA1 => Self::Ecdsa(Hash::Sha1),
            oid::ECDSA_WITH_SHA224 => Self::Ecdsa(Hash::Sha224),
            oid::ECDSA_WITH_SHA256 => Self::Ecdsa(Hash::Sha256),
            oid::ECDSA_WITH_SHA384 => Self::Ecdsa(Hash::Sha384),
            oid::ECDSA_WITH_SHA512 => Self::Ecdsa(Hash::Sha512),
            oid::ED25519 => Self::Ed25519,
            oid::ED448 => Self::Ed448,
            oid::DSA_WITH_SHA1 => Self::Dsa(Hash::Sha1),
            oid::DSA_WITH_SHA256 => Self::Dsa(Hash::Sha256),
            _ => Self::Other(Oid::from_der_contents(oid)),
        }
    }

    /// The digest that the signature is made over, `None` where the scheme has its own.
    #[must_use]
    pub const fn hash(&self) -> Option<Hash> {
        match self {
            Self::Rsa(hash) | Self::RsaPss(hash, _) | Self::Ecdsa(hash) | Self::Dsa(hash) => {
                Some(*hash)
            }
            Self::Ed25519 | Self::Ed448 | Self::Other(_) => None,
        }
    }

    /// Whether a key of this kind makes such signatures.
    pub(crate) fn fits(&self, kind: &KeyKind) -> bool {
        match self {
            Self::Rsa(_) => matches!(kind, KeyKind::Rsa { .. }),
            Self::RsaPss(..) => matches!(kind, KeyKind::Rsa { .. } | KeyKind::RsaPss { .. }),
            Self::Ecdsa(_) => matches!(kind, KeyKind::Ec(_)),
            Self::Ed25519 => *kind == KeyKind::Ed25519,
            Self::Ed448 => *kind == KeyKind::Ed448,
            Self::Dsa(_) => matches!(kind, KeyKind::Dsa { .. }),
            Self::Other(_) => false,
        }
    }
}

/// Whether an element is of a universal type. x509-parser compares numbers of tags only.
fn is(any: &Any<'_>, tag: Tag) -> bool {
    any.class() == Class::Universal && any.tag() == tag
}

fn pss(parameters: &Any<'_>) -> Option<SignatureAlgorithm> {
    let parameters = RsaSsaPssParams::try_from(parameters).ok()?;
    let hash = Hash::from_oid(parameters.hash_algorithm_oid().as_bytes())?;
    // Everybody signs with MGF1 over the same digest, and no library verifies anything else.
    let mask = parameters.mask_gen_algorithm().ok()?;
    (Hash::from_oid(mask.hash.as_bytes()) == Some(hash))
        .then_some(SignatureAlgorithm::RsaPss(hash, parameters.salt_length()))
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(hash) => write!(f, "RSA with {hash}"),
            Self::RsaPss(hash, salt) if *salt == hash.size() => write!(f, "RSA-PSS with {hash}"),
            Self::RsaPss(hash, salt) => {
                write!(f, "RSA-PSS with {hash} and a salt of {salt} octets")
            }
            Self::Ecdsa(hash) => write!(f, "ECDSA with {hash}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Ed448 => f.write_str("Ed448"),
            Self::Dsa(hash) => write!(f, "DSA with {hash}"),
            Self::Other(oid) => write!(f, "unknown algorithm {oid}"),
        }
    }
}

/// An elliptic curve.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Curve {
    /// NIST P-192, too small
    P192,
    /// NIST P-224
    P224,
    /// NIST P-256, also called prime256v1 and secp256r1
    P256,
    /// NIST P-384
    P384,
    /// NIST P-521
    P521,
    /// A curve written out in full instead of named, which verifiers refuse
    Explicit,
    /// Another named curve
    Other(Oid),
}

/// The arc of Brainpool's curves (RFC 5639 appendix A): from 1, brainpoolP160r1, to 14, brainpoolP512t1.
pub(crate) const BRAINPOOL: &[u8] = &[0x2b, 0x24, 3, 3, 2, 8, 1, 1];

/// Curves without a variant of their own that OpenSSL reads: secp256k1 and those of Brainpool.
fn is_known_curve(oid: &Oid) -> bool {
    let contents = oid.as_der_contents();
    contents == oid::SECP256K1 || matches!(contents.strip_prefix(BRAINPOOL), Some([1..=14]))
}

/// What kind of key a public key is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// RSA, and the length of its modulus in bits
    Rsa {
        /// Length of the modulus
        bits: u32,
    },
    /// RSA that may be used for RSA-PSS only
    RsaPss {
        /// Length of the modulus
        bits: u32,
    },
    /// Elliptic curve
    Ec(Curve),
    /// Ed25519
    Ed25519,
    /// Ed448
    Ed448,
    /// DSA, and the length of its prime in bits
    Dsa {
        /// Length of the prime
        bits: u32,
    },
    /// Something else
    Other(Oid),
}

impl KeyKind {
    /// Whether handshakes of TLS 1.3 can be signed with such a key (RFC 8446 section 4.2.3).
    ///
    /// A server with another kind of key starts, and no libpq can connect to it (`sslv3 alert
    /// handshake failure`); a libpq with one does not show its certificate (`connection requires a
    /// valid client certificate`). With TLS 1.2 it is the same: OpenSSL offers neither DSA nor other
    /// curves than these unless told to.
    #[must_use]
    pub const fn signs_handshakes(&self) -> bool {
        match self {
            Self::Rsa { .. } | Self::RsaPss { .. } | Self::Ed25519 | Self::Ed448 => true,
            Self::Ec(Curve::P256 | Curve::P384 | Curve::P521 | Curve::Explicit) => true,
            Self::Ec(Curve::P192 | Curve::P224 | Curve::Other(_))
            | Self::Dsa { .. }
            | Self::Other(_) => false,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits} bit"),
            Self::RsaPss { bits } => write!(f, "RSA-PSS {bits} bit"),
            Self::Ec(Curve::P192) => f.write_str("ECDSA P-192"),
            Self::Ec(Curve::P224) => f.write_str("ECDSA P-224"),
            Self::Ec(Curve::P256) => f.write_str("ECDSA P-256"),
            Self::Ec(Curve::P384) => f.write_str("ECDSA P-384"),
            Self::Ec(Curve::P521) => f.write_str("ECDSA P-521"),
            Self::Ec(Curve::Explicit) => f.write_str("ECDSA with explicit curve parameters"),
            Self::Ec(Curve::Other(oid)) => write!(f, "ECDSA on curve {oid}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Ed448 => f.write_str("Ed448"),
            Self::Dsa { bits } => write!(f, "DSA {bits} bit"),
            Self::Other(oid) => write!(f, "unknown key type {oid}"),
        }
    }
}

/// A public key, as it stands in a certificate or a request.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    der: Vec<u8>,
    bits: Vec<u8>,
    kind: KeyKind,
}

impl PublicKey {
    pub(crate) fn from_parsed(info: &SubjectPublicKeyInfo<'_>) -> Self {
        Self {
            der: info.raw.to_vec(),
            bits: info.subject_public_key.data.to_vec(),
            kind: kind(info),
        }
    }

    /// Reads a `SubjectPublicKeyInfo`.
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        let (rest, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
        rest.is_empty().then(|| Self::from_parsed(&info))
    }

    /// The DER of the `SubjectPublicKeyInfo`: what two certificates of the same key share.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The key itself: the contents of the BIT STRING.
    pub(crate) fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// The contents of the `AlgorithmIdentifier`, as rustls compares it.
    #[cfg(feature = "rustls")]
    pub(crate) fn algorithm_der(&self) -> &[u8] {
        der::split(&self.der)
            .and_then(|info| der::split(info.contents))
            .map_or(&[], |algorithm| algorithm.contents)
    }

    /// What kind of key it is.
    #[must_use]
    pub fn kind(&self) -> &KeyKind {
        &self.kind
    }

    /// Whether the parameters of the key's algorithm are an element of this tag.
    fn names_parameters(&self, tag: u8) -> bool {
        let read = Fields::of(&self.der).sequence(|info| {
            let found = info.sequence(|algorithm| {
                algorithm.take(tag::OID)?;
                algorithm.take(tag).map(drop)
            });
            info.take_any()?;
            found
        });
        read.is_some()
    }

    /// Whether the key is one: a point on its curve, a modulus with an exponent. True also for kinds
    /// that are not known here.
    pub(crate) fn is_readable(&self) -> bool {
        let point = |scheme| UnparsedPublicKey::new(scheme, &self.bits).parse().is_ok();
        match &self.kind {
            KeyKind::Rsa { bits } | KeyKind::RsaPss { bits } => *bits > 0,
            KeyKind::Ec(Curve::P256) => point(&math::ECDSA_P256_SHA256_ASN1),
            KeyKind::Ec(Curve::P384) => point(&math::ECDSA_P384_SHA384_ASN1),
            KeyKind::Ec(Curve::P521) => point(&math::ECDSA_P521_SHA512_ASN1),
            KeyKind::Ec(Curve::Explicit) => self.names_parameters(tag::SEQUENCE),
            KeyKind::Ec(Curve::Other(oid)) => is_known_curve(oid),
            KeyKind::Ed25519 => self.bits.len() == 32,
            _ => true,
        }
    }

    /// Verifies a signature over `message`.
    ///
    /// # Errors
    /// Whether the signature is wrong, or of a kind that cannot be verified here.
    pub fn verify(
        &self,
        algorithm: &SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let unsupported =
            || SignatureError::Unsupported { algorithm: algorithm.clone(), key: self.kind.clone() };
        if !algorithm.fits(&self.kind) {
            return Err(unsupported());
        }
        let scheme = self.scheme(algorithm).ok_or_else(unsupported)?;
        UnparsedPublicKey::new(scheme, &self.bits)
            .verify(message, signature)
            .map_err(|_| SignatureError::Wrong)
    }

    fn scheme(&self, algorithm: &SignatureAlgorithm) -> Option<&'static dyn VerificationAlgorithm> {
        let small = matches!(self.kind, KeyKind::Rsa { bits } if bits < 2048);
        Some(match (algorithm, &self.kind) {
            (SignatureAlgorithm::Rsa(hash), _) => match hash {
                Hash::Sha1 if small => &math::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
                Hash::Sha256 if small => &math::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                Hash::Sha512 if small => &math::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
                Hash::Sha1 => &math::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
                Hash::Sha256 => &math::RSA_PKCS1_2048_8192_SHA256,
                Hash::Sha384 => &math::RSA_PKCS1_2048_8192_SHA384,
                Hash::Sha512 => &math::RSA_PKCS1_2048_8192_SHA512,
                _ => return None,
            },
            (SignatureAlgorithm::RsaPss(hash, salt), _) if *salt == hash.size() => match hash {
                Hash::Sha256 => &math::RSA_PSS_2048_8192_SHA256,
                Hash::Sha384 => &math::RSA_PSS_2048_8192_SHA384,
                Hash::Sha512 => &math::RSA_PSS_2048_8192_SHA512,
                _ => return None,
            },
            (SignatureAlgorithm::Ecdsa(hash), KeyKind::Ec(curve)) => match (curve, hash) {
                (Curve::P256, Hash::Sha1) => &math::ECDSA_P256_SHA1_ASN1,
                (Curve::P256, Hash::Sha256) => &math::ECDSA_P256_SHA256_ASN1,
                (Curve::P256, Hash::Sha384) => &math::ECDSA_P256_SHA384_ASN1,
                (Curve::P256, Hash::Sha512) => &math::ECDSA_P256_SHA512_ASN1,
                (Curve::P384, Hash::Sha256) => &math::ECDSA_P384_SHA256_ASN1,
                (Curve::P384, Hash::Sha384) => &math::ECDSA_P384_SHA384_ASN1,
                (Curve::P384, Hash::Sha512) => &math::ECDSA_P384_SHA512_ASN1,
                (Curve::P521, Hash::Sha1) => &math::ECDSA_P521_SHA1_ASN1,
                (Curve::P521, Hash::Sha224) => &math::ECDSA_P521_SHA224_ASN1,
                (Curve::P521, Hash::Sha256) => &math::ECDSA_P521_SHA256_ASN1,
                (Curve::P521, Hash::Sha384) => &math::ECDSA_P521_SHA384_ASN1,
                (Curve::P521, Hash::Sha512) => &math::ECDSA_P521_SHA512_ASN1,
                _ => return None,
            },
            (SignatureAlgorithm::Ed25519, _) => &math::ED25519,
            _ => return None,
        })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.kind)
    }
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It was not made by this key, or not over this message.
    #[error("the signature is wrong")]
    Wrong,
    /// It cannot be verified here.
    #[error("{algorithm} under a key of type {key} is not supported")]
    Unsupported {
        /// How it is signed.
        algorithm: SignatureAlgorithm,
        /// The key that should verify it.
        key: KeyKind,
    },
}

fn kind(info: &SubjectPublicKeyInfo<'_>) -> KeyKind {
    let oid = info.algorithm.algorithm.as_bytes();
    let parameters = info.algorithm.parameters.as_ref();
    match oid {
        oid::RSA_ENCRYPTION => KeyKind::Rsa { bits: modulus_bits(&info.subject_public_key.data) },
        oid::RSA_PSS => KeyKind::RsaPss { bits: modulus_bits(&info.subject_public_key.data) },
        oid::EC_PUBLIC_KEY => KeyKind::Ec(match parameters {
            Some(any) if is(any, Tag::Oid) => match any.data {
                oid::P192 => Curve::P192,
                oid::P224 => Curve::P224,
                oid::P256 => Curve::P256,
                oid::P384 => Curve::P384,
                oid::P521 => Curve::P521,
                other => Curve::Other(Oid::from_der_contents(other)),
            },
            _ => Curve::Explicit,
        }),
        oid::ED25519 => KeyKind::Ed25519,
        oid::ED448 => KeyKind::Ed448,
        oid::DSA => KeyKind::Dsa {
            bits: parameters
                .and_then(|any| der::split(any.data))
                .map_or(0, |prime| integer_bits(prime.contents)),
        },
        other => KeyKind::Other(Oid::from_der_contents(other)),
    }
}

/// The length of the modulus of an `RSAPublicKey`, 0 if it is none.
fn modulus_bits(key: &[u8]) -> u32 {
    let read = Fields::of(key).sequence(|numbers| {
        let modulus = numbers.take(tag::INTEGER)?;
        numbers.take(tag::INTEGER)?;
        Some(modulus)
    });
    read.filter(|_| frame::is_der(key)).map_or(0, integer_bits)
}

fn integer_bits(octets: &[u8]) -> u32 {
    let leading = octets.iter().take_while(|octet| **octet == 0).count();
    let Some(first) = octets.get(leading) else { return 0 };
    let octets = u32::try_from(octets.len() - leading).unwrap_or(u32::MAX / 8);
    octets.saturating_mul(8) - first.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_in_bits() {
        for (octets, bits) in
            [(&[][..], 0), (&[0, 0], 0), (&[1], 1), (&[0, 0x80], 8), (&[0, 1, 0], 9)]
        {
            assert_eq!(integer_bits(octets), bits);
        }
    }
}
