//! The program as scripts and people run it, where it takes more than a session at a terminal: standard
//! input, file descriptors, accounts, JSON, servers.
#![cfg(feature = "cli")]

mod cluster;
mod files;
mod json;
#[cfg(feature = "demo")]
mod live;
mod passwords;
mod pki;
mod report;
#[path = "../schema/mod.rs"]
mod schema;
mod streams;
mod support;
mod terminal;
