//! `sslmode`

use std::fmt;
use std::str::FromStr;

use super::Roots;
use crate::error::Error;

/// libpq's `sslmode`.
///
/// | mode | encrypted | chain verified | name verified |
/// |-|-|-|-|
/// | `disable` | never | | |
/// | `allow` | if the server insists | if there is a root file | no |
/// | `prefer` | if the server can | if there is a root file | no |
/// | `require` | always | if there is a root file | no |
/// | `verify-ca` | always | always | no |
/// | `verify-full` | always | always | yes |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SslMode {
    /// `disable`
    Disable,
    /// `allow`
    Allow,
    /// `prefer`, libpq's default
    #[default]
    Prefer,
    /// `require`
    Require,
    /// `verify-ca`
    VerifyCa,
    /// `verify-full`
    VerifyFull,
}

/// One way to try a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// Without TLS.
    Plain,
    /// With TLS, and not at all if the server has none.
    Tls,
}

impl SslMode {
    /// Every mode, weakest first.
    pub const ALL: [Self; 6] =
        [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// What libpq tries, in order (`fe-connect.c`): the second attempt is made if the server
    /// refuses the first, has no TLS, or its certificate is not accepted.
    #[must_use]
    pub const fn attempts(self) -> &'static [Attempt] {
        match self {
            Self::Disable => &[Attempt::Plain],
            Self::Allow => &[Attempt::Plain, Attempt::Tls],
            Self::Prefer => &[Attempt::Tls, Attempt::Plain],
            Self::Require | Self::VerifyCa | Self::VerifyFull => &[Attempt::Tls],
        }
    }

    /// The mode of a connection string that names none: `prefer`, but `verify-full` where
    /// `sslrootcert=system` is meant (libpq 16 and later).
    #[must_use]
    pub const fn default_for(roots: &Roots) -> Self {
        match roots {
            Roots::System(_) => Self::VerifyFull,
            Roots::Absent | Roots::File(_) => Self::Prefer,
        }
    }

    /// The mode's name in a connection string.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SslMode {
    type Err = Error;

    /// Reads what libpq reads: lower case only.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| Error::Refused(format!("invalid sslmode value: \"{text}\"")))
    }
}
