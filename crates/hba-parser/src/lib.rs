//! x
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod address;
mod decide;
mod diagnostics;
mod document;
mod ident;
mod ldap_url;
pub mod lexer;
mod list;
mod method;
mod options;
mod path;
mod patterns;
mod record;
pub mod regex;
mod rules;
mod server;
mod text;
mod tokenize;

pub use pg_version::PgVersion;
pub use textfile::{FileError, FileErrorKind, FileKind, Files, MemoryFiles, Span};

pub use self::{
    decide::{
        Connection, Decision, Encryption, Mismatch, Network, RoleGraph, Roles, StaticNetwork,
        UnknownNetwork, Via,
    },
    diagnostics::{Code, Crash, Diagnostic, FileId, Location, LogEntry, Severity, Verdict},
    document::{HbaDocument, IdentDocument, LineClass},
    ident::{MapDecision, Mapping, MappingRow, Mappings},
    method::{ConnectionType, Method},
    options::{
        ClientCert, ClientName, GivenOption, LdapOptions, OauthOptions, Options, RadiusOptions,
    },
    rules::{Address, Database, DatabaseKind, Row, Rule, Rules, User, UserKind},
    server::{Build, Server},
    text::Text,
    tokenize::IncludeKind,
};
