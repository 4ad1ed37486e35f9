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

use crate::der::{self, Element, Fields, tag};

/// How deep elements may lie in one another: `ASN1_MAX_CONSTRUCTED_NEST` of OpenSSL.
const DEEPEST: usize = 30;

/// Judges a `Certificate` (RFC 5280 section 4.1) and finds its issuer and its subject.
///
/// # Errors
/// In words, what is wrong with it; so do the two below.
pub(crate) fn certificate(der: &[u8]) -> Result<[&[u8]; 2], String> {
    judge(der, tbs_certificate)
}

/// Judges a `CertificateList` (RFC 5280 section 5.1) and finds its issuer.
pub(crate) fn crl(der: &[u8]) -> Result<&[u8], String> {
    judge(der, tbs_cert_list)
}

/// Judges a `CertificationRequest` (RFC 2986 section 4.2) and finds its subject.
pub(crate) fn request(der: &[u8]) -> Result<&[u8], String> {
    judge(der, request_info)
}

fn judge<'a, T>(der: &'a [u8], read: fn(&mut Fields<'a>) -> Option<T>) -> Result<T, String> {
    let whole = der::split(der).ok_or("it is cut off, or not DER")?;
    if !whole.rest.is_empty() {
        return Err(format!("{} octets follow it", whole.rest.len()));
    }
    if !is_der(der) {
        return Err("a part of it is not DER".to_owned());
    }
    signed(der, read).ok_or_else(|| "its parts are not those that the standard has".to_owned())
}

/// Whether these octets are one `Name` (RFC 5280 section 4.1.2.4).
pub(crate) fn is_name(der: &[u8]) -> bool {
    let mut fields = Fields::of(der);
    is_der(der) && name(&mut fields).is_some() && fields.is_empty()
}

/// Whether all elements in a row are DER, down to the primitive ones.
pub(crate) fn is_der(elements: &[u8]) -> bool {
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

/// An `AlgorithmIdentifier`, with any parameters.
fn algorithm(fields: &mut Fields<'_>) -> Option<()> {
    fields.sequence(|fields| {
        fields.take(tag::OID)?;
        if fields.is_empty() { Some(()) } else { fields.take_any().map(drop) }
    })
}

/// A `Name`, all of it.
fn name<'a>(fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    let element = fields.take_any()?;
    let rdn = |rdns: &mut Fields<'_>| rdns.inside(tag::SET, |rdn| rdn.each(attribute));
    Fields::of(element.whole).sequence(|rdns| rdns.each(rdn))?;
    Some(element.whole)
}

fn attribute(rdn: &mut Fields<'_>) -> Option<()> {
    rdn.sequence(|attribute| {
        attribute.take(tag::OID)?;
        attribute.take_any().filter(is_attribute_value).map(drop)
    })
}

/// The types that OpenSSL reads in a name (`B_ASN1_PRINTABLE`), and text only if it can be decoded
/// (`asn1_string_canon`).
fn is_attribute_value(value: &Element<'_>) -> bool {
    match value.tag {
        tag::UTF8_STRING => std::str::from_utf8(value.contents).is_ok(),
        tag::NUMERIC_STRING
        | tag::PRINTABLE_STRING
        | tag::TELETEX_STRING
        | tag::IA5_STRING
        | tag::UNIVERSAL_STRING
        | tag::BMP_STRING
        | tag::BIT_STRING
        | tag::SEQUENCE => true,
        _ => false,
    }
}

/// A `Time`, to the second and in UTC as RFC 5280 section 4.1.2.5 has it. OpenSSL verifies
/// nothing with a time of another form.
fn time(fields: &mut Fields<'_>) -> Option<()> {
    let digits = if fields.next_is(tag::UTC_TIME) {
        fields.take(tag::UTC_TIME)?.strip_suffix(b"Z")?
    } else {
        fields.take(tag::GENERALIZED_TIME)?.strip_suffix(b"Z")?.get(2..)?
    };
    (digits.len() == 12 && digits.iter().all(u8::is_ascii_digit)).then_some(())
}

fn public_key(fields: &mut Fields<'_>) -> Option<()> {
    fields.sequence(|fields| {
        algorithm(fields)?;
        fields.take(tag::BIT_STRING).map(drop)
    })
}

fn extensions(fields: &mut Fields<'_>) -> Option<()> {
    fields
        .sequence(|all| {
            all.each(|all| {
                all.sequence(|extension| {
                    extension.take(tag::OID)?;
                    if extension.next_is(tag::BOOLEAN) {
                        extension.take(tag::BOOLEAN)?;
                    }
                    extension.take(tag::OCTET_STRING).map(drop)
                })
            })
        })
        .map(drop)
}

/// What is signed, how, and the signature, whose bits are whole octets.
fn signed<'a, T>(der: &'a [u8], read: fn(&mut Fields<'a>) -> Option<T>) -> Option<T> {
    Fields::of(der).sequence(|fields| {
        let read = fields.sequence(read)?;
        algorithm(fields)?;
        fields.take(tag::BIT_STRING).filter(|bits| bits.first() == Some(&0))?;
        Some(read)
    })
}

fn tbs_certificate<'a>(fields: &mut Fields<'a>) -> Option<[&'a [u8]; 2]> {
    if fields.next_is(tag::CONTEXT_0) {
        fields.inside(tag::CONTEXT_0, |version| version.take(tag::INTEGER).map(drop))?;
    }
    fields.take(tag::INTEGER)?;
    algorithm(fields)?;
    let issuer = name(fields)?;
    fields.sequence(|validity| {
        time(validity)?;
        time(validity)
    })?;
    let subject = name(fields)?;
    public_key(fields)?;
    // issuerUniqueID and subjectUniqueID, strings of bits.
    for unique_id in [0x81, 0x82] {
        if fields.next_is(unique_id) && !is_bit_string(fields.take(unique_id)?) {
            return None;
        }
    }
    if fields.next_is(tag::CONTEXT_3) {
        fields.inside(tag::CONTEXT_3, extensions)?;
    }
    Some([issuer, subject])
}

fn tbs_cert_list<'a>(fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    if fields.next_is(tag::INTEGER) {
        fields.take(tag::INTEGER)?;
    }
    algorithm(fields)?;
    let issuer = name(fields)?;
    time(fields)?;
    if fields.next_is(tag::UTC_TIME) || fields.next_is(tag::GENERALIZED_TIME) {
        time(fields)?;
    }
    if fields.next_is(tag::SEQUENCE) {
        fields.sequence(|entries| entries.each(|entries| entries.sequence(revoked)))?;
    }
    if fields.next_is(tag::CONTEXT_0) {
        fields.inside(tag::CONTEXT_0, extensions)?;
    }
    Some(issuer)
}

fn revoked(entry: &mut Fields<'_>) -> Option<()> {
    entry.take(tag::INTEGER)?;
    time(entry)?;
    if entry.next_is(tag::SEQUENCE) { extensions(entry) } else { Some(()) }
}

fn request_info<'a>(fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    fields.take(tag::INTEGER)?;
    let subject = name(fields)?;
    public_key(fields)?;
    fields.inside(tag::CONTEXT_0, |attributes| {
        attributes.each(|attributes| {
            attributes.sequence(|attribute| {
                attribute.take(tag::OID)?;
                attribute.take(tag::SET).map(drop)
            })
        })
    })?;
    Some(subject)
}
