//! The names in `subjectAltName`, and in the extensions that constrain names or point at issuers.

use std::fmt;
use std::net::IpAddr;

use super::name::Name;
use crate::der::{Fields, tag};
use crate::oid::Oid;

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
    /// `x400Address` or `ediPartyName`: the tag's number and its contents
    Unsupported(u32, Vec<u8>),
}

impl GeneralName {
    /// Reads one name; `None` if it is none. Whether text is ASCII, and addresses have a length that
    /// addresses have, is not asked: OpenSSL compares them all the same.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let element = fields.take_any()?;
        let contents = || element.contents.to_vec();
        Some(match element.tag {
            tag::CONTEXT_0 => {
                let mut parts = Fields::of(element.contents);
                let oid = Oid::from_der_contents(parts.take(tag::OID)?);
                let value = parts.take_any().filter(|value| value.tag == tag::CONTEXT_0)?;
                parts.end()?;
                Self::Other(oid, value.whole.to_vec())
            }
            0x81 => Self::Email(contents()),
            0x82 => Self::Dns(contents()),
            0x86 => Self::Uri(contents()),
            0x87 => Self::Ip(contents()),
            0x88 => Self::RegisteredId(Oid::from_der_contents(element.contents)),
            0xa3 => Self::Unsupported(3, contents()),
            0xa4 => Self::Directory(Name::from_der(element.contents)?),
            0xa5 => Self::Unsupported(5, contents()),
            _ => return None,
        })
    }

    /// Reads all of them, to the end.
    pub(crate) fn read_all(fields: &mut Fields<'_>) -> Option<Vec<Self>> {
        fields.each(Self::read)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_taken_at_their_word() {
        for (der, read) in [
            (&[0x82, 1, b'x'][..], Some("DNS:x")),
            (&[0x87, 4, 192, 0, 2, 1], Some("IP Address:192.0.2.1")),
            (&[0x87, 1, 192], Some("IP Address:[c0]")),
            (&[0xa0, 7, 6, 1, 42, 0xa0, 2, 5, 0], Some("othername:1.2")),
            (&[0xa4, 2, 0x30, 0], Some("DirName:(empty name)")),
            (&[0x88, 1, 42], Some("Registered ID:1.2")),
            // Primitive where it must be constructed, and the other way round.
            (&[0x80, 1, b'x'], None),
            (&[0x83, 1, b'x'], None),
            (&[0x84, 2, 0x30, 0], None),
            (&[0xa2, 3, 0x82, 1, b'x'], None),
            // No such name.
            (&[0x89, 1, b'x'], None),
            (&[0x16, 1, b'x'], None),
            (&[0xa0, 3, 6, 1, 42], None),
            (&[0x82, 2, b'x'], None),
        ] {
            let name = GeneralName::read(&mut Fields::of(der)).map(|name| name.to_string());
            assert_eq!(name.as_deref(), read, "{der:02x?}");
        }
    }
}
