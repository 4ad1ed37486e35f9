//! The name that servers take from a client's certificate: with `cert` and `clientcert=verify-full`
//! it must be the role's, or one that a user name map leads to the role.

use std::fmt;

use crate::certificate::{Certificate, Name};
use crate::oid::Oid;

/// Why servers take no name from a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientNameRefusal {
    /// There is no common name, or an empty one.
    Missing,
    /// The common name holds a zero octet, an old trick against naive comparisons. The server closes
    /// the connection without a word to the client.
    EmbeddedNull,
    /// The subject has an attribute of a type that OpenSSL has no name for. The login fails, whatever
    /// its method (`X509_NAME_to_cstring`).
    UnknownAttribute(Oid),
}

impl fmt::Display for ClientNameRefusal {
    /// As servers put it in their log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "client certificate contains no user name",
            Self::EmbeddedNull => "SSL certificate's common name contains embedded null",
            Self::UnknownAttribute(_) => "could not get NID for ASN1_OBJECT object",
        })
    }
}

impl std::error::Error for ClientNameRefusal {}

impl Certificate {
    /// The name that a server compares with the role under `clientname=CN`, the default: the octets
    /// of the first common name, whatever its string type (`be_tls_open_server` in
    /// `be-secure-openssl.c`). They are compared exactly, so a common name in BMPString is no role's.
    ///
    /// Under `clientname=DN` (14 and later) it is [`Name::to_rfc2253`](crate::Name::to_rfc2253) of
    /// the subject.
    ///
    /// ```
    /// use pki::{Authority, KeyAlgorithm, Profile, Subject, Validity};
    /// use time::OffsetDateTime;
    ///
    /// let validity = Validity::days(OffsetDateTime::UNIX_EPOCH, 30);
    /// let p256 = KeyAlgorithm::EcdsaP256;
    /// let root = Authority::create(p256, &Subject::common_name("CA"), validity)?;
    /// let alice = root.issue(p256, &Profile::client("alice"), validity)?;
    /// assert_eq!(alice.certificate.client_name(), Ok(&b"alice"[..]));
    /// # Ok::<(), pki::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ClientNameRefusal`] where the certificate can log in nobody.
    pub fn client_name(&self) -> Result<&[u8], ClientNameRefusal> {
        of(self.subject())
    }
}

fn of(subject: &Name) -> Result<&[u8], ClientNameRefusal> {
    let name = subject.common_name().ok_or(ClientNameRefusal::Missing)?;
    let unknown = subject.attributes().find(|part| part.short_name().is_none());
    if let Some(attribute) = unknown {
        return Err(ClientNameRefusal::UnknownAttribute(attribute.oid.clone()));
    }
    match name.octets() {
        [] => Err(ClientNameRefusal::Missing),
        octets if octets.contains(&0) => Err(ClientNameRefusal::EmbeddedNull),
        octets => Ok(octets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::{element, tag};
    use crate::oid;

    fn subject(attributes: &[(&[u8], u8, &[u8])]) -> Name {
        let rdns: Vec<u8> = attributes
            .iter()
            .flat_map(|(oid, tag, value)| {
                let contents = [element(tag::OID, oid), element(*tag, value)].concat();
                element(tag::SET, &element(tag::SEQUENCE, &contents))
            })
            .collect();
        Name::from_der(&element(tag::SEQUENCE, &rdns)).unwrap()
    }

    /// What servers 12 to 18 did with such certificates under the method cert.
    #[test]
    fn names_of_clients() {
        let cn = |tag, value| (oid::COMMON_NAME, tag, value);
        let alice: &[u8] = b"alice";
        for (attributes, name) in [
            (vec![cn(0x0c, alice)], Ok(alice)),
            (vec![cn(0x13, alice)], Ok(alice)),
            (vec![cn(0x14, alice)], Ok(alice)),
            (vec![cn(0x0c, b"alice "), cn(0x0c, alice)], Ok(b"alice ")),
            (vec![cn(0x03, b"\0alice")], Ok(alice)),
            (vec![cn(0x1e, b"\0a\0l")], Err(ClientNameRefusal::EmbeddedNull)),
            (vec![cn(0x0c, b"alice\0x")], Err(ClientNameRefusal::EmbeddedNull)),
            (vec![cn(0x0c, b"")], Err(ClientNameRefusal::Missing)),
            (vec![(oid::ORGANIZATION, 0x0c, alice)], Err(ClientNameRefusal::Missing)),
            (vec![(&[0x55, 4, 13], 0x0c, b"described"), cn(0x0c, alice)], Ok(alice)),
            (
                vec![(&[0x2a, 3, 4], 0x0c, b"unknown"), cn(0x0c, alice)],
                Err(ClientNameRefusal::UnknownAttribute(Oid::from_der_contents(&[0x2a, 3, 4]))),
            ),
        ] {
            assert_eq!(of(&subject(&attributes)), name, "{attributes:02x?}");
        }
    }
}
