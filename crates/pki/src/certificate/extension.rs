//! What a certificate's extensions say.

use std::fmt;
use std::net::IpAddr;

use x509_parser::extensions as parsed;
use x509_parser::prelude::FromDer;

use super::name::Name;
use crate::der;
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

/// One name of `subjectAltName` or `nameConstraints`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeneralName {
    /// `otherName`: its type and its value, DER with the explicit tag
    Other(Oid, Vec<u8>),
    /// `rfc822Name`: a mail address
    Email(Vec<u8>),
    /// `dNSName`
    Dns(Vec<u8>),
    /// `directoryName`
    Directory(Name),
    /// `uniformResourceIdentifier`
    Uri(Vec<u8>),
    /// `iPAddress`: 4 or 16 octets, with a mask behind them in name constraints
    Ip(Vec<u8>),
    /// `registeredID`
    RegisteredId(Oid),
    /// `x400Address`, `ediPartyName` or something unreadable: the tag's number and its contents
    Unsupported(u32, Vec<u8>),
}

impl GeneralName {
    pub(crate) fn from_parsed(name: &parsed::GeneralName<'_>) -> Self {
        match name {
            parsed::GeneralName::OtherName(oid, value) => {
                Self::Other(Oid::from_der_contents(oid.as_bytes()), value.to_vec())
            }
            parsed::GeneralName::RFC822Name(text) => Self::Email(text.as_bytes().to_vec()),
            parsed::GeneralName::DNSName(text) => Self::Dns(text.as_bytes().to_vec()),
            parsed::GeneralName::DirectoryName(name) => Self::Directory(Name::from_parsed(name)),
            parsed::GeneralName::URI(text) => Self::Uri(text.as_bytes().to_vec()),
            parsed::GeneralName::IPAddress(octets) => Self::Ip(octets.to_vec()),
            parsed::GeneralName::RegisteredID(oid) => {
                Self::RegisteredId(Oid::from_der_contents(oid.as_bytes()))
            }
            parsed::GeneralName::X400Address(any) => Self::Unsupported(3, any.data.to_vec()),
            parsed::GeneralName::EDIPartyName(any) => Self::Unsupported(5, any.data.to_vec()),
            // Kept with their octets: OpenSSL compares them all the same.
            parsed::GeneralName::Invalid(tag, data) => match tag.0 {
                1 => Self::Email(data.to_vec()),
                2 => Self::Dns(data.to_vec()),
                6 => Self::Uri(data.to_vec()),
                number => Self::Unsupported(number, data.to_vec()),
            },
        }
    }

    /// The address of an `iPAddress` of 4 or 16 octets.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        let Self::Ip(octets) = self else { return None };
        <[u8; 4]>::try_from(octets.as_slice())
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(octets.as_slice()).map(IpAddr::from))
            .ok()
    }
}

impl fmt::Display for GeneralName {
    /// As `openssl x509 -text` prints them: `DNS:node1`, `IP Address:192.0.2.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(oid, _) => write!(f, "othername:{oid}"),
            Self::Email(text) => write!(f, "email:{}", text.escape_ascii()),
            Self::Dns(text) => write!(f, "DNS:{}", text.escape_ascii()),
            Self::Directory(name) => write!(f, "DirName:{name}"),
            Self::Uri(text) => write!(f, "URI:{}", text.escape_ascii()),
            Self::Ip(octets) => match self.ip() {
                Some(address) => write!(f, "IP Address:{address}"),
                None => write!(f, "IP Address:{octets:02x?}"),
            },
            Self::RegisteredId(oid) => write!(f, "Registered ID:{oid}"),
            Self::Unsupported(tag, _) => write!(f, "unsupported name [{tag}]"),
        }
    }
}

impl fmt::Debug for GeneralName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
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

    /// Reads one extension: `None` if its value is damaged.
    fn read(&mut self, oid: &[u8], value: &[u8]) -> Option<()> {
        match oid {
            oid::BASIC_CONSTRAINTS => {
                let read: parsed::BasicConstraints = whole(value)?;
                self.basic_constraints =
                    Some(BasicConstraints { ca: read.ca, path_len: read.path_len_constraint });
            }
            oid::KEY_USAGE => {
                self.key_usage = Some(KeyUsage(whole::<parsed::KeyUsage>(value)?.flags));
            }
            oid::EXTENDED_KEY_USAGE => self.extended_key_usage = Some(read_usages(value)?),
            oid::SUBJECT_KEY_ID => {
                let read: parsed::KeyIdentifier<'_> = whole(value)?;
                self.subject_key_id = Some(read.0.to_vec());
            }
            oid::AUTHORITY_KEY_ID => {
                let read: parsed::AuthorityKeyIdentifier<'_> = whole(value)?;
                let issuer = read.authority_cert_issuer.as_ref();
                self.authority_key_id = Some(AuthorityKeyId {
                    key_id: read.key_identifier.map(|id| id.0.to_vec()),
                    issuer: issuer.into_iter().flatten().find_map(|name| match name {
                        parsed::GeneralName::DirectoryName(name) => Some(Name::from_parsed(name)),
                        _ => None,
                    }),
                    has_issuer: issuer.is_some(),
                    serial: read.authority_cert_serial.map(<[u8]>::to_vec),
                });
            }
            oid::SUBJECT_ALT_NAME => {
                let read: parsed::SubjectAlternativeName<'_> = whole(value)?;
                let names = read.general_names.iter().map(GeneralName::from_parsed);
                self.subject_alt_names = Some(names.collect());
            }
            oid::NAME_CONSTRAINTS => self.name_constraints = Some(read_constraints(value)?),
            oid::NETSCAPE_CERT_TYPE => {
                let element = der::split(value).filter(|read| read.rest.is_empty())?;
                let bits = element.contents.get(1).copied().unwrap_or(0);
                self.netscape_cert_type = Some(bits);
            }
            _ => {}
        }
        Some(())
    }
}

fn whole<'a, T>(value: &'a [u8]) -> Option<T>
where
    T: FromDer<'a, x509_parser::error::X509Error>,
{
    T::from_der(value).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, read)| read)
}

fn read_usages(value: &[u8]) -> Option<Vec<Oid>> {
    let list =
        der::split(value).filter(|list| list.tag == der::tag::SEQUENCE && list.rest.is_empty())?;
    der::elements(list.contents)?
        .into_iter()
        .map(|usage| (usage.tag == der::tag::OID).then(|| Oid::from_der_contents(usage.contents)))
        .collect()
}

/// The bounds of subtrees matter (OpenSSL refuses them), so the frame is read here and only the
/// names by x509-parser.
fn read_constraints(value: &[u8]) -> Option<NameConstraints> {
    let frame = der::split(value)
        .filter(|frame| frame.tag == der::tag::SEQUENCE && frame.rest.is_empty())?;
    let mut constraints = NameConstraints::default();
    let mut last = 0;
    for list in der::elements(frame.contents)? {
        if list.tag <= last {
            return None;
        }
        last = list.tag;
        let trees = match list.tag {
            0xa0 => &mut constraints.permitted,
            0xa1 => &mut constraints.excluded,
            _ => return None,
        };
        for tree in der::elements(list.contents)? {
            let parts = der::elements(tree.contents)?;
            let (base, bounds) = parts.split_first()?;
            let base: parsed::GeneralName<'_> = whole(base.whole)?;
            // minimum [0] DEFAULT 0, maximum [1]
            let bounded = bounds.iter().any(|part| part.tag != 0x80 || part.contents != [0]);
            trees.push(Subtree { base: GeneralName::from_parsed(&base), bounded });
        }
    }
    Some(constraints)
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

    #[test]
    fn bounds_of_subtrees_are_seen() {
        let dns = [0x82, 1, b'x'];
        let subtree = |bounds: &[u8]| {
            let tree = der::element(der::tag::SEQUENCE, &[&dns, bounds].concat());
            der::element(der::tag::SEQUENCE, &der::element(0xa0, &tree))
        };
        for (bounds, bounded) in [(&[][..], false), (&[0x80, 1, 0], false), (&[0x80, 1, 1], true)] {
            let read = read_constraints(&subtree(bounds)).unwrap();
            assert_eq!(read.permitted[0].bounded, bounded);
            assert_eq!(read.permitted[0].base, GeneralName::Dns(b"x".to_vec()));
        }
        assert_eq!(read_constraints(&[0x30, 0]), Some(NameConstraints::default()));
        assert_eq!(read_constraints(&[0x30, 2, 0xa2, 0]), None);
    }
}
