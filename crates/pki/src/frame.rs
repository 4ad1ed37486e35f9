//! The frame of certificates, revocation lists and requests: all of it DER, every element in its
//! place and nothing beside them.
//!
//! x509-parser passes over what it has no use for, such as the class of a tag, unused bits of a
//! signature and elements behind the last one that it knows. Where those octets lie outside of what
//! is signed anybody can change them, and OpenSSL and webpki refuse the changed certificate. So the
//! frame is judged here before x509-parser reads what is in it.
//!
//! OpenSSL also reads encodings that are BER and not DER (lengths with leading zeros, strings in
//! pieces). Nobody issues such certificates, and they are refused here.

use crate::der::{self, Element, tag};

/// How deep elements may lie in one another: `ASN1_MAX_CONSTRUCTED_NEST` of OpenSSL.
const DEEPEST: usize = 30;

/// A `Certificate` (RFC 5280 section 4.1).
///
/// # Errors
/// In words, what is wrong with it; so do the two below.
pub(crate) fn judge_certificate(der: &[u8]) -> Result<(), String> {
    judge(der, tbs_certificate)
}

/// A `CertificateList` (RFC 5280 section 5.1).
pub(crate) fn judge_crl(der: &[u8]) -> Result<(), String> {
    judge(der, tbs_cert_list)
}

/// A `CertificationRequest` (RFC 2986 section 4.2).
pub(crate) fn judge_request(der: &[u8]) -> Result<(), String> {
    judge(der, request_info)
}

fn judge(der: &[u8], read: fn(&mut Fields<'_>) -> Option<()>) -> Result<(), String> {
    let whole = der::split(der).ok_or("it is cut off, or not DER")?;
    if !whole.rest.is_empty() {
        return Err(format!("{} octets follow it", whole.rest.len()));
    }
    if !is_der(der) {
        return Err("a part of it is not DER".to_owned());
    }
    signed(der, read).ok_or_else(|| "its parts are not those that the standard has".to_owned())
}

/// Whether all elements in a row are DER, down to the primitive ones.
fn is_der(elements: &[u8]) -> bool {
    are_der(elements, 0)
}

fn are_der(mut rest: &[u8], depth: usize) -> bool {
    while !rest.is_empty() {
        let Some(element) = der::split(rest) else { return false };
        if !is_element(&element, depth) {
            return false;
        }
        rest = element.rest;
    }
    true
}

/// X.690 sections 8 and 10. The octet of a BOOLEAN may be any: OpenSSL and webpki bear with it.
fn is_element(element: &Element<'_>, depth: usize) -> bool {
    let contents = element.contents;
    let inner = || depth < DEEPEST && are_der(contents, depth + 1);
    match element.tag {
        tag::BOOLEAN => contents.len() == 1,
        tag::INTEGER | tag::ENUMERATED => is_integer(contents),
        tag::BIT_STRING => is_bit_string(contents),
        tag::NULL => contents.is_empty(),
        tag::OID => is_oid(contents),
        tag::BMP_STRING => contents.len().is_multiple_of(2),
        tag::UNIVERSAL_STRING => contents.len().is_multiple_of(4),
        // The end of something of unknown length, and sequences and sets that claim to be primitive.
        0x00 | 0x10 | 0x11 => false,
        tag::SEQUENCE | tag::SET => inner(),
        // EXTERNAL and EMBEDDED PDV are sequences; no other universal type is.
        0x28 | 0x2b => inner(),
        0x20..=0x3f => false,
        tag if tag & 0x20 != 0 => inner(),
        _ => true,
    }
}

fn is_integer(contents: &[u8]) -> bool {
    match contents {
        [] => false,
        [0x00, second, ..] => second & 0x80 != 0,
        [0xff, second, ..] => second & 0x80 == 0,
        _ => true,
    }
}

fn is_bit_string(contents: &[u8]) -> bool {
    matches!(contents, [0] | [0..=7, _, ..])
}

/// Every arc ends, and none begins with a zero.
fn is_oid(contents: &[u8]) -> bool {
    let ends = contents.last().is_some_and(|last| last & 0x80 == 0);
    let begins = |position: usize| position == 0 || contents[position - 1] & 0x80 == 0;
    ends && (0..contents.len()).all(|position| contents[position] != 0x80 || !begins(position))
}

/// The elements inside another, taken one after the other.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let element = der::split(self.rest).filter(|element| element.tag == tag)?;
        self.rest = element.rest;
        Some(element.contents)
    }

    fn next_is(&self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }

    /// Takes an element that need not be there.
    fn take_optional(&mut self, tag: u8) -> Option<()> {
        if self.next_is(tag) { self.take(tag).map(drop) } else { Some(()) }
    }

    fn sequence(&mut self, read: impl FnOnce(&mut Fields<'a>) -> Option<()>) -> Option<()> {
        self.inside(tag::SEQUENCE, read)
    }

    /// Reads what is inside the next element, all of it.
    fn inside(&mut self, tag: u8, read: impl FnOnce(&mut Fields<'a>) -> Option<()>) -> Option<()> {
        let mut fields = Fields { rest: self.take(tag)? };
        read(&mut fields)?;
        fields.end()
    }

    fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    fn each(&mut self, mut read: impl FnMut(&mut Fields<'a>) -> Option<()>) -> Option<()> {
        while !self.rest.is_empty() {
            read(self)?;
        }
        Some(())
    }

    /// An `AlgorithmIdentifier`, with any parameters.
    fn algorithm(&mut self) -> Option<()> {
        self.sequence(|fields| {
            fields.take(tag::OID)?;
            if !fields.rest.is_empty() {
                fields.rest = der::split(fields.rest)?.rest;
            }
            Some(())
        })
    }

    fn name(&mut self) -> Option<()> {
        self.sequence(|rdns| rdns.each(|rdns| rdns.inside(tag::SET, |rdn| rdn.each(attribute))))
    }

    /// A `Time`, to the second and in UTC as RFC 5280 section 4.1.2.5 has it. OpenSSL verifies
    /// nothing with a time of another form.
    fn time(&mut self) -> Option<()> {
        let digits = match self.rest.first() {
            Some(&tag::UTC_TIME) => self.take(tag::UTC_TIME)?.strip_suffix(b"Z")?,
            _ => self.take(tag::GENERALIZED_TIME)?.strip_suffix(b"Z")?.get(2..)?,
        };
        (digits.len() == 12 && digits.iter().all(u8::is_ascii_digit)).then_some(())
    }

    fn public_key(&mut self) -> Option<()> {
        self.sequence(|fields| {
            fields.algorithm()?;
            fields.take(tag::BIT_STRING).map(drop)
        })
    }

    fn extensions(&mut self) -> Option<()> {
        self.sequence(|all| {
            all.each(|all| {
                all.sequence(|extension| {
                    extension.take(tag::OID)?;
                    extension.take_optional(tag::BOOLEAN)?;
                    extension.take(tag::OCTET_STRING).map(drop)
                })
            })
        })
    }
}

fn attribute(rdn: &mut Fields<'_>) -> Option<()> {
    rdn.sequence(|attribute| {
        attribute.take(tag::OID)?;
        attribute.rest = der::split(attribute.rest)?.rest;
        Some(())
    })
}

/// What is signed, how, and the signature, whose bits are whole octets.
fn signed(der: &[u8], read: fn(&mut Fields<'_>) -> Option<()>) -> Option<()> {
    let mut whole = Fields { rest: der };
    whole.sequence(|fields| {
        fields.sequence(read)?;
        fields.algorithm()?;
        fields.take(tag::BIT_STRING).filter(|bits| bits.first() == Some(&0)).map(drop)
    })?;
    whole.end()
}

fn tbs_certificate(fields: &mut Fields<'_>) -> Option<()> {
    if fields.next_is(tag::CONTEXT_0) {
        fields.inside(tag::CONTEXT_0, |version| version.take(tag::INTEGER).map(drop))?;
    }
    fields.take(tag::INTEGER)?;
    fields.algorithm()?;
    fields.name()?;
    fields.sequence(|validity| {
        validity.time()?;
        validity.time()
    })?;
    fields.name()?;
    fields.public_key()?;
    // issuerUniqueID and subjectUniqueID, strings of bits.
    for unique_id in [0x81, 0x82] {
        if fields.next_is(unique_id) && !is_bit_string(fields.take(unique_id)?) {
            return None;
        }
    }
    if fields.next_is(tag::CONTEXT_3) {
        fields.inside(tag::CONTEXT_3, Fields::extensions)?;
    }
    Some(())
}

fn tbs_cert_list(fields: &mut Fields<'_>) -> Option<()> {
    fields.take_optional(tag::INTEGER)?;
    fields.algorithm()?;
    fields.name()?;
    fields.time()?;
    if fields.next_is(tag::UTC_TIME) || fields.next_is(tag::GENERALIZED_TIME) {
        fields.time()?;
    }
    if fields.next_is(tag::SEQUENCE) {
        fields.sequence(|entries| entries.each(|entries| entries.sequence(revoked)))?;
    }
    if fields.next_is(tag::CONTEXT_0) {
        fields.inside(tag::CONTEXT_0, Fields::extensions)?;
    }
    Some(())
}

fn revoked(entry: &mut Fields<'_>) -> Option<()> {
    entry.take(tag::INTEGER)?;
    entry.time()?;
    if entry.next_is(tag::SEQUENCE) { entry.extensions() } else { Some(()) }
}

fn request_info(fields: &mut Fields<'_>) -> Option<()> {
    fields.take(tag::INTEGER)?;
    fields.name()?;
    fields.public_key()?;
    fields.inside(tag::CONTEXT_0, |attributes| {
        attributes.each(|attributes| {
            attributes.sequence(|attribute| {
                attribute.take(tag::OID)?;
                attribute.take(tag::SET).map(drop)
            })
        })
    })
}
