//! The two mechanisms.

use std::fmt;

/// A SASL mechanism of PostgreSQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// `SCRAM-SHA-256`
    ScramSha256,
    /// `SCRAM-SHA-256-PLUS`: the same, bound to the TLS connection
    ScramSha256Plus,
}

impl Mechanism {
    /// Its name, as it goes over the wire.
    #[must_use]
    pub const fn name(self) -> &'static [u8] {
        self.as_str().as_bytes()
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }

    /// The mechanism of this name. Letters' case matters, as in PostgreSQL.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::ScramSha256, Self::ScramSha256Plus].into_iter().find(|it| it.name() == name)
    }
}

impl AsRef<[u8]> for Mechanism {
    fn as_ref(&self) -> &[u8] {
        self.name()
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
