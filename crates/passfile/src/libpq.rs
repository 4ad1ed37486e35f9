//! The libpq that is asked: what differs from one to another.

use std::borrow::Cow;

use pg_version::PgVersion;

/// Which libpq reads the file: its major version, and what was chosen when it was built.
///
/// | what differs | between |
/// |---|---|
/// | carriage returns at a line's end | 12 strips one, and only before a line feed; 13 to 18 strip all |
/// | the home folder | 12 to 14 ask the password database (`getpwuid`), 15 to 18 take `$HOME` first |
/// | a warning about a file that cannot be opened | 12 to 17 look before they open, 18 opens first |
/// | a socket folder that means `localhost` | `/tmp` as PostgreSQL is distributed, `/var/run/postgresql` on Debian and its like |
///
/// ```
/// use passfile::{Libpq, PgVersion};
///
/// let libpq = Libpq::new(PgVersion::V15).with_socket_dir("/var/run/postgresql");
/// assert_eq!(libpq.version(), PgVersion::V15);
/// assert_eq!(libpq.socket_dir(), "/var/run/postgresql");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libpq {
    version: PgVersion,
    socket_dir: Cow<'static, str>,
    default_port: Cow<'static, str>,
}

impl Libpq {
    /// libpq of that major as its source comes: socket folder `/tmp`, port 5432.
    #[must_use]
    pub const fn new(version: PgVersion) -> Self {
        Self { version, socket_dir: Cow::Borrowed("/tmp"), default_port: Cow::Borrowed("5432") }
    }

    /// libpq of that major as Debian, Ubuntu, Red Hat and others build it: socket folder
    /// `/var/run/postgresql`.
    #[must_use]
    pub const fn distribution(version: PgVersion) -> Self {
        Self {
            version,
            socket_dir: Cow::Borrowed("/var/run/postgresql"),
            default_port: Cow::Borrowed("5432"),
        }
    }

    /// With another default socket folder (`DEFAULT_PGSOCKET_DIR`).
    #[must_use]
    pub fn with_socket_dir(mut self, folder: impl Into<Cow<'static, str>>) -> Self {
        self.socket_dir = folder.into();
        self
    }

    /// With another default port (`DEF_PGPORT_STR`).
    #[must_use]
    pub fn with_default_port(mut self, port: impl Into<Cow<'static, str>>) -> Self {
        self.default_port = port.into();
        self
    }

    /// The major version.
    #[must_use]
    pub const fn version(&self) -> PgVersion {
        self.version
    }

    /// The folder of Unix sockets that a connection without a host uses, and that `localhost`
    /// stands for in a password file.
    #[must_use]
    pub fn socket_dir(&self) -> &str {
        &self.socket_dir
    }

    /// The port of a connection that names none.
    #[must_use]
    pub fn default_port(&self) -> &str {
        &self.default_port
    }

    /// Whether libpq takes the host for a folder of Unix sockets (`is_unixsock_path`; the abstract
    /// ones, `@`, came with 14) and that folder is its default.
    pub(crate) fn is_default_socket_dir(&self, host: &[u8]) -> bool {
        let socket = match host.first() {
            Some(b'/') => true,
            Some(b'@') => self.version >= PgVersion::V14,
            _ => false,
        };
        socket && host == self.socket_dir.as_bytes()
    }
}

impl Default for Libpq {
    /// The newest major, as its source comes.
    fn default() -> Self {
        Self::new(PgVersion::NEWEST)
    }
}

impl From<PgVersion> for Libpq {
    fn from(version: PgVersion) -> Self {
        Self::new(version)
    }
}
