//! PostgreSQL password files, read and written exactly as libpq does
#![cfg_attr(docsrs, feature(doc_cfg))]

mod edit;
mod entry;
mod file;
#[cfg(feature = "fs")]
#[cfg_attr(docsrs, doc(cfg(feature = "fs")))]
pub mod fs;
mod index;
mod key;
mod libpq;
mod lines;
mod lint;
mod location;
mod matching;
mod permissions;
mod prepared;
mod secret;
#[cfg(feature = "tokio-postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio-postgres")))]
pub mod tokio_postgres;
mod trace;

pub use edit::{Change, EditError};
pub use entry::{Entry, EntryError, Field, FieldName, NewEntry, escape};
pub use file::{Found, PassFile};
pub use key::{Connection, HostListError, Key, Value};
pub use libpq::Libpq;
pub use lint::{Finding, Lint, Severity};
pub use location::Surroundings;
pub use permissions::{FileKind, FileStatus, Insecure};
pub use pg_version::PgVersion;
pub use prepared::Prepared;
pub use secret::Password;
pub use textfile::TooLarge;
pub use trace::{Outcome, Trace, TracedLine};
