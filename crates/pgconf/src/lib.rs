//! Reads, judges and rewrites `postgresql.conf` as the servers of the majors 12 to 18 do.
//!
//! ```
//! use pg_version::PgVersion;
//! use pgconf::{Activation, Configuration};
//! use textfile::MemoryFiles;
//!
//! let mut files = MemoryFiles::default();
//! files.insert("/pg/postgresql.conf", "#work_mem = 4MB\t\t# min 64kB\ninclude_dir 'conf.d'\n");
//! files.insert("/pg/conf.d/net.conf", "listen_addresses = 'localhost'\n");
//! files.insert("/data/postgresql.auto.conf", "ssl = 'off'\n");
//! let mut conf =
//!     Configuration::read(&files, "/pg/postgresql.conf", Some(b"/data"), PgVersion::V17);
//!
//! // The value that counts, and where it comes from.
//! let provenance = conf.provenance("listen_addresses");
//! assert_eq!(provenance.effective().unwrap().file, b"/pg/conf.d/net.conf");
//!
//! // A change goes where it counts, and says what it needs.
//! let outcome = conf.set("listen_addresses", "10.0.0.1, ::1")?;
//! assert_eq!((&outcome.file[..], outcome.line), (&b"/pg/conf.d/net.conf"[..], 1));
//! assert_eq!(outcome.activation, Some(Activation::Restart));
//!
//! // What still overrides it is the server's to change.
//! let outcome = conf.set("ssl", "on")?;
//! assert_eq!(
//!     outcome.warnings[0].to_string(),
//!     "postgresql.auto.conf line 1 still sets it to \"off\": run ALTER SYSTEM RESET ssl;"
//! );
//!
//! // What the server would refuse is refused, in its words.
//! assert_eq!(
//!     conf.set("work_mem", "64MiB").unwrap_err().to_string(),
//!     "invalid value for parameter \"work_mem\": \"64MiB\" \
//!      (Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\")"
//! );
//! # Ok::<(), pgconf::EditError>(())
//! ```
//!
//! # Contents
//! | to | see |
//! |---|---|
//! | read or edit one file, whatever includes it | [`ConfFile`] |
//! | read all files of a server, see which line counts and why | [`Configuration`], [`Provenance`] |
//! | see what the server's `pg_file_settings` would show | [`Configuration::file_settings`] |
//! | find what would keep a server from starting | [`Configuration::problems`], [`Configuration::invalid_values`] |
//! | change a setting, know what the change needs | [`Configuration::set`], [`set_in`](Configuration::set_in), [`unset`](Configuration::unset), [`Outcome`] |
//! | compare by meaning: is it set to that already? | [`Configuration::means`] |
//! | type, unit, bounds, default of a setting; its value as the server shows it | [`Catalogue`], [`Setting::check`], [`Setting::check_in_file`] |
//! | add to a list, take out of it | [`Configuration::add_to_list`], [`remove_from_list`](Configuration::remove_from_list), [`list`](Configuration::list); [`split_list`], [`join_list`] |
//! | prepare an upgrade | [`Configuration::upgrade`], [`Catalogue::differences`] |
//! | open and save files | `fs` (feature `fs`) |
//!
//! # The file
//! As `guc-file.l` reads it, the same in all these majors:
//!
//! - A line is `name value` or `name = value`, and perhaps a comment. No blank is needed between name
//!   and quoted value, nor before a comment.
//! - A name is letters, digits and underscores, not beginning with a digit; bytes from 0x80 up are
//!   letters (so is a byte order mark: a file that begins with one has a name nobody knows). One dot
//!   between two such makes it an extension's. No second dot, though `SET` takes one.
//! - Without quotes stand whole numbers with letters behind them (`4MB`), fractions without (`1.5`, not
//!   `1.5GB`), and words that go on with `-`, `.`, `:`, `/` (`certs/server.crt`; but not `server.crt`,
//!   which reads as an extension's name).
//! - In single quotes anything but a line feed: `''` and `\'` are a quote, `\n` `\t` `\r` `\b` `\f` and up
//!   to three octal digits what they are in C, any other character after a backslash itself. A value
//!   ends at its first NUL.
//! - Of a name that is set twice the last line counts, in whatever case it is spelled, and under its old
//!   name too (`sort_mem` is `work_mem`).
//! - `include`, `include_if_exists` and `include_dir` read other files in their place, named from the
//!   folder of the file that they stand in; ten deep; a folder's `*.conf` by the bytes of their names.
//! - `postgresql.auto.conf`, which `ALTER SYSTEM` writes, is read last, so it has the last word.
//! - One line that cannot be read, one unknown name without a dot, one include that cannot be opened,
//!   and the server takes nothing from any file: at its start it ends, on a reload it goes on as it was.
//!   A value that is refused costs only itself on a reload.
//!
//! # Edits
//! Only the line in question changes, and of it only the value: its comment keeps its column, the file
//! its line ends, its encoding, its last line without an end. What is written, the lexer reads back;
//! what it could not read back is refused ([`EditError`]). What is set already changes no byte.
//!
//! # Limits
//! What only a running server can tell is not told: whether a locale, a table space, a role exists,
//! which other settings forbid a value (of the recovery targets only one may be set), whether a recovery
//! target is a time. Nor is that 12 to 15 do not start with folders that include each other eight deep,
//! as they keep too many of them open. The catalogue is that of certain builds ([`Catalogue`]): a name
//! that it does not know is a warning. A file holds less than 4 GiB.
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `fs` | `fs::Stored`: a server's files on this machine, replaced atomically |
//! | `serde` | `Serialize` for what is read, found and done; bytes as text |
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
mod list;
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

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
