//! Does a subtree of name constraints hold a name? In OpenSSL's reading (`v3_ncons.c`), which the
//! stricter reading of RFC 5280 starts from too.

/// A host name and everything below it; with a leading dot only what is below it (`nc_dns`).
pub(crate) fn holds_dns(base: &[u8], name: &[u8]) -> bool {
    if base.is_empty() {
        return true;
    }
    let Some(start) = name.len().checked_sub(base.len()) else { return false };
    let (above, tail) = name.split_at(start);
    tail.eq_ignore_ascii_case(base)
        && (above.is_empty() || base[0] == b'.' || above.ends_with(b"."))
}

/// A mailbox, a host's mailboxes, or with a leading dot those below a domain (`nc_email`).
/// `None` for a name that is no mail address.
pub(crate) fn holds_email(base: &[u8], name: &[u8]) -> Option<bool> {
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

/// A locator by its host (`nc_uri`). `None` for a name without a host.
pub(crate) fn holds_uri(base: &[u8], name: &[u8]) -> Option<bool> {
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

/// An address under a mask (`nc_ip`). `None` for sizes that no address has.
pub(crate) fn holds_ip(base: &[u8], name: &[u8]) -> Option<bool> {
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
}
