//! The option `ldapurl`: an URL as OpenLDAP's `ldap_url_parse` reads it.

use alloc::{string::String, vec::Vec};

use nom::{IResult, Parser as _, bytes::complete::tag_no_case, combinator::opt};

use crate::address::strtol;

/// What the server takes from an URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LdapUrl {
    pub(crate) scheme: &'static str,
    pub(crate) host: Option<Vec<u8>>,
    pub(crate) port: i32,
    pub(crate) dn: Option<Vec<u8>>,
    /// The first of them
    pub(crate) attribute: Option<Vec<u8>>,
    /// 0 base, 1 one, 2 sub, 3 children
    pub(crate) scope: i32,
    pub(crate) filter: Option<Vec<u8>>,
}

/// OpenLDAP has codes of its own for this, which the server shows with the texts of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UrlError {
    Scheme,
    Enclosure,
    Url,
    Attributes,
    Scope,
    Filter,
    Extensions,
}

impl UrlError {
    /// What `ldap_err2string` says of the code.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Scheme => "Time limit exceeded",
            Self::Enclosure => "Size limit exceeded",
            Self::Url => "Compare False",
            Self::Attributes => "Authentication method not supported",
            Self::Scope => "Strong(er) authentication required",
            Self::Filter => "Partial results and referral received",
            Self::Extensions => "Referral",
        }
    }
}

/// A leading `<` and `URL:`, and the scheme.
fn prefix(url: &[u8]) -> Option<(&[u8], bool, &'static str)> {
    let enclosure: IResult<&[u8], _> = (opt(tag_no_case("<")), opt(tag_no_case("URL:"))).parse(url);
    let (url, (enclosed, _)) = enclosure.ok()?;
    let schemes = [
        ("ldap://", "ldap"),
        ("pldap://", "pldap"),
        ("ldaps://", "ldaps"),
        ("pldaps://", "pldaps"),
        ("ldapi://", "ldapi"),
    ];
    let found = schemes.into_iter().find_map(|(prefix, scheme)| {
        let parsed: IResult<&[u8], _> = tag_no_case(prefix).parse(url);
        parsed.ok().map(|(rest, _)| (rest, scheme))
    });
    found.map(|(rest, scheme)| (rest, enclosed.is_some(), scheme))
}

pub(crate) fn parse(url: &[u8]) -> Result<LdapUrl, UrlError> {
    let (mut rest, enclosed, scheme) = prefix(url).ok_or(UrlError::Scheme)?;
    if enclosed {
        rest = rest.strip_suffix(b">").ok_or(UrlError::Enclosure)?;
    }
    let mut parsed =
        LdapUrl { scheme, host: None, port: 0, dn: None, attribute: None, scope: 0, filter: None };
    // Without a slash, a question mark ends the host, and what follows counts for nothing.
    let (host, path) = match memchr::memchr(b'/', rest) {
        Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
        None => (rest.split(|byte| *byte == b'?').next().unwrap_or_default(), None),
    };
    let mut host_text = host;
    if scheme != "ldapi" {
        let (name, port) = split_port(host)?;
        host_text = name;
        if let Some(port) = port {
            let port = unescape(port);
            let (number, after) = strtol(&port).ok_or(UrlError::Url)?;
            if !after.is_empty() {
                return Err(UrlError::Url);
            }
            parsed.port = truncate(number);
        }
        if parsed.port == 0 {
            parsed.port = if scheme == "ldaps" { 636 } else { 389 };
        }
    }
    let host = unescape(host_text);
    parsed.host = (!host.is_empty()).then_some(host);
    let Some(path) = path else { return Ok(parsed) };
    let mut parts = path.split(|byte| *byte == b'?');
    parsed.dn = Some(unescape(parts.next().unwrap_or_default()));
    if let Some(attributes) = parts.next().filter(|part| !part.is_empty()) {
        let attributes = unescape(attributes);
        let mut names = attributes.split(|byte| *byte == b',').filter(|name| !name.is_empty());
        parsed.attribute = Some(names.next().ok_or(UrlError::Attributes)?.to_vec());
    }
    if let Some(scope) = parts.next().filter(|part| !part.is_empty()) {
        let scope = String::from_utf8_lossy(&unescape(scope)).to_ascii_lowercase();
        parsed.scope = match scope.as_str() {
            "base" => 0,
            "one" | "onelevel" => 1,
            "sub" | "subtree" => 2,
            "subordinate" | "children" => 3,
            _ => return Err(UrlError::Scope),
        };
    }
    if let Some(filter) = parts.next().filter(|part| !part.is_empty()) {
        let filter = unescape(filter);
        if filter.is_empty() {
            return Err(UrlError::Filter);
        }
        parsed.filter = Some(filter);
    }
    if let Some(extensions) = parts.next() {
        if parts.next().is_some() {
            return Err(UrlError::Url);
        }
        if extensions.split(|byte| *byte == b',').all(<[u8]>::is_empty) {
            return Err(UrlError::Extensions);
        }
    }
    Ok(parsed)
}

/// A host, perhaps in brackets, and a port.
fn split_port(host: &[u8]) -> Result<(&[u8], Option<&[u8]>), UrlError> {
    let (name, port) = if let [b'[', inside @ ..] = host {
        let close = memchr::memchr(b']', inside).ok_or(UrlError::Url)?;
        let after = &inside[close + 1..];
        let port = match memchr::memchr(b':', after) {
            Some(0) => Some(&after[1..]),
            Some(_) => return Err(UrlError::Url),
            None => None,
        };
        (&inside[..close], port)
    } else {
        match memchr::memchr(b':', host) {
            Some(colon) => (&host[..colon], Some(&host[colon + 1..])),
            None => (host, None),
        }
    };
    match port {
        Some([]) => Err(UrlError::Url),
        port => Ok((name, port)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "as C casts long to int")]
const fn truncate(number: i64) -> i32 {
    number as i32
}

/// `%41` is `A`. One escape that is none makes the whole text empty.
fn unescape(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let mut next = || bytes.next().and_then(|byte| digit(*byte));
        let (Some(high), Some(low)) = (next(), next()) else { return Vec::new() };
        out.push(high << 4 | low);
    }
    // What follows a NUL byte is not there for C.
    out.truncate(memchr::memchr(0, &out).unwrap_or(out.len()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parts_of_an_url() {
        let url = parse(b"ldap://h.example.net/dc=example,dc=net?uid,cn?sub?(a=b)").unwrap();
        assert_eq!(url.host.as_deref(), Some(&b"h.example.net"[..]));
        assert_eq!(url.port, 389);
        assert_eq!(url.dn.as_deref(), Some(&b"dc=example,dc=net"[..]));
        assert_eq!(url.attribute.as_deref(), Some(&b"uid"[..]));
        assert_eq!(url.scope, 2);
        assert_eq!(url.filter.as_deref(), Some(&b"(a=b)"[..]));
        let url = parse(b"<URL:LDAPS://[::1]:99/>").unwrap();
        assert_eq!((url.scheme, url.port), ("ldaps", 99));
        assert_eq!(url.host.as_deref(), Some(&b"::1"[..]));
        assert_eq!(url.dn.as_deref(), Some(&b""[..]));
        assert_eq!(parse(b"ldap://").unwrap().host, None);
        let dn = |url: &[u8]| parse(url).unwrap().dn.map(|dn| String::from_utf8(dn).unwrap());
        assert_eq!(dn(b"ldap://h/a%2Cb").as_deref(), Some("a,b"));
        assert_eq!(dn(b"ldap://h/a%00b").as_deref(), Some("a"));
        for broken in [&b"ldap://h/a%zzb"[..], b"ldap://h/%41%4", b"ldap://h/%41%"] {
            assert_eq!(dn(broken).as_deref(), Some(""));
        }
        assert_eq!(dn(b"ldap://h??dn"), None);
        assert_eq!(parse(b"ldap://h:%33%38/").unwrap().port, 38);
        assert_eq!(parse(b"ldap://h:99999999999/").unwrap().port, 1_215_752_191);
        assert_eq!(parse(b"ldapi://%2ftmp%2fx/dc=x").unwrap().scheme, "ldapi");
    }

    #[test]
    fn says_what_openldap_says() {
        for (url, error) in [
            (&b""[..], UrlError::Scheme),
            (b"http://x", UrlError::Scheme),
            (b"<ldap://x/", UrlError::Enclosure),
            (b"ldap://x:/", UrlError::Url),
            (b"ldap://x:y/", UrlError::Url),
            (b"ldap://[::1/", UrlError::Url),
            (b"ldap://x/?,", UrlError::Attributes),
            (b"ldap://x/??some", UrlError::Scope),
            (b"ldap://x/??%zz", UrlError::Scope),
            (b"ldap://x/???%00", UrlError::Filter),
            (b"ldap://x:%zz/", UrlError::Url),
            (b"<ldap://x", UrlError::Enclosure),
            (b"cldap://x/", UrlError::Scheme),
            (b"ldap://x/????", UrlError::Extensions),
            (b"ldap://x/????a?b", UrlError::Url),
        ] {
            assert_eq!(parse(url), Err(error), "{}", String::from_utf8_lossy(url));
        }
    }
}
