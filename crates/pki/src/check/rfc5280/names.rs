//! Name constraints (RFC 5280 section 4.2.1.10), read so that no name slips through: what cannot
//! be compared is refused, and a wildcard stands for every name that it covers.

use super::super::subtree::{holds_dns, holds_email, holds_ip, holds_uri};
use super::super::{Reason, Rejection};
use crate::certificate::{Certificate, GeneralName, NameConstraints};
use crate::oid;

/// More comparisons than these are refused.
const MOST_COMPARISONS: usize = 1 << 18;

/// Every certificate against the constraints of all above it. Self-issued ones are let off, unless
/// they are the leaf.
pub(crate) fn judge(chain: &[Certificate]) -> Result<(), Rejection> {
    for (depth, certificate) in chain.iter().enumerate() {
        if depth > 0 && certificate.is_self_issued() {
            continue;
        }
        for above in &chain[depth + 1..] {
            if let Some(constraints) = &above.extensions().name_constraints {
                judge_certificate(constraints, certificate)
                    .map_err(|reason| Rejection::new(reason, certificate))?;
            }
        }
    }
    Ok(())
}

fn judge_certificate(
    constraints: &NameConstraints,
    certificate: &Certificate,
) -> Result<(), Reason> {
    let subject = certificate.subject();
    let mut names = certificate.extensions().subject_alt_names.clone().unwrap_or_default();
    if !names.iter().any(|name| matches!(name, GeneralName::Email(_))) {
        let mails = subject.attributes().filter(|part| part.oid == oid::EMAIL_ADDRESS);
        names.extend(mails.map(|part| GeneralName::Email(part.value.clone())));
    }
    if !subject.is_empty() {
        names.push(GeneralName::Directory(subject.clone()));
    }
    let trees = constraints.permitted.len() + constraints.excluded.len();
    if trees > MOST_COMPARISONS / names.len().max(1) {
        return Err(Reason::TooManyNames);
    }
    names.iter().try_for_each(|name| judge_name(constraints, name))
}

fn judge_name(constraints: &NameConstraints, name: &GeneralName) -> Result<(), Reason> {
    let same = |base: &GeneralName| std::mem::discriminant(base) == std::mem::discriminant(name);
    let unsupported = || Reason::NameUnsupported(name.clone());
    let mut seen = false;
    let mut covered = false;
    for tree in constraints.permitted.iter().filter(|tree| same(&tree.base)) {
        seen = true;
        covered |= holds(&tree.base, name).ok_or_else(unsupported)?;
    }
    if seen && !covered {
        return Err(Reason::NameNotPermitted(name.clone()));
    }
    for tree in constraints.excluded.iter().filter(|tree| same(&tree.base)) {
        if holds(&tree.base, name).ok_or_else(unsupported)? || reaches_into(&tree.base, name) {
            return Err(Reason::NameExcluded(name.clone()));
        }
    }
    Ok(())
}

/// `None` for kinds of names that cannot be compared.
fn holds(base: &GeneralName, name: &GeneralName) -> Option<bool> {
    match (base, name) {
        (GeneralName::Directory(base), GeneralName::Directory(name)) => Some(name.is_within(base)),
        (GeneralName::Dns(base), GeneralName::Dns(name)) => {
            // All names that a wildcard stands for lie in a subtree if its own labels do.
            Some(holds_dns(base, name.strip_prefix(b"*.").unwrap_or(name)) || wild(base, name))
        }
        (GeneralName::Email(base), GeneralName::Email(name)) => holds_email(base, name),
        (GeneralName::Uri(base), GeneralName::Uri(name)) => holds_uri(base, name),
        (GeneralName::Ip(base), GeneralName::Ip(name)) => holds_ip(base, name),
        _ => None,
    }
}

/// A wildcard below a base with a leading dot: `*.example.com` under `.example.com`.
fn wild(base: &[u8], name: &[u8]) -> bool {
    base.starts_with(b".") && name.starts_with(b"*.") && name[1..].eq_ignore_ascii_case(base)
}

/// Whether a wildcard stands for a name in the subtree, though not for such names only:
/// `*.example.com` and `bar.example.com`.
fn reaches_into(base: &GeneralName, name: &GeneralName) -> bool {
    let (GeneralName::Dns(base), GeneralName::Dns(name)) = (base, name) else { return false };
    let Some(parent) = name.strip_prefix(b"*.") else { return false };
    let label_end = base.iter().position(|octet| *octet == b'.');
    label_end.is_some_and(|dot| dot > 0 && base[dot + 1..].eq_ignore_ascii_case(parent))
}

/// Whether an authority's own constraints are well-formed.
pub(super) fn judge_constraints(certificate: &Certificate) -> Result<(), Reason> {
    let Some(constraints) = &certificate.extensions().name_constraints else { return Ok(()) };
    if constraints.permitted.is_empty() && constraints.excluded.is_empty() {
        return Err(Reason::Other("has nameConstraints without any subtree".to_owned()));
    }
    for tree in constraints.permitted.iter().chain(&constraints.excluded) {
        let sound = match &tree.base {
            GeneralName::Dns(text) => text.is_empty() || is_host_name(text, false),
            GeneralName::Ip(octets) => is_subnet(octets),
            GeneralName::Email(text) if text.contains(&b'@') => is_mailbox(text),
            GeneralName::Email(text) => {
                is_host_name(text.strip_prefix(b".").unwrap_or(text), false)
            }
            _ => true,
        };
        if tree.bounded {
            return Err(Reason::SubtreeBounded);
        }
        if !sound {
            let words = format!("has nameConstraints that are not well-formed: {}", tree.base);
            return Err(Reason::Other(words));
        }
    }
    Ok(())
}

/// Address and mask, and the mask is a prefix.
fn is_subnet(octets: &[u8]) -> bool {
    if !matches!(octets.len(), 8 | 32) {
        return false;
    }
    let mask = &octets[octets.len() / 2..];
    let ones: u32 = mask.iter().map(|octet| octet.leading_ones()).sum();
    let set: u32 = mask.iter().map(|octet| octet.count_ones()).sum();
    let leading = mask.iter().take_while(|octet| **octet == 0xff).count();
    let rest_is_zero = mask.iter().skip(leading + 1).all(|octet| *octet == 0);
    ones == set && rest_is_zero
}

/// The preferred name syntax (section 4.2.1.6): letters, digits and hyphens, labels of 1 to 63.
pub(super) fn is_host_name(text: &[u8], wildcard: bool) -> bool {
    let name = text.strip_prefix(b"*.").filter(|_| wildcard).unwrap_or(text);
    let sound = |label: &[u8]| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with(b"-")
            && !label.ends_with(b"-")
            && label.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
    };
    let mut labels = name.split(|octet| *octet == b'.');
    text.len() <= 253 && labels.all(sound)
}

/// `local@host`
pub(super) fn is_mailbox(text: &[u8]) -> bool {
    let mut parts = text.split(|octet| *octet == b'@');
    let (local, host, rest) = (parts.next(), parts.next(), parts.next());
    rest.is_none()
        && local.is_some_and(|local| !local.is_empty() && local.is_ascii())
        && host.is_some_and(|host| is_host_name(host, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_reach_into_excluded_names() {
        let dns = |text: &str| GeneralName::Dns(text.as_bytes().to_vec());
        let constraints = |permitted: &[&str], excluded: &[&str]| {
            let trees = |names: &[&str]| {
                let tree =
                    |name: &&str| crate::certificate::Subtree { base: dns(name), bounded: false };
                names.iter().map(tree).collect()
            };
            NameConstraints { permitted: trees(permitted), excluded: trees(excluded) }
        };
        for (permitted, excluded, name, sound) in [
            (&[][..], &["bar.example.com"][..], "*.example.com", false),
            (&[], &["bar.example.org"], "*.example.com", true),
            (&["foo.example.com"], &[], "*.example.com", false),
            (&["example.com"], &[], "*.example.com", true),
            (&[], &["example.com"], "*.example.com", false),
        ] {
            let judged = judge_name(&constraints(permitted, excluded), &dns(name));
            assert_eq!(judged.is_ok(), sound, "{permitted:?} {excluded:?} {name}");
        }
    }

    #[test]
    fn masks_are_prefixes() {
        for (octets, sound) in [
            (&[10, 0, 0, 0, 255, 0, 0, 0][..], true),
            (&[10, 0, 0, 0, 255, 0, 255, 0], false),
            (&[10, 0, 0, 0, 255, 0xfc, 0, 0], true),
            (&[10, 0, 0, 0, 255, 0xfd, 0, 0], false),
            (&[10, 0, 0, 0, 0xfe, 0x80, 0, 0], false),
            (&[10, 0, 0, 0, 0, 0, 0, 0], true),
            (&[10, 0, 0, 0], false),
        ] {
            assert_eq!(is_subnet(octets), sound, "{octets:?}");
        }
    }
}
