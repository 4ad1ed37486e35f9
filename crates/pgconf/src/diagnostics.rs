//! What is wrong with a file, in the server's words.

use std::fmt;

/// A line that the server cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SyntaxError {
    /// The line that the server reports, counted from 1. One too small (even 0) where a file ends
    /// without a line feed and before its last value: so does the server.
    pub line: usize,
    /// The byte of the line that is wrong, counted from 1.
    pub column: usize,
    /// The token that is wrong, `None` if the line ended too early.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::optional_bytes"))]
    pub near: Option<Vec<u8>>,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: syntax error ", self.line)?;
        match &self.near {
            Some(token) => {
                // The server prints it as a C string, which ends at its first NUL.
                let end = memchr::memchr(0, token).unwrap_or(token.len());
                write!(f, "near token \"{}\"", String::from_utf8_lossy(&token[..end]))
            }
            None => f.write_str("near end of line"),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Why a file, or a name in it, makes the server refuse the whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Problem {
    /// A line that cannot be read.
    Syntax {
        /// The token that is wrong, `None` if the line ended too early.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::optional_bytes"))]
        near: Option<Vec<u8>>,
    },
    /// No setting has this name, and it has no dot that would make it an extension's. A build of the
    /// server can know more names than the catalogue does: what it says counts.
    UnknownName {
        /// The name.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
        name: Vec<u8>,
    },
    /// `include ''`
    EmptyFileName,
    /// `include_dir ''`
    EmptyDirectoryName,
    /// More than ten files deep.
    TooDeep,
    /// A file that includes itself.
    Recursion,
    /// A file that cannot be opened.
    CannotOpenFile {
        /// Which.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
        path: Vec<u8>,
    },
    /// A folder that cannot be opened.
    CannotOpenDirectory {
        /// Which.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
        path: Vec<u8>,
    },
    /// A name in a folder that leads nowhere.
    CannotStat {
        /// Which.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialise::bytes"))]
        path: Vec<u8>,
    },
    /// A folder where a file is wanted.
    Unreadable,
    /// More files or settings than this crate reads: a server would read on, for years if files
    /// include each other cleverly.
    Limit,
}

/// The message of the server's view `pg_file_settings`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |f: &mut fmt::Formatter<'_>, what: &str, path: &[u8]| {
            write!(f, "could not {what} \"{}\"", String::from_utf8_lossy(path))
        };
        match self {
            Self::Syntax { .. } => f.write_str("syntax error"),
            Self::UnknownName { .. } => f.write_str("unrecognized configuration parameter"),
            Self::EmptyFileName => f.write_str("empty configuration file name"),
            Self::EmptyDirectoryName => f.write_str("empty configuration directory name"),
            Self::TooDeep => f.write_str("nesting depth exceeded"),
            Self::Recursion => f.write_str("configuration file recursion"),
            Self::CannotOpenFile { path: name } => path(f, "open file", name),
            Self::CannotOpenDirectory { path: name } => path(f, "open directory", name),
            Self::CannotStat { path: name } => path(f, "stat file", name),
            Self::Unreadable => f.write_str("input in flex scanner failed"),
            Self::Limit => f.write_str("too many included files or settings"),
        }
    }
}

impl std::error::Error for Problem {}
