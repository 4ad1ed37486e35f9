//! PostgreSQL's password files (`~/.pgpass`), read and written exactly as libpq does.
//!
//! ```
//! use passfile::{Key, Libpq, NewEntry, PassFile, PgVersion};
//!
//! let mut file = PassFile::parse("# mine\ndb1:5432:*:bob:s3cret\n")?;
//! let key = Key::new("bob").host("db1").dbname("app");
//!
//! let found = file.lookup(&key, &Libpq::new(PgVersion::V16)).ok_or("no password")?;
//! assert_eq!((found.line(), found.password().expose()), (2, &b"s3cret"[..]));
//!
//! file.set(&NewEntry::new("ne:w").host("db1").port(5432).user("bob"))?;
//! assert_eq!(*file.to_bytes(), *b"# mine\ndb1:5432:*:bob:ne\\:w\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contents
//! | to | see |
//! |---|---|
//! | find a password | [`PassFile::lookup`], by a [`Key`]; [`PassFile::prepare`] for many lookups |
//! | find those of a connection to several hosts | [`Connection::keys`] |
//! | see why a line does not match | [`PassFile::trace`] |
//! | say which libpq is meant: its major, its socket folder | [`Libpq`] |
//! | go through the entries | [`PassFile::entries`] |
//! | write | [`PassFile::set`], or [`push`](PassFile::push), [`insert`](PassFile::insert), [`replace`](PassFile::replace), [`remove`](PassFile::remove), [`move_line`](PassFile::move_line); a [`NewEntry`] |
//! | find mistakes | [`PassFile::lint`] |
//! | know where the file is | [`Surroundings::passfile`] |
//! | judge kind and mode | [`FileStatus::check`] |
//! | open and save files | `fs` (feature `fs`) |
//! | fill a `tokio_postgres::Config` | `tokio_postgres` (feature `tokio-postgres`) |
//!
//! # The format
//! As libpq's `passwordFromFile` (`fe-connect.c`) reads it, not as it is often described:
//!
//! - A line is `host:port:database:user:password`. A `#` in the first column makes it a comment;
//!   anywhere else it is a character like any other. Blanks, quotation marks: the same.
//! - A field that is just `*` matches anything. Else the field has to be the value, byte by byte:
//!   `DB1` is not `db1`, `05432` is not `5432`, a name is not its address.
//! - A backslash takes the next character as it is. Needed before `:` and `\`, before a `*` alone, and
//!   before a `#` at the line's start. At the line's end it stands for itself.
//! - Lines are compared *along* the value searched for: a colon ends the field where the value has
//!   ended. So `::1:...` matches the host `::1`, unescaped.
//! - The first line that matches is taken, also with an empty password, which then is none. The
//!   password ends at a colon that is not escaped; what follows is ignored.
//! - The host is `host` if given, else `hostaddr`, else `localhost`; the default socket folder is
//!   `localhost` too, other folders are their path. The port is 5432 if not given, the database that of
//!   the user's name.
//! - A NUL byte hides the rest of its line and joins it with the next; a last line without a line feed
//!   is lost if it just fills libpq's buffer (255, 511, 1023 ... bytes).
//!
//! What the majors do differently is listed at [`Libpq`].
//!
//! # Secrets
//! [`PassFile`] wipes its bytes on drop, also those it outgrew. What it lends borrows from it;
//! where a password has to be de-escaped, the copy is wiped too. No type prints a password, nor any
//! byte of a line that may hold one in the wrong field. [`Password`]s are compared in constant time.
//! The stack is not wiped: what a function moved through it stays until it is overwritten.
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `fs` | `fs`: files of this machine, opened, judged and saved |
//! | `env` | `Surroundings::of_process`: reads this process's environment and the password database |
//! | `tokio-postgres` | `tokio_postgres`: passwords for a `Config` |
//!
//! # Limits
//! Unix only. Files of less than 4 GiB. No connection service files. Warnings in English.
#![cfg_attr(docsrs, feature(doc_cfg))]

/// The README's example is one of this crate's tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

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
