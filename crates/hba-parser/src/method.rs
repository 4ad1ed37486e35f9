//! Connection types and authentication methods.

use core::fmt;

use pg_version::PgVersion;

use crate::Build;

/// The first field of a rule: which connections it is for (PostgreSQL's documentation, "The
/// `pg_hba.conf` File"). It is a word in small letters, quoted or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum ConnectionType {
    /// Unix sockets.
    Local,
    /// TCP, encrypted or not.
    Host,
    /// TCP with TLS.
    HostSsl,
    /// TCP without TLS; GSSAPI encryption is fine.
    HostNoSsl,
    /// TCP with GSSAPI encryption.
    HostGssEnc,
    /// TCP without GSSAPI encryption; TLS is fine.
    HostNoGssEnc,
}

impl ConnectionType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Local,
        Self::Host,
        Self::HostSsl,
        Self::HostNoSsl,
        Self::HostGssEnc,
        Self::HostNoGssEnc,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Host => "host",
            Self::HostSsl => "hostssl",
            Self::HostNoSsl => "hostnossl",
            Self::HostGssEnc => "hostgssenc",
            Self::HostNoGssEnc => "hostnogssenc",
        }
    }

    pub(crate) fn named(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == text)
    }
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a client proves who it is (PostgreSQL's documentation, "Authentication Methods"). It is a word
/// in small letters, quoted or not; which ones a server knows depends on its major and its build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Method {
    /// Not at all: anybody may be anybody.
    #[cfg_attr(feature = "serde", serde(rename = "trust"))]
    Trust,
    /// Never.
    #[cfg_attr(feature = "serde", serde(rename = "reject"))]
    Reject,
    /// A password kept as SCRAM secret.
    #[cfg_attr(feature = "serde", serde(rename = "scram-sha-256"))]
    ScramSha256,
    /// A password: SCRAM if its secret is one, else MD5.
    #[cfg_attr(feature = "serde", serde(rename = "md5"))]
    Md5,
    /// A password, sent as it is.
    #[cfg_attr(feature = "serde", serde(rename = "password"))]
    Password,
    /// GSSAPI (Kerberos).
    #[cfg_attr(feature = "serde", serde(rename = "gss"))]
    Gss,
    /// Windows' SSPI.
    #[cfg_attr(feature = "serde", serde(rename = "sspi"))]
    Sspi,
    /// The client machine's ident server is asked.
    #[cfg_attr(feature = "serde", serde(rename = "ident"))]
    Ident,
    /// The operating system is asked who is at the other end of the socket.
    #[cfg_attr(feature = "serde", serde(rename = "peer"))]
    Peer,
    /// An LDAP server checks the password.
    #[cfg_attr(feature = "serde", serde(rename = "ldap"))]
    Ldap,
    /// A RADIUS server checks the password.
    #[cfg_attr(feature = "serde", serde(rename = "radius"))]
    Radius,
    /// A certificate of the client.
    #[cfg_attr(feature = "serde", serde(rename = "cert"))]
    Cert,
    /// PAM checks the password.
    #[cfg_attr(feature = "serde", serde(rename = "pam"))]
    Pam,
    /// OpenBSD checks the password.
    #[cfg_attr(feature = "serde", serde(rename = "bsd"))]
    Bsd,
    /// An OAuth token (18).
    #[cfg_attr(feature = "serde", serde(rename = "oauth"))]
    Oauth,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Trust,
        Self::Reject,
        Self::ScramSha256,
        Self::Md5,
        Self::Password,
        Self::Gss,
        Self::Sspi,
        Self::Ident,
        Self::Peer,
        Self::Ldap,
        Self::Radius,
        Self::Cert,
        Self::Pam,
        Self::Bsd,
        Self::Oauth,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Reject => "reject",
            Self::ScramSha256 => "scram-sha-256",
            Self::Md5 => "md5",
            Self::Password => "password",
            Self::Gss => "gss",
            Self::Sspi => "sspi",
            Self::Ident => "ident",
            Self::Peer => "peer",
            Self::Ldap => "ldap",
            Self::Radius => "radius",
            Self::Cert => "cert",
            Self::Pam => "pam",
            Self::Bsd => "bsd",
            Self::Oauth => "oauth",
        }
    }

    /// Whether a password travels as it is, so that whoever listens to a connection without TLS
    /// knows it.
    #[must_use]
    pub const fn sends_password_in_clear(self) -> bool {
        matches!(self, Self::Password | Self::Ldap | Self::Radius | Self::Pam | Self::Bsd)
    }

    /// Whether the server asks pg_ident.conf whether the user that it found may be the role that is
    /// asked for.
    #[must_use]
    pub const fn uses_ident_map(self) -> bool {
        matches!(self, Self::Ident | Self::Peer | Self::Gss | Self::Sspi | Self::Cert | Self::Oauth)
    }

    /// The method that a server of this major knows by this name.
    #[must_use]
    pub fn named(text: &[u8], version: PgVersion) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|method| method.as_str().as_bytes() == text)
            .filter(|method| *method != Self::Oauth || version >= PgVersion::V18)
    }

    /// Whether a server that was built like this has it.
    #[must_use]
    pub const fn is_built(self, build: Build) -> bool {
        match self {
            Self::Gss => build.gss,
            Self::Sspi => build.sspi,
            Self::Pam => build.pam,
            Self::Bsd => build.bsd,
            Self::Ldap => build.ldap,
            Self::Cert => build.ssl,
            _ => true,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
