//! The major versions of PostgreSQL that pgward knows, as a value.
//!
//! What majors 12 to 18 read differently is decided by a [`PgVersion`] that the
//! caller passes in: never by a compile-time choice, never by a guess.
//!
//! ```
//! use pg_version::PgVersion;
//!
//! let version: PgVersion = "16.4".parse()?;
//! assert_eq!(version, PgVersion::V16);
//! assert!(version >= PgVersion::V14);
//! assert_eq!(PgVersion::from_server_version_num(180_004)?, PgVersion::V18);
//! # Ok::<(), pg_version::UnknownVersion>(())
//! ```
//!
//! # Features
//! `serde`: a version is a number in serialised form (`16`).
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// A major version of PostgreSQL, 12 to 18. Ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PgVersion {
    /// PostgreSQL 12 (2019)
    V12 = 12,
    /// PostgreSQL 13 (2020)
    V13 = 13,
    /// PostgreSQL 14 (2021)
    V14 = 14,
    /// PostgreSQL 15 (2022)
    V15 = 15,
    /// PostgreSQL 16 (2023)
    V16 = 16,
    /// PostgreSQL 17 (2024)
    V17 = 17,
    /// PostgreSQL 18 (2025)
    V18 = 18,
}

impl PgVersion {
    /// Every major, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V12, Self::V13, Self::V14, Self::V15, Self::V16, Self::V17, Self::V18];
    /// The oldest major that pgward knows.
    pub const OLDEST: Self = Self::V12;
    /// The newest major that pgward knows: what is assumed where nobody says otherwise.
    pub const NEWEST: Self = Self::V18;

    /// The major as a number: `16` for PostgreSQL 16.
    #[must_use]
    pub const fn major(self) -> u16 {
        self as u16
    }

    /// The major of a server, from its setting `server_version_num` (`160004` is 16.4).
    ///
    /// # Errors
    /// [`UnknownVersion`] for a major that is older than 12 or newer than 18.
    pub fn from_server_version_num(num: u32) -> Result<Self, UnknownVersion> {
        Self::from_major(num / 10_000).ok_or_else(|| UnknownVersion(num.to_string()))
    }

    fn from_major(major: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|version| u32::from(version.major()) == major)
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.major().fmt(f)
    }
}

impl FromStr for PgVersion {
    type Err = UnknownVersion;

    /// Reads `16`, `16.4`, `16.4 (Debian 16.4-1)` or `17beta1`: the digits at the start are the
    /// major.
    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let digits = text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        digits
            .parse()
            .ok()
            .and_then(Self::from_major)
            .ok_or_else(|| UnknownVersion(text.to_string()))
    }
}

impl TryFrom<u16> for PgVersion {
    type Error = UnknownVersion;

    fn try_from(major: u16) -> Result<Self, UnknownVersion> {
        Self::from_major(major.into()).ok_or_else(|| UnknownVersion(major.to_string()))
    }
}

impl From<PgVersion> for u16 {
    fn from(version: PgVersion) -> Self {
        version.major()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for PgVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.major())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for PgVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let major = u16::deserialize(deserializer)?;
        Self::try_from(major).map_err(serde::de::Error::custom)
    }
}

/// A version that is none of PostgreSQL 12 to 18.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVersion(String);

impl fmt::Display for UnknownVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PostgreSQL {:?} is not known here: the majors {} to {} are",
            self.0,
            PgVersion::OLDEST,
            PgVersion::NEWEST
        )
    }
}

impl core::error::Error for UnknownVersion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_and_people_write() {
        for (text, version) in [
            ("12", PgVersion::V12),
            ("15.18 (Debian 15.18-0+deb12u1)", PgVersion::V15),
            ("18beta2", PgVersion::V18),
        ] {
            assert_eq!(text.parse(), Ok(version));
        }
        for text in ["", "11", "19", "x16", "-16", "99999999999999999999"] {
            assert!(text.parse::<PgVersion>().is_err(), "{text}");
        }
        assert!(PgVersion::from_server_version_num(90_624).is_err());
        assert!(PgVersion::from_server_version_num(0).is_err());
    }

    #[test]
    fn one_byte_wide() {
        assert_eq!(size_of::<PgVersion>(), 1);
        assert_eq!(size_of::<Option<PgVersion>>(), 1);
    }
}
