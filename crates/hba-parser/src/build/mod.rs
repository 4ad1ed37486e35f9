//! Lines to be written: builders that write nothing which the server would read otherwise.

mod mapping;
mod quoting;
mod rule;

use core::fmt;

pub(crate) use self::quoting::{comment_text, option_text, quote};
pub use self::{
    mapping::{NewMapping, RoleSpec, SystemUserSpec},
    rule::{AddressSpec, DatabaseSpec, NewRule, UserSpec},
};
use crate::{Code, text::Text};

/// Why a rule or a mapping was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// It is for no database.
    NoDatabase,
    /// It is for no user.
    NoUser,
    /// The map has no name: `map=` without one is the same as no map.
    NoMap,
    /// It is for TCP and has no address.
    NoAddress,
    /// It is for Unix sockets and has an address.
    AddressOnLocal,
    /// A name, value or comment has a line end or a NUL byte, or a comment ends with a backslash: no
    /// line can hold it.
    NotWritable {
        /// It.
        text: Text,
    },
    /// A name begins with a slash: from 16 on that is a regular expression, quoted or not.
    NameIsRegex {
        /// The name.
        name: Text,
        /// The expression that means the name alone.
        instead: Text,
    },
    /// The server would refuse it, or warn that it never matches.
    Refused {
        /// Which problem.
        code: Code,
        /// What the server says.
        message: Text,
    },
    /// The server would read something else than what was meant.
    ReadOtherwise,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDatabase => f.write_str("the rule is for no database: add one, or all"),
            Self::NoUser => f.write_str("the rule is for no user: add one, or all"),
            Self::NoMap => f.write_str("the map has no name: give it one"),
            Self::NoAddress => f.write_str("the rule has no address: add one, or all"),
            Self::AddressOnLocal => {
                f.write_str("the rule is for Unix sockets: it takes no address")
            }
            Self::NotWritable { text } => {
                write!(f, "no line can hold {text:?}: remove the line end, NUL byte or backslash")
            }
            Self::NameIsRegex { name, instead } => write!(
                f,
                "from 16 on {name:?} is a regular expression, quoted or not: use the expression \
                 {instead:?} to mean that name"
            ),
            Self::Refused { code, message } => {
                write!(f, "the server would refuse the rule: {message} ({})", code.help())
            }
            Self::ReadOtherwise => {
                f.write_str("the server would read something else than is meant")
            }
        }
    }
}

impl core::error::Error for BuildError {}
