//! The values of extensions.
//!
//! OpenSSL's verdict depends on whether a value can be read, and x509-parser does not look at the
//! class of a tag, at most elements behind the last known one, nor at the bounds of a subtree. So
//! values are decoded here.

use super::extension::{AuthorityKeyId, BasicConstraints, KeyUsage, NameConstraints, Subtree};
use super::general_name::GeneralName;
use crate::der::{self, Fields, tag};
use crate::frame;
use crate::oid::Oid;

/// `SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }`
pub(super) fn basic_constraints(value: &[u8]) -> Option<BasicConstraints> {
    sequence(value, |fields| {
        let ca = fields.next_is(tag::BOOLEAN) && fields.take(tag::BOOLEAN)? != [0];
        let mut path_len = None;
        if fields.next_is(tag::INTEGER) {
            let octets = fields.take(tag::INTEGER)?;
            if octets[0] & 0x80 != 0 {
                return None;
            }
            // More than all the certificates there are is no limit.
            let length = octets.iter().try_fold(0_u32, |length, octet| {
                length.checked_mul(256)?.checked_add(u32::from(*octet))
            });
            path_len = Some(length.unwrap_or(u32::MAX));
        }
        Some(BasicConstraints { ca, path_len })
    })
}

pub(super) fn key_usage(value: &[u8]) -> Option<KeyUsage> {
    let bits = bit_string(value)?;
    let octet = |position: usize| bits.get(position).map_or(0, |octet| octet.reverse_bits());
    Some(KeyUsage(u16::from_le_bytes([octet(0), octet(1)])))
}

/// The first eight of a string of bits.
pub(super) fn first_bits(value: &[u8]) -> Option<u8> {
    Some(bit_string(value)?.first().copied().unwrap_or(0))
}

/// The octets of a string of bits, those that are not used as zeros.
fn bit_string(value: &[u8]) -> Option<Vec<u8>> {
    let (&unused, octets) = first(value)?.take(tag::BIT_STRING)?.split_first()?;
    let mut octets = octets.to_vec();
    if let Some(last) = octets.last_mut() {
        *last &= 0xff << unused;
    }
    Some(octets)
}

pub(super) fn usages(value: &[u8]) -> Option<Vec<Oid>> {
    sequence(value, |list| list.each(|usages| usages.take(tag::OID).map(Oid::from_der_contents)))
}

pub(super) fn key_id(value: &[u8]) -> Option<Vec<u8>> {
    first(value)?.take(tag::OCTET_STRING).map(<[u8]>::to_vec)
}

pub(super) fn authority_key_id(value: &[u8]) -> Option<AuthorityKeyId> {
    sequence(value, read_authority_key_id)
}

/// `GeneralNames`
pub(super) fn names(value: &[u8]) -> Option<Vec<GeneralName>> {
    sequence(value, GeneralName::read_all)
}

pub(super) fn constraints(value: &[u8]) -> Option<NameConstraints> {
    sequence(value, read_constraints)
}

pub(super) fn distribution_points(value: &[u8]) -> Option<()> {
    sequence(value, |points| points.each(|point| point.sequence(read_point))).map(drop)
}

/// Whether nothing follows the value, which OpenSSL does not look for.
pub(super) fn is_alone(value: &[u8]) -> bool {
    der::split(value).is_some_and(|first| first.rest.is_empty())
}

/// The one element of a value, if it is DER.
fn first(value: &[u8]) -> Option<Fields<'_>> {
    let element = der::split(value)?;
    frame::is_der(element.whole).then_some(Fields::of(element.whole))
}

/// Reads a SEQUENCE to its end.
fn sequence<T>(value: &[u8], read: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Option<T> {
    first(value)?.sequence(read)
}

fn read_authority_key_id(fields: &mut Fields<'_>) -> Option<AuthorityKeyId> {
    let mut read = AuthorityKeyId::default();
    if fields.next_is(0x80) {
        read.key_id = Some(fields.take(0x80)?.to_vec());
    }
    if fields.next_is(0xa1) {
        read.has_issuer = true;
        let names = fields.inside(0xa1, GeneralName::read_all)?;
        read.issuer = names.into_iter().find_map(|name| match name {
            GeneralName::Directory(name) => Some(name),
            _ => None,
        });
    }
    if fields.next_is(0x82) {
        read.serial = Some(fields.take(0x82)?.to_vec());
    }
    Some(read)
}

fn read_constraints(lists: &mut Fields<'_>) -> Option<NameConstraints> {
    let mut constraints = NameConstraints::default();
    for (tag, trees) in [(0xa0, &mut constraints.permitted), (0xa1, &mut constraints.excluded)] {
        if lists.next_is(tag) {
            *trees = lists.inside(tag, |trees| trees.each(|trees| trees.sequence(read_subtree)))?;
        }
    }
    Some(constraints)
}

fn read_subtree(tree: &mut Fields<'_>) -> Option<Subtree> {
    let base = GeneralName::read(tree)?;
    let mut bounded = false;
    // minimum [0] DEFAULT 0, maximum [1]
    if tree.next_is(0x80) {
        bounded |= tree.take(0x80)? != [0];
    }
    if tree.next_is(0x81) {
        tree.take(0x81)?;
        bounded = true;
    }
    Some(Subtree { base, bounded })
}

/// A `DistributionPoint`: where a revocation list is found, for which reasons, and whose it is.
fn read_point(point: &mut Fields<'_>) -> Option<()> {
    if point.next_is(0xa0) {
        point.inside(0xa0, |name| {
            if name.next_is(0xa0) {
                name.inside(0xa0, GeneralName::read_all).map(drop)
            } else {
                name.take(0xa1).map(drop)
            }
        })?;
    }
    if point.next_is(0x81) {
        point.take(0x81)?;
    }
    if point.next_is(0xa2) {
        point.inside(0xa2, GeneralName::read_all)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_paths() {
        for (value, read) in [
            (&[0x30, 0][..], Some((false, None))),
            (&[0x30, 3, 1, 1, 0xff], Some((true, None))),
            (&[0x30, 3, 1, 1, 1], Some((true, None))),
            (&[0x30, 6, 1, 1, 0xff, 2, 1, 3], Some((true, Some(3)))),
            (&[0x30, 3, 2, 1, 3], Some((false, Some(3)))),
            (&[0x30, 8, 2, 6, 1, 0, 0, 0, 0, 0], Some((false, Some(u32::MAX)))),
            // Something behind it.
            (&[0x30, 3, 1, 1, 0xff, 5, 0], Some((true, None))),
            (&[0x30, 5, 1, 1, 0xff, 5, 0], None),
            (&[0x30, 3, 2, 1, 0xff], None),
            (&[0x30, 4, 2, 2, 0, 3], None),
            (&[0x30, 2, 2, 0], None),
            (&[0x30, 4, 1, 2, 0xff, 0xff], None),
            (&[0x10, 3, 1, 1, 0xff], None),
            (&[0x30, 3, 0x81, 1, 0xff], None),
        ] {
            let got = basic_constraints(value).map(|read| (read.ca, read.path_len));
            assert_eq!(got, read, "{value:02x?}");
        }
    }

    #[test]
    fn bits_of_usages() {
        for (value, words) in [
            (&[3, 2, 7, 0x80][..], Some("digitalSignature")),
            (&[3, 2, 1, 6], Some("keyCertSign, cRLSign")),
            (&[3, 3, 7, 0, 0x80], Some("decipherOnly")),
            // Bits that are not used.
            (&[3, 2, 6, 0x80 | 0x3f], Some("digitalSignature")),
            (&[3, 1, 0], Some("")),
            (&[3, 2, 8, 0x80], None),
            (&[3, 0], None),
            (&[0x83, 2, 7, 0x80], None),
        ] {
            let read = key_usage(value).map(|usage| usage.to_string());
            assert_eq!(read.as_deref(), words, "{value:02x?}");
        }
        assert_eq!(first_bits(&[3, 2, 7, 0x80]), Some(0x80));
    }

    #[test]
    fn bounds_of_subtrees_are_seen() {
        let dns = [0x82, 1, b'x'];
        let subtree = |bounds: &[u8]| {
            let tree = der::element(tag::SEQUENCE, &[&dns, bounds].concat());
            der::element(tag::SEQUENCE, &der::element(0xa0, &tree))
        };
        for (bounds, bounded) in [(&[][..], false), (&[0x80, 1, 0], false), (&[0x80, 1, 1], true)] {
            let read = constraints(&subtree(bounds)).unwrap();
            assert_eq!(read.permitted[0].bounded, bounded);
            assert_eq!(read.permitted[0].base, GeneralName::Dns(b"x".to_vec()));
        }
        assert_eq!(constraints(&[0x30, 0]), Some(NameConstraints::default()));
        assert_eq!(constraints(&[0x30, 2, 0xa2, 0]), None);
    }
}
