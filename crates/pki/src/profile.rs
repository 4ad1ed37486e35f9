//! What a certificate is for, and who accepts it.

use std::fmt;
use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};

use crate::error::Error;
use crate::host::host_address;

/// The longest role name, and so the longest common name that can ever log in, in octets
/// (`NAMEDATALEN` less one).
pub const LONGEST_ROLE: usize = 63;
/// The longest common name that X.520 allows (`ub-common-name`).
const LONGEST_COMMON_NAME: usize = 64;

/// A distinguished name to be put into a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    common_name: Option<String>,
    organization: Option<String>,
    organizational_unit: Option<String>,
}

impl Subject {
    /// A subject with nothing but a common name.
    #[must_use]
    pub fn common_name(name: impl Into<String>) -> Self {
        Self { common_name: Some(name.into()), ..Self::default() }
    }

    /// The same with an organization (O).
    #[must_use]
    pub fn organization(mut self, name: impl Into<String>) -> Self {
        self.organization = Some(name.into());
        self
    }

    /// The same with an organizational unit (OU).
    #[must_use]
    pub fn organizational_unit(mut self, name: impl Into<String>) -> Self {
        self.organizational_unit = Some(name.into());
        self
    }

    pub(crate) fn write(&self, parameters: &mut CertificateParams) -> Result<(), Error> {
        let parts = [
            (DnType::OrganizationName, &self.organization),
            (DnType::OrganizationalUnitName, &self.organizational_unit),
            (DnType::CommonName, &self.common_name),
        ];
        let mut name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            let Some(value) = value else { continue };
            if value.is_empty() || value.contains('\0') {
                return Err(Error::Refused(
                    "a part of a subject may neither be empty nor hold a zero octet".to_owned(),
                ));
            }
            name.push(kind, DnValue::Utf8String(value.clone()));
        }
        parameters.distinguished_name = name;
        Ok(())
    }
}

/// The names and addresses by which clients reach a server.
///
/// An address becomes two names: an `iPAddress`, which libpq compares from version 15 on, and a
/// `dNSName` with the address as text, which libpq 12 to 14 compare. With both, and a `dNSName` for
/// each host name, libpq 12 to 18 and rustls all accept the certificate under `verify-full`. (The
/// text of an IPv6 address is no well-formed `dNSName` by the letter of RFC 5280; only
/// [`Verifier::Rfc5280`](crate::Verifier::Rfc5280) minds.)
///
/// ```
/// use pki::HostNames;
///
/// let names = HostNames::new(["node1.example.com", "192.0.2.1"])?;
/// assert_eq!(names.to_string(), "DNS:node1.example.com, DNS:192.0.2.1, IP Address:192.0.2.1");
/// # Ok::<(), pki::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNames {
    dns: Vec<String>,
    ip: Vec<IpAddr>,
}

impl HostNames {
    /// The names for `hosts`: host names, addresses, or names with a leading `*.`.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is none, or for one that no client could ever match.
    pub fn new<T: AsRef<str>>(hosts: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        let mut names = Self { dns: Vec::new(), ip: Vec::new() };
        let mut push = |name: String| {
            if !names.dns.contains(&name) {
                names.dns.push(name);
            }
        };
        for host in hosts {
            let host = host.as_ref();
            // `127.1` is an address to libpq too. What stands behind a blank is none of it.
            let is_word = !host.contains(|c: char| c.is_ascii_whitespace());
            if let Some(address) = host_address(host).filter(|_| is_word) {
                push(address.to_string());
                // libpq 12 to 14 compare the text as the client wrote it.
                push(host.to_owned());
                if !names.ip.contains(&address) {
                    names.ip.push(address);
                }
            } else {
                judge_host(host)?;
                push(host.to_owned());
            }
        }
        if names.dns.is_empty() {
            return Err(Error::Refused(
                "a server certificate needs at least one host name or address".to_owned(),
            ));
        }
        Ok(names)
    }

    /// The `dNSName`s.
    #[must_use]
    pub fn dns(&self) -> &[String] {
        &self.dns
    }

    /// The `iPAddress`es.
    #[must_use]
    pub fn ip(&self) -> &[IpAddr] {
        &self.ip
    }

    fn write(&self, parameters: &mut CertificateParams) -> Result<(), Error> {
        for name in &self.dns {
            let text = name.clone().try_into().map_err(|_| {
                Error::Refused(format!("the host name {name:?} is not ASCII: use its xn-- form"))
            })?;
            parameters.subject_alt_names.push(SanType::DnsName(text));
        }
        parameters.subject_alt_names.extend(self.ip.iter().map(|ip| SanType::IpAddress(*ip)));
        Ok(())
    }
}

impl fmt::Display for HostNames {
    /// As `openssl x509 -text` prints a subject alternative name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dns = self.dns.iter().map(|name| format!("DNS:{name}"));
        let ip = self.ip.iter().map(|address| format!("IP Address:{address}"));
        f.write_str(&dns.chain(ip).collect::<Vec<_>>().join(", "))
    }
}

fn judge_host(host: &str) -> Result<(), Error> {
    let refuse = |why: &str| Err(Error::Refused(format!("the host name {host:?} {why}")));
    let name = host.strip_prefix("*.").unwrap_or(host);
    if !host.is_ascii() {
        return refuse("is not ASCII: use its xn-- form");
    }
    if name.is_empty() || host.len() > 253 {
        return refuse("is empty or longer than 253 characters");
    }
    if name.contains('*') {
        return refuse(
            "has a wildcard elsewhere than as its whole first label: no libpq matches it",
        );
    }
    if host != name && !name.contains('.') {
        return refuse("has a wildcard above a single label: rustls does not match it");
    }
    if !name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet)) {
        return refuse("holds characters that no host name has");
    }
    if name.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return refuse("has an empty label or one longer than 63 characters");
    }
    Ok(())
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// A server that clients verify with `verify-full`. Extended key usage `serverAuth`.
    Server(HostNames),
    /// A client that logs in as a role with `cert` or `clientcert=verify-full`: the common name is
    /// the role. Extended key usage `clientAuth`.
    Client {
        /// The role, at most [`LONGEST_ROLE`] octets.
        role: String,
    },
    /// A node that is both: a server for its clients, and a client of the other nodes.
    Node {
        /// By which names the others reach it.
        names: HostNames,
        /// The role as which it logs in to the others.
        role: String,
    },
    /// The node certificate of TimescaleDB's guide: a server certificate that may sign the
    /// certificates of users itself. The users present theirs with this one behind it.
    TimescaleIntermediate(HostNames),
}

impl Profile {
    /// A server certificate for `hosts`, see [`HostNames::new`].
    ///
    /// # Errors
    /// As [`HostNames::new`].
    pub fn server<T: AsRef<str>>(hosts: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        HostNames::new(hosts).map(Self::Server)
    }

    /// A client certificate for `role`.
    #[must_use]
    pub fn client(role: impl Into<String>) -> Self {
        Self::Client { role: role.into() }
    }

    /// A certificate for a node that is reached as `hosts` and logs in elsewhere as `role`.
    ///
    /// # Errors
    /// As [`HostNames::new`].
    pub fn node<T: AsRef<str>>(
        role: impl Into<String>,
        hosts: impl IntoIterator<Item = T>,
    ) -> Result<Self, Error> {
        Ok(Self::Node { names: HostNames::new(hosts)?, role: role.into() })
    }

    /// A node certificate that signs users' certificates, as TimescaleDB's guide has it.
    ///
    /// # Errors
    /// As [`HostNames::new`].
    pub fn timescale_intermediate<T: AsRef<str>>(
        hosts: impl IntoIterator<Item = T>,
    ) -> Result<Self, Error> {
        HostNames::new(hosts).map(Self::TimescaleIntermediate)
    }

    /// The profile's name: `server`, `client`, `node` or `timescale-intermediate`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Server(_) => "server",
            Self::Client { .. } => "client",
            Self::Node { .. } => "node",
            Self::TimescaleIntermediate(_) => "timescale-intermediate",
        }
    }

    /// The host names and addresses, for the profiles that have some.
    #[must_use]
    pub const fn host_names(&self) -> Option<&HostNames> {
        match self {
            Self::Server(names) | Self::Node { names, .. } | Self::TimescaleIntermediate(names) => {
                Some(names)
            }
            Self::Client { .. } => None,
        }
    }

    /// The role that the common name stands for, for the profiles that have one.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        match self {
            Self::Client { role } | Self::Node { role, .. } => Some(role),
            Self::Server(_) | Self::TimescaleIntermediate(_) => None,
        }
    }

    /// Whether the certificate may be a server's.
    #[must_use]
    pub const fn is_server(&self) -> bool {
        !matches!(self, Self::Client { .. })
    }

    /// Whether the certificate may be a client's.
    #[must_use]
    pub const fn is_client(&self) -> bool {
        !matches!(self, Self::Server(_))
    }

    /// In a sentence: who accepts such a certificate, and who does not.
    #[must_use]
    pub const fn accepted_by(&self) -> &'static str {
        match self {
            Self::Server(_) => {
                "servers 12 to 18 start with it; libpq 12 to 18 and rustls (PGD's Connection \
                 Manager too) accept it under verify-full for every name and address in it; \
                 servers refuse it as a client's"
            }
            Self::Client { .. } => {
                "servers 12 to 18 and rustls accept it as a client's; libpq and rustls refuse it \
                 as a server's"
            }
            Self::Node { .. } => {
                "servers 12 to 18, libpq 12 to 18 and rustls accept it on both ends of a connection"
            }
            Self::TimescaleIntermediate(_) => {
                "servers 12 to 18 and libpq 12 to 18 accept it on both ends, and the certificates \
                 that it signs if it is presented behind them; rustls, and so PGD's Connection \
                 Manager, refuse it as a server's or client's own certificate because it is a CA; \
                 whoever holds its key can log in as any role"
            }
        }
    }

    /// The parameters for rcgen, all but validity and serial number.
    pub(crate) fn parameters(&self) -> Result<CertificateParams, Error> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        if let Some(role) = self.role() {
            judge_role(role)?;
        }
        let subject = match self {
            Self::Client { role } | Self::Node { role, .. } => Subject::common_name(role),
            Self::Server(names) | Self::TimescaleIntermediate(names) => names
                .dns
                .first()
                .filter(|name| name.len() <= LONGEST_COMMON_NAME)
                .map_or_else(Subject::default, Subject::common_name),
        };
        subject.write(&mut parameters)?;
        if let Some(names) = self.host_names() {
            names.write(&mut parameters)?;
        }
        if self.is_server() {
            parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if self.is_client() {
            parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        if matches!(self, Self::TimescaleIntermediate(_)) {
            parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            parameters.key_usages.extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
        }
        Ok(parameters)
    }
}

fn judge_role(role: &str) -> Result<(), Error> {
    if role.is_empty() || role.contains('\0') {
        return Err(Error::Refused("a role is empty or holds a zero octet".to_owned()));
    }
    if role.len() > LONGEST_ROLE {
        return Err(Error::Refused(format!(
            "the role {role:?} has {} octets: PostgreSQL cuts names off after {LONGEST_ROLE}",
            role.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_nothing_matches_are_refused() {
        for host in [
            "",
            "*",
            "*.",
            "*.com",
            "f*.example.com",
            "a.*.com",
            "a..b",
            "a b",
            "é.fr",
            "127.0.0.1 x",
            "[::1]",
            "fe80::1%lo",
            "node1.",
            "a\0b",
        ] {
            assert!(HostNames::new([host]).is_err(), "{host}");
        }
        assert!(HostNames::new::<&str>([]).is_err());
    }

    #[test]
    fn addresses_become_two_names_each() {
        let names = HostNames::new(["0:0:0:0:0:0:0:1", "node_1", "node_1"]).unwrap();
        assert_eq!(names.to_string(), "DNS:::1, DNS:0:0:0:0:0:0:0:1, DNS:node_1, IP Address:::1");
        let names = HostNames::new(["127.1"]).unwrap();
        assert_eq!(names.to_string(), "DNS:127.0.0.1, DNS:127.1, IP Address:127.0.0.1");
    }

    #[test]
    fn roles_that_cannot_log_in_are_refused() {
        for role in [String::new(), "a\0b".to_owned(), "x".repeat(64)] {
            assert!(Profile::client(role).parameters().is_err());
        }
    }
}
