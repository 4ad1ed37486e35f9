//! X.509 certificates, read once into values that own what they hold.

mod attribute_type;
pub(crate) mod decode;
pub(crate) mod extension;
mod general_name;
pub(crate) mod name;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use time::{OffsetDateTime, macros::datetime};
use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser;

pub use self::extension::{
    AuthorityKeyId, BasicConstraints, Extensions, KeyUsage, NameConstraints, Present, Subtree,
};
pub use self::general_name::GeneralName;
pub use self::name::{Attribute, Name};
use crate::der;
use crate::error::Error;
use crate::frame;
use crate::oid;
use crate::pem;
use crate::signature::{PublicKey, SignatureAlgorithm};

/// From when to when a certificate, or a revocation list, holds. Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Validity {
    /// The first second.
    pub not_before: OffsetDateTime,
    /// The last second.
    pub not_after: OffsetDateTime,
}

impl Validity {
    /// From `not_before` on, for a number of days, but not past the end of the year 9999: that is what a
    /// certificate has that shall never end (RFC 5280, 4.1.2.5).
    ///
    /// Fractions of a second are cut off, for a certificate cannot hold them.
    ///
    /// ```
    /// use pki::Validity;
    /// use time::OffsetDateTime;
    ///
    /// let start = OffsetDateTime::UNIX_EPOCH;
    /// assert_eq!(Validity::days(start, 30).days_left(start), 30);
    /// assert_eq!(Validity::days(start, u32::MAX).not_after.year(), 9999);
    /// ```
    #[must_use]
    pub fn days(not_before: OffsetDateTime, days: u32) -> Self {
        let not_before = not_before.replace_nanosecond(0).unwrap_or(not_before);
        const LAST: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);
        let not_after =
            not_before.checked_add(time::Duration::days(i64::from(days))).unwrap_or(LAST);
        Self { not_before, not_after }
    }

    /// Whether `time` lies in it. A moment within the last second lies in it too.
    #[must_use]
    pub fn contains(&self, time: OffsetDateTime) -> bool {
        self.not_before.unix_timestamp() <= time.unix_timestamp()
            && time.unix_timestamp() <= self.not_after.unix_timestamp()
    }

    /// Whole days from `time` to the end, negative if it is over.
    #[must_use]
    pub fn days_left(&self, time: OffsetDateTime) -> i64 {
        (self.not_after - time).whole_seconds().div_euclid(86_400)
    }
}

/// An X.509 certificate. A copy is cheap: it shares what was read.
///
/// ```
/// use pki::{Authority, KeyAlgorithm, Subject, Validity};
/// use time::OffsetDateTime;
///
/// let validity = Validity::days(OffsetDateTime::UNIX_EPOCH, 30);
/// let authority =
///     Authority::create(KeyAlgorithm::EcdsaP256, &Subject::common_name("example CA"), validity)?;
/// let certificate = authority.certificate();
/// assert_eq!(certificate.subject().to_string(), "CN=example CA");
/// assert_eq!(certificate.validity().days_left(OffsetDateTime::UNIX_EPOCH), 30);
/// # Ok::<(), pki::Error>(())
/// ```
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    der: Vec<u8>,
    tbs: Range<usize>,
    version: u32,
    serial: Vec<u8>,
    signature_algorithm: SignatureAlgorithm,
    signed_algorithm: SignatureAlgorithm,
    algorithms_agree: bool,
    signature: Vec<u8>,
    issuer: Name,
    subject: Name,
    validity: Validity,
    public_key: PublicKey,
    extensions: Extensions,
}

impl Certificate {
    /// Reads a certificate from DER. Nothing may follow it.
    ///
    /// Extensions that are damaged do not make it unreadable: see [`Extensions::malformed`].
    ///
    /// # Errors
    /// [`Error::Certificate`] if the bytes are not one X.509 certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let damaged = |reason: String| Error::Certificate(reason);
        let [issuer, subject] = frame::certificate(der).map_err(damaged)?;
        let (_, parsed) = X509CertificateParser::new()
            .with_deep_parse_extensions(false)
            .parse(der)
            .map_err(|error| damaged(words(&error)))?;
        let tbs = &parsed.tbs_certificate;
        let outer = &parsed.signature_algorithm;
        let tbs_range = range_in(der, tbs.as_ref()).ok_or_else(|| damaged("no contents".into()))?;
        let unnamed = || damaged("a name in it cannot be read".to_owned());
        let inner = Inner {
            tbs: tbs_range,
            version: tbs.version.0.saturating_add(1),
            serial: tbs.raw_serial().to_vec(),
            signature_algorithm: SignatureAlgorithm::from_parsed(outer),
            signed_algorithm: SignatureAlgorithm::named(tbs.signature.algorithm.as_bytes()),
            algorithms_agree: *outer == tbs.signature,
            signature: parsed.signature_value.data.to_vec(),
            issuer: Name::from_der(issuer).ok_or_else(unnamed)?,
            subject: Name::from_der(subject).ok_or_else(unnamed)?,
            validity: Validity {
                not_before: tbs.validity.not_before.to_datetime(),
                not_after: tbs.validity.not_after.to_datetime(),
            },
            public_key: PublicKey::from_parsed(&tbs.subject_pki),
            extensions: Extensions::from_parsed(tbs.extensions()),
            der: der.to_vec(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Reads every certificate of a PEM file, in its order. Other blocks are passed over.
    ///
    /// # Errors
    /// [`Error::Pem`] for a damaged block, [`Error::Certificate`] for a block that is labelled a
    /// certificate and is none.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, Error> {
        pem::read(text)?
            .iter()
            .filter(|block| block.kind == pem::Kind::Certificate)
            .map(Self::from_block)
            .collect()
    }

    /// Reads the first certificate of a PEM file: the one that is the server's or the client's own
    /// where the file holds a chain.
    ///
    /// # Errors
    /// As [`Certificate::all_from_pem`], and [`Error::Missing`] if there is none.
    pub fn from_pem(text: &[u8]) -> Result<Self, Error> {
        Self::from_block(&pem::first(text, pem::Kind::Certificate, "certificate")?)
    }

    pub(crate) fn from_block(block: &pem::Block) -> Result<Self, Error> {
        let contents = block.contents();
        // OpenSSL's TRUSTED CERTIFICATE has its own data behind the certificate.
        let der = match der::split(contents) {
            Some(first) if block.label == "TRUSTED CERTIFICATE" => first.whole,
            _ => contents,
        };
        Self::from_der(der).map_err(|error| match error {
            Error::Certificate(reason) => {
                Error::Certificate(format!("{reason} (PEM block in line {})", block.line))
            }
            other => other,
        })
    }

    /// The certificate as DER.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.0.der
    }

    /// The certificate as PEM, with a line end behind it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::write("CERTIFICATE", self.as_der())
    }

    /// The certificate as rustls takes it.
    #[must_use]
    pub fn to_rustls(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.as_der().to_vec())
    }

    /// What the signature covers.
    pub(crate) fn tbs(&self) -> &[u8] {
        &self.0.der[self.0.tbs.clone()]
    }

    /// The version, 3 for all that are made today.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// The serial number, as the octets of its DER encoding (big-endian, two's complement).
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// How it is signed.
    #[must_use]
    pub fn signature_algorithm(&self) -> &SignatureAlgorithm {
        &self.0.signature_algorithm
    }

    /// The algorithm by its name inside of what is signed, whatever its parameters.
    pub(crate) fn signed_algorithm(&self) -> &SignatureAlgorithm {
        &self.0.signed_algorithm
    }

    /// Whether the algorithm is the same inside and outside of what is signed, as RFC 5280
    /// section 4.1.1.2 demands.
    #[must_use]
    pub fn signature_algorithms_agree(&self) -> bool {
        self.0.algorithms_agree
    }

    /// The signature, undecoded.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.0.signature
    }

    /// Who signed it.
    #[must_use]
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// Whose it is.
    #[must_use]
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// From when to when it holds.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    /// Its public key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// Its extensions.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// The SHA-256 digest of the whole certificate, as `openssl x509 -fingerprint -sha256`.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.as_der());
        let mut octets = [0; 32];
        octets.copy_from_slice(digest.as_ref());
        Fingerprint(octets)
    }

    /// Whether subject and issuer are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject() == self.issuer()
    }

    /// Whether its own key signed it. The signature is verified.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.is_self_issued() && self.is_signed_by(self.public_key())
    }

    /// Whether `basicConstraints` make it a certificate authority.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.extensions().basic_constraints.is_some_and(|constraints| constraints.ca)
    }

    /// Whether `key` made its signature.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.signature_algorithms_agree()
            && key.verify(self.signature_algorithm(), self.tbs(), self.signature()).is_ok()
    }

    /// Whether it names `usage` as an extended key usage, or none at all.
    pub(crate) fn allows_usage(&self, usage: &[u8]) -> bool {
        self.extensions()
            .extended_key_usage
            .as_ref()
            .is_none_or(|usages| usages.iter().any(|known| *known == *usage))
    }

    /// Whether TLS clients that mind extended key usage take it from a server: `serverAuth`, or no
    /// such extension.
    #[must_use]
    pub fn allows_server_auth(&self) -> bool {
        self.allows_usage(oid::SERVER_AUTH)
    }

    /// Whether servers take it from a TLS client: `clientAuth`, or no such extension.
    #[must_use]
    pub fn allows_client_auth(&self) -> bool {
        self.allows_usage(oid::CLIENT_AUTH)
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_der() == other.as_der()
    }
}

impl Eq for Certificate {}

impl Hash for Certificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_der().hash(state);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", self.subject())
            .field("issuer", self.issuer())
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// A SHA-256 digest of a certificate, shown as `AB:CD:...`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&colons(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A moment for messages: `2026-01-31 00:00:00 UTC`, without the fractions that no certificate has.
pub(crate) struct Moment(pub(crate) OffsetDateTime);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.0.to_offset(time::UtcOffset::UTC);
        let (hour, minute, second) = time.to_hms();
        write!(f, "{} {hour:02}:{minute:02}:{second:02} UTC", time.date())
    }
}

/// Octets as OpenSSL prints them: `AB:CD`.
pub(crate) fn colons(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":")
}

/// The words of a parser's error, without the input that nom's errors carry.
pub(crate) fn words<E: fmt::Display>(error: &x509_parser::nom::Err<E>) -> String {
    match error {
        x509_parser::nom::Err::Incomplete(_) => "it ends too early".to_owned(),
        x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => {
            error.to_string()
        }
    }
}

/// Where `part`, a slice of `whole`, lies in it.
pub(crate) fn range_in(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}
