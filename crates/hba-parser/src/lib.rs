//! PostgreSQL's `pg_hba.conf` and `pg_ident.conf`: read, judged, edited and decided exactly as the
//! servers of the majors 12 to 18 do.
//!
//! ```
//! use hba_parser::{HbaDocument, PgVersion, Server};
//!
//! let file = HbaDocument::parse(*b"hostssl all all 10.0.0.0/8 cert clientcert=1\n");
//! assert!(file.interpret(&Server::new(PgVersion::V13)).verdict().is_loaded());
//!
//! let rules = file.interpret(&Server::new(PgVersion::V14));
//! assert!(!rules.verdict().is_loaded());
//! let diagnostic = &rules.diagnostics()[0];
//! assert_eq!(diagnostic.to_string(), "line 1: error: invalid value for clientcert: \"1\"");
//! assert_eq!(diagnostic.help(), "write clientcert=verify-full or clientcert=verify-ca");
//! ```
//!
//! # The layers
//! 1. [`lexer`]: bytes into lines and tokens. Allocates nothing.
//! 2. [`HbaDocument`], [`IdentDocument`]: the file, whatever its bytes. Parsing never fails and loses
//!    nothing; edits change the lines that they name.
//! 3. [`Rules`], [`Mappings`]: what a [`Server`] makes of the file, with those that it includes:
//!    rules, [diagnostics](Diagnostic), [verdict](Verdict), the rows of its view, the lines of its log.
//! 4. On top of the rules: [decisions](Rules::decide) and an [index](CompiledRules) for many of
//!    them, [lints](Lint), [differences](Difference), [upgrades](Upgrade).
//!
//! # How to
//! | task | with |
//! |---|---|
//! | ask whether a server would load a file | [`HbaDocument::interpret`], [`Rules::verdict`] |
//! | read included files, too | [`HbaDocument::interpret_at`], [`Files`] |
//! | show problems as the server does | [`Rules::diagnostics`], [`Rules::rows`], [`Rules::reload_log`] |
//! | find out which rule decides, and why not another | [`Rules::decide`] |
//! | decide often | [`Rules::compile`] |
//! | ask whether a system user, certificate or principal may be a role | [`Mappings::admits`], [`Mappings::check`] |
//! | write a rule, a mapping | [`NewRule`], [`NewMapping`] |
//! | put a rule where it takes effect | [`HbaEdit::insert_effective`] |
//! | change, move, comment out, remove | [`HbaDocument::edit`], [`IdentDocument::edit`] |
//! | find shadowed and dangerous rules | [`Rules::lint`] |
//! | see who gains and who loses access | [`Rules::diff`] |
//! | prepare for another major | [`HbaDocument::upgrade`] |
//! | align columns | [`HbaDocument::format`] |
//! | match names as PostgreSQL does | [`regex::Regex`] |
//!
//! To write a file, atomically and with its owner and mode, give [`HbaDocument::to_bytes`] to
//! `textfile::fs::Snapshot`.
//!
//! # What is not here
//! No network, no clock, no environment, no process. Included files come from a [`Files`], host
//! names and interfaces from a [`Network`], memberships from [`Roles`]: the caller has them.
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `fs` | `DiskFiles`: included files of this machine; needs `std` |
//! | `serde` | `Serialize` for what this crate finds out |
//!
//! Without features the crate is `no_std` with `alloc`.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod address;
mod build;
mod compiled;
mod decide;
mod diagnostics;
mod diff;
mod document;
mod edit;
mod format;
mod ident;
mod identity;
mod layout;
mod ldap_url;
pub mod lexer;
mod lint;
mod list;
mod method;
mod options;
mod path;
mod patterns;
mod reading;
mod record;
pub mod regex;
mod rules;
mod scope;
mod server;
mod text;
mod tokenize;
mod upgrade;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use pg_version::PgVersion;
#[cfg(feature = "fs")]
pub use textfile::DiskFiles;
pub use textfile::{FileError, FileErrorKind, FileKind, Files, MemoryFiles, Span};

pub use self::{
    build::{
        AddressSpec, BuildError, DatabaseSpec, NewMapping, NewRule, RoleSpec, SystemUserSpec,
        UserSpec,
    },
    compiled::CompiledRules,
    decide::{
        Connection, Decision, Encryption, Mismatch, Network, RoleGraph, Roles, StaticNetwork,
        UnknownNetwork, Via,
    },
    diagnostics::{Code, Crash, Diagnostic, FileId, Location, LogEntry, Severity, Verdict},
    diff::{Access, Change, Difference, Effect},
    document::{HbaDocument, IdentDocument, LineClass},
    edit::{EditError, HbaEdit, IdentEdit},
    ident::{MapDecision, Mapping, MappingRow, Mappings},
    identity::Identity,
    lint::{Finding, Lint},
    method::{ConnectionType, Method},
    options::{
        ClientCert, ClientName, GivenOption, LdapOptions, OauthOptions, Options, RadiusOptions,
    },
    rules::{Address, Database, DatabaseKind, Row, Rule, Rules, User, UserKind},
    server::{Build, Server},
    text::Text,
    tokenize::IncludeKind,
    upgrade::{LineChange, LineChangeKind, Upgrade},
};
