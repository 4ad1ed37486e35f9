//! Channel binding: which TLS connection an exchange belongs to.
//!
//! PostgreSQL knows one type, `tls-server-end-point` (RFC 5929): a hash of the server's
//! certificate, with the hash function of the certificate's own *signature*. MD5 and SHA-1 are
//! replaced by SHA-256. That is what `be_tls_get_certificate_hash()` and
//! `pgtls_get_peer_certificate_hash()` do, which ask OpenSSL's `X509_get_signature_info()`; with it
//! RSA-PSS certificates work.
//!
//! **A certificate that was signed with Ed25519 has no hash function of its own**, and every libpq
//! from 12 to 18 refuses to log in with a password through it (`could not find digest for NID
//! UNDEF`), unless told `channel_binding=disable`. It is the issuer's key that matters: an Ed25519
//! key in a certificate signed with ECDSA is fine. [`EndPointError::NoDigest`] says so before
//! anybody is locked out.

use std::fmt;

/// Name of the only channel binding type that PostgreSQL has.
pub const TLS_SERVER_END_POINT: &str = "tls-server-end-point";

/// Data of the channel binding `tls-server-end-point`: the hash of a server's certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct EndPoint(Vec<u8>);

impl EndPoint {
    /// Takes a hash that a TLS library made.
    #[must_use]
    pub fn from_hash(hash: impl Into<Vec<u8>>) -> Self {
        Self(hash.into())
    }

    /// The hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for EndPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndPoint(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// The connection that an exchange runs over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Channel {
    /// No TLS: a Unix socket, or plain TCP
    #[default]
    Plain,
    /// TLS, with the server's certificate or the reason why it cannot be bound to
    Tls(Result<EndPoint, EndPointError>),
}

impl Channel {
    /// TLS with this server certificate (DER).
    ///
    /// On the client it is the certificate that the server presented, on the server its own.
    #[cfg(feature = "x509")]
    #[cfg_attr(docsrs, doc(cfg(feature = "x509")))]
    #[must_use]
    pub fn tls(certificate: &[u8]) -> Self {
        Self::Tls(tls_server_end_point(certificate))
    }

    /// TLS with a channel binding hash at hand.
    #[must_use]
    pub const fn tls_with(end_point: EndPoint) -> Self {
        Self::Tls(Ok(end_point))
    }

    pub(crate) const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// The channel binding data for a server certificate in DER.
///
/// Only the certificate's outermost structure is read: an extension that nobody understands does
/// not matter here.
///
/// # Errors
/// [`EndPointError::NotACertificate`]; [`EndPointError::NoDigest`] for Ed25519 and Ed448;
/// [`EndPointError::UnknownDigest`] for a signature whose hash function OpenSSL's table does not
/// tell, so that no libpq binds to it either: ECDSA with SHA-3, RSA with the truncated forms of
/// SHA-512 (but with RSA-PSS these work), and algorithms that nobody uses any more.
///
/// ```
/// use scram::channel::{EndPointError, tls_server_end_point};
///
/// assert_eq!(tls_server_end_point(b"no certificate"), Err(EndPointError::NotACertificate));
/// ```
#[cfg(feature = "x509")]
#[cfg_attr(docsrs, doc(cfg(feature = "x509")))]
pub fn tls_server_end_point(certificate: &[u8]) -> Result<EndPoint, EndPointError> {
    use x509_parser::asn1_rs::{Any, FromDer, Sequence};
    use x509_parser::x509::AlgorithmIdentifier;

    let not_a_certificate = |_| EndPointError::NotACertificate;
    let (rest, outer) = Sequence::from_der(certificate).map_err(not_a_certificate)?;
    if !rest.is_empty() {
        return Err(EndPointError::NotACertificate);
    }
    let (after_tbs, _) = Any::from_der(&outer.content).map_err(not_a_certificate)?;
    let (_, algorithm) =
        AlgorithmIdentifier::from_der(after_tbs).map_err(|_| EndPointError::NotACertificate)?;
    signature_digest(&algorithm).map(|digest| EndPoint(digest(certificate)))
}

/// Hashes a certificate.
#[cfg(feature = "x509")]
type Hash = fn(&[u8]) -> Vec<u8>;

#[cfg(feature = "x509")]
fn hash<D: sha2::Digest>(certificate: &[u8]) -> Vec<u8> {
    D::digest(certificate).to_vec()
}

/// The hash function to use for a certificate with this signature algorithm: what OpenSSL's table
/// of signature algorithms says (`obj_xref.txt`), with SHA-256 for MD5 and SHA-1.
#[cfg(feature = "x509")]
fn signature_digest(
    algorithm: &x509_parser::x509::AlgorithmIdentifier<'_>,
) -> Result<Hash, EndPointError> {
    use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
    use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};
    use x509_parser::signature_algorithm::RsaSsaPssParams;

    const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";

    let oid = algorithm.algorithm.to_id_string();
    let oid = if oid == RSASSA_PSS {
        // The hash function is a parameter; without one it is SHA-1.
        algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| RsaSsaPssParams::try_from(parameters).ok())
            .map(|parameters| parameters.hash_algorithm_oid().to_id_string())
            .ok_or(EndPointError::NotACertificate)?
    } else {
        oid
    };
    Ok(match oid.as_str() {
        // RSA, RSA (OIW), ECDSA and DSA with MD5 or SHA-1; SHA-1 and MD5 themselves for RSA-PSS
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.3.14.3.2.3"
        | "1.3.14.3.2.29"
        | "1.2.840.10045.4.1"
        | "1.2.840.10040.4.3"
        | "1.3.14.3.2.27"
        | "1.3.14.3.2.26"
        | "1.2.840.113549.2.5" => hash::<Sha256>,
        // RSA, ECDSA, DSA; the hash itself for RSA-PSS
        "1.2.840.113549.1.1.14"
        | "1.2.840.10045.4.3.1"
        | "2.16.840.1.101.3.4.3.1"
        | "2.16.840.1.101.3.4.2.4" => hash::<Sha224>,
        "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.3.2"
        | "2.16.840.1.101.3.4.3.2"
        | "2.16.840.1.101.3.4.2.1" => hash::<Sha256>,
        "1.2.840.113549.1.1.12"
        | "1.2.840.10045.4.3.3"
        | "2.16.840.1.101.3.4.3.3"
        | "2.16.840.1.101.3.4.2.2" => hash::<Sha384>,
        "1.2.840.113549.1.1.13"
        | "1.2.840.10045.4.3.4"
        | "2.16.840.1.101.3.4.3.4"
        | "2.16.840.1.101.3.4.2.3" => hash::<Sha512>,
        // for RSA-PSS only
        "2.16.840.1.101.3.4.2.5" => hash::<Sha512_224>,
        "2.16.840.1.101.3.4.2.6" => hash::<Sha512_256>,
        // RSA; the hash itself for RSA-PSS
        "2.16.840.1.101.3.4.3.13" | "2.16.840.1.101.3.4.2.7" => hash::<Sha3_224>,
        "2.16.840.1.101.3.4.3.14" | "2.16.840.1.101.3.4.2.8" => hash::<Sha3_256>,
        "2.16.840.1.101.3.4.3.15" | "2.16.840.1.101.3.4.2.9" => hash::<Sha3_384>,
        "2.16.840.1.101.3.4.3.16" | "2.16.840.1.101.3.4.2.10" => hash::<Sha3_512>,
        "1.3.101.112" => return Err(EndPointError::NoDigest { algorithm: "Ed25519" }),
        "1.3.101.113" => return Err(EndPointError::NoDigest { algorithm: "Ed448" }),
        _ => return Err(EndPointError::UnknownDigest { oid }),
    })
}

/// Why there is no channel binding data for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndPointError {
    /// The bytes are not one certificate in DER.
    NotACertificate,
    /// The certificate's signature has no hash function of its own, so that RFC 5929 defines no
    /// `tls-server-end-point` for it.
    NoDigest {
        /// `Ed25519` or `Ed448`
        algorithm: &'static str,
    },
    /// Neither PostgreSQL nor this crate knows the hash function of the certificate's signature.
    UnknownDigest {
        /// The object identifier of the signature algorithm, or of its hash function for RSA-PSS
        oid: String,
    },
}

impl fmt::Display for EndPointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotACertificate => f.write_str("the bytes are not one certificate in DER form"),
            Self::NoDigest { algorithm } => write!(
                f,
                "the server's certificate is signed with {algorithm}, for which channel binding is \
                 not defined: have it signed with ECDSA or RSA, or disable channel binding (every \
                 libpq refuses password logins over it otherwise)"
            ),
            Self::UnknownDigest { oid } => write!(
                f,
                "the server's certificate is signed with an algorithm whose hash function neither \
                 PostgreSQL nor this client knows (object identifier {oid}): have it signed with \
                 SHA-256, or disable channel binding"
            ),
        }
    }
}

impl std::error::Error for EndPointError {}
