//! Distinguished names, compared the way OpenSSL compares them.

use std::fmt::{self, Write};

use super::attribute_type;
use crate::der::{self, Fields, tag};
use crate::frame;
use crate::oid::{self, Oid};

/// A distinguished name: the subject or issuer of a certificate.
///
/// Two names are equal if OpenSSL takes them for equal (`X509_NAME_cmp`): string values are
/// compared without regard to their string type, to the case of ASCII letters, to blanks at either
/// end and to the number of blanks between words.
#[derive(Clone)]
pub struct Name {
    raw: Vec<u8>,
    canonical: Vec<u8>,
    rdns: Vec<Vec<Attribute>>,
}

/// One attribute of a distinguished name, such as `CN=alice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The attribute's type.
    pub oid: Oid,
    /// The tag octet of the value's string type (`0x0c` is UTF8String).
    pub tag: u8,
    /// The octets of the value, undecoded.
    pub value: Vec<u8>,
}

impl Attribute {
    /// The name that OpenSSL has for its type.
    pub(crate) fn short_name(&self) -> Option<&'static str> {
        attribute_type::short_name(self.oid.as_der_contents())
    }

    /// The octets as servers and libpq compare them, whatever the string type. OpenSSL keeps the
    /// number of unused bits of a BIT STRING elsewhere.
    pub(crate) fn octets(&self) -> &[u8] {
        match self.value.as_slice() {
            [_, bits @ ..] if self.tag == tag::BIT_STRING => bits,
            octets => octets,
        }
    }

    /// The value as UTF-8, or `None` where it is no string, or not valid in its string type.
    ///
    /// BMPString and UniversalString are decoded; TeletexString is taken for Latin-1, as OpenSSL
    /// does.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self.tag {
            // UTF8String
            0x0c => String::from_utf8(self.value.clone()).ok(),
            // NumericString, PrintableString, T61String, IA5String, VisibleString
            0x12..=0x14 | 0x16 | 0x1a => {
                Some(self.value.iter().map(|&octet| char::from(octet)).collect())
            }
            // UniversalString
            0x1c => self
                .value
                .chunks(4)
                .map(|unit| char::from_u32(u32::from_be_bytes(unit.try_into().ok()?)))
                .collect(),
            // BMPString
            0x1e => self
                .value
                .chunks(2)
                .map(|unit| char::from_u32(u16::from_be_bytes(unit.try_into().ok()?).into()))
                .collect(),
            _ => None,
        }
    }

    /// The value as OpenSSL's `asn1_string_canon` compares it.
    fn canonical(&self) -> Vec<u8> {
        // NumericString is not among the types that OpenSSL folds (ASN1_MASK_CANON).
        if self.tag == 0x12 {
            return der::element(self.tag, &self.value);
        }
        let Some(text) = self.text() else { return der::element(self.tag, &self.value) };
        let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
        let mut folded = String::with_capacity(text.len());
        let mut pending = false;
        for c in text.chars() {
            if is_space(c) {
                pending = !folded.is_empty();
            } else {
                if pending {
                    folded.push(' ');
                    pending = false;
                }
                folded.push(c.to_ascii_lowercase());
            }
        }
        der::element(tag::UTF8_STRING, folded.as_bytes())
    }
}

impl Name {
    /// Reads one `Name`, with nothing behind it. Empty RDNs vanish, as with OpenSSL.
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        if !frame::is_name(der) {
            return None;
        }
        let mut rdns = Fields::of(der)
            .sequence(|rdns| rdns.each(|rdns| rdns.inside(tag::SET, |rdn| rdn.each(attribute))))?;
        rdns.retain(|rdn| !rdn.is_empty());
        Some(Self { raw: der.to_vec(), canonical: canonical(&rdns), rdns })
    }

    /// The name as it stands in the certificate: the DER of a `Name`.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.raw
    }

    /// The relative distinguished names in the order of the encoding, most general first.
    #[must_use]
    pub fn rdns(&self) -> &[Vec<Attribute>] {
        &self.rdns
    }

    /// Every attribute, in the order of the encoding.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.rdns.iter().flatten()
    }

    /// Whether the name has no attribute at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rdns.is_empty()
    }

    /// The first common name, undecoded: the one that servers and libpq look at
    /// (`X509_NAME_get_text_by_NID`).
    #[must_use]
    pub fn common_name(&self) -> Option<&Attribute> {
        self.attributes().find(|attribute| attribute.oid == oid::COMMON_NAME)
    }

    /// Whether this name lies in the subtree that `base` stands for: `base` is a prefix of it.
    pub(crate) fn is_within(&self, base: &Self) -> bool {
        self.canonical.starts_with(&base.canonical)
    }

    /// The name as PostgreSQL prints it for the log's `identity="..."` and compares it under
    /// `clientname=DN` (RFC 2253: last attribute first, OpenSSL's `XN_FLAG_RFC2253`).
    #[must_use]
    pub fn to_rfc2253(&self) -> String {
        let mut out = String::new();
        for (position, rdn) in self.rdns.iter().rev().enumerate() {
            if position > 0 {
                out.push(',');
            }
            for (position, attribute) in rdn.iter().rev().enumerate() {
                if position > 0 {
                    out.push('+');
                }
                match attribute.short_name() {
                    Some(name) => out.push_str(name),
                    None => out.push_str(&attribute.oid.to_string()),
                }
                out.push('=');
                push_rfc2253_value(&mut out, attribute);
            }
        }
        out
    }
}

/// RFC 2253 section 2.4 with the flags of `XN_FLAG_RFC2253`: special characters and control
/// characters are escaped, octets beyond ASCII too, what is no string is dumped in hexadecimal.
fn push_rfc2253_value(out: &mut String, attribute: &Attribute) {
    let known = attribute.short_name().is_some();
    let Some(text) = attribute.text().filter(|_| known) else {
        out.push('#');
        for octet in der::element(attribute.tag, &attribute.value) {
            let _ = write!(out, "{octet:02X}");
        }
        return;
    };
    let last = text.chars().count().saturating_sub(1);
    for (position, c) in text.chars().enumerate() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => {
                out.push('\\');
                out.push(c);
            }
            ' ' if position == 0 || position == last => out.push_str("\\ "),
            // A single one is the last too, and that is what counts.
            '#' if position == 0 && last > 0 => out.push_str("\\#"),
            ' '..='~' => out.push(c),
            _ => {
                for octet in c.to_string().bytes() {
                    let _ = write!(out, "\\{octet:02X}");
                }
            }
        }
    }
}

/// OpenSSL's `x509_name_canon`: each RDN a SET of folded attributes in DER order.
fn canonical(rdns: &[Vec<Attribute>]) -> Vec<u8> {
    let mut out = Vec::new();
    for rdn in rdns {
        let mut attributes: Vec<Vec<u8>> = rdn
            .iter()
            .map(|attribute| {
                let mut contents = der::element(tag::OID, attribute.oid.as_der_contents());
                contents.extend_from_slice(&attribute.canonical());
                der::element(tag::SEQUENCE, &contents)
            })
            .collect();
        attributes.sort();
        der::write(&mut out, tag::SET, &attributes.concat());
    }
    out
}

fn attribute(rdn: &mut Fields<'_>) -> Option<Attribute> {
    rdn.sequence(|fields| {
        let oid = Oid::from_der_contents(fields.take(tag::OID)?);
        let value = fields.take_any()?;
        Some(Attribute { oid, tag: value.tag, value: value.contents.to_vec() })
    })
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl fmt::Display for Name {
    /// As [`Name::to_rfc2253`], or `(empty name)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() { f.write_str("(empty name)") } else { f.write_str(&self.to_rfc2253()) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(attributes: &[(&[u8], u8, &[u8])]) -> Name {
        let rdns: Vec<Vec<Attribute>> = attributes
            .iter()
            .map(|(oid, tag, value)| {
                vec![Attribute {
                    oid: Oid::from_der_contents(oid),
                    tag: *tag,
                    value: value.to_vec(),
                }]
            })
            .collect();
        Name { raw: Vec::new(), canonical: canonical(&rdns), rdns }
    }

    #[test]
    fn compared_as_openssl_does() {
        let utf8 = name(&[(oid::COMMON_NAME, 0x0c, b"Big  Corp ")]);
        let printable = name(&[(oid::COMMON_NAME, 0x13, b" big corp")]);
        let bmp = name(&[(oid::COMMON_NAME, 0x1e, b"\0b\0i\0g\0 \0C\0o\0r\0p")]);
        let other = name(&[(oid::COMMON_NAME, 0x0c, b"bigcorp")]);
        assert_eq!(utf8, printable);
        assert_eq!(utf8, bmp);
        assert_ne!(utf8, other);
    }

    #[test]
    fn a_subtree_is_a_prefix_of_whole_rdns() {
        let base = name(&[(oid::ORGANIZATION, 0x0c, b"a")]);
        let below = name(&[(oid::ORGANIZATION, 0x13, b"A"), (oid::COMMON_NAME, 0x0c, b"b")]);
        let beside = name(&[(oid::ORGANIZATION, 0x0c, b"ab")]);
        assert!(below.is_within(&base));
        assert!(base.is_within(&name(&[])));
        assert!(!beside.is_within(&base));
    }

    #[test]
    fn printed_last_attribute_first() {
        let name = name(&[
            (oid::ORGANIZATION, 0x0c, b"Timescale, Inc."),
            (oid::COMMON_NAME, 0x0c, "\u{e4}# ".as_bytes()),
        ]);
        assert_eq!(name.to_string(), "CN=\\C3\\A4#\\ ,O=Timescale\\, Inc.");
    }

    /// What servers 15 and 18 wrote into their logs.
    #[test]
    fn printed_as_servers_log_it() {
        for (oid, tag, value, printed) in [
            (oid::ORGANIZATION, 0x0c, &b"#hash"[..], "O=\\#hash"),
            (oid::ORGANIZATION, 0x0c, b"#", "O=#"),
            (oid::ORGANIZATION, 0x0c, b" ", "O=\\ "),
            (oid::ORGANIZATION, 0x0c, b"  ", "O=\\ \\ "),
            (oid::ORGANIZATION, 0x0c, b"a\x01\n\x7f", "O=a\\01\\0A\\7F"),
            (oid::ORGANIZATION, 0x14, b"b\xfc", "O=b\\C3\\BC"),
            (oid::ORGANIZATION, 0x03, b"\0b", "O=#03020062"),
            (&[0x55, 4, 13], 0x0c, b"val", "description=val"),
            (&[0x2a, 3, 4], 0x0c, b"val", "1.2.3.4=#0C0376616C"),
        ] {
            assert_eq!(name(&[(oid, tag, value)]).to_string(), printed);
        }
    }

    #[test]
    fn empty_rdns_vanish() {
        let alice = [
            &[0x31, 0][..],
            &der::element(0x31, &der::element(0x30, b"\x06\x03\x55\x04\x03\x0c\x05alice")),
        ]
        .concat();
        let name = Name::from_der(&der::element(0x30, &alice)).unwrap();
        assert_eq!(name.to_string(), "CN=alice");
        assert!(Name::from_der(&[0x30, 0]).unwrap().is_empty());
        assert!(Name::from_der(&[0x30, 2, 0x31]).is_none());
    }
}
