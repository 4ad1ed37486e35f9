//! Name constraints: `check_name_constraints`, and `v3_ncons.c` below it.

use super::super::subtree::{holds_dns, holds_email, holds_ip, holds_uri};
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

#[cfg(test)]
mod tests {
    use super::*;

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
