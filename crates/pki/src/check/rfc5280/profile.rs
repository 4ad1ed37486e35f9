//! What RFC 5280 demands of a certificate itself (sections 4.1 and 4.2).

use super::super::{Reason, Rejection};
use super::names;
use crate::certificate::{Certificate, GeneralName, KeyUsage};
use crate::der;
use crate::oid;
use crate::signature::{Curve, KeyKind};

/// Where in a path a certificate stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Leaf,
    Authority,
    /// A trusted authority.
    Anchor,
}

/// Extensions that are understood here, so that they may be critical.
const KNOWN: [&[u8]; 11] = [
    oid::BASIC_CONSTRAINTS,
    oid::KEY_USAGE,
    oid::EXTENDED_KEY_USAGE,
    oid::SUBJECT_ALT_NAME,
    oid::NAME_CONSTRAINTS,
    oid::CERTIFICATE_POLICIES,
    oid::POLICY_CONSTRAINTS,
    oid::POLICY_MAPPINGS,
    oid::INHIBIT_ANY_POLICY,
    oid::ISSUER_ALT_NAME,
    oid::CRL_DISTRIBUTION_POINTS,
];

/// Extensions that must not be critical.
const NEVER_CRITICAL: [&[u8]; 3] =
    [oid::AUTHORITY_KEY_ID, oid::SUBJECT_KEY_ID, oid::AUTHORITY_INFO_ACCESS];

/// Extensions that must be critical.
const ALWAYS_CRITICAL: [&[u8]; 3] =
    [oid::NAME_CONSTRAINTS, oid::POLICY_CONSTRAINTS, oid::INHIBIT_ANY_POLICY];

pub(super) fn judge(certificate: &Certificate, place: Place) -> Result<(), Rejection> {
    let judged = judge_fields(certificate, place)
        .and_then(|()| judge_extensions(certificate))
        .and_then(|()| judge_names(certificate))
        .and_then(|()| judge_role(certificate, place));
    judged.map_err(|reason| Rejection::new(reason, certificate))
}

fn other(words: &str) -> Reason {
    Reason::Other(words.to_owned())
}

fn judge_fields(certificate: &Certificate, place: Place) -> Result<(), Reason> {
    let serial = certificate.serial();
    if certificate.version() != 3 {
        return Err(other("is not of version 3"));
    }
    // Section 4.1.2.2 wants such numbers borne with; old roots have them, new certificates must not.
    if place != Place::Anchor
        && (serial.len() > 20
            || serial.first().is_none_or(|octet| octet & 0x80 != 0)
            || serial.iter().all(|octet| *octet == 0))
    {
        return Err(other("has a serial number that is not positive or longer than 20 octets"));
    }
    if certificate.issuer().is_empty() {
        return Err(other("names no issuer"));
    }
    if !certificate.signature_algorithms_agree() {
        return Err(other("names two different signature algorithms"));
    }
    if !certificate.public_key().is_readable() {
        return Err(other("has a key that cannot be read"));
    }
    // What cannot be verified cannot be relied on, and RFC 5480 wants curves named.
    match certificate.public_key().kind() {
        KeyKind::Ec(Curve::Explicit) => Err(Reason::ExplicitCurve),
        KeyKind::Ec(Curve::P256 | Curve::P384 | Curve::P521) | KeyKind::Ed25519 => Ok(()),
        KeyKind::Rsa { bits: 2048.. } => Ok(()),
        kind => Err(other(&format!("has a key that is weak or not supported: {kind}"))),
    }
}

fn judge_extensions(certificate: &Certificate) -> Result<(), Reason> {
    let extensions = certificate.extensions();
    let damaged = [&extensions.duplicate, &extensions.malformed, &extensions.trailing];
    if let Some(oid) = damaged.into_iter().flatten().next() {
        return Err(Reason::MalformedExtension(oid.clone()));
    }
    for present in &extensions.present {
        let is_any = |oids: &[&[u8]]| oids.iter().any(|oid| present.oid == *oid);
        if present.critical && is_any(&NEVER_CRITICAL) {
            let words = format!("has a critical extension that must not be: {:?}", present.oid);
            return Err(Reason::Other(words));
        }
        if !present.critical && is_any(&ALWAYS_CRITICAL) {
            let words = format!("has an extension that must be critical: {:?}", present.oid);
            return Err(Reason::Other(words));
        }
        if present.critical && !is_any(&KNOWN) {
            return Err(Reason::UnknownCriticalExtension(present.oid.clone()));
        }
        if present.oid == oid::AUTHORITY_INFO_ACCESS && !is_access_description(&present.value) {
            return Err(Reason::MalformedExtension(present.oid.clone()));
        }
    }
    if extensions.extended_key_usage.as_ref().is_some_and(Vec::is_empty) {
        return Err(other("has an extendedKeyUsage without any usage"));
    }
    if extensions.key_usage.is_some_and(KeyUsage::is_empty) {
        return Err(other("has a keyUsage without any usage"));
    }
    Ok(())
}

/// `SEQUENCE OF SEQUENCE { OID, GeneralName }`, not empty.
fn is_access_description(value: &[u8]) -> bool {
    let entry = |entry: &der::Element<'_>| {
        entry.tag == der::tag::SEQUENCE
            && der::elements(entry.contents).is_some_and(|parts| {
                matches!(parts.as_slice(), [method, location]
                    if method.tag == der::tag::OID && location.tag & 0xc0 == 0x80)
            })
    };
    der::split(value)
        .filter(|list| list.tag == der::tag::SEQUENCE && list.rest.is_empty())
        .and_then(|list| der::elements(list.contents))
        .is_some_and(|entries| !entries.is_empty() && entries.iter().all(entry))
}

fn judge_names(certificate: &Certificate) -> Result<(), Reason> {
    let extensions = certificate.extensions();
    let Some(names) = &extensions.subject_alt_names else {
        return if certificate.subject().is_empty() {
            Err(other("has neither a subject nor a subjectAltName"))
        } else {
            Ok(())
        };
    };
    let critical = extensions.find(oid::SUBJECT_ALT_NAME).is_some_and(|present| present.critical);
    if certificate.subject().is_empty() && !critical {
        return Err(other("has no subject and a subjectAltName that is not critical"));
    }
    if names.is_empty() {
        return Err(other("has a subjectAltName without any name"));
    }
    for name in names {
        let sound = match name {
            GeneralName::Dns(text) => names::is_host_name(text, true),
            GeneralName::Ip(octets) => matches!(octets.len(), 4 | 16),
            GeneralName::Email(text) => names::is_mailbox(text),
            GeneralName::Uri(text) => text.is_ascii() && text.contains(&b':'),
            _ => true,
        };
        if !sound {
            return Err(Reason::Other(format!("has a name that is not well-formed: {name}")));
        }
    }
    Ok(())
}

fn judge_role(certificate: &Certificate, place: Place) -> Result<(), Reason> {
    let extensions = certificate.extensions();
    let signs = extensions.key_usage.is_some_and(|usage| usage.allows_any(KeyUsage::KEY_CERT_SIGN));
    if !certificate.is_authority() {
        if place != Place::Leaf {
            return Err(Reason::NotAnAuthority);
        }
        if signs {
            return Err(other("has keyCertSign in its keyUsage and is no authority"));
        }
        if extensions.name_constraints.is_some() {
            return Err(other("has nameConstraints and is no authority"));
        }
        if extensions.basic_constraints.is_some_and(|read| read.path_len.is_some()) {
            return Err(other("has a path length and is no authority"));
        }
        return Ok(());
    }
    let critical = extensions.find(oid::BASIC_CONSTRAINTS).is_some_and(|found| found.critical);
    if !critical {
        return Err(other("is an authority whose basicConstraints are not critical"));
    }
    if certificate.subject().is_empty() {
        return Err(other("is an authority without a subject"));
    }
    if extensions.key_usage.is_some() && !signs {
        return Err(Reason::KeyCertSignMissing);
    }
    if extensions.subject_key_id.is_none() {
        return Err(other("is an authority without a subjectKeyIdentifier"));
    }
    names::judge_constraints(certificate)
}

/// Key identifiers lead from certificate to certificate (section 4.2.1.1).
pub(super) fn judge_key_ids(subject: &Certificate, issuer: &Certificate) -> Result<(), Rejection> {
    let refuse = |words: &str| Err(Rejection::new(other(words), subject));
    // The issuer's own matters too, if it is there: a root need not have one.
    if let Some(own) = &issuer.extensions().authority_key_id
        && issuer.is_self_issued()
        && own.key_id.is_some()
        && own.key_id != issuer.extensions().subject_key_id
        && issuer.is_self_signed()
    {
        let words = "is a root whose authorityKeyIdentifier is another key's";
        return Err(Rejection::new(other(words), issuer));
    }
    let Some(wanted) = &subject.extensions().authority_key_id else {
        return refuse("has no authorityKeyIdentifier");
    };
    if wanted.key_id.is_none() {
        return refuse("has an authorityKeyIdentifier without a key identifier");
    }
    if wanted.has_issuer != wanted.serial.is_some() {
        return refuse("has an authorityKeyIdentifier with a name or a serial number alone");
    }
    if wanted.key_id != issuer.extensions().subject_key_id {
        return refuse("has an authorityKeyIdentifier that is not its issuer's");
    }
    Ok(())
}
