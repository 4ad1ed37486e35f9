//! Name constraints: `check_name_constraints`, and `v3_ncons.c` below it.

use super::super::{Reason, Rejection};
use super::{Context, OpenSslRelease};
use crate::certificate::{Certificate, GeneralName, Name, NameConstraints, Subtree};
use crate::oid;

/// More comparisons than these are refused (`NAME_CHECK_MAX`).
const MOST_COMPARISONS: usize = 1 << 20;

pub(super) fn judge(context: &Context<'_>, chain: &[Certificate]) -> Result<(), Rejection> {
    for (depth, certificate) in chain.iter().enumerate().rev() {
        // Self-issued ones are let off, unless they are the leaf.
        if depth > 0 && certificate.is_self_issued() {
            continue;
        }
        for above in chain[depth + 1..].iter().rev() {
            let Some(constraints) = &above.extensions().name_constraints else { continue };
            judge_certificate(context, constraints, certificate, depth == 0)
                .map_err(|reason| Rejection::new(reason, certificate))?;
        }
    }
    Ok(())
}

/// `NAME_CONSTRAINTS_check`, and `NAME_CONSTRAINTS_check_CN` for a leaf without DNS names.
fn judge_certificate(
    context: &Context<'_>,
    constraints: &NameConstraints,
    certificate: &Certificate,
    leaf: bool,
) -> Result<(), Reason> {
    let subject = certificate.subject();
    let alternatives = certificate.extensions().subject_alt_names.as_deref().unwrap_or_default();
    let names = subject.attributes().count() + alternatives.len();
    let trees = constraints.permitted.len() + constraints.excluded.len();
    if names > 0 && trees > MOST_COMPARISONS / names {
        return Err(Reason::TooManyNames);
    }
    if !subject.is_empty() {
        judge_name(context, constraints, &GeneralName::Directory(subject.clone()))?;
        for attribute in subject.attributes().filter(|part| part.oid == oid::EMAIL_ADDRESS) {
            let mail = GeneralName::Email(attribute.value.clone());
            if attribute.tag != 0x16 {
                return Err(Reason::NameUnsupported(mail));
            }
            judge_name(context, constraints, &mail)?;
        }
    }
    for name in alternatives {
        judge_name(context, constraints, name)?;
    }
    if leaf && !alternatives.iter().any(|name| matches!(name, GeneralName::Dns(_))) {
        judge_common_names(context, constraints, subject)?;
    }
    Ok(())
}

/// A common name that looks like a host name of several labels counts as one.
fn judge_common_names(
    context: &Context<'_>,
    constraints: &NameConstraints,
    subject: &Name,
) -> Result<(), Reason> {
    for attribute in subject.attributes().filter(|part| part.oid == oid::COMMON_NAME) {
        let Some(text) = attribute.text() else { continue };
        let text = text.trim_end_matches('\0');
        let name = GeneralName::Dns(text.as_bytes().to_vec());
        if text.contains('\0') {
            return Err(Reason::NameUnsupported(name));
        }
        if looks_like_host(text.as_bytes()) {
            judge_name(context, constraints, &name)?;
        }
    }
    Ok(())
}

/// `cn2dnsid`
fn looks_like_host(text: &[u8]) -> bool {
    let mut labels = false;
    for (position, &octet) in text.iter().enumerate() {
        if octet.is_ascii_alphanumeric() || octet == b'_' {
            continue;
        }
        let inner = position > 0 && position + 1 < text.len();
        match octet {
            b'-' if inner => {}
            b'.' if inner
                && !matches!(text[position + 1], b'.' | b'-')
                && text[position - 1] != b'-' =>
            {
                labels = true;
            }
            _ => return false,
        }
    }
    labels
}

/// `nc_match`
fn judge_name(
    context: &Context<'_>,
    constraints: &NameConstraints,
    name: &GeneralName,
) -> Result<(), Reason> {
    let mut seen = false;
    let mut covered = false;
    for tree in &constraints.permitted {
        if !same_kind(context, name, &tree.base) {
            continue;
        }
        judge_bounds(tree)?;
        if !covered {
            seen = true;
            covered = holds(&tree.base, name)?;
        }
    }
    if seen && !covered {
        return Err(Reason::NameNotPermitted(name.clone()));
    }
    for tree in &constraints.excluded {
        if !same_kind(context, name, &tree.base) {
            continue;
        }
        judge_bounds(tree)?;
        if holds(&tree.base, name)? {
            return Err(Reason::NameExcluded(name.clone()));
        }
    }
    Ok(())
}

fn judge_bounds(tree: &Subtree) -> Result<(), Reason> {
    if tree.bounded { Err(Reason::SubtreeBounded) } else { Ok(()) }
}

fn same_kind(context: &Context<'_>, name: &GeneralName, base: &GeneralName) -> bool {
    use GeneralName::{Directory, Dns, Email, Ip, Other, RegisteredId, Unsupported, Uri};
    match (name, base) {
        // 3.0 compares mail addresses in other names with those of constraints.
        (Other(oid, _), Email(_)) => {
            context.model.release >= OpenSslRelease::V3_0 && *oid == oid::SMTP_UTF8_MAILBOX
        }
        (Other(oid, _), Other(base, _)) => {
            context.is_old() || (oid == base && *oid != oid::SMTP_UTF8_MAILBOX)
        }
        (Unsupported(tag, _), Unsupported(base, _)) => tag == base,
        (Email(_), Email(_))
        | (Dns(_), Dns(_))
        | (Directory(_), Directory(_))
        | (Uri(_), Uri(_))
        | (Ip(_), Ip(_))
        | (RegisteredId(_), RegisteredId(_)) => true,
        _ => false,
    }
}

/// `nc_match_single`: does the subtree hold the name?
fn holds(base: &GeneralName, name: &GeneralName) -> Result<bool, Reason> {
    let unsupported = || Reason::NameUnsupported(name.clone());
    match (base, name) {
        (GeneralName::Directory(base), GeneralName::Directory(name)) => Ok(name.is_within(base)),
        (GeneralName::Dns(base), GeneralName::Dns(name)) => Ok(holds_dns(base, name)),
        (GeneralName::Email(base), GeneralName::Email(name)) => {
            holds_email(base, name).ok_or_else(unsupported)
        }
        (GeneralName::Uri(base), GeneralName::Uri(name)) => {
            holds_uri(base, name).ok_or_else(unsupported)
        }
        (GeneralName::Ip(base), GeneralName::Ip(name)) => {
            holds_ip(base, name).ok_or_else(unsupported)
        }
        _ => Err(unsupported()),
    }
}

/// `nc_dns`
fn holds_dns(base: &[u8], name: &[u8]) -> bool {
    if base.is_empty() {
        return true;
    }
    let Some(start) = name.len().checked_sub(base.len()) else { return false };
    let (above, tail) = name.split_at(start);
    tail.eq_ignore_ascii_case(base)
        && (above.is_empty() || base[0] == b'.' || above.ends_with(b"."))
}

/// `nc_email`: `None` for a name that is no mail address.
fn holds_email(base: &[u8], name: &[u8]) -> Option<bool> {
    let at = name.iter().rposition(|octet| *octet == b'@')?;
    let base_at = base.iter().rposition(|octet| *octet == b'@');
    if base_at.is_none() && base.first() == Some(&b'.') {
        return Some(
            name.len() > base.len() && name[name.len() - base.len()..].eq_ignore_ascii_case(base),
        );
    }
    let mut host = base;
    if let Some(base_at) = base_at {
        // The local part is compared with regard to case.
        if base_at > 0 && base[..base_at] != name[..at] {
            return Some(false);
        }
        host = &base[base_at + 1..];
    }
    Some(host.eq_ignore_ascii_case(&name[at + 1..]))
}

/// `nc_uri`: `None` for a name without a host.
fn holds_uri(base: &[u8], name: &[u8]) -> Option<bool> {
    let colon = name.iter().position(|octet| *octet == b':')?;
    let rest = name[colon + 1..].strip_prefix(b"//")?;
    let end = rest
        .iter()
        .position(|octet| *octet == b':')
        .or_else(|| rest.iter().position(|octet| *octet == b'/'))
        .unwrap_or(rest.len());
    let host = &rest[..end];
    if host.is_empty() {
        return None;
    }
    if base.first() == Some(&b'.') {
        return Some(
            host.len() > base.len() && host[host.len() - base.len()..].eq_ignore_ascii_case(base),
        );
    }
    Some(host.eq_ignore_ascii_case(base))
}

/// `nc_ip`: `None` for sizes that no address has.
fn holds_ip(base: &[u8], name: &[u8]) -> Option<bool> {
    if !matches!(name.len(), 4 | 16) || !matches!(base.len(), 8 | 32) {
        return None;
    }
    if name.len() * 2 != base.len() {
        return Some(false);
    }
    let (address, mask) = base.split_at(name.len());
    Some(name.iter().zip(address).zip(mask).all(|((a, b), mask)| (a ^ b) & mask == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_below_a_base() {
        for (base, name, held) in [
            ("example.com", "example.com", true),
            ("example.com", "a.EXAMPLE.com", true),
            ("example.com", "anexample.com", false),
            (".example.com", "example.com", false),
            (".example.com", "a.example.com", true),
            ("", "anything", true),
            ("a.example.com", "example.com", false),
        ] {
            assert_eq!(holds_dns(base.as_bytes(), name.as_bytes()), held, "{base} {name}");
        }
    }

    #[test]
    fn mail_addresses() {
        for (base, name, held) in [
            ("example.com", "a@EXAMPLE.com", Some(true)),
            ("a@example.com", "A@example.com", Some(false)),
            (".example.com", "a@example.com", Some(false)),
            (".example.com", "a@b.example.com", Some(true)),
            ("@example.com", "a@example.com", Some(true)),
            ("example.com", "no address", None),
        ] {
            assert_eq!(holds_email(base.as_bytes(), name.as_bytes()), held, "{base} {name}");
        }
    }

    #[test]
    fn hosts_of_locators() {
        for (base, name, held) in [
            ("example.com", "https://example.com:443/x", Some(true)),
            ("example.com", "https://a.example.com/x", Some(false)),
            (".example.com", "https://a.example.com", Some(true)),
            ("example.com", "urn:x", None),
            ("example.com", "https:///x", None),
        ] {
            assert_eq!(holds_uri(base.as_bytes(), name.as_bytes()), held, "{base} {name}");
        }
    }

    #[test]
    fn addresses_under_a_mask() {
        let base = [192, 0, 2, 0, 255, 255, 255, 0];
        assert_eq!(holds_ip(&base, &[192, 0, 2, 7]), Some(true));
        assert_eq!(holds_ip(&base, &[192, 0, 3, 7]), Some(false));
        assert_eq!(holds_ip(&base, &[0; 16]), Some(false));
        assert_eq!(holds_ip(&base[..7], &[192, 0, 2, 7]), None);
        assert_eq!(holds_ip(&base, &[1]), None);
    }

    #[test]
    fn common_names_that_look_like_hosts() {
        for (text, host) in [
            ("certu", false),
            ("a.b", true),
            ("a_b.c", true),
            ("-a.b", false),
            ("a..b", false),
            ("a b.c", false),
            ("a.b.", false),
            ("", false),
        ] {
            assert_eq!(looks_like_host(text.as_bytes()), host, "{text}");
        }
    }
}
