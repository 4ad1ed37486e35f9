//! PostgreSQL's own links beside subscriptions, standbys and postgres_fdw, and links as sites have them:
//! from open to proved, and back.
#![allow(clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../killed/anywhere.rs"]
mod anywhere;
mod follow;
mod foreign;
mod found;
#[path = "../held/mod.rs"]
mod held;
#[path = "../killed/process.rs"]
mod killed;
mod rules;
mod several;
mod sites;
mod standbys;
mod support;
mod victims;
