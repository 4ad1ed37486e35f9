//! What a certificate's extensions say.

use std::fmt;

use x509_parser::extensions as parsed;

use super::decode;
use super::general_name::GeneralName;
use super::name::Name;
use crate::oid::{self, Oid};

/// The extensions of a certificate that matter to servers, to libpq or to a checker.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Extensions {
    /// `basicConstraints` (RFC 5280 section 4.2.1.9)
    pub basic_constraints: Option<BasicConstraints>,
    /// `keyUsage` (section 4.2.1.3)
    pub key_usage: Option<KeyUsage>,
    /// `extendedKeyUsage` (section 4.2.1.12), in the order of the certificate
    pub extended_key_usage: Option<Vec<Oid>>,
    /// `subjectKeyIdentifier` (section 4.2.1.2)
    pub subject_key_id: Option<Vec<u8>>,
    /// `authorityKeyIdentifier` (section 4.2.1.1)
    pub authority_key_id: Option<AuthorityKeyId>,
    /// `subjectAltName` (section 4.2.1.6)
    pub subject_alt_names: Option<Vec<GeneralName>>,
    /// `nameConstraints` (section 4.2.1.10)
    pub name_constraints: Option<NameConstraints>,
    /// Netscape's certificate type, which OpenSSL still honours
    pub netscape_cert_type: Option<u8>,
    /// Every extension, in the order of the certificate, with its criticality.
    pub present: Vec<Present>,
    /// The first extension that stands there twice, which RFC 5280 section 4.2 forbids.
    pub duplicate: Option<Oid>,
    /// The first extension that is known here and cannot be read.
    pub malformed: Option<Oid>,
    /// The first extension that is known here and has octets behind its value, which DER forbids
    /// and OpenSSL passes over.
    pub trailing: Option<Oid>,
}

/// An extension that a certificate has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Which extension it is.
    pub oid: Oid,
    /// Whether a verifier that does not know it must refuse the certificate.
    pub critical: bool,
    /// Its value, the DER inside the OCTET STRING.
    pub value: Vec<u8>,
}

/// May this certificate sign others, and how many below it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether it is a certificate authority.
    pub ca: bool,
    /// How many intermediates may stand between it and the leaf, `None` for any number.
    pub path_len: Option<u32>,
}

/// The bits of the extension `keyUsage`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyUsage(pub(crate) u16);

impl KeyUsage {
    /// The key may sign handshakes.
    pub const DIGITAL_SIGNATURE: Self = Self(1);
    /// The key may decrypt keys (RSA key exchange up to TLS 1.2).
    pub const KEY_ENCIPHERMENT: Self = Self(1 << 2);
    /// The key may be used for static key agreement.
    pub const KEY_AGREEMENT: Self = Self(1 << 4);
    /// The key may sign certificates.
    pub const KEY_CERT_SIGN: Self = Self(1 << 5);
    /// The key may sign revocation lists.
    pub const CRL_SIGN: Self = Self(1 << 6);

    const NAMES: [&'static str; 9] = [
        "digitalSignature",
        "nonRepudiation",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];

    /// Whether any of the bits of `other` is set here.
    #[must_use]
    pub const fn allows_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether no bit is set, which OpenSSL 3.0 takes for damage.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = Self::NAMES.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1);
        for (position, (_, name)) in set.enumerate() {
            write!(f, "{}{name}", if position == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUsage({self})")
    }
}

/// Which key, or which certificate, signed this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorityKeyId {
    /// The issuer's subject key identifier.
    pub key_id: Option<Vec<u8>>,
    /// The first directory name of the issuer's own issuer, if any name is given at all.
    pub issuer: Option<Name>,
    /// Whether names of the issuer's issuer are given.
    pub has_issuer: bool,
    /// The serial number of the issuer's certificate.
    pub serial: Option<Vec<u8>>,
}

/// The names below a certificate authority that it may, and may not, certify.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// At least one subtree of a name's own kind must hold it, if there is any of that kind.
    pub permitted: Vec<Subtree>,
    /// No subtree may hold a name.
    pub excluded: Vec<Subtree>,
}

/// One subtree of [`NameConstraints`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtree {
    /// The name at the top of the subtree.
    pub base: GeneralName,
    /// Whether the fields `minimum` or `maximum` are set to something else than their defaults,
    /// which RFC 5280 forbids and OpenSSL refuses.
    pub bounded: bool,
}

impl Extensions {
    pub(crate) fn from_parsed(extensions: &[parsed::X509Extension<'_>]) -> Self {
        let mut all = Self::default();
        for extension in extensions {
            let oid = Oid::from_der_contents(extension.oid.as_bytes());
            if all.present.iter().any(|present| present.oid == oid) {
                all.duplicate.get_or_insert(oid.clone());
            } else if all.read(extension.oid.as_bytes(), extension.value).is_none() {
                all.malformed.get_or_insert(oid.clone());
            }
            let critical = extension.critical;
            all.present.push(Present { oid, critical, value: extension.value.to_vec() });
        }
        all
    }

    /// The extension, if the certificate has it.
    pub(crate) fn find(&self, oid: &[u8]) -> Option<&Present> {
        self.present.iter().find(|present| present.oid == oid)
    }

    /// Reads one extension's value: `None` if it is damaged.
    fn read(&mut self, oid: &[u8], value: &[u8]) -> Option<()> {
        match oid {
            oid::BASIC_CONSTRAINTS => {
                self.basic_constraints = Some(decode::basic_constraints(value)?);
            }
            oid::KEY_USAGE => self.key_usage = Some(decode::key_usage(value)?),
            oid::EXTENDED_KEY_USAGE => self.extended_key_usage = Some(decode::usages(value)?),
            oid::SUBJECT_KEY_ID => self.subject_key_id = Some(decode::key_id(value)?),
            oid::AUTHORITY_KEY_ID => self.authority_key_id = Some(decode::authority_key_id(value)?),
            oid::SUBJECT_ALT_NAME => self.subject_alt_names = Some(decode::names(value)?),
            oid::NAME_CONSTRAINTS => self.name_constraints = Some(decode::constraints(value)?),
            oid::NETSCAPE_CERT_TYPE => {
                self.netscape_cert_type = Some(decode::first_bits(value)?);
            }
            // Read for no other reason than that OpenSSL does, and takes damage amiss.
            oid::ISSUER_ALT_NAME => drop(decode::names(value)?),
            oid::CRL_DISTRIBUTION_POINTS => decode::distribution_points(value)?,
            _ => return Some(()),
        }
        if !decode::is_alone(value) {
            self.trailing.get_or_insert(Oid::from_der_contents(oid));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usages_in_words() {
        let usage = KeyUsage::KEY_CERT_SIGN.union(KeyUsage::DIGITAL_SIGNATURE);
        assert_eq!(usage.to_string(), "digitalSignature, keyCertSign");
        assert_eq!(KeyUsage(0).to_string(), "");
    }
}
