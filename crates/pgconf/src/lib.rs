//! Lossless rewriter of postgresql.conf, with the meaning of every setting of PostgreSQL 12 to 18.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod catalogue;
mod change;
mod configuration;
mod diagnostics;
mod edit;
mod file;
#[cfg(feature = "fs")]
pub mod fs;
mod lexer;
mod name;
mod path;
mod quote;
#[cfg(feature = "serde")]
mod serialise;
mod upgrade;
mod walk;

pub use catalogue::{
    Activation, Catalogue, Checked, Context, InvalidValue, Kind, ListKind, ListSyntax, Setting,
    Unit, Value, Words, join_list, split_list,
};
pub use change::{Outcome, Warning};
pub use configuration::{Configuration, FileSetting, Located, Occurrence, Origin, Provenance};
pub use diagnostics::{Problem, SyntaxError};
pub use edit::{Change, EditError, FileEdit, Unset};
pub use file::{ConfFile, ConfLine, LineKind};
pub use upgrade::{Difference, UpgradeFinding, UpgradeIssue};

/// A span of a line: lines are part of a document, which is shorter than 4 GiB.
#[expect(clippy::cast_possible_truncation, reason = "a document has less than 4 GiB")]
const fn span(start: usize, end: usize) -> textfile::Span {
    textfile::Span::new(start as u32, end as u32)
}
