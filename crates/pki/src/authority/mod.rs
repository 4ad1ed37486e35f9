//! Certificate authorities: made here, or loaded, and what they sign.

mod options;

use std::fmt;

use rcgen::{CertificateParams, Issuer, PublicKeyData};

pub use self::options::{AuthorityOptions, NameSubtree};
use self::options::{date, parameters};
use crate::certificate::{Certificate, KeyUsage, Moment, Validity};
use crate::check::{Check, Purpose, Reason, judge_names_strictly};
use crate::der::{self, tag};
use crate::error::Error;
use crate::key::{KeyAlgorithm, PrivateKey};
use crate::oid;
use crate::profile::{Profile, Subject};
use crate::signature::PublicKey;

/// A certificate authority: a certificate that may sign others, its key, and the certificates
/// between it and its root.
///
/// ```
/// use pki::{Authority, KeyAlgorithm, Profile, Subject, Validity};
/// use time::macros::datetime;
///
/// let start = datetime!(2026-01-01 0:00 UTC);
/// let root = Authority::create(
///     KeyAlgorithm::EcdsaP256,
///     &Subject::common_name("example root"),
///     Validity::days(start, 3650),
/// )?;
/// let node = root.issue(
///     KeyAlgorithm::EcdsaP256,
///     &Profile::server(["node1.example.com", "192.0.2.1"])?,
///     Validity::days(start, 90),
/// )?;
/// assert!(node.key.matches(&node.certificate));
/// assert!(node.certificate.is_signed_by(root.certificate().public_key()));
/// # Ok::<(), pki::Error>(())
/// ```
#[derive(Clone)]
pub struct Authority {
    certificate: Certificate,
    key: PrivateKey,
    /// From the one that signed this authority upwards, without the root.
    above: Vec<Certificate>,
    root: Certificate,
}

/// A certificate with its key, and what must be presented with it.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: PrivateKey,
    /// The intermediates between the certificate and its root, in order, without the root.
    pub intermediates: Vec<Certificate>,
}

impl Issued {
    /// The file for `ssl_cert_file` or `sslcert`: the certificate first, then its intermediates.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        let chain = std::iter::once(&self.certificate).chain(&self.intermediates);
        chain.map(Certificate::to_pem).collect()
    }

    /// The same as certificates.
    #[must_use]
    pub fn chain(&self) -> Vec<Certificate> {
        std::iter::once(&self.certificate).chain(&self.intermediates).cloned().collect()
    }
}

impl Authority {
    /// Makes a root: a new key, and a certificate signed with it.
    ///
    /// # Errors
    /// [`Error::Refused`] for an unusable subject or validity.
    pub fn create(
        algorithm: KeyAlgorithm,
        subject: &Subject,
        validity: Validity,
    ) -> Result<Self, Error> {
        Self::create_with(algorithm, subject, validity, &AuthorityOptions::default())
    }

    /// Makes a root with limits.
    ///
    /// # Errors
    /// [`Error::Refused`] for an unusable subject, validity, subtree, or key where SCRAM is used.
    pub fn create_with(
        algorithm: KeyAlgorithm,
        subject: &Subject,
        validity: Validity,
        options: &AuthorityOptions,
    ) -> Result<Self, Error> {
        // Refused before the time is spent that an RSA key takes.
        options.parameters(Some(algorithm), subject, validity)?;
        Self::create_from(PrivateKey::generate(algorithm)?, subject, validity, options)
    }

    /// Makes a root of a key that is there already, such as one of an authority before it.
    ///
    /// # Errors
    /// As [`Authority::create_with`].
    pub fn create_from(
        key: PrivateKey,
        subject: &Subject,
        validity: Validity,
        options: &AuthorityOptions,
    ) -> Result<Self, Error> {
        let parameters = options.parameters(key.algorithm(), subject, validity)?;
        let made = parameters.self_signed(&key).map_err(|error| unmade("certificate", &error))?;
        let certificate = Certificate::from_der(made.der())?;
        Ok(Self { root: certificate.clone(), certificate, key, above: Vec::new() })
    }

    /// An authority from its certificate, its key, and the certificates above it: intermediates
    /// and root in any order. Without any, the certificate must be its own root.
    ///
    /// # Errors
    /// [`Error::KeyMismatch`] if the key is another's, [`Error::NotAnAuthority`] if the
    /// certificate may not sign, or nothing leads from it to a root.
    pub fn new(
        certificate: Certificate,
        key: PrivateKey,
        above: &[Certificate],
    ) -> Result<Self, Error> {
        if !key.matches(&certificate) {
            return Err(Error::KeyMismatch { subject: certificate.subject().to_string() });
        }
        judge_authority(&certificate)?;
        let mut path = Vec::new();
        let mut last = certificate.clone();
        while !last.is_self_signed() {
            let signer = above
                .iter()
                .find(|signer| {
                    signer.subject() == last.issuer()
                        && !path.contains(*signer)
                        && last.is_signed_by(signer.public_key())
                })
                .ok_or_else(|| Error::NotAnAuthority {
                    subject: certificate.subject().to_string(),
                    reason: format!("the certificate of its issuer {} is not there", last.issuer()),
                })?;
            path.push(signer.clone());
            last = signer.clone();
        }
        path.pop();
        Ok(Self { certificate, key, above: path, root: last })
    }

    /// Loads an authority from PEM. The first certificate in `certificates` is its own, the others
    /// those above it.
    ///
    /// # Errors
    /// What is wrong with the files, or as [`Authority::new`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, Error> {
        Self::from_certificates(certificates, PrivateKey::from_pem(key)?)
    }

    /// Loads an authority whose key is under a pass phrase, see [`PrivateKey::from_encrypted_pem`].
    ///
    /// # Errors
    /// As [`Authority::from_pem`], and [`Error::EncryptedKey`].
    #[cfg(feature = "encrypted-keys")]
    pub fn from_encrypted_pem(
        certificates: &[u8],
        key: &[u8],
        pass_phrase: &[u8],
    ) -> Result<Self, Error> {
        let key = PrivateKey::from_encrypted_pem(key, pass_phrase)?;
        Self::from_certificates(certificates, key)
    }

    fn from_certificates(certificates: &[u8], key: PrivateKey) -> Result<Self, Error> {
        let mut certificates = Certificate::all_from_pem(certificates)?;
        if certificates.is_empty() {
            return Err(Error::Missing { wanted: "certificate", found: Vec::new() });
        }
        let own = certificates.remove(0);
        Self::new(own, key, &certificates)
    }

    /// Why what this authority issues must not be a server's certificate where clients log in with
    /// SCRAM, or `None` if it may; see [`KeyAlgorithm::scram_refusal`].
    #[must_use]
    pub fn scram_refusal(&self) -> Option<&'static str> {
        self.key.algorithm().and_then(KeyAlgorithm::scram_refusal)
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The root that verifiers must trust: its own certificate, unless it is an intermediate.
    #[must_use]
    pub fn root(&self) -> &Certificate {
        &self.root
    }

    /// What a certificate of this authority must be presented with, in order, without the root.
    #[must_use]
    pub fn intermediates(&self) -> Vec<Certificate> {
        if self.certificate == self.root {
            return Vec::new();
        }
        std::iter::once(&self.certificate).chain(&self.above).cloned().collect()
    }

    /// The part of `validity` in which this authority and those above it are valid too.
    ///
    /// A certificate that outlives its authority stops to work without a word the day the
    /// authority does, so [`Authority::issue`] refuses to make one.
    #[must_use]
    pub fn within(&self, validity: Validity) -> Validity {
        self.line().fold(validity, |validity, certificate| Validity {
            not_before: validity.not_before.max(certificate.validity().not_before),
            not_after: validity.not_after.min(certificate.validity().not_after),
        })
    }

    fn line(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.certificate).chain(&self.above).chain(std::iter::once(&self.root))
    }

    /// Makes a key and a certificate for it.
    ///
    /// # Errors
    /// [`Error::Refused`] for what the profile or this authority does not allow: a validity beyond its
    /// own, names outside of its name constraints.
    pub fn issue(
        &self,
        algorithm: KeyAlgorithm,
        profile: &Profile,
        validity: Validity,
    ) -> Result<Issued, Error> {
        let parameters = self.leaf_parameters(profile, validity)?;
        let key = PrivateKey::generate(algorithm)?;
        let certificate = self.sign_leaf(&parameters, &key, profile)?;
        Ok(Issued { certificate, key, intermediates: self.intermediates() })
    }

    /// Makes a certificate for a key that is somewhere else.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_for(
        &self,
        key: &PublicKey,
        profile: &Profile,
        validity: Validity,
    ) -> Result<Certificate, Error> {
        let parameters = self.leaf_parameters(profile, validity)?;
        let key = rcgen::SubjectPublicKeyInfo::from_der(key.as_der())
            .map_err(|error| unmade("certificate", &error))?;
        self.sign_leaf(&parameters, &key, profile)
    }

    /// Makes an intermediate authority with a key of its own.
    ///
    /// # Errors
    /// As [`Authority::create_with`]; also if this authority's path length leaves no room for it.
    pub fn intermediate(
        &self,
        algorithm: KeyAlgorithm,
        subject: &Subject,
        validity: Validity,
        options: &AuthorityOptions,
    ) -> Result<Self, Error> {
        let parameters = options.parameters(Some(algorithm), subject, validity)?;
        self.judge_validity(validity)?;
        self.judge_room()?;
        let key = PrivateKey::generate(algorithm)?;
        let certificate = self.sign(&parameters, &key)?;
        Ok(Self { certificate, key, above: self.intermediates(), root: self.root.clone() })
    }

    /// The authority that a [`Profile::TimescaleIntermediate`] certificate of this one is.
    ///
    /// # Errors
    /// As [`Authority::new`], for a certificate of another profile.
    pub fn delegate(&self, node: &Issued) -> Result<Self, Error> {
        let above: Vec<_> = self.line().cloned().collect();
        Self::new(node.certificate.clone(), node.key.clone(), &above)
    }

    /// Signs the certificate of another authority a second time with this one, so that those who
    /// trust only this one accept what the other issues, as long as the result is presented too.
    ///
    /// # Errors
    /// As [`Authority::intermediate`].
    pub fn cross_sign(
        &self,
        other: &Certificate,
        validity: Validity,
    ) -> Result<Certificate, Error> {
        judge_authority(other)?;
        self.judge_validity(validity)?;
        self.judge_room()?;
        let mut parameters = like(other)?;
        date(&mut parameters, validity)?;
        let key = rcgen::SubjectPublicKeyInfo::from_der(other.public_key().as_der())
            .map_err(|error| unmade("certificate", &error))?;
        let made = self.sign_named(&parameters, &key, Some(other))?;
        Ok(made)
    }

    /// This root once more with the same name and key and another validity: certificates that were
    /// issued before stay valid under it.
    ///
    /// # Errors
    /// [`Error::Refused`] if this is no root, or for an unusable validity.
    pub fn renew(&self, validity: Validity) -> Result<Self, Error> {
        if self.certificate != self.root {
            return Err(Error::Refused(
                "only a root renews itself: an intermediate is renewed by its own authority"
                    .to_owned(),
            ));
        }
        let mut parameters = like(&self.certificate)?;
        date(&mut parameters, validity)?;
        let certificate = self.sign_named(&parameters, &self.key, Some(&self.certificate))?;
        Ok(Self { root: certificate.clone(), certificate, ..self.clone() })
    }

    fn leaf_parameters(
        &self,
        profile: &Profile,
        validity: Validity,
    ) -> Result<CertificateParams, Error> {
        self.judge_validity(validity)?;
        if matches!(profile, Profile::TimescaleIntermediate(_)) {
            self.judge_room()?;
        }
        let mut parameters = profile.parameters()?;
        date(&mut parameters, validity)?;
        Ok(parameters)
    }

    fn judge_validity(&self, validity: Validity) -> Result<(), Error> {
        let within = self.within(validity);
        if within == validity {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "a certificate valid from {} to {} would not lie within its authority's own validity, \
             which leaves {} to {}",
            Moment(validity.not_before),
            Moment(validity.not_after),
            Moment(within.not_before),
            Moment(within.not_after)
        )))
    }

    /// Whether another authority fits below this one.
    fn judge_room(&self) -> Result<(), Error> {
        for (below, certificate) in self.line().enumerate() {
            let limit = certificate.extensions().basic_constraints.and_then(|read| read.path_len);
            if limit.is_some_and(|limit| usize::try_from(limit).is_ok_and(|limit| limit <= below)) {
                return Err(Error::Refused(format!(
                    "the path length of {} leaves no room for another authority",
                    certificate.subject()
                )));
            }
            if *certificate == self.root {
                break;
            }
        }
        Ok(())
    }

    fn sign_leaf(
        &self,
        parameters: &CertificateParams,
        key: &impl PublicKeyData,
        profile: &Profile,
    ) -> Result<Certificate, Error> {
        let certificate = self.sign(parameters, key)?;
        self.judge_names(&certificate, profile)?;
        Ok(certificate)
    }

    /// Whether the name constraints of this authority and those above it allow a certificate's names,
    /// as OpenSSL compares them and as rustls does, which lets no wildcard reach into an excluded
    /// subtree.
    fn judge_names(&self, certificate: &Certificate, profile: &Profile) -> Result<(), Error> {
        if self.line().all(|above| above.extensions().name_constraints.is_none()) {
            return Ok(());
        }
        let chain = [std::slice::from_ref(certificate), &self.intermediates()].concat();
        let trust = [self.root.clone()];
        let purpose = if profile.is_server() { Purpose::Server } else { Purpose::Client };
        let time = certificate.validity().not_before;
        let openssl = Check::new(&chain, &trust, purpose, time).run().err().filter(|rejection| {
            matches!(
                rejection.reason(),
                Reason::NameNotPermitted(_) | Reason::NameExcluded(_) | Reason::NameUnsupported(_)
            )
        });
        let strict = || judge_names_strictly(&[chain.as_slice(), &trust].concat()).err();
        match openssl.or_else(strict) {
            Some(rejection) => Err(Error::Refused(rejection.to_string())),
            None => Ok(()),
        }
    }

    fn sign(
        &self,
        parameters: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<Certificate, Error> {
        self.sign_named(parameters, key, None)
    }

    /// Signs, and makes sure that the names are those of the certificates they come from, octet by
    /// octet: rcgen keeps one attribute of each type only, and a name that differs in its encoding
    /// is another name for many verifiers.
    fn sign_named(
        &self,
        parameters: &CertificateParams,
        key: &impl PublicKeyData,
        subject: Option<&Certificate>,
    ) -> Result<Certificate, Error> {
        let made = parameters
            .signed_by(key, &self.issuer()?)
            .map_err(|error| unmade("certificate", &error))?;
        let certificate = Certificate::from_der(made.der())?;
        let issuer = self.certificate.subject().as_der();
        let subject = subject.map_or(certificate.subject(), Certificate::subject).as_der();
        if certificate.issuer().as_der() == issuer && certificate.subject().as_der() == subject {
            return Ok(certificate);
        }
        let replaced = replace(certificate.tbs(), &[(3, issuer), (5, subject)])
            .and_then(|tbs| sign_again(&tbs, &self.key))
            .ok_or_else(|| Error::Make {
                what: "certificate",
                reason: "its names could not be replaced".to_owned(),
            })?;
        Certificate::from_der(&replaced)
    }

    /// This authority as rcgen sees it.
    pub(crate) fn issuer(&self) -> Result<Issuer<'static, PrivateKey>, Error> {
        Issuer::from_ca_cert_der(&self.certificate.to_rustls(), self.key.clone())
            .map_err(|error| unmade("certificate", &error))
    }
}

/// What stays of an authority's certificate when it is signed anew.
fn like(certificate: &Certificate) -> Result<CertificateParams, Error> {
    let extensions = certificate.extensions();
    let limit = extensions.basic_constraints.and_then(|read| read.path_len);
    let mut parameters = parameters(limit.map(|length| u8::try_from(length).unwrap_or(u8::MAX)));
    if let Some(id) = &extensions.subject_key_id {
        parameters.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(id.clone());
    }
    // What limits it, octet by octet.
    for (oid, arcs) in
        [(oid::NAME_CONSTRAINTS, [2_u64, 5, 29, 30]), (oid::EXTENDED_KEY_USAGE, [2, 5, 29, 37])]
    {
        if let Some(limit) = extensions.find(oid) {
            let mut copy = rcgen::CustomExtension::from_oid_content(&arcs, limit.value.clone());
            copy.set_criticality(limit.critical);
            parameters.custom_extensions.push(copy);
        }
    }
    // Any name: the caller puts the real one in.
    Subject::common_name("renewed").write(&mut parameters)?;
    Ok(parameters)
}

fn judge_authority(certificate: &Certificate) -> Result<(), Error> {
    let extensions = certificate.extensions();
    let reason = if !certificate.is_authority() {
        "its basicConstraints do not say CA:TRUE"
    } else if extensions.key_usage.is_some_and(|usage| !usage.allows_any(KeyUsage::KEY_CERT_SIGN)) {
        "its keyUsage lacks keyCertSign"
    } else if certificate.subject().is_empty() {
        "its subject is empty"
    } else {
        return Ok(());
    };
    Err(Error::NotAnAuthority {
        subject: certificate.subject().to_string(),
        reason: reason.to_owned(),
    })
}

/// Replaces fields of a TBSCertificate or TBSCertList by position.
pub(crate) fn replace(tbs: &[u8], fields: &[(usize, &[u8])]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> =
        der::elements(der::split(tbs)?.contents)?.iter().map(|part| part.whole).collect();
    for (position, field) in fields {
        *parts.get_mut(*position)? = field;
    }
    Some(der::element(tag::SEQUENCE, &parts.concat()))
}

/// Signs what is to be signed, whose algorithm must be that of `key`.
pub(crate) fn sign_again(tbs: &[u8], key: &PrivateKey) -> Option<Vec<u8>> {
    // The algorithm stands inside too: the third field of a certificate with a version, the second
    // of a revocation list. It is the first SEQUENCE after the integers.
    let fields = der::elements(der::split(tbs)?.contents)?;
    let algorithm = fields.iter().find(|field| field.tag == tag::SEQUENCE)?;
    let mut bits = vec![0];
    bits.extend_from_slice(&rcgen::SigningKey::sign(key, tbs).ok()?);
    let signature = der::element(tag::BIT_STRING, &bits);
    Some(der::element(tag::SEQUENCE, &[tbs, algorithm.whole, &signature].concat()))
}

pub(crate) fn unmade(what: &'static str, error: &rcgen::Error) -> Error {
    Error::Make { what, reason: error.to_string() }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("certificate", &self.certificate)
            .field("root", &self.root.subject())
            .finish_non_exhaustive()
    }
}
