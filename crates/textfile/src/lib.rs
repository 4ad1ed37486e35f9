//! Lossless line documents over any bytes, and atomic replacement of a user's file.
//!
//! This crate knows nothing of PostgreSQL. It is what the parsers of pgward stand on:
//!
//! - [`Document`]: any bytes, split into lines, edited line by line; what nobody touched is byte
//!   for byte the same by construction.
//! - [`Files`]: how a parser asks for the files that another file includes; [`MemoryFiles`] answers
//!   from memory, `DiskFiles` (feature `fs`) from this machine.
//! - `fs` (feature `fs`): reads a file with what must be kept of it (owner, mode, link) and
//!   replaces it atomically.
//! - `diff` (feature `diff`): unified diffs.
//!
//! ```
//! use textfile::Document;
//!
//! let mut document = Document::new(*b"# rules\r\nlocal all all peer\r\nhost all all");
//! document.insert(1, "local all postgres peer")?;
//! assert_eq!(
//!     document.to_bytes().as_ref(),
//!     b"# rules\r\nlocal all postgres peer\r\nlocal all all peer\r\nhost all all"
//! );
//! # Ok::<(), textfile::EditError>(())
//! ```
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `fs` | `fs` and `DiskFiles`; needs `std` |
//! | `diff` | `diff::unified`; needs `std` |
//! | `zeroize` | `Document::new_secret`: a document whose bytes are wiped on drop |
//!
//! # Limits
//! A document holds less than 4 GiB; [`Document::try_new`] says so where larger input is possible.
//! `fs` is for Unix.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod buffer;
#[cfg(feature = "diff")]
pub mod diff;
mod document;
mod files;
#[cfg(feature = "fs")]
pub mod fs;
mod span;

#[cfg(all(doctest, feature = "fs"))]
#[doc = include_str!("../README.md")]
struct Readme;

pub use document::{Document, EditError, Line, LineEnding, TooLarge};
#[cfg(feature = "fs")]
pub use files::DiskFiles;
pub use files::{FileError, FileErrorKind, FileKind, Files, MemoryFiles};
pub use span::Span;
