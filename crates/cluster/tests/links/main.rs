//! PostgreSQL's own links beside subscriptions, standbys and postgres_fdw, and links as sites have them:
//! from open to proved, and back.
#![allow(clippy::panic, reason = "a test that cannot go on fails")]

mod foreign;
mod found;
#[path = "../killed/mod.rs"]
mod killed;
mod sites;
mod standbys;
mod support;
mod victims;
