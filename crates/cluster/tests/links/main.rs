//! PostgreSQL's own links beside subscriptions, standbys and postgres_fdw, and links as sites have them:
//! from open to proved, and back.
#![allow(clippy::panic, reason = "a test that cannot go on fails")]

mod follow;
mod foreign;
mod found;
mod rules;
mod sites;
mod standbys;
mod support;
