//! What OpenSSL remembers of a certificate's extensions (`x509v3_cache_extensions` in `v3_purp.c`)
//! and asks of it.

use super::super::{Purpose, Reason};
use super::{OpenSslRelease, allows_usage};
use crate::certificate::{Certificate, KeyUsage};
use crate::oid::{self, Oid};

/// Extensions that may be critical: `X509_supported_extension`.
const SUPPORTED: [&[u8]; 15] = [
    oid::NETSCAPE_CERT_TYPE,
    oid::KEY_USAGE,
    oid::SUBJECT_ALT_NAME,
    oid::BASIC_CONSTRAINTS,
    oid::CERTIFICATE_POLICIES,
    oid::CRL_DISTRIBUTION_POINTS,
    oid::EXTENDED_KEY_USAGE,
    oid::IP_ADDRESS_BLOCKS,
    oid::AUTONOMOUS_SYSTEMS,
    oid::OCSP_NO_CHECK,
    oid::POLICY_CONSTRAINTS,
    oid::PROXY_CERT_INFO,
    oid::NAME_CONSTRAINTS,
    oid::POLICY_MAPPINGS,
    oid::INHIBIT_ANY_POLICY,
];

/// Extensions that are read when a certificate is, and must be sound.
const READ: [&[u8]; 11] = [
    oid::BASIC_CONSTRAINTS,
    oid::PROXY_CERT_INFO,
    oid::KEY_USAGE,
    oid::EXTENDED_KEY_USAGE,
    oid::NETSCAPE_CERT_TYPE,
    oid::SUBJECT_KEY_ID,
    oid::AUTHORITY_KEY_ID,
    oid::SUBJECT_ALT_NAME,
    oid::ISSUER_ALT_NAME,
    oid::NAME_CONSTRAINTS,
    oid::CRL_DISTRIBUTION_POINTS,
];

const SSL_CLIENT: u8 = 0x80;
const SSL_SERVER: u8 = 0x40;
const SSL_CA: u8 = 0x04;
const ANY_CA: u8 = 0x07;

/// Whether a certificate may sign others: `check_ca`.
pub(super) enum Role {
    /// `basicConstraints` say so.
    Authority,
    /// There are no `basicConstraints`, but something older that OpenSSL bears with.
    OldAuthority,
    /// It may not.
    Other(Reason),
}

/// The flags `EXFLAG_*` that a verdict needs.
pub(super) struct Flags {
    /// `EXFLAG_INVALID`: this extension is damaged, so that the certificate is nobody's issuer and
    /// nobody its issuer.
    pub(super) invalid: Option<Oid>,
    /// `EXFLAG_SI`
    pub(super) self_issued: bool,
    /// `EXFLAG_SS`: self-issued, and no key identifier says otherwise. No signature is verified.
    pub(super) self_signed: bool,
    /// `EXFLAG_PROXY`
    pub(super) proxy: bool,
    /// `EXFLAG_CRITICAL`
    pub(super) unknown_critical: Option<Oid>,
}

impl Flags {
    pub(super) fn of(certificate: &Certificate, release: OpenSslRelease) -> Self {
        let extensions = certificate.extensions();
        let proxy = extensions.find(oid::PROXY_CERT_INFO).is_some();
        let invalid = invalid(certificate, release);
        let self_issued = certificate.is_self_issued();
        let fits_itself = key_ids_fit(certificate, certificate);
        let self_signed = self_issued
            && fits_itself
            && match release {
                OpenSslRelease::V1_1_1 => !lacks(certificate, KeyUsage::KEY_CERT_SIGN),
                OpenSslRelease::V3_0 => {
                    certificate.signed_algorithm().fits(certificate.public_key().kind())
                }
            };
        let unknown_critical = extensions
            .present
            .iter()
            .find(|present| {
                present.critical && !SUPPORTED.iter().any(|known| present.oid == *known)
            })
            .map(|present| present.oid.clone());
        Self { invalid, self_issued, self_signed, proxy, unknown_critical }
    }

    /// `check_ca`
    pub(super) fn role(&self, certificate: &Certificate) -> Role {
        let extensions = certificate.extensions();
        if self.invalid.is_some() {
            return Role::Other(Reason::NotAnAuthority);
        }
        if lacks(certificate, KeyUsage::KEY_CERT_SIGN) {
            return Role::Other(Reason::KeyCertSignMissing);
        }
        match extensions.basic_constraints {
            Some(constraints) if constraints.ca => Role::Authority,
            Some(_) => Role::Other(Reason::NotAnAuthority),
            None if certificate.version() == 1 && self.self_signed => Role::OldAuthority,
            None if extensions.key_usage.is_some() => Role::OldAuthority,
            None if extensions.netscape_cert_type.is_some_and(|kind| kind & ANY_CA != 0) => {
                Role::OldAuthority
            }
            None => Role::Other(Reason::NotAnAuthority),
        }
    }

    /// `check_purpose_ssl_client` and `check_purpose_ssl_server`
    pub(super) fn allow(
        &self,
        certificate: &Certificate,
        purpose: Purpose,
        authority: bool,
    ) -> Result<(), Reason> {
        if self.invalid.is_some() {
            // X509_check_purpose fails, and without strictness that counts as a yes.
            return Ok(());
        }
        if !allows_usage(certificate, purpose) {
            return Err(Reason::ExtendedKeyUsage);
        }
        let extensions = certificate.extensions();
        let lacks_type = |bit| extensions.netscape_cert_type.is_some_and(|kind| kind & bit == 0);
        if authority {
            let by_type_only = extensions.basic_constraints.is_none()
                && extensions.key_usage.is_none()
                && !(certificate.version() == 1 && self.self_signed);
            if by_type_only && lacks_type(SSL_CA) {
                return Err(Reason::NetscapeCertType);
            }
            return match self.role(certificate) {
                // Reported as a wrong purpose only where the role itself has passed.
                Role::Other(reason) => Err(reason),
                Role::Authority | Role::OldAuthority => Ok(()),
            };
        }
        let (usages, kind) = match purpose {
            Purpose::Client => {
                (KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_AGREEMENT), SSL_CLIENT)
            }
            Purpose::Server => (
                KeyUsage::DIGITAL_SIGNATURE
                    .union(KeyUsage::KEY_ENCIPHERMENT)
                    .union(KeyUsage::KEY_AGREEMENT),
                SSL_SERVER,
            ),
        };
        if lacks(certificate, usages) {
            return Err(Reason::KeyUsage);
        }
        if lacks_type(kind) {
            return Err(Reason::NetscapeCertType);
        }
        Ok(())
    }
}

/// The extension for which OpenSSL takes the whole certificate for invalid.
fn invalid(certificate: &Certificate, release: OpenSslRelease) -> Option<Oid> {
    let extensions = certificate.extensions();
    if let Some(oid) = &extensions.malformed {
        return Some(oid.clone());
    }
    let count = |oid: &[u8]| extensions.present.iter().filter(|found| found.oid == *oid).count();
    let named = |oid: &&[u8]| Oid::from_der_contents(oid);
    if extensions.duplicate.is_some()
        && let Some(oid) = READ.iter().find(|oid| count(oid) > 1)
    {
        return Some(named(oid));
    }
    let is_proxy = extensions.find(oid::PROXY_CERT_INFO).is_some();
    if is_proxy && (certificate.is_authority() || extensions.subject_alt_names.is_some()) {
        return Some(named(&oid::PROXY_CERT_INFO));
    }
    // 1.1.1 minds a path length of one that is no authority, 3.0 only if it is told to be strict.
    let length =
        extensions.basic_constraints.filter(|read| !read.ca).and_then(|read| read.path_len);
    if release < OpenSslRelease::V3_0 && length.is_some_and(|length| length != 0) {
        return Some(named(&oid::BASIC_CONSTRAINTS));
    }
    let unused = extensions.key_usage.is_some_and(KeyUsage::is_empty);
    (release >= OpenSslRelease::V3_0 && unused).then(|| named(&oid::KEY_USAGE))
}

/// `ku_reject`: there is a `keyUsage`, and it has none of these bits.
pub(super) fn lacks(certificate: &Certificate, usage: KeyUsage) -> bool {
    certificate.extensions().key_usage.is_some_and(|read| !read.allows_any(usage))
}

/// `X509_check_akid`: does what `subject` says of its issuer's key fit `issuer`?
pub(super) fn key_ids_fit(issuer: &Certificate, subject: &Certificate) -> bool {
    let Some(wanted) = &subject.extensions().authority_key_id else { return true };
    let ids = (&wanted.key_id, &issuer.extensions().subject_key_id);
    if let (Some(wanted), Some(found)) = ids
        && wanted != found
    {
        return false;
    }
    if wanted.serial.as_ref().is_some_and(|serial| serial != issuer.serial()) {
        return false;
    }
    wanted.issuer.as_ref().is_none_or(|name| name == issuer.issuer())
}
