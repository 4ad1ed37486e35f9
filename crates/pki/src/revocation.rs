//! Certificate revocation lists: made, read, and asked.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use time::OffsetDateTime;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::authority::{Authority, replace, sign_again, unmade};
use crate::certificate::{Certificate, Extensions, Name, Validity, range_in, words};
use crate::error::Error;
use crate::frame;
use crate::oid::{self, Oid};
use crate::pem::{self, Kind};
use crate::signature::{PublicKey, SignatureAlgorithm};

/// Why a certificate is revoked (RFC 5280 section 5.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationReason {
    /// Nobody says.
    #[default]
    Unspecified,
    /// Somebody else has the key, or may have it.
    KeyCompromise,
    /// A newer certificate has taken its place.
    Superseded,
    /// The node or role is gone.
    CessationOfOperation,
}

/// A revocation to be put into a list.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The serial number of the revoked certificate.
    pub serial: Vec<u8>,
    /// Since when.
    pub since: OffsetDateTime,
    /// Why.
    pub reason: RevocationReason,
}

/// A certificate revocation list. A copy is cheap.
#[derive(Clone)]
pub struct Crl(Arc<Inner>);

struct Inner {
    der: Vec<u8>,
    tbs: Range<usize>,
    issuer: Name,
    this_update: OffsetDateTime,
    next_update: Option<OffsetDateTime>,
    /// Serial numbers, sorted.
    revoked: Vec<Vec<u8>>,
    /// A critical extension of an entry that is not known here.
    unknown_in_entry: Option<Oid>,
    extensions: Extensions,
    signature_algorithm: SignatureAlgorithm,
    algorithms_agree: bool,
    signature: Vec<u8>,
}

impl Crl {
    /// Reads a revocation list from DER.
    ///
    /// # Errors
    /// [`Error::Crl`] if the bytes are none.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let damaged = |reason: String| Error::Crl(reason);
        let issuer = frame::crl(der).map_err(damaged)?;
        let (_, parsed) =
            CertificateRevocationList::from_der(der).map_err(|error| damaged(words(&error)))?;
        let tbs = &parsed.tbs_cert_list;
        let mut revoked: Vec<_> =
            parsed.iter_revoked_certificates().map(|entry| entry.raw_serial().to_vec()).collect();
        revoked.sort();
        let unknown_in_entry = parsed
            .iter_revoked_certificates()
            .flat_map(|entry| entry.extensions())
            .map(|extension| (extension.critical, extension.oid.as_bytes()))
            .find(|(critical, oid)| *critical && *oid != oid::CRL_REASON)
            .map(|(_, oid)| Oid::from_der_contents(oid));
        Ok(Self(Arc::new(Inner {
            tbs: range_in(der, tbs.as_ref()).ok_or_else(|| damaged("no contents".to_owned()))?,
            issuer: Name::from_der(issuer)
                .ok_or_else(|| damaged("its issuer cannot be read".to_owned()))?,
            this_update: tbs.this_update.to_datetime(),
            next_update: tbs.next_update.map(|time| time.to_datetime()),
            revoked,
            unknown_in_entry,
            extensions: Extensions::from_parsed(parsed.extensions()),
            signature_algorithm: SignatureAlgorithm::from_parsed(&parsed.signature_algorithm),
            algorithms_agree: parsed.signature_algorithm == tbs.signature,
            signature: parsed.signature_value.data.to_vec(),
            der: der.to_vec(),
        })))
    }

    /// Reads every revocation list of a PEM file. Other blocks are passed over.
    ///
    /// # Errors
    /// [`Error::Pem`] and [`Error::Crl`].
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, Error> {
        pem::read(text)?
            .iter()
            .filter(|block| block.kind == Kind::Crl)
            .map(|block| Self::from_der(block.contents()))
            .collect()
    }

    /// The list as DER.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.0.der
    }

    /// The list as PEM, for `ssl_crl_file` or `sslcrl`.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::write("X509 CRL", self.as_der())
    }

    /// Whose list it is.
    #[must_use]
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// When it was made.
    #[must_use]
    pub fn this_update(&self) -> OffsetDateTime {
        self.0.this_update
    }

    /// When the next one is due. After it, verifiers refuse **every** certificate of the issuer.
    #[must_use]
    pub fn next_update(&self) -> Option<OffsetDateTime> {
        self.0.next_update
    }

    /// Its extensions.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    pub(crate) fn unknown_in_entry(&self) -> Option<&Oid> {
        self.0.unknown_in_entry.as_ref()
    }

    /// Whether the list holds the certificate's serial number. Its issuer is not compared.
    #[must_use]
    pub fn holds(&self, certificate: &Certificate) -> bool {
        self.0
            .revoked
            .binary_search_by(|serial| serial.as_slice().cmp(certificate.serial()))
            .is_ok()
    }

    /// How many certificates it revokes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.revoked.len()
    }

    /// Whether it revokes none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.revoked.is_empty()
    }

    /// Whether `key` signed it.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let tbs = &self.0.der[self.0.tbs.clone()];
        self.0.algorithms_agree
            && key.verify(&self.0.signature_algorithm, tbs, &self.0.signature).is_ok()
    }
}

impl PartialEq for Crl {
    fn eq(&self, other: &Self) -> bool {
        self.as_der() == other.as_der()
    }
}

impl Eq for Crl {}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crl")
            .field("issuer", self.issuer())
            .field("revoked", &self.len())
            .field("next_update", &self.next_update())
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a revocation list. `number` must grow from list to list.
    ///
    /// Where a server or client has a revocation list, it wants one for **every** authority of the
    /// chain, the root too: PostgreSQL sets `X509_V_FLAG_CRL_CHECK_ALL`.
    ///
    /// # Errors
    /// [`Error::Refused`] if `validity` ends before it begins, [`Error::Make`] if this authority
    /// may not sign revocation lists.
    pub fn revoke(
        &self,
        revocations: &[Revocation],
        number: u64,
        validity: Validity,
    ) -> Result<Crl, Error> {
        let revoked = revocations.iter().map(|revocation| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&revocation.serial),
            revocation_time: revocation.since,
            reason_code: match revocation.reason {
                RevocationReason::Unspecified => None,
                RevocationReason::KeyCompromise => Some(rcgen::RevocationReason::KeyCompromise),
                RevocationReason::Superseded => Some(rcgen::RevocationReason::Superseded),
                RevocationReason::CessationOfOperation => {
                    Some(rcgen::RevocationReason::CessationOfOperation)
                }
            },
            invalidity_date: None,
        });
        let subject_key_id = self.certificate().extensions().subject_key_id.clone();
        let parameters = CertificateRevocationListParams {
            this_update: validity.not_before,
            next_update: validity.not_after,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: subject_key_id
                .map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified),
        };
        let made = parameters
            .signed_by(&self.issuer()?)
            .map_err(|error| unmade("revocation list", &error))?;
        let list = Crl::from_der(made.der())?;
        let issuer = self.certificate().subject().as_der();
        if list.issuer().as_der() == issuer {
            return Ok(list);
        }
        // As for certificates: the name must be the authority's, octet by octet.
        let tbs = &list.0.der[list.0.tbs.clone()];
        let replaced = replace(tbs, &[(2, issuer)])
            .and_then(|tbs| sign_again(&tbs, self.key()))
            .ok_or_else(|| Error::Make {
                what: "revocation list",
                reason: "its issuer could not be replaced".to_owned(),
            })?;
        Crl::from_der(&replaced)
    }
}
