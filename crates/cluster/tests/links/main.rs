//! PostgreSQL's own links beside subscriptions, standbys and postgres_fdw, and links as sites have them:
//! from open to proved, and back.
#![allow(clippy::panic, reason = "a test that cannot go on fails")]

mod follow;
mod foreign;
mod found;
#[path = "../killed/mod.rs"]
mod killed;
mod rules;
mod sites;
mod standbys;
mod support;
mod victims;
