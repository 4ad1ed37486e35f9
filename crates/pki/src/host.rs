//! Does a server's certificate belong to the host that a client asked for?
//!
//! The rules are libpq's (`fe-secure-common.c`, `fe-secure-openssl.c`), which changed with version
//! 15, or those of rustls. It is the *client's* version that counts, never the server's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pg_version::PgVersion;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::certificate::{Certificate, GeneralName};

/// Whose rules decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostRules {
    /// libpq of this major under `sslmode=verify-full`.
    ///
    /// 12 to 14 compare `dNSName`s only, and the common name if there is none. 15 and later also
    /// compare `iPAddress`es, and use the common name unless there is a name of the host's own
    /// kind.
    Libpq(PgVersion),
    /// rustls (webpki), as PGD's Connection Manager uses it: `subjectAltName` only.
    Rustls,
}

/// A host that the certificate is not for, or that cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostMismatch {
    /// The connection names no host (libpq: only `hostaddr` is given), so there is nothing to
    /// compare with.
    NoHost,
    /// None of the certificate's names is the host's.
    Mismatch {
        /// The host.
        host: String,
        /// The first name that was compared, `None` if the certificate has none.
        first: Option<String>,
        /// How many names were compared.
        examined: usize,
    },
    /// A name of the certificate holds a zero octet, an old trick against naive comparisons.
    EmbeddedNull,
    /// An `iPAddress` of the certificate has a length that no address has.
    AddressLength(usize),
    /// rustls cannot work with such a host or certificate.
    Unusable(String),
}

impl fmt::Display for HostMismatch {
    /// libpq's own words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => {
                f.write_str("host name must be specified for a verified SSL connection")
            }
            Self::Mismatch { first: None, .. } => {
                f.write_str("could not get server's host name from server certificate")
            }
            Self::Mismatch { host, first: Some(first), examined } => {
                write!(f, "server certificate for \"{first}\" ")?;
                match examined.saturating_sub(1) {
                    0 => {}
                    1 => f.write_str("(and 1 other name) ")?,
                    others => write!(f, "(and {others} other names) ")?,
                }
                write!(f, "does not match host name \"{host}\"")
            }
            Self::EmbeddedNull => f.write_str("SSL certificate's name contains embedded null"),
            Self::AddressLength(length) => {
                write!(f, "certificate contains IP address with invalid length {length}")
            }
            Self::Unusable(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for HostMismatch {}

impl Certificate {
    /// Whether this certificate is one for `host`: the parameter `host` of the connection string,
    /// `None` if only `hostaddr` is given.
    ///
    /// ```
    /// use pg_version::PgVersion;
    /// use pki::{Authority, HostRules, KeyAlgorithm, Profile, Subject, Validity};
    /// use time::OffsetDateTime;
    ///
    /// let validity = Validity::days(OffsetDateTime::UNIX_EPOCH, 1);
    /// let root =
    ///     Authority::create(KeyAlgorithm::EcdsaP256, &Subject::common_name("CA"), validity)?;
    /// let profile = Profile::server(["*.example.com", "192.0.2.1"])?;
    /// let server = root.issue(KeyAlgorithm::EcdsaP256, &profile, validity)?.certificate;
    ///
    /// for version in PgVersion::ALL {
    ///     let rules = HostRules::Libpq(version);
    ///     assert!(server.matches_host(Some("node1.example.com"), rules).is_ok());
    ///     assert!(server.matches_host(Some("192.0.2.1"), rules).is_ok());
    ///     assert!(server.matches_host(Some("a.b.example.com"), rules).is_err());
    /// }
    /// # Ok::<(), pki::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`HostMismatch`] if the client would close the connection; its text is libpq's message.
    pub fn matches_host(&self, host: Option<&str>, rules: HostRules) -> Result<(), HostMismatch> {
        match rules {
            HostRules::Libpq(version) => libpq(self, host, version),
            HostRules::Rustls => rustls(self, host),
        }
    }
}

fn rustls(certificate: &Certificate, host: Option<&str>) -> Result<(), HostMismatch> {
    let host = host.filter(|host| !host.is_empty()).ok_or(HostMismatch::NoHost)?;
    let name = ServerName::try_from(host).map_err(|_| {
        HostMismatch::Unusable(format!("rustls takes {host:?} for no host name and no address"))
    })?;
    let der = CertificateDer::from(certificate.as_der());
    let parsed = webpki::EndEntityCert::try_from(&der).map_err(|error| {
        HostMismatch::Unusable(format!("rustls cannot read the certificate: {error}"))
    })?;
    parsed.verify_is_valid_for_subject_name(&name).map_err(|_| {
        let names = certificate.extensions().subject_alt_names.as_deref().unwrap_or_default();
        HostMismatch::Mismatch {
            host: host.to_owned(),
            first: names.first().map(ToString::to_string),
            examined: names.len(),
        }
    })
}

/// `pgtls_verify_peer_name_matches_certificate_guts` and
/// `pq_verify_peer_name_matches_certificate`
fn libpq(
    certificate: &Certificate,
    host: Option<&str>,
    version: PgVersion,
) -> Result<(), HostMismatch> {
    let host = host.filter(|host| !host.is_empty()).ok_or(HostMismatch::NoHost)?;
    let knows_addresses = version >= PgVersion::V15;
    let host_is_address = host_address(host).is_some();
    let mut first = None;
    let mut examined = 0;
    let mut common_name_counts = true;
    let names = certificate.extensions().subject_alt_names.as_deref().unwrap_or_default();
    for name in names {
        let matched = match name {
            GeneralName::Dns(text) => {
                common_name_counts &= knows_addresses && host_is_address;
                first.get_or_insert_with(|| shown(text));
                matches_name(text, host)?
            }
            GeneralName::Ip(octets) if knows_addresses => {
                common_name_counts &= !host_is_address;
                let matched = matches_address(octets, host)?;
                first.get_or_insert_with(|| match name.ip() {
                    Some(address) => shown_address(address),
                    None => name.to_string(),
                });
                matched
            }
            _ => continue,
        };
        examined += 1;
        if matched {
            return Ok(());
        }
    }
    if common_name_counts && let Some(name) = certificate.subject().common_name() {
        examined += 1;
        let matched = matches_name(name.octets(), host)?;
        first.get_or_insert_with(|| shown(name.octets()));
        if matched {
            return Ok(());
        }
    }
    Err(HostMismatch::Mismatch { host: host.to_owned(), first, examined })
}

/// `pg_inet_net_ntop`, which writes IPv4-compatible addresses (`::192.0.2.1`, RFC 4291 section
/// 2.5.5.1) the way that Rust writes only IPv4-mapped ones (`::ffff:192.0.2.1`).
fn shown_address(address: IpAddr) -> String {
    match address {
        IpAddr::V6(v6) => match v6.octets() {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] if (a, b) != (0, 0) => {
                format!("::{}", Ipv4Addr::new(a, b, c, d))
            }
            _ => v6.to_string(),
        },
        IpAddr::V4(v4) => v4.to_string(),
    }
}

fn shown(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// `pq_verify_peer_name_matches_certificate_name`
fn matches_name(name: &[u8], host: &str) -> Result<bool, HostMismatch> {
    if name.contains(&0) {
        return Err(HostMismatch::EmbeddedNull);
    }
    let host = host.as_bytes();
    Ok(name.eq_ignore_ascii_case(host) || matches_wildcard(name, host))
}

/// `wildcard_certificate_match`: `*.` at the start stands for one label.
fn matches_wildcard(pattern: &[u8], host: &[u8]) -> bool {
    if !pattern.starts_with(b"*.") || pattern.len() < 3 || pattern.len() > host.len() {
        return false;
    }
    // The pattern without its star must end the host, and no dot may stand left of it. As in
    // libpq, the one character left of the pattern's own dot may be a dot itself.
    let over = host.len() - pattern.len();
    host[over + 1..].eq_ignore_ascii_case(&pattern[1..])
        && host.iter().position(|octet| *octet == b'.').is_none_or(|dot| dot >= over)
}

/// `pq_verify_peer_name_matches_certificate_ip`
fn matches_address(octets: &[u8], host: &str) -> Result<bool, HostMismatch> {
    match octets.len() {
        4 => Ok(inet_aton(host).is_some_and(|address| address.octets() == octets)),
        16 => Ok(host.parse::<Ipv6Addr>().is_ok_and(|address| address.octets() == octets)),
        length => Err(HostMismatch::AddressLength(length)),
    }
}

/// The host as an address, in any of the notations that the C library reads: `127.1`,
/// `2130706433` and `0x7f.1` are all 127.0.0.1.
pub(crate) fn host_address(host: &str) -> Option<IpAddr> {
    inet_aton(host).map(IpAddr::V4).or_else(|| host.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
}

/// `inet_aton` of the GNU C library.
fn inet_aton(host: &str) -> Option<Ipv4Addr> {
    let mut rest = host.as_bytes();
    let mut address: u32 = 0;
    for part in 0..4u32 {
        let (value, behind) = number(rest)?;
        rest = behind;
        if let Some((b'.', behind)) = rest.split_first() {
            if part == 3 || value > 0xff {
                return None;
            }
            address |= value << (24 - 8 * part);
            rest = behind;
            continue;
        }
        // White space ends the address, whatever follows it.
        if !rest.first().is_none_or(|octet| octet.is_ascii_whitespace() || *octet == 0x0b) {
            return None;
        }
        // The last part fills what is left.
        if value > u32::MAX >> (8 * part) {
            return None;
        }
        return Some(Ipv4Addr::from(address | value));
    }
    None
}

/// `strtoul(.., 0)` on something that begins with a digit.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    let hexadecimal = matches!(text, [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit());
    let (radix, digits) = match text {
        _ if hexadecimal => (16, &text[2..]),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let mut value: u32 = 0;
    let mut length = 0;
    while let Some(digit) = digits.get(length).and_then(|octet| char::from(*octet).to_digit(radix))
    {
        value = value.checked_mul(radix)?.checked_add(digit)?;
        length += 1;
    }
    Some((value, &digits[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_every_notation() {
        for (text, address) in [
            ("127.0.0.1", Some([127, 0, 0, 1])),
            ("127.1", Some([127, 0, 0, 1])),
            ("10.1.258", Some([10, 1, 1, 2])),
            ("2130706433", Some([127, 0, 0, 1])),
            ("0x7f000001", Some([127, 0, 0, 1])),
            ("0x7f.1", Some([127, 0, 0, 1])),
            ("0177.1", Some([127, 0, 0, 1])),
            ("1.2.3.4 x", Some([1, 2, 3, 4])),
            ("4294967295", Some([255; 4])),
            ("4294967296", None),
            ("08", None),
            ("0x", None),
            ("1.2.3.256", None),
            ("1.2.3.4.5", None),
            ("1.2.3.", None),
            ("", None),
            ("a", None),
            ("1.2.3.4x", None),
        ] {
            assert_eq!(inet_aton(text), address.map(Ipv4Addr::from), "{text}");
        }
    }

    #[test]
    fn wildcards_stand_for_one_label() {
        for (pattern, host, matched) in [
            ("*.bar.test", "foo.bar.test", true),
            ("*.bar.test", "FOO.BAR.test", true),
            ("*.bar.test", "a.foo.bar.test", false),
            ("*.bar.test", "bar.test", false),
            ("*.bar.test", ".bar.test", false),
            ("*.bar.test", "a..bar.test", true),
            ("*.0.0.1", "::ffff:127.0.0.1", true),
            ("*", "foo", false),
            ("*.", "x.", false),
            ("*.", "..", false),
            ("*..", "x..", true),
            ("f*.test", "foo.test", false),
        ] {
            assert_eq!(
                matches_wildcard(pattern.as_bytes(), host.as_bytes()),
                matched,
                "{pattern} {host}"
            );
        }
    }

    /// As libpq 15 to 18 name them in their message.
    #[test]
    fn addresses_as_libpq_shows_them() {
        for text in ["192.0.2.1", "::", "::1", "::ffff", "::127.0.0.1", "::0.1.0.0", "fe80::1"]
            .into_iter()
            .chain(["::ffff:127.0.0.1", "::ffff:0.0.0.0", "1:0:0:2::3", "1:2:0:4:5:6:7:8"])
        {
            assert_eq!(shown_address(text.parse().unwrap()), text);
        }
    }

    #[test]
    fn names_with_a_zero_octet_are_an_error() {
        assert_eq!(matches_name(b"a\0b", "a"), Err(HostMismatch::EmbeddedNull));
        assert_eq!(matches_address(&[1, 2, 3], "1.2.3.4"), Err(HostMismatch::AddressLength(3)));
    }
}
