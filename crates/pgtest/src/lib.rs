//! Finds, starts and asks real PostgreSQL servers and libpq: the one way in which tests and
//! demonstrations of this workspace get a server.
//!
//! ```no_run
//! use pg_version::PgVersion;
//! use pgtest::Server;
//!
//! let server = Server::builder(&pgtest::find(PgVersion::V18)?).start()?;
//! assert_eq!(server.query("SELECT 1 + 1")?.value(), Some("2"));
//! # Ok::<(), pgtest::Error>(())
//! ```
//!
//! # Where servers come from
//! [`find`] tells the order: environment, cache, `PATH`, the usual folders. Where there is none,
//! the error says which command gets one.
//!
//! # What a server has for itself
//! A folder with its data, `HOME`, socket and log; an address of the loopback network and a free
//! port. Any number run side by side. Under root they run as the account that
//! [`Account::choose`] tells. Data folders are copies of one that initdb makes once for each
//! build and process. Most of a server's start is the copying of some thousand small files:
//! `TMPDIR=/dev/shm` makes it several times as fast, for 40 MB of memory for each server.
//!
//! A server can also have a machine's address of its own, which others see its connections come
//! from: [`Network`].
//!
//! # What is left afterwards
//! Nothing. [`Server`]'s `Drop` stops the server by its process number and removes the folder,
//! also where a test panics. Where the process itself is killed or aborts, a shell that waits on
//! a pipe from it does the same; it ends with the server.
//!
//! # Features
//! `libpq`: the client library of each major, loaded from its shared library (`libpq::Libpq`).
#![cfg_attr(docsrs, feature(doc_cfg))]

mod account;
mod builder;
pub mod cache;
mod command;
mod error;
mod find;
mod home;
#[cfg(feature = "libpq")]
#[expect(unsafe_code, reason = "libpq is a C library")]
pub mod libpq;
mod log;
mod netns;
mod poll;
mod server;
mod session;
mod watchdog;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use account::Account;
pub use builder::Builder;
pub use command::{Output, Run};
pub use error::{Error, SqlError};
pub use find::{Features, Installation, find, find_all, find_each_major, find_where};
pub use home::discard_templates;
pub use log::LogPosition;
pub use netns::{Namespace, Network};
pub use poll::until;
pub use server::{Kept, Server, Shutdown};
pub use session::{Connect, Rows, Session};
