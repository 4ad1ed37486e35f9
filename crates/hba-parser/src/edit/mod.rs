//! Edits that change only the lines they name.

mod hba;
mod ident;
mod lines;

use core::fmt;

pub use self::{hba::HbaEdit, ident::IdentEdit};
use crate::{build::BuildError, text::Text};

/// Why an edit was not made. The document is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// There is no line with this number.
    NoSuchLine {
        /// The number.
        line: u32,
    },
    /// The line is no rule.
    NotARule {
        /// Its number.
        line: u32,
    },
    /// The line is no mapping.
    NotAMapping {
        /// Its number.
        line: u32,
    },
    /// The line has no such option, or has it from an @file.
    NoSuchOption {
        /// Its number.
        line: u32,
        /// The option.
        name: Text,
    },
    /// The rule cannot be written.
    Build(BuildError),
    /// The edited line would be refused.
    Invalid {
        /// Its number.
        line: u32,
        /// What the server would say.
        message: Text,
    },
    /// A text with a line end or a NUL byte is not one line.
    NotALine,
    /// Two edits change the same line.
    Conflict {
        /// Its number.
        line: u32,
    },
    /// The file has NUL bytes, and after the edit the server would see other lines than are meant.
    Unsafe,
    /// The file would have 4 GiB or more.
    TooLarge(textfile::EditError),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchLine { line } => write!(f, "there is no line {line}"),
            Self::NotARule { line } => write!(f, "line {line} is no rule"),
            Self::NotAMapping { line } => write!(f, "line {line} is no mapping"),
            Self::NoSuchOption { line, name } => {
                write!(f, "line {line} has no option {name} of its own")
            }
            Self::Build(error) => error.fmt(f),
            Self::Invalid { line, message } => {
                write!(f, "line {line} would be refused after the edit: {message}")
            }
            Self::NotALine => f.write_str("a text with a line end or a NUL byte is not one line"),
            Self::Conflict { line } => write!(f, "two edits change line {line}"),
            Self::Unsafe => f.write_str(
                "the file has NUL bytes that would glue lines together: remove them first",
            ),
            Self::TooLarge(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for EditError {}

impl From<BuildError> for EditError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<textfile::EditError> for EditError {
    fn from(error: textfile::EditError) -> Self {
        Self::TooLarge(error)
    }
}
