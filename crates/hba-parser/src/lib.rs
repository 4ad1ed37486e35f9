//! x
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
mod layout;
mod ldap_url;
pub mod lexer;
mod lint;
mod list;
mod method;
mod options;
mod path;
mod patterns;
mod record;
pub mod regex;
mod rules;
mod scope;
mod server;
mod text;
mod tokenize;
mod upgrade;

pub use pg_version::PgVersion;
#[cfg(feature = "fs")]
pub use textfile::DiskFiles;
pub use textfile::{FileError, FileErrorKind, FileKind, Files, MemoryFiles, Span};

pub use self::{
    build::{AddressSpec, BuildError, DatabaseSpec, NewRule, UserSpec},
    compiled::CompiledRules,
    decide::{
        Connection, Decision, Encryption, Mismatch, Network, RoleGraph, Roles, StaticNetwork,
        UnknownNetwork, Via,
    },
    diagnostics::{Code, Crash, Diagnostic, FileId, Location, LogEntry, Severity, Verdict},
    diff::{Access, Change, Difference, Effect},
    document::{HbaDocument, IdentDocument, LineClass},
    edit::{EditError, HbaEdit},
    ident::{MapDecision, Mapping, MappingRow, Mappings},
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
