//! What a file is read for: a server's major, build and settings.

use alloc::{string::String, vec, vec::Vec};

use pg_version::PgVersion;

/// The server that reads the files. What it accepts depends on all of this.
///
/// ```
/// use hba_parser::{Build, PgVersion, Server};
///
/// let server = Server::new(PgVersion::V16).with_ssl(false);
/// assert!(server.build.gss);
/// let plain = Server::new(PgVersion::V16).with_build(Build::MINIMAL);
/// assert!(!plain.build.ldap);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// The major.
    pub version: PgVersion,
    /// What it was compiled with.
    pub build: Build,
    /// The setting `ssl`: without it, a `hostssl` rule loads with a warning and never matches.
    pub ssl: bool,
    /// The setting `ssl_ca_file`, as far as it matters: whether there is one. Without it files load
    /// all the same, but no client certificate can be checked.
    pub ssl_ca_file: bool,
    /// The setting `oauth_validator_libraries` (18), split at its commas. Without any, the method
    /// `oauth` is refused.
    pub oauth_validator_libraries: Vec<String>,
    /// The setting `krb_caseins_users`: whether upper and lower case are the same in names of users
    /// that come by `gss` or `sspi`.
    pub krb_caseins_users: bool,
    /// The names of the machine's network interfaces: they may follow a `%` in an IPv6 address.
    pub interface_names: Vec<String>,
    /// Whether host names in `radiusservers` resolve. A server looks them up as it reads the file,
    /// and refuses it if that fails; this crate has no network, and assumes that they do. `localhost`
    /// always does, and what is no host name never does.
    pub radius_names_resolve: bool,
}

/// What a server was compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Build {
    /// OpenSSL (`--with-openssl`, `--with-ssl`): without it `hostssl` rules never match, and `cert` is
    /// no method.
    pub ssl: bool,
    /// GSSAPI (`--with-gssapi`): the method `gss`; without it `hostgssenc` rules never match.
    pub gss: bool,
    /// OpenLDAP (`--with-ldap`): the method `ldap`.
    pub ldap: bool,
    /// PAM (`--with-pam`): the method `pam`.
    pub pam: bool,
    /// BSD authentication (OpenBSD, `--with-bsd-auth`): the method `bsd`.
    pub bsd: bool,
    /// SSPI (Windows): the method `sspi`.
    pub sspi: bool,
}

impl Build {
    /// As Linux distributions and PGDG build it: all but `bsd` and `sspi`.
    pub const DISTRIBUTION: Self =
        Self { ssl: true, gss: true, ldap: true, pam: true, bsd: false, sspi: false };
    /// With OpenSSL and nothing else, as portable binaries often are.
    pub const MINIMAL: Self =
        Self { ssl: true, gss: false, ldap: false, pam: false, bsd: false, sspi: false };
}

impl Server {
    /// A distribution's build of this major, with `ssl` on, `ssl_ca_file` set, no OAuth validator.
    #[must_use]
    pub fn new(version: PgVersion) -> Self {
        Self {
            version,
            build: Build::DISTRIBUTION,
            ssl: true,
            ssl_ca_file: true,
            oauth_validator_libraries: Vec::new(),
            krb_caseins_users: false,
            interface_names: vec!["lo".into()],
            radius_names_resolve: true,
        }
    }

    /// With another build.
    #[must_use]
    pub fn with_build(mut self, build: Build) -> Self {
        self.build = build;
        self
    }

    /// With `ssl` on or off.
    #[must_use]
    pub fn with_ssl(mut self, on: bool) -> Self {
        self.ssl = on;
        self
    }

    /// With these `oauth_validator_libraries`.
    #[must_use]
    pub fn with_oauth_validators<S: Into<String>>(
        mut self,
        libraries: impl IntoIterator<Item = S>,
    ) -> Self {
        self.oauth_validator_libraries = libraries.into_iter().map(Into::into).collect();
        self
    }
}
